//! The routes outside of the registry protocol: health, metrics, tokens and sign-in, and the 404 fallback.

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

use super::challenge::TOKEN_PATH;
use super::freshness::NO_STORE;
use super::payload::Payload;
use super::reply::Reply;
use super::sign_in::{self, LOGIN_PATH};
use super::status::V2Error;
use super::{AppState, api, token};
use crate::auth::{Action, Permission};
use crate::metadata::Scope;
use crate::oci::PathError;

/// Reports whether the registry is able to work.
#[async_trait]
pub trait Health: Send + Sync + 'static {
    /// Checks that a push would succeed, and returns warnings.
    ///
    /// # Errors
    /// The reason why a push would fail.
    async fn ready(&self) -> Result<Vec<String>, String>;

    /// The tag by which the health check recognises the store that is served.
    fn store_tag(&self) -> Option<&str> {
        None
    }

    /// Warnings for clients that push. Must be cheap: every push calls it.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A health check that always succeeds.
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
        .route(TOKEN_PATH, get(token::issue).post(token::exchange))
        .route(LOGIN_PATH, get(sign_in::list_providers))
        .route("/login/{provider}", get(sign_in::start))
        .route("/login/{provider}/callback", get(sign_in::finish))
        .fallback(async || response(V2Error::from(PathError::NotFound).into()))
        .with_state(state)
}

/// The permission that a path outside of `/v2` requires. `None` if anyone may use it.
pub(super) fn required_permission(path: &str) -> Option<Permission<'static>> {
    match path {
        // Probes have no password. The token and sign-in endpoints authenticate the user themselves.
        path if is_for_anyone(path) || path == TOKEN_PATH || sign_in::is_sign_in(path) => None,
        // Metrics name repositories.
        "/metrics" => Some(Permission::Scope(&Scope::All, Action::Pull)),
        _ => Some(Permission::Other),
    }
}

/// Whether a path is for probes: the root, which probes for other registries request, and the health endpoints.
fn is_for_anyone(path: &str) -> bool {
    path == "/" || is_probe(path)
}

/// Whether a path is a health endpoint. Health endpoints have no rate limit, so that probes succeed even if other
/// clients of the same machine send many requests.
pub(super) fn is_probe(path: &str) -> bool {
    matches!(path, "/livez" | "/readyz")
}

/// The route label of a path outside of `/v2`, for logs and metrics.
pub(super) fn route(path: &str) -> &'static str {
    match path {
        "/" => "root",
        "/livez" => "livez",
        "/readyz" => "readyz",
        "/metrics" => "metrics",
        TOKEN_PATH => "token",
        path if sign_in::is_sign_in(path) => "login",
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
    let (status, mut body) = match state.health.ready().await {
        Ok(warnings) => (StatusCode::OK, json!({ "status": "ready", "warnings": warnings })),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, json!({ "status": "not ready", "reason": reason })),
    };
    if let Some(tag) = state.health.store_tag() {
        body["store"] = tag.into();
    }
    response(Reply::json(status, &body))
}

async fn metrics(State(state): State<Arc<AppState>>) -> Response<Body> {
    let mut text = String::new();
    // Writing into a string cannot fail, but a collector can.
    if let Err(error) = encode(&mut text, &state.exposition) {
        tracing::error!(%error, "failed to encode metrics");
    }
    let media_type = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    response(Reply::new(StatusCode::OK).with(CONTENT_TYPE, media_type).body(Payload::Whole(text.into())))
}

/// Converts a reply to a response that caches do not store.
pub(super) fn response(mut reply: Reply) -> Response<Body> {
    reply.set_default(CACHE_CONTROL, NO_STORE);
    reply.into_response().map(Body::new)
}
