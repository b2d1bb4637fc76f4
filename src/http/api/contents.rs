//! What is in a manifest, and the manifests of a repository that nothing holds.

use std::collections::BTreeMap;

use axum::Json;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::extract::{InPath, InQuery, ManifestPath, RepositoryPath};
use super::problem::Errors;
use super::rights::Reader;
use super::routes::{Routes, routes};
use super::{Page, PageParameters, Problem, Time};
use crate::metadata::{ManifestEntry, UntaggedManifest};
use crate::oci::{self, PullClient};
use crate::reports::{
    AttestationReport, ContentReport, LayerReport, MemberReport, ReferrerReport, StepReport,
};

/// What is in a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Contents {
    /// The digest of the manifest.
    pub digest: String,
    /// Its media type.
    pub media_type: String,
    /// The artifact type; for an image, the media type of its config.
    #[schema(required)]
    pub artifact_type: Option<String>,
    /// What it is, such as `image`, `index`, `helm-chart`, `cosign-signature`, `sbom-spdx` or `other`.
    pub kind: String,
    /// The client that pulls it: `docker`, `helm` or `oras`.
    pub client: String,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// The config of an image; `null` if it has none that can be read.
    #[schema(required)]
    pub config: Option<Config>,
    /// The layers of an image or the files of an artifact, in order, up to a thousand.
    pub layers: Vec<Layer>,
    /// The steps that built an image, in order.
    pub steps: Vec<BuildStep>,
    /// The members of an index without attestations, in order, up to a thousand.
    pub members: Vec<Member>,
    /// The attestations in an index.
    pub attestations: Vec<Attestation>,
    /// The manifest that it is attached to.
    #[schema(required)]
    pub subject: Option<String>,
    /// The manifests attached to it, up to a hundred, and those under tags of cosign.
    pub attached: Vec<Attached>,
    /// Whether something was left out because there is too much of it.
    pub incomplete: bool,
}

/// The config of an image. A text is empty and a list is empty if it is not given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ImageConfig)]
pub struct Config {
    /// The operating system.
    pub os: String,
    /// The processor architecture.
    pub architecture: String,
    /// The variant of the architecture.
    pub variant: String,
    /// When the image was made, as written in it.
    pub created: String,
    /// Who made it.
    pub author: String,
    /// The user that its process runs as.
    pub user: String,
    /// The working directory.
    pub working_dir: String,
    /// The entry point.
    pub entrypoint: Vec<String>,
    /// The command, or the arguments of the entry point.
    pub cmd: Vec<String>,
    /// The environment.
    pub env: Vec<String>,
    /// The exposed ports.
    pub exposed_ports: Vec<String>,
    /// The volumes.
    pub volumes: Vec<String>,
    /// The signal that stops it.
    pub stop_signal: String,
    /// The labels.
    pub labels: BTreeMap<String, String>,
}

/// A layer of an image, or a file of an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Layer {
    /// Its digest.
    pub digest: String,
    /// Its media type.
    pub media_type: String,
    /// Its size in bytes.
    pub size: u64,
    /// The name of the file.
    #[schema(required)]
    pub file: Option<String>,
    /// The command that made it, as a line of a Dockerfile.
    #[schema(required)]
    pub command: Option<String>,
    /// The number of tags that lead to it and not to this manifest, in repositories that the client may pull, up to
    /// 100; `null` after the first 128 layers.
    #[schema(required)]
    pub other_tags: Option<u64>,
    /// Whether there may be more such tags.
    pub more_tags: bool,
}

/// A step that built an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BuildStep {
    /// The command, as a line of a Dockerfile.
    pub command: String,
    /// The comment.
    pub comment: String,
    /// When it was made, as written in the image.
    pub created: String,
    /// The position of its layer, counted from 0; `null` if it made none.
    #[schema(required)]
    pub layer: Option<usize>,
}

/// A member of an index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = SizedMember)]
pub struct Member {
    /// Its digest.
    pub digest: String,
    /// Its media type.
    pub media_type: String,
    /// The platform, such as `linux/arm64/v8`.
    #[schema(required)]
    pub platform: Option<String>,
    /// The size of its config and layers; `null` if the repository does not have it, and after the first hundred.
    #[schema(required)]
    pub size: Option<u64>,
}

/// An attestation in an index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Attestation {
    /// Its digest.
    pub digest: String,
    /// The member of the index that it is about.
    #[schema(required)]
    pub about: Option<String>,
    /// The types of its statements.
    pub predicates: Vec<String>,
}

/// A manifest that is attached to another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Attached {
    /// Its digest.
    pub digest: String,
    /// What it is, such as `cosign-signature`.
    pub kind: String,
    /// The artifact type.
    #[schema(required)]
    pub artifact_type: Option<String>,
    /// The tag of cosign that attaches it; `null` if it names its subject.
    #[schema(required)]
    pub tag: Option<String>,
}

/// A manifest that no tag, index or subject holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Untagged {
    /// Its digest.
    pub digest: String,
    /// Its media type.
    pub media_type: String,
    /// The artifact type; for an image, the media type of its config.
    #[schema(required)]
    pub artifact_type: Option<String>,
    /// The size of its config and layers; for an index, of those of its children, counting each once.
    pub size: u64,
    /// When it was first pushed.
    pub pushed_at: Time,
    /// When it was last pulled; `null` if never.
    #[schema(required)]
    pub pulled_at: Option<Time>,
    /// The platforms.
    pub platforms: Vec<String>,
    /// The rule of a policy that keeps it.
    #[schema(required)]
    pub pinned_by: Option<String>,
    /// When it moves to the trash at the earliest; `null` if it is kept.
    #[schema(required)]
    pub expires_at: Option<Time>,
}

