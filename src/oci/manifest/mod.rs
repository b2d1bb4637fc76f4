//! Manifests: what a registry has to know of them. The exact bytes are kept elsewhere.
//!
//! Strict with what comes in, so that no client can read an accepted manifest as something else than we do:
//! what one client calls an image and another an index, or a field that is there twice, would refer to things
//! that nobody keeps.

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
pub use kind::ManifestKind;
pub use recorded::RecordedManifest;
pub use references::{ManifestReference, Role, TargetKind};

use self::object::Object;
use self::strings::StringMap;
use super::{Digest, MediaType};

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

/// How deeply a manifest may be nested: where `serde_json`, as a careful reader, stops.
const MAX_DEPTH: usize = 127;

/// What a manifest may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ManifestLimits {
    /// The most distinct blobs and manifests that it may refer to.
    pub max_references: usize,
}

/// What a manifest says, as far as a registry must know. Its annotations stay in its bytes: see [`Annotations`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Its type, to be served as `Content-Type`.
    pub media_type: MediaType,
    /// What it is.
    pub kind: ManifestKind,
    /// Its `artifactType`; without it an image's config's type, for the list of referrers
    /// (spec, "Listing Referrers").
    pub artifact_type: Option<String>,
    /// What it is about.
    pub subject: Option<Digest>,
    /// What it refers to, the subject included, each target once.
    pub references: Vec<ManifestReference>,
}

impl Manifest {
    /// Reads a manifest that was pushed with this `Content-Type` (spec, "Pushing Manifests").
    ///
    /// # Errors
    /// [`InvalidManifest`]: why it has to be refused.
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
        let (media_type, kind) = kind::decide(&top, content_type)?;
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
    /// Checks what only a new push has to fulfil: its types are media types (RFC 6838). What was accepted earlier is taken
    /// as it is.
    ///
    /// # Errors
    /// [`InvalidManifest::FieldType`].
    pub fn check_types(&self) -> Result<(), InvalidManifest> {
        for target in &self.references {
            // Clients give parameters to types of layers.
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
