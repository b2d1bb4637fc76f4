//! Listing repositories.

use super::{Fault, Registry};
use crate::oci::RepoName;

/// Some items of a list, and whether more follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Whether there are more behind the last.
    pub more: bool,
}

impl Registry {
    /// Up to `limit` repositories that have something to pull, in byte order behind `after`.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn repositories(&self, after: Option<&str>, limit: usize) -> Result<Page<RepoName>, Fault> {
        todo!("{after:?} {limit}")
    }
}
