//! Requests that are rejected before a handler sees them, and their `WWW-Authenticate` challenges.

use std::time::Duration;

use http::header::{AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderName, HeaderValue, StatusCode};

use super::forwarded;
use super::paths::TOKEN_PATH;
use super::reply::value;
use super::state::AppState;
use crate::auth::{AuthError, Permission, Principal};
use crate::memory::OutOfMemory;
use crate::oci::ErrorCode;

/// The message for a principal without the required permission.
const DENIED: &str = "requested access to the resource is denied: no role of this user allows it";

/// The `Retry-After` of an overloaded server.
const RETRY: Duration = Duration::from_secs(5);

/// The name of this service, which clients repeat in their token requests.
const SERVICE: &str = "orlop";

/// An error response of a layer, which `/v2` and the API each send in their own format.
#[derive(Debug)]
pub(super) struct Rejection {
    pub(super) status: StatusCode,
    pub(super) code: ErrorCode,
    pub(super) message: String,
    pub(super) header: Option<(HeaderName, HeaderValue)>,
}

impl Rejection {
    /// An error response; `code` is its error code below `/v2`.
    pub(super) fn new(status: StatusCode, code: ErrorCode, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), header: None }
    }

    fn with(self, name: HeaderName, value: HeaderValue) -> Self {
        Self { header: Some((name, value)), ..self }
    }

    /// 503 for an overloaded server; the same request may succeed later.
    pub(super) fn overloaded(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable, message)
            .with(RETRY_AFTER, HeaderValue::from(RETRY.as_secs()))
    }

    /// 429 for a client that exceeds the rate limit.
    pub(super) fn rate_limited(wait: Duration) -> Self {
        Self::too_many("requests", wait)
    }

    fn too_many(what: &str, wait: Duration) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let message = format!("too many {what} from your address; retry in {seconds} s");
        Self::new(StatusCode::TOO_MANY_REQUESTS, ErrorCode::TooManyRequests, message)
            .with(RETRY_AFTER, HeaderValue::from(seconds))
    }
}

impl From<AuthRejection> for Rejection {
    fn from(rejection: AuthRejection) -> Self {
        match rejection.error {
            AuthError::Unauthenticated => {
                let message = "authentication required: log in with a user and password";
                Self::new(StatusCode::UNAUTHORIZED, ErrorCode::Unauthorized, message)
                    .with(WWW_AUTHENTICATE, rejection.challenge)
            }
            // Clients show the message to people, so it must not reveal whether the repository exists. With only the
            // usual message of this error code Docker does not treat the error as final and retries for a minute.
            AuthError::Forbidden => Self::new(StatusCode::FORBIDDEN, ErrorCode::Denied, DENIED),
            AuthError::RateLimited(wait) => Self::too_many("failed logins", wait),
            AuthError::OutOfMemory => Self::overloaded(OutOfMemory.to_string()),
        }
    }
}

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
