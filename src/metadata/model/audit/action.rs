//! The actions in the audit log and their names.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use AuditAction::*;

/// An action that was performed or attempted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuditAction {
    /// Log in with a password or an access token; recorded if it failed.
    Login,
    /// Read a repository through the registry protocol; recorded if it was denied.
    Pull,
    /// Upload or mount a blob; recorded if it was denied.
    Push,
    /// Read anything else; recorded if it was denied.
    Read,
    /// Push a manifest.
    ManifestPush,
    /// Delete a manifest with its tags.
    ManifestDelete,
    /// Point a tag at an existing manifest.
    TagPoint,
    /// Roll back a tag.
    TagRollback,
    /// Delete a tag.
    TagDelete,
    /// Delete a blob.
    BlobDelete,
    /// Restore a tag or manifest.
    TrashRestore,
    /// Empty the trash.
    TrashEmpty,
    /// Delete a repository.
    RepositoryDelete,
    /// Restore a repository.
    RepositoryRestore,
    /// Rename a repository.
    RepositoryRename,
    /// Set a policy.
    PolicySet,
    /// Remove a policy.
    PolicyRemove,
    /// Apply the retention policies.
    RetentionApply,
    /// Create an account.
    AccountAdd,
    /// Change the password of an account, or enable or disable it.
    AccountUpdate,
    /// Remove an account.
    AccountRemove,
    /// Create an organisation.
    OrganisationAdd,
    /// Remove an organisation.
    OrganisationRemove,
    /// Create a team.
    TeamAdd,
    /// Remove a team.
    TeamRemove,
    /// Add a user to a team.
    TeamJoin,
    /// Remove a user from a team.
    TeamLeave,
    /// Grant a role.
    GrantSet,
    /// Revoke a role.
    GrantRemove,
    /// Create an access token.
    TokenAdd,
    /// Revoke an access token.
    TokenRevoke,
    /// Rotate the key that signs tokens.
    TokenKeyRotate,
    /// Run garbage collection by hand.
    Gc,
    /// Repair the store.
    FsckRepair,
    /// Run the scrub by hand.
    Scrub,
    /// Create a backup.
    Backup,
    /// Any other change through the API.
    Change,
    /// No action: this many audit entries could not be recorded.
    EntriesLost,
}

/// The text is not the name of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("unknown audit action")]
pub struct UnknownAction;

/// Every action by its name.
const NAMES: [(AuditAction, &str); 38] = [
    (Login, "login"),
    (Pull, "pull"),
    (Push, "push"),
    (Read, "read"),
    (ManifestPush, "manifest-push"),
    (ManifestDelete, "manifest-delete"),
    (TagPoint, "tag-point"),
    (TagRollback, "tag-rollback"),
    (TagDelete, "tag-delete"),
    (BlobDelete, "blob-delete"),
    (TrashRestore, "trash-restore"),
    (TrashEmpty, "trash-empty"),
    (RepositoryDelete, "repository-delete"),
    (RepositoryRestore, "repository-restore"),
    (RepositoryRename, "repository-rename"),
    (PolicySet, "policy-set"),
    (PolicyRemove, "policy-remove"),
    (RetentionApply, "retention-apply"),
    (AccountAdd, "account-add"),
    (AccountUpdate, "account-update"),
    (AccountRemove, "account-remove"),
    (OrganisationAdd, "organisation-add"),
    (OrganisationRemove, "organisation-remove"),
    (TeamAdd, "team-add"),
    (TeamRemove, "team-remove"),
    (TeamJoin, "team-join"),
    (TeamLeave, "team-leave"),
    (GrantSet, "grant-set"),
    (GrantRemove, "grant-remove"),
    (TokenAdd, "token-add"),
    (TokenRevoke, "token-revoke"),
    (TokenKeyRotate, "token-key-rotate"),
    (Gc, "gc"),
    (FsckRepair, "fsck-repair"),
    (Scrub, "scrub"),
    (Backup, "backup"),
    (Change, "change"),
    (EntriesLost, "entries-lost"),
];

impl AuditAction {
    /// Returns all actions.
    pub fn all() -> impl Iterator<Item = Self> {
        NAMES.into_iter().map(|(action, _)| action)
    }

    /// Returns its name.
    pub fn name(self) -> &'static str {
        NAMES.into_iter().find(|(action, _)| *action == self).map_or("", |(_, name)| name)
    }

    /// Returns whether it is recorded whatever its outcome, and not only if it was denied.
    pub fn is_change(self) -> bool {
        !matches!(self, Login | Pull | Push | Read)
    }
}

impl fmt::Display for AuditAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for AuditAction {
    type Err = UnknownAction;

    fn from_str(text: &str) -> Result<Self, UnknownAction> {
        NAMES.into_iter().find(|(_, name)| *name == text).map(|(action, _)| action).ok_or(UnknownAction)
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
