//! The trash: listing it, bringing back what is in it, and giving it up.

use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;

use axum::Json;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::access::{Author, RegistryAdmin, Requester, View};
use super::extract::{InQuery, WithBody};
use super::page::{cursor, items};
use super::problem::{ChangeRefusals, Refusals};
use super::removed::{Cursor, Removed, removed};
use super::{Api, Page, Problem, Time};
use crate::auth::Action;
use crate::oci::{Digest, RepoName, Tag};
use crate::registry::RecoverablePage;

/// Which part of the trash.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TrashParameters {
    /// Only what was removed from this repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// How many items, 100 where nothing is said. A page may be shorter though more follow.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// The `next` of the page before, which was asked for with the same `repository`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// What to bring back: a manifest by its digest, or a tag.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RestoreRequest {
    /// The repository.
    pub repository: String,
    /// The digest of a manifest in the trash.
    #[schema(pattern = "^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$")]
    pub digest: Option<String>,
    /// A tag that was removed, if no digest is given.
    #[schema(pattern = "^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$")]
    pub tag: Option<String>,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Restored {
    /// The digest that was asked for, or that the tag points at again.
    pub digest: String,
    /// Manifests that came back from the trash, children of an index among them.
    pub manifests: Vec<String>,
    /// Tags that came back.
    pub tags: Vec<String>,
    /// Tags that stay as they are, for they were used again meanwhile.
    pub taken: Vec<String>,
}

/// Which trash to empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EmptyRequest {
    /// That of this repository alone; where nothing is said, all of it.
    pub repository: Option<String>,
}

/// What emptying the trash did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Emptied {
    /// How many manifests were given up for good.
    pub manifests: u64,
    /// From when on the collector gives back the space of all that only they held, unless somebody who pushes
    /// asks for it meanwhile: leases count from the removal on. Children and referrers that go with them follow
    /// a lease later.
    pub collected_from: Time,
}

/// Reads what has a grammar of its own, and is `named` so.
fn read<T: FromStr<Err: Display>>(named: &str, text: &str) -> Result<T, Problem> {
    text.parse().map_err(|error| Problem::bad(format_args!("{named}: {error}")))
}

pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(restore)).routes(routes!(empty))
}

/// What was removed and can be brought back, newest first.
#[utoipa::path(
    get, path = "/trash", operation_id = "listTrash", tag = "trash",
    params(TrashParameters),
    responses((status = OK, description = "A page of it.", body = Page<Removed>), Refusals)
)]
async fn list(
    asker: Requester,
    InQuery(parameters): InQuery<TrashParameters>,
) -> Result<Json<Page<Removed>>, Problem> {
    let repository = parameters.repository.as_deref().map(|name| read("repository", name)).transpose()?;
    let (limit, after) = (items(parameters.limit)?, cursor::<Cursor>(parameters.after.as_deref())?);
    let after = after.map(|Cursor(place)| place);
    let reads = |found: RecoverablePage, view: &View| {
        let next = found.next.map(|place| Cursor(place).to_string());
        Json(Page { items: found.items.into_iter().map(|item| removed(view, item)).collect(), next })
    };
    match repository {
        Some(name) => {
            let reader = asker.reader(name)?;
            Ok(reads(reader.recoverable(after, limit).await?, reader.view()))
        }
        None => {
            let overseer = asker.overseer()?;
            Ok(reads(overseer.recoverable(None, after, limit).await?, &overseer))
        }
    }
}

/// Brings a manifest back with its children and tags, or a tag with its manifest. A whole repository comes back
/// by its own `restore`.
#[utoipa::path(
    post, path = "/trash/restore", operation_id = "restoreFromTrash", tag = "trash",
    request_body = RestoreRequest,
    responses((status = OK, description = "What came back.", body = Restored), Refusals, ChangeRefusals)
)]
async fn restore(
    WithBody { right: Author(asker), body: request, .. }: WithBody<Author, RestoreRequest>,
) -> Result<Json<Restored>, Problem> {
    let name: RepoName = read("repository", &request.repository)?;
    let repository = asker.changer(name, Action::Administer)?;
    let text = |digests: Vec<Digest>| digests.iter().map(ToString::to_string).collect();
    let names = |tags: Vec<Tag>| tags.iter().map(ToString::to_string).collect();
    match (request.digest, request.tag) {
        (Some(digest), None) => {
            let digest: Digest = read("digest", &digest)?;
            let back = repository.restore_manifest(&digest).await?;
            let (tags, taken) = (names(back.tags), names(back.taken));
            Ok(Json(Restored { digest: digest.to_string(), manifests: text(back.manifests), tags, taken }))
        }
        (None, Some(tag)) => {
            let tag: Tag = read("tag", &tag)?;
            let back = repository.restore_tag(&tag).await?;
            let (tags, manifests) = (names(vec![tag]), text(back.restored));
            Ok(Json(Restored { digest: back.to.to_string(), manifests, tags, taken: Vec::new() }))
        }
        _ => Err(Problem::bad("one of digest and tag must be given, and not both")),
    }
}

/// Gives up what is in the trash: nothing brings it back, and the collector takes it.
#[utoipa::path(
    post, path = "/trash/empty", operation_id = "emptyTrash", tag = "trash",
    request_body = EmptyRequest,
    responses((status = OK, description = "What was given up.", body = Emptied), Refusals, ChangeRefusals)
)]
async fn empty(
    WithBody { right: may, body: request, .. }: WithBody<RegistryAdmin, EmptyRequest>,
) -> Result<Json<Emptied>, Problem> {
    let repository = request.repository.as_deref().map(|name| read("repository", name)).transpose()?;
    let emptied = may.empty_trash(repository.as_ref()).await?;
    Ok(Json(Emptied { manifests: emptied.manifests, collected_from: emptied.collected_from.into() }))
}
