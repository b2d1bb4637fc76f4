//! Authentication and authorisation: who a request comes from, and what they may do.
//!
//! | file | what it does |
//! | --- | --- |
//! | `access_control` | authenticates by password or token, issues tokens, and asks `rights` for decisions |
//! | `rights` | the only place that decides what a principal may do |
//! | `visible` | the repositories that lists show to a principal, consistent with `rights` |
//! | `principal` | the authenticated principal, and the reasons for rejecting a request |
//! | `directory`, `accounts` | a snapshot of the accounts and their grants, and the cache that keeps it current |
//! | `administration` | changes accounts, teams, grants and access tokens |
//! | `lookalikes` | finds user names that differ only in case |
//! | `people` | signs people in through a provider and gives them an account |
//! | `explain` | explains the role of a user on a repository |
//! | `modes` | what anonymous users may do |
//! | `htpasswd`, `watched` | the users of an htpasswd file, which is read again when it changes |
//! | `identity` | external identities: OpenID Connect providers and another token authority |
//! | `credentials`, `claimed` | the credentials of a request, and the identity it claims |
//! | `passwords`, `verified`, `fresh` | compares passwords within limits, and caches successful checks |
//! | `login_throttle` | slows down password guessing |
//! | `low_priority_pool` | runs expensive work on low-priority threads |
//! | `secret` | generates and hashes passwords and access tokens |
//! | `scope` | permissions that requests need, and grants that tokens carry |
//! | `offline` | refresh tokens |
//! | `tokens`, `bearer`, `key`, `jws` | short-lived bearer tokens, their key and header checks |

mod access_control;
mod accounts;
mod administration;
mod bearer;
mod claimed;
mod credentials;
mod directory;
mod explain;
mod fresh;
mod htpasswd;
mod identity;
mod jws;
mod key;
mod login_throttle;
mod lookalikes;
mod low_priority_pool;
mod modes;
mod offline;
mod passwords;
mod people;
mod principal;
mod rights;
mod scope;
mod secret;
mod tokens;
mod verified;
mod visible;
mod watched;

pub use access_control::{AccessControl, AccessSettings};
pub use accounts::{AccountUpkeep, Accounts};
pub use administration::{ADMINISTRATOR, AccountError, By, NewAccessToken, NewAccount};
pub use bearer::{Bearer, User};
pub use claimed::Claimed;
pub use directory::Directory;
pub use identity::{
    Authority, AuthoritySettings, FederatedIdentity, Identities, KeySource, Provider, ProviderSettings, Rule,
    RuleError, RuleSettings, SignInError, SignInSettings,
};
pub use key::TokenKey;
pub use login_throttle::network;
pub use lookalikes::{LookAlikes, find_look_alikes};
pub use modes::{Mode, Modes};
pub use people::{PersonError, SIGN_IN_TIMEOUT, SignInCallback, SignedIn};
pub use principal::{AuthError, Principal};
pub use scope::{Action, Permission};
pub use secret::masked;
pub use tokens::{Token, Tokens};
pub use watched::WatchedUsers;
