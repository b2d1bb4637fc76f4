//! Media types, and which of them are a manifest's.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::ManifestKind;

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
/// A layer that may not be pushed to others, whatever its compression: a prefix.
pub const OCI_NONDISTRIBUTABLE_LAYER: &str = "application/vnd.oci.image.layer.nondistributable.v1.";
/// Docker's layer that has to be fetched from its `urls`.
pub const DOCKER_FOREIGN_LAYER: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";

/// What clients send that never thought of a type: curl's `--data-binary` is the second.
const GENERIC: [&str; 4] =
    ["application/json", "application/x-www-form-urlencoded", "application/octet-stream", "text/plain"];

/// The longest media type (RFC 6838, 4.2), in bytes.
pub const MAX_MEDIA_TYPE_LEN: usize = 2 * MAX_NAME_LEN + 1;

/// The most characters on either side of the slash (RFC 6838, 4.2).
const MAX_NAME_LEN: usize = 127;

/// A text that is no media type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a media type has the form <type>/<subtype>, each of at most 127 letters, digits and !#$&-^_.+")]
pub struct InvalidMediaType;

/// A media type without parameters (RFC 6838, 4.2), spelled as it came: safe to send as a header.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MediaType(Box<str>);

impl MediaType {
    /// The type that a `Content-Type` header names, its parameters left away (spec, "Pushing Manifests").
    ///
    /// # Errors
    /// [`InvalidMediaType`] when what is left is none.
    pub fn from_content_type(header: &str) -> Result<Self, InvalidMediaType> {
        let (media_type, _parameters) = header.split_once(';').unwrap_or((header, ""));
        media_type.trim_matches([' ', '\t']).parse()
    }

    /// The type as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Which kind of manifest has this type. `None` for all that is no manifest, and for schema 1.
    pub fn manifest_kind(&self) -> Option<ManifestKind> {
        manifest_kind(&self.0)
    }

    /// Whether it is Docker's schema 1, signed or not.
    pub fn is_schema1(&self) -> bool {
        matches!(self.as_str(), DOCKER_SCHEMA1 | DOCKER_SCHEMA1_SIGNED)
    }

    /// Whether it says nothing about what kind of document it is.
    pub fn is_generic(&self) -> bool {
        GENERIC.contains(&self.as_str())
    }
}

/// Which kind of manifest has the type `media_type`, as a descriptor spells it.
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
    fn media_types_follow_the_grammar() {
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
    fn parameters_are_left_away() {
        let parse = |header: &str| MediaType::from_content_type(header).map(|t| t.to_string());
        assert_eq!(parse("text/plain ; charset=utf-8"), Ok("text/plain".to_owned()));
        assert_eq!(parse(" a/b"), Ok("a/b".to_owned()));
        assert_eq!(parse("; charset=utf-8"), Err(InvalidMediaType));
    }

    #[test]
    fn manifests_are_told_from_the_rest() {
        assert_eq!(manifest_kind(DOCKER_MANIFEST_LIST), Some(ManifestKind::Index));
        assert_eq!(manifest_kind(OCI_ARTIFACT_MANIFEST), Some(ManifestKind::Artifact));
        assert_eq!(manifest_kind(DOCKER_SCHEMA1), None);
        assert_eq!(manifest_kind("application/vnd.oci.image.layer.v1.tar"), None);
        assert!(is_nondistributable("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"));
        assert!(!is_nondistributable("application/vnd.oci.image.layer.v1.tar+zstd"));
    }
}
