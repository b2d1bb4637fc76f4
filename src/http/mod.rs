//! The HTTP server: the registry protocol below `/v2`, the API below `/api/v1`, and health, metrics and sign-in routes.
//!
//! [`listen`] accepts connections and enforces their timeouts. [`App`] answers requests: `forwarded` determines the
//! client behind a proxy, `guards.rs` checks the rate limit, and the principal is authenticated and authorised.
//! Requests below `/v2` go through `access`, which grants each the right of its endpoint and method, and `v2.rs`, which
//! passes that right to a handler; there is one file for each kind of resource. Everything else goes to an axum router.
//! `status.rs` converts errors to responses. When a request is complete, `request_log.rs` writes the access log and the
//! metrics, `traced.rs` ends the OpenTelemetry span, and `audit` records changes and denied requests.
//!
//! Below `/v2` axum's router is not used: `Endpoint::parse` is the only grammar of paths, and a pull of a small blob
//! takes only microseconds.

mod access;
pub mod api;
mod audit;
mod base;
mod blobs;
mod catalog;
mod challenge;
mod cleartext;
mod conditions;
mod forwarded;
mod freshness;
mod guards;
pub mod listen;
mod manifests;
mod metrics;
mod multipart;
mod operations;
mod pages;
mod payload;
mod query;
mod rate_limit;
mod referrers;
mod reply;
mod request_body;
mod request_log;
mod sealed_cursors;
mod security_headers;
mod sign_in;
mod status;
mod tags;
mod token;
#[cfg(feature = "otlp")]
mod traced;
mod uploads;
mod v2;
mod warnings;

use std::sync::Arc;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderValue, Method};
use http::{Request, Response};

pub use forwarded::{ForwardedHeader, TrustedProxies};
pub use metrics::HttpMetrics;
pub use operations::{AlwaysReady, Health};
pub use payload::{BoxError, Payload};
pub use request_log::LoggedBody;

use access::Granted;
use api::Api;
use challenge::AuthRejection;
use guards::Guards;
use listen::{Dialect, Handler, Inbound, Peer, RequestContext};
use reply::Reply;
use request_body::RequestBody;
use request_log::RequestLog;
use status::V2Error;

use crate::auth::{AccessControl, AuthError, Permission, Principal};
use crate::memory::OutOfMemory;
use crate::oci::{Endpoint, PageLimits};
use crate::registry::{Registry, ServiceError};

/// The settings of the HTTP server.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// The largest accepted manifest in bytes.
    pub max_manifest_size: usize,
    /// The most tags that a push of a manifest may set.
    pub max_tags: usize,
    /// How long a request may send no bytes of its body.
    pub body_idle_timeout: Duration,
    /// The default and the largest number of entries in a page of a list.
    pub pages: PageLimits,
    /// The URL at which clients reach this registry, without a trailing slash. If it is set, `Location` and `Link`
    /// headers start with it; otherwise they are relative.
    pub public_url: Option<String>,
    /// Whether the server itself uses TLS.
    pub tls: bool,
    /// The most requests that a client may send per second; 0 for no limit.
    pub rate_limit: u32,
    /// Whether to send `Strict-Transport-Security`, which makes browsers use TLS on all ports of this host.
    pub strict_transport: bool,
    /// The proxies whose forwarding headers are trusted.
    pub trusted_proxies: TrustedProxies,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            max_manifest_size: 4 * 1024 * 1024,
            max_tags: 100,
            body_idle_timeout: Duration::from_secs(60),
            pages: PageLimits { default: 1000, max: 10_000 },
            public_url: None,
            tls: false,
            rate_limit: 0,
            strict_transport: false,
            trusted_proxies: TrustedProxies::default(),
        }
    }
}

impl HttpSettings {
    /// The address of `path` for clients: absolute if there is a public URL.
    fn locate(&self, path: String) -> String {
        match &self.public_url {
            None => path,
            Some(url) => format!("{}{path}", url.trim_end_matches('/')),
        }
    }
}

/// The shared state of all request handlers.
pub struct AppState {
    /// The operations on repositories, manifests and blobs.
    pub registry: Arc<Registry>,
    /// The settings.
    pub settings: HttpSettings,
    /// The health check.
    pub health: Arc<dyn Health>,
    /// The metrics of HTTP requests.
    pub metrics: Arc<HttpMetrics>,
    /// Authentication and authorisation.
    pub access_control: Arc<AccessControl>,
    /// The state of `/api/v1`.
    pub api: Arc<Api>,
    /// The metrics of all modules, which `/metrics` returns.
    pub exposition: prometheus_client::registry::Registry,
}

