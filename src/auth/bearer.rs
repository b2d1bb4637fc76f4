//! Whom a token is for, and what it is good for.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::identity::FederatedIdentity;
use super::scope::Grant;

/// Whom a token is for, and for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bearer {
    pub(super) of: TokenSubject,
    pub(super) grants: Vec<Grant>,
}

/// Whom a token is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TokenSubject {
    /// Somebody who did not say who they are.
    Anonymous,
    /// A user.
    User(User),
    /// Somebody without an account.
    Federated(FederatedIdentity),
    /// Whoever another authority let in, who alone knows what they may do.
    Delegated(Arc<str>),
}

impl Bearer {
    /// The name of whom it is for.
    pub(super) fn name(&self) -> Option<&str> {
        match &self.of {
            TokenSubject::Anonymous => None,
            TokenSubject::User(User { name, .. })
            | TokenSubject::Federated(FederatedIdentity { name, .. })
            | TokenSubject::Delegated(name) => Some(name),
        }
    }

    /// The user that it is for.
    pub(super) fn user(&self) -> Option<&User> {
        match &self.of {
            TokenSubject::User(user) => Some(user),
            TokenSubject::Anonymous | TokenSubject::Federated(_) | TokenSubject::Delegated(_) => None,
        }
    }
}

/// A user with what stands for the secret that they came with, as a token names one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The name.
    pub name: Arc<str>,
    /// What stands for the secret that it was asked for with: with another one it is worth nothing.
    pub(super) print: String,
    /// The access token that it was asked for with, if that was no password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) by: Option<String>,
}

/// What a token tells of its holder.
#[derive(Serialize, Deserialize)]
pub(super) struct TokenClaims {
    access: Vec<Grant>,
    user: Option<User>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    identity: Option<FederatedIdentity>,
}

impl TokenClaims {
    pub(super) fn of(bearer: Bearer) -> Self {
        let (user, identity) = match bearer.of {
            TokenSubject::User(user) => (Some(user), None),
            TokenSubject::Federated(identity) => (None, Some(identity)),
            TokenSubject::Anonymous | TokenSubject::Delegated(_) => (None, None),
        };
        Self { access: bearer.grants, user, identity }
    }

    pub(super) fn bearer(self) -> Bearer {
        let of = match (self.user, self.identity) {
            (Some(user), _) => TokenSubject::User(user),
            (None, Some(identity)) => TokenSubject::Federated(identity),
            (None, None) => TokenSubject::Anonymous,
        };
        Bearer { of, grants: self.access }
    }
}
