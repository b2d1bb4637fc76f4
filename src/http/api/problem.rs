//! What each error is on this wire: problem details, as RFC 9457 has them. Nowhere else.

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

use crate::http::challenge::basic;
use crate::memory::OutOfMemory;
use crate::metadata::EdgeKind;
use crate::oci::Digest;
use crate::registry::{
    DeleteError, ManifestError, PointTagError, PutManifestError, RepositoryError, ServiceError, UndoError,
};

/// The media type of problem details.
const MEDIA_TYPE: &str = "application/problem+json";

/// When to come back after "too many", in seconds.
const RETRY: u64 = 5;

/// How many digests are named at most.
const MOST_NAMED: usize = 10;

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// What kind of problem it is: none that the status does not tell.
    #[serde(rename = "type")]
    #[schema(format = "uri-reference", examples("about:blank"))]
    pub kind: String,
    /// The status, in words.
    pub title: String,
    /// The response's status.
    #[schema(minimum = 400, maximum = 599)]
    pub status: u16,
    /// What is wrong, for people.
    pub detail: String,
}

impl Problem {
    /// A problem that `detail` describes.
    pub fn new(status: StatusCode, detail: impl fmt::Display) -> Self {
        Self {
            kind: "about:blank".into(),
            title: status.canonical_reason().unwrap_or("Error").into(),
            status: status.as_u16(),
            detail: detail.to_string(),
        }
    }

    /// A wrong request.
    pub(super) fn bad(detail: impl fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// There is no such thing.
    pub(super) fn unknown(detail: impl fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// The registry's own fault, which its log tells of.
    pub(super) fn failed() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the registry failed to do this; its log says why")
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
            headers.insert(RETRY_AFTER, RETRY.into());
        }
        response
    }
}

/// For heads that name nothing.
impl From<Infallible> for Problem {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl From<ServiceError> for Problem {
    fn from(fault: ServiceError) -> Self {
        let status = match &fault {
            ServiceError::Full(_) => StatusCode::INSUFFICIENT_STORAGE,
            ServiceError::ReadOnly | ServiceError::OverQuota(_) => StatusCode::FORBIDDEN,
            ServiceError::Busy | ServiceError::OutOfMemory(_) => StatusCode::SERVICE_UNAVAILABLE,
            ServiceError::Failed(cause) => {
                tracing::error!(cause, "a request failed");
                // The cause may name paths, and is the operator's to read.
                return Self::failed();
            }
        };
        Self::new(status, fault)
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
            ManifestError::Service(fault) => fault.into(),
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
                format_args!("the manifest {holder} refers to it: delete that first"),
            ),
            DeleteError::Service(fault) => fault.into(),
        }
    }
}

impl From<PointTagError> for Problem {
    fn from(error: PointTagError) -> Self {
        match error {
            PointTagError::Unknown => Self::unknown(error),
            PointTagError::Put(PutManifestError::Service(fault)) => fault.into(),
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
            UndoError::Missing(missing) => {
                Self::new(StatusCode::CONFLICT, format_args!("these are gone: {}", named(&missing)))
            }
            UndoError::Immutable(_) => Self::new(StatusCode::FORBIDDEN, error),
            UndoError::Service(fault) => fault.into(),
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
            RepositoryError::Immutable(_) => Self::new(StatusCode::FORBIDDEN, error),
            RepositoryError::Service(fault) => fault.into(),
        }
    }
}

/// The first few of what is missing.
fn named(missing: &[(Digest, EdgeKind)]) -> String {
    let mut digests: Vec<_> = missing.iter().map(|(digest, _)| digest.to_string()).take(MOST_NAMED).collect();
    if missing.len() > MOST_NAMED {
        digests.push(format!("and {} more", missing.len() - MOST_NAMED));
    }
    digests.join(", ")
}

/// What every operation may be refused with.
pub(super) struct Refusals;

/// What an operation that changes something may be refused with besides.
pub(super) struct ChangeRefusals;

impl IntoResponses for Refusals {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        described(&[
            (400, "Something is wrong with the request."),
            (401, "It is for users: a user and password, or an access token, open it."),
            (403, "It is not for this user."),
            (404, "There is no such thing."),
            (429, "Too many requests or failed logins of this client."),
            (500, "The registry failed; its log says why."),
            (503, "The server is short of memory; try again later."),
        ])
    }
}

impl IntoResponses for ChangeRefusals {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        described(&[
            (408, "The body came too slowly."),
            (409, "It contradicts what is there."),
            (413, "The body is too large."),
            (415, "The body is no JSON."),
            (507, "The disk is full."),
        ])
    }
}

fn described(refusals: &[(u16, &str)]) -> BTreeMap<String, RefOr<Described>> {
    let problem = || ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let describe = |(status, description): &(u16, &str)| {
        let response = ResponseBuilder::new().description(*description).content(MEDIA_TYPE, problem());
        (status.to_string(), response.build().into())
    };
    refusals.iter().map(describe).collect()
}
