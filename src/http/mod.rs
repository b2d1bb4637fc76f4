//! The HTTP server: the registry protocol below `/v2`, the API below `/api/v1`, and health, metrics and sign-in routes.
//!
//! [`listen`] accepts connections and enforces their timeouts. [`App`] passes each request through the layers of
//! `layers` to its handler: `v2` or an axum router, which has the API and the routes of `operations.rs`. When a request
//! is complete, `request_log.rs` writes the access log and the metrics, and `audit.rs` records changes and denied
//! requests.
//!
//! Below `/v2` axum's router is not used: `Endpoint::parse` is the only grammar of paths, and a pull of a small blob
//! takes only microseconds.

pub mod api;
mod app;
mod exchange;
mod forwarded;
mod health;
mod layers;
mod lazy_router;
pub mod listen;
mod metrics;
mod operations;
mod paths;
mod payload;
mod query;
mod rejection;
mod reply;
mod request_body;
mod sealed_cursors;
mod session_cookie;
mod sign_in;
mod state;
mod token;
mod v2;
mod web;

pub use app::App;
pub use forwarded::{ForwardedHeader, TrustedProxies};
pub use health::{AlwaysReady, Health};
pub use layers::request_log::LoggedBody;
pub use metrics::HttpMetrics;
pub use payload::{BoxError, Payload};
pub use state::{AppState, HttpSettings};
pub use web::action_paths;
