//! What the operator asks: is it alive, can it work, what has it done. And the answer to all that is
//! nothing here.

use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use prometheus_client::encoding::text::encode;
use serde_json::json;

use super::challenge::TOKENS;
use super::freshness::NO_STORE;
use super::payload::Payload;
use super::reply::Reply;
use super::sign_in::{self, LOGIN};
use super::status::V2Error;
use super::{AppState, api, token};
use crate::auth::{Action, Permission};
use crate::metadata::Scope;
use crate::oci::PathError;

/// Tells whether the registry can work.
#[async_trait]
pub trait Health: Send + Sync + 'static {
    /// Whether a push would work, with what is worth a warning nevertheless.
    ///
    /// # Errors
    /// Why it would not.
    async fn ready(&self) -> Result<Vec<String>, String>;

    /// By what the health check knows the store that is served.
    fn store_tag(&self) -> Option<&str> {
        None
    }

    /// What those who push are to be told, at the cost of a glance.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Health that is always good.
#[derive(Debug, Clone, Copy, Default)]
pub struct AlwaysReady;

#[async_trait]
impl Health for AlwaysReady {
    async fn ready(&self) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }
}

pub(super) fn router(state: Arc<AppState>) -> Router {
    Router::new()
        .route("/", get(root))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route(TOKENS, get(token::issue).post(token::request_log))
        .route(LOGIN, get(sign_in::choose))
        .route("/login/{provider}", get(sign_in::begin))
        .route("/login/{provider}/callback", get(sign_in::end))
        .fallback(async || response(V2Error::from(PathError::NotFound).into()))
        .with_state(state)
}

/// What whoever asks for a path wants, as far as that is decided by the path alone.
pub(super) fn permission(path: &str) -> Option<Permission<'static>> {
    match path {
        // Whoever asks whether the server lives has no password, and whoever asks for a token, or signs in, shows there
        // who they are.
        path if is_for_anyone(path) || path == TOKENS || sign_in::is_below(path) => None,
        // They name repositories.
        "/metrics" => Some(Permission::Scope(&Scope::All, Action::Pull)),
        _ => Some(Permission::Other),
    }
}

/// Whether a path is for those who look whether there is a server: the root, which probes made for other registries
/// ask for, and the probes' own.
fn is_for_anyone(path: &str) -> bool {
    path == "/" || is_probe(path)
}

/// Whether a path tells if the server lives. Whoever asks must be told also where others of their machine ask much.
pub(super) fn is_probe(path: &str) -> bool {
    matches!(path, "/livez" | "/readyz")
}

/// The label of a path that is not the protocol's.
pub(super) fn route(path: &str) -> &'static str {
    match path {
        "/" => "root",
        "/livez" => "livez",
        "/readyz" => "readyz",
        "/metrics" => "metrics",
        TOKENS => "token",
        path if sign_in::is_below(path) => "login",
        path if api::is_below(path) => "api",
        _ => "other",
    }
}

async fn root() -> Response<Body> {
    response(Reply::json(StatusCode::OK, &json!({ "registry": "/v2/", "api": api::ROOT })))
}

async fn livez() -> Response<Body> {
    response(Reply::json(StatusCode::OK, &json!({ "status": "alive" })))
}

async fn readyz(State(state): State<Arc<AppState>>) -> Response<Body> {
    let (status, mut answer) = match state.health.ready().await {
        Ok(warnings) => (StatusCode::OK, json!({ "status": "ready", "warnings": warnings })),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, json!({ "status": "not ready", "reason": reason })),
    };
    if let Some(tag) = state.health.store_tag() {
        answer["store"] = tag.into();
    }
    response(Reply::json(status, &answer))
}

async fn metrics(State(state): State<Arc<AppState>>) -> Response<Body> {
    let mut text = String::new();
    // Writing into a string fails only where a collector does.
    if let Err(error) = encode(&mut text, &state.exposition) {
        tracing::error!(%error, "the metrics cannot be shown");
    }
    let form = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    response(Reply::new(StatusCode::OK).with(CONTENT_TYPE, form).body(Payload::Whole(text.into())))
}

pub(super) fn response(mut reply: Reply) -> Response<Body> {
    reply.set_default(CACHE_CONTROL, NO_STORE);
    reply.into_response().map(Body::new)
}
