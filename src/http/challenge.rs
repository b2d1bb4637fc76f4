//! Rejected requests, and their `WWW-Authenticate` challenges.

use http::HeaderValue;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::uri::Authority;

use super::reply::value;
use super::{AppState, forwarded};
use crate::auth::{AuthError, Permission, Principal};

/// The path of the token endpoint.
pub(super) const TOKEN_PATH: &str = "/auth/token";

/// The name of this service, which clients repeat in their token requests.
const SERVICE: &str = "orlop";

/// A request that failed authentication or authorisation.
#[derive(Debug)]
pub(super) struct AuthRejection {
    pub(super) error: AuthError,
    pub(super) challenge: HeaderValue,
    /// The principal, if it is known and no other token of the same user would be accepted.
    pub(super) principal: Option<Principal>,
}

impl AuthRejection {
    /// Rejects a request with this head that requires `permission`. `principal` is the authenticated sender, or `None`
    /// if the credentials are invalid.
    pub(super) fn new(
        error: AuthError,
        state: &AppState,
        head: &Parts,
        permission: Permission<'_>,
        principal: Option<&Principal>,
    ) -> Self {
        let challenge = match permission {
            // Operators' paths are read by people and scrapers, which use passwords and not tokens.
            Permission::Other | Permission::Scope(..) => basic(),
            _ if state.access_control.uses_token_challenge() => {
                bearer(state, head, permission, token_error(head, principal))
            }
            _ => basic(),
        };
        Self { error, challenge, principal: None }
    }

    /// Rejects a token request.
    pub(super) fn for_token(error: AuthError) -> Self {
        Self { error, challenge: basic(), principal: None }
    }
}

/// The challenge for Basic authentication (RFC 7617), which Docker and all other clients answer with their password.
pub(super) fn basic() -> HeaderValue {
    HeaderValue::from_static("Basic realm=\"orlop\", charset=\"UTF-8\"")
}

/// The RFC 6750 (section 3.1) error code for the token that a request sent. On `insufficient_scope` clients get another
/// token for the scope of the challenge.
fn token_error(head: &Parts, principal: Option<&Principal>) -> Option<&'static str> {
    if let Some(Principal::Bearer(_)) = principal {
        return Some("insufficient_scope");
    }
    let credentials = head.headers.get(AUTHORIZATION)?.as_bytes();
    let scheme = credentials.split(|byte| *byte == b' ').next()?;
    scheme.eq_ignore_ascii_case(b"bearer").then_some("invalid_token")
}

/// The challenge of Docker's token protocol: where to get a token, and for which scope.
fn bearer(
    state: &AppState,
    head: &Parts,
    permission: Permission<'_>,
    error: Option<&'static str>,
) -> HeaderValue {
    let authority = state.access_control.authority();
    let realm = authority.map_or_else(|| realm(state, head), |authority| authority.realm.clone());
    let service = authority.map_or(SERVICE, |authority| authority.service.as_str());
    let scope = permission.scope().map_or_else(String::new, |scope| format!(",scope=\"{scope}\""));
    let error = error.map_or_else(String::new, |error| format!(",error=\"{error}\""));
    value(format!("Bearer realm=\"{realm}\",service=\"{service}\"{scope}{error}"))
}

/// The URL of the token endpoint. Clients need an absolute one, so it starts with the host that they used.
fn realm(state: &AppState, head: &Parts) -> String {
    if state.settings.public_url.is_some() {
        return state.settings.locate(TOKEN_PATH.into());
    }
    let scheme = if forwarded::is_https(head, state.settings.tls) { "https" } else { "http" };
    // The host comes from the client and is sent back in a header, so it must be only a host and a port.
    let plain = forwarded::host(head).filter(|authority| !authority.as_str().contains(['@', '"', '\\']));
    format!("{scheme}://{}{TOKEN_PATH}", plain.as_ref().map_or("localhost", Authority::as_str))
}
