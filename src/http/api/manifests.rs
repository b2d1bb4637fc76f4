//! Describes and deletes manifests.

use axum::Json;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::extract::{InPath, ManifestPath};
use super::problem::{ChangeErrors, Errors};
use super::rights::{ChangeRight, Deletes, Reader};
use super::routes::{Routes, routes};
use super::{Problem, Time};
use crate::metadata::EdgeKind;
use crate::oci::IndexMember;
use crate::reports::ManifestDetail;

/// A manifest and related items, up to a thousand of each kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Manifest {
    /// Its digest.
    pub digest: String,
    /// Its media type.
    pub media_type: String,
    /// The artifact type; for an image, the media type of its config.
    #[schema(required)]
    pub artifact_type: Option<String>,
    /// The size of the manifest itself in bytes.
    pub manifest_size: u64,
    /// The size of its config and layers in bytes; for an index, of those of its children, counting each
    /// once.
    pub size: u64,
    /// When it was first pushed.
    pub pushed_at: Time,
    /// When it was last pulled; `null` if never.
    #[schema(required)]
    pub pulled_at: Option<Time>,
    /// The tags that point at it.
    pub tags: Vec<String>,
    /// Its config and layers, by digest.
    pub blobs: Vec<Part>,
    /// The members of an index, in its order.
    pub children: Vec<Child>,
    /// The manifest it refers to as its subject.
    #[schema(required)]
    pub subject: Option<Part>,
    /// The indexes that list it; each keeps it from being removed.
    pub indexes: Vec<String>,
    /// The manifests whose subject it is, such as signatures.
    pub referrers: Vec<Referrer>,
}

/// A blob or manifest that a manifest refers to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Part {
    /// Its digest.
    pub digest: String,
    /// Whether the repository has it.
    pub present: bool,
}

/// A member of an index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Child {
    /// Its digest.
    pub digest: String,
    /// Its media type.
    pub media_type: String,
    /// The size of the manifest itself in bytes.
    pub manifest_size: u64,
    /// The platform, such as `linux/arm64/v8`, if known.
    #[schema(required)]
    pub platform: Option<String>,
    /// Whether the repository has it.
    pub present: bool,
}

/// A manifest with a subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Referrer {
    /// Its digest.
    pub digest: String,
    /// Its media type.
    pub media_type: String,
    /// The artifact type.
    #[schema(required)]
    pub artifact_type: Option<String>,
    /// The size of the manifest itself in bytes.
    pub manifest_size: u64,
}

impl From<ManifestDetail> for Manifest {
    fn from(ManifestDetail { entry, related, members, referrers }: ManifestDetail) -> Self {
        let of = |wanted: EdgeKind| {
            let kind = related.references.iter().filter(move |(_, kind, _)| *kind == wanted);
            kind.map(|(digest, _, present)| Part { digest: digest.to_string(), present: *present })
        };
        let present = |member: &IndexMember| {
            related.references.iter().any(|(digest, kind, present)| {
                *present && *kind != EdgeKind::Subject && *digest == member.digest
            })
        };
        let child = |member: &IndexMember| Child {
            digest: member.digest.to_string(),
            media_type: member.media_type.clone(),
            manifest_size: member.size,
            platform: member.platform.clone(),
            present: present(member),
        };
        let subject = of(EdgeKind::Subject).next();
        let referrer = |record: crate::metadata::ReferrerRecord| Referrer {
            digest: record.digest.to_string(),
            media_type: record.media_type,
            artifact_type: record.artifact_type,
            manifest_size: record.size,
        };
        Self {
            digest: entry.digest.to_string(),
            media_type: entry.media_type,
            artifact_type: entry.artifact_type,
            manifest_size: entry.manifest_size,
            size: entry.size,
            pushed_at: entry.pushed_at.into(),
            pulled_at: entry.pulled_at.map(Time),
            tags: related.tags.iter().map(ToString::to_string).collect(),
            blobs: of(EdgeKind::Blob).collect(),
            children: members.iter().take(crate::metadata::MAX_RELATED).map(child).collect(),
            subject,
            indexes: related.indexes.iter().map(ToString::to_string).collect(),
            referrers: referrers.into_iter().map(referrer).collect(),
        }
    }
}

pub(super) fn routes() -> Routes {
    Routes::new().routes(routes!(get, delete))
}

/// Returns a manifest and related items. This does not count as a pull.
#[utoipa::path(
    get, path = "/repositories/{name}/manifests/{digest}", operation_id = "getManifest", tag = "manifests",
    params(ManifestPath),
    responses((status = OK, description = "The manifest.", body = Manifest), Errors)
)]
async fn get(
    reader: Reader,
    InPath(ManifestPath { digest, .. }): InPath<ManifestPath>,
) -> Result<Json<Manifest>, Problem> {
    Ok(Json(reader.manifest(&digest).await?.into()))
}

/// Removes a manifest and all tags that point at it. A manifest that an index lists is not removed.
#[utoipa::path(
    delete, path = "/repositories/{name}/manifests/{digest}", operation_id = "deleteManifest",
    tag = "manifests", params(ManifestPath),
    responses((status = NO_CONTENT, description = "The manifest is removed."), Errors, ChangeErrors)
)]
async fn delete(
    right: ChangeRight<Deletes>,
    InPath(ManifestPath { digest, .. }): InPath<ManifestPath>,
) -> Result<StatusCode, Problem> {
    right.repository.delete_manifest(&digest).await?;
    Ok(StatusCode::NO_CONTENT)
}
