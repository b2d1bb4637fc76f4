//! Issues and verifies bearer tokens, which clients send instead of a password. A token lasts a few minutes and carries
//! the requested grants (<https://distribution.github.io/distribution/spec/auth/jwt/>).

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use parking_lot::RwLock;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::expiring_cache::ExpiringCache;
use super::jws::{MAX_TOKEN_LEN, has_critical_parameters};
use super::key::TokenKey;
use super::principal::{Bearer, FederatedIdentity, TokenSubject, User};
use super::scope::Grant;
use crate::clock::Timestamp;

/// The issuer of all tokens, and the audience of bearer tokens.
const ISSUER: &str = "orlop";

/// The audience of federated refresh tokens, which clients can only exchange for bearer tokens.
const FEDERATED_REFRESH_AUDIENCE: &str = "orlop-renewal";

/// An issued token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The signed token.
    pub text: String,
    /// How long it is valid, from `issued_at` on.
    pub lifetime: Duration,
    /// When it was issued.
    pub issued_at: Timestamp,
}

/// The claims of a token. Times are in seconds since the Unix epoch (RFC 7519).
#[derive(Serialize, Deserialize)]
struct Claims<T> {
    iss: String,
    aud: String,
    sub: String,
    iat: i64,
    nbf: i64,
    exp: i64,
    jti: String,
    #[serde(flatten)]
    payload: T,
}

/// The private claims of a bearer token.
#[derive(Serialize, Deserialize)]
struct TokenClaims {
    access: Vec<Grant>,
    user: Option<User>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    identity: Option<FederatedIdentity>,
}

impl TokenClaims {
    fn of(bearer: Bearer) -> Self {
        let (user, identity) = match bearer.subject {
            TokenSubject::User(user) => (Some(user), None),
            TokenSubject::Federated(identity) => (None, Some(identity)),
            // The token authority issues the tokens of its clients, not this server.
            TokenSubject::Anonymous | TokenSubject::AuthorityClient(_) => (None, None),
        };
        Self { access: bearer.grants, user, identity }
    }

    fn into_bearer(self) -> Bearer {
        let subject = match (self.user, self.identity) {
            (Some(user), _) => TokenSubject::User(user),
            (None, Some(identity)) => TokenSubject::Federated(identity),
            (None, None) => TokenSubject::Anonymous,
        };
        Bearer { subject, grants: self.access }
    }
}

/// Issues and verifies the tokens of this registry.
pub struct Tokens {
    keys: RwLock<Arc<Keys>>,
    /// The file that stores the key; `None` if the key is only in memory.
    key_file: Option<PathBuf>,
    validation: Validation,
    lifetime: Duration,
}

/// The keys, and a cache of the tokens verified with them.
struct Keys {
    signing: EncodingKey,
    verifying: DecodingKey,
    /// The previous key, and until when its tokens are accepted, in seconds since the Unix epoch.
    previous: Option<(DecodingKey, i64)>,
    /// Verified tokens by their hash. Expiry is in seconds since the Unix epoch.
    verified: ExpiringCache<[u8; 32], Arc<Bearer>, i64>,
}

impl Keys {
    fn new(key: &TokenKey, previous: Option<(DecodingKey, i64)>) -> Self {
        Self {
            signing: EncodingKey::from_ed_der(&key.private),
            verifying: DecodingKey::from_ed_der(&key.public),
            previous,
            verified: ExpiringCache::default(),
        }
    }

    /// The keys that tokens may be signed with, and until when each is accepted.
    fn verifying_keys(&self, now: i64) -> impl Iterator<Item = (&DecodingKey, i64)> {
        let previous =
            self.previous.iter().filter(move |(_, until)| now < *until).map(|(key, until)| (key, *until));
        std::iter::once((&self.verifying, i64::MAX)).chain(previous)
    }
}

