//! Tokens: what a client shows instead of a password, for a few minutes and for what it asked for
//! (<https://distribution.github.io/distribution/spec/auth/jwt/>).

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::bearer::{Bearer, TokenClaims, TokenSubject};
use super::fresh::Fresh;
use super::identity::FederatedIdentity;
use super::jws::has_critical_parameters;
use super::key::TokenKey;
use crate::clock::Timestamp;

/// Who signs, and for whom.
const ISSUER: &str = "orlop";

/// Whom those tokens are for that are good for getting others alone.
const RENEWAL: &str = "orlop-renewal";

/// The longest token that is looked at.
const LONGEST: usize = 16 << 10;

/// A token that was issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The token itself.
    pub text: String,
    /// For how long it is good.
    pub lifetime: Duration,
    /// Since when.
    pub issued_at: Timestamp,
}

/// Times are in seconds since the Unix epoch (RFC 7519).
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
    told: T,
}

/// Issues tokens and knows its own again.
pub struct Tokens {
    keys: RwLock<Arc<Keys>>,
    /// Where the key is kept; `None`: nowhere.
    file: Option<PathBuf>,
    validation: Validation,
    lifetime: Duration,
}

/// What tokens are signed with, and what was found by it.
struct Keys {
    signing: EncodingKey,
    verifying: DecodingKey,
    /// The key before, for tokens that it signed until then, in seconds since the Unix epoch.
    before: Option<(DecodingKey, i64)>,
    /// By the hashes of their tokens; until when they are good, in seconds since the Unix epoch.
    verified: Fresh<[u8; 32], Arc<Bearer>, i64>,
}

impl Keys {
    fn of(key: &TokenKey, before: Option<(DecodingKey, i64)>) -> Self {
        Self {
            signing: EncodingKey::from_ed_der(&key.private),
            verifying: DecodingKey::from_ed_der(&key.public),
            before,
            verified: Fresh::default(),
        }
    }

    /// Those that are good for tokens now, and until when.
    fn verifying(&self, now: i64) -> impl Iterator<Item = (&DecodingKey, i64)> {
        let before =
            self.before.iter().filter(move |(_, until)| now < *until).map(|(key, until)| (key, *until));
        std::iter::once((&self.verifying, i64::MAX)).chain(before)
    }
}

