//! Which kind of manifest a content is.

use super::InvalidManifest;
use super::object::Object;
use crate::oci::media_type::{OCI_IMAGE_INDEX, OCI_IMAGE_MANIFEST};
use crate::oci::{InvalidMediaType, MediaType};

/// What a manifest is, which decides what it refers to by which fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ManifestKind {
    /// A config and layers: OCI's image manifest, Docker's schema 2.
    Image,
    /// Manifests: OCI's index, Docker's list.
    Index,
    /// Blobs: the artifact manifest of a withdrawn draft of OCI 1.1.
    Artifact,
}

impl ManifestKind {
    /// The fields that only other kinds have. One that has them anyway is two things at once.
    fn foreign_fields(self) -> &'static [&'static str] {
        match self {
            Self::Image => &["manifests"],
            Self::Index => &["config", "layers"],
            Self::Artifact => &["manifests", "config", "layers"],
        }
    }

    fn has_version(self, version: Option<u64>) -> Result<(), InvalidManifest> {
        match version {
            Some(2) => Ok(()),
            Some(other) => Err(InvalidManifest::SchemaVersion(other)),
            // The artifact manifest never had one.
            None if self == Self::Artifact => Ok(()),
            None => Err(InvalidManifest::Missing { path: "schemaVersion".to_owned() }),
        }
    }
}

/// Decides by what header and body say, else by the shape.
pub(super) fn decide(
    top: &Object<'_>,
    content_type: Option<&MediaType>,
) -> Result<(MediaType, ManifestKind), InvalidManifest> {
    let declared = declared(top)?;
    let version = top.get("schemaVersion")?;
    refuse_schema1(top, version, [content_type, declared.as_ref()])?;
    let (media_type, kind) = match agreed(content_type.filter(|t| !t.is_generic()), declared)? {
        None => by_shape(top)?,
        Some(media_type) => match media_type.manifest_kind() {
            Some(kind) => (media_type, kind),
            None => unknown(media_type, top)?,
        },
    };
    if let Some(field) = kind.foreign_fields().iter().find(|field| top.has(field)) {
        return Err(InvalidManifest::MixedKinds(field));
    }
    kind.has_version(version)?;
    Ok((media_type, kind))
}

/// The body's `mediaType`. Go's clients write an empty one for none.
fn declared(top: &Object<'_>) -> Result<Option<MediaType>, InvalidManifest> {
    let declared = top.get::<String>("mediaType")?.filter(|text| !text.is_empty());
    declared.map(|text| text.parse().map_err(|error: InvalidMediaType| error.into())).transpose()
}

fn refuse_schema1(
    top: &Object<'_>,
    version: Option<u64>,
    types: [Option<&MediaType>; 2],
) -> Result<(), InvalidManifest> {
    let named = types.into_iter().flatten().any(MediaType::is_schema1);
    if named || version == Some(1) || top.has("fsLayers") { Err(InvalidManifest::Schema1) } else { Ok(()) }
}

/// The type that header and body name, if they name one.
fn agreed(
    content_type: Option<&MediaType>,
    declared: Option<MediaType>,
) -> Result<Option<MediaType>, InvalidManifest> {
    match (content_type, declared) {
        (Some(content_type), Some(media_type)) if *content_type != media_type => {
            Err(InvalidManifest::MediaTypeMismatch { content_type: content_type.clone(), media_type })
        }
        (content_type, declared) => Ok(declared.or_else(|| content_type.cloned())),
    }
}

/// What says nothing about itself is OCI's, which is what such clients mean (helm).
fn by_shape(top: &Object<'_>) -> Result<(MediaType, ManifestKind), InvalidManifest> {
    let kind = shape(top)?;
    let media_type = if kind == ManifestKind::Index { OCI_IMAGE_INDEX } else { OCI_IMAGE_MANIFEST };
    Ok((media_type.parse()?, kind))
}

/// A type that we do not know. It is served as it came, so it may not be one that a browser would run.
fn unknown(media_type: MediaType, top: &Object<'_>) -> Result<(MediaType, ManifestKind), InvalidManifest> {
    let kind = shape(top)?;
    let text = media_type.as_str();
    let acceptable = media_type.is_generic() || text.starts_with("application/") && text.ends_with("+json");
    if acceptable { Ok((media_type, kind)) } else { Err(InvalidManifest::UnknownMediaType(media_type)) }
}

fn shape(top: &Object<'_>) -> Result<ManifestKind, InvalidManifest> {
    match (top.has("config"), top.has("manifests")) {
        (true, false) => Ok(ManifestKind::Image),
        (false, true) => Ok(ManifestKind::Index),
        (true, true) => Err(InvalidManifest::MixedKinds("manifests")),
        (false, false) => Err(InvalidManifest::UnknownKind),
    }
}
