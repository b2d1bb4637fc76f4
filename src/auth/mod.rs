//! Who comes in, and who may do what.
//!
//! | file | what it does |
//! | --- | --- |
//! | `access_control` | lets in who has a password or a token, issues tokens, and lets `rights` decide |
//! | `rights` | decides what somebody may do: nothing else does |
//! | `visible` | the repositories that lists show to somebody, as `rights` decides |
//! | `directory`, `accounts` | the accounts and what they are granted: at a moment, and kept current |
//! | `administration` | changes accounts |
//! | `people` | gives an account to those who sign in by a provider |
//! | `explain` | says why somebody may do something |
//! | `modes` | what everybody may do without a login |
//! | `htpasswd`, `watched` | the users in a file, read again when it changes |
//! | `identity` | those who come by somebody else's word: OpenID Connect, another authority |
//! | `credentials`, `claimed` | what a request shows, and whose it says that it is |
//! | `passwords`, `verified`, `fresh`, `guesses` | compares passwords, bounded and remembered, and slows down who guesses |
//! | `aside` | does long work where nobody else wants the processor |
//! | `secret` | passwords and access tokens that are made here |
//! | `scope` | what a request wants, and what a token is good for |
//! | `offline` | tokens that clients renew theirs with |
//! | `tokens`, `bearer`, `key` | tokens for a few minutes, and what they are signed with |

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
pub use people::{AWAY, PersonError, SignedIn};
pub use principal::{AuthError, Principal};
pub use scope::{Action, Permission};
pub use secret::masked;
pub use tokens::{Token, Tokens};
pub use watched::WatchedUsers;
