//! Content digests.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A hash algorithm that the registry can compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// `sha256`, the usual one.
    Sha256,
    /// `sha512`, the other algorithm registered by the spec.
    Sha512,
}

impl Algorithm {
    /// All algorithms, weakest first.
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Sha512];

    /// Returns the name, as in the prefix of a digest.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// Returns the length of a hash in bytes.
    pub const fn hash_len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Algorithm {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        Self::ALL.into_iter().find(|a| a.name() == text).ok_or(InvalidDigest::Unsupported)
    }
}

/// Why a text is not a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidDigest {
    /// It does not have the form `algorithm:encoded`.
    #[error("a digest must have the form <algorithm>:<hex>")]
    Malformed,
    /// The registry does not support the algorithm.
    #[error("the digest's algorithm must be sha256 or sha512")]
    Unsupported,
    /// The part after the colon has the wrong length or invalid characters.
    #[error("the digest's second part must be lower-case hex of the algorithm's length")]
    Encoding,
}

/// A content digest: `sha256:<64 hex>` or `sha512:<128 hex>` in lower case (image-spec, descriptor.md, "Digests").
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    algorithm: Algorithm,
    text: Box<str>,
}

impl Digest {
    /// Creates a digest from a computed hash. Returns `None` if its length does not match the algorithm.
    pub fn from_hash(algorithm: Algorithm, hash: &[u8]) -> Option<Self> {
        if hash.len() != algorithm.hash_len() {
            return None;
        }
        let text = format!("{}:{}", algorithm.name(), hex::encode(hash));
        Some(Self { algorithm, text: text.into_boxed_str() })
    }

    /// Returns the algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns the whole digest as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the part after the colon.
    pub fn hex(&self) -> &str {
        &self.text[self.algorithm.name().len() + 1..]
    }

    /// Returns the hash as bytes.
    pub fn hash(&self) -> Vec<u8> {
        // All constructors check that the hex is valid and has the right length.
        hex::decode(self.hex()).unwrap_or_default()
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        let (algorithm, encoded) = text.split_once(':').ok_or(InvalidDigest::Malformed)?;
        if algorithm.is_empty() || encoded.is_empty() {
            return Err(InvalidDigest::Malformed);
        }
        let algorithm: Algorithm = algorithm.parse()?;
        let lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if encoded.len() != 2 * algorithm.hash_len() || !encoded.bytes().all(lower_hex) {
            return Err(InvalidDigest::Encoding);
        }
        Ok(Self { algorithm, text: text.into() })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_survives_parsing_and_formatting() {
        let text = format!("sha256:{}", "0f".repeat(32));
        let digest: Digest = text.parse().expect("valid");
        assert_eq!(digest.to_string(), text);
        assert_eq!(Digest::from_hash(Algorithm::Sha256, &digest.hash()), Some(digest));
    }

    #[test]
    fn error_says_why_a_digest_is_invalid() {
        let parse = |text: &str| text.parse::<Digest>().expect_err(text);
        assert_eq!(parse("latest"), InvalidDigest::Malformed);
        assert_eq!(parse(":abc"), InvalidDigest::Malformed);
        assert_eq!(parse("md5:00"), InvalidDigest::Unsupported);
        assert_eq!(parse("sha256:00"), InvalidDigest::Encoding);
        assert_eq!(parse(&format!("sha256:{}", "0F".repeat(32))), InvalidDigest::Encoding);
        assert_eq!(parse(&format!("sha512:{}", "00".repeat(32))), InvalidDigest::Encoding);
    }
}
