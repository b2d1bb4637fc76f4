//! Public keys as they are published: a JSON Web Key Set (RFC 7517), or keys and certificates in PEM (RFC 7468).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::{Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{PemObject, SectionKind};
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use crate::outbound::OutboundError;

/// The most keys that are looked at.
const MOST: usize = 100;

/// Why there are no keys.
#[derive(Debug, Error)]
pub enum KeysError {
    /// They are published elsewhere, and could not be got.
    #[error(transparent)]
    Outbound(#[from] OutboundError),
    /// They are in a file that cannot be read.
    #[error(transparent)]
    File(#[from] std::io::Error),
    /// What was got is something else.
    #[error("{0}")]
    Nonsense(String),
}

impl From<serde_json::Error> for KeysError {
    fn from(error: serde_json::Error) -> Self {
        Self::Nonsense(format!("it is no JSON of the right kind: {error}"))
    }
}

/// A public key.
pub(super) struct PublicKey {
    /// What tokens name it by.
    id: Option<String>,
    /// What alone it is for, if that is said.
    algorithm: Option<Algorithm>,
    pub(super) key: DecodingKey,
}

impl PublicKey {
    /// Whether it may be what a token was signed with that names its key and how. A token never chooses how it is
    /// verified: of a key of RSA that is a way of RSA, and no public key is taken for a shared secret.
    pub(super) fn fits(&self, id: Option<&str>, algorithm: Algorithm) -> bool {
        // Files have no names for their keys.
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

/// The keys of a set that verify signatures. Others are left out: nobody publishes them for us alone.
pub(super) fn of_set(text: &[u8]) -> Result<Vec<PublicKey>, KeysError> {
    let Set { keys } = serde_json::from_slice(text)?;
    Ok(keys.into_iter().take(MOST).filter_map(of_jwk).collect())
}

fn of_jwk(member: Value) -> Option<PublicKey> {
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

/// The keys of a file: a set, or public keys and certificates in PEM.
pub(super) fn of_file(text: &[u8]) -> Result<Vec<PublicKey>, KeysError> {
    if text.trim_ascii_start().starts_with(b"{") {
        return of_set(text);
    }
    let mut keys = Vec::new();
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text).take(MOST) {
        let (kind, content) = section.map_err(|error| KeysError::Nonsense(error.to_string()))?;
        keys.push(match kind {
            SectionKind::PublicKey => of_public_key(&content)?,
            SectionKind::Certificate => of_certificate(content)?,
            other => return Err(KeysError::Nonsense(format!("it has a {other:?}, which is not public"))),
        });
    }
    if keys.is_empty() {
        return Err(KeysError::Nonsense("it has neither keys in PEM nor a JSON Web Key Set".into()));
    }
    Ok(keys)
}

/// The key of a certificate. Whoever has the file here says that it is trusted: its dates and its issuer do not matter.
fn of_certificate(content: Vec<u8>) -> Result<PublicKey, KeysError> {
    let certificate = CertificateDer::from(content);
    let parsed = webpki::EndEntityCert::try_from(&certificate);
    let parsed =
        parsed.map_err(|error| KeysError::Nonsense(format!("it has a certificate that is none: {error}")))?;
    of_public_key(&parsed.subject_public_key_info())
}

/// A key as a SubjectPublicKeyInfo (RFC 5280).
fn of_public_key(content: &[u8]) -> Result<PublicKey, KeysError> {
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(content));
    let kinds = [DecodingKey::from_rsa_pem, DecodingKey::from_ec_pem, DecodingKey::from_ed_pem];
    let key = kinds.iter().find_map(|read| read(pem.as_bytes()).ok());
    let unknown = || KeysError::Nonsense("it has a public key that is of neither RSA, EC nor Ed25519".into());
    Ok(PublicKey { id: None, algorithm: None, key: key.ok_or_else(unknown)? })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_public_keys_that_sign_are_taken_of_a_set() {
        let set = json!({ "keys": [
            { "kty": "EC", "crv": "P-256", "kid": "ec", "use": "sig", "alg": "ES256", "x": "AQ", "y": "AQ" },
            { "kty": "RSA", "kid": "rsa", "n": "AQAB", "e": "AQAB" },
            { "kty": "RSA", "kid": "secret", "use": "enc", "n": "AQAB", "e": "AQAB" },
            { "kty": "RSA", "kid": "oaep", "alg": "RSA-OAEP", "n": "AQAB", "e": "AQAB" },
            { "kty": "oct", "kid": "shared", "k": "AQAB" },
            { "kty": "unheard of" },
            17,
        ]});
        let keys = of_set(set.to_string().as_bytes()).expect("keys");
        assert_eq!(keys.iter().map(|key| key.id.as_deref()).collect::<Vec<_>>(), [Some("ec"), Some("rsa")]);
        let (ec, rsa) = (&keys[0], &keys[1]);
        assert!(ec.fits(Some("ec"), Algorithm::ES256) && ec.fits(None, Algorithm::ES256));
        assert!(!ec.fits(Some("rsa"), Algorithm::ES256) && !ec.fits(Some("ec"), Algorithm::ES384));
        assert!(rsa.fits(Some("rsa"), Algorithm::PS512) && !rsa.fits(Some("rsa"), Algorithm::HS256));
        for wrong in ["", "{}", r#"{"keys":{}}"#] {
            assert!(of_set(wrong.as_bytes()).is_err(), "{wrong}");
        }
        for none in [r#"{"keys":[]}"#, r#"{"keys":[{"kty":"oct","k":"AQAB"}]}"#] {
            assert!(of_set(none.as_bytes()).is_ok_and(|keys| keys.is_empty()), "{none}");
        }
    }

    #[test]
    fn files_have_keys_and_certificates() {
        let made = rcgen::generate_simple_self_signed(vec!["registry".to_owned()]).expect("certificate");
        let both = format!("{}{}", made.cert.pem(), made.signing_key.public_key_pem());
        let keys = of_file(both.as_bytes()).expect("keys");
        assert!(keys.len() == 2 && keys.iter().all(|key| key.fits(Some("any"), Algorithm::ES256)));
        for wrong in [
            &made.signing_key.serialize_pem(),
            "",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ] {
            assert!(of_file(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
