//! The audit log: who did what to which object, from where, and whether it was allowed.
//!
//! Repetitions within a minute are counted in the existing entry, so that guessing passwords does not fill the
//! disk.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use thiserror::Error;

use super::names::named;
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

named! {
/// An action that was performed or attempted.
pub enum AuditAction or UnknownAction {
    /// Log in with a password or an access token; recorded if it failed.
    Login = "login",
    /// Read a repository through the registry protocol; recorded if it was denied.
    Pull = "pull",
    /// Upload or mount a blob; recorded if it was denied.
    Push = "push",
    /// Read anything else; recorded if it was denied.
    Read = "read",
    /// Push a manifest.
    ManifestPush = "manifest-push",
    /// Delete a manifest with its tags.
    ManifestDelete = "manifest-delete",
    /// Point a tag at an existing manifest.
    TagPoint = "tag-point",
    /// Roll back a tag.
    TagRollback = "tag-rollback",
    /// Delete a tag.
    TagDelete = "tag-delete",
    /// Delete a blob.
    BlobDelete = "blob-delete",
    /// Restore a tag or manifest.
    TrashRestore = "trash-restore",
    /// Empty the trash.
    TrashEmpty = "trash-empty",
    /// Delete a repository.
    RepositoryDelete = "repository-delete",
    /// Restore a repository.
    RepositoryRestore = "repository-restore",
    /// Rename a repository.
    RepositoryRename = "repository-rename",
    /// Set the description of a repository.
    RepositoryUpdate = "repository-update",
    /// Set a policy.
    PolicySet = "policy-set",
    /// Remove a policy.
    PolicyRemove = "policy-remove",
    /// Apply the retention policies.
    RetentionApply = "retention-apply",
    /// Create an account.
    AccountAdd = "account-add",
    /// Change the password of an account, or enable or disable it.
    AccountUpdate = "account-update",
    /// Remove an account.
    AccountRemove = "account-remove",
    /// Create an organisation.
    OrganisationAdd = "organisation-add",
    /// Remove an organisation.
    OrganisationRemove = "organisation-remove",
    /// Create a team.
    TeamAdd = "team-add",
    /// Remove a team.
    TeamRemove = "team-remove",
    /// Add a user to a team.
    TeamJoin = "team-join",
    /// Remove a user from a team.
    TeamLeave = "team-leave",
    /// Grant a role.
    GrantSet = "grant-set",
    /// Revoke a role.
    GrantRemove = "grant-remove",
    /// Create an access token.
    TokenAdd = "token-add",
    /// Revoke an access token.
    TokenRevoke = "token-revoke",
    /// Start a browser session.
    SignIn = "sign-in",
    /// End a browser session, or several of a user.
    SignOut = "sign-out",
    /// Rotate the key that signs tokens.
    TokenKeyRotate = "token-key-rotate",
    /// Run garbage collection by hand.
    Gc = "gc",
    /// Run a background job now.
    JobRun = "job-run",
    /// Another registry's images are adopted.
    Adopt = "adopt",
    /// Policies may remove what was adopted.
    AdoptionRelease = "adoption-release",
    /// The tree of an adopted registry is removed.
    AdoptionFinish = "adoption-finish",
    /// Repair the store.
    FsckRepair = "fsck-repair",
    /// Run the scrub by hand.
    Scrub = "scrub",
    /// Create a backup.
    Backup = "backup",
    /// Export the images in the layout of another registry.
    Export = "export",
    /// Any other change through the API.
    Change = "change",
    /// No action: this many audit entries could not be recorded.
    EntriesLost = "entries-lost",
}
}

/// The text is not the name of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("unknown audit action")]
pub struct UnknownAction;

impl AuditAction {
    /// Returns all actions.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter()
    }

    /// Returns whether it is recorded whatever its outcome, and not only if it was denied.
    pub fn is_change(self) -> bool {
        !matches!(self, Self::Login | Self::Pull | Self::Push | Self::Read)
    }
}

named! {
/// The outcome of an action.
pub enum AuditOutcome or UnknownOutcome {
    /// It was performed.
    Allowed = "allowed",
    /// The user lacked the permission, or was not authenticated.
    Denied = "denied",
    /// It was permitted but failed, or the client disconnected before it received the result.
    Failed = "failed",
}
}

/// The text is not the name of an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("is not an outcome: use allowed, denied or failed")]
pub struct UnknownOutcome;

/// Where a request came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The address of a client.
    Address(IpAddr),
    /// The local machine: the admin socket, or a command on a stopped store.
    LocalAdmin,
    /// The registry itself.
    Registry,
}

/// The text is not an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("is not an origin: use an IP address, admin-socket or registry")]
pub struct UnknownOrigin;

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::LocalAdmin => f.write_str("admin-socket"),
            Self::Registry => f.write_str("registry"),
        }
    }
}

impl FromStr for Origin {
    type Err = UnknownOrigin;

    fn from_str(text: &str) -> Result<Self, UnknownOrigin> {
        match text {
            "admin-socket" => Ok(Self::LocalAdmin),
            "registry" => Ok(Self::Registry),
            address => address.parse().map(Self::Address).map_err(|_| UnknownOrigin),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_their_serialised_form() {
        for action in AuditAction::all() {
            assert_eq!(serde_json::to_value(action).expect("JSON"), action.name());
            assert_eq!(action.name().parse(), Ok(action));
        }
        assert_eq!("".parse::<AuditAction>(), Err(UnknownAction));
    }
}
