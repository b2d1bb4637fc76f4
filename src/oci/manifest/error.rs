//! Why a content is not an acceptable manifest.

use thiserror::Error;

use crate::oci::{Digest, InvalidMediaType, MediaType};

/// Why a content is not an acceptable manifest. Each message can be shown to the client.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidManifest {
    /// It is not JSON, or the outermost value is not an object.
    #[error("the manifest is not a JSON object: {0}")]
    NotJson(String),
    /// It is nested too deeply for common JSON readers.
    #[error("the manifest is nested more than {limit} levels deep")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// A field occurs twice or in another case, so that readers would not agree on its value.
    #[error("the manifest's field {path} is spelled `{spelling}`, or occurs more than once")]
    AmbiguousField {
        /// The path of the field, starting at the outermost object.
        path: String,
        /// The spelling found.
        spelling: String,
    },
    /// A required field is missing.
    #[error("the manifest has no {path}")]
    Missing {
        /// The path of the field, starting at the outermost object.
        path: String,
    },
    /// A field has an invalid value.
    #[error("the manifest's {path} is invalid: {reason}")]
    Field {
        /// The path of the field, starting at the outermost object.
        path: String,
        /// Why the value is invalid.
        reason: String,
    },
    /// The manifest uses Docker's schema 1, which has been deprecated since 2017.
    #[error(
        "Docker image manifests of schema 1 are not supported; push the image again with a client that \
         writes schema 2 or OCI manifests"
    )]
    Schema1,
    /// The `schemaVersion` is undefined.
    #[error("the manifest's schemaVersion must be 2, not {0}")]
    SchemaVersion(u64),
    /// The manifest's own media type is invalid.
    #[error("the manifest's mediaType is invalid: {0}")]
    MediaType(InvalidMediaType),
    /// The header and the body disagree.
    #[error("the Content-Type {content_type} is not the manifest's mediaType {media_type}")]
    MediaTypeMismatch {
        /// The type in the header.
        content_type: MediaType,
        /// The type in the body.
        media_type: MediaType,
    },
    /// Neither the type nor the fields are those of a known kind.
    #[error(
        "the manifest is neither an image (config and layers) nor an index (manifests) nor of a known type"
    )]
    UnknownKind,
    /// The fields are those of a manifest, but the type is not.
    #[error("{0} is not the type of a manifest; it must be a known one, or application/…+json")]
    UnknownMediaType(MediaType),
    /// It has fields of both an image and an index (CVE-2021-41190), so that clients would not agree on its kind.
    #[error("the manifest must not have {0}, because it is of another kind (CVE-2021-41190)")]
    MixedKinds(&'static str),
    /// Two descriptors of the same digest have different sizes.
    #[error("the manifest gives {digest} two sizes, {first} and {second}")]
    TwoSizes {
        /// The digest.
        digest: Digest,
        /// The size in the first descriptor.
        first: u64,
        /// The size in the second descriptor.
        second: u64,
    },
    /// The size in a descriptor is not the size of the content.
    #[error("the manifest gives {digest} the size {claimed}, but it has {actual} bytes")]
    WrongSize {
        /// The digest.
        digest: Digest,
        /// The size in the descriptor.
        claimed: u64,
        /// The size of the content.
        actual: u64,
    },
    /// A media type in a field is invalid.
    #[error("the manifest's {field} is invalid: {error}")]
    FieldType {
        /// The field.
        field: String,
        /// Why it is invalid.
        error: InvalidMediaType,
    },
    /// It has more references than the registry's settings allow.
    #[error("the manifest refers to more than {limit} blobs and manifests, the maximum of this registry")]
    TooManyReferences {
        /// The limit.
        limit: usize,
    },
}
