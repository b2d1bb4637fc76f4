//! What is done, as the audit log names it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use utoipa::ToSchema;

use AuditAction::*;

/// What somebody did or tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AuditAction {
    /// To come in with a password or an access token; recorded when it failed.
    Login,
    /// To read a repository through the registry protocol; recorded when it was denied.
    Pull,
    /// To upload or mount a blob; recorded when it was denied.
    Push,
    /// To read something else; recorded when it was denied.
    Read,
    /// To push a manifest.
    ManifestPush,
    /// To delete a manifest with its tags.
    ManifestDelete,
    /// To point a tag at a manifest that is there.
    TagPoint,
    /// To point a tag back.
    TagRollback,
    /// To remove a tag.
    TagDelete,
    /// To delete a blob.
    BlobDelete,
    /// To bring a tag or manifest back.
    TrashRestore,
    /// To give up what is in the trash.
    TrashEmpty,
    /// To delete a repository.
    RepositoryDelete,
    /// To bring a repository back.
    RepositoryRestore,
    /// To rename a repository.
    RepositoryRename,
    /// To set a policy.
    PolicySet,
    /// To remove a policy.
    PolicyRemove,
    /// To let go what policies allow.
    RetentionApply,
    /// To make an account.
    AccountAdd,
    /// To change an account: its password, or whether anything opens it.
    AccountUpdate,
    /// To remove an account.
    AccountRemove,
    /// To make an organisation.
    OrganisationAdd,
    /// To remove an organisation.
    OrganisationRemove,
    /// To make a team.
    TeamAdd,
    /// To remove a team.
    TeamRemove,
    /// To put a user into a team.
    TeamJoin,
    /// To take a user out of a team.
    TeamLeave,
    /// To give a role.
    GrantSet,
    /// To take a role.
    GrantRemove,
    /// To make an access token.
    TokenAdd,
    /// To revoke an access token.
    TokenRevoke,
    /// To sign tokens with another key.
    TokenKeyRotate,
    /// To collect by hand.
    Gc,
    /// To mend the store.
    FsckRepair,
    /// To read everything by hand.
    Scrub,
    /// To copy everything.
    Backup,
    /// Another change through the API.
    Change,
    /// Nobody's: so many entries could not be kept.
    EntriesLost,
}

/// A text that is no action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("there is no such action")]
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
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        NAMES.into_iter().map(|(action, _)| action)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        NAMES.into_iter().find(|(action, _)| *action == self).map_or("", |(_, name)| name)
    }

    /// Whether it is recorded whatever comes of it, and not only when it was denied.
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
    fn names_are_the_same_on_the_wire() {
        for action in AuditAction::all() {
            assert_eq!(serde_json::to_value(action).expect("JSON"), action.name());
            assert_eq!(action.name().parse(), Ok(action));
        }
        assert_eq!("".parse::<AuditAction>(), Err(UnknownAction));
    }
}
