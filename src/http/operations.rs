//! The routes outside of the registry protocol: health, metrics, tokens and sign-in, and the 404 fallback.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::get;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use prometheus_client::encoding::text::encode;
use serde_json::json;

use super::paths::{API_ROOT, LOGIN_PATH, TOKEN_PATH};
use super::payload::Payload;
use super::reply::{Reply, routed};
use super::state::AppState;
use super::v2::V2Error;
use super::{sign_in, token};
use crate::oci::PathError;

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
        .fallback(async || routed(V2Error::from(PathError::NotFound).into()))
        .with_state(state)
}

/// Describes the registry, if it has no web pages.
async fn root() -> Response<Body> {
    routed(Reply::json(StatusCode::OK, &json!({ "registry": "/v2/", "api": API_ROOT })))
}

async fn livez() -> Response<Body> {
    routed(Reply::json(StatusCode::OK, &json!({ "status": "alive" })))
}

async fn readyz(State(state): State<Arc<AppState>>) -> Response<Body> {
    let (status, mut body) = match state.health.ready().await {
        Ok(warnings) => (StatusCode::OK, json!({ "status": "ready", "warnings": warnings })),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, json!({ "status": "not ready", "reason": reason })),
    };
    if let Some(fingerprint) = state.health.store_fingerprint() {
        body["store"] = fingerprint.into();
    }
    routed(Reply::json(status, &body))
}

async fn metrics(State(state): State<Arc<AppState>>) -> Response<Body> {
    let mut text = String::new();
    // Writing into a string cannot fail, but a collector can.
    if let Err(error) = encode(&mut text, &state.exposition) {
        tracing::error!(%error, "failed to encode metrics");
    }
    let media_type = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    routed(Reply::new(StatusCode::OK).with(CONTENT_TYPE, media_type).body(Payload::Whole(text.into())))
}
