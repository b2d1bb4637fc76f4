//! Cross-origin requests: lets pages of the origins in `server.cors_origins` use `/v2` and `/api/v1`.
//!
//! A page sends its own `Authorization` header. Passwords that the browser remembers are never allowed, so that a page
//! can't act for a user who did not sign in there. `CorsLayer` determines the headers. It wraps a service without a
//! response of its own, because responses of `/v2` do not go through a service of tower.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::time::Duration;

use futures_util::FutureExt;
use http::header::{
    ACCEPT, ACCEPT_RANGES, ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH, IF_RANGE, LINK, LOCATION, ORIGIN, RANGE, RETRY_AFTER, VARY,
    WWW_AUTHENTICATE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use tower::Layer;
use tower::util::{ServiceExt, ServiceFn, service_fn};
use tower_http::cors::{self, CorsLayer};

use crate::http::exchange::Exchange;
use crate::http::paths::Target;
use crate::http::reply::{API_VERSION, CONTENT_DIGEST, OCI_FILTERS, OCI_SUBJECT, OCI_TAG, UPLOAD_UUID};
use crate::http::state::HttpSettings;

/// How long a browser may remember that a request is allowed.
const PREFLIGHT_MAX_AGE: Duration = Duration::from_secs(10 * 60);

const METHODS: [Method; 7] =
    [Method::GET, Method::HEAD, Method::OPTIONS, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];

/// The headers that a page may send.
const REQUEST_HEADERS: [HeaderName; 8] =
    [ACCEPT, AUTHORIZATION, CONTENT_RANGE, CONTENT_TYPE, IF_MATCH, IF_NONE_MATCH, IF_RANGE, RANGE];

/// The headers that a page may read, besides those that it may always read.
const RESPONSE_HEADERS: [HeaderName; 15] = [
    ACCEPT_RANGES,
    API_VERSION,
    CONTENT_DIGEST,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    ETAG,
    LINK,
    LOCATION,
    OCI_FILTERS,
    OCI_SUBJECT,
    OCI_TAG,
    RANGE,
    RETRY_AFTER,
    UPLOAD_UUID,
    WWW_AUTHENTICATE,
];

/// A service that returns an empty response.
type EmptyService = ServiceFn<fn(Request<()>) -> Ready<Result<Response<()>, Infallible>>>;

/// The origins whose pages may use the registry.
pub(in crate::http) struct Cors {
    service: cors::Cors<EmptyService>,
}

impl Cors {
    pub(in crate::http) fn new(settings: &HttpSettings) -> Self {
        let layer = CorsLayer::new()
            .allow_origin(settings.cors_origins.clone())
            .allow_methods(METHODS)
            .allow_headers(REQUEST_HEADERS)
            .expose_headers(RESPONSE_HEADERS)
            .max_age(PREFLIGHT_MAX_AGE)
            .vary(Vec::<HeaderName>::new());
        let empty: fn(Request<()>) -> _ = |_| ready(Ok(Response::new(())));
        Self { service: layer.layer(service_fn(empty)) }
    }

    /// Whether a browser asks if a page of an allowed origin may send a request. It asks without credentials.
    pub(in crate::http) fn is_preflight(exchange: &Exchange<'_>) -> bool {
        exchange.head.method == Method::OPTIONS
            && exchange.head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
            && is_target(&exchange.target)
            && is_allowed(&exchange.state.settings, &exchange.head)
    }

    /// The headers to add to the response of a request.
    pub(in crate::http) fn headers(&self, exchange: &Exchange<'_>) -> HeaderMap {
        let settings = &exchange.state.settings;
        let mut headers = HeaderMap::new();
        if settings.cors_origins.is_empty() || !is_target(&exchange.target) {
            return headers;
        }
        if let Some(origin) = exchange.head.headers.get(ORIGIN)
            && is_allowed(settings, &exchange.head)
        {
            let mut request = Request::new(());
            *request.method_mut() = exchange.head.method.clone();
            request.headers_mut().insert(ORIGIN, origin.clone());
            // The service never waits.
            if let Some(Ok(response)) = self.service.clone().oneshot(request).now_or_never() {
                headers = response.into_parts().0.headers;
            }
        }
        // Also without an origin, because a cache may keep the response.
        headers.insert(VARY, HeaderValue::from_name(ORIGIN));
        headers
    }

    /// Adds the headers of [`Self::headers`] to a response.
    pub(in crate::http) fn add(to: &mut HeaderMap, headers: HeaderMap) {
        for (name, value) in headers {
            match name {
                Some(VARY) => drop(to.append(VARY, value)),
                Some(name) => drop(to.insert(name, value)),
                None => {}
            }
        }
    }
}

/// Whether a page of an allowed origin sends a request that the browser had to ask for. The browser then leaves out the
/// passwords that it remembers.
pub(super) fn is_allowed_change(settings: &HttpSettings, head: &Parts) -> bool {
    is_allowed(settings, head)
        && needs_preflight(head)
        && is_target(&Target::of(head.uri.path(), settings.ui))
}

fn is_target(target: &Target) -> bool {
    matches!(target, Target::V2(_) | Target::Api)
}

fn is_allowed(settings: &HttpSettings, head: &Parts) -> bool {
    head.headers.get(ORIGIN).is_some_and(|origin| settings.cors_origins.contains(origin))
}

/// Whether browsers ask before they send such a request for a page
/// (<https://fetch.spec.whatwg.org/#cors-preflight-fetch>).
fn needs_preflight(head: &Parts) -> bool {
    const SIMPLE_MEDIA_TYPES: [&str; 3] =
        ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"];
    if !matches!(head.method, Method::GET | Method::HEAD | Method::POST) {
        return true;
    }
    let Some(media_type) = head.headers.get(CONTENT_TYPE) else { return false };
    let media_type = media_type.to_str().unwrap_or_default();
    let media_type = media_type.split_once(';').map_or(media_type, |(media_type, _)| media_type);
    !media_type.is_empty()
        && !SIMPLE_MEDIA_TYPES.iter().any(|simple| simple.eq_ignore_ascii_case(media_type.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(method: Method, media_type: Option<&str>) -> Parts {
        let mut request = Request::builder().method(method).uri("/api/v1/status");
        if let Some(media_type) = media_type {
            request = request.header(CONTENT_TYPE, media_type);
        }
        request.body(()).expect("a request").into_parts().0
    }

    #[test]
    fn simple_requests_need_no_preflight() {
        for (method, media_type, expected) in [
            (Method::GET, None, false),
            (Method::POST, None, false),
            (Method::POST, Some("Text/Plain; charset=utf-8"), false),
            (Method::POST, Some("multipart/form-data"), false),
            (Method::POST, Some("application/json"), true),
            (Method::PUT, None, true),
            (Method::DELETE, None, true),
        ] {
            assert_eq!(
                needs_preflight(&head(method.clone(), media_type)),
                expected,
                "{method} {media_type:?}"
            );
        }
    }
}
