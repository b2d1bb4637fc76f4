//! What each error is on the wire: its status, its code, its message. Nowhere else.

use std::time::Duration;

use http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::json;

use super::challenge::AuthRejection;
use super::reply::Reply;
use super::request_body::CollectError;
use crate::auth::AuthError;
use crate::memory::OutOfMemory;
use crate::metadata::EdgeKind;
use crate::oci::{Digest, ErrorBody, ErrorCode, InvalidDigest, InvalidPageSize, InvalidTag, PathError, Tag};
use crate::registry::{
    BlobError, ClientError, DeleteError, ManifestError, PutManifestError, ServiceError, UploadError,
};

/// What somebody is told who may not.
const DENIED: &str = "requested access to the resource is denied: no role of this user allows it";

/// When to come back to a server that has too much to do.
const RETRY: Duration = Duration::from_secs(5);

/// An answer that says no.
#[derive(Debug)]
pub(super) struct V2Error {
    status: StatusCode,
    errors: ErrorBody,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl V2Error {
    /// No, and why.
    pub(super) fn new(status: StatusCode, code: ErrorCode, message: impl Into<String>) -> Self {
        Self { status, errors: ErrorBody::new(code, message), headers: Vec::new() }
    }

    /// A wrong request.
    pub(super) fn bad(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// A method that the endpoint does not have; it has those that `allow` lists.
    pub(super) fn method(allow: &'static str) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, ErrorCode::Unsupported, "the method is not supported here")
            .with(ALLOW, HeaderValue::from_static(allow))
    }

    /// The condition that the client set does not hold.
    pub(super) fn precondition(code: ErrorCode) -> Self {
        let message = "the content is not the one that the request's condition names";
        Self::new(StatusCode::PRECONDITION_FAILED, code, message)
    }

    /// Too many requests came from somewhere.
    pub(super) fn too_often(wait: Duration) -> Self {
        Self::told(ErrorCode::TooManyRequests, too_often(wait))
    }

    /// The server has too much to do; the same request may succeed later.
    pub(super) fn overloaded(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable, message)
            .with(RETRY_AFTER, HeaderValue::from(RETRY.as_secs()))
    }

    fn told(code: ErrorCode, (status, header, message): ErrorParts) -> Self {
        Self { headers: header.into_iter().collect(), ..Self::new(status, code, message) }
    }

    /// Adds a header.
    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// A delete that did not happen; `unknown` is the code for what there is not.
    pub(super) fn delete(error: DeleteError, unknown: ErrorCode) -> Self {
        match error {
            DeleteError::Unknown => Self::new(StatusCode::NOT_FOUND, unknown, error.to_string()),
            DeleteError::HeldBy(holder) => Self {
                status: StatusCode::METHOD_NOT_ALLOWED,
                errors: ErrorBody::with_detail(
                    ErrorCode::Unsupported,
                    format!("the manifest {holder} refers to it: delete that first"),
                    json!({ "heldBy": holder.as_str() }),
                ),
                headers: vec![(
                    ALLOW,
                    HeaderValue::from_static(match unknown {
                        ErrorCode::BlobUnknown => "GET, HEAD",
                        _ => "GET, HEAD, PUT",
                    }),
                )],
            },
            DeleteError::Immutable(tag) => Self::immutable(&tag),
            DeleteError::Service(fault) => fault.into(),
        }
    }

    /// A tag that may be neither moved nor deleted. No status is agreed on: 403 with `DENIED` is what clients
    /// show at once, and do not try again.
    fn immutable(tag: &Tag) -> Self {
        let message = format!("the tag {tag} is immutable: it can be neither moved nor deleted");
        let detail = json!({ "tag": tag.as_str() });
        let errors = ErrorBody::with_detail(ErrorCode::Denied, message, detail);
        Self { status: StatusCode::FORBIDDEN, errors, headers: Vec::new() }
    }

    fn wrong_digest(message: String, claimed: &Digest, actual: &Digest) -> Self {
        let detail = json!({ "claimed": claimed.as_str(), "actual": actual.as_str() });
        let errors = ErrorBody::with_detail(ErrorCode::DigestInvalid, message, detail);
        Self { status: StatusCode::BAD_REQUEST, errors, headers: Vec::new() }
    }

    /// A body that broke, in a request about something whose invalidity is `code`.
    fn client(error: ClientError, code: ErrorCode) -> Self {
        let status = match error {
            ClientError::Disconnected => StatusCode::BAD_REQUEST,
            ClientError::TooSlow => StatusCode::REQUEST_TIMEOUT,
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<V2Error> for Reply {
    fn from(refusal: V2Error) -> Self {
        let reply = Self::json(refusal.status, &refusal.errors);
        refusal.headers.into_iter().fold(reply, |reply, (name, value)| reply.with(name, value))
    }
}

impl From<AuthRejection> for V2Error {
    fn from(refused: AuthRejection) -> Self {
        let code = match refused.denial {
            AuthError::Unauthenticated => ErrorCode::Unauthorized,
            AuthError::Forbidden => ErrorCode::Denied,
            AuthError::RateLimited(_) => ErrorCode::TooManyRequests,
            AuthError::OutOfMemory => ErrorCode::Unavailable,
        };
        Self::told(code, denied(refused))
    }
}

/// What somebody is told on any wire: the status, a header that goes with it, and words.
pub(super) type ErrorParts = (StatusCode, Option<(HeaderName, HeaderValue)>, String);

/// What it is on any wire that somebody is not let in.
pub(super) fn denied(denied: AuthRejection) -> ErrorParts {
    match denied.denial {
        AuthError::Unauthenticated => {
            let message = "this registry wants to know who you are: log in with a user and password";
            (StatusCode::UNAUTHORIZED, Some((WWW_AUTHENTICATE, denied.challenge)), message.into())
        }
        // Clients show it to people: whether there is such a repository must not be in it. In the code's usual words
        // alone Docker does not take it for an answer, and tries again for a minute.
        AuthError::Forbidden => (StatusCode::FORBIDDEN, None, DENIED.into()),
        AuthError::RateLimited(wait) => too_many("wrong passwords", wait),
        AuthError::OutOfMemory => {
            let retry = HeaderValue::from(RETRY.as_secs());
            (StatusCode::SERVICE_UNAVAILABLE, Some((RETRY_AFTER, retry)), OutOfMemory.to_string())
        }
    }
}

/// What it is on any wire that too many requests came from somewhere.
pub(super) fn too_often(wait: Duration) -> ErrorParts {
    too_many("requests", wait)
}

fn too_many(what: &str, wait: Duration) -> ErrorParts {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    let message = format!("too many {what} came from there: try again in {seconds} s");
    (StatusCode::TOO_MANY_REQUESTS, Some((RETRY_AFTER, HeaderValue::from(seconds))), message)
}

impl From<ServiceError> for V2Error {
    fn from(fault: ServiceError) -> Self {
        let message = fault.to_string();
        match fault {
            ServiceError::Full(_) => {
                Self::new(StatusCode::INSUFFICIENT_STORAGE, ErrorCode::Unavailable, message)
            }
            ServiceError::ReadOnly => {
                Self::new(StatusCode::METHOD_NOT_ALLOWED, ErrorCode::Unsupported, message)
                    .with(ALLOW, HeaderValue::from_static("GET, HEAD"))
            }
            ServiceError::OverQuota(_) => Self::new(StatusCode::FORBIDDEN, ErrorCode::Denied, message),
            // Not 429, which Docker takes for the end of a push; it retries 5xx.
            ServiceError::Busy | ServiceError::OutOfMemory(_) => Self::overloaded(message),
            ServiceError::Failed(cause) => {
                tracing::error!(cause, "a request failed");
                // The cause may name paths, and is the operator's to read.
                let message = "the registry failed to do this; its log says why";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::Unknown, message)
            }
        }
    }
}

impl From<PathError> for V2Error {
    fn from(error: PathError) -> Self {
        let status = match error {
            PathError::NotFound | PathError::Upload => StatusCode::NOT_FOUND,
            PathError::Name(_) | PathError::Tag(_) | PathError::Digest(_) => StatusCode::BAD_REQUEST,
        };
        Self::new(status, error.code(), error.to_string())
    }
}

impl From<InvalidDigest> for V2Error {
    fn from(error: InvalidDigest) -> Self {
        Self::bad(ErrorCode::DigestInvalid, error.to_string())
    }
}

impl From<InvalidTag> for V2Error {
    fn from(error: InvalidTag) -> Self {
        Self::bad(ErrorCode::TagInvalid, error.to_string())
    }
}

impl From<InvalidPageSize> for V2Error {
    fn from(error: InvalidPageSize) -> Self {
        Self::bad(ErrorCode::PaginationNumberInvalid, error.to_string())
    }
}

impl From<BlobError> for V2Error {
    fn from(error: BlobError) -> Self {
        match error {
            BlobError::Unknown => Self::new(StatusCode::NOT_FOUND, ErrorCode::BlobUnknown, error.to_string()),
            BlobError::Service(fault) => fault.into(),
        }
    }
}

impl From<UploadError> for V2Error {
    fn from(error: UploadError) -> Self {
        let message = error.to_string();
        let (status, code) = match error {
            UploadError::Unknown => (StatusCode::NOT_FOUND, ErrorCode::BlobUploadUnknown),
            UploadError::OutOfOrder { .. } => {
                (StatusCode::RANGE_NOT_SATISFIABLE, ErrorCode::BlobUploadInvalid)
            }
            UploadError::WrongLength { .. } => (StatusCode::BAD_REQUEST, ErrorCode::SizeInvalid),
            UploadError::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::SizeInvalid),
            // Nobody waits for this but a client that has given its request up and sent it again. Docker
            // begins the layer anew after a 409, and containerd reports it; a 429 or 5xx would make some
            // send the same again and take the upload back.
            UploadError::TakenOver => (StatusCode::CONFLICT, ErrorCode::BlobUploadInvalid),
            UploadError::WrongDigest { claimed, actual } => {
                return Self::wrong_digest(message, &claimed, &actual);
            }
            UploadError::Client(error) => return Self::client(error, ErrorCode::BlobUploadInvalid),
            UploadError::Service(fault) => return fault.into(),
        };
        Self::new(status, code, message)
    }
}

impl From<ManifestError> for V2Error {
    fn from(error: ManifestError) -> Self {
        let code = match error {
            ManifestError::Unknown => ErrorCode::ManifestUnknown,
            ManifestError::NameUnknown => ErrorCode::NameUnknown,
            ManifestError::Service(fault) => return fault.into(),
        };
        Self::new(StatusCode::NOT_FOUND, code, error.to_string())
    }
}

impl From<PutManifestError> for V2Error {
    fn from(error: PutManifestError) -> Self {
        let message = error.to_string();
        match error {
            PutManifestError::Invalid(_) => Self::bad(ErrorCode::ManifestInvalid, message),
            PutManifestError::WrongDigest { claimed, actual } => {
                Self::wrong_digest(message, &claimed, &actual)
            }
            PutManifestError::Missing(missing) => {
                let errors = missing
                    .iter()
                    .map(|(digest, kind)| missing_target(digest, *kind))
                    .reduce(ErrorBody::and)
                    .unwrap_or_else(|| ErrorBody::new(ErrorCode::ManifestBlobUnknown, message));
                Self { status: StatusCode::BAD_REQUEST, errors, headers: Vec::new() }
            }
            PutManifestError::Immutable(tag) => Self::immutable(&tag),
            PutManifestError::Service(fault) => fault.into(),
        }
    }
}

fn missing_target(digest: &Digest, kind: EdgeKind) -> ErrorBody {
    let noun = match kind {
        EdgeKind::Blob => "blob",
        EdgeKind::Child | EdgeKind::Subject => "manifest",
    };
    let message = format!("the manifest refers to the {noun} {digest}, which is not in the repository");
    ErrorBody::with_detail(ErrorCode::ManifestBlobUnknown, message, json!({ "digest": digest.as_str() }))
}

/// A manifest's body that was not taken.
impl From<CollectError> for V2Error {
    fn from(error: CollectError) -> Self {
        match error {
            CollectError::TooLarge => {
                let message = "the manifest has more bytes than this registry takes";
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::ManifestInvalid, message)
            }
            CollectError::Client(error) => Self::client(error, ErrorCode::ManifestInvalid),
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use serde_json::Value;

    use super::*;
    use crate::metadata::{Metered, OverQuota, Scope};
    use crate::oci::{Algorithm, Hasher};

    async fn on_the_wire(refusal: impl Into<V2Error>) -> (u16, Value) {
        let response = Reply::from(refusal.into()).into_response();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.expect("at hand").to_bytes();
        (status, serde_json::from_slice(&body).expect("JSON"))
    }

    async fn brief(refusal: impl Into<V2Error>) -> (u16, String) {
        let (status, body) = on_the_wire(refusal).await;
        (status, body["errors"][0]["code"].as_str().expect("a code").to_owned())
    }

    #[tokio::test]
    async fn every_fault_has_its_status() {
        assert_eq!(brief(ServiceError::Full("!".into())).await, (507, "UNAVAILABLE".into()));
        let quota = OverQuota { scope: Scope::All, of: Metered::Tags, used: 1, wanted: 1, limit: 1 };
        assert_eq!(brief(ServiceError::OverQuota(quota)).await, (403, "DENIED".into()));
        assert_eq!(brief(ServiceError::ReadOnly).await, (405, "UNSUPPORTED".into()));
        assert_eq!(brief(ServiceError::Busy).await, (503, "UNAVAILABLE".into()));
        assert_eq!(brief(ServiceError::OutOfMemory(OutOfMemory)).await, (503, "UNAVAILABLE".into()));
        let (status, body) = on_the_wire(ServiceError::Failed("/secret/path".into())).await;
        assert_eq!(status, 500);
        assert!(!body.to_string().contains("secret"));
    }

    #[tokio::test]
    async fn uploads_fail_as_the_spec_has_it() {
        let digest = Hasher::digest(Algorithm::Sha256, b"");
        let wrong = UploadError::WrongDigest { claimed: digest.clone(), actual: digest };
        assert_eq!(brief(UploadError::Unknown).await, (404, "BLOB_UPLOAD_UNKNOWN".into()));
        assert_eq!(brief(UploadError::OutOfOrder { offset: 1 }).await, (416, "BLOB_UPLOAD_INVALID".into()));
        assert_eq!(brief(UploadError::WrongLength { offset: 1 }).await, (400, "SIZE_INVALID".into()));
        assert_eq!(brief(wrong).await, (400, "DIGEST_INVALID".into()));
        assert_eq!(brief(UploadError::TooLarge { limit: 1 }).await, (413, "SIZE_INVALID".into()));
        assert_eq!(brief(UploadError::TakenOver).await, (409, "BLOB_UPLOAD_INVALID".into()));
        let client = |error| brief(UploadError::Client(error));
        assert_eq!(client(ClientError::TooSlow).await, (408, "BLOB_UPLOAD_INVALID".into()));
        assert_eq!(client(ClientError::Disconnected).await, (400, "BLOB_UPLOAD_INVALID".into()));
    }

    #[tokio::test]
    async fn all_that_is_missing_is_named() {
        let digests = [b"a", b"b"].map(|content| Hasher::digest(Algorithm::Sha256, content));
        let missing = digests.iter().map(|digest| (digest.clone(), EdgeKind::Blob)).collect();
        let (status, body) = on_the_wire(PutManifestError::Missing(missing)).await;
        assert_eq!(status, 400);
        for (error, digest) in body["errors"].as_array().expect("a list").iter().zip(&digests) {
            assert_eq!(error["code"], "MANIFEST_BLOB_UNKNOWN");
            assert_eq!(error["detail"]["digest"], digest.as_str());
        }
    }

    #[tokio::test]
    async fn what_is_held_names_its_holder() {
        let holder = Hasher::digest(Algorithm::Sha256, b"index");
        let refusal = V2Error::delete(DeleteError::HeldBy(holder.clone()), ErrorCode::BlobUnknown);
        let (status, body) = on_the_wire(refusal).await;
        assert_eq!((status, &body["errors"][0]["code"]), (405, &"UNSUPPORTED".into()));
        assert_eq!(body["errors"][0]["detail"]["heldBy"], holder.as_str());
        let unknown = V2Error::delete(DeleteError::Unknown, ErrorCode::ManifestUnknown);
        assert_eq!(brief(unknown).await, (404, "MANIFEST_UNKNOWN".into()));
    }
}
