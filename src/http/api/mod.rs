//! The registry's own HTTP API, `/api/v1`: listings, reports and administration beyond the registry protocol.
//!
//! Requests and responses are JSON; errors are problem details (RFC 9457). Each module covers one resource:
//! its types, which the command line shares, its handlers, and a `routes` function that `resource_routes`
//! merges. Routes are built from `#[utoipa::path]` descriptions only, so the OpenAPI document and the router
//! cannot drift apart.
//!
//! | module | purpose |
//! | --- | --- |
//! | `access` | authorises requests: handlers reach the registry only through the rights it grants |
//! | `document` | serves the OpenAPI document |
//! | `problem` | maps errors to problem details |
//! | `parameters` | rejects query parameters that the document does not list |
//! | `extract`, `page`, `time` | extractors for parameters and bodies, paged lists, timestamps |
//! | `removed` | the items in trash listings |
//! | `named` | the part of a request body that the audit log records |
//! | `schemas` | the schemas of the model's enums |
//! | `response_memory` | reserves memory for responses |
//! | the others | one resource each |

mod access;
mod access_tokens;
mod accounts;
mod audit;
mod document;
mod events;
mod extract;
mod grants;
mod history;
mod manifests;
mod named;
mod organisations;
mod page;
mod parameters;
mod policies;
mod problem;
mod removed;
mod repositories;
mod repository_lifecycle;
mod response_memory;
mod retention;
mod schemas;
mod scrub;
mod status;
mod tags;
mod time;
mod trash;
mod usage;
mod why;

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, StatusCode};
use tower::{ServiceExt, service_fn};
use utoipa_axum::router::OpenApiRouter;

use super::audit::record;
use super::challenge::AuthRejection;
use super::status::ErrorParts;

use parameters::{KnownParameters, reject_unknown_parameters};

pub use access::{Api, Changes};
pub use access_tokens::{AccessToken, RotateRequest, TokenMade, TokenParameters, TokenRequest};
pub use accounts::{Account, AccountMade, AccountRequest, AccountUpdate, RoleThere};
pub use audit::{AuditParameters, Audited};
pub use events::{EventParameters, StoreEvent};
pub use grants::{Can, CanParameters, Grant, GrantParameters, GrantRequest};
pub use history::{ChangeKind, Event, RollbackRequest, RolledBack};
pub use manifests::{Child, Manifest, Part, Referrer};
pub use organisations::{Organisation, TeamEntry};
pub use page::{ListParameters, MAX_PAGE_ITEMS, Order, Page, PageParameters, Sort};
pub use policies::{
    Checked, ImportParameters, ImportedPolicies, PolicyChanged, PolicyEntry, PolicyList, PresetEntry,
    Registries, imported,
};
pub use problem::Problem;
pub use removed::{Removed, RemovedKind, RemovedTag};
pub use repositories::{Repositories, Repository};
pub use repository_lifecycle::{RenameRequest, UndeleteRequest, Work};
pub use retention::{Applied, ApplyRequest, Plan, PlanItem, PlanParameters, Run, Skipped};
pub use scrub::{Damaged, Finding, Scrub};
pub use status::Status;
pub use tags::{Tag, TagTarget};
pub use time::Time;
pub use trash::{Emptied, EmptyRequest, RestoreRequest, Restored, TrashParameters};
pub use usage::{
    BlobUsage, BudgetUse, QuotaReport, ReclaimableReport, RepositoryUsage, StoreUsage, Stored, TagUsage,
    Usage, UsageDay, UsageParameters, UsageReport, Waiting,
};
pub use why::{BlobReasons, HeldBy, KeptBlob, ManifestReasons, Ruled, Stage, Why, WhyParameters};

/// The path that all routes of the API begin with.
pub const ROOT: &str = "/api/v1";

/// The routes of all resources.
fn resource_routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .merge(document::routes())
        .merge(status::routes())
        .merge(repositories::routes())
        .merge(tags::routes())
        .merge(manifests::routes())
        .merge(history::routes())
        .merge(repository_lifecycle::routes())
        .merge(trash::routes())
        .merge(scrub::routes())
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

/// Returns the router of the API. Each request must carry its [`super::listen::Peer`] as an extension; a
/// request without one cannot change anything.
///
/// The routes are built on the first request for one of them: with their descriptions they take more memory than
/// anything else that a start builds, and many registries never get such a request.
pub fn router(api: Arc<Api>) -> Router {
    let routes = Arc::new(LazyLock::new(move || build_routes(api)));
    let service = service_fn(move |request: Request| {
        let routes = Arc::clone(&routes);
        async move { Router::clone(&routes).oneshot(request).await }
    });
    Router::new().nest_service(ROOT, service)
}

fn build_routes(api: Arc<Api>) -> Router {
    // The description takes memory and is rarely needed, so `document` builds it again on the first request
    // for it.
    let (routes, described) = resource_routes().split_for_parts();
    let known = Arc::new(KnownParameters::of(&described));
    let registry = Arc::clone(api.registry());
    routes
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "no such path in the API"))
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this path does not support the method")
        })
        .layer(from_fn_with_state(Arc::clone(&api), response_memory::reserve_memory))
        .layer(from_fn_with_state(known, reject_unknown_parameters))
        .layer(from_fn(guard))
        .layer(from_fn_with_state(registry, record))
        .with_state(api)
}

/// Whether `path` belongs to the API.
pub(super) fn is_below(path: &str) -> bool {
    path.strip_prefix(ROOT).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The response to a request that access control rejected.
pub(super) fn rejected(denied: AuthRejection) -> Response {
    parts_response(super::status::auth_rejection_parts(denied))
}

/// The response to a client that exceeded its rate limit.
pub(super) fn rate_limited(wait: Duration) -> Response {
    parts_response(super::status::rate_limit_parts(wait))
}

/// The response to a request that failed before it reached the router.
pub(super) fn problem(error: impl Into<Problem>) -> Response {
    error.into().into_response()
}

fn parts_response(parts: ErrorParts) -> Response {
    let (status, header, message) = parts;
    let mut response = Problem::new(status, message).into_response();
    if let Some((name, value)) = header {
        response.headers_mut().insert(name, value);
    }
    response
}

/// Turns a panic of a handler into a response, and sets the headers of every response.
async fn guard(request: Request, next: Next) -> Response {
    let handled = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    // The panic hook has already logged the message.
    let mut response = handled.unwrap_or_else(|_| Problem::failed().into_response());
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
