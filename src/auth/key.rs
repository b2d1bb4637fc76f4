//! The key that tokens are signed with: Ed25519 (RFC 8037), kept beside the facts so that tokens outlive a restart.

use std::fs;
use std::io;
use std::path::Path;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

use crate::store::durable;

/// A key pair.
pub struct TokenKey {
    /// PKCS #8.
    pub(super) private: Vec<u8>,
    pub(super) public: Vec<u8>,
}

impl TokenKey {
    /// The key in the file `path`, which is made for its owner alone if there is none.
    ///
    /// # Errors
    /// The file can be neither read nor made, or holds something else.
    pub fn load_or_make(path: &Path) -> io::Result<Self> {
        match fs::read(path) {
            Ok(private) => Self::of(private),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::replace(path),
            Err(error) => Err(error),
        }
    }

    /// A new key in the file `path`, in the place of the one there.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn replace(path: &Path) -> io::Result<Self> {
        let key = Self::random()?;
        durable::write(path, &key.private, 0o600)?;
        Ok(key)
    }

    /// A key that nobody knows.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn random() -> io::Result<Self> {
        let pair = Ed25519KeyPair::generate().map_err(|_| io::Error::other("no key could be made"))?;
        let private = pair.to_pkcs8v1().map_err(|_| io::Error::other("no key could be made"))?;
        Self::of(private.as_ref().to_vec())
    }

    fn of(private: Vec<u8>) -> io::Result<Self> {
        let wrong = |_| io::Error::new(io::ErrorKind::InvalidData, "it holds no Ed25519 key (PKCS #8)");
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&private).map_err(wrong)?;
        let public = pair.public_key().as_ref().to_vec();
        Ok(Self { private, public })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_for_its_owner() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("tokens.key");
        let made = TokenKey::load_or_make(&path).expect("made");
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o777, 0o600);
        assert_eq!(TokenKey::load_or_make(&path).expect("read").public, made.public);
        assert_ne!(TokenKey::random().expect("another").public, made.public);
    }

    #[test]
    fn what_is_no_key_is_told() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("tokens.key");
        for wrong in [&b""[..], b"secret"] {
            fs::write(&path, wrong).expect("written");
            assert!(TokenKey::load_or_make(&path).is_err());
        }
    }
}