impl AppState {
    /// Authenticates the sender of a request. Requests through a Unix socket get full access: a user who may open the
    /// socket may read the registry's files too.
    async fn authenticate(&self, head: &Parts, peer: Peer) -> Result<Principal, AuthError> {
        let Some(address) = peer.address() else { return Ok(Principal::LocalAdmin) };
        if is_cross_site_change(head) {
            return Err(AuthError::Forbidden);
        }
        let credentials = head.headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        self.access_control.authenticate(credentials, address).await
    }

    /// Authenticates the sender of a request and decides whether it holds the required permission.
    async fn authorise(
        &self,
        head: &Parts,
        peer: Peer,
        permission: Permission<'_>,
    ) -> Result<Principal, AuthRejection> {
        let reject = |error, principal: Option<&Principal>| {
            AuthRejection::new(error, self, head, permission, principal)
        };
        let principal = self.authenticate(head, peer).await.map_err(|error| reject(error, None))?;
        match self.access_control.decide(&principal, permission) {
            Ok(()) => Ok(principal),
            Err(error) => {
                let rejection = reject(error, Some(&principal));
                let other_token_would_do = matches!(principal, Principal::Bearer(_))
                    && self.access_control.can_with_new_token(&principal, permission);
                let principal = Some(principal).filter(|_| !other_token_would_do);
                Err(AuthRejection { principal, ..rejection })
            }
        }
    }
}

/// Whether a page of another site makes a browser change something here, with the password that the browser remembers.
fn is_cross_site_change(head: &Parts) -> bool {
    is_cross_site_request(head) && !matches!(head.method, Method::GET | Method::HEAD)
}

/// Whether a page of another site makes a browser send a request (<https://www.w3.org/TR/fetch-metadata/>). Registry
/// clients do not send `Sec-Fetch-Site`.
fn is_cross_site_request(head: &Parts) -> bool {
    let site = head.headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    site.is_some_and(|site| site != b"same-origin" && site != b"none")
}

/// The HTTP application: answers every request of the registry.
#[derive(Clone)]
pub struct App {
    state: Arc<AppState>,
    router: axum::Router,
    guards: Arc<Guards>,
}

impl App {
    /// An application that answers from `state`.
    pub fn new(state: AppState) -> Self {
        let state = Arc::new(state);
        let router = operations::router(Arc::clone(&state)).merge(api::router(Arc::clone(&state.api)));
        let guards = Arc::new(Guards::new(&state.settings));
        Self { state, router, guards }
    }

    fn body(&self, incoming: Inbound, request_log: &RequestLog) -> RequestBody {
        RequestBody::new(incoming, self.state.settings.body_idle_timeout, request_log.received())
    }

    /// Starts to count, log and trace a request.
    fn start_log(
        &self,
        head: &Parts,
        peer: Peer,
        route: &'static str,
        endpoint: Option<&Endpoint>,
    ) -> RequestLog {
        let repository = endpoint.and_then(Endpoint::name).cloned();
        let request_log = RequestLog::start(&self.state.metrics, head, peer, route, repository);
        #[cfg(feature = "otlp")]
        let request_log =
            request_log.with_span(traced::start_span(head, peer, self.state.settings.tls, route, endpoint));
        request_log
    }

    /// Marks the connection as that of an authenticated client, also if the registry requires no login.
    fn record_authentication(&self, context: RequestContext<'_>, principal: Option<&Principal>) {
        let Some(principal) = principal else { return };
        if context.is_authenticated() || self.state.access_control.is_known(principal) {
            context.mark_authenticated();
        }
        if let Some(user) = principal.name() {
            context.record_user(user);
        }
    }

    /// The response to a client that exceeds the rate limit.
    fn reject_rate_limited(
        &self,
        head: &Parts,
        incoming: Inbound,
        peer: Peer,
        wait: Duration,
    ) -> Response<LoggedBody> {
        let path = head.uri.path();
        let v2_route = || Endpoint::parse(path).as_ref().map_or("invalid", Endpoint::route);
        let route = if is_v2(path) { v2_route() } else { operations::route(path) };
        let request_log = self.start_log(head, peer, route, None);
        drop(self.body(incoming, &request_log));
        let response = if api::is_below(path) {
            api::rate_limited(wait).map(Payload::Routed)
        } else {
            v2::refuse(V2Error::rate_limited(wait), &head.method)
        };
        self.log_response(response, request_log)
    }

