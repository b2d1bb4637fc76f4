//! Directories, read entry by entry.

use std::fs::{self, FileType};
use std::path::{Path, PathBuf};

use super::error::{Finding, Reason, TreeError};
use super::link::is_absent;
use crate::oci::{Algorithm, Digest};

/// The entries of a directory, in no order. It has none if it does not exist, because the other registry may delete it
/// at any time.
pub(super) struct Listing {
    path: PathBuf,
    state: State,
}

enum State {
    Unread,
    Open(fs::ReadDir),
    Done,
}

/// An entry of a directory.
pub(super) struct Child {
    pub(super) path: PathBuf,
    /// `None` if it is not UTF-8.
    pub(super) name: Option<String>,
    kind: FileType,
}

impl Child {
    /// Returns the path, if this is a directory.
    pub(super) fn directory(&self) -> Result<&Path, Finding> {
        if self.kind.is_dir() {
            return Ok(&self.path);
        }
        let reason = if self.kind.is_symlink() { Reason::SymbolicLink } else { Reason::NotADirectory };
        Err(Finding::new(&self.path, reason))
    }

    /// Parses the name of a directory. Anything else gets `reason`.
    pub(super) fn parse<T>(
        &self,
        reason: Reason,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, Finding> {
        self.directory()?;
        let parsed = self.name.as_deref().and_then(parse);
        parsed.ok_or_else(|| Finding::new(&self.path, reason))
    }
}

impl Listing {
    /// Lists the directory `path`, which is opened when the first entry is needed.
    pub(super) fn of(path: PathBuf) -> Self {
        Self { path, state: State::Unread }
    }
}

impl Iterator for Listing {
    type Item = Result<Child, TreeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if matches!(self.state, State::Unread) {
            self.state = match fs::read_dir(&self.path) {
                Ok(entries) => State::Open(entries),
                Err(error) => {
                    self.state = State::Done;
                    return (!is_absent(&error)).then(|| Err(TreeError::reading(&self.path, error)));
                }
            };
        }
        let State::Open(entries) = &mut self.state else { return None };
        let child = entries.next()?.and_then(|entry| {
            let name = entry.file_name().into_string().ok();
            Ok(Child { path: entry.path(), name, kind: entry.file_type()? })
        });
        match child {
            Ok(child) => Some(Ok(child)),
            Err(error) => {
                self.state = State::Done;
                Some(Err(TreeError::reading(&self.path, error)))
            }
        }
    }
}

/// The digests that the directories `<alg>/<hex>` in a directory name, each with its directory.
pub(super) struct Digests {
    algorithms: Listing,
    hashes: Option<(Algorithm, Listing)>,
}

impl Digests {
    pub(super) fn of(directory: PathBuf) -> Self {
        Self { algorithms: Listing::of(directory), hashes: None }
    }
}

impl Iterator for Digests {
    type Item = Result<Result<(Digest, PathBuf), Finding>, TreeError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((algorithm, hashes)) = &mut self.hashes {
                match hashes.next() {
                    Some(child) => return Some(child.map(|child| parse_hash(*algorithm, child))),
                    None => self.hashes = None,
                }
            }
            match next_algorithm(&mut self.algorithms)? {
                Ok(Ok((algorithm, path))) => self.hashes = Some((algorithm, Listing::of(path))),
                Ok(Err(finding)) => return Some(Ok(Err(finding))),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// Reads the next directory that is named after an algorithm.
#[expect(clippy::type_complexity, reason = "a finding or a path, or an error, or the end")]
pub(super) fn next_algorithm(
    listing: &mut Listing,
) -> Option<Result<Result<(Algorithm, PathBuf), Finding>, TreeError>> {
    let child = match listing.next()? {
        Ok(child) => child,
        Err(error) => return Some(Err(error)),
    };
    let algorithm = child.parse(Reason::InvalidAlgorithm, |name| name.parse().ok());
    Some(Ok(algorithm.map(|algorithm| (algorithm, child.path))))
}

/// Parses a directory that is named after a hash.
pub(super) fn parse_hash(algorithm: Algorithm, child: Child) -> Result<(Digest, PathBuf), Finding> {
    let digest = child.parse(Reason::InvalidHash, |hex| format!("{algorithm}:{hex}").parse().ok())?;
    Ok((digest, child.path))
}
