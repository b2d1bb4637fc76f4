//! The grammar of the paths below `/v2`, both ways.

use std::fmt;

use percent_encoding::percent_decode_str;
use thiserror::Error;

use super::{Digest, ErrorCode, InvalidDigest, InvalidName, InvalidReference, InvalidTag};
use super::{Reference, RepoName, UploadId};

/// What a path names, whatever the method (spec, "Endpoints").
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `/v2/`: is this a registry, and may I use it?
    Base,
    /// `/v2/_catalog`: the repositories (Docker's, not the spec's).
    Catalog,
    /// `/v2/<name>/tags/list`
    Tags {
        /// The repository.
        name: RepoName,
    },
    /// `/v2/<name>/manifests/<tag-or-digest>`
    Manifest {
        /// The repository.
        name: RepoName,
        /// Which manifest.
        reference: Reference,
    },
    /// `/v2/<name>/blobs/<digest>`
    Blob {
        /// The repository.
        name: RepoName,
        /// Which blob.
        digest: Digest,
    },
    /// `/v2/<name>/blobs/uploads/`: where uploads begin.
    Uploads {
        /// The repository.
        name: RepoName,
    },
    /// `/v2/<name>/blobs/uploads/<id>`: the spec's `<blob-push-location>`.
    Upload {
        /// The repository.
        name: RepoName,
        /// Which upload.
        id: UploadId,
    },
    /// `/v2/<name>/referrers/<digest>`
    Referrers {
        /// The repository.
        name: RepoName,
        /// The subject, which need not exist.
        digest: Digest,
    },
}

/// Why a path names nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PathError {
    /// It has the form of no endpoint.
    #[error("no such endpoint")]
    NotFound,
    /// The repository's name is none.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// The tag is none.
    #[error(transparent)]
    Tag(#[from] InvalidTag),
    /// The digest is none.
    #[error(transparent)]
    Digest(#[from] InvalidDigest),
    /// The upload's id has not the form of ours, so no such upload can be.
    #[error("no such upload")]
    Upload,
}

impl PathError {
    /// The protocol's code for it.
    pub fn code(self) -> ErrorCode {
        match self {
            Self::NotFound => ErrorCode::Unsupported,
            Self::Name(_) => ErrorCode::NameInvalid,
            Self::Tag(_) => ErrorCode::TagInvalid,
            Self::Digest(_) => ErrorCode::DigestInvalid,
            Self::Upload => ErrorCode::BlobUploadUnknown,
        }
    }
}

impl From<InvalidReference> for PathError {
    fn from(error: InvalidReference) -> Self {
        match error {
            InvalidReference::Digest(error) => Self::Digest(error),
            InvalidReference::Tag(error) => Self::Tag(error),
        }
    }
}

impl Endpoint {
    /// Reads a request's path as it came, percent-encoded, from `/v2` on and without the query.
    ///
    /// # Errors
    /// [`PathError`]: which part is wrong.
    pub fn parse(path: &str) -> Result<Self, PathError> {
        // Some clients encode a digest's colon. What is no UTF-8 becomes a letter that no grammar has.
        let path = percent_decode_str(path).decode_utf8_lossy();
        match path.strip_prefix("/v2").ok_or(PathError::NotFound)? {
            "" | "/" => Ok(Self::Base),
            "/_catalog" => Ok(Self::Catalog),
            rest => Self::parse_in_repository(rest.strip_prefix('/').ok_or(PathError::NotFound)?),
        }
    }

    /// Reads `<name>/…`. A name may have components like `blobs` or `tags`, so it is the end that tells.
    fn parse_in_repository(path: &str) -> Result<Self, PathError> {
        let (head, last) = path.rsplit_once('/').ok_or(PathError::NotFound)?;
        if let Some(name) = head.strip_suffix("/blobs/uploads") {
            return Self::parse_upload(name.parse()?, last);
        }
        let (name, noun) = head.rsplit_once('/').ok_or(PathError::NotFound)?;
        match (noun, last) {
            ("tags", "list") => Ok(Self::Tags { name: name.parse()? }),
            ("manifests", last) => Ok(Self::Manifest { name: name.parse()?, reference: last.parse()? }),
            ("blobs", "uploads") => Ok(Self::Uploads { name: name.parse()? }),
            ("blobs", last) => Ok(Self::Blob { name: name.parse()?, digest: last.parse()? }),
            ("referrers", last) => Ok(Self::Referrers { name: name.parse()?, digest: last.parse()? }),
            _ => Err(PathError::NotFound),
        }
    }

    fn parse_upload(name: RepoName, id: &str) -> Result<Self, PathError> {
        match id {
            "" => Ok(Self::Uploads { name }),
            id => Ok(Self::Upload { name, id: id.parse().map_err(|_| PathError::Upload)? }),
        }
    }

    /// The path that [`Endpoint::parse`] reads as this. It needs no percent-encoding.
    pub fn path(&self) -> String {
        self.to_string()
    }

    /// What it is, as metrics and logs label it: never with a name in it.
    pub fn route(&self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Catalog => "catalog",
            Self::Tags { .. } => "tags",
            Self::Manifest { .. } => "manifest",
            Self::Blob { .. } => "blob",
            Self::Uploads { .. } => "uploads",
            Self::Upload { .. } => "upload",
            Self::Referrers { .. } => "referrers",
        }
    }

    /// The repository that it is in.
    pub fn name(&self) -> Option<&RepoName> {
        match self {
            Self::Base | Self::Catalog => None,
            Self::Tags { name }
            | Self::Manifest { name, .. }
            | Self::Blob { name, .. }
            | Self::Uploads { name }
            | Self::Upload { name, .. }
            | Self::Referrers { name, .. } => Some(name),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Base => f.write_str("/v2/"),
            Self::Catalog => f.write_str("/v2/_catalog"),
            Self::Tags { name } => write!(f, "/v2/{name}/tags/list"),
            Self::Manifest { name, reference } => write!(f, "/v2/{name}/manifests/{reference}"),
            Self::Blob { name, digest } => write!(f, "/v2/{name}/blobs/{digest}"),
            Self::Uploads { name } => write!(f, "/v2/{name}/blobs/uploads/"),
            Self::Upload { name, id } => write!(f, "/v2/{name}/blobs/uploads/{id}"),
            Self::Referrers { name, digest } => write!(f, "/v2/{name}/referrers/{digest}"),
        }
    }
}

#[cfg(test)]
mod tests;
