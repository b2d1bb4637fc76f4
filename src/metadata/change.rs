//! Who changes a tag, when and why.

use std::fmt;
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::oci::Tag;

/// How many rows of a tag's history are kept where nothing else is said.
pub const HISTORY_KEPT: usize = 100;

/// How many rows the history of all tags of a repository has at most where nothing else is said.
pub const MAX_HISTORY_ROWS: usize = 100_000;

/// The circumstances of a change, as the history tells them, and what it must leave alone.
#[derive(Debug, Clone)]
pub struct Change {
    /// When.
    pub now: Timestamp,
    /// By whom; `None` where there are no accounts, and for what the registry does by itself.
    pub by: Option<String>,
    /// Why: for an expiry the policy and its rule.
    pub reason: Option<String>,
    /// Tags that may be made, but neither moved nor taken away.
    pub fixed: ImmutableTags,
    /// How many rows of each tag's history are kept, one at least.
    pub keep: usize,
    /// How many rows the history of all tags of the repository has at most. The oldest go first.
    pub keep_in_repository: usize,
}

impl From<Timestamp> for Change {
    fn from(now: Timestamp) -> Self {
        Self {
            now,
            by: None,
            reason: None,
            fixed: ImmutableTags::default(),
            keep: HISTORY_KEPT,
            keep_in_repository: MAX_HISTORY_ROWS,
        }
    }
}

impl Change {
    /// The same with this reason.
    #[must_use]
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }
}

type IsFixed = dyn Fn(&Tag) -> bool + Send + Sync;

/// Which tags of a repository are immutable. It is asked within the transaction, so that no tag is made and
/// taken away between the question and the change. By default: none.
#[derive(Clone, Default)]
pub struct ImmutableTags(Option<Arc<IsFixed>>);

impl ImmutableTags {
    /// Those for which `fixed` says so. It must be quick, and not wait for anything.
    pub fn new(fixed: impl Fn(&Tag) -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(fixed)))
    }

    /// Whether there can be any.
    pub fn may_be_any(&self) -> bool {
        self.0.is_some()
    }

    /// Whether this is one of them.
    pub fn contains(&self, tag: &Tag) -> bool {
        self.0.as_ref().is_some_and(|fixed| fixed(tag))
    }
}

impl fmt::Debug for ImmutableTags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.may_be_any() { "ImmutableTags(..)" } else { "ImmutableTags(none)" })
    }
}