    /// Adds security headers to a response, and logs the request when its body has been sent.
    fn log_response(&self, mut response: Response<Payload>, request_log: RequestLog) -> Response<LoggedBody> {
        security_headers::add(response.headers_mut(), self.state.settings.strict_transport);
        let status = response.status();
        response.map(|payload| LoggedBody::new(payload, status, request_log))
    }
}

impl Handler for App {
    type Body = LoggedBody;

    fn overloaded(&self, dialect: Dialect) -> Response<LoggedBody> {
        let response = match dialect {
            Dialect::Distribution => {
                Reply::from(V2Error::from(ServiceError::from(OutOfMemory))).into_response()
            }
            Dialect::Problem => api::problem(OutOfMemory).map(Payload::Routed),
        };
        response.map(LoggedBody::unrecorded)
    }

    async fn handle(&self, request: Request<Inbound>, context: RequestContext<'_>) -> Response<LoggedBody> {
        let (mut head, incoming) = request.into_parts();
        let peer = self.state.settings.trusted_proxies.resolve_client(context.peer, &mut head);
        if !operations::is_probe(head.uri.path()) {
            context.mark_useful();
        }
        if let Err(wait) = self.guards.check(&head, peer, self.state.settings.tls) {
            return self.reject_rate_limited(&head, incoming, peer, wait);
        }
        let path = head.uri.path();
        let (request_log, audited, response) = if is_v2(path) {
            let endpoint = Endpoint::parse(path);
            let route = endpoint.as_ref().map_or("invalid", Endpoint::route);
            let mut request_log = self.start_log(&head, peer, route, endpoint.as_ref().ok());
            let span = request_log.span();
            let granted = span.run(Granted::decide(&self.state, &head, peer, &endpoint)).await;
            let principal = granted.as_ref().map(Granted::principal);
            self.record_authentication(context, principal.ok());
            request_log.set_principal(principal.ok());
            let audited = audit::entry_for_v2(&self.state, &head, peer, &endpoint, principal);
            let answering = v2::answer(granted, head, self.body(incoming, &request_log));
            let response = span.run(answering).await;
            (request_log, audited, response)
        } else {
            let mut request_log = self.start_log(&head, peer, operations::route(path), None);
            let span = request_log.span();
            let is_api = api::is_below(path);
            let principal = match operations::required_permission(path) {
                None => Ok(Principal::Anonymous),
                Some(permission) => span.run(self.state.authorise(&head, peer, permission)).await,
            };
            self.record_authentication(context, principal.as_ref().ok());
            request_log.set_principal(principal.as_ref().ok());
            let audited = match &principal {
                Err(denied) => {
                    let operation = || audit::operation_of_path(&head);
                    audit::entry_for_rejection(&self.state, &head, peer, denied, operation)
                }
                // Token and sign-in requests are logins. The API records its own requests.
                Ok(_) if path == challenge::TOKEN_PATH || sign_in::is_callback(path) => {
                    Some(audit::entry_for_login(&self.state, &head, peer))
                }
                Ok(_) => None,
            };
            let response = match principal {
                Ok(principal) => {
                    head.extensions.insert(principal);
                    let answering =
                        self.router.handle(Request::from_parts(head, incoming), context.from_peer(peer));
                    span.run(answering).await.map(Payload::Routed)
                }
                Err(denied) if is_api => api::rejected(denied).map(Payload::Routed),
                Err(denied) => Reply::from(V2Error::from(denied)).into_response(),
            };
            (request_log, audited, response)
        };
        if let Some(mut audited) = audited {
            if let Some(claimed) = response.extensions().get() {
                audited.set_claimed_user(claimed);
            }
            audited.finish(response.status());
        }
        self.log_response(response, request_log)
    }
}

/// Whether `path` belongs to the registry protocol.
fn is_v2(path: &str) -> bool {
    path == "/v2" || path.starts_with("/v2/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_relative_without_a_public_url() {
        let mut settings = HttpSettings::default();
        assert_eq!(settings.locate("/v2/".into()), "/v2/");
        settings.public_url = Some("https://example.org/registry/".into());
        assert_eq!(settings.locate("/v2/".into()), "https://example.org/registry/v2/");
    }
}
