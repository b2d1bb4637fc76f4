//! Why something is there, and what would come free without it.

mod report;

use std::sync::Arc;

use axum::Json;
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::access::{Reader, RegistryReader, Requester};
use super::extract::InQuery;
use super::problem::Refusals;
use super::{Api, Problem};
use crate::jobs::retention::RetentionError;
use crate::oci::{Digest, Reference, RepoName};

pub use report::{BlobReasons, HeldBy, KeptBlob, ManifestReasons, Ruled, Stage, Why};

/// How many holders of each kind, and how many repositories, are told by name.
const FEW: usize = 10;

/// What is asked about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WhyParameters {
    /// The repository; needed for a tag. Without one a digest is looked for in all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(
        max_length = 255,
        example = "library/app",
        pattern = r"^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$"
    )]
    pub repository: Option<String>,
    /// A tag, or the digest of a manifest or blob.
    #[param(
        example = "latest",
        pattern = "^([a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}|sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$"
    )]
    pub reference: String,
}

pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(get))
}

/// What keeps a manifest or a blob.
#[utoipa::path(
    get, path = "/why", operation_id = "getWhy", tag = "usage", params(WhyParameters),
    responses((status = OK, description = "All that keeps it.", body = Why), Refusals)
)]
async fn get(
    asker: Requester,
    InQuery(WhyParameters { repository, reference }): InQuery<WhyParameters>,
) -> Result<Json<Why>, Problem> {
    let reference = reference.parse::<Reference>();
    let reference = reference.map_err(|error| Problem::bad(format_args!("reference: {error}")))?;
    let repository = repository.map(|name| name.parse::<RepoName>()).transpose();
    let repository = repository.map_err(|error| Problem::bad(format_args!("repository: {error}")))?;
    let place = repository.as_ref().map_or("the registry", RepoName::as_str).to_owned();
    let unknown = || Problem::unknown(format_args!("{reference} is unknown to {place}"));
    let why = match (repository, &reference) {
        (Some(name), Reference::Tag(_)) => in_repository(&asker.reader(name)?, &reference).await?,
        (Some(name), Reference::Digest(digest)) => {
            let reader = asker.reader(name)?;
            match in_repository(&reader, &reference).await? {
                Some(why) => Some(why),
                // What keeps a blob is told with all the repositories that have it.
                None => blob_in(&asker.overseer()?, reader.name(), digest).await?,
            }
        }
        (None, Reference::Digest(digest)) => anywhere(&asker.overseer()?, digest).await?,
        (None, Reference::Tag(_)) => {
            return Err(Problem::bad("repository: a tag is looked for in a repository, so name it"));
        }
    };
    why.map(Json).ok_or_else(unknown)
}

async fn in_repository(reader: &Reader, reference: &Reference) -> Result<Option<Why>, Problem> {
    let Some(found) = reader.why_manifest(reference, FEW).await? else {
        return Ok(None);
    };
    let digest = found.digest.clone();
    let manifest = ManifestReasons::new(reader.name(), found, &reader.in_force(), reader.view().now());
    let manifest = with_rules(reader, &digest, manifest).await?;
    Ok(Some(Why { digest: digest.to_string(), manifests: vec![manifest], blob: None }))
}

/// The same with what policies say.
async fn with_rules(
    reader: &Reader,
    digest: &Digest,
    manifest: ManifestReasons,
) -> Result<ManifestReasons, Problem> {
    let pinned_by = reader.pin(digest).await?;
    let verdicts = match reader.verdicts(digest).await {
        // Nothing expires by policies that cannot be used, so they keep nothing either.
        Err(RetentionError::Policies(_)) => Some(Vec::new()),
        verdicts => verdicts?,
    };
    let (judged, now) = (verdicts.is_some(), reader.view().now());
    let rules = verdicts.unwrap_or_default().iter().take(FEW).map(|row| Ruled::new(row, now)).collect();
    Ok(ManifestReasons { pinned_by, judged, rules, ..manifest })
}

/// A blob that a repository has: what keeps it there, and how many others have it.
async fn blob_in(
    overseer: &RegistryReader,
    name: &RepoName,
    digest: &Digest,
) -> Result<Option<Why>, Problem> {
    if !overseer.has_blob(name, digest).await? {
        return Ok(None);
    }
    anywhere(overseer, digest).await
}

async fn anywhere(overseer: &RegistryReader, digest: &Digest) -> Result<Option<Why>, Problem> {
    let now = overseer.now();
    let blob = overseer.why_blob(digest, FEW).await?.map(|found| BlobReasons::new(found, now));
    let (reference, mut manifests) = (Reference::Digest(digest.clone()), Vec::new());
    for name in overseer.repositories_of(digest, FEW).await? {
        // It may have gone meanwhile.
        let reader = overseer.reader(name);
        let found = reader.why_manifest(&reference, FEW).await?;
        if let Some(found) = found {
            let manifest = ManifestReasons::new(reader.name(), found, &overseer.in_force(), now);
            manifests.push(with_rules(&reader, digest, manifest).await?);
        }
    }
    let found = blob.is_some() || !manifests.is_empty();
    Ok(found.then(|| Why { digest: digest.to_string(), manifests, blob }))
}
