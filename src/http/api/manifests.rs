//! Manifests.

use std::sync::Arc;

use axum::Json;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::access::{Changer, Deletes, Reader};
use super::extract::{InPath, OfManifest};
use super::problem::{ChangeRefusals, Refusals};
use super::{Api, Problem, Time};
use crate::metadata::EdgeKind;
use crate::oci::IndexMember;
use crate::registry::ManifestDetail;

/// A manifest, and what is connected with it: of each, the first thousand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Manifest {
    /// Its digest.
    pub digest: String,
    /// Its media type.
    pub media_type: String,
    /// What kind of artifact it is: for an image, its config's media type.
    #[schema(required)]
    pub artifact_type: Option<String>,
    /// Its own bytes.
    pub manifest_size: u64,
    /// The bytes of its config and layers; for an index, of those of its children, each once.
    pub size: u64,
    /// When it was first pushed.
    pub pushed_at: Time,
    /// When it was last pulled; `null` for never.
    #[schema(required)]
    pub pulled_at: Option<Time>,
    /// The tags that point at it.
    pub tags: Vec<String>,
    /// Its config and layers, by digest.
    pub blobs: Vec<Part>,
    /// The members of an index, in its order.
    pub children: Vec<Child>,
    /// What it is about.
    #[schema(required)]
    pub subject: Option<Part>,
    /// The indexes that list it, which keep it.
    pub indexes: Vec<String>,
    /// What is about it, such as signatures.
    pub referrers: Vec<Referrer>,
}

/// Something that a manifest refers to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Part {
    /// Its digest.
    pub digest: String,
    /// Whether it is in the repository.
    pub present: bool,
}

/// A member of an index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Child {
    /// Its digest.
    pub digest: String,
    /// Its media type.
    pub media_type: String,
    /// Its own bytes.
    pub manifest_size: u64,
    /// What it runs on, such as `linux/arm64/v8`, if that is known.
    #[schema(required)]
    pub platform: Option<String>,
    /// Whether it is in the repository.
    pub present: bool,
}

/// Something that is about a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Referrer {
    /// Its digest.
    pub digest: String,
    /// Its media type.
    pub media_type: String,
    /// What kind of artifact it is.
    #[schema(required)]
    pub artifact_type: Option<String>,
    /// Its own bytes.
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
            children: members.iter().take(crate::metadata::MOST_RELATED).map(child).collect(),
            subject,
            indexes: related.indexes.iter().map(ToString::to_string).collect(),
            referrers: referrers.into_iter().map(referrer).collect(),
        }
    }
}

pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(get, delete))
}

/// A manifest, and what is connected with it. Asking for it is no pull.
#[utoipa::path(
    get, path = "/repositories/{name}/manifests/{digest}", operation_id = "getManifest", tag = "manifests",
    params(OfManifest),
    responses((status = OK, description = "The manifest.", body = Manifest), Refusals)
)]
async fn get(
    reader: Reader,
    InPath(OfManifest { digest, .. }): InPath<OfManifest>,
) -> Result<Json<Manifest>, Problem> {
    Ok(Json(reader.manifest(&digest).await?.into()))
}

/// Removes a manifest and all tags that point at it. What an index lists is not removed.
#[utoipa::path(
    delete, path = "/repositories/{name}/manifests/{digest}", operation_id = "deleteManifest",
    tag = "manifests", params(OfManifest),
    responses((status = NO_CONTENT, description = "It is gone."), Refusals, ChangeRefusals)
)]
async fn delete(
    may: Changer<Deletes>,
    InPath(OfManifest { digest, .. }): InPath<OfManifest>,
) -> Result<StatusCode, Problem> {
    may.repository.delete_manifest(&digest).await?;
    Ok(StatusCode::NO_CONTENT)
}
