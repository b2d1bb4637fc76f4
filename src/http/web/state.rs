//! What all pages share, and the description of an action.

use std::sync::Arc;

use axum::handler::Handler;
use axum::routing::{MethodRouter, post};

use super::live_streams::LiveStreams;
use super::shown_once::ShownOnce;
use crate::http::api::Api;
use crate::http::state::AppState;
use crate::metadata::AuditAction;

/// The state that all pages share.
pub(super) struct Web {
    /// The state of the server.
    pub(super) state: Arc<AppState>,
    /// The reports and the rights of the API.
    pub(super) api: Arc<Api>,
    /// The streams of pages that are updated live.
    pub(super) live: Arc<LiveStreams>,
    /// The secrets that the next page shows.
    pub(super) secrets: ShownOnce,
}

/// Something that a visitor can do with a form.
pub(super) struct Action {
    pub(super) path: &'static str,
    pub(super) operation: AuditAction,
    pub(super) handler: MethodRouter<Arc<Web>>,
}

impl Action {
    /// An action at `path` below `/actions`, which the audit log records as `operation`.
    pub(super) fn new<H, T>(path: &'static str, operation: AuditAction, handler: H) -> Self
    where
        H: Handler<T, Arc<Web>>,
        T: 'static,
    {
        Self { path, operation, handler: post(handler) }
    }
}
