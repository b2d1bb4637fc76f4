//! The routes of the pages, the checks of every action, and error pages.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::FutureExt;
use http::header::SET_COOKIE;
use http::{Method, StatusCode};

use super::live_streams::LiveStreams;
use super::page::{PageResult, error_page, redirect, sign_in_path};
use super::reference::PageReference;
use super::shown_once::ShownOnce;
use super::state::{Action, Web};
use super::visitor::Visitor;
use super::{
    activity, adoption, assets, background, credentials, live, manage, manifest, people, plans, policies,
    policy_editor, profile, repositories, repository, roles, search, sign_in, start, teams, trash, untagged,
};
use crate::http::api::{Api, Problem, record_outcome, reserve_memory};
use crate::http::layers::audit::AuditedOperation;
use crate::http::paths::LIVE_PATH;
use crate::http::state::AppState;

/// All actions.
fn actions() -> Vec<Action> {
    [
        sign_in::actions(),
        repository::actions(),
        manage::actions(),
        manifest::actions(),
        policies::actions(),
        plans::actions(),
        policy_editor::actions(),
        trash::actions(),
        background::actions(),
        adoption::actions(),
        profile::actions(),
        credentials::actions(),
        people::actions(),
        roles::actions(),
        teams::actions(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The paths of all actions.
pub fn action_paths() -> Vec<&'static str> {
    actions().iter().map(|action| action.path).collect()
}

/// All pages.
fn pages() -> Router<Arc<Web>> {
    Router::new()
        .route("/", get(start::show))
        .route("/repositories", get(repositories::show))
        .route("/r/{*reference}", get(show_reference))
        .route("/manage/{*name}", get(manage::show))
        .route("/untagged/{*name}", get(untagged::show))
        .route("/raw/{*reference}", get(manifest::raw))
        .route("/policies", get(policies::show))
        .route("/policies/edit", get(policy_editor::show))
        .route("/policies/plan", get(plans::show))
        .route("/policies/runs", get(policies::show_runs))
        .route("/trash", get(trash::show))
        .route("/activity", get(activity::show))
        .route("/activity/events", get(activity::show_events))
        .route("/activity/audit", get(activity::show_audit))
        .route("/activity/background", get(background::show))
        .route("/activity/settings", get(activity::show_settings))
        .route("/adoption", get(adoption::show))
        .route("/sign-in", get(sign_in::show))
        .route("/profile", get(profile::show))
        .route("/people", get(people::show))
        .route("/people/users/{name}", get(people::show_user))
        .route("/people/roles", get(roles::show))
        .route("/people/teams", get(teams::show))
        .route("/people/tokens", get(credentials::show_tokens))
        .route("/people/sessions", get(credentials::show_sessions))
        .route("/search", get(search::show))
        .route("/assets/{file}", get(assets::get))
}

/// The page of what a path below `/r/` refers to.
async fn show_reference(visitor: Visitor, reference: PageReference) -> PageResult {
    match reference {
        PageReference::Repository(name) => repository::show(visitor, name).await,
        PageReference::Manifest(name, reference) => manifest::show(visitor, name, reference).await,
    }
}

/// The router of the pages.
pub(in crate::http) fn router(state: Arc<AppState>, api: Arc<Api>) -> Router {
    let registry = Arc::clone(&state.registry);
    let live = LiveStreams::new(Arc::clone(&state));
    let web = Arc::new(Web { state, api, live, secrets: ShownOnce::default() });
    let mut routes = pages();
    for Action { path, operation, handler } in actions() {
        let registry = Arc::clone(&registry);
        let record = move |request: Request, next: Next| {
            let registry = Arc::clone(&registry);
            async move {
                let operation = AuditedOperation::without_target(operation);
                record_outcome(&registry, operation, request, next).await
            }
        };
        routes = routes.route(path, handler.layer(from_fn(record)));
    }
    routes
        .fallback(async || Problem::unknown("there is no such page"))
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this page does not support the method")
        })
        .layer(from_fn_with_state(Arc::clone(&web.api), reserve_memory))
        // It sends little, for a long time.
        .route(LIVE_PATH, get(live::show))
        .layer(from_fn_with_state(Arc::clone(&web), complete))
        .with_state(web)
}

/// Adds the visitor to a request, and shows errors and panics of its handler as pages.
async fn complete(State(web): State<Arc<Web>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let visitor = match Visitor::new(&web, &parts) {
        Ok(visitor) => visitor,
        Err(problem) => return problem.into_response(),
    };
    let is_page = matches!(parts.method, Method::GET | Method::HEAD);
    parts.extensions.insert(visitor.clone());
    let request = Request::from_parts(parts, body);
    let handled = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    // The panic hook has already logged the message.
    let mut response = handled.unwrap_or_else(|_| Problem::failed().into_response());
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let can_sign_in = problem.status == StatusCode::UNAUTHORIZED && visitor.session().is_none();
        response = if can_sign_in && is_page {
            redirect(&sign_in_path(&visitor.chrome().here))
        } else {
            error_page(visitor.chrome(), &problem)
        };
    }
    if let Some(cookie) = visitor.set_cookie() {
        response.headers_mut().append(SET_COOKIE, cookie.clone());
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::AuditAction;

    #[test]
    fn every_action_is_below_its_root_and_is_a_change() {
        for action in actions() {
            assert!(action.path.starts_with("/actions/"), "{}", action.path);
            assert!(action.operation.is_change() || action.operation == AuditAction::Read, "{}", action.path);
        }
    }
}
