//! Parses published public keys: a JSON Web Key Set (RFC 7517), or keys and certificates in PEM (RFC 7468).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{PemObject, SectionKind};
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use crate::errors::{BoxError, Context};
use crate::outbound::OutboundError;

/// How many keys are considered; the rest is ignored.
const MAX_KEYS: usize = 100;

/// Why keys can't be loaded.
#[derive(Debug, Error)]
pub enum KeysError {
    /// The request to the server that publishes them failed.
    #[error(transparent)]
    Outbound(#[from] OutboundError),
    /// The file can't be read.
    #[error(transparent)]
    File(#[from] std::io::Error),
    /// The content is invalid.
    #[error(transparent)]
    Invalid(BoxError),
}

impl From<serde_json::Error> for KeysError {
    fn from(error: serde_json::Error) -> Self {
        Self::Invalid(Context::new("not the expected JSON", error).into())
    }
}

/// A public key.
pub(super) struct PublicKey {
    /// The `kid` by which tokens name the key.
    id: Option<String>,
    /// The only algorithm that the key may be used with, if one is given.
    algorithm: Option<Algorithm>,
    pub(super) key: DecodingKey,
}

impl PublicKey {
    /// Whether the key may verify a token with this key id and algorithm. A token can't choose how it is verified: an
    /// RSA key only verifies RSA signatures, and a public key is never used as a shared secret.
    pub(super) fn fits(&self, id: Option<&str>, algorithm: Algorithm) -> bool {
        // Keys in PEM files have no id.
        let is_named = id.is_none() || self.id.is_none() || id == self.id.as_deref();
        is_named
            && self.algorithm.is_none_or(|own| own == algorithm)
            && self.key.family() == algorithm.family()
            && algorithm.family() != AlgorithmFamily::Hmac
    }
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

/// Parses the keys of a set that verify signatures. Skips all others, because sets are also published for other uses.
pub(super) fn parse_set(text: &[u8]) -> Result<Vec<PublicKey>, KeysError> {
    let Set { keys } = serde_json::from_slice(text)?;
    Ok(keys.into_iter().take(MAX_KEYS).filter_map(parse_jwk).collect())
}

fn parse_jwk(member: Value) -> Option<PublicKey> {
    let jwk: Jwk = serde_json::from_value(member).ok()?;
    if matches!(jwk.common.public_key_use, Some(PublicKeyUse::Encryption)) {
        return None;
    }
    let algorithm = match jwk.common.key_algorithm {
        None => None,
        Some(named) => Some(Algorithm::try_from(named).ok()?),
    };
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    let is_public = key.family() != AlgorithmFamily::Hmac;
    is_public.then_some(PublicKey { id: jwk.common.key_id, algorithm, key })
}

/// Parses the keys of a file: a set, or public keys and certificates in PEM.
pub(super) fn parse_file(text: &[u8]) -> Result<Vec<PublicKey>, KeysError> {
    if text.trim_ascii_start().starts_with(b"{") {
        return parse_set(text);
    }
    let mut keys = Vec::new();
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text).take(MAX_KEYS) {
        let (kind, content) = section.map_err(|error| KeysError::Invalid(error.into()))?;
        keys.push(match kind {
            SectionKind::PublicKey => parse_public_key(&content)?,
            SectionKind::Certificate => parse_certificate(content)?,
            other => {
                let message = format!(
                    "unexpected PEM section {other:?}: only public keys and certificates are allowed"
                );
                return Err(KeysError::Invalid(message.into()));
            }
        });
    }
    if keys.is_empty() {
        return Err(KeysError::Invalid("neither keys in PEM nor a JSON Web Key Set".into()));
    }
    Ok(keys)
}

/// The key of a certificate. The operator trusts the certificate by configuring it, so its dates and issuer don't
/// matter.
fn parse_certificate(content: Vec<u8>) -> Result<PublicKey, KeysError> {
    let certificate = CertificateDer::from(content);
    let parsed = webpki::EndEntityCert::try_from(&certificate);
    let invalid = |error| KeysError::Invalid(Context::new("invalid certificate", error).into());
    let parsed = parsed.map_err(invalid)?;
    parse_public_key(&parsed.subject_public_key_info())
}

/// A key as a SubjectPublicKeyInfo (RFC 5280).
fn parse_public_key(content: &[u8]) -> Result<PublicKey, KeysError> {
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(content));
    let kinds = [DecodingKey::from_rsa_pem, DecodingKey::from_ec_pem, DecodingKey::from_ed_pem];
    let key = kinds.iter().find_map(|read| read(pem.as_bytes()).ok());
    let unknown = || KeysError::Invalid("unsupported public key; RSA, EC and Ed25519 are supported".into());
    Ok(PublicKey { id: None, algorithm: None, key: key.ok_or_else(unknown)? })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn set_yields_only_public_signature_keys() {
        let set = json!({ "keys": [
            { "kty": "EC", "crv": "P-256", "kid": "ec", "use": "sig", "alg": "ES256", "x": "AQ", "y": "AQ" },
            { "kty": "RSA", "kid": "rsa", "n": "AQAB", "e": "AQAB" },
            { "kty": "RSA", "kid": "secret", "use": "enc", "n": "AQAB", "e": "AQAB" },
            { "kty": "RSA", "kid": "oaep", "alg": "RSA-OAEP", "n": "AQAB", "e": "AQAB" },
            { "kty": "oct", "kid": "shared", "k": "AQAB" },
            { "kty": "unheard of" },
            17,
        ]});
        let keys = parse_set(set.to_string().as_bytes()).expect("keys");
        assert_eq!(keys.iter().map(|key| key.id.as_deref()).collect::<Vec<_>>(), [Some("ec"), Some("rsa")]);
        let (ec, rsa) = (&keys[0], &keys[1]);
        assert!(ec.fits(Some("ec"), Algorithm::ES256) && ec.fits(None, Algorithm::ES256));
        assert!(!ec.fits(Some("rsa"), Algorithm::ES256) && !ec.fits(Some("ec"), Algorithm::ES384));
        assert!(rsa.fits(Some("rsa"), Algorithm::PS512) && !rsa.fits(Some("rsa"), Algorithm::HS256));
        for wrong in ["", "{}", r#"{"keys":{}}"#] {
            assert!(parse_set(wrong.as_bytes()).is_err(), "{wrong}");
        }
        for none in [r#"{"keys":[]}"#, r#"{"keys":[{"kty":"oct","k":"AQAB"}]}"#] {
            assert!(parse_set(none.as_bytes()).is_ok_and(|keys| keys.is_empty()), "{none}");
        }
    }

    #[test]
    fn parses_pem_keys_and_certificates() {
        let made = rcgen::generate_simple_self_signed(vec!["registry".to_owned()]).expect("certificate");
        let both = format!("{}{}", made.cert.pem(), made.signing_key.public_key_pem());
        let keys = parse_file(both.as_bytes()).expect("keys");
        assert!(keys.len() == 2 && keys.iter().all(|key| key.fits(Some("any"), Algorithm::ES256)));
        for wrong in [
            &made.signing_key.serialize_pem(),
            "",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ] {
            assert!(parse_file(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
