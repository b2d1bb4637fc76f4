//! The audit log: who, from where, did what to what, allowed or not.
//!
//! What happens again within a minute counts in the entry that is there, so that who guesses passwords fills no disk.

mod action;
mod outcome;

use async_trait::async_trait;

pub use action::{AuditAction, UnknownAction};
pub use outcome::{AuditOutcome, Origin, UnknownOrigin, UnknownOutcome};

use super::pages::text_weight;
use super::{Batch, Result, Scope, Weigh};
use crate::clock::Timestamp;

/// What somebody did or tried.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Audited {
    /// The user's name; of a login the one that was tried. `None` for strangers and on the admin socket.
    pub user: Option<String>,
    /// The id of the access token that they came by.
    pub token: Option<String>,
    /// From where.
    pub from: Origin,
    /// What.
    pub action: AuditAction,
    /// A repository, or those below a prefix; all where that is of no matter.
    pub scope: Scope,
    /// What there: a tag or digest, an account, the name of a policy.
    pub subject: Option<String>,
    /// What came of it.
    pub outcome: AuditOutcome,
    /// The status of the answer, if there was one.
    pub status: Option<u16>,
}

/// When, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditTimes {
    /// The first time.
    pub first: Timestamp,
    /// The last time.
    pub last: Timestamp,
    /// How often.
    pub count: u64,
}

impl AuditTimes {
    /// Once.
    pub fn once(at: Timestamp) -> Self {
        Self { first: at, last: at, count: 1 }
    }

    /// This and `later`.
    pub fn and(self, later: Self) -> Self {
        Self { last: later.last, count: self.count.saturating_add(later.count), ..self }
    }
}

/// An entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its place: later ones have larger ones.
    pub id: i64,
    /// What.
    pub audited: Audited,
    /// When.
    pub times: AuditTimes,
}

/// Which entries are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditQuery {
    /// Of this user.
    pub user: Option<String>,
    /// About what is in this scope.
    pub scope: Scope,
    /// Of this action.
    pub action: Option<AuditAction>,
    /// Of this outcome.
    pub outcome: Option<AuditOutcome>,
    /// Not ended before then.
    pub since: Option<Timestamp>,
    /// Begun before then.
    pub until: Option<Timestamp>,
    /// Before this place.
    pub before: Option<i64>,
}

impl Weigh for AuditEntry {
    fn weight(&self) -> usize {
        let Audited { user, token, scope, subject, .. } = &self.audited;
        let texts = [user, token, subject].map(|text| text_weight(text.as_ref()));
        384 + scope.as_str().len() + texts.into_iter().sum::<usize>()
    }
}

/// A page of the audit log, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditPage {
    /// The entries. They may be few, or none, though more follow.
    pub items: Vec<AuditEntry>,
    /// The place before which the log continues, if more may follow.
    pub next: Option<i64>,
}

/// The audit log as records.
#[async_trait]
pub trait AuditLog: Send + Sync {
    /// Records, lazily, `new` entries, and that entries happened `again`. The places of the new ones.
    async fn note_audit(
        &self,
        new: Vec<(Audited, AuditTimes)>,
        again: Vec<(i64, AuditTimes)>,
    ) -> Result<Vec<i64>>;

    /// A page of entries, newest first. Looks at no more than [`MAX_EXAMINED`] of them: what is rare is looked for page by
    /// page, for an index for each question would cost each entry.
    ///
    /// [`MAX_EXAMINED`]: super::MAX_EXAMINED
    async fn audit(&self, query: &AuditQuery, limit: usize) -> Result<AuditPage>;

    /// Forgets, lazily, up to about `limit` entries: those of `cutoff` and before, and of each outcome all but the newest
    /// `most`, so that what is denied to many does not push out what was done. The newest of all stays, so that its
    /// place is not given out again.
    async fn forget_audit(&self, cutoff: Option<Timestamp>, most: usize, limit: usize) -> Result<Batch>;
}
