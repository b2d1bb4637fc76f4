//! What is in a manifest: the layers of an image with the commands that made them and the tags that share them, the
//! platforms of an index, the files of an artifact, and what is attached to it.

use bytes::Bytes;

use super::Reports;
use crate::metadata::{Count, ManifestEntry, ReferrerRecord, Related, Visible};
use crate::oci::{
    ArtifactKind, ArtifactTraits, AttachmentKind, BuildStep, ContentDescriptor, Digest, ImageConfig,
    ImageDetails, ManifestContents, Reference, RepoName, SbomFormat, ShownAnnotations, Tag, attached_tag,
};
use crate::registry::{Access, ManifestError, ServiceError};

/// The maximum number of layers whose tags are counted: more than Docker allows in an image.
const MAX_COUNTED_LAYERS: usize = 128;

/// The maximum number of members of an index whose sizes are summed.
const MAX_SIZED_MEMBERS: usize = 100;

/// The maximum number of attestations in an index that are read.
const MAX_READ_ATTESTATIONS: usize = 32;

/// The maximum number of attached manifests.
const MAX_REFERRERS: usize = 100;

/// Manifests larger than this are parsed on the blocking pool.
const LARGE_MANIFEST: usize = 64 << 10;

/// What is in a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentReport {
    /// The manifest itself.
    pub entry: ManifestEntry,
    /// All tags that point at it, and the indexes that list it.
    pub related: Related,
    /// Its kind.
    pub kind: ArtifactKind,
    /// Its exact bytes.
    pub content: Bytes,
    /// Its annotations.
    pub annotations: ShownAnnotations,
    /// The descriptor of its config.
    pub config_descriptor: Option<ContentDescriptor>,
    /// The config of an image. `None` if there is none, or if it can't be read or is larger than 1 MiB.
    pub config: Option<ImageConfig>,
    /// The layers in order, or the files of an artifact. A digest may occur twice.
    pub layers: Vec<LayerReport>,
    /// The steps that built an image, in order.
    pub steps: Vec<StepReport>,
    /// The members of an index without attestations, in order.
    pub members: Vec<MemberReport>,
    /// The attestations in an index.
    pub attestations: Vec<AttestationReport>,
    /// Whether there are more layers or members.
    pub incomplete: bool,
    /// The manifest that it is attached to.
    pub subject: Option<Digest>,
    /// What is attached to it: up to a hundred manifests, and those under tags of cosign.
    pub referrers: Vec<ReferrerReport>,
    /// Whether more is attached.
    pub more_referrers: bool,
}

/// A layer, or a file of an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerReport {
    /// Its descriptor.
    pub descriptor: ContentDescriptor,
    /// The command that made it, as a line of a Dockerfile, if known.
    pub command: Option<String>,
    /// In how many other tags it is, in repositories that the client may read. `None` after the first 128 layers.
    pub other_tags: Option<Count>,
}

/// A step that built an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepReport {
    /// The step.
    pub step: BuildStep,
    /// The position of the layer that it made, if it made one that exists.
    pub layer: Option<usize>,
}

/// A member of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberReport {
    /// Its descriptor.
    pub descriptor: ContentDescriptor,
    /// The size of its config and layers. `None` if the repository does not have it, and after the first hundred.
    pub size: Option<u64>,
}

/// An attestation in an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttestationReport {
    /// Its descriptor.
    pub descriptor: ContentDescriptor,
    /// The member of the index that it is about.
    pub attested: Option<Digest>,
    /// The types of its statements.
    pub predicates: Vec<String>,
}

/// A manifest that is attached to another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferrerReport {
    /// Its digest.
    pub digest: Digest,
    /// Its kind.
    pub kind: ArtifactKind,
    /// Its artifact type.
    pub artifact_type: Option<String>,
    /// The size of the manifest itself in bytes.
    pub size: u64,
    /// The tag of cosign that attaches it. `None` if it names its subject.
    pub tag: Option<Tag>,
}

