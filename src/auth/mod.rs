//! Who comes in, and who may do what.
//!
//! | file | what it does |
//! | --- | --- |
//! | `door` | lets in who has a user's password or a token, or everybody, and decides what they may do |
//! | `htpasswd`, `watched` | the users in a file, read again when it changes |
//! | `verified`, `fresh` | passwords, and tokens, that were right a moment ago |
//! | `guesses` | slows down who guesses |
//! | `public` | what everybody may pull |
//! | `scope` | what a request wants, and what a token is good for |
//! | `tokens`, `key` | tokens, and what they are signed with |
//!
//! A user may do everything: there are no roles yet.

mod door;
mod fresh;
mod guesses;
mod htpasswd;
mod key;
mod public;
mod scope;
mod tokens;
mod verified;
mod watched;

pub use door::{Caller, Denial, Door};
pub use guesses::network;
pub use key::TokenKey;
pub use public::Public;
pub use scope::{Action, Wanted};
pub use tokens::{Bearer, Token, Tokens};

use crate::oci::RepoName;
use crate::registry::Access;

/// What somebody may do with a repository besides what was decided for the request.
pub fn access(caller: &Caller, repository: &RepoName) -> Access {
    Access { push: caller.holds(Wanted::Repository(repository, Action::Push)) }
}

/// What somebody may do who may do everything.
pub fn everything() -> Access {
    Access { push: true }
}
