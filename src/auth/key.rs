//! The Ed25519 key (RFC 8037) that signs tokens. It is stored beside the metadata, so that tokens stay valid after a
//! restart.

use std::io;
use std::path::Path;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

use crate::store::durable;

/// A key pair that signs and verifies tokens.
pub struct TokenKey {
    /// PKCS #8.
    pub(super) private: Vec<u8>,
    pub(super) public: Vec<u8>,
}

impl TokenKey {
    /// Loads the key from the file `path`. Creates the file, readable only by its owner, if it doesn't exist.
    ///
    /// # Errors
    /// Fails if the file can't be read or created, or doesn't contain a key.
    pub fn load_or_create(path: &Path) -> io::Result<Self> {
        durable::read(path)?.map_or_else(|| Self::replace(path), Self::parse)
    }

    /// Generates a new key and replaces the file `path` with it.
    ///
    /// # Errors
    /// Fails if the file can't be written.
    pub fn replace(path: &Path) -> io::Result<Self> {
        let key = Self::random()?;
        durable::write(path, &key.private, 0o600)?;
        Ok(key)
    }

    /// Generates a random key.
    ///
    /// # Errors
    /// Fails if the system provides no randomness.
    pub fn random() -> io::Result<Self> {
        let pair = Ed25519KeyPair::generate().map_err(|_| io::Error::other("failed to generate a key"))?;
        let private = pair.to_pkcs8v1().map_err(|_| io::Error::other("failed to generate a key"))?;
        Self::parse(private.as_ref().to_vec())
    }

    fn parse(private: Vec<u8>) -> io::Result<Self> {
        let wrong = |_| io::Error::new(io::ErrorKind::InvalidData, "not an Ed25519 key (PKCS #8)");
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&private).map_err(wrong)?;
        let public = pair.public_key().as_ref().to_vec();
        Ok(Self { private, public })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn creates_key_once_and_only_for_its_owner() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("tokens.key");
        let made = TokenKey::load_or_create(&path).expect("made");
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o777, 0o600);
        assert_eq!(TokenKey::load_or_create(&path).expect("read").public, made.public);
        assert_ne!(TokenKey::random().expect("another").public, made.public);
    }

    #[test]
    fn rejects_file_without_key() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("tokens.key");
        for wrong in [&b""[..], b"secret"] {
            fs::write(&path, wrong).expect("written");
            assert!(TokenKey::load_or_create(&path).is_err());
        }
    }
}
