//! Verifies tokens signed by others (RFC 7519, RFC 8725).

use jsonwebtoken::{AlgorithmFamily, Validation, decode, decode_header};
use serde_json::{Map, Value};
use thiserror::Error;

use super::keys::Keys;
use crate::auth::jws::{has_critical_parameters, looks_signed};
use crate::clock::Timestamp;
use crate::printable::is_unprintable;

/// The claims of a token.
pub(super) type Claims = Map<String, Value>;

/// The maximum length of a subject in bytes (OpenID Connect Core 1.0, section 2).
const MAX_SUBJECT_LEN: usize = 255;

/// The tolerated difference between the clocks of the issuer and this server, in seconds.
const LEEWAY: i64 = 60;

/// Why a token is rejected. The message reveals nothing else about the token. Times are in seconds since the Unix
/// epoch.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum TokenError {
    /// The text is not a token, or it isn't signed with a public-key algorithm.
    #[error("not a signed token")]
    Malformed,
    /// The issuer has no key that could verify the signature.
    #[error("verification failed: unknown key")]
    UnknownKey,
    /// No key verifies the signature, or the issuer or the audience is wrong.
    #[error("verification failed")]
    Unverified(#[from] jsonwebtoken::errors::Error),
    /// The token expired at this time.
    #[error("expired at {}", rfc3339(*.0))]
    Expired(i64),
    /// The token is not valid before this time.
    #[error("not valid before {}", rfc3339(*.0))]
    NotYetValid(i64),
    /// No rule matches the claims.
    #[error("no rule matches its claims")]
    NoRule,
}

fn rfc3339(seconds: i64) -> String {
    Timestamp(seconds.saturating_mul(1000)).rfc3339()
}

/// The issuer that a token names. This is not verified.
pub(super) fn unverified_issuer(token: &[u8]) -> Option<String> {
    let claims: Claims = jsonwebtoken::dangerous::insecure_decode_claims(token).ok()?;
    claims.get("iss")?.as_str().map(str::to_owned)
}

/// The subject of a token. An invalid subject is rejected and not cleaned up: two subjects could become the same.
pub(super) fn subject(claims: &Claims) -> Option<&str> {
    let subject = claims.get("sub")?.as_str()?;
    let is_valid = (1..=MAX_SUBJECT_LEN).contains(&subject.len()) && !subject.contains(is_unprintable);
    is_valid.then_some(subject)
}

/// The issuers and the audience that a token must name.
pub(super) struct ExpectedParties<'a> {
    /// The token must name one of these.
    pub(super) issuers: &'a [String],
    pub(super) audience: &'a str,
}

/// Verifies a token: its signature, issuer, audience and times. Returns its claims, and its expiry in seconds since the
/// Unix epoch.
pub(super) async fn verify(
    token: &[u8],
    keys: &Keys,
    parties: ExpectedParties<'_>,
    now: Timestamp,
) -> Result<(Claims, i64), TokenError> {
    let header = decode_header(token).map_err(|_| TokenError::Malformed)?;
    if !looks_signed(token) || header.alg.family() == AlgorithmFamily::Hmac || has_critical_parameters(token)
    {
        return Err(TokenError::Malformed);
    }
    let keys = keys.current_for(header.kid.as_deref(), header.alg).await;
    let mut validation = Validation::new(header.alg);
    validation.set_issuer(parties.issuers);
    validation.set_audience(&[parties.audience]);
    validation.set_required_spec_claims(&["iss", "aud", "exp"]);
    // Times are checked in `check_times`, by the registry's own clock.
    validation.validate_exp = false;
    validation.validate_nbf = false;
    let mut failure = TokenError::UnknownKey;
    for key in keys.iter().filter(|key| key.fits(header.kid.as_deref(), header.alg)) {
        match decode::<Claims>(token, &key.key, &validation) {
            Ok(decoded) => return check_times(decoded.claims, now.0.div_euclid(1000)),
            Err(error) => failure = error.into(),
        }
    }
    Err(failure)
}

/// Checks the times of a token. Returns its claims and its expiry, including the leeway.
fn check_times(claims: Claims, now: i64) -> Result<(Claims, i64), TokenError> {
    let end = time(&claims, "exp")?.ok_or(TokenError::Malformed)?;
    if now >= end.saturating_add(LEEWAY) {
        return Err(TokenError::Expired(end));
    }
    let starts = [time(&claims, "nbf")?, time(&claims, "iat")?];
    match starts.into_iter().flatten().find(|at| now < at.saturating_sub(LEEWAY)) {
        Some(at) => Err(TokenError::NotYetValid(at)),
        None => Ok((claims, end.saturating_add(LEEWAY))),
    }
}

/// A claim that is a time. A claim of another type makes the token invalid (RFC 7519, section 4.1).
fn time(claims: &Claims, name: &str) -> Result<Option<i64>, TokenError> {
    claims.get(name).map(|value| whole_seconds(value).ok_or(TokenError::Malformed)).transpose()
}

/// Parses a NumericDate, which may have a fraction (RFC 7519, section 2).
fn whole_seconds(value: &Value) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "the cast saturates")]
    value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64))
}
