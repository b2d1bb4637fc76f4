//! The wire: the only room that knows HTTP.
//!
//! [`listen`] takes connections and keeps their deadlines. [`App`] answers a request: `forwarded.rs` tells who sends
//! it, by way of which proxy, and `guards.rs` whether it may pass; what is below `/v2` goes through `v2.rs`, which
//! has a line for each endpoint and method, to a handler, a file a noun; everything else goes to an axum router.
//! Handlers ask `Call::authorise` for their repository, and let `status.rs` say what an error is on the wire.
//! `access.rs` writes down what became of a request when it is over, and `traced.rs` for a collector of traces, `audit`
//! who changed what and who was denied.
//!
//! Below `/v2` axum's router is not used: `Endpoint::parse` is the one grammar of paths, and a pull of a small
//! blob has microseconds to live.

pub mod api;
mod audit;
mod base;
mod blobs;
mod call;
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
mod sealed;
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

use api::Api;
use call::Call;
use challenge::AuthRejection;
use guards::Guards;
use listen::{Dialect, Handler, Inbound, Peer, RequestContext};
use reply::Reply;
use request_body::RequestBody;
use request_log::RequestLog;
use status::V2Error;

use crate::auth::{AccessControl, AuthError, Permission, Principal};
use crate::memory::OutOfMemory;
use crate::oci::{Endpoint, PageLimits, PathError};
use crate::registry::{Registry, ServiceError};

/// What the wire can be told.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// The most bytes of a manifest.
    pub max_manifest_size: usize,
    /// The most tags that a push of a manifest may set.
    pub max_tags: usize,
    /// How long a request's body may stand still.
    pub body_idle_timeout: Duration,
    /// How many entries a page of a list has.
    pub pages: PageLimits,
    /// Where clients find this registry, without a slash at its end. If it is set, what clients are sent to
    /// is named by it, and not relative to what they asked for.
    pub public_url: Option<String>,
    /// Whether clients come by TLS.
    pub tls: bool,
    /// How many requests a client may send in a second; 0 for any number.
    pub rate_limit: u32,
    /// Whether browsers are to come to this server's name by TLS alone, on all of its ports.
    pub strict_transport: bool,
    /// Who is believed about those whose requests they hand over.
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
    /// `path` as clients are told it.
    fn locate(&self, path: String) -> String {
        match &self.public_url {
            None => path,
            Some(url) => format!("{}{path}", url.trim_end_matches('/')),
        }
    }
}

/// What requests are answered from.
pub struct AppState {
    /// The use cases.
    pub registry: Arc<Registry>,
    /// The settings.
    pub settings: HttpSettings,
    /// Whether the registry can work.
    pub health: Arc<dyn Health>,
    /// Where requests are counted.
    pub metrics: Arc<HttpMetrics>,
    /// Who comes in.
    pub access_control: Arc<AccessControl>,
    /// What `/api/v1` is answered from.
    pub api: Arc<Api>,
    /// What `/metrics` shows: the counters of all rooms.
    pub exposition: prometheus_client::registry::Registry,
}

impl AppState {
    /// Lets somebody in, or not. Whoever may use a socket of this machine may read the files behind it too.
    async fn admit(&self, head: &Parts, peer: Peer) -> Result<Principal, AuthError> {
        let Some(address) = peer.address() else { return Ok(Principal::LocalAdmin) };
        if is_cross_site(head) {
            return Err(AuthError::Forbidden);
        }
        let credentials = head.headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        self.access_control.admit(credentials, address).await
    }
}

/// Whether another site's page makes a browser change something here, with the password that the browser remembers.
fn is_cross_site(head: &Parts) -> bool {
    is_sent_by_another_site(head) && !matches!(head.method, Method::GET | Method::HEAD)
}

/// Whether another site's page makes a browser send a request (<https://www.w3.org/TR/fetch-metadata/>). No client of a
/// registry says such a thing.
fn is_sent_by_another_site(head: &Parts) -> bool {
    let site = head.headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    site.is_some_and(|site| site != b"same-origin" && site != b"none")
}

/// The registry as it answers requests.
#[derive(Clone)]
pub struct App {
    state: Arc<AppState>,
    router: axum::Router,
    guards: Arc<Guards>,
}

impl App {
    /// The whole of the wire over `state`.
    pub fn new(state: AppState) -> Self {
        let state = Arc::new(state);
        let router = operations::router(Arc::clone(&state)).merge(api::router(Arc::clone(&state.api)));
        let guards = Arc::new(Guards::new(&state.settings));
        Self { state, router, guards }
    }

    /// Lets somebody in to do what they want, or not.
    async fn enter(
        &self,
        head: &Parts,
        peer: Peer,
        permission: Permission<'_>,
    ) -> Result<Principal, AuthRejection> {
        let access_control = &self.state.access_control;
        let denied = |denial, principal: Option<&Principal>| {
            AuthRejection::new(denial, &self.state, head, permission, principal)
        };
        let principal = self.state.admit(head, peer).await.map_err(|denial| denied(denial, None))?;
        match access_control.decide(&principal, permission) {
            Ok(()) => Ok(principal),
            Err(denial) => {
                let denied = denied(denial, Some(&principal));
                let has_another =
                    matches!(principal, Principal::Bearer(_)) && access_control.could(&principal, permission);
                Err(AuthRejection { who: Some(principal).filter(|_| !has_another), ..denied })
            }
        }
    }

