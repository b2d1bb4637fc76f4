//! The identity file of a store. It distinguishes the store from an unmounted one, from another one and from an empty
//! one.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use super::durable;
use crate::store::StoreError;
use crate::store::layout::{self, Layout};

/// A directory cannot be opened as a store.
#[derive(Debug, Error)]
pub enum OpenError {
    /// It was written by a newer version of Orlop.
    #[error("{} has layout version {found}; this version of orlop knows up to {known}: use a newer one", path.display())]
    Newer {
        /// The identity file.
        path: PathBuf,
        /// Its layout version.
        found: u64,
        /// The newest layout version this version knows.
        known: u64,
    },
    /// The identity file is missing, and must not be created.
    #[error("{} is missing, {reason}", path.display())]
    Unidentified {
        /// The path where it should be.
        path: PathBuf,
        /// Why it is not created.
        reason: &'static str,
    },
    /// The content of the identity file is not valid.
    #[error("{} is not a valid identity file", path.display())]
    Malformed {
        /// The identity file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The directory cannot be read or written.
    #[error("{}", path.display())]
    Io {
        /// The path that could not be read or written.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
}

/// The content of the identity file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    layout: u64,
    pub(super) store: Uuid,
}

/// The part that every version can parse.
#[derive(Deserialize)]
struct Version {
    layout: u64,
}

impl Identity {
    /// Reads the identity of the store at the root of `layout`, if it has one.
    pub(super) fn read(layout: &Layout) -> Result<Option<Self>, OpenError> {
        let path = layout.identity();
        match durable::read(&path) {
            Ok(text) => text.map(|text| Self::parse(&text, path)).transpose(),
            Err(source) => Err(OpenError::Io { path, source }),
        }
    }

    /// Creates the identity of a new store durably.
    pub(super) fn create(layout: &Layout) -> Result<Self, OpenError> {
        let path = layout.identity();
        if layout.blobs().exists() {
            let reason = "but there are blobs beside it: restore it from a backup, or check what is mounted";
            return Err(OpenError::Unidentified { path, reason });
        }
        let identity = Self { layout: layout::VERSION, store: Uuid::new_v4() };
        let write = || {
            durable::create_dir_all(layout.root())?;
            let mut text = serde_json::to_vec(&identity)?;
            text.push(b'\n');
            durable::write(&path, &text, 0o666)
        };
        match write() {
            Ok(()) => Ok(identity),
            Err(source) => Err(OpenError::Io { path, source }),
        }
    }

    /// Verifies that the store still has this identity.
    pub(super) fn verify(&self, layout: &Layout) -> Result<(), StoreError> {
        match Self::read(layout) {
            Ok(Some(found)) if found == *self => Ok(()),
            Ok(Some(found)) => Err(StoreError::Vanished(
                format!("found store {} instead of {}", found.store, self.store).into(),
            )),
            Ok(None) => {
                Err(StoreError::Vanished(format!("{} is missing", layout.identity().display()).into()))
            }
            Err(error) => Err(StoreError::Vanished(error.into())),
        }
    }

    fn parse(text: &[u8], path: PathBuf) -> Result<Self, OpenError> {
        let malformed = |source| OpenError::Malformed { path: path.clone(), source };
        let version: Version = serde_json::from_slice(text).map_err(malformed)?;
        if version.layout > layout::VERSION {
            return Err(OpenError::Newer { path, found: version.layout, known: layout::VERSION });
        }
        serde_json::from_slice(text).map_err(malformed)
    }
}
