//! The history of tags and repositories, and rolling tags back.

use axum::Json;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::extract::{InPath, InQuery, RepositoryPath, TagPath, WithBody};
use super::page::newest_first_page;
use super::problem::{ChangeErrors, Errors};
use super::rights::{ChangeRight, Pushes, Reader};
use super::routes::{Routes, routes};
use super::{Page, PageParameters, Problem, Time};
use crate::metadata;

/// The kind of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// A push created the tag.
    Push,
    /// A push moved the tag to another manifest.
    Move,
    /// A user or client removed the tag.
    Delete,
    /// A retention policy removed the tag.
    Expiry,
    /// The tag or repository was restored.
    Restore,
    /// The tag was rolled back.
    Rollback,
    /// The repository was renamed.
    Rename,
}

/// An event in the history of a tag, or of a repository as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Its id; later events have larger numbers.
    pub id: i64,
    /// When it happened.
    pub at: Time,
    /// The kind of an event.
    pub kind: ChangeKind,
    /// The digest the tag points at since the event; `null` if it was removed, and for a repository.
    #[schema(required)]
    pub digest: Option<String>,
    /// The digest the tag pointed at before.
    #[schema(required)]
    pub was: Option<String>,
    /// Who caused it, if known.
    #[schema(required)]
    pub by: Option<String>,
    /// The reason, if known: for an expiry the policy and its rule, for a rename both names.
    #[schema(required)]
    pub reason: Option<String>,
}

/// The target of a rollback.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackRequest {
    /// A digest from the tag's history; by default the one before its last change.
    #[schema(pattern = "^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$")]
    pub to: Option<String>,
}

/// The result of a rollback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RolledBack {
    /// The digest the tag pointed at before; `null` if it did not exist.
    #[schema(required)]
    pub from: Option<String>,
    /// The digest the tag points at now.
    pub to: String,
    /// The manifests restored from the trash for it.
    pub restored: Vec<String>,
}

impl From<metadata::ChangeKind> for ChangeKind {
    fn from(kind: metadata::ChangeKind) -> Self {
        match kind {
            metadata::ChangeKind::Push => Self::Push,
            metadata::ChangeKind::Move => Self::Move,
            metadata::ChangeKind::Delete => Self::Delete,
            metadata::ChangeKind::Expiry => Self::Expiry,
            metadata::ChangeKind::Restore => Self::Restore,
            metadata::ChangeKind::Rollback => Self::Rollback,
            metadata::ChangeKind::Rename => Self::Rename,
        }
    }
}

impl From<metadata::HistoryEntry> for Event {
    fn from(entry: metadata::HistoryEntry) -> Self {
        Self {
            id: entry.id,
            at: entry.at.into(),
            kind: entry.kind.into(),
            digest: entry.digest.map(|digest| digest.to_string()),
            was: entry.was.map(|digest| digest.to_string()),
            by: entry.by,
            reason: entry.reason,
        }
    }
}

pub(super) fn routes() -> Routes {
    Routes::new().routes(routes!(of_tag)).routes(routes!(of_repository)).routes(routes!(rollback))
}

fn page(found: metadata::Page<metadata::HistoryEntry>) -> Json<Page<Event>> {
    Json(newest_first_page(found, |entry| (entry.id, entry.into())))
}

/// Lists the history of a tag, newest first. Removed tags have a history too.
#[utoipa::path(
    get, path = "/repositories/{name}/tags/{tag}/history", operation_id = "getTagHistory", tag = "tags",
    params(TagPath, PageParameters),
    responses((status = OK, description = "A page of events.", body = Page<Event>), Errors)
)]
async fn of_tag(
    reader: Reader,
    InPath(TagPath { tag, .. }): InPath<TagPath>,
    InQuery(parameters): InQuery<PageParameters>,
) -> Result<Json<Page<Event>>, Problem> {
    let (before, limit) = parameters.read()?;
    let found = reader.history(Some(&tag), before, limit).await?;
    if found.items.is_empty() && before.is_none() {
        return Err(Problem::unknown("the repository has no recorded history of this tag"));
    }
    Ok(page(found))
}

/// Lists the history of a repository as a whole, newest first: deletions, restorations and renames. `restore`
/// takes the `id` of a deletion.
#[utoipa::path(
    get, path = "/repositories/{name}/history", operation_id = "getRepositoryHistory", tag = "repositories",
    params(RepositoryPath, PageParameters),
    responses((status = OK, description = "A page of events.", body = Page<Event>), Errors)
)]
async fn of_repository(
    reader: Reader,
    InQuery(parameters): InQuery<PageParameters>,
) -> Result<Json<Page<Event>>, Problem> {
    let (before, limit) = parameters.read()?;
    let found = reader.history(None, before, limit).await?;
    if found.items.is_empty() && before.is_none() && reader.repository().await?.is_none() {
        return Err(Problem::unknown("repository unknown to the registry"));
    }
    Ok(page(found))
}

/// Rolls a tag back, even if it was removed. Its manifest is restored if it is in the trash.
#[utoipa::path(
    post, path = "/repositories/{name}/tags/{tag}/rollback", operation_id = "rollBackTag", tag = "tags",
    params(TagPath), request_body = RollbackRequest,
    responses(
        (status = OK, description = "The digest the tag points at now.", body = RolledBack),
        Errors, ChangeErrors
    )
)]
async fn rollback(
    WithBody { right, parameters, body: request, .. }: WithBody<
        ChangeRight<Pushes>,
        RollbackRequest,
        InPath<TagPath>,
    >,
) -> Result<Json<RolledBack>, Problem> {
    let InPath(TagPath { tag, .. }) = parameters;
    let to = request.to.as_deref().map(str::parse).transpose();
    let to = to.map_err(|error| Problem::bad(format_args!("to: {error}")))?;
    let rolled_back = right.repository.rollback(&tag, to.as_ref()).await?;
    Ok(Json(RolledBack {
        from: rolled_back.from.map(|digest| digest.to_string()),
        to: rolled_back.to.to_string(),
        restored: rolled_back.restored.iter().map(ToString::to_string).collect(),
    }))
}