impl Reports {
    /// Returns what is in a manifest. This does not count as a pull. Tags that share its layers are counted in
    /// `visible` repositories only.
    ///
    /// # Errors
    /// [`ManifestError::Unknown`] or [`ManifestError::NameUnknown`] if it does not exist.
    pub async fn contents(
        &self,
        name: &RepoName,
        digest: &Digest,
        visible: &Visible,
    ) -> Result<ContentReport, ManifestError> {
        self.registry.flush_pulls_for_report().await;
        let metadata = self.registry.metadata();
        let found = metadata.manifest_entry(name, digest).await?;
        let record = metadata.manifest(name, &Reference::Digest(digest.clone())).await?;
        let (Some((entry, related)), Some(record)) = (found, record) else {
            return Err(self.registry.unknown_manifest(name).await?);
        };
        let contents = parse(record.content.clone()).await;
        let kind = ArtifactKind::of(&ArtifactTraits {
            manifest_type: &entry.media_type,
            artifact_type: entry.artifact_type.as_deref(),
            contents: Some(&contents),
            annotations: Some(&contents.annotations.pairs),
        });
        let config = self.image_config(name, contents.config.as_ref()).await;
        let (attestations, members): (Vec<_>, Vec<_>) =
            contents.members.into_iter().partition(ContentDescriptor::is_attestation);
        let (referrers, more_referrers) = self.referrers(name, digest).await?;
        Ok(ContentReport {
            kind,
            content: record.content,
            steps: steps(config.as_ref(), contents.layers.len()),
            layers: self.layers(name, digest, contents.layers, config.as_ref(), visible).await?,
            members: self.members(name, members).await?,
            attestations: self.attestations(name, attestations).await?,
            config_descriptor: contents.config,
            config,
            annotations: contents.annotations,
            incomplete: contents.incomplete,
            subject: contents.subject,
            referrers,
            more_referrers,
            entry,
            related,
        })
    }

    async fn image_config(&self, name: &RepoName, config: Option<&ContentDescriptor>) -> Option<ImageConfig> {
        let config = config.filter(|config| ImageDetails::is_image_config(&config.media_type))?;
        let repository = self.registry.repository(name.clone(), Access { push: false });
        repository.image_config(&config.digest).await
    }

    async fn layers(
        &self,
        name: &RepoName,
        digest: &Digest,
        layers: Vec<ContentDescriptor>,
        config: Option<&ImageConfig>,
        visible: &Visible,
    ) -> Result<Vec<LayerReport>, ServiceError> {
        let counted: Vec<_> =
            layers.iter().take(MAX_COUNTED_LAYERS).map(|layer| layer.digest.clone()).collect();
        let counts = match counted.is_empty() {
            true => Vec::new(),
            false => self.registry.metadata().tags_sharing(name, digest, &counted, visible).await?,
        };
        let made_by = config.map(|config| config.steps_of_layers(layers.len())).unwrap_or_default();
        let layer = |(position, descriptor): (usize, ContentDescriptor)| LayerReport {
            command: made_by.get(position).copied().flatten().and_then(command_of),
            other_tags: counts.get(position).copied(),
            descriptor,
        };
        Ok(layers.into_iter().enumerate().map(layer).collect())
    }

    async fn members(
        &self,
        name: &RepoName,
        members: Vec<ContentDescriptor>,
    ) -> Result<Vec<MemberReport>, ServiceError> {
        let sized: Vec<_> =
            members.iter().take(MAX_SIZED_MEMBERS).map(|member| member.digest.clone()).collect();
        let sizes = match sized.is_empty() {
            true => Vec::new(),
            false => self.registry.metadata().content_sizes(name, &sized).await?,
        };
        let sizes = sizes.into_iter().chain(std::iter::repeat(None));
        let member = |(descriptor, size)| MemberReport { descriptor, size };
        Ok(members.into_iter().zip(sizes).map(member).collect())
    }

