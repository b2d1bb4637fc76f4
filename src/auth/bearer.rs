//! Whom a token is for, and what it is good for.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::identity::Visitor;
use super::scope::Grant;

/// Whom a token is for, and for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bearer {
    pub(super) of: Holder,
    pub(super) grants: Vec<Grant>,
}

/// Whom a token is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Holder {
    /// Somebody who did not say who they are.
    Nobody,
    /// A user.
    User(User),
    /// Somebody without an account.
    Visitor(Visitor),
    /// Whoever another authority let in, who alone knows what they may do.
    Outsider(Arc<str>),
}

impl Bearer {
    /// The name of whom it is for.
    pub(super) fn name(&self) -> Option<&str> {
        match &self.of {
            Holder::Nobody => None,
            Holder::User(User { name, .. })
            | Holder::Visitor(Visitor { name, .. })
            | Holder::Outsider(name) => Some(name),
        }
    }

    /// The user that it is for.
    pub(super) fn user(&self) -> Option<&User> {
        match &self.of {
            Holder::User(user) => Some(user),
            Holder::Nobody | Holder::Visitor(_) | Holder::Outsider(_) => None,
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
pub(super) struct Told {
    access: Vec<Grant>,
    user: Option<User>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    visitor: Option<Visitor>,
}

impl Told {
    pub(super) fn of(bearer: Bearer) -> Self {
        let (user, visitor) = match bearer.of {
            Holder::User(user) => (Some(user), None),
            Holder::Visitor(visitor) => (None, Some(visitor)),
            Holder::Nobody | Holder::Outsider(_) => (None, None),
        };
        Self { access: bearer.grants, user, visitor }
    }

    pub(super) fn bearer(self) -> Bearer {
        let of = match (self.user, self.visitor) {
            (Some(user), _) => Holder::User(user),
            (None, Some(visitor)) => Holder::Visitor(visitor),
            (None, None) => Holder::Nobody,
        };
        Bearer { of, grants: self.access }
    }
}
