//! The HTTP application: passes each request through the layers to the handler of its path.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use http::{Request, Response, StatusCode};

use super::api::{self, Api};
use super::exchange::Exchange;
use super::layers::request_log::{LoggedBody, RequestLog};
use super::layers::{Checks, Cors, add_headers, audit, authentication};
use super::lazy_router::LazyRouter;
use super::listen::{Dialect, Handler, Inbound, RequestContext};
use super::paths::Target;
use super::payload::Payload;
use super::rejection::Rejection;
use super::reply::Reply;
use super::request_body::RequestBody;
use super::state::AppState;
use super::{operations, v2, web};
use crate::auth::Principal;
use crate::memory::OutOfMemory;

/// The HTTP application: answers every request of the registry.
#[derive(Clone)]
pub struct App {
    state: Arc<AppState>,
    router: axum::Router,
    /// The web pages, unless they are turned off.
    pages: Option<LazyRouter>,
    checks: Arc<Checks>,
    cors: Arc<Cors>,
}

impl App {
    /// An application that answers from `state` and, below `/api/v1` and on the pages, from `api`.
    pub fn new(state: AppState, api: Arc<Api>) -> Self {
        let state = Arc::new(state);
        let pages = state.settings.ui.then(|| {
            let (state, api) = (Arc::clone(&state), Arc::clone(&api));
            LazyRouter::new(move || web::router(state, api))
        });
        let router = operations::router(Arc::clone(&state)).merge(api::router(api));
        let checks = Arc::new(Checks::new(&state.settings));
        let cors = Arc::new(Cors::new(&state.settings));
        Self { state, router, pages, checks, cors }
    }

    /// Passes a request through the checks, authentication and the audit log to its handler.
    async fn answer(
        &self,
        mut exchange: Exchange<'_>,
        body: Inbound,
        request_log: &mut RequestLog,
    ) -> Response<Payload> {
        if let Err(rejection) = self.checks.check(&exchange) {
            return refuse(&exchange, rejection);
        }
        if Cors::is_preflight(&exchange) {
            return Reply::new(StatusCode::NO_CONTENT).into_response();
        }
        let principal = authentication::authorise(&mut exchange).await;
        request_log.set_principal(principal.as_ref().ok());
        let audited = audit::start_entry(&exchange, principal.as_ref());
        let response = match principal {
            Ok(principal) => self.handle_authorised(exchange, principal, body, request_log.received()).await,
            Err(denied) => refuse(&exchange, denied.into()),
        };
        audit::finish_entry(audited, &response);
        response
    }

    /// Passes a request to the registry protocol or to a router. `received` counts the bytes of its body.
    async fn handle_authorised(
        &self,
        exchange: Exchange<'_>,
        principal: Principal,
        body: Inbound,
        received: Arc<AtomicU64>,
    ) -> Response<Payload> {
        let Exchange { state, context, mut head, peer, target } = exchange;
        if let Target::V2(endpoint) = target {
            let body = RequestBody::new(body, state.settings.body_idle_timeout, received);
            return v2::answer(state, head, peer, &endpoint, principal, body).await;
        }
        let router = match target {
            Target::Pages => self.pages.as_ref().map_or(&self.router, LazyRouter::get),
            Target::V2(_) | Target::Api | Target::Other => &self.router,
        };
        head.extensions.insert(principal);
        let request = Request::from_parts(head, body);
        router.handle(request, context.from_peer(peer)).await.map(Payload::Routed)
    }
}

/// Rejects a request without evaluating its path, so that unauthorised clients do not even learn whether it is valid.
fn refuse(exchange: &Exchange<'_>, rejection: Rejection) -> Response<Payload> {
    match exchange.target {
        Target::Api => api::refuse(rejection).map(Payload::Routed),
        Target::Pages => web::refuse(&rejection).map(Payload::Routed),
        Target::V2(_) | Target::Other => v2::refuse(rejection, &exchange.head.method),
    }
}

impl Handler for App {
    type Body = LoggedBody;

    fn overloaded(&self, dialect: Dialect) -> Response<LoggedBody> {
        let rejection = Rejection::overloaded(OutOfMemory.to_string());
        let mut response = match dialect {
            Dialect::Distribution => v2::refuse(rejection, &http::Method::GET),
            Dialect::Problem => api::refuse(rejection).map(Payload::Routed),
        };
        add_headers(response.headers_mut(), &self.state.settings);
        response.map(LoggedBody::unrecorded)
    }

    async fn handle(&self, request: Request<Inbound>, context: RequestContext<'_>) -> Response<LoggedBody> {
        let (head, body) = request.into_parts();
        let exchange = Exchange::new(&self.state, head, context);
        if !exchange.is_probe() {
            context.mark_work();
        }
        let mut request_log = RequestLog::start(&exchange);
        let cross_origin = self.cors.headers(&exchange);
        let span = request_log.span();
        let mut response = span.run(self.answer(exchange, body, &mut request_log)).await;
        Cors::add(response.headers_mut(), cross_origin);
        add_headers(response.headers_mut(), &self.state.settings);
        let status = response.status();
        response.map(|payload| LoggedBody::new(payload, status, request_log))
    }
}
