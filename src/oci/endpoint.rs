//! Parses and formats the paths below `/v2`.

use std::fmt;

use percent_encoding::percent_decode_str;
use strum::IntoStaticStr;
use thiserror::Error;

use super::{Digest, ErrorCode, InvalidDigest, InvalidName, InvalidReference, InvalidTag};
use super::{Reference, RepoName, UploadId};

/// An endpoint of the protocol, regardless of the method (spec, "Endpoints").
#[derive(Debug, Clone, PartialEq, Eq, Hash, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Endpoint {
    /// `/v2/`: checks that this is a registry and that the credentials are valid.
    Base,
    /// `/v2/_catalog`: lists the repositories (Docker's, not in the spec).
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
        /// The tag or digest of the manifest.
        reference: Reference,
    },
    /// `/v2/<name>/blobs/<digest>`
    Blob {
        /// The repository.
        name: RepoName,
        /// The digest of the blob.
        digest: Digest,
    },
    /// `/v2/<name>/blobs/uploads/`: starts uploads.
    Uploads {
        /// The repository.
        name: RepoName,
    },
    /// `/v2/<name>/blobs/uploads/<id>`: the spec's `<blob-push-location>`.
    Upload {
        /// The repository.
        name: RepoName,
        /// The id of the upload.
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

/// Why a path is not an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PathError {
    /// It does not have the form of an endpoint.
    #[error("no such endpoint")]
    NotFound,
    /// The repository's name is invalid.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// The tag is invalid.
    #[error(transparent)]
    Tag(#[from] InvalidTag),
    /// The digest is invalid.
    #[error(transparent)]
    Digest(#[from] InvalidDigest),
    /// The upload's id is malformed, so there can't be such an upload.
    #[error("no such upload")]
    Upload,
}

impl PathError {
    /// Returns the protocol's error code.
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
    /// Parses the percent-encoded path of a request, starting with `/v2` and without the query.
    ///
    /// # Errors
    /// Fails with the part of the path that is invalid.
    pub fn parse(path: &str) -> Result<Self, PathError> {
        // Some clients encode the colon of a digest. Invalid UTF-8 becomes a character that no grammar allows.
        let path = percent_decode_str(path).decode_utf8_lossy();
        match path.strip_prefix("/v2").ok_or(PathError::NotFound)? {
            "" | "/" => Ok(Self::Base),
            "/_catalog" => Ok(Self::Catalog),
            rest => Self::parse_in_repository(rest.strip_prefix('/').ok_or(PathError::NotFound)?),
        }
    }

    /// Parses `<name>/…`. A name may have components such as `blobs` or `tags`, so the end of the path decides.
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

    /// Formats the path so that [`Endpoint::parse`] accepts it. It needs no percent-encoding.
    pub fn path(&self) -> String {
        self.to_string()
    }

    /// Returns the kind of endpoint for metrics and logs. It never contains a name.
    pub fn route(&self) -> &'static str {
        self.into()
    }

    /// Returns the repository, if the endpoint belongs to one.
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