impl From<ContentReport> for Contents {
    fn from(report: ContentReport) -> Self {
        let client = match report.kind.pull_client() {
            PullClient::Docker => "docker",
            PullClient::Helm => "helm",
            PullClient::Oras => "oras",
        };
        let config_incomplete = report.config.as_ref().is_some_and(|config| config.incomplete);
        Self {
            digest: report.entry.digest.to_string(),
            media_type: report.entry.media_type,
            artifact_type: report.entry.artifact_type,
            kind: report.kind.name().to_owned(),
            client: client.to_owned(),
            incomplete: report.incomplete
                || report.more_referrers
                || report.annotations.incomplete
                || config_incomplete,
            annotations: report.annotations.pairs,
            config: report.config.map(Config::from),
            layers: report.layers.into_iter().map(Layer::from).collect(),
            steps: report.steps.into_iter().map(BuildStep::from).collect(),
            members: report.members.into_iter().map(Member::from).collect(),
            attestations: report.attestations.into_iter().map(Attestation::from).collect(),
            subject: report.subject.map(|subject| subject.to_string()),
            attached: report.referrers.into_iter().map(Attached::from).collect(),
        }
    }
}

impl From<oci::ImageConfig> for Config {
    fn from(config: oci::ImageConfig) -> Self {
        Self {
            os: config.os,
            architecture: config.architecture,
            variant: config.variant,
            created: config.created,
            author: config.author,
            user: config.user,
            working_dir: config.working_dir,
            entrypoint: config.entrypoint,
            cmd: config.cmd,
            env: config.env,
            exposed_ports: config.exposed_ports,
            volumes: config.volumes,
            stop_signal: config.stop_signal,
            labels: config.labels,
        }
    }
}

impl From<LayerReport> for Layer {
    fn from(LayerReport { descriptor, command, other_tags }: LayerReport) -> Self {
        Self {
            digest: descriptor.digest.to_string(),
            file: descriptor.file_name().map(str::to_owned),
            media_type: descriptor.media_type,
            size: descriptor.size,
            command,
            other_tags: other_tags.map(|count| count.number),
            more_tags: other_tags.is_none_or(|count| count.more),
        }
    }
}

impl From<StepReport> for BuildStep {
    fn from(StepReport { step, layer }: StepReport) -> Self {
        Self { command: step.command, comment: step.comment, created: step.created, layer }
    }
}

impl From<MemberReport> for Member {
    fn from(MemberReport { descriptor, size }: MemberReport) -> Self {
        Self {
            digest: descriptor.digest.to_string(),
            media_type: descriptor.media_type,
            platform: descriptor.platform,
            size,
        }
    }
}

impl From<AttestationReport> for Attestation {
    fn from(AttestationReport { descriptor, attested, predicates }: AttestationReport) -> Self {
        let about = attested.map(|attested| attested.to_string());
        Self { digest: descriptor.digest.to_string(), about, predicates }
    }
}

impl From<ReferrerReport> for Attached {
    fn from(ReferrerReport { digest, kind, artifact_type, tag, .. }: ReferrerReport) -> Self {
        Self {
            digest: digest.to_string(),
            kind: kind.name().to_owned(),
            artifact_type,
            tag: tag.map(|tag| tag.to_string()),
        }
    }
}

impl From<UntaggedManifest> for Untagged {
    fn from(UntaggedManifest { manifest, pinned_by, expires_at }: UntaggedManifest) -> Self {
        let ManifestEntry {
            digest, media_type, artifact_type, size, pushed_at, pulled_at, platforms, ..
        } = manifest;
        Self {
            digest: digest.to_string(),
            media_type,
            artifact_type,
            size,
            pushed_at: pushed_at.into(),
            pulled_at: pulled_at.map(Time),
            platforms,
            pinned_by,
            expires_at: expires_at.map(Time),
        }
    }
}

pub(super) fn routes() -> Routes {
    Routes::new().routes(routes!(get)).routes(routes!(untagged))
}

/// Returns what is in a manifest: the config and layers of an image, the members of an index, the files of an artifact,
/// and what is attached to it. This does not count as a pull.
#[utoipa::path(
    get, path = "/repositories/{name}/manifests/{digest}/contents", operation_id = "getContents",
    tag = "manifests", params(ManifestPath),
    responses((status = OK, description = "The contents.", body = Contents), Errors)
)]
async fn get(
    reader: Reader,
    InPath(ManifestPath { digest, .. }): InPath<ManifestPath>,
) -> Result<Json<Contents>, Problem> {
    Ok(Json(reader.contents(&digest).await?.into()))
}

/// Lists the manifests that no tag, index or subject holds, in the order of their digests.
#[utoipa::path(
    get, path = "/repositories/{name}/untagged", operation_id = "listUntagged", tag = "manifests",
    params(RepositoryPath, PageParameters),
    responses((status = OK, description = "A page of manifests.", body = Page<Untagged>), Errors)
)]
async fn untagged(
    reader: Reader,
    InQuery(parameters): InQuery<PageParameters>,
) -> Result<Json<Page<Untagged>>, Problem> {
    let after = parameters.after()?;
    let found = reader.untagged(after.as_ref(), parameters.limit()?).await?;
    let items = found.items.into_iter().map(Untagged::from).collect();
    Ok(Json(Page { items, next: found.next.map(|digest| digest.to_string()) }))
}
