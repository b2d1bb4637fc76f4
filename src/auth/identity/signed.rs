//! Verifies what others signed (RFC 7519, RFC 8725).

use std::fmt;

use jsonwebtoken::{AlgorithmFamily, Validation, decode, decode_header};
use serde_json::{Map, Value};

use super::keys::Keys;
use crate::auth::jws::has_critical_parameters;
use crate::clock::Timestamp;

/// What a token says.
pub(super) type Claims = Map<String, Value>;

/// The longest token that is looked at.
pub(super) const LONGEST: usize = 16 << 10;

/// How far others' clocks may be from this one, in seconds.
const LEEWAY: i64 = 60;

/// Why a token is worth nothing here. It tells nothing of the token but what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Flaw {
    /// It is none, or not signed in a way that others can verify.
    Form,
    /// None of the keys verifies it, or it is for somebody else, or by somebody else.
    Signature(String),
    /// It was good until then, in seconds since the Unix epoch.
    Ended(i64),
    /// It is good from then on.
    Early(i64),
    /// Nothing here is for those of whom it tells.
    NoRule,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form => f.write_str("it is no signed token"),
            Self::Signature(why) => write!(f, "it is not verified: {why}"),
            Self::Ended(at) => write!(f, "it has ended at {}", Timestamp(at.saturating_mul(1000)).rfc3339()),
            Self::Early(at) => write!(f, "it begins at {}", Timestamp(at.saturating_mul(1000)).rfc3339()),
            Self::NoRule => f.write_str("no rule is for what it claims"),
        }
    }
}

/// Whether a text could be a signed token.
pub(in crate::auth) fn looks_signed(text: &[u8]) -> bool {
    text.starts_with(b"eyJ")
        && text.len() <= LONGEST
        && text.iter().filter(|byte| **byte == b'.').count() == 2
        && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

/// Who a token says has issued it, which nobody has verified.
pub(super) fn issuer(token: &[u8]) -> Option<String> {
    let claims: Claims = jsonwebtoken::dangerous::insecure_decode_claims(token).ok()?;
    claims.get("iss")?.as_str().map(str::to_owned)
}

/// Whom tokens are to be by, and for.
pub(super) struct Parties<'a> {
    /// One of these.
    pub(super) issuers: &'a [String],
    pub(super) audience: &'a str,
}

/// What a token says that one of these keys has signed, for this registry, and that is good now. Until when, in seconds
/// since the Unix epoch.
pub(super) async fn verify(
    token: &[u8],
    keys: &Keys,
    parties: Parties<'_>,
    now: Timestamp,
) -> Result<(Claims, i64), Flaw> {
    let header = decode_header(token).map_err(|_| Flaw::Form)?;
    if !looks_signed(token) || header.alg.family() == AlgorithmFamily::Hmac || has_critical_parameters(token)
    {
        return Err(Flaw::Form);
    }
    let keys = keys.fitting(header.kid.as_deref(), header.alg).await;
    let mut validation = Validation::new(header.alg);
    validation.set_issuer(parties.issuers);
    validation.set_audience(&[parties.audience]);
    validation.set_required_spec_claims(&["iss", "aud", "exp"]);
    // Times are compared below, by the clock that all else goes by.
    (validation.validate_exp, validation.validate_nbf) = (false, false);
    let mut flaw = "its key is not known".to_owned();
    for key in keys.iter().filter(|key| key.fits(header.kid.as_deref(), header.alg)) {
        match decode::<Claims>(token, &key.key, &validation) {
            Ok(decoded) => return in_time(decoded.claims, now.0.div_euclid(1000)),
            Err(error) => flaw = error.to_string(),
        }
    }
    Err(Flaw::Signature(flaw))
}

fn in_time(claims: Claims, now: i64) -> Result<(Claims, i64), Flaw> {
    let end = time(&claims, "exp")?.ok_or(Flaw::Form)?;
    if now >= end.saturating_add(LEEWAY) {
        return Err(Flaw::Ended(end));
    }
    let begins = [time(&claims, "nbf")?, time(&claims, "iat")?];
    match begins.into_iter().flatten().find(|at| now < at.saturating_sub(LEEWAY)) {
        Some(at) => Err(Flaw::Early(at)),
        None => Ok((claims, end.saturating_add(LEEWAY))),
    }
}

/// A claim that is a time. One of another type makes the token worth nothing (RFC 7519, section 4.1).
fn time(claims: &Claims, name: &str) -> Result<Option<i64>, Flaw> {
    claims.get(name).map(|value| whole_seconds(value).ok_or(Flaw::Form)).transpose()
}

/// RFC 7519, section 2: a NumericDate may have a fraction.
fn whole_seconds(value: &Value) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "a time too far off is the last that there is")]
    value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64))
}
