//! What a request brings: its path, its query, its body. What is wrong with them is a [`Problem`].

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error};
use utoipa::IntoParams;

use super::{Api, Problem};
use crate::http::audit::{About, Slot};
use crate::oci::{self, Digest, RepoName};

/// The most bytes of a body.
const MOST_BYTES: usize = 64 << 10;

/// How long a body may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The variables of a path.
pub(super) struct InPath<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Arc<Api>> for InPath<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let path = Path::<T>::from_request_parts(parts, api).await;
        path.map(|Path(value)| Self(value)).map_err(|rejection| Problem::bad(rejection.body_text()))
    }
}

/// The parameters of a query. One that is unknown is refused: a misspelt filter must not look like none.
pub(super) struct InQuery<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Arc<Api>> for InQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _api: &Arc<Api>) -> Result<Self, Problem> {
        let query = Query::<T>::try_from_uri(&parts.uri);
        query.map(|Query(value)| Self(value)).map_err(|rejection| Problem::bad(rejection.body_text()))
    }
}

/// A request with a body of JSON: the right to make it, what its head names, and the body. There is no other way to a
/// body, so every change that has one decides its right when the body has come.
pub(super) struct WithBody<R, T, P = ()> {
    /// The right. Decided before the body is read, so that only those who have it learn what is wrong with the rest, and
    /// again afterwards: a body may take its time, and the right may be gone by then.
    pub(super) right: R,
    /// What the path or the query names.
    pub(super) head: P,
    /// The body.
    pub(super) body: T,
    /// Where a handler notes that the change is made, if it does more after that.
    pub(super) slot: Slot,
}

impl<R, T, P> FromRequest<Arc<Api>> for WithBody<R, T, P>
where
    R: FromRequestParts<Arc<Api>, Rejection = Problem> + Send,
    T: DeserializeOwned + About,
    P: FromRequestParts<Arc<Api>> + Send,
    Problem: From<P::Rejection>,
{
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        R::from_request_parts(&mut parts, api).await?;
        let head = P::from_request_parts(&mut parts, api).await?;
        let body = read_body(&parts, body).await?;
        api.check_still(&parts)?;
        let right = R::from_request_parts(&mut parts, api).await?;
        let slot = Slot::of(&parts.extensions);
        let body = parse_body(&body, &slot)?;
        Ok(Self { right, head, body, slot })
    }
}

async fn read_body(parts: &Parts, body: Body) -> Result<Bytes, Problem> {
    if !is_json(&parts.headers) {
        let detail = "the body must be JSON, and its Content-Type must say so";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    match tokio::time::timeout(PATIENCE, Limited::new(body, MOST_BYTES).collect()).await {
        Err(_) => Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "the body came too slowly")),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let detail = format!("a body may have at most {MOST_BYTES} bytes");
            Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail))
        }
        Ok(Err(_)) => Err(Problem::bad("the body ended before its time")),
        Ok(Ok(body)) => Ok(body.to_bytes()),
    }
}

fn parse_body<T: DeserializeOwned + About>(body: &[u8], slot: &Slot) -> Result<T, Problem> {
    // serde takes a list for a struct, field by field; nobody means that.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(Problem::bad("the body must be a JSON object"));
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let value: T = serde_path_to_error::deserialize(&mut json).map_err(Problem::bad)?;
    slot.fill(value.about());
    json.end().map_err(Problem::bad)?;
    Ok(value)
}

fn is_json(headers: &HeaderMap) -> bool {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let (media_type, _parameters) = media_type.split_once(';').unwrap_or((media_type, ""));
    media_type.trim().eq_ignore_ascii_case("application/json")
}

/// Reads what has a grammar of its own.
fn parsed<'de, T, D>(from: D) -> Result<T, D::Error>
where
    T: FromStr<Err: fmt::Display>,
    D: Deserializer<'de>,
{
    String::deserialize(from)?.parse().map_err(Error::custom)
}

/// A repository in a path.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct OfRepository {
    /// The repository, with each slash in its name written as `%2F`.
    #[serde(deserialize_with = "parsed")]
    #[param(
        value_type = String, max_length = 255, example = "library/app",
        pattern = r"^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$"
    )]
    #[allow(dead_code, reason = "what was decided for the repository has its name")]
    pub(super) name: RepoName,
}

/// A tag in a path.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct OfTag {
    /// The repository, with each slash in its name written as `%2F`.
    #[serde(deserialize_with = "parsed")]
    #[param(
        value_type = String, max_length = 255, example = "library/app",
        pattern = r"^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$"
    )]
    #[allow(dead_code, reason = "what was decided for the repository has its name")]
    pub(super) name: RepoName,
    /// The tag.
    #[serde(deserialize_with = "parsed")]
    #[param(value_type = String, example = "latest", pattern = "^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$")]
    pub(super) tag: oci::Tag,
}

/// A manifest in a path.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct OfManifest {
    /// The repository, with each slash in its name written as `%2F`.
    #[serde(deserialize_with = "parsed")]
    #[param(
        value_type = String, max_length = 255, example = "library/app",
        pattern = r"^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$"
    )]
    #[allow(dead_code, reason = "what was decided for the repository has its name")]
    pub(super) name: RepoName,
    /// The manifest's digest.
    #[serde(deserialize_with = "parsed")]
    #[param(
        value_type = String, pattern = "^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$",
        example = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    )]
    pub(super) digest: Digest,
}
