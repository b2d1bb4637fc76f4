//! Link files, which hold a digest.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::error::{Finding, Reason, TreeError};

use crate::clock::Timestamp;
use crate::oci::Digest;
use crate::shared_files::to_timestamp;

/// A longer file is no link: the longest digest has 135 bytes.
const MAX_LINK_BYTES: u64 = 256;

/// What was found at the path of a link.
#[derive(Debug)]
pub(super) enum Link {
    /// There is no file.
    Absent,
    /// A link.
    To {
        /// The digest that it names.
        digest: Digest,
        /// When it was written.
        modified: Timestamp,
    },
    /// Something that is no link.
    Dirt(Reason),
}

impl Link {
    /// Reads the link at `path`.
    pub(super) fn read(path: &Path) -> Result<Self, TreeError> {
        // A FIFO must not block the reader.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let opened = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path);
        let file = match opened {
            Ok(file) => file,
            Err(error) if is_absent(&error) => return Ok(Self::Absent),
            Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
                return Ok(Self::Dirt(Reason::SymbolicLink));
            }
            Err(error) => return Err(TreeError::reading(path, error)),
        };
        let at_path = |error| TreeError::reading(path, error);
        let metadata = file.metadata().map_err(at_path)?;
        if !metadata.is_file() {
            return Ok(Self::Dirt(Reason::NotAFile));
        }
        let mut content = Vec::new();
        file.take(MAX_LINK_BYTES).read_to_end(&mut content).map_err(at_path)?;
        if content.is_empty() {
            return Ok(Self::Dirt(Reason::EmptyLink));
        }
        let digest = std::str::from_utf8(&content).ok().and_then(|text| text.parse().ok());
        let modified = to_timestamp(metadata.modified().map_err(at_path)?);
        Ok(digest.map_or(Self::Dirt(Reason::InvalidLink), |digest| Self::To { digest, modified }))
    }

    /// Reads the link at `path`, which must name `expected`. Returns when it was written; `None` if there is no link,
    /// as after a deletion.
    pub(super) fn read_expected(
        path: &Path,
        expected: &Digest,
    ) -> Result<Result<Option<Timestamp>, Finding>, TreeError> {
        Ok(match Self::read(path)? {
            Self::Absent => Ok(None),
            Self::To { digest, modified } if digest == *expected => Ok(Some(modified)),
            Self::To { digest, .. } => Err(Finding::new(path, Reason::OtherDigest(digest))),
            Self::Dirt(reason) => Err(Finding::new(path, reason)),
        })
    }
}

/// The link of a blob.
#[derive(Debug)]
pub(super) struct BlobLink {
    /// The digest under which the content is stored.
    pub(super) stored_as: Digest,
    /// When it was written.
    pub(super) modified: Timestamp,
}

impl BlobLink {
    /// Reads the link at `path` of the blob `digest`. `None` if there is no link.
    ///
    /// Distribution 3 stores the content of a blob that was pushed with a SHA-512 digest under its SHA-256 digest, which
    /// the link names (`linkedBlobStore.linkBlob` in `registry/storage/linkedblobstore.go`).
    pub(super) fn read(path: &Path, digest: &Digest) -> Result<Result<Option<Self>, Finding>, TreeError> {
        Ok(match Link::read(path)? {
            Link::Absent => Ok(None),
            Link::To { digest: stored_as, modified }
                if stored_as == *digest || stored_as.algorithm() != digest.algorithm() =>
            {
                Ok(Some(Self { stored_as, modified }))
            }
            Link::To { digest, .. } => Err(Finding::new(path, Reason::OtherDigest(digest))),
            Link::Dirt(reason) => Err(Finding::new(path, reason)),
        })
    }
}

/// Whether `error` says that there is no such file: it, or a directory above it, was deleted.
pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
