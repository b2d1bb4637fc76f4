//! Who is in, and why somebody is not.

use std::sync::Arc;
use std::time::Duration;

use super::bearer::{Bearer, User};
use super::identity::FederatedIdentity;
use crate::metadata::TokenRecord;

/// Who is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// Whoever may use a socket of this machine.
    LocalAdmin,
    /// Somebody who did not say who they are.
    Anonymous,
    /// This user, by their password.
    User(Arc<User>),
    /// A user by an access token, in the part of what they may do that it is good for.
    Token(Arc<TokenRecord>),
    /// Somebody without an account, by a provider's word.
    Federated(Arc<FederatedIdentity>),
    /// Somebody with a token that was issued for a few minutes.
    Bearer(Arc<Bearer>),
}

impl Principal {
    /// Their name; what `other` says of somebody who has none.
    pub fn name_or(&self, other: impl FnOnce() -> String) -> String {
        self.user().map_or_else(other, str::to_owned)
    }

    /// Their name: a user's, or what whoever lets them in calls them, which has a colon.
    pub fn user(&self) -> Option<&str> {
        match self {
            Self::User(user) => Some(&user.name),
            Self::Token(token) => Some(&token.account),
            Self::Federated(identity) => Some(&identity.name),
            Self::Bearer(bearer) => bearer.name(),
            Self::LocalAdmin | Self::Anonymous => None,
        }
    }

    /// The id of the access token that they came by, or got their token with.
    pub fn access_token(&self) -> Option<&str> {
        match self {
            Self::Token(token) => Some(&token.id),
            Self::Bearer(bearer) => bearer.user()?.by.as_deref(),
            Self::LocalAdmin | Self::Anonymous | Self::User(_) | Self::Federated(_) => None,
        }
    }
}

/// Why somebody does not come in, or may not do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthError {
    /// They did not say who they are, or it is not true, or what they show is not good for that. Which of name and
    /// password is wrong is never told.
    Unauthenticated,
    /// It is known who they are, and they may not. Whether there is what they asked for is never told.
    Forbidden,
    /// Too many were wrong from there.
    RateLimited(Duration),
    /// There is no memory to compare passwords.
    OutOfMemory,
}
