//! Generates, hashes and masks passwords and access tokens.

use std::borrow::Cow;
use std::io;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use sha2::{Digest, Sha256};

/// The prefix of every access token, by which secret scanners recognise leaked tokens.
const PREFIX: &str = "orlop_";

fn random_bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| io::Error::other("the system provides no randomness"))?;
    Ok(bytes)
}

/// Generates a password with 120 random bits, without letters that look alike.
///
/// # Errors
/// Fails if the system provides no randomness.
pub(super) fn generate_password() -> io::Result<String> {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let letters = random_bytes::<24>()?.map(|byte| char::from(LETTERS[usize::from(byte % 32)]));
    Ok(letters.chunks(6).map(|part| part.iter().collect::<String>()).collect::<Vec<_>>().join("-"))
}

/// Generates a random token of 256 bits, in hexadecimal.
pub(super) fn generate_nonce() -> io::Result<String> {
    Ok(hex::encode(random_bytes::<32>()?))
}

/// Generates the id of an access token or a session.
pub(super) fn generate_id() -> io::Result<String> {
    Ok(hex::encode(random_bytes::<6>()?))
}

/// A new access token. Its text is shown once; only the id and the hash are stored.
pub(super) struct NewToken {
    pub(super) id: String,
    pub(super) text: String,
    pub(super) hash: [u8; 32],
}

impl NewToken {
    pub(super) fn generate() -> io::Result<Self> {
        let id = generate_id()?;
        let secret = hex::encode(random_bytes::<32>()?);
        let text = format!("{PREFIX}{id}_{secret}");
        Ok(Self { hash: hash_token(text.as_bytes()), id, text })
    }
}

/// The hash that is stored of an access token or the secret of a session. Both are so random that no slow hash is needed.
pub(super) fn hash_token(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// The id of an access token, by which its record is found. `None` if the text is not an access token.
pub(super) fn token_id(token: &[u8]) -> Option<&str> {
    let rest = std::str::from_utf8(token).ok()?.strip_prefix(PREFIX)?;
    rest.split_once('_').map(|(id, _)| id)
}

/// A short hash that identifies a credential and reveals nothing about it.
pub(super) fn credential_fingerprint(credential: &str) -> String {
    let mut fingerprint = hex::encode(Sha256::digest(credential));
    fingerprint.truncate(32);
    fingerprint
}

/// Masks the secrets of access tokens and signed tokens in a text, for example if a token was entered as a user name.
pub fn masked(text: &str) -> Cow<'_, str> {
    if text.starts_with("eyJ") && text.contains('.') {
        return Cow::Borrowed("(token)");
    }
    if !text.contains(PREFIX) {
        return Cow::Borrowed(text);
    }
    let mut parts = text.split(PREFIX);
    let mut masked = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let word = |text: &str| text.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(text.len());
        let (id, rest) = part.split_at(word(part));
        masked.extend([PREFIX, id]);
        match rest.strip_prefix('_') {
            Some(secret) => masked.extend(["_…", &secret[word(secret)..]]),
            None => masked.push_str(rest),
        }
    }
    Cow::Owned(masked)
}

/// Compares hashes in constant time.
pub(super) fn hashes_equal(one: &[u8; 32], other: &[u8; 32]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(one, other).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_id_of_token() {
        let token = NewToken::generate().expect("random");
        assert_eq!(token_id(token.text.as_bytes()), Some(token.id.as_str()));
        assert!(hashes_equal(&token.hash, &hash_token(token.text.as_bytes())));
        assert!(!hashes_equal(&token.hash, &NewToken::generate().expect("random").hash));
        for text in ["", "orlop_", "orlop_abc", "secret", "xorlop_a_b"] {
            assert_eq!(token_id(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn masks_secrets() {
        assert_eq!(masked("/tokens/orlop_abc_def1/x orlop_q"), "/tokens/orlop_abc_…/x orlop_q");
        assert_eq!(masked("orlop_a_borlop_c_d"), "orlop_a_…orlop_c_…");
        assert_eq!(masked("eyJhbGciOiJFZERTQSJ9.e30.c2ln"), "(token)");
        assert_eq!(masked("team/app"), "team/app");
    }

    #[test]
    fn passwords_are_long_and_random() {
        let one = generate_password().expect("random");
        let other = generate_password().expect("random");
        assert!(one != other && one.len() == 27, "{one}");
    }
}
