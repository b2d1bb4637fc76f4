//! The circumstances of a change: when, by whom, why, and which tags it must not touch.

use std::fmt;
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::oci::Tag;

/// The default number of history rows kept for each tag.
pub const DEFAULT_TAG_HISTORY_ROWS: usize = 100;

/// The default limit of history rows for all tags of a repository together.
pub const DEFAULT_REPOSITORY_HISTORY_ROWS: usize = 100_000;

/// The circumstances of a change, as recorded in the history, and the limits it must respect.
#[derive(Debug, Clone)]
pub struct Change {
    /// When it is made.
    pub now: Timestamp,
    /// Who makes it. `None` without accounts, and for changes that the registry makes itself.
    pub by: Option<String>,
    /// Why it is made. For an expiry: the policy and its rule.
    pub reason: Option<String>,
    /// Tags that may be created, but neither moved nor removed.
    pub immutable_tags: ImmutableTags,
    /// How many history rows to keep for each tag, at least one.
    pub keep: usize,
    /// How many history rows to keep for all tags of the repository together. The oldest are removed first.
    pub keep_in_repository: usize,
}

impl From<Timestamp> for Change {
    fn from(now: Timestamp) -> Self {
        Self {
            now,
            by: None,
            reason: None,
            immutable_tags: ImmutableTags::default(),
            keep: DEFAULT_TAG_HISTORY_ROWS,
            keep_in_repository: DEFAULT_REPOSITORY_HISTORY_ROWS,
        }
    }
}

impl Change {
    /// Returns the change with this reason.
    #[must_use]
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }
}

type IsImmutable = dyn Fn(&Tag) -> bool + Send + Sync;

/// Decides which tags of a repository are immutable. It is evaluated within the transaction, so that no tag is
/// created and removed between the check and the change. By default no tag is immutable.
#[derive(Clone, Default)]
pub struct ImmutableTags(Option<Arc<IsImmutable>>);

impl ImmutableTags {
    /// Treats the tags for which `is_immutable` returns `true` as immutable. The closure must be fast and must
    /// not block.
    pub fn new(is_immutable: impl Fn(&Tag) -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(is_immutable)))
    }

    /// Returns whether any tag can be immutable.
    pub fn can_match(&self) -> bool {
        self.0.is_some()
    }

    /// Returns whether `tag` is immutable.
    pub fn contains(&self, tag: &Tag) -> bool {
        self.0.as_ref().is_some_and(|is_immutable| is_immutable(tag))
    }
}

impl fmt::Debug for ImmutableTags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.can_match() { "ImmutableTags(..)" } else { "ImmutableTags(none)" })
    }
}
