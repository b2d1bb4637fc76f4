//! The audit log: who did what to which object, from where, and whether it was allowed.
//!
//! Repetitions within a minute are counted in the existing entry, so that guessing passwords does not fill the
//! disk.

mod action;
mod outcome;

pub use action::{AuditAction, UnknownAction};
pub use outcome::{AuditOutcome, Origin, UnknownOrigin, UnknownOutcome};

use super::pages::text_weight;
use super::{Scope, Weigh};
use crate::clock::Timestamp;

/// An action that was performed or attempted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Audited {
    /// The user name; for a login, the name that was tried. `None` for anonymous clients and on the admin
    /// socket.
    pub user: Option<String>,
    /// The id of the access token that authenticated the request.
    pub token: Option<String>,
    /// Where the request came from.
    pub from: Origin,
    /// The action.
    pub action: AuditAction,
    /// A repository, the repositories below a prefix, or all if the action concerns none in particular.
    pub scope: Scope,
    /// The object: a tag or digest, an account, or the name of a policy.
    pub subject: Option<String>,
    /// The outcome.
    pub outcome: AuditOutcome,
    /// The HTTP status of the response, if there was one.
    pub status: Option<u16>,
}

/// When and how often an audited action happened.
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
    /// Returns the times of a single occurrence.
    pub fn once(at: Timestamp) -> Self {
        Self { first: at, last: at, count: 1 }
    }

    /// Adds later occurrences.
    pub fn merge(self, later: Self) -> Self {
        Self { last: later.last, count: self.count.saturating_add(later.count), ..self }
    }
}

/// An entry of the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its position: later entries have larger ids.
    pub id: i64,
    /// The action.
    pub audited: Audited,
    /// When it happened.
    pub times: AuditTimes,
}

/// Selects entries of the audit log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditQuery {
    /// Only entries of this user.
    pub user: Option<String>,
    /// Only entries about repositories in this scope.
    pub scope: Scope,
    /// Only entries of this action.
    pub action: Option<AuditAction>,
    /// Only entries with this outcome.
    pub outcome: Option<AuditOutcome>,
    /// Only entries that ended at or after this time.
    pub since: Option<Timestamp>,
    /// Only entries that began before this time.
    pub until: Option<Timestamp>,
    /// Only entries before this position.
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
    /// The entries. A page may be short or empty although more follow.
    pub items: Vec<AuditEntry>,
    /// The position before which the log continues, if more may follow.
    pub next: Option<i64>,
}
