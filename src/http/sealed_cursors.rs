//! Encrypts page positions. A position can be the name of a repository that the client may not see; clients send it
//! back to get the next page and must not be able to read it.

use std::sync::LazyLock;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::rand;

/// The prefix of a sealed position. No name of a repository or tag starts with it, nor does a number.
const MARK: char = '~';

/// The longest text that is decrypted.
const MAX_LENGTH: usize = 2048;

/// The key, which each process generates: positions are for the next page and need not survive a restart.
static KEY: LazyLock<Option<RandomizedNonceKey>> = LazyLock::new(|| {
    let mut key = [0; 32];
    rand::fill(&mut key).ok()?;
    RandomizedNonceKey::new(&AES_256_GCM, &key).ok()
});

/// Encrypts `place`. `None` if the system has no randomness.
pub(super) fn seal(place: &str) -> Option<String> {
    let mut sealed = place.as_bytes().to_vec();
    let nonce = KEY.as_ref()?.seal_in_place_append_tag(Aad::empty(), &mut sealed).ok()?;
    Some(format!("{MARK}{}{}", hex::encode(nonce.as_ref()), hex::encode(sealed)))
}

/// Whether a text has the form of a sealed position.
pub(super) fn is_sealed(text: &str) -> bool {
    text.starts_with(MARK)
}

/// Decrypts `text`, if [`seal`] encrypted it in this process.
pub(super) fn open(text: &str) -> Option<String> {
    let bytes = hex::decode(text.strip_prefix(MARK).filter(|text| text.len() <= MAX_LENGTH)?).ok()?;
    let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut sealed = sealed.to_vec();
    let place = KEY.as_ref()?.open_in_place(nonce, Aad::empty(), &mut sealed).ok()?;
    String::from_utf8(place.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_position_is_unreadable_and_opens_again() {
        let sealed = seal("1700000000000:secret/app").expect("sealed");
        assert!(is_sealed(&sealed) && !sealed.contains("secret"));
        assert_eq!(open(&sealed).as_deref(), Some("1700000000000:secret/app"));
        assert_ne!(seal("x"), seal("x"));
    }

    #[test]
    fn text_that_was_not_sealed_does_not_open() {
        let sealed = seal("app").expect("sealed");
        let mut other = sealed.clone();
        other.replace_range(sealed.len() - 1.., if sealed.ends_with('0') { "1" } else { "0" });
        for wrong in ["", "~", "~zz", "~00", "app", &sealed[1..], &sealed[..sealed.len() - 2], &other] {
            assert_eq!(open(wrong), None, "{wrong}");
        }
    }
}
