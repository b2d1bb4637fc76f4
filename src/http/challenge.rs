//! What somebody who is not let in is asked for.

use http::header::AUTHORIZATION;
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderValue, Method, Uri};

use super::query::Query;
use super::reply::value;
use super::{AppState, forwarded};
use crate::auth::{Action, AuthError, Permission, Principal};
use crate::oci::{Endpoint, PathError, RepoName};

/// Where tokens are.
pub(super) const TOKENS: &str = "/auth/token";

/// Whom tokens are for, as clients repeat it.
const SERVICE: &str = "orlop";

/// Somebody who is not let in.
#[derive(Debug)]
pub(super) struct AuthRejection {
    pub(super) denial: AuthError,
    pub(super) challenge: HeaderValue,
    /// Who it is, if that is known, and no other token of theirs would do.
    pub(super) who: Option<Principal>,
}

impl AuthRejection {
    /// Somebody who permission something by a request with this head. `principal` is who they are by what they showed, if that
    /// is good.
    pub(super) fn new(
        denial: AuthError,
        state: &AppState,
        head: &Parts,
        permission: Permission<'_>,
        principal: Option<&Principal>,
    ) -> Self {
        let challenge = match permission {
            // The operator's is asked for by people and scrapers, who know passwords and no tokens.
            Permission::Other | Permission::Scope(..) => basic(),
            _ if state.access_control.has_tokens() => {
                bearer(state, head, permission, token_error(head, principal))
            }
            _ => basic(),
        };
        Self { denial, challenge, who: None }
    }

    /// Somebody who asked for a token.
    pub(super) fn for_token(denial: AuthError) -> Self {
        Self { denial, challenge: basic(), who: None }
    }
}

/// Basic (RFC 7617): what Docker and all other clients answer with the password that they know.
pub(super) fn basic() -> HeaderValue {
    HeaderValue::from_static("Basic realm=\"orlop\", charset=\"UTF-8\"")
}

/// What is wrong with the token that a request showed, as RFC 6750 (section 3.1) calls it. Clients get another token for
/// the scope of the challenge if theirs lacks only that.
fn token_error(head: &Parts, principal: Option<&Principal>) -> Option<&'static str> {
    if let Some(Principal::Bearer(_)) = principal {
        return Some("insufficient_scope");
    }
    let credentials = head.headers.get(AUTHORIZATION)?.as_bytes();
    let scheme = credentials.split(|byte| *byte == b' ').next()?;
    scheme.eq_ignore_ascii_case(b"bearer").then_some("invalid_token")
}

/// Docker's token protocol: where to get a token, and for what.
fn bearer(
    state: &AppState,
    head: &Parts,
    permission: Permission<'_>,
    error: Option<&'static str>,
) -> HeaderValue {
    let (realm, service) = match state.access_control.authority() {
        Some(authority) => (authority.realm.clone(), authority.service.as_str()),
        None => (realm(state, head), SERVICE),
    };
    let scope = permission.scope().map_or_else(String::new, |scope| format!(",scope=\"{scope}\""));
    let error = error.map_or_else(String::new, |error| format!(",error=\"{error}\""));
    value(format!("Bearer realm=\"{realm}\",service=\"{service}\"{scope}{error}"))
}

/// The address of tokens. Clients want a whole one, so it begins with what they called this server.
fn realm(state: &AppState, head: &Parts) -> String {
    if state.settings.public_url.is_some() {
        return state.settings.locate(TOKENS.into());
    }
    let scheme = if forwarded::is_https(head, state.settings.tls) { "https" } else { "http" };
    // What is sent back is the client's own word for this server, so it must be a host and a port and no more.
    let plain = forwarded::host(head).filter(|authority| !authority.as_str().contains(['@', '"', '\\']));
    format!("{scheme}://{}{TOKENS}", plain.as_ref().map_or("localhost", Authority::as_str))
}

/// The repository that a request to mount a blob names as its source.
pub(super) fn source(endpoint: &Result<Endpoint, PathError>, uri: &Uri) -> Option<RepoName> {
    // Others, most of all pulls, have nothing there to be read.
    let Ok(Endpoint::Uploads { .. }) = endpoint else { return None };
    let query = Query::new(uri.query());
    query.get("mount")?;
    query.get("from")?.parse().ok()
}

/// What a request wants. Every endpoint is decided here: a new one does not compile before it is.
pub(super) fn permission<'a>(
    endpoint: &'a Result<Endpoint, PathError>,
    method: &Method,
    source: Option<&'a RepoName>,
) -> Permission<'a> {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let action = match *method {
        Method::GET | Method::HEAD => Action::Pull,
        Method::DELETE => Action::Delete,
        _ => Action::Push,
    };
    match endpoint {
        Ok(Endpoint::Base) if reads => Permission::Registry,
        Ok(Endpoint::Catalog) if reads => Permission::Catalog,
        Ok(Endpoint::Base | Endpoint::Catalog) | Err(_) => Permission::Other,
        Ok(
            Endpoint::Tags { name }
            | Endpoint::Referrers { name, .. }
            | Endpoint::Manifest { name, .. }
            | Endpoint::Blob { name, .. },
        ) => Permission::Repository(name, action),
        // Without a source no token could say where from: then what its user may pull counts, which is everything.
        Ok(Endpoint::Uploads { name }) => source
            .map_or(Permission::Repository(name, Action::Push), |source| Permission::Mount(name, source)),
        // Whoever asks how far an upload has come, or gives it up, began it.
        Ok(Endpoint::Upload { name, .. }) => Permission::Repository(name, Action::Push),
    }
}
