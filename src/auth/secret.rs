//! Secrets that this registry makes up.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use sha2::{Digest, Sha256};

use std::borrow::Cow;
use std::io;

/// What every access token begins with, so that scanners find those that were left lying about.
const PREFIX: &str = "orlop_";

/// Random bytes.
fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| io::Error::other("the system has no randomness"))?;
    Ok(bytes)
}

/// A password that nobody can guess: 120 bits, without letters that look alike.
///
/// # Errors
/// The system has no randomness.
pub fn password() -> io::Result<String> {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let letters = random::<24>()?.map(|byte| char::from(LETTERS[usize::from(byte % 32)]));
    Ok(letters.chunks(6).map(|part| part.iter().collect::<String>()).collect::<Vec<_>>().join("-"))
}

/// A word of 256 bits that nobody can guess.
pub(super) fn random_word() -> io::Result<String> {
    Ok(hex::encode(random::<32>()?))
}

/// An access token as it is shown once: what it is found by, and all of it.
pub(super) struct NewToken {
    pub(super) id: String,
    pub(super) text: String,
    pub(super) hash: [u8; 32],
}

impl NewToken {
    pub(super) fn random() -> io::Result<Self> {
        let (id, secret) = (hex::encode(random::<6>()?), hex::encode(random::<32>()?));
        let text = format!("{PREFIX}{id}_{secret}");
        Ok(Self { hash: hash(text.as_bytes()), id, text })
    }
}

/// What an access token is kept as: it has so much chance in it that no slow hash is needed.
pub(super) fn hash(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// What an access token is found by; `None` for what is none.
pub(super) fn id(token: &[u8]) -> Option<&str> {
    let rest = std::str::from_utf8(token).ok()?.strip_prefix(PREFIX)?;
    rest.split_once('_').map(|(id, _)| id)
}

/// `text` without the secrets of access tokens and signed tokens that somebody took for something else.
pub fn masked(text: &str) -> Cow<'_, str> {
    if text.starts_with("eyJ") && text.contains('.') {
        return Cow::Borrowed("(token)");
    }
    if !text.contains(PREFIX) {
        return Cow::Borrowed(text);
    }
    let mut parts = text.split(PREFIX);
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let word = |text: &str| text.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(text.len());
        let (id, rest) = part.split_at(word(part));
        shown.extend([PREFIX, id]);
        match rest.strip_prefix('_') {
            Some(secret) => shown.extend(["_…", &secret[word(secret)..]]),
            None => shown.push_str(rest),
        }
    }
    Cow::Owned(shown)
}

/// Whether hashes are the same, in a time that tells nothing of them.
pub(super) fn same(one: &[u8; 32], other: &[u8; 32]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(one, other).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_by_its_id() {
        let token = NewToken::random().expect("random");
        assert_eq!(id(token.text.as_bytes()), Some(token.id.as_str()));
        assert!(same(&token.hash, &hash(token.text.as_bytes())));
        assert!(!same(&token.hash, &NewToken::random().expect("random").hash));
        for text in ["", "orlop_", "orlop_abc", "secret", "xorlop_a_b"] {
            assert_eq!(id(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn what_is_shown_has_no_secret() {
        assert_eq!(masked("/tokens/orlop_abc_def1/x orlop_q"), "/tokens/orlop_abc_…/x orlop_q");
        assert_eq!(masked("orlop_a_borlop_c_d"), "orlop_a_…orlop_c_…");
        assert_eq!(masked("eyJhbGciOiJFZERTQSJ9.e30.c2ln"), "(token)");
        assert_eq!(masked("team/app"), "team/app");
    }

    #[test]
    fn passwords_are_long_and_not_the_same() {
        let (one, other) = (password().expect("random"), password().expect("random"));
        assert!(one != other && one.len() == 27, "{one}");
    }
}
