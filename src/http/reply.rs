//! Builds the responses of `/v2` handlers.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body::Body;
use serde::Serialize;

use super::payload::Payload;
use crate::oci::Digest;

/// The version of the registry API; old Docker clients check it.
pub(super) const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
/// The digest of the content that is sent or was accepted.
pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
/// The id of an upload.
pub(super) const UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");
/// The subject of the accepted manifest.
pub(super) const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
/// A tag that was accepted.
pub(super) const OCI_TAG: HeaderName = HeaderName::from_static("oci-tag");
/// The filters that were applied to a list of referrers.
pub(super) const OCI_FILTERS: HeaderName = HeaderName::from_static("oci-filters-applied");

/// `Cache-Control` of responses that depend on the principal or on the time.
pub(super) const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// The number of headers that space is allocated for; few responses have more.
const USUAL_HEADERS: usize = 12;

/// The most bytes that the buffer of a body may be larger than the body.
const MAX_SLACK: usize = 64 << 10;

/// A response that is being built.
#[derive(Debug)]
pub(super) struct Reply(Response<Payload>);

impl Reply {
    /// A response with this status, no header and no body.
    pub(super) fn new(status: StatusCode) -> Self {
        let mut response = Response::new(Payload::Empty);
        *response.status_mut() = status;
        response.headers_mut().reserve(USUAL_HEADERS);
        Self(response)
    }

    /// A response with this status and `value` as JSON.
    pub(super) fn json<T: Serialize>(status: StatusCode, value: &T) -> Self {
        // All bodies have string keys and serialisers that cannot fail. If one failed, the body would be empty.
        let text = serde_json::to_vec(value).unwrap_or_default();
        Self::new(status)
            .with(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(Payload::Whole(without_slack(text)))
    }

    /// Adds a header, and keeps others of the same name.
    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers_mut().append(name, value);
        self
    }

    /// Adds a header if there is a value.
    pub(super) fn with_optional(self, name: HeaderName, value: Option<HeaderValue>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Sets the body.
    pub(super) fn body(mut self, payload: Payload) -> Self {
        *self.0.body_mut() = payload;
        self
    }

    /// Sets a header, and replaces others of the same name.
    pub(super) fn set(&mut self, name: HeaderName, value: HeaderValue) {
        self.0.headers_mut().insert(name, value);
    }

    /// Sets a header unless there is one of the same name.
    pub(super) fn set_default(&mut self, name: HeaderName, value: HeaderValue) {
        self.0.headers_mut().entry(name).or_insert(value);
    }

    /// Removes the body and keeps its length, as the response to HEAD.
    pub(super) fn without_body(mut self) -> Self {
        let len = self.0.body().size_hint().exact();
        let headers = self.0.headers_mut();
        if let (Some(len @ 1..), false) = (len, headers.contains_key(CONTENT_LENGTH)) {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(len));
        }
        self.body(Payload::Empty)
    }

    /// The response.
    pub(super) fn into_response(self) -> Response<Payload> {
        self.0
    }
}

/// Converts a reply to a response of axum's router that caches do not store.
pub(super) fn routed(mut reply: Reply) -> Response<axum::body::Body> {
    reply.set_default(CACHE_CONTROL, NO_STORE);
    reply.into_response().map(axum::body::Body::new)
}

/// `text` as the value of a header. Only for text whose grammar fits a header: paths, digests, numbers.
pub(super) fn value(text: impl Into<Bytes>) -> HeaderValue {
    HeaderValue::from_maybe_shared(text.into()).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// The header values `Docker-Content-Digest` and `ETag` of a digest, which share their memory.
pub(super) fn digest_values(digest: &Digest) -> (HeaderValue, HeaderValue) {
    let quoted = Bytes::from(format!("\"{digest}\""));
    (value(quoted.slice(1..quoted.len() - 1)), value(quoted))
}

/// Copies `text` to a buffer of its size if its own buffer is much larger, because a response may wait a long time for
/// its client.
fn without_slack(text: Vec<u8>) -> Bytes {
    if text.capacity() - text.len() > MAX_SLACK { Bytes::copy_from_slice(&text) } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::{Algorithm, Hasher};

    #[test]
    fn a_digest_has_a_plain_and_a_quoted_value() {
        let digest = Hasher::digest(Algorithm::Sha256, b"");
        let (plain, quoted) = digest_values(&digest);
        assert_eq!(plain, digest.as_str());
        assert_eq!(quoted, format!("\"{digest}\""));
    }

    #[test]
    fn head_keeps_the_length_of_the_body() {
        let reply = Reply::json(StatusCode::OK, &[1, 2]).without_body().into_response();
        assert_eq!(reply.headers()[CONTENT_LENGTH], "5");
        assert_eq!(reply.body().size_hint().exact(), Some(0));
        let empty = Reply::new(StatusCode::NO_CONTENT).without_body().into_response();
        assert!(!empty.headers().contains_key(CONTENT_LENGTH));
    }
}
