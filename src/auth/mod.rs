//! Who comes in, and who may do what.
//!
//! | file | what it does |
//! | --- | --- |
//! | `door` | lets in who has a user's password, or everybody |
//! | `htpasswd`, `watched` | the users in a file, read again when it changes |
//! | `verified` | passwords that were right a moment ago |
//! | `guesses` | slows down who guesses |
//!
//! Whoever is in may do everything: there are no roles yet.

mod door;
mod guesses;
mod htpasswd;
mod verified;
mod watched;

pub use door::{Caller, Denial, Door};

use crate::registry::Access;

/// What somebody who was let in may do.
pub fn everything() -> Access {
    Access { push: true }
}
