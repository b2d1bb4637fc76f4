//! Maps each error to problem details (RFC 9457). Other modules do not set the status of an error.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response as Described};
use utoipa::{IntoResponses, ToSchema};

use crate::errors::Chain;
use crate::http::rejection::{Rejection, basic};
use crate::memory::OutOfMemory;
use crate::metadata::{EdgeKind, MetadataError};
use crate::oci::Digest;
use crate::registry::{
    DeleteError, ManifestError, PointTagError, PutManifestError, RepositoryError, ServiceError, UndoError,
};

/// The media type of problem details.
const MEDIA_TYPE: &str = "application/problem+json";

/// The `Retry-After` of responses to overload, in seconds.
const RETRY_AFTER_SECONDS: u64 = 5;

/// The maximum number of digests that a message names.
const MAX_NAMED_DIGESTS: usize = 10;

/// The problem details of a failed request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// The kind of problem; `about:blank`, because the status says it.
    #[serde(rename = "type")]
    #[schema(format = "uri-reference", examples("about:blank"))]
    pub kind: String,
    /// The status in words.
    pub title: String,
    /// The status of the response.
    #[schema(minimum = 400, maximum = 599)]
    pub status: u16,
    /// A description of the problem for people.
    pub detail: String,
}

impl Problem {
    /// Creates a problem with a status and a description.
    pub fn new(status: StatusCode, detail: impl fmt::Display) -> Self {
        Self {
            kind: "about:blank".into(),
            title: status.canonical_reason().unwrap_or("Error").into(),
            status: status.as_u16(),
            detail: detail.to_string(),
        }
    }

    /// An invalid request (400).
    pub(in crate::http) fn bad(detail: impl fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// Something that does not exist (404).
    pub(in crate::http) fn unknown(detail: impl fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// An internal error (500); the log has the cause.
    pub(in crate::http) fn failed() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error; see the log of the registry")
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, basic());
        }
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            headers.insert(RETRY_AFTER, RETRY_AFTER_SECONDS.into());
        }
        // The web pages show it as a page.
        response.extensions_mut().insert(self);
        response
    }
}

/// The response to a request that a layer rejected.
pub(in crate::http) fn refuse(rejection: Rejection) -> Response {
    let mut response = Problem::new(rejection.status, rejection.message).into_response();
    if let Some((name, value)) = rejection.header {
        response.headers_mut().insert(name, value);
    }
    response
}

/// For requests without path or query parameters, which cannot fail to parse.
impl From<Infallible> for Problem {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl From<ServiceError> for Problem {
    fn from(error: ServiceError) -> Self {
        let status = match &error {
            ServiceError::Full(_) => StatusCode::INSUFFICIENT_STORAGE,
            ServiceError::ReadOnly | ServiceError::OverQuota(_) => StatusCode::FORBIDDEN,
            ServiceError::Busy | ServiceError::OutOfMemory(_) => StatusCode::SERVICE_UNAVAILABLE,
            ServiceError::Failed(cause) => {
                tracing::error!(cause = %Chain(&**cause), "request failed");
                // The cause may name paths, which only the operator may see.
                return Self::failed();
            }
        };
        Self::new(status, error)
    }
}

impl From<MetadataError> for Problem {
    fn from(error: MetadataError) -> Self {
        ServiceError::from(error).into()
    }
}

impl From<OutOfMemory> for Problem {
    fn from(error: OutOfMemory) -> Self {
        ServiceError::from(error).into()
    }
}

impl From<ManifestError> for Problem {
    fn from(error: ManifestError) -> Self {
        match error {
            ManifestError::Unknown | ManifestError::NameUnknown => Self::unknown(error),
            ManifestError::Service(error) => error.into(),
        }
    }
}

impl From<DeleteError> for Problem {
    fn from(error: DeleteError) -> Self {
        match error {
            DeleteError::Unknown => Self::unknown(error),
            DeleteError::Immutable(_) => Self::new(StatusCode::FORBIDDEN, error),
            DeleteError::HeldBy(holder) => Self::new(
                StatusCode::CONFLICT,
                format_args!("the manifest {holder} refers to it; delete that manifest first"),
            ),
            DeleteError::Service(error) => error.into(),
        }
    }
}

impl From<PointTagError> for Problem {
    fn from(error: PointTagError) -> Self {
        match error {
            PointTagError::Unknown => Self::unknown(error),
            PointTagError::Put(PutManifestError::Service(error)) => error.into(),
            PointTagError::Put(error @ PutManifestError::Immutable(_)) => {
                Self::new(StatusCode::FORBIDDEN, error)
            }
            PointTagError::Put(error) => Self::new(StatusCode::CONFLICT, error),
        }
    }
}

impl From<UndoError> for Problem {
    fn from(error: UndoError) -> Self {
        match error {
            UndoError::Unknown | UndoError::NotInHistory | UndoError::Gone(_) => Self::unknown(error),
            UndoError::InUse(_) => Self::new(StatusCode::CONFLICT, error),
            UndoError::Missing(missing) => Self::new(
                StatusCode::CONFLICT,
                format_args!("content no longer exists: {}", list_digests(&missing)),
            ),
            UndoError::Immutable(_) => Self::new(StatusCode::FORBIDDEN, error),
            UndoError::Service(error) => error.into(),
        }
    }
}

impl From<RepositoryError> for Problem {
    fn from(error: RepositoryError) -> Self {
        match error {
            RepositoryError::Unknown => Self::unknown(error),
            RepositoryError::Occupied(_) | RepositoryError::InTrash(_) | RepositoryError::Busy => {
                Self::new(StatusCode::CONFLICT, error)
            }
            RepositoryError::Description => Self::bad(error),
            RepositoryError::Immutable(_) => Self::new(StatusCode::FORBIDDEN, error),
            RepositoryError::Service(error) => error.into(),
        }
    }
}

/// Lists the first of the missing digests.
fn list_digests(missing: &[(Digest, EdgeKind)]) -> String {
    let mut digests: Vec<_> =
        missing.iter().map(|(digest, _)| digest.to_string()).take(MAX_NAMED_DIGESTS).collect();
    if missing.len() > MAX_NAMED_DIGESTS {
        digests.push(format!("and {} more", missing.len() - MAX_NAMED_DIGESTS));
    }
    digests.join(", ")
}

/// The errors that every operation may return.
pub(super) struct Errors;

/// The additional errors of operations that change something.
pub(super) struct ChangeErrors;

impl IntoResponses for Errors {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        describe_errors(&[
            (400, "The request is invalid."),
            (401, "Authentication is required: a user and password, or an access token."),
            (403, "The user lacks the required role."),
            (404, "Not found."),
            (429, "Too many requests or failed logins from this client."),
            (500, "Internal error; the log of the registry has the cause."),
            (503, "The server is short of memory; try again later."),
        ])
    }
}

impl IntoResponses for ChangeErrors {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        describe_errors(&[
            (408, "The body arrived too slowly."),
            (409, "The request conflicts with the current state."),
            (413, "The body is too large."),
            (415, "The body is not JSON."),
            (507, "The disk is full."),
        ])
    }
}

fn describe_errors(errors: &[(u16, &str)]) -> BTreeMap<String, RefOr<Described>> {
    let problem = || ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let describe = |(status, description): &(u16, &str)| {
        let response = ResponseBuilder::new().description(*description).content(MEDIA_TYPE, problem());
        (status.to_string(), response.build().into())
    };
    errors.iter().map(describe).collect()
}
