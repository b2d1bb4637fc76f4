//! The repositories of a tree, in the order of their names.

use std::fs;
use std::path::{Path, PathBuf};
use std::vec;

use super::error::{Finding, Reason, TreeError};
use super::layout;
use super::link::is_absent;
use super::listing::Listing;
use super::repository::RepositoryTree;
use crate::oci::RepoName;

/// At most this many findings are kept until they are taken.
const MAX_FINDINGS: usize = 10_000;

/// The directories that may be repositories, in byte order of their names. Keeps the names in the directories above the
/// current one.
pub(super) struct Directories {
    root: PathBuf,
    /// For each level the names that are left, sorted. One with a slash at its end stands for the directories
    /// in it, so that `app`, `app-1` and `app/sub` come in this order.
    levels: Vec<vec::IntoIter<String>>,
    started: bool,
    findings: Vec<Finding>,
}

impl Directories {
    pub(super) fn of(root: &Path) -> Self {
        Self { root: layout::repositories(root), levels: Vec::new(), started: false, findings: Vec::new() }
    }

    /// Continues with the directories in `name`, which is empty or ends with a slash.
    fn descend(&mut self, name: &str) -> Result<(), TreeError> {
        let mut names = Vec::new();
        for child in Listing::of(self.root.join(name)) {
            let child = child?;
            // The directories of a repository itself.
            if child.name.as_ref().is_some_and(|child| child.starts_with('_')) {
                continue;
            }
            let parsed =
                child.parse(Reason::InvalidName, |child| format!("{name}{child}").parse::<RepoName>().ok());
            match parsed {
                Ok(name) => names.extend([format!("{name}/"), name.as_str().to_owned()]),
                Err(finding) if self.findings.len() < MAX_FINDINGS => self.findings.push(finding),
                Err(_) => {}
            }
        }
        names.sort_unstable();
        self.levels.push(names.into_iter());
        Ok(())
    }
}

impl Iterator for Directories {
    type Item = Result<(RepoName, PathBuf), TreeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if !self.started {
            self.started = true;
            if let Err(error) = self.descend("") {
                return Some(Err(error));
            }
        }
        loop {
            let Some(name) = self.levels.last_mut()?.next() else {
                self.levels.pop();
                continue;
            };
            if name.ends_with('/') {
                match self.descend(&name) {
                    Ok(()) => continue,
                    Err(error) => return Some(Err(error)),
                }
            }
            let path = self.root.join(&name);
            if let Ok(name) = name.parse() {
                return Some(Ok((name, path)));
            }
        }
    }
}

/// The repositories of a tree, in byte order of their names.
pub struct Repositories(Directories);

impl Repositories {
    pub(super) fn of(root: &Path) -> Self {
        Self(Directories::of(root))
    }

    /// Takes what was found so far where repositories are expected but is none, at most ten thousand entries.
    pub fn take_findings(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.0.findings)
    }
}

impl Iterator for Repositories {
    type Item = Result<RepositoryTree, TreeError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (name, path) = match self.0.next()? {
                Ok(directory) => directory,
                Err(error) => return Some(Err(error)),
            };
            match is_directory(&path.join(layout::MANIFESTS)) {
                Ok(true) => return Some(Ok(RepositoryTree::new(name, path))),
                Ok(false) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// Whether `path` is a directory, and no symbolic link to one.
fn is_directory(path: &Path) -> Result<bool, TreeError> {
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(found.is_dir()),
        Err(error) if is_absent(&error) => Ok(false),
        Err(error) => Err(TreeError::reading(path, error)),
    }
}
