//! The tree as a whole: its repositories, its blobs, and whether a registry still writes to it.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::error::{Finding, Reason, TreeError};
use super::layout;
use super::link::is_absent;
use super::listing::{Child, Listing, next_algorithm, parse_hash};
use super::repositories::{Directories, Repositories};
use crate::oci::{Algorithm, Digest};

/// At most this many findings are kept until they are taken.
const MAX_FINDINGS: usize = 10_000;

/// The storage of a Distribution registry.
#[derive(Debug, Clone)]
pub struct DistributionTree {
    root: PathBuf,
}

/// A stored blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundBlob {
    /// Its digest, which its content may contradict.
    pub digest: Digest,
    /// The file with its content.
    pub path: PathBuf,
    /// The size of the file in bytes.
    pub len: u64,
    /// The number of names of the file.
    pub nlink: u64,
    /// The user that owns the file.
    pub uid: u32,
    /// The inode of the file.
    pub ino: u64,
}

impl DistributionTree {
    /// Returns the tree in `path`, if it holds one.
    pub fn find(path: &Path) -> Option<Self> {
        path.join(layout::V2).is_dir().then(|| Self { root: path.to_owned() })
    }

    /// Opens the tree in `path`.
    ///
    /// # Errors
    /// Fails if `path` holds no tree, or can't be read.
    pub fn open(path: &Path) -> Result<Self, TreeError> {
        for missing in ["docker", "docker/registry", layout::V2] {
            let directory = path.join(missing);
            match fs::metadata(&directory) {
                Ok(found) if found.is_dir() => {}
                Ok(_) => return Err(TreeError::NoTree { path: path.to_owned(), missing }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(TreeError::NoTree { path: path.to_owned(), missing });
                }
                Err(error) => return Err(TreeError::reading(&directory, error)),
            }
        }
        Ok(Self { root: path.to_owned() })
    }

    pub(super) fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Returns the directory that holds `docker/registry/v2`.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether the registry is a pull-through cache of another one.
    pub fn is_cache(&self) -> bool {
        self.root.join(layout::CACHE_STATE).is_file()
    }

    /// Returns the path of a blob's content, whether it exists or not.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        layout::blob(&self.root, digest).join(layout::DATA)
    }

    /// Lists the repositories in byte order of their names.
    pub fn repositories(&self) -> Repositories {
        Repositories::of(&self.root)
    }

    /// Lists the blobs, one directory of each algorithm after the other.
    pub fn blobs(&self) -> Blobs {
        Blobs {
            algorithms: Listing::of(layout::blobs(&self.root)),
            shards: None,
            hashes: None,
            findings: Vec::new(),
        }
    }

    /// Returns the newest write after `since`, which shows that a registry still uses the tree: the link of a tag, a
    /// new manifest, or an upload. `None` if there is none.
    ///
    /// # Errors
    /// Fails if the tree can't be read.
    pub fn newest_write(&self, since: SystemTime) -> Result<Option<(PathBuf, SystemTime)>, TreeError> {
        let mut newest = Newest { since, found: None };
        for directory in Directories::of(&self.root) {
            let (_, path) = directory?;
            for tag in Listing::of(layout::tags(&path)) {
                newest.consider(layout::current(&tag?.path))?;
            }
            for algorithm in Listing::of(layout::revisions(&path)) {
                newest.consider(algorithm?.path)?;
            }
            for upload in Listing::of(layout::uploads(&path)) {
                let upload = upload?.path;
                newest.consider(upload.join(layout::DATA))?;
                newest.consider(upload)?;
            }
        }
        Ok(newest.found)
    }

    /// Returns the number of uploads that have not ended, most of them abandoned.
    ///
    /// # Errors
    /// Fails if the tree can't be read.
    pub fn count_uploads(&self) -> Result<u64, TreeError> {
        let mut count = 0;
        for directory in Directories::of(&self.root) {
            for upload in Listing::of(layout::uploads(&directory?.1)) {
                count += u64::from(upload?.directory().is_ok());
            }
        }
        Ok(count)
    }
}

/// The newest of some files.
struct Newest {
    since: SystemTime,
    found: Option<(PathBuf, SystemTime)>,
}