impl Tokens {
    /// Tokens that are signed with `key` and good for `lifetime`.
    pub fn new(key: &TokenKey, lifetime: Duration) -> Self {
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[ISSUER]);
        validation.set_required_spec_claims(&["iss", "aud", "exp", "nbf"]);
        // Times are compared here, by the clock that all else goes by.
        validation.validate_exp = false;
        Self { keys: RwLock::new(Arc::new(Keys::of(key, None))), file: None, validation, lifetime }
    }

    /// The same, whose key is in a file, where its successors are kept.
    #[must_use]
    pub fn kept_in(self, file: PathBuf) -> Self {
        Self { file: Some(file), ..self }
    }

    fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Signs with another key from now on. What the one before has signed is good until its end, unless all of it is to
    /// be good no more `at_once`; clients get other tokens then. Blocks.
    ///
    /// # Errors
    /// The key could not be made or kept: the one before is in use still.
    pub fn rotate(&self, at_once: bool, now: Timestamp) -> io::Result<()> {
        let key = self.file.as_deref().map_or_else(TokenKey::random, TokenKey::replace)?;
        let until = now.plus(self.lifetime).0.div_euclid(1000) + 1;
        let before = (!at_once).then(|| (self.keys().verifying.clone(), until));
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Keys::of(&key, before));
        Ok(())
    }

    /// A token.
    ///
    /// # Errors
    /// It could not be signed.
    pub(super) fn issue(&self, bearer: Bearer, now: Timestamp) -> io::Result<Token> {
        let name = bearer.name().unwrap_or_default().to_owned();
        self.signed(ISSUER, name, TokenClaims::of(bearer), self.lifetime, now)
    }

    /// A token by which somebody without an account gets others in this time, and that is good for nothing else.
    ///
    /// # Errors
    /// It could not be signed.
    pub(super) fn renewal(
        &self,
        identity: FederatedIdentity,
        lifetime: Duration,
        now: Timestamp,
    ) -> io::Result<Token> {
        let name = identity.name.to_string();
        let bearer = Bearer { of: TokenSubject::Federated(identity), grants: Vec::new() };
        self.signed(RENEWAL, name, TokenClaims::of(bearer), lifetime, now)
    }

    /// Signs what is told for an audience.
    ///
    /// # Errors
    /// It could not be signed.
    pub(super) fn signed<T: Serialize>(
        &self,
        audience: &str,
        sub: String,
        told: T,
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
            told,
        };
        let text = encode(&Header::new(Algorithm::EdDSA), &claims, &self.keys().signing)
            .map_err(io::Error::other)?;
        Ok(Token { text, lifetime, issued_at: Timestamp(iat.saturating_mul(1000)) })
    }

    /// Whom a token is for, if it is one of these and good now.
    pub(super) fn verify(&self, text: &[u8], now: Timestamp) -> Option<Arc<Bearer>> {
        if text.len() > LONGEST {
            return None;
        }
        let (hash, seconds) = (Sha256::digest(text).into(), now.0.div_euclid(1000));
        let keys = self.keys();
        if let Some(bearer) = keys.verified.get(&hash, &seconds) {
            return Some(bearer);
        }
        let (told, until) = Self::decoded::<TokenClaims>(&keys, self.validation(ISSUER), text, seconds)?;
        let bearer = Arc::new(told.bearer());
        keys.verified.put(hash, Arc::clone(&bearer), until, &seconds);
        Some(bearer)
    }

    /// Whom a token of [`Self::renewal`] is for, if it is good now.
    pub(super) fn renews(&self, text: &[u8], now: Timestamp) -> Option<FederatedIdentity> {
        match self.told::<TokenClaims>(RENEWAL, text, now)?.bearer().of {
            TokenSubject::Federated(identity) => Some(identity),
            TokenSubject::Anonymous | TokenSubject::User(_) | TokenSubject::Delegated(_) => None,
        }
    }

    /// What a token of [`Self::signed`] tells an audience, if it is good now.
    pub(super) fn told<T: DeserializeOwned>(&self, audience: &str, text: &[u8], now: Timestamp) -> Option<T> {
        let seconds = now.0.div_euclid(1000);
        Self::decoded(&self.keys(), self.validation(audience), text, seconds).map(|(told, _)| told)
    }

    fn validation(&self, audience: &str) -> Validation {
        let mut validation = self.validation.clone();
        validation.set_audience(&[audience]);
        validation
    }

    /// What a token tells, and until when it is good. Times are in seconds since the Unix epoch.
    fn decoded<T: DeserializeOwned>(
        keys: &Keys,
        validation: Validation,
        text: &[u8],
        now: i64,
    ) -> Option<(T, i64)> {
        if has_critical_parameters(text) {
            return None;
        }
        let decoded = |(key, until)| Some((decode::<Claims<T>>(text, key, &validation).ok()?.claims, until));
        let (claims, until) = keys.verifying(now).find_map(decoded)?;
        let is_good = (claims.nbf..claims.exp).contains(&now);
        is_good.then(|| (claims.told, claims.exp.min(until)))
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::{Value, json};

    use super::*;
    use crate::auth::bearer::User;
    use crate::auth::scope::Grant;

    const LIFE: Duration = Duration::from_secs(300);
    const NOW: Timestamp = Timestamp(1_700_000_000_000);

    fn tokens() -> Tokens {
        Tokens::new(&TokenKey::random().expect("a key"), LIFE)
    }

    fn bearer() -> Bearer {
        let user = User { name: "ann".into(), print: "1".into(), by: None };
        Bearer {
            of: TokenSubject::User(user),
            grants: vec![Grant::asked("repository:app:pull").expect("a scope")],
        }
    }

    fn after(seconds: i64) -> Timestamp {
        Timestamp(NOW.0 + seconds * 1000)
    }

    #[test]
    fn a_token_is_good_for_its_time() {
        let tokens = tokens();
        let token = tokens.issue(bearer(), NOW).expect("issued").text;
        for _ in 0..2 {
            assert_eq!(tokens.verify(token.as_bytes(), NOW).as_deref(), Some(&bearer()));
            assert_eq!(tokens.verify(token.as_bytes(), after(299)).as_deref(), Some(&bearer()));
            assert_eq!(tokens.verify(token.as_bytes(), after(300)), None, "its time is over");
        }
        let fresh = tokens.issue(bearer(), NOW).expect("issued").text;
        assert_eq!(tokens.verify(fresh.as_bytes(), after(-1)), None, "its time has not begun");
    }

    #[test]
    fn a_token_to_renew_with_is_good_for_nothing_else() {
        let tokens = tokens();
        let identity = FederatedIdentity { name: "ci:job".into(), held: Vec::new(), print: "1".into() };
        let renewal = tokens.renewal(identity.clone(), 2 * LIFE, NOW).expect("signed").text;
        assert_eq!(tokens.renews(renewal.as_bytes(), after(599)), Some(identity.clone()));
        assert_eq!(tokens.renews(renewal.as_bytes(), after(600)), None);
        assert_eq!(tokens.verify(renewal.as_bytes(), NOW), None);
        let bearer = Bearer { of: TokenSubject::Federated(identity), grants: Vec::new() };
        let token = tokens.issue(bearer.clone(), NOW).expect("signed").text;
        assert_eq!(tokens.renews(token.as_bytes(), NOW), None);
        assert_eq!(tokens.verify(token.as_bytes(), NOW).as_deref(), Some(&bearer));
    }

    #[test]
    fn only_what_was_signed_here_is_a_token() {
        let (tokens, others) = (tokens(), tokens());
        let other = others.issue(bearer(), NOW).expect("issued").text;
        assert_eq!(tokens.verify(other.as_bytes(), NOW), None, "another registry's");
        let token = tokens.issue(bearer(), NOW).expect("issued").text;
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            // The last letter of the signature holds bits that mean nothing, and may not differ all the same.
            assert_eq!(tokens.verify(&changed, NOW), None, "changed at {at}");
        }
        for wrong in [&b""[..], b".", b"..", b"...", b"e30.e30.", b"\xff"] {
            assert_eq!(tokens.verify(wrong, NOW), None);
        }
        assert_eq!(tokens.verify(&vec![b'a'; 1 << 20], NOW), None);
    }

    /// A token with another head or other claims, signed with `key` as `alg` says.
    fn forged(alg: Algorithm, key: &EncodingKey, change: impl Fn(&mut Value)) -> String {
        let mut claims = json!({
            "iss": ISSUER, "aud": ISSUER, "sub": "", "iat": 1_700_000_000, "nbf": 1_700_000_000,
            "exp": 1_700_000_300, "jti": "x", "access": [], "user": null,
        });
        change(&mut claims);
        encode(&Header::new(alg), &claims, key).expect("signed")
    }

    #[test]
    fn a_token_says_nothing_of_how_it_is_verified() {
        let key = TokenKey::random().expect("a key");
        let tokens = Tokens::new(&key, LIFE);
        let right = EncodingKey::from_ed_der(&key.private);
        let honest = forged(Algorithm::EdDSA, &right, |_| {});
        assert!(tokens.verify(honest.as_bytes(), NOW).is_some());
        // The public key taken for a shared secret, and no signature at all.
        let confused = forged(Algorithm::HS256, &EncodingKey::from_secret(&key.public), |_| {});
        assert_eq!(tokens.verify(confused.as_bytes(), NOW), None);
        let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
        let claims = honest.split('.').nth(1).expect("claims");
        for unsigned in [format!("{none}.{claims}."), format!("{none}.{claims}.x")] {
            assert_eq!(tokens.verify(unsigned.as_bytes(), NOW), None);
        }
    }

    #[test]
    fn a_token_for_somebody_else_is_none() {
        let key = TokenKey::random().expect("a key");
        let tokens = Tokens::new(&key, LIFE);
        let right = EncodingKey::from_ed_der(&key.private);
        let wrong: [fn(&mut Value); 6] = [
            |claims| claims["aud"] = json!("another"),
            |claims| claims["iss"] = json!("another"),
            |claims| drop(claims.as_object_mut().expect("an object").remove("aud")),
            |claims| drop(claims.as_object_mut().expect("an object").remove("exp")),
            |claims| claims["exp"] = json!(1_600_000_000),
            |claims| claims["nbf"] = json!(1_800_000_000),
        ];
        for change in wrong {
            let forged = forged(Algorithm::EdDSA, &right, change);
            assert_eq!(tokens.verify(forged.as_bytes(), NOW), None);
        }
    }

    #[test]
    fn a_token_with_critical_parameters_is_none() {
        let key = TokenKey::random().expect("a key");
        let tokens = Tokens::new(&key, LIFE);
        let right = EncodingKey::from_ed_der(&key.private);
        let claims = json!({
            "iss": ISSUER, "aud": ISSUER, "sub": "", "iat": 1_700_000_000, "nbf": 1_700_000_000,
            "exp": 1_700_000_300, "jti": "x", "access": [], "user": null,
        });
        let token = |crit| {
            let header = Header { crit, ..Header::new(Algorithm::EdDSA) };
            encode(&header, &claims, &right).expect("signed")
        };
        assert!(tokens.verify(token(None).as_bytes(), NOW).is_some());
        assert_eq!(tokens.verify(token(Some(vec!["exp".into()])).as_bytes(), NOW), None);
    }

    #[test]
    fn another_key_takes_over_and_leaves_what_was_signed_good_or_not() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("tokens.key");
        let tokens = Tokens::new(&TokenKey::load_or_make(&file).expect("a key"), LIFE).kept_in(file.clone());
        let issue = |now| {
            tokens
                .issue(Bearer { of: TokenSubject::Anonymous, grants: Vec::new() }, now)
                .expect("signed")
                .text
        };
        let good = |text: &str, now| tokens.verify(text.as_bytes(), now).is_some();
        let old = issue(NOW);
        tokens.rotate(false, NOW).expect("rotated");
        let new = issue(NOW);
        assert!(good(&old, NOW) && good(&new, NOW));
        let later = NOW.plus(LIFE);
        assert!(!good(&old, later) && good(&issue(later), later));
        tokens.rotate(true, NOW).expect("rotated");
        assert!(!good(&new, NOW), "also what was found to be good");
        let kept = Tokens::new(&TokenKey::load_or_make(&file).expect("a key"), LIFE);
        assert!(kept.verify(issue(NOW).as_bytes(), NOW).is_some(), "it outlives a restart");
    }
}
