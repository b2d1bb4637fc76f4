//! The router of the API, and its OpenAPI document.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, StatusCode};
use tower::{ServiceExt, service_fn};

use super::parameters::{KnownParameters, reject_unknown_parameters};
use super::problem::{Errors, Problem};
use super::request_audit::record;
use super::response_memory::reserve_memory;
use super::rights::AnyAccess;
use super::routes::{Routes, into_router, routes};
use super::state::Api;
use super::{
    access_tokens, accounts, adoption, audit, background, browse, contents, events, grants, history,
    manifests, organisations, policies, repositories, repository_lifecycle, retention, scrub, status, tags,
    trash, usage, why,
};
use crate::http::lazy_router::LazyRouter;
use crate::http::paths::API_ROOT;

/// The routes of all resources.
fn resource_routes() -> Routes {
    Routes::new()
        .routes(routes!(get_document))
        .merge(status::routes())
        .merge(repositories::routes())
        .merge(tags::routes())
        .merge(browse::routes())
        .merge(manifests::routes())
        .merge(contents::routes())
        .merge(history::routes())
        .merge(repository_lifecycle::routes())
        .merge(trash::routes())
        .merge(scrub::routes())
        .merge(background::routes())
        .merge(adoption::routes())
        .merge(events::routes())
        .merge(audit::routes())
        .merge(policies::routes())
        .merge(retention::routes())
        .merge(usage::routes())
        .merge(why::routes())
        .merge(accounts::routes())
        .merge(organisations::routes())
        .merge(grants::routes())
        .merge(access_tokens::routes())
}

/// Returns the router of the API. Each request must carry its [`crate::http::listen::Peer`] as an extension; a
/// request without one cannot change anything.
///
/// The routes are built on the first request for one of them, because many registries never get such a request.
pub fn router(api: Arc<Api>) -> Router {
    let routes = LazyRouter::new(move || build_routes(api));
    let service = service_fn(move |request: Request| {
        let routes = routes.clone();
        async move { routes.get().clone().oneshot(request).await }
    });
    Router::new().nest_service(API_ROOT, service)
}

fn build_routes(api: Arc<Api>) -> Router {
    let known = Arc::new(KnownParameters::of(DOCUMENT));
    let registry = Arc::clone(api.registry());
    into_router(resource_routes())
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "no such path in the API"))
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this path does not support the method")
        })
        .layer(from_fn_with_state(Arc::clone(&api), reserve_memory))
        .layer(from_fn_with_state(known, reject_unknown_parameters))
        .layer(from_fn(complete_response))
        .layer(from_fn_with_state(registry, record))
        .with_state(api)
}

/// Turns a panic of a handler into a response, and sets the headers of every response.
async fn complete_response(request: Request, next: Next) -> Response {
    let handled = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    // The panic hook has already logged the message.
    let mut response = handled.unwrap_or_else(|_| Problem::failed().into_response());
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The OpenAPI document. A test writes it: `ORLOP_WRITE_OPENAPI=1 cargo test --lib openapi`.
const DOCUMENT: &str = include_str!("openapi.json");

/// Returns the OpenAPI document of this API.
#[utoipa::path(
    get, path = "/openapi.json", operation_id = "getDocument", tag = "about",
    responses((status = OK, description = "The OpenAPI document.", body = Object), Errors)
)]
async fn get_document(_: AnyAccess) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], DOCUMENT)
}

#[cfg(test)]
mod tests {
    use http::Method;
    use serde::Serialize;
    use serde_json::ser::{PrettyFormatter, Serializer};
    use utoipa::OpenApi;

    use super::super::request_audit::action;
    use super::*;
    use crate::metadata::AuditAction;

    #[derive(OpenApi)]
    #[openapi(
        info(
            title = "Orlop",
            description = "Administration, reports and history beyond the registry protocol. In a path, each \
                           slash in a repository name is written as %2F. Errors are problem details (RFC 9457)."
        ),
        components(schemas(Problem))
    )]
    struct Document;

    /// Describes all handlers, a value in each line.
    fn describe() -> String {
        let (_, described) = resource_routes().split_for_parts();
        let document = Document::openapi().nest(API_ROOT, described);
        let mut text = Vec::new();
        let mut writer = Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b""));
        document.serialize(&mut writer).expect("JSON");
        text.push(b'\n');
        String::from_utf8(text).expect("text")
    }

    #[test]
    fn openapi_document_describes_the_handlers() {
        let described = describe();
        if std::env::var_os("ORLOP_WRITE_OPENAPI").is_some() {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/http/api/openapi.json");
            return std::fs::write(path, described).expect("written");
        }
        let first = described.lines().zip(DOCUMENT.lines()).position(|(new, old)| new != old);
        assert_eq!(
            first, None,
            "the first line that differs; write it: ORLOP_WRITE_OPENAPI=1 cargo test --lib openapi"
        );
        assert_eq!(described.len(), DOCUMENT.len());
    }

    /// An operation that changes something needs an audit action before it can have a route.
    #[test]
    fn every_changing_operation_has_an_audit_action() {
        let (_, described) = resource_routes().split_for_parts();
        let document = serde_json::to_value(&described).expect("JSON");
        let paths = document["paths"].as_object().expect("paths");
        let mut changes = 0;
        let mut unnamed = Vec::new();
        for (path, item) in paths {
            for method in item.as_object().expect("an item").keys() {
                let method: Method = method.to_uppercase().parse().expect("a method");
                match action(&method, path) {
                    None => unnamed.push(format!("{method} {path}")),
                    Some(AuditAction::Read) => {}
                    Some(action) => changes += usize::from(action.is_change()),
                }
            }
        }
        assert!(unnamed.is_empty(), "no audit action in http/api/request_audit.rs: {unnamed:?}");
        assert!(changes > 20, "found only {changes} changing operations");
    }
}
