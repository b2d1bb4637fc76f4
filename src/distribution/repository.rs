//! One repository of a tree: its manifests, layers and tags.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::path::{Path, PathBuf};

use super::error::{Entry, Finding, Reason, TreeError};
use super::layout;
use super::link::{BlobLink, Link};
use super::listing::{Digests, Listing};
use crate::clock::Timestamp;
use crate::oci::{Digest, RepoName, Tag};

/// The maximum number of earlier digests of a tag that are read: the newest ones.
pub const MAX_PAST: usize = 1000;

/// The directory of a repository.
#[derive(Debug, Clone)]
pub struct RepositoryTree {
    /// The name of the repository.
    pub name: RepoName,
    path: PathBuf,
}

/// A manifest of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// Its digest. The blob with this digest is its content.
    pub digest: Digest,
    /// When it was pushed last.
    pub pushed_at: Timestamp,
}

/// A blob that a repository serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerLink {
    /// Its digest.
    pub digest: Digest,
    /// The digest under which the tree has its content: another one if it is of another algorithm.
    pub stored_as: Digest,
    /// When it was uploaded last.
    pub linked_at: Timestamp,
}

/// A tag of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaggedRevision {
    /// The tag.
    pub tag: Tag,
    /// The manifest that it points at.
    pub digest: Digest,
    /// When it was pushed last.
    pub tagged_at: Timestamp,
    /// The other digests that it pointed at, and when it was last pushed with each, oldest first: the newest
    /// [`MAX_PAST`]. Their manifests may be deleted.
    pub past: Vec<(Digest, Timestamp)>,
}

impl RepositoryTree {
    pub(super) fn new(name: RepoName, path: PathBuf) -> Self {
        Self { name, path }
    }

    /// Returns the directory of the repository.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lists the manifests. Deleted ones, of which only the directory is left, are left out.
    pub fn revisions(&self) -> Revisions {
        Revisions(Digests::of(layout::revisions(&self.path)))
    }

    /// Lists the blobs that the repository serves: layers, configs, and others that were uploaded to it. They need not
    /// exist, because the other registry's garbage collection keeps their links.
    pub fn layers(&self) -> Layers {
        Layers(Digests::of(layout::layers(&self.path)))
    }

    /// Lists the tags.
    pub fn tags(&self) -> Tags {
        Tags { listing: Listing::of(layout::tags(&self.path)), findings: VecDeque::new() }
    }
}

/// The manifests of a repository.
pub struct Revisions(Digests);

impl Iterator for Revisions {
    type Item = Result<Entry<Revision>, TreeError>;

    fn next(&mut self) -> Option<Self::Item> {
        next_linked(&mut self.0, |path, digest| {
            let read = Link::read_expected(path, digest)?;
            Ok(read.map(|at| at.map(|pushed_at| Revision { digest: digest.clone(), pushed_at })))
        })
    }
}

/// The blobs that a repository serves.
pub struct Layers(Digests);

impl Iterator for Layers {
    type Item = Result<Entry<LayerLink>, TreeError>;

    fn next(&mut self) -> Option<Self::Item> {
        next_linked(&mut self.0, |path, digest| {
            let read = BlobLink::read(path, digest)?;
            let link = |BlobLink { stored_as, modified }| LayerLink {
                digest: digest.clone(),
                stored_as,
                linked_at: modified,
            };
            Ok(read.map(|found| found.map(link)))
        })
    }
}

/// Returns the item of the next digest that has a link.
fn next_linked<T>(
    digests: &mut Digests,
    read: impl Fn(&Path, &Digest) -> Result<Result<Option<T>, Finding>, TreeError>,
) -> Option<Result<Entry<T>, TreeError>> {
    loop {
        let (digest, path) = match digests.next()? {
            Ok(Ok(found)) => found,
            Ok(Err(finding)) => return Some(Ok(Entry::Dirt(finding))),
            Err(error) => return Some(Err(error)),
        };
        match read(&path.join(layout::LINK), &digest) {
            Ok(Ok(Some(item))) => return Some(Ok(Entry::Valid(item))),
            Ok(Ok(None)) => {}
            Ok(Err(finding)) => return Some(Ok(Entry::Dirt(finding))),
            Err(error) => return Some(Err(error)),
        }
    }
}

/// The tags of a repository.
pub struct Tags {
    listing: Listing,
    /// What was found in the history of the last tag.
    findings: VecDeque<Finding>,
}

impl Iterator for Tags {
    type Item = Result<Entry<TaggedRevision>, TreeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(finding) = self.findings.pop_front() {
            return Some(Ok(Entry::Dirt(finding)));
        }
        let child = match self.listing.next()? {
            Ok(child) => child,
            Err(error) => return Some(Err(error)),
        };
        let tag = child.parse(Reason::InvalidTag, |name| name.parse::<Tag>().ok());
        Some(match tag {
            Ok(tag) => self.read_tag(tag, &child.path),
            Err(finding) => Ok(Entry::Dirt(finding)),
        })
    }
}

impl Tags {
    fn read_tag(&mut self, tag: Tag, directory: &Path) -> Result<Entry<TaggedRevision>, TreeError> {
        let current = layout::current(directory);
        let (digest, tagged_at) = match Link::read(&current)? {
            Link::To { digest, modified } => (digest, modified),
            Link::Absent => return Ok(Entry::Dirt(Finding::new(directory, Reason::NoCurrent))),
            Link::Dirt(reason) => return Ok(Entry::Dirt(Finding::new(current, reason))),
        };
        let past = self.read_past(directory, &digest)?;
        Ok(Entry::Valid(TaggedRevision { tag, digest, tagged_at, past }))
    }

    fn read_past(
        &mut self,
        directory: &Path,
        current: &Digest,
    ) -> Result<Vec<(Digest, Timestamp)>, TreeError> {
        let mut newest = BinaryHeap::new();
        for found in Digests::of(layout::index(directory)) {
            let linked = match found? {
                Ok((digest, _)) if digest == *current => continue,
                Ok((digest, path)) => Link::read_expected(&path.join(layout::LINK), &digest)?
                    .map(|at| at.map(|at| (at, digest))),
                Err(finding) => Err(finding),
            };
            match linked {
                Ok(Some(linked)) => newest.push(Reverse(linked)),
                Ok(None) => {}
                Err(finding) if self.findings.len() < MAX_PAST => self.findings.push_back(finding),
                Err(_) => {}
            }
            if newest.len() > MAX_PAST {
                newest.pop();
            }
        }
        let mut past: Vec<_> = newest.into_iter().map(|Reverse((at, digest))| (digest, at)).collect();
        past.sort_unstable_by(|(a, at_a), (b, at_b)| (at_a, a).cmp(&(at_b, b)));
        Ok(past)
    }
}
