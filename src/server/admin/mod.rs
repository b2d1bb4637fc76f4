//! The admin socket `<data>/admin.sock`, through which the command line uses a running server. Only users who may open
//! the data directory's files may use it. On a stopped store the command line uses the same router in its own process;
//! [`ApiClient`] hides the difference.
//!
//! The protocol is HTTP/1.1. `/api/v1` is [`crate::http::api`], with all permissions. `POST /gc?dry_run=…`,
//! `/fsck?repair=…`, `/scrub?now=…&rate=…` and `/backup?dir=…` respond with one JSON object per line: `{"progress":…}`
//! repeatedly, and finally `{"result":…}` or `{"error":…}`. `GET /readyz` returns the server's status.

mod client;
mod routes;
mod socket;

pub use client::{ApiClient, ClientError, path};
pub use routes::{Line, Status, readiness, router};
pub use socket::{bind, connect, remove};
