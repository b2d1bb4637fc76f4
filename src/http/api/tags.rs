//! Lists, sets and deletes tags.

use axum::Json;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::extract::{InPath, InQuery, RepositoryPath, TagPath, WithBody};
use super::page::page;
use super::problem::{ChangeErrors, Errors};
use super::rights::{ChangeRight, Deletes, Pushes, Reader};
use super::routes::{Routes, routes};
use super::{ListParameters, Page, Problem, Time};
use crate::metadata::TagEntry;
use crate::oci::Digest;
use crate::reports::ListedTag;

/// A tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Tag {
    /// Its name.
    pub name: String,
    /// The digest of the manifest that it points at.
    pub digest: String,
    /// The manifest's media type.
    pub media_type: String,
    /// The artifact type; for an image, the media type of its config.
    #[schema(required)]
    pub artifact_type: Option<String>,
    /// The size of the manifest's config and layers in bytes; for an index, of those of its children,
    /// counting each once.
    pub size: u64,
    /// When the tag was last pushed or moved.
    pub pushed_at: Time,
    /// When the manifest was last pulled; `null` if never.
    #[schema(required)]
    pub pulled_at: Option<Time>,
    /// The platforms, such as `linux/arm64/v8`; for an index, those of its children.
    pub platforms: Vec<String>,
    /// Whether the settings in force protect it from expiring.
    pub protected: bool,
    /// Whether it also cannot be moved or deleted.
    pub immutable: bool,
    /// The user or robot that made it point at this manifest; `null` if unknown.
    #[schema(required)]
    pub pushed_by: Option<String>,
    /// Other tags of the same manifest: up to five.
    pub aliases: Vec<String>,
}

/// The target of a tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TagTarget {
    /// The digest of a manifest in the same repository.
    #[schema(pattern = "^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$")]
    pub digest: String,
}

impl From<ListedTag> for Tag {
    fn from(ListedTag { entry, protected, immutable }: ListedTag) -> Self {
        let TagEntry { name, pushed_at, manifest, pushed_by, aliases } = entry;
        Self {
            protected,
            immutable,
            name: name.as_str().into(),
            digest: manifest.digest.to_string(),
            media_type: manifest.media_type,
            artifact_type: manifest.artifact_type,
            size: manifest.size,
            pushed_at: pushed_at.into(),
            pulled_at: manifest.pulled_at.map(Time),
            platforms: manifest.platforms,
            pushed_by,
            aliases: aliases.iter().map(ToString::to_string).collect(),
        }
    }
}

pub(super) fn routes() -> Routes {
    Routes::new().routes(routes!(list)).routes(routes!(get, put, delete))
}

/// Lists the tags of a repository.
#[utoipa::path(
    get, path = "/repositories/{name}/tags", operation_id = "listTags", tag = "tags",
    params(RepositoryPath, ListParameters),
    responses((status = OK, description = "A page of tags.", body = Page<Tag>), Errors)
)]
async fn list(
    reader: Reader,
    InQuery(parameters): InQuery<ListParameters>,
) -> Result<Json<Page<Tag>>, Problem> {
    let query = parameters.query()?;
    let found = reader.tags(&query).await?;
    Ok(Json(page(found, query.sort, Tag::from)?))
}

/// Returns a tag.
#[utoipa::path(
    get, path = "/repositories/{name}/tags/{tag}", operation_id = "getTag", tag = "tags",
    params(TagPath),
    responses((status = OK, description = "The tag.", body = Tag), Errors)
)]
async fn get(reader: Reader, InPath(TagPath { tag, .. }): InPath<TagPath>) -> Result<Json<Tag>, Problem> {
    Ok(Json(reader.tag(&tag).await?.into()))
}

/// Points a tag, new or existing, at a manifest in the repository.
#[utoipa::path(
    put, path = "/repositories/{name}/tags/{tag}", operation_id = "putTag", tag = "tags",
    params(TagPath), request_body = TagTarget,
    responses((status = OK, description = "The tag after the change.", body = Tag), Errors, ChangeErrors)
)]
async fn put(
    WithBody { right, parameters, body: target, audit }: WithBody<
        ChangeRight<Pushes>,
        TagTarget,
        InPath<TagPath>,
    >,
) -> Result<Json<Tag>, Problem> {
    let InPath(TagPath { tag, .. }) = parameters;
    let digest: Digest =
        target.digest.parse().map_err(|error| Problem::bad(format_args!("digest: {error}")))?;
    right.repository.point_tag(tag.clone(), &digest).await?;
    audit.mark_done();
    Ok(Json(right.into_reader().tag(&tag).await?.into()))
}

/// Removes a tag. Its manifest stays until it is collected or expired.
#[utoipa::path(
    delete, path = "/repositories/{name}/tags/{tag}", operation_id = "deleteTag", tag = "tags",
    params(TagPath),
    responses((status = NO_CONTENT, description = "The tag is removed."), Errors, ChangeErrors)
)]
async fn delete(
    right: ChangeRight<Deletes>,
    InPath(TagPath { tag, .. }): InPath<TagPath>,
) -> Result<StatusCode, Problem> {
    right.repository.delete_tag(&tag).await?;
    Ok(StatusCode::NO_CONTENT)
}
