//! What a request brings: its path, its query, its body. What is wrong with them is a [`Problem`].

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
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

/// A body of JSON.
pub(super) struct InBody<T>(pub(super) T);

impl<T: DeserializeOwned + About> FromRequest<Arc<Api>> for InBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            let detail = "the body must be JSON, and its Content-Type must say so";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }
        let slot = Slot::of(request.extensions());
        let (head, body) = request.into_parts();
        let body = Limited::new(body, MOST_BYTES).collect();
        let body = match tokio::time::timeout(PATIENCE, body).await {
            Err(_) => return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "the body came too slowly")),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                let detail = format!("a body may have at most {MOST_BYTES} bytes");
                return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
            }
            Ok(Err(_)) => return Err(Problem::bad("the body ended before its time")),
            Ok(Ok(body)) => body.to_bytes(),
        };
        api.check_still(&head)?;
        // serde takes a list for a struct, field by field; nobody means that.
        if body.trim_ascii_start().first() != Some(&b'{') {
            return Err(Problem::bad("the body must be a JSON object"));
        }
        let mut json = serde_json::Deserializer::from_slice(&body);
        let value: T = serde_path_to_error::deserialize(&mut json).map_err(Problem::bad)?;
        slot.fill(value.about());
        json.end().map_err(Problem::bad)?;
        Ok(Self(value))
    }
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
