//! Media types, and which of them belong to manifests.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// An OCI image manifest.
pub const OCI_IMAGE_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// An OCI image index.
pub const OCI_IMAGE_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The artifact manifest of a withdrawn draft of OCI 1.1, which some clients still push.
pub const OCI_ARTIFACT_MANIFEST: &str = "application/vnd.oci.artifact.manifest.v1+json";
/// Docker's image manifest, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's manifest list.
pub const DOCKER_MANIFEST_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker's image manifest, schema 1.
pub const DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+json";
/// Docker's image manifest, schema 1, signed.
pub const DOCKER_SCHEMA1_SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";
/// The prefix of layers that may not be redistributed, whatever their compression.
pub const OCI_NONDISTRIBUTABLE_LAYER: &str = "application/vnd.oci.image.layer.nondistributable.v1.";
/// Docker's layer that has to be fetched from its `urls`.
pub const DOCKER_FOREIGN_LAYER: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";

/// Generic types, sent by clients that do not set one. The second is curl's with `--data-binary`.
const GENERIC: [&str; 4] =
    ["application/json", "application/x-www-form-urlencoded", "application/octet-stream", "text/plain"];

/// The maximum length of a media type in bytes (RFC 6838, 4.2).
pub const MAX_MEDIA_TYPE_LEN: usize = 2 * MAX_NAME_LEN + 1;

/// The maximum length of each side of the slash (RFC 6838, 4.2).
const MAX_NAME_LEN: usize = 127;

/// The error for a text that is not a media type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "a media type must have the form <type>/<subtype>, each of at most 127 letters, digits and !#$&-^_.+"
)]
pub struct InvalidMediaType;

/// The kind of a manifest. It decides which fields contain references.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ManifestKind {
    /// A config and layers: OCI's image manifest, Docker's schema 2.
    Image,
    /// A list of manifests: OCI's index, Docker's manifest list.
    Index,
    /// A list of blobs: the artifact manifest of a withdrawn draft of OCI 1.1.
    Artifact,
}

/// A media type without parameters (RFC 6838, 4.2), spelled as received. It is safe to send as a header.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MediaType(Box<str>);

impl MediaType {
    /// Parses the type in a `Content-Type` header, without its parameters (spec, "Pushing Manifests").
    ///
    /// # Errors
    /// Fails if it is not a media type.
    pub fn from_content_type(header: &str) -> Result<Self, InvalidMediaType> {
        let (media_type, _parameters) = header.split_once(';').unwrap_or((header, ""));
        media_type.trim_matches([' ', '\t']).parse()
    }

    /// Returns the type as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the kind of manifest with this type. `None` if it is not a manifest's type, and for schema 1.
    pub fn manifest_kind(&self) -> Option<ManifestKind> {
        manifest_kind(&self.0)
    }

    /// Whether it is Docker's schema 1, signed or not.
    pub fn is_schema1(&self) -> bool {
        matches!(self.as_str(), DOCKER_SCHEMA1 | DOCKER_SCHEMA1_SIGNED)
    }

    /// Whether the type does not identify a kind of document.
    pub fn is_generic(&self) -> bool {
        GENERIC.contains(&self.as_str())
    }
}

/// Returns the kind of manifest with the type `media_type`, as in a descriptor.
pub(super) fn manifest_kind(media_type: &str) -> Option<ManifestKind> {
    match media_type {
        OCI_IMAGE_MANIFEST | DOCKER_MANIFEST => Some(ManifestKind::Image),
        OCI_IMAGE_INDEX | DOCKER_MANIFEST_LIST => Some(ManifestKind::Index),
        OCI_ARTIFACT_MANIFEST => Some(ManifestKind::Artifact),
        _ => None,
    }
}

/// Whether a layer of this type may be left out of a push.
pub(super) fn is_nondistributable(media_type: &str) -> bool {
    media_type.starts_with(OCI_NONDISTRIBUTABLE_LAYER) || media_type == DOCKER_FOREIGN_LAYER
}

impl FromStr for MediaType {
    type Err = InvalidMediaType;

    fn from_str(text: &str) -> Result<Self, InvalidMediaType> {
        let (top, sub) = text.split_once('/').ok_or(InvalidMediaType)?;
        if is_restricted_name(top) && is_restricted_name(sub) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidMediaType)
        }
    }
}

/// RFC 6838's `restricted-name`.
fn is_restricted_name(text: &str) -> bool {
    let other = |b: u8| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b);
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphanumeric()) && bytes.all(other) && text.len() <= MAX_NAME_LEN
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_the_grammar_of_media_types() {
        let longest = format!("a/{}", "b".repeat(127));
        for good in [OCI_IMAGE_INDEX, DOCKER_FOREIGN_LAYER, "text/plain", "a/b", "1/2!#$&-^_.+", &longest] {
            assert!(good.parse::<MediaType>().is_ok(), "{good}");
        }
        let too_long = format!("{longest}b");
        for bad in
            ["", "a", "/", "a/", "/b", "a/b/c", "a/!", "a b/c", "a/b;c=d", "a/b\r\nX: y", "ä/b", &too_long]
        {
            assert_eq!(bad.parse::<MediaType>(), Err(InvalidMediaType), "{bad}");
        }
    }

    #[test]
    fn ignores_parameters() {
        let parse = |header: &str| MediaType::from_content_type(header).map(|t| t.to_string());
        assert_eq!(parse("text/plain ; charset=utf-8"), Ok("text/plain".to_owned()));
        assert_eq!(parse(" a/b"), Ok("a/b".to_owned()));
        assert_eq!(parse("; charset=utf-8"), Err(InvalidMediaType));
    }

    #[test]
    fn recognizes_manifest_types() {
        assert_eq!(manifest_kind(DOCKER_MANIFEST_LIST), Some(ManifestKind::Index));
        assert_eq!(manifest_kind(OCI_ARTIFACT_MANIFEST), Some(ManifestKind::Artifact));
        assert_eq!(manifest_kind(DOCKER_SCHEMA1), None);
        assert_eq!(manifest_kind("application/vnd.oci.image.layer.v1.tar"), None);
        assert!(is_nondistributable("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"));
        assert!(!is_nondistributable("application/vnd.oci.image.layer.v1.tar+zstd"));
    }
}