    async fn answer_v2(
        &self,
        head: Parts,
        incoming: Inbound,
        request_log: &RequestLog,
        endpoint: Result<Endpoint, PathError>,
        (peer, principal): (Peer, Result<Principal, AuthRejection>),
    ) -> Response<Payload> {
        let body = self.body(incoming, request_log);
        match principal {
            Ok(principal) => {
                v2::answer(Call { state: &self.state, head, body, peer, principal }, endpoint).await
            }
            Err(denied) => v2::refuse(denied.into(), &head.method),
        }
    }

    fn body(&self, incoming: Inbound, request_log: &RequestLog) -> RequestBody {
        RequestBody::new(incoming, self.state.settings.body_idle_timeout, request_log.received())
    }

    /// A request begins: it is counted, logged and traced until it is over.
    fn begin(
        &self,
        head: &Parts,
        peer: Peer,
        route: &'static str,
        endpoint: Option<&Endpoint>,
    ) -> RequestLog {
        let repository = endpoint.and_then(Endpoint::name).cloned();
        let request_log = RequestLog::begin(&self.state.metrics, head, peer, route, repository);
        #[cfg(feature = "otlp")]
        let request_log =
            request_log.traced(traced::begin(head, peer, self.state.settings.tls, route, endpoint));
        request_log
    }

    /// Lets a request count as an authenticated client's, also where nobody needs to log in.
    fn note_known(&self, context: RequestContext<'_>, principal: Option<&Principal>) {
        let Some(principal) = principal else { return };
        if *principal != Principal::Anonymous
            || context.is_authenticated()
            || self.state.access_control.is_open()
        {
            context.note_authenticated();
        }
        if let Some(user) = principal.user() {
            context.note_user(user);
        }
    }

    /// The answer to somebody who has sent too much lately.
    fn put_off(&self, head: &Parts, incoming: Inbound, peer: Peer, wait: Duration) -> Response<LoggedBody> {
        let path = head.uri.path();
        let of_v2 = || Endpoint::parse(path).as_ref().map_or("invalid", Endpoint::route);
        let route = if is_v2(path) { of_v2() } else { operations::route(path) };
        let request_log = self.begin(head, peer, route, None);
        drop(self.body(incoming, &request_log));
        let response = if api::is_below(path) {
            api::put_off(wait).map(Payload::Routed)
        } else {
            v2::refuse(V2Error::too_often(wait), &head.method)
        };
        self.observed(response, request_log)
    }

    /// The answer as it goes out.
    fn observed(&self, mut response: Response<Payload>, request_log: RequestLog) -> Response<LoggedBody> {
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

    async fn answer(&self, request: Request<Inbound>, context: RequestContext<'_>) -> Response<LoggedBody> {
        let (mut head, incoming) = request.into_parts();
        let peer = self.state.settings.trusted_proxies.sender(context.peer, &mut head);
        if !operations::is_probe(head.uri.path()) {
            context.note_useful();
        }
        if let Err(wait) = self.guards.pass(&head, peer, self.state.settings.tls) {
            return self.put_off(&head, incoming, peer, wait);
        }
        let path = head.uri.path();
        let (request_log, audited, response) = if is_v2(path) {
            let endpoint = Endpoint::parse(path);
            let route = endpoint.as_ref().map_or("invalid", Endpoint::route);
            let mut request_log = self.begin(&head, peer, route, endpoint.as_ref().ok());
            let span = request_log.span();
            let source = challenge::source(&endpoint, &head.uri);
            let permission = challenge::permission(&endpoint, &head.method, source.as_ref());
            let principal = span.run(self.enter(&head, peer, permission)).await;
            self.note_known(context, principal.as_ref().ok());
            request_log.note_caller(principal.as_ref().ok());
            let audited = audit::of_v2(&self.state, &head, peer, &endpoint, &principal);
            let answering = self.answer_v2(head, incoming, &request_log, endpoint, (peer, principal));
            let response = span.run(answering).await;
            (request_log, audited, response)
        } else {
            let mut request_log = self.begin(&head, peer, operations::route(path), None);
            let span = request_log.span();
            let is_api = api::is_below(path);
            let principal = match operations::permission(path) {
                None => Ok(Principal::Anonymous),
                Some(permission) => span.run(self.enter(&head, peer, permission)).await,
            };
            self.note_known(context, principal.as_ref().ok());
            request_log.note_caller(principal.as_ref().ok());
            let audited = match &principal {
                Err(denied) => audit::of_refused(&self.state, &head, peer, denied, || audit::of_path(&head)),
                // Who asks for a token shows a password there, and the API records what is asked of it.
                Ok(_) if path == challenge::TOKENS || sign_in::is_return(path) => {
                    Some(audit::of_token(&self.state, &head, peer))
                }
                Ok(_) => None,
            };
            let response = match principal {
                Ok(principal) => {
                    head.extensions.insert(principal);
                    let answering =
                        self.router.answer(Request::from_parts(head, incoming), context.from_peer(peer));
                    span.run(answering).await.map(Payload::Routed)
                }
                Err(denied) if is_api => api::refused(denied).map(Payload::Routed),
                Err(denied) => Reply::from(V2Error::from(denied)).into_response(),
            };
            (request_log, audited, response)
        };
        if let Some(mut audited) = audited {
            if let Some(claimed) = response.extensions().get() {
                audited.claim(claimed);
            }
            audited.end(response.status());
        }
        self.observed(response, request_log)
    }
}

/// Whether `path` is the protocol's.
fn is_v2(path: &str) -> bool {
    path == "/v2" || path.starts_with("/v2/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_relative_unless_a_url_is_set() {
        let mut settings = HttpSettings::default();
        assert_eq!(settings.locate("/v2/".into()), "/v2/");
        settings.public_url = Some("https://example.org/registry/".into());
        assert_eq!(settings.locate("/v2/".into()), "https://example.org/registry/v2/");
    }
}
