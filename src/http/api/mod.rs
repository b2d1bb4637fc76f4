//! `/api/v1`: what people and programs want to know and do that the registry protocol has no words for.
//!
//! JSON both ways; errors are problem details (RFC 9457). A noun is a file: its types, which the command line
//! shares, its handlers, and a `routes` that is named once in `nouns`. What is not described by
//! `#[utoipa::path]` has no route, so the OpenAPI document and the router cannot drift apart.
//!
//! | file | what it does |
//! | --- | --- |
//! | `access` | what handlers get the registry through: only what was decided for whoever asks |
//! | `document` | the OpenAPI document |
//! | `problem` | what each error is on this wire |
//! | `parameters` | refuses queries that say what the document does not know |
//! | `extract`, `page`, `time` | parameters and bodies, pages of lists, points in time |
//! | `removed` | what the trash lists |
//! | the others | nouns |

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
mod retention;
mod room;
mod scrub;
mod status;
mod tags;
mod time;
mod trash;
mod usage;
mod whole;
mod why;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, StatusCode};
use utoipa_axum::router::OpenApiRouter;

use super::audit::record;
use super::challenge::AuthRejection;
use super::status::ErrorParts;

use parameters::{Known, refuse_unknown};

pub use access::{Api, ApiSettings, Changes};
pub use access_tokens::{AccessToken, RotateRequest, TokenMade, TokenParameters, TokenRequest};
pub use accounts::{Account, AccountMade, AccountRequest, AccountUpdate, RoleThere};
pub use audit::{AuditParameters, Audited};
pub use events::{EventParameters, StoreEvent};
pub use grants::{Can, CanParameters, Grant, GrantParameters, GrantRequest};
pub use history::{ChangeKind, Event, RollbackRequest, RolledBack};
pub use manifests::{Child, Manifest, Part, Referrer};
pub use organisations::{Organisation, TeamEntry};
pub use page::{ListParameters, MOST_ITEMS, Order, Page, PageParameters, RecentParameters, Sort};
pub use policies::{
    Checked, ImportParameters, ImportedPolicies, PolicyChanged, PolicyEntry, PolicyList, PresetEntry,
    Registries, imported,
};
pub use problem::Problem;
pub use removed::{Removed, RemovedKind, RemovedTag};
pub use repositories::{Repositories, Repository};
pub use retention::{Applied, ApplyRequest, Plan, PlanItem, PlanParameters, Run, Skipped};
pub use scrub::{Damaged, Finding, Scrub};
pub use status::Status;
pub use tags::{Tag, TagTarget};
pub use time::Time;
pub use trash::{Emptied, EmptyRequest, RestoreRequest, Restored, TrashParameters};
pub use usage::UsageParameters;
pub use whole::{RenameRequest, UndeleteRequest, Work};
pub use why::{BlobReasons, HeldBy, KeptBlob, ManifestReasons, Ruled, Stage, Why, WhyParameters};

/// Where the API is.
pub const ROOT: &str = "/api/v1";

/// Every noun, a line each.
fn nouns() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .merge(document::routes())
        .merge(status::routes())
        .merge(repositories::routes())
        .merge(tags::routes())
        .merge(manifests::routes())
        .merge(history::routes())
        .merge(whole::routes())
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

/// The API over `api`. Each request must carry its [`super::listen::Peer`] as an extension: one that does not
/// changes nothing.
pub fn router(api: Arc<Api>) -> Router {
    // The description would take room that it is hardly ever worth: it is made when somebody asks.
    let (routes, described) = nouns().split_for_parts();
    let known = Arc::new(Known::of(&described));
    let registry = Arc::clone(api.registry());
    let routes = routes
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "the API has no such path"))
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "the method is not supported here")
        })
        .layer(from_fn_with_state(Arc::clone(&api), room::reserve))
        .layer(from_fn_with_state(known, refuse_unknown))
        .layer(from_fn(guard))
        .layer(from_fn_with_state(registry, record))
        .with_state(api);
    Router::new().nest(ROOT, routes)
}

/// Whether `path` is the API's.
pub(super) fn is_below(path: &str) -> bool {
    path.strip_prefix(ROOT).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The answer to somebody who is not let in.
pub(super) fn refused(denied: AuthRejection) -> Response {
    told(super::status::denied(denied))
}

/// The answer to somebody who has sent too much lately.
pub(super) fn put_off(wait: Duration) -> Response {
    told(super::status::too_often(wait))
}

/// The answer to a request that failed before the router had it.
pub(super) fn problem(error: impl Into<Problem>) -> Response {
    error.into().into_response()
}

fn told((status, header, message): ErrorParts) -> Response {
    let mut response = Problem::new(status, message).into_response();
    if let Some((name, value)) = header {
        response.headers_mut().insert(name, value);
    }
    response
}

/// Answers also where a handler panics, and sets what every answer has.
async fn guard(request: Request, next: Next) -> Response {
    let handled = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    // The panic's own message is in the log already, by the panic hook.
    let mut response = handled.unwrap_or_else(|_| Problem::failed().into_response());
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
