//! Why a content is no manifest.

use thiserror::Error;

use crate::oci::{Digest, InvalidMediaType, MediaType};

/// Why a content is no manifest that can be accepted. Each message can be shown to the client.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidManifest {
    /// It is no JSON, or its outermost value is no object.
    #[error("the manifest is no JSON object: {0}")]
    NotJson(String),
    /// It is nested more deeply than readers can be expected to follow.
    #[error("the manifest is nested more than {limit} levels deep")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// A field that is there twice, or spelled in other case: readers would not agree on what it says.
    #[error("the manifest's field {path} is spelled `{spelling}`, or is there more than once")]
    AmbiguousField {
        /// Which field, from the outermost object on.
        path: String,
        /// How it was spelled.
        spelling: String,
    },
    /// A field that has to be there.
    #[error("the manifest has no {path}")]
    Missing {
        /// Which field, from the outermost object on.
        path: String,
    },
    /// A field that says something impossible.
    #[error("the manifest's {path} is invalid: {reason}")]
    Field {
        /// Which field, from the outermost object on.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Docker's schema 1, which has been deprecated since 2017.
    #[error(
        "Docker image manifests of schema 1 are not supported: push the image again with a client that writes \
         schema 2 or OCI manifests"
    )]
    Schema1,
    /// A `schemaVersion` that nobody has defined.
    #[error("the manifest's schemaVersion must be 2, not {0}")]
    SchemaVersion(u64),
    /// The manifest's own type is none.
    #[error("the manifest's mediaType is invalid: {0}")]
    MediaType(#[from] InvalidMediaType),
    /// Header and body disagree.
    #[error("the Content-Type {content_type} is not the manifest's mediaType {media_type}")]
    MediaTypeMismatch {
        /// What the header says.
        content_type: MediaType,
        /// What the body says.
        media_type: MediaType,
    },
    /// Neither a known type nor the shape of a known one.
    #[error(
        "the manifest is neither an image (config and layers) nor an index (manifests) nor of a known type"
    )]
    UnknownKind,
    /// A type that is no manifest's, for all that its shape is.
    #[error("{0} is not the type of a manifest: it must be a known one, or application/…+json")]
    UnknownMediaType(MediaType),
    /// An image and an index in one (CVE-2021-41190): clients would not agree on which.
    #[error("the manifest may not have {0}, being of another kind (CVE-2021-41190)")]
    MixedKinds(&'static str),
    /// Two descriptors of one digest, of which at most one can be true.
    #[error("the manifest gives {digest} two sizes, {first} and {second}")]
    TwoSizes {
        /// Of what.
        digest: Digest,
        /// What the first descriptor says.
        first: u64,
        /// What the second one says.
        second: u64,
    },
    /// A descriptor whose size is not that of what it describes.
    #[error("the manifest gives {digest} the size {claimed}, but it has {actual} bytes")]
    WrongSize {
        /// Of what.
        digest: Digest,
        /// What the descriptor says.
        claimed: u64,
        /// How many bytes it has.
        actual: u64,
    },
    /// A type that is no media type.
    #[error("the manifest's {field} is invalid: {error}")]
    FieldType {
        /// Which field, or whose.
        field: String,
        /// What is wrong with it.
        error: InvalidMediaType,
    },
    /// It refers to more than the registry's settings allow.
    #[error("the manifest refers to more than {limit} blobs and manifests, the most that is allowed here")]
    TooManyReferences {
        /// The limit.
        limit: usize,
    },
}
