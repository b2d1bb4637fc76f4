//! Parses and validates pushed manifests. Their exact content is stored elsewhere.
//!
//! Parsing is strict, so that no client can interpret an accepted manifest differently than the registry does. If a
//! manifest were an image to one client and an index to another, or had a field twice, it could refer to content that
//! the registry does not keep.

mod annotations;
mod base64;
mod descriptor;
mod error;
mod kind;
mod object;
mod recorded;
mod references;
mod strings;
#[cfg(test)]
mod tests;

pub use annotations::Annotations;
pub use error::InvalidManifest;
pub use recorded::RecordedManifest;
pub use references::{ManifestReference, Role, TargetKind};

use self::object::Object;
use self::strings::StringMap;
use super::{Digest, ManifestKind, MediaType};

const FIELDS: [&str; 10] = [
    "schemaVersion",
    "mediaType",
    "artifactType",
    "config",
    "layers",
    "manifests",
    "blobs",
    "subject",
    "annotations",
    "fsLayers",
];

/// The maximum nesting depth of a manifest: the limit of `serde_json`.
const MAX_DEPTH: usize = 127;

/// Limits on a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ManifestLimits {
    /// The maximum number of distinct blobs and manifests it may refer to.
    pub max_references: usize,
}

/// The parts of a manifest that the registry needs. Its annotations stay in its content: see [`Annotations`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The media type, served as `Content-Type`.
    pub media_type: MediaType,
    /// The kind of manifest.
    pub kind: ManifestKind,
    /// The `artifactType`, or else the type of an image's config, for the list of referrers (spec, "Listing
    /// Referrers").
    pub artifact_type: Option<String>,
    /// The subject: the manifest that this one is attached to.
    pub subject: Option<Digest>,
    /// All references, including the subject, each target once.
    pub references: Vec<ManifestReference>,
}

impl Manifest {
    /// Parses a manifest that was pushed with this `Content-Type` (spec, "Pushing Manifests").
    ///
    /// # Errors
    /// Fails with the reason why the manifest has to be rejected.
    pub fn parse(
        content: &[u8],
        content_type: Option<&MediaType>,
        limits: &ManifestLimits,
    ) -> Result<Self, InvalidManifest> {
        let json = str::from_utf8(content).map_err(|error| InvalidManifest::NotJson(error.to_string()))?;
        if object::depth(json) > MAX_DEPTH {
            return Err(InvalidManifest::TooDeep { limit: MAX_DEPTH });
        }
        let top = Object::parse(json, "", &FIELDS)?;
        let (media_type, kind) = kind::determine(&top, content_type)?;
        let subject = references::subject(&top)?;
        let subject_digest = subject.as_ref().map(|subject| subject.digest.clone());
        let references = references::read(&top, kind, subject, limits.max_references)?;
        top.get::<StringMap>("annotations")?;
        Ok(Self {
            media_type,
            kind,
            artifact_type: artifact_type(&top, &references)?,
            subject: subject_digest,
            references,
        })
    }
}

impl Manifest {
    /// Checks a requirement that applies to new pushes only: all types must be media types (RFC 6838). Manifests that
    /// were accepted earlier stay valid.
    ///
    /// # Errors
    /// [`InvalidManifest::FieldType`] if a type is invalid.
    pub fn check_types(&self) -> Result<(), InvalidManifest> {
        for target in &self.references {
            // Clients add parameters to the types of layers.
            MediaType::from_content_type(&target.media_type).map_err(|error| InvalidManifest::FieldType {
                field: format!("mediaType of {}", target.digest),
                error,
            })?;
        }
        let own = self.artifact_type.as_deref().map(str::parse::<MediaType>).transpose();
        own.map(drop).map_err(|error| InvalidManifest::FieldType { field: "artifactType".into(), error })
    }
}

fn artifact_type(
    top: &Object<'_>,
    references: &[ManifestReference],
) -> Result<Option<String>, InvalidManifest> {
    let own = top.get::<String>("artifactType")?.filter(|text| !text.is_empty());
    let config = || references.iter().find(|r| r.role == Role::Config).map(|r| r.media_type.clone());
    Ok(own.or_else(config))
}
