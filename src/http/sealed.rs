//! Places in lists that clients carry from page to page and must not read: those of repositories that they may not see.

use std::sync::LazyLock;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::rand;

/// What a sealed place starts with: no name of a repository or tag does, nor does a number.
const MARK: char = '~';

/// The longest text that is looked at.
const MAX_LENGTH: usize = 2048;

/// Made anew when the process starts: a place is for the next page, not for later.
static KEY: LazyLock<Option<RandomizedNonceKey>> = LazyLock::new(|| {
    let mut key = [0; 32];
    rand::fill(&mut key).ok()?;
    RandomizedNonceKey::new(&AES_256_GCM, &key).ok()
});

/// What stands for `place`. `None` if the system gives no randomness.
pub(super) fn seal(place: &str) -> Option<String> {
    let mut sealed = place.as_bytes().to_vec();
    let nonce = KEY.as_ref()?.seal_in_place_append_tag(Aad::empty(), &mut sealed).ok()?;
    Some(format!("{MARK}{}{}", hex::encode(nonce.as_ref()), hex::encode(sealed)))
}

/// Whether a text is a sealed place, or wants to look like one.
pub(super) fn is_sealed(text: &str) -> bool {
    text.starts_with(MARK)
}

/// The place that `text` stands for, if [`seal`] wrote it in this process.
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
    fn a_sealed_place_shows_nothing_and_comes_back() {
        let sealed = seal("1700000000000:secret/app").expect("sealed");
        assert!(is_sealed(&sealed) && !sealed.contains("secret"));
        assert_eq!(open(&sealed).as_deref(), Some("1700000000000:secret/app"));
        assert_ne!(seal("x"), seal("x"));
    }

    #[test]
    fn what_was_not_sealed_here_does_not_open() {
        let sealed = seal("app").expect("sealed");
        let mut other = sealed.clone();
        other.replace_range(sealed.len() - 1.., if sealed.ends_with('0') { "1" } else { "0" });
        for wrong in ["", "~", "~zz", "~00", "app", &sealed[1..], &sealed[..sealed.len() - 2], &other] {
            assert_eq!(open(wrong), None, "{wrong}");
        }
    }
}
