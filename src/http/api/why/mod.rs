//! Explains why a manifest or blob is kept, and how much space its removal would free.

mod report;

use axum::Json;
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

use super::Problem;
use super::extract::InQuery;
use super::problem::Errors;
use super::rights::{RegistryReader, Requester};
use super::routes::{Routes, routes};
use crate::oci::{Digest, Reference, RepoName};
use crate::reports;

pub use report::{BlobReasons, HeldBy, KeptBlob, ManifestReasons, PolicyDecision, Stage, Why};

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

pub(super) fn routes() -> Routes {
    Routes::new().routes(routes!(get))
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
        (Some(name), Reference::Tag(_)) => requester.reader(name)?.why(&reference).await?,
        (Some(name), Reference::Digest(digest)) => {
            let reader = requester.reader(name)?;
            match reader.why(&reference).await? {
                Some(why) => Some(why),
                None => explain_blob_of(&requester.registry_reader()?, reader.name(), digest).await?,
            }
        }
        (None, Reference::Digest(digest)) => {
            requester.registry_reader()?.reports().why_digest(digest).await?
        }
        (None, Reference::Tag(_)) => {
            return Err(Problem::bad("repository: required to look up a tag"));
        }
    };
    why.map(|why| Json(why.into())).ok_or_else(unknown)
}

/// Explains what keeps a blob that the repository has, there and in other repositories. The answer names all
/// repositories that have the blob, so it requires the right to read everything.
async fn explain_blob_of(
    registry_reader: &RegistryReader,
    name: &RepoName,
    digest: &Digest,
) -> Result<Option<reports::Why>, Problem> {
    match registry_reader.metadata().blob(name, digest).await? {
        Some(_) => Ok(registry_reader.reports().why_digest(digest).await?),
        None => Ok(None),
    }
}
