//! What a request's path addresses, and the paths outside of `/v2`.

use crate::auth::{Action, Permission};
use crate::metadata::Scope;
use crate::oci::{Endpoint, PathError};

/// The path that all routes of the API begin with.
pub(super) const API_ROOT: &str = "/api/v1";

/// The path of the token endpoint.
pub(super) const TOKEN_PATH: &str = "/auth/token";

/// The path of the sign-in page.
pub(super) const LOGIN_PATH: &str = "/login";

/// The path of the page with the form for name and password.
pub(super) const SIGN_IN_PATH: &str = "/sign-in";

/// The path of the event stream for live updates of pages.
pub(super) const LIVE_PATH: &str = "/live";

/// The roots of the paths of web pages, except the start page `/`.
const PAGE_ROOTS: [&str; 16] = [
    "/repositories",
    "/r",
    "/untagged",
    "/manage",
    "/raw",
    "/search",
    "/policies",
    "/trash",
    "/activity",
    "/adoption",
    "/people",
    "/profile",
    SIGN_IN_PATH,
    "/actions",
    "/assets",
    LIVE_PATH,
];

/// What a path addresses.
pub(super) enum Target {
    /// The registry protocol.
    V2(Result<Endpoint, PathError>),
    /// The API.
    Api,
    /// The web pages.
    Pages,
    /// Health, metrics, tokens, sign-in, and paths that do not exist.
    Other,
}

impl Target {
    /// What a path addresses, with or without web pages.
    pub(super) fn of(path: &str, has_pages: bool) -> Self {
        if path == "/v2" || path.starts_with("/v2/") {
            Self::V2(Endpoint::parse(path))
        } else if is_below(path, API_ROOT) {
            Self::Api
        } else if has_pages && is_page(path) {
            Self::Pages
        } else {
            Self::Other
        }
    }

    /// The endpoint of the registry protocol, if the path is valid.
    pub(super) fn endpoint(&self) -> Option<&Endpoint> {
        match self {
            Self::V2(endpoint) => endpoint.as_ref().ok(),
            Self::Api | Self::Pages | Self::Other => None,
        }
    }

    /// The label of the route, for logs and metrics. `path` is that of the request.
    pub(super) fn route(&self, path: &str) -> &'static str {
        match self {
            Self::V2(endpoint) => endpoint.as_ref().map_or("invalid", Endpoint::route),
            Self::Api => "api",
            Self::Pages => "pages",
            Self::Other => match path {
                "/" => "root",
                "/livez" => "livez",
                "/readyz" => "readyz",
                "/metrics" => "metrics",
                TOKEN_PATH => "token",
                path if is_below(path, LOGIN_PATH) => "login",
                _ => "other",
            },
        }
    }
}

/// The permission that a path outside of `/v2` requires. `None` if anyone may use it.
pub(super) fn required_permission(path: &str) -> Option<Permission<'static>> {
    match path {
        // Probes, also those for other registries, which request the root, have no password. The token and sign-in
        // endpoints authenticate the user themselves.
        "/" | TOKEN_PATH => None,
        path if is_probe(path) || is_below(path, LOGIN_PATH) => None,
        // Metrics name repositories.
        "/metrics" => Some(Permission::Scope(&Scope::All, Action::Pull)),
        _ => Some(Permission::Other),
    }
}

/// Whether a path is a health endpoint. Health endpoints have no rate limit, so that probes succeed even if other
/// clients of the same machine send many requests.
pub(super) fn is_probe(path: &str) -> bool {
    matches!(path, "/livez" | "/readyz")
}

/// Whether a request to a path is a login: a token request, or a user's return from a sign-in provider.
pub(super) fn is_login(path: &str) -> bool {
    path == TOKEN_PATH || (is_below(path, LOGIN_PATH) && path.ends_with("/callback"))
}

/// Whether a path is that of a web page.
fn is_page(path: &str) -> bool {
    path == "/" || PAGE_ROOTS.iter().any(|root| is_below(path, root))
}

fn is_below(path: &str, root: &str) -> bool {
    path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
