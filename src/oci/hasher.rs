//! A hash whose state can be saved and restored, also by a later process.

use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use sha2::{Digest as _, Sha256, Sha512};
use thiserror::Error;

use super::{Algorithm, Digest};

/// The version of the format of [`Hasher::save`]. Increase it whenever sha2 changes its own format.
const STATE_VERSION: u8 = 1;

/// A saved hash state that can't be restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the saved hash state is damaged or of another version")]
pub struct InvalidHashState;

/// Hashes content incrementally.
#[derive(Clone)]
pub enum Hasher {
    /// SHA-256.
    Sha256(Sha256),
    /// SHA-512.
    Sha512(Sha512),
}

impl Hasher {
    /// Starts a hash.
    pub fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    /// Computes the digest of `content`.
    pub fn digest(algorithm: Algorithm, content: &[u8]) -> Digest {
        let mut hasher = Self::new(algorithm);
        hasher.update(content);
        hasher.finish()
    }

    /// Returns the algorithm.
    pub fn algorithm(&self) -> Algorithm {
        match self {
            Self::Sha256(_) => Algorithm::Sha256,
            Self::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// Adds `bytes` to the hash.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// Returns the digest of everything added.
    pub fn finish(self) -> Digest {
        let algorithm = self.algorithm();
        let digest = match self {
            Self::Sha256(hasher) => Digest::from_hash(algorithm, &hasher.finalize()),
            Self::Sha512(hasher) => Digest::from_hash(algorithm, &hasher.finalize()),
        };
        digest.expect("sha2's output has its algorithm's length")
    }

    /// Saves the state, to continue later with [`Hasher::restore`].
    pub fn save(&self) -> Vec<u8> {
        let mut state = vec![STATE_VERSION];
        match self {
            Self::Sha256(hasher) => state.extend_from_slice(&hasher.serialize()),
            Self::Sha512(hasher) => state.extend_from_slice(&hasher.serialize()),
        }
        state
    }

    /// Restores a saved state.
    ///
    /// # Errors
    /// Fails if another version saved the state, or if it is damaged.
    pub fn restore(algorithm: Algorithm, state: &[u8]) -> Result<Self, InvalidHashState> {
        let Some((&STATE_VERSION, state)) = state.split_first() else {
            return Err(InvalidHashState);
        };
        match algorithm {
            Algorithm::Sha256 => Ok(Self::Sha256(deserialize(state)?)),
            Algorithm::Sha512 => Ok(Self::Sha512(deserialize(state)?)),
        }
    }
}

fn deserialize<H: SerializableState>(state: &[u8]) -> Result<H, InvalidHashState> {
    let state = SerializedState::<H>::try_from(state).map_err(|_| InvalidHashState)?;
    H::deserialize(&state).map_err(|_| InvalidHashState)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restored_hash_continues_where_it_stopped() {
        for algorithm in Algorithm::ALL {
            let mut first = Hasher::new(algorithm);
            first.update(b"hello, ");
            let mut second = Hasher::restore(algorithm, &first.save()).expect("own state");
            second.update(b"world");
            assert_eq!(second.finish(), Hasher::digest(algorithm, b"hello, world"));
        }
    }

    #[test]
    fn rejects_invalid_states() {
        assert!(Hasher::restore(Algorithm::Sha256, &[]).is_err());
        assert!(Hasher::restore(Algorithm::Sha256, &[STATE_VERSION, 1, 2]).is_err());
        let state = Hasher::new(Algorithm::Sha256).save();
        assert!(Hasher::restore(Algorithm::Sha512, &state).is_err());
    }
}
