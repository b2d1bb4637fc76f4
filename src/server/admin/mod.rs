//! The admin socket `<data>/admin.sock`, through which the command line uses a running server. Only users who may open
//! the data directory's files may use it. On a stopped store the command line uses the same router in its own process;
//! [`ApiClient`] hides the difference.
//!
//! The protocol is HTTP/1.1. `/api/v1` is [`crate::http::api`], with all permissions. `POST /gc?dry_run=…`,
//! `/fsck?repair=…`, `/scrub?now=…&rate=…` and `/backup?dir=…` respond with one JSON object per line:
//! `{"progress":…}` repeatedly, and finally `{"result":…}` or `{"error":…}`. `GET /readyz` returns the server's status.

mod answer;
mod client;
mod lines;
mod socket;
mod transport;

pub use answer::{readiness, router};
pub use client::{ApiClient, ClientError, path};
pub use socket::{bind, connect, remove};

use serde::{Deserialize, Serialize};

use super::health::Readiness;
use crate::maintenance::progress::Step;

/// A line of an operation's response.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// Progress so far.
    Progress(Step),
    /// The report of a finished operation.
    Result(serde_json::Value),
    /// The operation failed.
    Error(String),
}

/// The status of a running server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The server's version.
    pub version: String,
    /// The address it listens at.
    pub listen: std::net::SocketAddr,
    /// Whether it uses TLS there.
    pub tls: bool,
    /// Whether a push would work.
    #[serde(flatten)]
    pub readiness: Readiness,
}
