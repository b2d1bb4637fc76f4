//! The protocol of the OCI distribution spec and of the Docker registry API v2: validated types, and the grammar of
//! paths, ranges and errors. No I/O, no HTTP library, no SQL.

mod artifact;
mod contents;
mod details;
mod digest;
mod endpoint;
mod error;
mod hasher;
mod ids;
mod image_config;
mod manifest;
pub mod media_type;
mod name;
mod pagination;
mod platform;
mod range;
mod reference;
mod referrers;
mod string_map;
mod version_key;

pub use artifact::{ArtifactKind, ArtifactTraits, PullClient, SbomFormat};
pub use contents::{ContentDescriptor, MAX_LISTED_DESCRIPTORS, ManifestContents, ShownAnnotations};
pub use details::{DetailSelection, ImageDetails, MAX_CONFIG_BYTES, MAX_LABEL_BYTES};
pub use digest::{Algorithm, Digest, InvalidDigest};
pub use endpoint::{Endpoint, PathError};
pub use error::{ErrorBody, ErrorCode};
pub use hasher::{Hasher, InvalidHashState};
pub use ids::{BlobKey, Generation, UploadId};
pub use image_config::{BuildStep, ImageConfig};
pub use manifest::{
    Annotations, InvalidManifest, Manifest, ManifestLimits, ManifestReference, RecordedManifest, Role,
    TargetKind,
};
pub use media_type::{InvalidMediaType, MAX_MEDIA_TYPE_LEN, ManifestKind, MediaType};
pub use name::{InvalidName, RepoName};
pub use pagination::{InvalidPageSize, Page, PageLimits};
pub use platform::{IndexMember, deduplicate, index_members, platforms};
pub use range::{ByteRange, ContentRange, InvalidContentRange};
pub use reference::{InvalidReference, InvalidTag, Reference, Tag};
pub use referrers::{Attachment, AttachmentKind, Descriptor, ImageIndex, attached_tag, fallback_tag};
pub use version_key::version_key;
