//! The principal of a request (who it comes from), and the errors of authentication and authorisation.

use std::sync::Arc;
use std::time::Duration;

use super::bearer::{Bearer, User};
use super::identity::FederatedIdentity;
use crate::metadata::TokenRecord;

/// Who a request comes from, after authentication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// A client of the admin socket on this machine, which may do everything.
    LocalAdmin,
    /// A client without credentials.
    Anonymous,
    /// A user who authenticated with a password.
    User(Arc<User>),
    /// A user who authenticated with an access token, which may limit their role and scope.
    Token(Arc<TokenRecord>),
    /// An identity of an OpenID Connect provider, without an account.
    Federated(Arc<FederatedIdentity>),
    /// A client with a short-lived bearer token.
    Bearer(Arc<Bearer>),
}

impl Principal {
    /// The name of the principal, or the result of `fallback` if it has none.
    pub fn name_or(&self, fallback: impl FnOnce() -> String) -> String {
        self.name().map_or_else(fallback, str::to_owned)
    }

    /// The name of the principal, if it has one: a user name, or the name of an external identity, which contains a
    /// colon.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::User(user) => Some(&user.name),
            Self::Token(token) => Some(&token.account),
            Self::Federated(identity) => Some(&identity.name),
            Self::Bearer(bearer) => bearer.name(),
            Self::LocalAdmin | Self::Anonymous => None,
        }
    }

    /// The id of the access token that the principal authenticated with, directly or to get its bearer token.
    pub fn access_token_id(&self) -> Option<&str> {
        match self {
            Self::Token(token) => Some(&token.id),
            Self::Bearer(bearer) => bearer.user()?.access_token_id.as_deref(),
            Self::LocalAdmin | Self::Anonymous | Self::User(_) | Self::Federated(_) => None,
        }
    }
}

/// Why a request is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthError {
    /// The credentials are missing or wrong, or other credentials are needed. Responses don't reveal whether the user
    /// name or the password was wrong.
    Unauthenticated,
    /// The principal is known but lacks the permission. Responses don't reveal whether the requested resource exists.
    Forbidden,
    /// Too many failed logins from this address or for this user; retry after this time.
    RateLimited(Duration),
    /// There is not enough memory to compare passwords now.
    OutOfMemory,
}