impl Tokens {
    /// Signs tokens with `key`; they are valid for `lifetime`.
    pub fn new(key: &TokenKey, lifetime: Duration) -> Self {
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[ISSUER]);
        validation.set_required_spec_claims(&["iss", "aud", "exp", "nbf"]);
        // Times are checked in `decode_payload`, by the registry's own clock.
        validation.validate_exp = false;
        Self { keys: RwLock::new(Arc::new(Keys::new(key, None))), key_file: None, validation, lifetime }
    }

    /// Makes [`Self::rotate`] store each new key in this file.
    #[must_use]
    pub fn with_key_file(self, file: PathBuf) -> Self {
        Self { key_file: Some(file), ..self }
    }

    fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read())
    }

    /// Replaces the signing key. Tokens signed with the old key stay valid until they expire. With `at_once` they
    /// become invalid immediately, and clients must request new ones. Blocks.
    ///
    /// # Errors
    /// Fails if the new key can't be generated or stored. The old key then stays in use.
    pub fn rotate(&self, at_once: bool, now: Timestamp) -> io::Result<()> {
        let key = self.key_file.as_deref().map_or_else(TokenKey::random, TokenKey::replace)?;
        let until = now.plus(self.lifetime).0.div_euclid(1000) + 1;
        let previous = (!at_once).then(|| (self.keys().verifying.clone(), until));
        *self.keys.write() = Arc::new(Keys::new(&key, previous));
        Ok(())
    }

    /// Issues a bearer token.
    pub(super) fn issue(&self, bearer: Bearer, now: Timestamp) -> io::Result<Token> {
        let name = bearer.name().unwrap_or_default().to_owned();
        self.sign(ISSUER, name, TokenClaims::of(bearer), self.lifetime, now)
    }

    /// Issues a federated refresh token, which an external identity can only exchange for bearer tokens.
    pub(super) fn issue_federated_refresh_token(
        &self,
        identity: FederatedIdentity,
        lifetime: Duration,
        now: Timestamp,
    ) -> io::Result<Token> {
        let name = identity.name.to_string();
        let bearer = Bearer { subject: TokenSubject::Federated(identity), grants: Vec::new() };
        self.sign(FEDERATED_REFRESH_AUDIENCE, name, TokenClaims::of(bearer), lifetime, now)
    }

    /// Signs a payload for an audience.
    pub(super) fn sign<T: Serialize>(
        &self,
        audience: &str,
        sub: String,
        payload: T,
        lifetime: Duration,
        now: Timestamp,
    ) -> io::Result<Token> {
        let iat = now.0.div_euclid(1000);
        let claims = Claims {
            iss: ISSUER.into(),
            aud: audience.into(),
            sub,
            iat,
            nbf: iat,
            exp: iat.saturating_add_unsigned(lifetime.as_secs()),
            jti: Uuid::new_v4().simple().to_string(),
            payload,
        };
        let text = encode(&Header::new(Algorithm::EdDSA), &claims, &self.keys().signing)
            .map_err(io::Error::other)?;
        Ok(Token { text, lifetime, issued_at: Timestamp(iat.saturating_mul(1000)) })
    }

    /// Verifies a bearer token. `None` if it is invalid or expired.
    pub(super) fn verify(&self, text: &[u8], now: Timestamp) -> Option<Arc<Bearer>> {
        if text.len() > MAX_TOKEN_LEN {
            return None;
        }
        let hash = Sha256::digest(text).into();
        let seconds = now.0.div_euclid(1000);
        let keys = self.keys();
        if let Some(bearer) = keys.verified.get(&hash, &seconds) {
            return Some(bearer);
        }
        let (claims, until) =
            Self::decode_payload::<TokenClaims>(&keys, self.validation(ISSUER), text, seconds)?;
        let bearer = Arc::new(claims.into_bearer());
        keys.verified.put(hash, Arc::clone(&bearer), until, &seconds);
        Some(bearer)
    }

    /// Verifies a token of [`Self::issue_federated_refresh_token`]. `None` if it is invalid or expired.
    pub(super) fn verify_federated_refresh_token(
        &self,
        text: &[u8],
        now: Timestamp,
    ) -> Option<FederatedIdentity> {
        match self.verify_payload::<TokenClaims>(FEDERATED_REFRESH_AUDIENCE, text, now)?.into_bearer().subject
        {
            TokenSubject::Federated(identity) => Some(identity),
            TokenSubject::Anonymous | TokenSubject::User(_) | TokenSubject::AuthorityClient(_) => None,
        }
    }

    /// Verifies a token of [`Self::sign`] for an audience. `None` if it is invalid or expired.
    pub(super) fn verify_payload<T: DeserializeOwned>(
        &self,
        audience: &str,
        text: &[u8],
        now: Timestamp,
    ) -> Option<T> {
        let seconds = now.0.div_euclid(1000);
        Self::decode_payload(&self.keys(), self.validation(audience), text, seconds)
            .map(|(payload, _)| payload)
    }

    fn validation(&self, audience: &str) -> Validation {
        let mut validation = self.validation.clone();
        validation.set_audience(&[audience]);
        validation
    }

    /// Verifies a token and returns its payload and its expiry. Times are in seconds since the Unix epoch.
    fn decode_payload<T: DeserializeOwned>(
        keys: &Keys,
        validation: Validation,
        text: &[u8],
        now: i64,
    ) -> Option<(T, i64)> {
        if has_critical_parameters(text) {
            return None;
        }
        let verify = |(key, until)| Some((decode::<Claims<T>>(text, key, &validation).ok()?.claims, until));
        let (claims, until) = keys.verifying_keys(now).find_map(verify)?;
        let is_valid_now = (claims.nbf..claims.exp).contains(&now);
        is_valid_now.then(|| (claims.payload, claims.exp.min(until)))
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::{Value, json};

    use super::*;

    const LIFETIME: Duration = Duration::from_secs(300);
    const NOW: Timestamp = Timestamp(1_700_000_000_000);

    fn tokens() -> Tokens {
        Tokens::new(&TokenKey::random().expect("a key"), LIFETIME)
    }

    fn bearer() -> Bearer {
        let user = User { name: "ann".into(), credential_fingerprint: "1".into(), access_token_id: None };
        Bearer {
            subject: TokenSubject::User(user),
            grants: vec![Grant::parse("repository:app:pull").expect("a scope")],
        }
    }

    fn after(seconds: i64) -> Timestamp {
        Timestamp(NOW.0 + seconds * 1000)
    }

    #[test]
    fn token_is_valid_until_it_expires() {
        let tokens = tokens();
        let token = tokens.issue(bearer(), NOW).expect("issued").text;
        for _ in 0..2 {
            assert_eq!(tokens.verify(token.as_bytes(), NOW).as_deref(), Some(&bearer()));
            assert_eq!(tokens.verify(token.as_bytes(), after(299)).as_deref(), Some(&bearer()));
            assert_eq!(tokens.verify(token.as_bytes(), after(300)), None, "expired");
        }
        let future = tokens.issue(bearer(), NOW).expect("issued").text;
        assert_eq!(tokens.verify(future.as_bytes(), after(-1)), None, "not valid yet");
    }

    #[test]
    fn renewal_token_is_no_bearer_token() {
        let tokens = tokens();
        let identity =
            FederatedIdentity { name: "ci:job".into(), roles: Vec::new(), settings_fingerprint: "1".into() };
        let renewal =
            tokens.issue_federated_refresh_token(identity.clone(), 2 * LIFETIME, NOW).expect("signed").text;
        assert_eq!(
            tokens.verify_federated_refresh_token(renewal.as_bytes(), after(599)),
            Some(identity.clone())
        );
        assert_eq!(tokens.verify_federated_refresh_token(renewal.as_bytes(), after(600)), None);
        assert_eq!(tokens.verify(renewal.as_bytes(), NOW), None);
        let bearer = Bearer { subject: TokenSubject::Federated(identity), grants: Vec::new() };
        let token = tokens.issue(bearer.clone(), NOW).expect("signed").text;
        assert_eq!(tokens.verify_federated_refresh_token(token.as_bytes(), NOW), None);
        assert_eq!(tokens.verify(token.as_bytes(), NOW).as_deref(), Some(&bearer));
    }

    #[test]
    fn rejects_tokens_not_signed_by_this_registry() {
        let other_registry = tokens();
        let tokens = tokens();
        let other = other_registry.issue(bearer(), NOW).expect("issued").text;
        assert_eq!(tokens.verify(other.as_bytes(), NOW), None, "another registry's");
        let token = tokens.issue(bearer(), NOW).expect("issued").text;
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            // This includes the unused bits in the last letter of the signature: they must not differ either.
            assert_eq!(tokens.verify(&changed, NOW), None, "changed at {at}");
        }
        for malformed in [&b""[..], b".", b"..", b"...", b"e30.e30.", b"\xff"] {
            assert_eq!(tokens.verify(malformed, NOW), None);
        }
        assert_eq!(tokens.verify(&vec![b'a'; 1 << 20], NOW), None);
    }

    /// A token with this algorithm in its header and with changed claims, signed with `key`.
    fn forged(alg: Algorithm, key: &EncodingKey, change: impl Fn(&mut Value)) -> String {
        let mut claims = json!({
            "iss": ISSUER, "aud": ISSUER, "sub": "", "iat": 1_700_000_000, "nbf": 1_700_000_000,
            "exp": 1_700_000_300, "jti": "x", "access": [], "user": null,
        });
        change(&mut claims);
        encode(&Header::new(alg), &claims, key).expect("signed")
    }

    #[test]
    fn token_cannot_choose_signature_algorithm() {
        let key = TokenKey::random().expect("a key");
        let tokens = Tokens::new(&key, LIFETIME);
        let signing_key = EncodingKey::from_ed_der(&key.private);
        let valid = forged(Algorithm::EdDSA, &signing_key, |_| {});
        assert!(tokens.verify(valid.as_bytes(), NOW).is_some());
        // A token signed with the public key as a shared secret, and tokens without a signature.
        let signed_with_public_key = forged(Algorithm::HS256, &EncodingKey::from_secret(&key.public), |_| {});
        assert_eq!(tokens.verify(signed_with_public_key.as_bytes(), NOW), None);
        let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
        let claims = valid.split('.').nth(1).expect("claims");
        for unsigned in [format!("{none}.{claims}."), format!("{none}.{claims}.x")] {
            assert_eq!(tokens.verify(unsigned.as_bytes(), NOW), None);
        }
    }

    #[test]
    fn rejects_wrong_issuer_audience_and_times() {
        let key = TokenKey::random().expect("a key");
        let tokens = Tokens::new(&key, LIFETIME);
        let signing_key = EncodingKey::from_ed_der(&key.private);
        let changes: [fn(&mut Value); 6] = [
            |claims| claims["aud"] = json!("another"),
            |claims| claims["iss"] = json!("another"),
            |claims| drop(claims.as_object_mut().expect("an object").remove("aud")),
            |claims| drop(claims.as_object_mut().expect("an object").remove("exp")),
            |claims| claims["exp"] = json!(1_600_000_000),
            |claims| claims["nbf"] = json!(1_800_000_000),
        ];
        for change in changes {
            let forged = forged(Algorithm::EdDSA, &signing_key, change);
            assert_eq!(tokens.verify(forged.as_bytes(), NOW), None);
        }
    }

    #[test]
    fn rejects_critical_header_parameters() {
        let key = TokenKey::random().expect("a key");
        let tokens = Tokens::new(&key, LIFETIME);
        let signing_key = EncodingKey::from_ed_der(&key.private);
        let claims = json!({
            "iss": ISSUER, "aud": ISSUER, "sub": "", "iat": 1_700_000_000, "nbf": 1_700_000_000,
            "exp": 1_700_000_300, "jti": "x", "access": [], "user": null,
        });
        let token = |crit| {
            let header = Header { crit, ..Header::new(Algorithm::EdDSA) };
            encode(&header, &claims, &signing_key).expect("signed")
        };
        assert!(tokens.verify(token(None).as_bytes(), NOW).is_some());
        assert_eq!(tokens.verify(token(Some(vec!["exp".into()])).as_bytes(), NOW), None);
    }

    #[test]
    fn rotation_keeps_or_revokes_old_tokens() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("tokens.key");
        let tokens = Tokens::new(&TokenKey::load_or_create(&file).expect("a key"), LIFETIME)
            .with_key_file(file.clone());
        let issue = |now| {
            tokens
                .issue(Bearer { subject: TokenSubject::Anonymous, grants: Vec::new() }, now)
                .expect("signed")
                .text
        };
        let is_valid = |text: &str, now| tokens.verify(text.as_bytes(), now).is_some();
        let old = issue(NOW);
        tokens.rotate(false, NOW).expect("rotated");
        let new = issue(NOW);
        assert!(is_valid(&old, NOW) && is_valid(&new, NOW));
        let later = NOW.plus(LIFETIME);
        assert!(!is_valid(&old, later) && is_valid(&issue(later), later));
        tokens.rotate(true, NOW).expect("rotated");
        assert!(!is_valid(&new, NOW), "cached verifications are dropped too");
        let reloaded = Tokens::new(&TokenKey::load_or_create(&file).expect("a key"), LIFETIME);
        assert!(reloaded.verify(issue(NOW).as_bytes(), NOW).is_some(), "the new key is stored in the file");
    }
}
