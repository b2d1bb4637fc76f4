//! Tags.

use std::sync::Arc;

use axum::Json;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::access::{Changer, Deletes, Pushes, Reader};
use super::extract::{InPath, InQuery, OfRepository, OfTag, WithBody};
use super::page::page;
use super::problem::{ChangeRefusals, Refusals};
use super::{Api, ListParameters, Page, Problem, Time};
use crate::jobs::retention::InForce;
use crate::metadata::TagEntry;
use crate::oci::{self, Digest, RepoName};

/// A tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Tag {
    /// Its name.
    pub name: String,
    /// The digest of the manifest that it points at.
    pub digest: String,
    /// The manifest's media type.
    pub media_type: String,
    /// What kind of artifact it is: for an image, its config's media type.
    #[schema(required)]
    pub artifact_type: Option<String>,
    /// The bytes of the manifest's config and layers; for an index, of those of its children, each once.
    pub size: u64,
    /// When the tag was last pushed or moved.
    pub pushed_at: Time,
    /// When the manifest was last pulled; `null` for never.
    #[schema(required)]
    pub pulled_at: Option<Time>,
    /// What it runs on, such as `linux/arm64/v8`; an index has those of its children.
    pub platforms: Vec<String>,
    /// Whether no policy may expire it, by the settings in force.
    pub protected: bool,
    /// Whether, besides, nobody may move or delete it.
    pub immutable: bool,
}

/// What a tag is to point at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TagTarget {
    /// The digest of a manifest in the same repository.
    #[schema(pattern = "^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$")]
    pub digest: String,
}

impl Tag {
    fn new(repository: &RepoName, entry: TagEntry, in_force: &InForce) -> Self {
        let TagEntry { name, pushed_at, manifest } = entry;
        Self {
            protected: in_force.is_protected(repository, &name),
            immutable: in_force.is_immutable(repository, &name),
            name: name.as_str().into(),
            digest: manifest.digest.to_string(),
            media_type: manifest.media_type,
            artifact_type: manifest.artifact_type,
            size: manifest.size,
            pushed_at: pushed_at.into(),
            pulled_at: manifest.pulled_at.map(Time),
            platforms: manifest.platforms,
        }
    }
}

pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(get, put, delete))
}

/// The tags of a repository.
#[utoipa::path(
    get, path = "/repositories/{name}/tags", operation_id = "listTags", tag = "tags",
    params(OfRepository, ListParameters),
    responses((status = OK, description = "A page of them.", body = Page<Tag>), Refusals)
)]
async fn list(
    reader: Reader,
    InQuery(parameters): InQuery<ListParameters>,
) -> Result<Json<Page<Tag>>, Problem> {
    let query = parameters.query()?;
    let (found, in_force) = (reader.tags(&query).await?, reader.in_force());
    let tag = |entry: TagEntry| Tag::new(reader.name(), entry, &in_force);
    Ok(Json(page(found, query.sort, tag)?))
}

/// One of them.
#[utoipa::path(
    get, path = "/repositories/{name}/tags/{tag}", operation_id = "getTag", tag = "tags",
    params(OfTag),
    responses((status = OK, description = "The tag.", body = Tag), Refusals)
)]
async fn get(reader: Reader, InPath(OfTag { tag, .. }): InPath<OfTag>) -> Result<Json<Tag>, Problem> {
    told(&reader, &tag).await
}

async fn told(reader: &Reader, tag: &oci::Tag) -> Result<Json<Tag>, Problem> {
    let entry = reader.tag(tag).await?;
    Ok(Json(Tag::new(reader.name(), entry, &reader.in_force())))
}

/// Points a tag, new or not, at a manifest that is in the repository.
#[utoipa::path(
    put, path = "/repositories/{name}/tags/{tag}", operation_id = "putTag", tag = "tags",
    params(OfTag), request_body = TagTarget,
    responses((status = OK, description = "The tag as it is now.", body = Tag), Refusals, ChangeRefusals)
)]
async fn put(
    WithBody { right: may, head, body: target, slot }: WithBody<Changer<Pushes>, TagTarget, InPath<OfTag>>,
) -> Result<Json<Tag>, Problem> {
    let InPath(OfTag { tag, .. }) = head;
    let digest: Digest =
        target.digest.parse().map_err(|error| Problem::bad(format_args!("digest: {error}")))?;
    may.repository.point_tag(tag.clone(), &digest).await?;
    slot.mark_done();
    told(&may.into_reader(), &tag).await
}

/// Removes a tag alone; its manifest stays for as long as the settings say.
#[utoipa::path(
    delete, path = "/repositories/{name}/tags/{tag}", operation_id = "deleteTag", tag = "tags",
    params(OfTag),
    responses((status = NO_CONTENT, description = "It is gone."), Refusals, ChangeRefusals)
)]
async fn delete(
    may: Changer<Deletes>,
    InPath(OfTag { tag, .. }): InPath<OfTag>,
) -> Result<StatusCode, Problem> {
    may.repository.delete_tag(&tag).await?;
    Ok(StatusCode::NO_CONTENT)
}
