//! Explains why a manifest or blob is kept, and how much space its removal would free.

mod report;

use std::sync::Arc;

use axum::Json;
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::access::{Reader, RegistryReader, Requester};
use super::extract::InQuery;
use super::problem::Errors;
use super::{Api, Problem};
use crate::jobs::retention::RetentionError;
use crate::oci::{Digest, Reference, RepoName};

pub use report::{BlobReasons, HeldBy, KeptBlob, ManifestReasons, Ruled, Stage, Why};

/// The number of holders of each kind, and of repositories, that are named.
const MAX_NAMED: usize = 10;

/// Selects the manifest or blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WhyParameters {
    /// The repository; required for a tag. Without it a digest is searched for in all repositories.
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

/// Explains what keeps a manifest or blob.
#[utoipa::path(
    get, path = "/why", operation_id = "getWhy", tag = "usage", params(WhyParameters),
    responses((status = OK, description = "Everything that keeps it.", body = Why), Errors)
)]
async fn get(
    requester: Requester,
    InQuery(WhyParameters { repository, reference }): InQuery<WhyParameters>,
) -> Result<Json<Why>, Problem> {
    let reference = reference.parse::<Reference>();
    let reference = reference.map_err(|error| Problem::bad(format_args!("reference: {error}")))?;
    let repository = repository.map(|name| name.parse::<RepoName>()).transpose();
    let repository = repository.map_err(|error| Problem::bad(format_args!("repository: {error}")))?;
    let place = repository.as_ref().map_or("the registry", RepoName::as_str).to_owned();
    let unknown = || Problem::unknown(format_args!("{reference} not found in {place}"));
    let why = match (repository, &reference) {
        (Some(name), Reference::Tag(_)) => explain_manifest(&requester.reader(name)?, &reference).await?,
        (Some(name), Reference::Digest(digest)) => {
            let reader = requester.reader(name)?;
            match explain_manifest(&reader, &reference).await? {
                Some(why) => Some(why),
                // The answer names all repositories that have the blob, so it requires the right to read
                // everything.
                None => explain_blob_of(&requester.registry_reader()?, reader.name(), digest).await?,
            }
        }
        (None, Reference::Digest(digest)) => explain_digest(&requester.registry_reader()?, digest).await?,
        (None, Reference::Tag(_)) => {
            return Err(Problem::bad("repository: required to look up a tag"));
        }
    };
    why.map(Json).ok_or_else(unknown)
}

async fn explain_manifest(reader: &Reader, reference: &Reference) -> Result<Option<Why>, Problem> {
    let Some(found) = reader.why_manifest(reference, MAX_NAMED).await? else {
        return Ok(None);
    };
    let digest = found.digest.clone();
    let manifest = ManifestReasons::new(reader.name(), found, &reader.in_force(), reader.view().now());
    let manifest = with_rules(reader, &digest, manifest).await?;
    Ok(Some(Why { digest: digest.to_string(), manifests: vec![manifest], blob: None }))
}

/// Adds what policies say about the manifest.
async fn with_rules(
    reader: &Reader,
    digest: &Digest,
    manifest: ManifestReasons,
) -> Result<ManifestReasons, Problem> {
    let pinned_by = reader.pin(digest).await?;
    let verdicts = match reader.verdicts(digest).await {
        // Policies that cannot be used expire nothing, so they keep nothing either.
        Err(RetentionError::Policies(_)) => Some(Vec::new()),
        verdicts => verdicts?,
    };
    let judged = verdicts.is_some();
    let now = reader.view().now();
    let rules = verdicts.unwrap_or_default().iter().take(MAX_NAMED).map(|row| Ruled::new(row, now)).collect();
    Ok(ManifestReasons { pinned_by, rules, judged, ..manifest })
}

/// Explains what keeps a blob that the repository has, there and in other repositories.
async fn explain_blob_of(
    registry_reader: &RegistryReader,
    name: &RepoName,
    digest: &Digest,
) -> Result<Option<Why>, Problem> {
    if !registry_reader.has_blob(name, digest).await? {
        return Ok(None);
    }
    explain_digest(registry_reader, digest).await
}

async fn explain_digest(registry_reader: &RegistryReader, digest: &Digest) -> Result<Option<Why>, Problem> {
    let now = registry_reader.now();
    let blob = registry_reader.why_blob(digest, MAX_NAMED).await?.map(|found| BlobReasons::new(found, now));
    let reference = Reference::Digest(digest.clone());
    let mut manifests = Vec::new();
    for name in registry_reader.repositories_of(digest, MAX_NAMED).await? {
        // The manifest may have been removed since.
        let reader = registry_reader.reader(name);
        let found = reader.why_manifest(&reference, MAX_NAMED).await?;
        if let Some(found) = found {
            let manifest = ManifestReasons::new(reader.name(), found, &registry_reader.in_force(), now);
            manifests.push(with_rules(&reader, digest, manifest).await?);
        }
    }
    let found = blob.is_some() || !manifests.is_empty();
    Ok(found.then(|| Why { digest: digest.to_string(), manifests, blob }))
}
