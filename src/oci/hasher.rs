//! A running hash that can be put aside and taken up again, also by a later process.

use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use sha2::{Digest as _, Sha256, Sha512};
use thiserror::Error;

use super::{Algorithm, Digest};

/// The layout of [`Hasher::save`]. To be raised whenever sha2 changes its own.
const STATE_VERSION: u8 = 1;

/// A saved hash state that this version cannot take up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the saved hash state is damaged or of another version")]
pub struct InvalidHashState;

/// Hashes bytes as they come.
#[derive(Clone)]
pub enum Hasher {
    /// A running SHA-256.
    Sha256(Sha256),
    /// A running SHA-512.
    Sha512(Sha512),
}

impl Hasher {
    /// A hash of nothing yet.
    pub fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    /// The digest of `content` as a whole.
    pub fn digest(algorithm: Algorithm, content: &[u8]) -> Digest {
        let mut hasher = Self::new(algorithm);
        hasher.update(content);
        hasher.finish()
    }

    /// What it computes.
    pub fn algorithm(&self) -> Algorithm {
        match self {
            Self::Sha256(_) => Algorithm::Sha256,
            Self::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// Goes on with `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// The digest of all that came.
    pub fn finish(self) -> Digest {
        let algorithm = self.algorithm();
        let digest = match self {
            Self::Sha256(hasher) => Digest::from_hash(algorithm, &hasher.finalize()),
            Self::Sha512(hasher) => Digest::from_hash(algorithm, &hasher.finalize()),
        };
        digest.expect("sha2's output has its algorithm's length")
    }

    /// The state, to go on from later with [`Hasher::restore`].
    pub fn save(&self) -> Vec<u8> {
        let mut state = vec![STATE_VERSION];
        match self {
            Self::Sha256(hasher) => state.extend_from_slice(&hasher.serialize()),
            Self::Sha512(hasher) => state.extend_from_slice(&hasher.serialize()),
        }
        state
    }

    /// Takes up a saved state.
    ///
    /// # Errors
    /// [`InvalidHashState`] when another version saved it, or it is damaged.
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
    fn a_saved_hash_goes_on_where_it_stopped() {
        for algorithm in Algorithm::ALL {
            let mut first = Hasher::new(algorithm);
            first.update(b"hello, ");
            let mut second = Hasher::restore(algorithm, &first.save()).expect("own state");
            second.update(b"world");
            assert_eq!(second.finish(), Hasher::digest(algorithm, b"hello, world"));
        }
    }

    #[test]
    fn a_foreign_state_is_refused() {
        assert!(Hasher::restore(Algorithm::Sha256, &[]).is_err());
        assert!(Hasher::restore(Algorithm::Sha256, &[STATE_VERSION, 1, 2]).is_err());
        let state = Hasher::new(Algorithm::Sha256).save();
        assert!(Hasher::restore(Algorithm::Sha512, &state).is_err());
    }
}
