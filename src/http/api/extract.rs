//! Extractors for the path, the query and the body of a request. Invalid input is a [`Problem`].

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{Extensions, HeaderMap, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error};
use utoipa::IntoParams;

use super::problem::Problem;
use super::rights::check_still_valid;
use super::state::Api;
use crate::metadata::Scope;
use crate::oci::{self, Digest, RepoName};

/// The maximum size of a body in bytes.
const MAX_BODY_BYTES: usize = 64 << 10;

/// The time limit for receiving a body.
const BODY_READ_TIMEOUT: Duration = Duration::from_secs(30);

/// The variables of a path.
pub(super) struct InPath<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Arc<Api>> for InPath<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let path = Path::<T>::from_request_parts(parts, api).await;
        path.map(|Path(value)| Self(value)).map_err(|rejection| Problem::bad(rejection.body_text()))
    }
}

/// The parameters of a query. Unknown parameters are rejected: a misspelt filter must not be ignored.
pub(super) struct InQuery<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Arc<Api>> for InQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _api: &Arc<Api>) -> Result<Self, Problem> {
        let query = Query::<T>::try_from_uri(&parts.uri);
        query.map(|Query(value)| Self(value)).map_err(|rejection| Problem::bad(rejection.body_text()))
    }
}

/// A request with a JSON body: the right to make it, the path or query, and the body. Handlers have no other
/// access to a body, so every change with a body is authorised after the body has arrived.
pub(super) struct WithBody<R, T, P = ()> {
    /// The right. It is checked before the body is read, so that only authorised clients see other errors,
    /// and again afterwards, because the right may be withdrawn while a slow body arrives.
    pub(super) right: R,
    /// The parameters of the path or the query.
    pub(super) parameters: P,
    /// The body.
    pub(super) body: T,
    /// Lets a handler record that the change is made, if it does more afterwards.
    pub(super) audit: AuditSlot,
}

impl<R, T, P> FromRequest<Arc<Api>> for WithBody<R, T, P>
where
    R: FromRequestParts<Arc<Api>, Rejection = Problem> + Send,
    T: DeserializeOwned + AuditBody,
    P: FromRequestParts<Arc<Api>> + Send,
    Problem: From<P::Rejection>,
{
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        R::from_request_parts(&mut parts, api).await?;
        let parameters = P::from_request_parts(&mut parts, api).await?;
        let body = read_body(&parts, body).await?;
        check_still_valid(api, &parts)?;
        let right = R::from_request_parts(&mut parts, api).await?;
        let audit = AuditSlot::of(&parts.extensions);
        let body = parse_body(&body, &audit)?;
        Ok(Self { right, parameters, body, audit })
    }
}

/// The scope and subject that the body of a request names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::http) struct AuditTarget {
    pub(in crate::http) scope: Option<Scope>,
    pub(in crate::http) subject: Option<String>,
}

/// A request body that describes itself for the audit log. Each body does so itself, because only it knows which of its
/// fields are secret.
pub(super) trait AuditBody {
    /// The target that the body names, in addition to the path.
    fn audit_target(&self) -> AuditTarget {
        AuditTarget::default()
    }
}

/// Passes information from a handler to the audit log, in addition to the request's head and the response's status.
#[derive(Clone, Default)]
pub(in crate::http) struct AuditSlot(Arc<SlotState>);

#[derive(Default)]
struct SlotState {
    target: OnceLock<AuditTarget>,
    is_done: AtomicBool,
}

impl AuditSlot {
    /// The slot of a request; an empty one if its result is not recorded.
    pub(in crate::http) fn of(extensions: &Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or_default()
    }

    /// Stores the target that the body names.
    pub(in crate::http) fn fill(&self, target: AuditTarget) {
        let _ = self.0.target.set(target);
    }

    pub(super) fn target(&self) -> Option<&AuditTarget> {
        self.0.target.get()
    }

    pub(super) fn is_done(&self) -> bool {
        self.0.is_done.load(Ordering::Relaxed)
    }

    /// Records that the change is made. A later failure, such as one to read the result, does not undo it.
    pub(in crate::http) fn mark_done(&self) {
        self.0.is_done.store(true, Ordering::Relaxed);
    }
}

async fn read_body(parts: &Parts, body: Body) -> Result<Bytes, Problem> {
    if !is_json(&parts.headers) {
        let detail = "the body must be JSON with the Content-Type application/json";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    read_bytes(body).await
}

/// Reads a body within its limits of size and time.
pub(in crate::http) async fn read_bytes(body: Body) -> Result<Bytes, Problem> {
    match tokio::time::timeout(BODY_READ_TIMEOUT, Limited::new(body, MAX_BODY_BYTES).collect()).await {
        Err(_) => Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "the body arrived too slowly")),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let detail = format!("the body is larger than the limit of {MAX_BODY_BYTES} bytes");
            Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail))
        }
        Ok(Err(_)) => Err(Problem::bad("the body ended early")),
        Ok(Ok(body)) => Ok(body.to_bytes()),
    }
}

fn parse_body<T: DeserializeOwned + AuditBody>(body: &[u8], slot: &AuditSlot) -> Result<T, Problem> {
    // serde would accept an array as a struct, field by field; that is never intended.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(Problem::bad("the body must be a JSON object"));
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let value: T = serde_path_to_error::deserialize(&mut json).map_err(Problem::bad)?;
    slot.fill(value.audit_target());
    json.end().map_err(Problem::bad)?;
    Ok(value)
}

fn is_json(headers: &HeaderMap) -> bool {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let media_type = media_type.split_once(';').map_or(media_type, |(media_type, _parameters)| media_type);
    media_type.trim().eq_ignore_ascii_case("application/json")
}

/// Deserializes a string and parses it.
fn parse_string<'de, T, D>(from: D) -> Result<T, D::Error>
where
    T: FromStr<Err: fmt::Display>,
    D: Deserializer<'de>,
{
    String::deserialize(from)?.parse().map_err(Error::custom)
}

/// The path parameters of a repository.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct RepositoryPath {
    /// The repository, with each slash in its name written as `%2F`.
    #[serde(deserialize_with = "parse_string")]
    #[param(
        value_type = String, max_length = 255, example = "library/app",
        pattern = r"^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$"
    )]
    #[expect(dead_code, reason = "the right has the name")]
    pub(super) name: RepoName,
}

/// The path parameters of a tag.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct TagPath {
    /// The repository, with each slash in its name written as `%2F`.
    #[serde(deserialize_with = "parse_string")]
    #[param(
        value_type = String, max_length = 255, example = "library/app",
        pattern = r"^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$"
    )]
    #[expect(dead_code, reason = "the right has the name")]
    pub(super) name: RepoName,
    /// The tag.
    #[serde(deserialize_with = "parse_string")]
    #[param(value_type = String, example = "latest", pattern = "^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$")]
    pub(super) tag: oci::Tag,
}

/// The path parameters of a manifest.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct ManifestPath {
    /// The repository, with each slash in its name written as `%2F`.
    #[serde(deserialize_with = "parse_string")]
    #[param(
        value_type = String, max_length = 255, example = "library/app",
        pattern = r"^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$"
    )]
    #[expect(dead_code, reason = "the right has the name")]
    pub(super) name: RepoName,
    /// The manifest's digest.
    #[serde(deserialize_with = "parse_string")]
    #[param(
        value_type = String, pattern = "^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$",
        example = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )]
    pub(super) digest: Digest,
}