    async fn attestations(
        &self,
        name: &RepoName,
        attestations: Vec<ContentDescriptor>,
    ) -> Result<Vec<AttestationReport>, ServiceError> {
        let mut reports = Vec::with_capacity(attestations.len());
        for descriptor in attestations {
            let mut predicates = Vec::new();
            if reports.len() < MAX_READ_ATTESTATIONS {
                let reference = Reference::Digest(descriptor.digest.clone());
                if let Some(record) = self.registry.metadata().manifest(name, &reference).await? {
                    predicates = parse(record.content).await.predicates();
                }
            }
            let attested = descriptor.attested();
            reports.push(AttestationReport { descriptor, attested, predicates });
        }
        Ok(reports)
    }

    /// Returns what is attached to a manifest, and whether there is more.
    async fn referrers(
        &self,
        name: &RepoName,
        digest: &Digest,
    ) -> Result<(Vec<ReferrerReport>, bool), ServiceError> {
        let metadata = self.registry.metadata();
        let mut found = metadata.referrers(name, digest, None, None, MAX_REFERRERS + 1).await?;
        let more = found.len() > MAX_REFERRERS;
        found.truncate(MAX_REFERRERS);
        let mut reports: Vec<_> = found.into_iter().map(ReferrerReport::from).collect();
        for attachment in [AttachmentKind::Signature, AttachmentKind::Attestation, AttachmentKind::Sbom] {
            let tag = attached_tag(digest, attachment);
            let Some(record) = metadata.manifest(name, &Reference::Tag(tag.clone())).await? else {
                continue;
            };
            let size = record.content.len() as u64;
            let contents = parse(record.content).await;
            let traits = ArtifactTraits {
                manifest_type: &record.media_type,
                artifact_type: contents.artifact_type.as_deref(),
                contents: Some(&contents),
                annotations: Some(&contents.annotations.pairs),
            };
            let kind = match (ArtifactKind::of(&traits), attachment) {
                (ArtifactKind::Image | ArtifactKind::Other, AttachmentKind::Signature) => {
                    ArtifactKind::CosignSignature
                }
                (ArtifactKind::Image | ArtifactKind::Other, AttachmentKind::Attestation) => {
                    ArtifactKind::Attestation
                }
                (ArtifactKind::Image | ArtifactKind::Other, _) => ArtifactKind::Sbom(SbomFormat::Other),
                (kind, _) => kind,
            };
            let artifact_type = contents.artifact_type;
            reports.push(ReferrerReport { digest: record.digest, kind, artifact_type, size, tag: Some(tag) });
        }
        Ok((reports, more))
    }
}

impl From<ReferrerRecord> for ReferrerReport {
    fn from(record: ReferrerRecord) -> Self {
        let annotations = record.annotations.map(|annotations| annotations.to_map());
        let kind = ArtifactKind::of(&ArtifactTraits {
            manifest_type: &record.media_type,
            artifact_type: record.artifact_type.as_deref(),
            contents: None,
            annotations: annotations.as_ref(),
        });
        let ReferrerRecord { digest, artifact_type, size, .. } = record;
        Self { digest, kind, artifact_type, size, tag: None }
    }
}

async fn parse(content: Bytes) -> ManifestContents {
    if content.len() <= LARGE_MANIFEST {
        return ManifestContents::read(&content);
    }
    let parsed = tokio::task::spawn_blocking(move || ManifestContents::read(&content)).await;
    parsed.unwrap_or_default()
}

/// Returns the command of a step, or else its comment.
fn command_of(step: &BuildStep) -> Option<String> {
    [&step.command, &step.comment].into_iter().find(|text| !text.is_empty()).cloned()
}

/// Assigns the layers of an image to the steps that made them.
fn steps(config: Option<&ImageConfig>, layers: usize) -> Vec<StepReport> {
    let mut next = 0..layers;
    let mut step = |step: &BuildStep| StepReport {
        layer: if step.is_empty { None } else { next.next() },
        step: step.clone(),
    };
    config.map_or(&[][..], |config| &config.history).iter().map(&mut step).collect()
}
