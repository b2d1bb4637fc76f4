//! The content of a bearer token: its subject and its grants.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::identity::FederatedIdentity;
use super::scope::Grant;

/// A verified bearer token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bearer {
    pub(super) subject: TokenSubject,
    pub(super) grants: Vec<Grant>,
}

/// The subject of a bearer token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TokenSubject {
    /// An anonymous client.
    Anonymous,
    /// A user.
    User(User),
    /// An identity of an OpenID Connect provider, without an account.
    Federated(FederatedIdentity),
    /// A client of the external token authority, which alone knows the client's permissions.
    Delegated(Arc<str>),
}

impl Bearer {
    /// The name of the subject; `None` if anonymous.
    pub(super) fn name(&self) -> Option<&str> {
        match &self.subject {
            TokenSubject::Anonymous => None,
            TokenSubject::User(User { name, .. })
            | TokenSubject::Federated(FederatedIdentity { name, .. })
            | TokenSubject::Delegated(name) => Some(name),
        }
    }

    /// The user, if the subject is one.
    pub(super) fn user(&self) -> Option<&User> {
        match &self.subject {
            TokenSubject::User(user) => Some(user),
            TokenSubject::Anonymous | TokenSubject::Federated(_) | TokenSubject::Delegated(_) => None,
        }
    }
}

/// A user with a fingerprint of the credential that they authenticated with, as tokens carry it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The user name.
    pub name: Arc<str>,
    /// The fingerprint of the credential that the token was issued for. The token is invalid once the credential
    /// changes.
    #[serde(rename = "print")]
    pub(super) credential_fingerprint: String,
    /// The id of the access token that the token was issued for; `None` if it was issued for a password.
    #[serde(rename = "by", default, skip_serializing_if = "Option::is_none")]
    pub(super) access_token_id: Option<String>,
}

/// The private claims of a bearer token.
#[derive(Serialize, Deserialize)]
pub(super) struct TokenClaims {
    access: Vec<Grant>,
    user: Option<User>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    identity: Option<FederatedIdentity>,
}

impl TokenClaims {
    pub(super) fn of(bearer: Bearer) -> Self {
        let (user, identity) = match bearer.subject {
            TokenSubject::User(user) => (Some(user), None),
            TokenSubject::Federated(identity) => (None, Some(identity)),
            TokenSubject::Anonymous | TokenSubject::Delegated(_) => (None, None),
        };
        Self { access: bearer.grants, user, identity }
    }

    pub(super) fn into_bearer(self) -> Bearer {
        let subject = match (self.user, self.identity) {
            (Some(user), _) => TokenSubject::User(user),
            (None, Some(identity)) => TokenSubject::Federated(identity),
            (None, None) => TokenSubject::Anonymous,
        };
        Bearer { subject, grants: self.access }
    }
}
