//! Determines the kind of a manifest.

use super::InvalidManifest;
use super::object::Object;
use crate::oci::MediaType;
use crate::oci::media_type::{ManifestKind, OCI_IMAGE_INDEX, OCI_IMAGE_MANIFEST};

impl ManifestKind {
    /// Returns the fields that only other kinds have. A manifest that has them would be of two kinds at once.
    fn foreign_fields(self) -> &'static [&'static str] {
        match self {
            Self::Image => &["manifests"],
            Self::Index => &["config", "layers"],
            Self::Artifact => &["manifests", "config", "layers"],
        }
    }

    fn check_version(self, version: Option<u64>) -> Result<(), InvalidManifest> {
        match version {
            Some(2) => Ok(()),
            Some(other) => Err(InvalidManifest::SchemaVersion(other)),
            // The artifact manifest never had one.
            None if self == Self::Artifact => Ok(()),
            None => Err(InvalidManifest::Missing { path: "schemaVersion".to_owned() }),
        }
    }
}

/// Determines the media type and the kind from the header and the body, or else from the fields.
pub(super) fn determine(
    top: &Object<'_>,
    content_type: Option<&MediaType>,
) -> Result<(MediaType, ManifestKind), InvalidManifest> {
    let declared = declared_type(top)?;
    let version = top.get("schemaVersion")?;
    reject_schema1(top, version, [content_type, declared.as_ref()])?;
    let (media_type, kind) = match agreed_type(content_type.filter(|t| !t.is_generic()), declared)? {
        None => from_fields(top)?,
        Some(media_type) => match media_type.manifest_kind() {
            Some(kind) => (media_type, kind),
            None => unknown_type(media_type, top)?,
        },
    };
    if let Some(field) = kind.foreign_fields().iter().find(|field| top.has(field)) {
        return Err(InvalidManifest::MixedKinds(field));
    }
    kind.check_version(version)?;
    Ok((media_type, kind))
}

/// Returns the `mediaType` in the body. Go's clients write an empty one if there is none.
fn declared_type(top: &Object<'_>) -> Result<Option<MediaType>, InvalidManifest> {
    let declared = top.get::<String>("mediaType")?.filter(|text| !text.is_empty());
    declared.map(|text| text.parse().map_err(InvalidManifest::MediaType)).transpose()
}

fn reject_schema1(
    top: &Object<'_>,
    version: Option<u64>,
    types: [Option<&MediaType>; 2],
) -> Result<(), InvalidManifest> {
    let named = types.into_iter().flatten().any(MediaType::is_schema1);
    if named || version == Some(1) || top.has("fsLayers") { Err(InvalidManifest::Schema1) } else { Ok(()) }
}

/// Returns the type in the header and the body, if they give one.
fn agreed_type(
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

/// Manifests without a type are treated as OCI's, which is what such clients mean (helm).
fn from_fields(top: &Object<'_>) -> Result<(MediaType, ManifestKind), InvalidManifest> {
    let kind = kind_of_fields(top)?;
    let media_type = if kind == ManifestKind::Index { OCI_IMAGE_INDEX } else { OCI_IMAGE_MANIFEST };
    Ok((media_type.parse().map_err(InvalidManifest::MediaType)?, kind))
}

/// Accepts an unknown type. It is served as it was pushed, so it must not be one that a browser would execute.
fn unknown_type(
    media_type: MediaType,
    top: &Object<'_>,
) -> Result<(MediaType, ManifestKind), InvalidManifest> {
    let kind = kind_of_fields(top)?;
    let text = media_type.as_str();
    let acceptable = media_type.is_generic() || text.starts_with("application/") && text.ends_with("+json");
    if acceptable { Ok((media_type, kind)) } else { Err(InvalidManifest::UnknownMediaType(media_type)) }
}

fn kind_of_fields(top: &Object<'_>) -> Result<ManifestKind, InvalidManifest> {
    match (top.has("config"), top.has("manifests")) {
        (true, false) => Ok(ManifestKind::Image),
        (false, true) => Ok(ManifestKind::Index),
        (true, true) => Err(InvalidManifest::MixedKinds("manifests")),
        (false, false) => Err(InvalidManifest::UnknownKind),
    }
}
