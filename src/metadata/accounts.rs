//! Who may come in, and what they may do.

use async_trait::async_trait;

use super::{Grantee, Result, Role, Scope, Team};
use crate::clock::Timestamp;

/// The most access tokens of each kind that an account has. Of those that clients renew theirs with the ones go that were
/// not used for longest: a program that logs in for each of its jobs makes many.
pub const MOST_TOKENS: i64 = 1000;

/// What an account is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AccountKind {
    /// The administrator that every registry begins with.
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
    /// A hash of its password, in PHC's form. `None`: no password opens it.
    pub password: Option<String>,
    /// By whose word its person is known: the issuer and what it calls them, with a space between.
    pub identity: Option<String>,
    /// Nothing opens it.
    pub disabled: bool,
    /// Since when there is one.
    pub created_at: Timestamp,
    /// Who made it, if that is known.
    pub by: Option<String>,
}

/// A secret that stands for a user, in a part of what they may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRecord {
    /// What it is found by.
    pub id: String,
    /// Whose.
    pub account: String,
    /// What it is called.
    pub name: String,
    /// The SHA-256 of its secret.
    pub hash: [u8; 32],
    /// The most that it is good for.
    pub role: Role,
    /// And where.
    pub scope: Scope,
    /// What stands for the password that it ends with.
    pub bound: Option<String>,
    /// Since when there is one.
    pub created_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, give or take a minute.
    pub used_at: Option<Timestamp>,
}

/// A role that somebody has somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantRecord {
    /// Who.
    pub grantee: Grantee,
    /// Where.
    pub scope: Scope,
    /// What.
    pub role: Role,
    /// Since when.
    pub set_at: Timestamp,
    /// Who gave it, if that is known.
    pub by: Option<String>,
}

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountRecords {
    /// The accounts, by name.
    pub accounts: Vec<AccountRecord>,
    /// The access tokens, by account and from the oldest on.
    pub tokens: Vec<TokenRecord>,
    /// The organisations, by name.
    pub organisations: Vec<String>,
    /// Their teams, by name.
    pub teams: Vec<Team>,
    /// Who is in which, by team.
    pub members: Vec<(Team, String)>,
    /// The roles, by grantee and scope.
    pub grants: Vec<GrantRecord>,
}

/// A change of accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountChange {
    /// A new account with what it may do. What others of this name had is not its.
    Add(AccountRecord, Vec<(Scope, Role)>),
    /// Another password of an account. Its tokens end; of a robot, only those that are bound.
    SetPassword(String, String),
    /// Whether nothing opens an account.
    SetDisabled(String, bool),
    /// An account goes with its tokens, its places in teams and what it may do.
    Remove(String),
    /// A new token. Where there are [`MOST_TOKENS`], a bound one takes the place of another; else there is no room.
    AddToken(TokenRecord),
    /// A token goes.
    RemoveToken(String),
    /// A new organisation; since when, and by whom.
    AddOrganisation(String, Timestamp, Option<String>),
    /// An organisation goes with its teams and what those may do.
    RemoveOrganisation(String),
    /// A new team.
    AddTeam(Team),
    /// A team goes, and what it may do.
    RemoveTeam(Team),
    /// A user joins a team.
    Join(Team, String),
    /// A user leaves a team.
    Leave(Team, String),
    /// A role in the place of the one that the grantee had there.
    Grant(GrantRecord),
    /// The grantee's role there goes.
    Revoke(Grantee, Scope),
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountOutcome {
    /// It was made.
    Done,
    /// There is one of this name, or of this identity.
    Taken,
    /// There is none to be changed.
    Unknown,
    /// There are too many.
    Full,
    /// There is a user whose name differs by case only.
    LooksAlike,
}

/// Accounts as records.
#[async_trait]
pub trait Accounts: Send + Sync {
    /// All of them.
    async fn accounts(&self) -> Result<AccountRecords>;

    /// Makes a change, whole or not at all.
    async fn change_accounts(&self, change: AccountChange) -> Result<AccountOutcome>;

    /// Records, lazily, when tokens were last used.
    async fn note_token_uses(&self, uses: Vec<(String, Timestamp)>) -> Result<()>;

    /// Forgets tokens that have ended. How many.
    async fn forget_tokens(&self, now: Timestamp) -> Result<usize>;
}
