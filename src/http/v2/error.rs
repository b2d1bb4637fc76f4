//! Converts every error to a `/v2` response: its status, its error code and its message.

use http::header::ALLOW;
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};

use crate::errors::Chain;
use crate::http::rejection::{AuthRejection, Rejection};
use crate::http::reply::Reply;
use crate::http::request_body::CollectError;
use crate::metadata::EdgeKind;
use crate::oci::{Digest, ErrorBody, ErrorCode, InvalidDigest, InvalidPageSize, InvalidTag, PathError, Tag};
use crate::registry::{
    BlobError, ClientError, DeleteError, ManifestError, PutManifestError, ServiceError, UploadError,
};

/// The result of a handler below `/v2`.
pub(super) type V2Result = Result<Reply, V2Error>;

/// An error response of the registry protocol.
#[derive(Debug)]
pub(in crate::http) struct V2Error {
    status: StatusCode,
    errors: ErrorBody,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl V2Error {
    /// An error response with one error.
    pub(in crate::http) fn new(status: StatusCode, code: ErrorCode, message: impl Into<String>) -> Self {
        Self { status, errors: ErrorBody::new(code, message), headers: Vec::new() }
    }

    /// An error response with a detail for programs.
    fn detailed(status: StatusCode, code: ErrorCode, message: String, detail: Value) -> Self {
        Self { status, errors: ErrorBody::with_detail(code, message, detail), headers: Vec::new() }
    }

    /// 400 for an invalid request.
    pub(in crate::http) fn bad(code: ErrorCode, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// 405 for a method that the endpoint does not support; `allow` lists those that it does.
    pub(super) fn method(allow: &'static str) -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            ErrorCode::Unsupported,
            "method not supported by this endpoint",
        )
        .with(ALLOW, HeaderValue::from_static(allow))
    }

    /// 412 for a condition of the client that is not met.
    pub(super) fn precondition(code: ErrorCode) -> Self {
        let message = "the content does not match the condition of the request";
        Self::new(StatusCode::PRECONDITION_FAILED, code, message)
    }

    /// Adds a header.
    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// A failed deletion; `unknown` is the error code if the content does not exist.
    pub(super) fn delete(error: DeleteError, unknown: ErrorCode) -> Self {
        match error {
            DeleteError::Unknown => Self::new(StatusCode::NOT_FOUND, unknown, error.to_string()),
            DeleteError::HeldBy(holder) => {
                let allow = if unknown == ErrorCode::BlobUnknown { "GET, HEAD" } else { "GET, HEAD, PUT" };
                let message = format!("the manifest {holder} refers to it; delete that manifest first");
                let detail = json!({ "heldBy": holder.as_str() });
                Self::detailed(StatusCode::METHOD_NOT_ALLOWED, ErrorCode::Unsupported, message, detail)
                    .with(ALLOW, HeaderValue::from_static(allow))
            }
            DeleteError::Immutable(tag) => Self::immutable(&tag),
            DeleteError::Service(fault) => fault.into(),
        }
    }

    /// An immutable tag. The specification defines no status for it; clients show 403 with `DENIED` at once and do not
    /// retry.
    fn immutable(tag: &Tag) -> Self {
        let message = format!("tag {tag} is immutable and cannot be moved or deleted");
        Self::detailed(StatusCode::FORBIDDEN, ErrorCode::Denied, message, json!({ "tag": tag.as_str() }))
    }

    fn wrong_digest(message: String, claimed: &Digest, actual: &Digest) -> Self {
        let detail = json!({ "claimed": claimed.as_str(), "actual": actual.as_str() });
        Self::detailed(StatusCode::BAD_REQUEST, ErrorCode::DigestInvalid, message, detail)
    }

    /// A body that could not be read, in a request for which `code` means invalid content.
    fn client(error: ClientError, code: ErrorCode) -> Self {
        let status = match error {
            ClientError::Disconnected => StatusCode::BAD_REQUEST,
            ClientError::TooSlow => StatusCode::REQUEST_TIMEOUT,
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<V2Error> for Reply {
    fn from(error: V2Error) -> Self {
        let reply = Self::json(error.status, &error.errors);
        error.headers.into_iter().fold(reply, |reply, (name, value)| reply.with(name, value))
    }
}

impl From<Rejection> for V2Error {
    fn from(rejection: Rejection) -> Self {
        let Rejection { status, code, message, header } = rejection;
        Self { headers: header.into_iter().collect(), ..Self::new(status, code, message) }
    }
}

impl From<AuthRejection> for V2Error {
    fn from(rejection: AuthRejection) -> Self {
        Rejection::from(rejection).into()
    }
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
            // Not 429, on which Docker gives up a push; it retries 5xx.
            ServiceError::Busy | ServiceError::OutOfMemory(_) => Rejection::overloaded(message).into(),
            ServiceError::Failed(cause) => {
                tracing::error!(cause = %Chain(&*cause), "request failed");
                // The cause may contain paths, so only the operator may read it.
                let message = "internal error; see the log of the registry";
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
            // Only a client that gave up its request and sent it again gets this. After a 409 Docker restarts the
            // layer, and containerd reports an error. After a 429 or 5xx some clients would send the same request again
            // and take the upload over once more.
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
    let message = format!("the manifest refers to {noun} {digest}, which is not in the repository");
    ErrorBody::with_detail(ErrorCode::ManifestBlobUnknown, message, json!({ "digest": digest.as_str() }))
}

/// The body of a manifest that could not be read.
impl From<CollectError> for V2Error {
    fn from(error: CollectError) -> Self {
        match error {
            CollectError::TooLarge => {
                let message = "the manifest is larger than this registry accepts";
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
    use crate::memory::OutOfMemory;
    use crate::metadata::{OverQuota, QuotaResource, Scope};
    use crate::oci::{Algorithm, Hasher};

    async fn rendered(error: impl Into<V2Error>) -> (u16, Value) {
        let response = Reply::from(error.into()).into_response();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.expect("at hand").to_bytes();
        (status, serde_json::from_slice(&body).expect("JSON"))
    }

    async fn status_and_code(error: impl Into<V2Error>) -> (u16, String) {
        let (status, body) = rendered(error).await;
        (status, body["errors"][0]["code"].as_str().expect("a code").to_owned())
    }

    #[tokio::test]
    async fn service_errors_have_their_status() {
        assert_eq!(status_and_code(ServiceError::Full("!".into())).await, (507, "UNAVAILABLE".into()));
        let quota =
            OverQuota { scope: Scope::All, resource: QuotaResource::Tags, used: 1, requested: 1, limit: 1 };
        assert_eq!(status_and_code(ServiceError::OverQuota(quota)).await, (403, "DENIED".into()));
        assert_eq!(status_and_code(ServiceError::ReadOnly).await, (405, "UNSUPPORTED".into()));
        assert_eq!(status_and_code(ServiceError::Busy).await, (503, "UNAVAILABLE".into()));
        assert_eq!(
            status_and_code(ServiceError::OutOfMemory(OutOfMemory)).await,
            (503, "UNAVAILABLE".into())
        );
        let (status, body) = rendered(ServiceError::Failed("/secret/path".into())).await;
        assert_eq!(status, 500);
        assert!(!body.to_string().contains("secret"));
    }

    #[tokio::test]
    async fn upload_errors_have_the_codes_of_the_specification() {
        let digest = Hasher::digest(Algorithm::Sha256, b"");
        let wrong = UploadError::WrongDigest { claimed: digest.clone(), actual: digest };
        assert_eq!(status_and_code(UploadError::Unknown).await, (404, "BLOB_UPLOAD_UNKNOWN".into()));
        assert_eq!(
            status_and_code(UploadError::OutOfOrder { offset: 1 }).await,
            (416, "BLOB_UPLOAD_INVALID".into())
        );
        assert_eq!(
            status_and_code(UploadError::WrongLength { offset: 1 }).await,
            (400, "SIZE_INVALID".into())
        );
        assert_eq!(status_and_code(wrong).await, (400, "DIGEST_INVALID".into()));
        assert_eq!(status_and_code(UploadError::TooLarge { limit: 1 }).await, (413, "SIZE_INVALID".into()));
        assert_eq!(status_and_code(UploadError::TakenOver).await, (409, "BLOB_UPLOAD_INVALID".into()));
        let client = |error| status_and_code(UploadError::Client(error));
        assert_eq!(client(ClientError::TooSlow).await, (408, "BLOB_UPLOAD_INVALID".into()));
        assert_eq!(client(ClientError::Disconnected).await, (400, "BLOB_UPLOAD_INVALID".into()));
    }

    #[tokio::test]
    async fn all_missing_blobs_are_named() {
        let digests = [b"a", b"b"].map(|content| Hasher::digest(Algorithm::Sha256, content));
        let missing = digests.iter().map(|digest| (digest.clone(), EdgeKind::Blob)).collect();
        let (status, body) = rendered(PutManifestError::Missing(missing)).await;
        assert_eq!(status, 400);
        for (error, digest) in body["errors"].as_array().expect("a list").iter().zip(&digests) {
            assert_eq!(error["code"], "MANIFEST_BLOB_UNKNOWN");
            assert_eq!(error["detail"]["digest"], digest.as_str());
        }
    }

    #[tokio::test]
    async fn a_deletion_error_names_the_referring_manifest() {
        let holder = Hasher::digest(Algorithm::Sha256, b"index");
        let error = V2Error::delete(DeleteError::HeldBy(holder.clone()), ErrorCode::BlobUnknown);
        let (status, body) = rendered(error).await;
        assert_eq!((status, &body["errors"][0]["code"]), (405, &"UNSUPPORTED".into()));
        assert_eq!(body["errors"][0]["detail"]["heldBy"], holder.as_str());
        let unknown = V2Error::delete(DeleteError::Unknown, ErrorCode::ManifestUnknown);
        assert_eq!(status_and_code(unknown).await, (404, "MANIFEST_UNKNOWN".into()));
    }
}
