//! Writes a tree that a Distribution registry can serve.

use std::io;
use std::path::{Path, PathBuf};

use super::error::TreeError;
use super::layout;
use super::link::Link;
use super::repository::TaggedRevision;
use super::tree::DistributionTree;
use crate::clock::Timestamp;
use crate::oci::{Digest, RepoName};
use crate::shared_files::{self as files, Place};

/// Adds to a tree: an empty one, an earlier export, or the tree of another registry. It adds files, and moves tags;
/// everything else stays. Writing the same again changes nothing.
#[derive(Debug, Clone)]
pub struct DistributionWriter {
    tree: DistributionTree,
}

/// The place of a blob in the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlobPlace {
    /// The tree has the blob.
    Present,
    /// The blob has to be put at this path. Its directory exists.
    Free(PathBuf),
}

impl DistributionWriter {
    /// Creates a tree in `path`, or opens the one that is there.
    ///
    /// # Errors
    /// Fails if the directories can't be created.
    pub fn create(path: &Path) -> Result<Self, TreeError> {
        for directory in [layout::blobs(path), layout::repositories(path)] {
            create_dir(&directory)?;
        }
        Ok(Self { tree: DistributionTree::at(path) })
    }

    /// Returns the tree.
    pub fn tree(&self) -> &DistributionTree {
        &self.tree
    }

    /// Returns where a blob of `size` bytes has to be put, unless the tree has it.
    ///
    /// # Errors
    /// Fails if something else is at its place: a file of another size, which is damaged, is not replaced.
    pub fn blob_place(&self, digest: &Digest, size: u64) -> Result<BlobPlace, TreeError> {
        let path = self.tree.blob_path(digest);
        match files::find_place(&path, size).map_err(|error| TreeError::writing(&path, error))? {
            Place::Present => Ok(BlobPlace::Present),
            Place::Free => Ok(BlobPlace::Free(path)),
            Place::Taken(found) => Err(TreeError::Conflict { path, found }),
        }
    }

    /// Writes a blob from memory. A file with other content, which is damaged, is replaced. Returns whether the tree did
    /// not have the blob.
    ///
    /// # Errors
    /// Fails if the blob can't be written.
    pub fn put_blob_bytes(&self, digest: &Digest, bytes: &[u8]) -> Result<bool, TreeError> {
        let path = self.tree.blob_path(digest);
        files::write_if_different(&path, bytes).map_err(|error| TreeError::writing(&path, error))
    }

    /// Lets a repository serve a blob.
    ///
    /// # Errors
    /// Fails if the link can't be written.
    pub fn link_layer(&self, repo: &RepoName, digest: &Digest) -> Result<(), TreeError> {
        let directory = layout::layers(&self.repository(repo));
        add_link(&layout::link(&directory, digest), digest, None)
    }

    /// Lets a repository serve a manifest, whose content is the blob `digest`.
    ///
    /// # Errors
    /// Fails if the link can't be written.
    pub fn link_revision(
        &self,
        repo: &RepoName,
        digest: &Digest,
        pushed_at: Timestamp,
    ) -> Result<(), TreeError> {
        let directory = layout::revisions(&self.repository(repo));
        add_link(&layout::link(&directory, digest), digest, Some(pushed_at))
    }

    /// Whether a repository serves a manifest.
    ///
    /// # Errors
    /// Fails if the tree can't be read.
    pub fn has_revision(&self, repo: &RepoName, digest: &Digest) -> Result<bool, TreeError> {
        let directory = layout::revisions(&self.repository(repo));
        let link = Link::read_expected(&layout::link(&directory, digest), digest)?;
        Ok(matches!(link, Ok(Some(_))))
    }

    /// Points a tag at its manifest, and records its history.
    ///
    /// # Errors
    /// Fails if a link can't be written.
    pub fn set_tag(&self, repo: &RepoName, tagged: &TaggedRevision) -> Result<(), TreeError> {
        let TaggedRevision { tag, digest, tagged_at, past } = tagged;
        let directory = layout::tags(&self.repository(repo)).join(tag.as_str());
        let index = layout::index(&directory);
        for (digest, at) in past {
            add_link(&layout::link(&index, digest), digest, Some(*at))?;
        }
        add_link(&layout::link(&index, digest), digest, Some(*tagged_at))?;
        // The tag exists from here on.
        add_link(&layout::current(&directory), digest, Some(*tagged_at))
    }

    /// Makes everything that was written durable.
    ///
    /// # Errors
    /// Fails if the disk fails.
    pub fn sync(&self) -> Result<(), TreeError> {
        let root = self.tree.root();
        files::sync_filesystem(root).map_err(|error| TreeError::writing(root, error))
    }

    fn repository(&self, repo: &RepoName) -> PathBuf {
        layout::repository(self.tree.root(), repo)
    }
}

/// Writes a link to `digest`, unless it exists. One to another digest, or one that a crash truncated, is replaced.
fn add_link(path: &Path, digest: &Digest, modified: Option<Timestamp>) -> Result<(), TreeError> {
    match Link::read(path)? {
        Link::To { digest: found, .. } if found == *digest => return Ok(()),
        Link::Absent => create_parent(path)?,
        Link::To { .. } | Link::Dirt(_) => {}
    }
    let written = files::replace(path, digest.as_str().as_bytes(), modified);
    written.map_err(|error| TreeError::writing(path, error))
}

fn create_parent(path: &Path) -> Result<(), TreeError> {
    path.parent().map_or(Ok(()), create_dir)
}

fn create_dir(path: &Path) -> Result<(), TreeError> {
    files::create_dir(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotADirectory => {
            TreeError::Conflict { path: path.to_owned(), found: "is not a directory".to_owned() }
        }
        _ => TreeError::writing(path, error),
    })
}
