//! The outcome of an audited action, and its origin.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The outcome of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuditOutcome {
    /// It was performed.
    Allowed,
    /// The user lacked the permission, or was not authenticated.
    Denied,
    /// It was permitted but failed, or the client disconnected before it received the result.
    Failed,
}

/// The text is not the name of an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("is not an outcome: use allowed, denied or failed")]
pub struct UnknownOutcome;

impl AuditOutcome {
    /// All outcomes.
    pub const ALL: [Self; 3] = [Self::Allowed, Self::Denied, Self::Failed];

    /// Returns its name.
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

/// Where a request came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The address of a client.
    Address(IpAddr),
    /// The local machine: the admin socket, or a command on a stopped store.
    LocalAdmin,
    /// The registry itself.
    Registry,
}

/// The text is not an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("is not an origin: use an IP address, admin-socket or registry")]
pub struct UnknownOrigin;

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::LocalAdmin => f.write_str("admin-socket"),
            Self::Registry => f.write_str("registry"),
        }
    }
}

impl FromStr for Origin {
    type Err = UnknownOrigin;

    fn from_str(text: &str) -> Result<Self, UnknownOrigin> {
        match text {
            "admin-socket" => Ok(Self::LocalAdmin),
            "registry" => Ok(Self::Registry),
            address => address.parse().map(Self::Address).map_err(|_| UnknownOrigin),
        }
    }
}
