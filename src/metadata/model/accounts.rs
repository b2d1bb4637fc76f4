//! Accounts, access tokens, organisations, teams and granted roles.

use std::net::IpAddr;

use super::{Grantee, Role, Scope, Team};
use crate::clock::Timestamp;

/// The maximum number of access tokens of each kind that an account has. Beyond that, the least recently used
/// of the tokens that clients renew for themselves (bound tokens) are removed: a program that logs in for each
/// of its jobs creates many.
pub const MAX_TOKENS_PER_ACCOUNT: i64 = 1000;

/// The maximum number of sessions of an account. Beyond that, the least recently used one ends.
pub const MAX_SESSIONS_PER_ACCOUNT: i64 = 20;

/// What an account is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccountKind {
    /// The administrator that every registry starts with.
    Bootstrap,
    /// A person.
    Person,
    /// A program.
    Robot,
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountRecord {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub kind: AccountKind,
    /// The hash of its password in PHC string format. With `None`, no password is accepted.
    pub password: Option<String>,
    /// The external identity of its user: the issuer and the subject, separated by a space.
    pub identity: Option<String>,
    /// Rejects every login and token of the account.
    pub disabled: bool,
    /// When it was created.
    pub created_at: Timestamp,
    /// Who created it, if known.
    pub by: Option<String>,
}

/// An access token: a secret that grants part of what its user may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRecord {
    /// Its id, by which it is looked up.
    pub id: String,
    /// The account it belongs to.
    pub account: String,
    /// Its display name.
    pub name: String,
    /// The SHA-256 hash of its secret.
    pub hash: [u8; 32],
    /// The highest role it grants.
    pub role: Role,
    /// The repositories in which it grants that role.
    pub scope: Scope,
    /// Identifies the password that the token is bound to. The token ends when that password changes.
    pub bound: Option<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it expires.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to about a minute.
    pub used_at: Option<Timestamp>,
}

/// A browser session of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRecord {
    /// Its id, which is not secret.
    pub id: String,
    /// The SHA-256 hash of its secret.
    pub hash: [u8; 32],
    /// The account it belongs to.
    pub account: String,
    /// The fingerprint of the credential that the user signed in with. The session ends when the credential changes.
    pub credential_fingerprint: String,
    /// The address that the user signed in from.
    pub address: IpAddr,
    /// What the browser calls itself.
    pub client: String,
    /// When the user signed in.
    pub created_at: Timestamp,
    /// When it was last used, to about a minute.
    pub used_at: Timestamp,
}

/// A role granted in a scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantRecord {
    /// Who has the role.
    pub grantee: Grantee,
    /// The repositories in which they have it.
    pub scope: Scope,
    /// The role.
    pub role: Role,
    /// When it was granted.
    pub set_at: Timestamp,
    /// Who granted it, if known.
    pub by: Option<String>,
}

/// All accounts and everything that belongs to them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountRecords {
    /// The accounts, by name.
    pub accounts: Vec<AccountRecord>,
    /// The access tokens, by account, oldest first.
    pub tokens: Vec<TokenRecord>,
    /// The sessions, by account, the least recently used first.
    pub sessions: Vec<SessionRecord>,
    /// The organisations, by name.
    pub organisations: Vec<String>,
    /// The teams, by name.
    pub teams: Vec<Team>,
    /// The members of teams, by team.
    pub members: Vec<(Team, String)>,
    /// The granted roles, by grantee and scope.
    pub grants: Vec<GrantRecord>,
}

/// A change to accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountChange {
    /// Adds an account with its roles. It does not inherit tokens or roles of an earlier account of the same
    /// name.
    Add(AccountRecord, Vec<(Scope, Role)>),
    /// Changes the password of an account. All its sessions and tokens end; of a robot's tokens only the bound ones.
    SetPassword(String, String),
    /// Disables or enables an account. Disabling it ends its sessions.
    SetDisabled(String, bool),
    /// Removes an account with its tokens, sessions, team memberships and roles.
    Remove(String),
    /// Adds a token. At [`MAX_TOKENS_PER_ACCOUNT`], a bound token replaces another bound one; any other is
    /// rejected as [`AccountOutcome::Full`].
    AddToken(TokenRecord),
    /// Removes a token.
    RemoveToken(String),
    /// Adds a session. At [`MAX_SESSIONS_PER_ACCOUNT`], it replaces the least recently used one.
    AddSession(SessionRecord),
    /// Ends a session.
    EndSession(String),
    /// Ends the sessions of an account, except the one with this id.
    EndSessions(String, Option<String>),
    /// Adds an organisation: its name, when it was created, and by whom.
    AddOrganisation(String, Timestamp, Option<String>),
    /// Removes an organisation with its teams and their roles.
    RemoveOrganisation(String),
    /// Adds a team.
    AddTeam(Team),
    /// Removes a team and its roles.
    RemoveTeam(Team),
    /// Adds a user to a team.
    Join(Team, String),
    /// Removes a user from a team.
    Leave(Team, String),
    /// Grants a role. It replaces the grantee's role in the same scope.
    Grant(GrantRecord),
    /// Revokes the grantee's role in a scope.
    Revoke(Grantee, Scope),
}

/// The result of an [`AccountChange`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountOutcome {
    /// The change was made.
    Done,
    /// The name or the external identity is in use already.
    Taken,
    /// The object to change does not exist.
    Unknown,
    /// A limit is reached.
    Full,
    /// There is a user whose name differs only in case.
    LooksAlike,
}
