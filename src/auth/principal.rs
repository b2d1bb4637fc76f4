//! The principal of a request (who it comes from): a user, an external identity, or the subject of a bearer token. And
//! the errors of authentication and authorisation.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::directory::HeldRole;
use super::scope::Grant;
use crate::metadata::TokenRecord;

/// Who a request comes from, after authentication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// A client of the admin socket on this machine, which may do everything.
    LocalAdmin,
    /// A client without credentials.
    Anonymous,
    /// A user who authenticated with a password, or with a browser session.
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
    AuthorityClient(Arc<str>),
}

impl Bearer {
    /// The name of the subject; `None` if anonymous.
    pub(super) fn name(&self) -> Option<&str> {
        match &self.subject {
            TokenSubject::Anonymous => None,
            TokenSubject::User(User { name, .. })
            | TokenSubject::Federated(FederatedIdentity { name, .. })
            | TokenSubject::AuthorityClient(name) => Some(name),
        }
    }

    /// The user, if the subject is one.
    pub(super) fn user(&self) -> Option<&User> {
        match &self.subject {
            TokenSubject::User(user) => Some(user),
            TokenSubject::Anonymous | TokenSubject::Federated(_) | TokenSubject::AuthorityClient(_) => None,
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
    /// The id of the access token that the token was issued for; `None` if it was issued for the user's own sign-in.
    #[serde(rename = "by", default, skip_serializing_if = "Option::is_none")]
    pub(super) access_token_id: Option<String>,
}

/// An identity of a provider, with the roles that the provider's rules give it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FederatedIdentity {
    /// The name of the provider and the provider's subject, with a colon between, which no user name contains.
    pub name: Arc<str>,
    /// The roles of the identity.
    #[serde(rename = "held")]
    pub(super) roles: Vec<HeldRole>,
    /// The fingerprint of the provider's settings. The identity is invalid once they change.
    #[serde(rename = "print")]
    pub(super) settings_fingerprint: String,
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
