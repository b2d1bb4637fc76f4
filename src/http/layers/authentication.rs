//! Authenticates the sender of a request, and decides whether it may send it.

use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderValue, Method};

use super::cors::is_allowed_change;
use crate::auth::{AuthError, Permission, Principal};
use crate::http::exchange::Exchange;
use crate::http::listen::Peer;
use crate::http::paths::{Target, required_permission};
use crate::http::rejection::AuthRejection;
use crate::http::session_cookie::Browser;
use crate::http::state::AppState;
use crate::http::v2::{Route, mount_source};

/// Authenticates the sender of a request. Requests through a Unix socket get full access: a user who may open the
/// socket may read the registry's files too.
pub(in crate::http) async fn authenticate(
    state: &AppState,
    head: &Parts,
    peer: Peer,
) -> Result<Principal, AuthError> {
    let Some(address) = peer.address() else { return Ok(Principal::LocalAdmin) };
    if is_cross_site_change(head) && !is_allowed_change(&state.settings, head) {
        return Err(AuthError::Forbidden);
    }
    let credentials = head.headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
    state.access_control.authenticate(credentials, address).await
}

/// Authenticates the sender of a request, and decides whether it holds the permission that the request requires.
///
/// Pages decide on their own permissions: they show anonymous users what is public, or let them sign in.
pub(in crate::http) async fn authorise(exchange: &mut Exchange<'_>) -> Result<Principal, AuthRejection> {
    let principal = match &exchange.target {
        Target::V2(endpoint) => {
            let source = mount_source(endpoint, &exchange.head.uri);
            let route = Route::new(endpoint, &exchange.head.method);
            decide(exchange, route.required_permission(source.as_ref())).await?
        }
        Target::Pages => {
            let browser = Browser::recognise(exchange.state, &exchange.head);
            let principal = browser.principal();
            exchange.head.extensions.insert(browser);
            principal
        }
        Target::Api | Target::Other => match required_permission(exchange.path()) {
            None => Principal::Anonymous,
            Some(permission) => decide(exchange, permission).await?,
        },
    };
    mark_authenticated(exchange, &principal);
    Ok(principal)
}

async fn decide(exchange: &Exchange<'_>, permission: Permission<'_>) -> Result<Principal, AuthRejection> {
    let Exchange { state, head, peer, .. } = exchange;
    let reject =
        |error, principal: Option<&Principal>| AuthRejection::new(error, state, head, permission, principal);
    let principal = authenticate(state, head, *peer).await.map_err(|error| reject(error, None))?;
    match state.access_control.decide(&principal, permission) {
        Ok(()) => Ok(principal),
        Err(error) => {
            let rejection = reject(error, Some(&principal));
            let other_token_would_do = matches!(principal, Principal::Bearer(_))
                && state.access_control.can_with_new_token(&principal, permission);
            let principal = Some(principal).filter(|_| !other_token_would_do);
            Err(AuthRejection { principal, ..rejection })
        }
    }
}

/// Marks the connection as that of an authenticated client, also if the registry requires no login.
fn mark_authenticated(exchange: &Exchange<'_>, principal: &Principal) {
    let context = exchange.context;
    if context.is_authenticated() || exchange.state.access_control.is_known(principal) {
        context.mark_authenticated();
    }
    if let Some(user) = principal.name() {
        context.record_user(user);
    }
}

/// Whether a page of another site makes a browser change something here, with the password that the browser remembers.
fn is_cross_site_change(head: &Parts) -> bool {
    is_cross_site_request(head) && !matches!(head.method, Method::GET | Method::HEAD)
}

/// Whether a page of another site makes a browser send a request (<https://www.w3.org/TR/fetch-metadata/>). Registry
/// clients do not send `Sec-Fetch-Site`.
pub(in crate::http) fn is_cross_site_request(head: &Parts) -> bool {
    let site = head.headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    site.is_some_and(|site| site != b"same-origin" && site != b"none")
}
