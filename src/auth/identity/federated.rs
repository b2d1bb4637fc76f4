//! Somebody who has no account, and comes by a provider's word.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::auth::directory::Held;

/// Somebody without an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FederatedIdentity {
    /// What the provider calls them, after the provider's name and a colon, which no user's name has.
    pub name: Arc<str>,
    /// What they may do.
    pub(in crate::auth) held: Vec<Held>,
    /// What stands for the settings that say so: by others it is worth nothing.
    pub(in crate::auth) print: String,
}
