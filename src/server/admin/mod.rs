//! The admin socket: `<data>/admin.sock`, for the command line beside a running server. Whoever may open
//! the data directory's files may use it, and nobody else. On a stopped store the command line asks the same
//! router in its own process: [`ApiClient`] does not show the difference.
//!
//! HTTP/1.1. `/api/v1` is [`crate::http::api`], with all rights. `POST /gc?dry_run=…`, `/fsck?repair=…`, `/scrub?now=…&rate=…` and `/backup?dir=…` answer a JSON object a
//! line: `{"progress":…}` as often as something changed, and at the end `{"result":…}` or `{"error":…}`.
//! `GET /readyz` tells how things are.

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
use crate::jobs::progress::Step;

/// A line of an operation's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// It has come so far.
    Progress(Step),
    /// It came to this.
    Result(serde_json::Value),
    /// It failed.
    Error(String),
}

/// How a running server is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The program's version.
    pub version: String,
    /// Where it listens.
    pub listen: std::net::SocketAddr,
    /// Whether it speaks TLS there.
    pub tls: bool,
    /// Whether a push would work.
    #[serde(flatten)]
    pub readiness: Readiness,
}
