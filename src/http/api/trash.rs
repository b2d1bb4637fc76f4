//! Lists the trash, restores items from it, and empties it.

use std::fmt::Display;
use std::str::FromStr;

use axum::Json;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::extract::{InQuery, WithBody};
use super::page::{page_size, parse_cursor};
use super::problem::{ChangeErrors, Errors};
use super::removed::{Cursor, Removed};
use super::rights::{Author, RegistryAdmin, Requester};
use super::routes::{Routes, routes};
use super::{Page, Problem, Time};
use crate::auth::Action;
use crate::oci::{Digest, RepoName, Tag};

/// Selects a part of the trash.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TrashParameters {
    /// Only items removed from this repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// The maximum number of items; 100 by default. A page may be shorter although more items follow.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// The `next` of the previous page, which was requested with the same `repository`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// What to restore: a manifest by its digest, or a tag.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RestoreRequest {
    /// The repository.
    pub repository: String,
    /// The digest of a manifest in the trash.
    #[schema(pattern = "^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$")]
    pub digest: Option<String>,
    /// A removed tag, if no digest is given.
    #[schema(pattern = "^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$")]
    pub tag: Option<String>,
}

/// The result of a restoration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Restored {
    /// The requested digest, or the digest that the tag points at again.
    pub digest: String,
    /// The manifests restored from the trash, including children of an index.
    pub manifests: Vec<String>,
    /// The restored tags.
    pub tags: Vec<String>,
    /// The tags left unchanged because they have been used again since.
    pub taken: Vec<String>,
}

/// Selects the trash to empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EmptyRequest {
    /// Only the trash of this repository; by default the trash of all repositories.
    pub repository: Option<String>,
}

/// The result of emptying the trash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Emptied {
    /// The number of manifests removed for good.
    pub manifests: u64,
    /// The earliest time at which the collector reclaims the space that only these manifests used, unless a
    /// client that pushes asks for the content first: leases count from the removal. Children and referrers
    /// that are removed with them follow one lease later.
    pub collected_from: Time,
}

/// Parses `text`; an error names the field `field`.
fn parse_field<T: FromStr<Err: Display>>(field: &str, text: &str) -> Result<T, Problem> {
    text.parse().map_err(|error| Problem::bad(format_args!("{field}: {error}")))
}

pub(super) fn routes() -> Routes {
    Routes::new().routes(routes!(list)).routes(routes!(restore)).routes(routes!(empty))
}

/// Lists removed items that can be restored, newest first.
#[utoipa::path(
    get, path = "/trash", operation_id = "listTrash", tag = "trash",
    params(TrashParameters),
    responses((status = OK, description = "A page of items.", body = Page<Removed>), Errors)
)]
async fn list(
    requester: Requester,
    InQuery(parameters): InQuery<TrashParameters>,
) -> Result<Json<Page<Removed>>, Problem> {
    let repository =
        parameters.repository.as_deref().map(|name| parse_field("repository", name)).transpose()?;
    let limit = page_size(parameters.limit)?;
    let after = parse_cursor::<Cursor>(parameters.after.as_deref())?.map(|Cursor(place)| place);
    let found = match repository {
        Some(name) => requester.reader(name)?.trash(after, limit).await?,
        None => requester.registry_reader()?.reports().trash(None, after, limit).await?,
    };
    let next = found.next.map(|place| Cursor(place).to_string());
    Ok(Json(Page { items: found.items.into_iter().map(Removed::from).collect(), next }))
}

/// Restores a manifest with its children and tags, or a tag with its manifest. To restore a whole repository,
/// use its own `restore`.
#[utoipa::path(
    post, path = "/trash/restore", operation_id = "restoreFromTrash", tag = "trash",
    request_body = RestoreRequest,
    responses(
        (status = OK, description = "The restored manifests and tags.", body = Restored),
        Errors, ChangeErrors
    )
)]
async fn restore(
    WithBody { right: Author(requester), body: request, .. }: WithBody<Author, RestoreRequest>,
) -> Result<Json<Restored>, Problem> {
    restore_removed(&requester, request).await.map(Json)
}

/// Restores what a request names, if its sender may.
pub(in crate::http) async fn restore_removed(
    requester: &Requester,
    request: RestoreRequest,
) -> Result<Restored, Problem> {
    let name: RepoName = parse_field("repository", &request.repository)?;
    let repository = requester.repository_to_change(name, Action::Administer)?;
    let text = |digests: Vec<Digest>| digests.iter().map(ToString::to_string).collect();
    let names = |tags: Vec<Tag>| tags.iter().map(ToString::to_string).collect();
    match (request.digest, request.tag) {
        (Some(digest), None) => {
            let digest: Digest = parse_field("digest", &digest)?;
            let restored = repository.restore_manifest(&digest).await?;
            Ok(Restored {
                digest: digest.to_string(),
                manifests: text(restored.manifests),
                tags: names(restored.tags),
                taken: names(restored.tags_in_use),
            })
        }
        (None, Some(tag)) => {
            let tag: Tag = parse_field("tag", &tag)?;
            let restored = repository.restore_tag(&tag).await?;
            Ok(Restored {
                digest: restored.to.to_string(),
                manifests: text(restored.restored),
                tags: names(vec![tag]),
                taken: Vec::new(),
            })
        }
        _ => Err(Problem::bad("give either digest or tag, not both")),
    }
}

/// Removes the items in the trash for good. They cannot be restored, and the collector reclaims their space.
#[utoipa::path(
    post, path = "/trash/empty", operation_id = "emptyTrash", tag = "trash",
    request_body = EmptyRequest,
    responses(
        (status = OK, description = "The number of removed manifests.", body = Emptied),
        Errors, ChangeErrors
    )
)]
async fn empty(
    WithBody { right: admin, body: request, .. }: WithBody<RegistryAdmin, EmptyRequest>,
) -> Result<Json<Emptied>, Problem> {
    let repository = request.repository.as_deref().map(|name| parse_field("repository", name)).transpose()?;
    let emptied = admin.empty_trash(repository.as_ref()).await?;
    Ok(Json(Emptied { manifests: emptied.manifests, collected_from: emptied.collected_from.into() }))
}