impl Newest {
    /// Takes the modification time of `path` into account, if it exists.
    fn consider(&mut self, path: PathBuf) -> Result<(), TreeError> {
        let modified = match fs::symlink_metadata(&path).and_then(|found| found.modified()) {
            Ok(modified) => modified,
            Err(error) if is_absent(&error) => return Ok(()),
            Err(error) => return Err(TreeError::reading(&path, error)),
        };
        let newest = self.found.as_ref().map_or(self.since, |(_, at)| *at);
        if modified > newest {
            self.found = Some((path, modified));
        }
        Ok(())
    }
}

/// The blobs of a tree.
pub struct Blobs {
    algorithms: Listing,
    shards: Option<(Algorithm, Listing)>,
    hashes: Option<(Algorithm, String, Listing)>,
    findings: Vec<Finding>,
}

impl Blobs {
    /// Takes what was found so far where blobs are expected but is none, at most ten thousand entries.
    pub fn take_findings(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.findings)
    }

    fn add(&mut self, finding: Finding) {
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(finding);
        }
    }

    /// Returns the next entry that may be the directory of a blob, with its algorithm and the shard that it is in.
    fn next_child(&mut self) -> Option<Result<(Algorithm, String, Child), TreeError>> {
        loop {
            if let Some((algorithm, shard, hashes)) = &mut self.hashes {
                match hashes.next() {
                    Some(child) => return Some(child.map(|child| (*algorithm, shard.clone(), child))),
                    None => self.hashes = None,
                }
            }
            if let Err(error) = self.next_shard()? {
                return Some(Err(error));
            }
        }
    }

    /// Continues with the next shard, or towards it. `None` after the last one.
    fn next_shard(&mut self) -> Option<Result<(), TreeError>> {
        let Some((algorithm, shards)) = &mut self.shards else {
            match next_algorithm(&mut self.algorithms)? {
                Ok(Ok((algorithm, path))) => self.shards = Some((algorithm, Listing::of(path))),
                Ok(Err(finding)) => self.add(finding),
                Err(error) => return Some(Err(error)),
            }
            return Some(Ok(()));
        };
        let algorithm = *algorithm;
        match shards.next() {
            Some(Ok(child)) => {
                match child.parse(Reason::InvalidHash, |name| (name.len() == 2).then(|| name.to_owned())) {
                    Ok(shard) => self.hashes = Some((algorithm, shard, Listing::of(child.path))),
                    Err(finding) => self.add(finding),
                }
            }
            Some(Err(error)) => return Some(Err(error)),
            None => self.shards = None,
        }
        Some(Ok(()))
    }
}

impl Iterator for Blobs {
    type Item = Result<FoundBlob, TreeError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let blob = match self.next_child()? {
                Ok((algorithm, shard, child)) => read_blob(algorithm, &shard, child),
                Err(error) => return Some(Err(error)),
            };
            match blob {
                Ok(Ok(blob)) => return Some(Ok(blob)),
                Ok(Err(finding)) => self.add(finding),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

fn read_blob(
    algorithm: Algorithm,
    shard: &str,
    child: Child,
) -> Result<Result<FoundBlob, Finding>, TreeError> {
    let (digest, directory) = match parse_hash(algorithm, child) {
        Ok((digest, path)) if digest.hex().starts_with(shard) => (digest, path),
        Ok((_, path)) => return Ok(Err(Finding::new(path, Reason::InvalidHash))),
        Err(finding) => return Ok(Err(finding)),
    };
    let path = directory.join(layout::DATA);
    let metadata = match fs::symlink_metadata(&path) {
        Ok(metadata) => metadata,
        Err(error) if is_absent(&error) => return Ok(Err(Finding::new(directory, Reason::NoData))),
        Err(error) => return Err(TreeError::reading(&path, error)),
    };
    if !metadata.is_file() {
        let reason = if metadata.is_symlink() { Reason::SymbolicLink } else { Reason::NotAFile };
        return Ok(Err(Finding::new(path, reason)));
    }
    Ok(Ok(FoundBlob {
        digest,
        path,
        len: metadata.len(),
        nlink: metadata.nlink(),
        uid: metadata.uid(),
        ino: metadata.ino(),
    }))
}
