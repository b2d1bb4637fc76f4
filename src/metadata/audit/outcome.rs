//! What came of what somebody tried, and where they came from, as the audit log has it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use utoipa::ToSchema;

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AuditOutcome {
    /// It was done.
    Allowed,
    /// They may not, or were not let in.
    Denied,
    /// They might have, but it was not done, or its client left before it was told.
    Failed,
}

/// A text that is no outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("is none of allowed, denied and failed")]
pub struct UnknownOutcome;

impl AuditOutcome {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Allowed, Self::Denied, Self::Failed];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for AuditOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for AuditOutcome {
    type Err = UnknownOutcome;

    fn from_str(text: &str) -> Result<Self, UnknownOutcome> {
        Self::ALL.into_iter().find(|outcome| outcome.name() == text).ok_or(UnknownOutcome)
    }
}

/// Where somebody came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A client's address.
    Address(IpAddr),
    /// The machine itself: the admin socket, or the command on a stopped store.
    Machine,
    /// The registry's own work.
    Registry,
}

/// A text that is no origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("is no address, nor admin-socket or registry")]
pub struct UnknownOrigin;

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Machine => f.write_str("admin-socket"),
            Self::Registry => f.write_str("registry"),
        }
    }
}

impl FromStr for Origin {
    type Err = UnknownOrigin;

    fn from_str(text: &str) -> Result<Self, UnknownOrigin> {
        match text {
            "admin-socket" => Ok(Self::Machine),
            "registry" => Ok(Self::Registry),
            address => address.parse().map(Self::Address).map_err(|_| UnknownOrigin),
        }
    }
}
