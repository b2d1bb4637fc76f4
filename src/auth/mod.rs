//! Authentication and authorisation: who a request comes from, and what they may do.
//!
//! | file | what it does |
//! | --- | --- |
//! | `access_control` | authenticates by password or token, issues tokens, and asks `rights` for decisions |
//! | `rights` | the only place that decides what a principal may do, and which repositories lists show to it |
//! | `principal` | the authenticated principal, and the reasons for rejecting a request |
//! | `directory`, `accounts` | a snapshot of the accounts and their grants, and the cache that keeps it current |
//! | `administration` | changes accounts, teams, grants and access tokens |
//! | `lookalikes` | finds user names that differ only in case |
//! | `people` | signs people in through an identity provider and creates their accounts |
//! | `explain` | explains the roles of a user |
//! | `modes` | what anonymous users may do |
//! | `htpasswd` | an htpasswd file, which is read again when it changes |
//! | `identity` | external identities: OpenID Connect providers, and an external token authority |
//! | `credentials`, `claimed_identity` | the credentials of a request, and the identity that rejected ones claim |
//! | `passwords`, `expiring_cache` | compares passwords within limits, and caches successful checks |
//! | `login_throttle` | slows down password guessing |
//! | `secret` | generates and hashes passwords and access tokens |
//! | `scope` | roles in scopes, the permissions that requests need, and the grants that tokens carry |
//! | `sessions` | browser sessions of users |
//! | `upkeep` | background job that removes what has ended |
//! | `refresh_tokens` | creates and checks refresh tokens, which clients store in place of a password |
//! | `visitors` | marks for the browsers of anonymous visitors of the pages |
//! | `tokens`, `key`, `jws` | short-lived bearer tokens, the key that signs them, and checks of their headers |

mod access_control;
mod accounts;
mod administration;
mod claimed_identity;
mod credentials;
mod directory;
mod expiring_cache;
mod explain;
mod htpasswd;
mod identity;
mod jws;
mod key;
mod login_throttle;
mod lookalikes;
mod modes;
mod passwords;
mod people;
mod principal;
mod refresh_tokens;
mod rights;
mod scope;
mod secret;
mod sessions;
mod tokens;
mod upkeep;
mod visitors;

pub use access_control::{AccessControl, AccessSettings, SessionSettings};
pub use accounts::Accounts;
pub use administration::{ADMINISTRATOR, AccountError, ChangeAuthor, NewAccessToken, NewAccount};
pub use claimed_identity::ClaimedIdentity;
pub use directory::Directory;
pub use explain::RoleReason;
pub use htpasswd::HtpasswdFile;
pub use identity::{
    Authority, AuthoritySettings, Identities, KeySource, Provider, ProviderSettings, Rule, RuleError,
    RuleSettings, SignInError, SignInSettings,
};
pub use key::TokenKey;
pub use lookalikes::{LookAlikes, find_look_alikes};
pub use modes::{AnonymousMode, AnonymousModes};
pub use people::{PersonSignInError, SIGN_IN_TIMEOUT, SignInCallback, SignedIn};
pub use principal::{AuthError, Bearer, FederatedIdentity, Principal, User};
pub use scope::{Action, Permission, ScopedRole};
pub use secret::masked;
pub use sessions::{NewSession, Session, SessionError};
pub use tokens::{Token, Tokens};
pub use upkeep::AccountUpkeep;
