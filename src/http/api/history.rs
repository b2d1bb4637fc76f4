//! What happened to tags and repositories, and pointing a tag back.

use std::sync::Arc;

use axum::Json;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::access::{Changer, Pushes, Reader};
use super::extract::{InPath, InQuery, OfRepository, OfTag, WithBody};
use super::problem::{ChangeRefusals, Refusals};
use super::{Api, Page, PageParameters, Problem, Time};
use crate::metadata;
use crate::registry;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// The tag was made by a push.
    Push,
    /// A push pointed it at something else.
    Move,
    /// Somebody took it away.
    Delete,
    /// A policy took it away.
    Expiry,
    /// It came back.
    Restore,
    /// It was pointed back.
    Rollback,
    /// The repository got another name.
    Rename,
}

/// Something that happened to a tag, or to a repository as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Its number: later ones have larger ones.
    pub id: i64,
    /// When.
    pub at: Time,
    /// What happened.
    pub kind: ChangeKind,
    /// What the tag has pointed at since; `null` where it was taken away, and for a repository.
    #[schema(required)]
    pub digest: Option<String>,
    /// What it pointed at before.
    #[schema(required)]
    pub was: Option<String>,
    /// By whom, if that is known.
    #[schema(required)]
    pub by: Option<String>,
    /// Why, if that is known: for an expiry the policy and its rule, for a rename the two names.
    #[schema(required)]
    pub reason: Option<String>,
}

/// Where to point a tag back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackRequest {
    /// A digest out of the tag's history; where nothing is said, what it pointed at before its last change.
    #[schema(pattern = "^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$")]
    pub to: Option<String>,
}

/// A tag that was pointed back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RolledBack {
    /// What it pointed at before; `null` if it was not there.
    #[schema(required)]
    pub from: Option<String>,
    /// What it points at now.
    pub to: String,
    /// Manifests that came back from the trash for it.
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

pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(of_tag)).routes(routes!(of_repository)).routes(routes!(rollback))
}

fn page(found: registry::Page<metadata::HistoryEntry>) -> Json<Page<Event>> {
    let next = found.items.last().filter(|_| found.more).map(|last| last.id.to_string());
    Json(Page { items: found.items.into_iter().map(Event::from).collect(), next })
}

/// What happened to a tag, newest first; also to one that was removed.
#[utoipa::path(
    get, path = "/repositories/{name}/tags/{tag}/history", operation_id = "getTagHistory", tag = "tags",
    params(OfTag, PageParameters),
    responses((status = OK, description = "A page of it.", body = Page<Event>), Refusals)
)]
async fn of_tag(
    reader: Reader,
    InPath(OfTag { tag, .. }): InPath<OfTag>,
    InQuery(parameters): InQuery<PageParameters>,
) -> Result<Json<Page<Event>>, Problem> {
    let (after, limit) = (parameters.after()?, parameters.limit()?);
    let found = reader.tag_history(&tag, after, limit).await?;
    if found.items.is_empty() && after.is_none() {
        return Err(Problem::unknown("the repository never had such a tag, as far as is known"));
    }
    Ok(page(found))
}

/// What happened to a repository as a whole, newest first: deleted, restored, renamed. The number of a deletion
/// is what `restore` takes.
#[utoipa::path(
    get, path = "/repositories/{name}/history", operation_id = "getRepositoryHistory", tag = "repositories",
    params(OfRepository, PageParameters),
    responses((status = OK, description = "A page of it.", body = Page<Event>), Refusals)
)]
async fn of_repository(
    reader: Reader,
    InQuery(parameters): InQuery<PageParameters>,
) -> Result<Json<Page<Event>>, Problem> {
    let (after, limit) = (parameters.after()?, parameters.limit()?);
    let found = reader.history(after, limit).await?;
    if found.items.is_empty() && after.is_none() && reader.repository().await?.is_none() {
        return Err(Problem::unknown("repository unknown to the registry"));
    }
    Ok(page(found))
}

/// Points a tag back, also one that was removed. A manifest that is in the trash comes back for it.
#[utoipa::path(
    post, path = "/repositories/{name}/tags/{tag}/rollback", operation_id = "rollBackTag", tag = "tags",
    params(OfTag), request_body = RollbackRequest,
    responses((status = OK, description = "Where it points now.", body = RolledBack), Refusals, ChangeRefusals)
)]
async fn rollback(
    WithBody { right: may, head, body: request, .. }: WithBody<
        Changer<Pushes>,
        RollbackRequest,
        InPath<OfTag>,
    >,
) -> Result<Json<RolledBack>, Problem> {
    let InPath(OfTag { tag, .. }) = head;
    let to = request.to.as_deref().map(str::parse).transpose();
    let to = to.map_err(|error| Problem::bad(format_args!("to: {error}")))?;
    let back = may.repository.rollback(&tag, to.as_ref()).await?;
    Ok(Json(RolledBack {
        from: back.from.map(|digest| digest.to_string()),
        to: back.to.to_string(),
        restored: back.restored.iter().map(ToString::to_string).collect(),
    }))
}
