//! An identity of an OpenID Connect provider, without an account here.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::auth::directory::HeldRole;

/// An identity of a provider, with the roles that the provider's rules give it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FederatedIdentity {
    /// The name of the provider and the provider's subject, with a colon between, which no user name contains.
    pub name: Arc<str>,
    /// The roles of the identity.
    #[serde(rename = "held")]
    pub(in crate::auth) roles: Vec<HeldRole>,
    /// The fingerprint of the provider's settings. The identity is invalid once they change.
    #[serde(rename = "print")]
    pub(in crate::auth) settings_fingerprint: String,
}
