//! Somebody's public keys, kept current: they are published to be changed.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jsonwebtoken::Algorithm;
use reqwest::Client;
use url::Url;

use super::discovery::{Discovered, body, discover};
use super::jwks::{KeysError, PublicKey, of_file, of_set};
use crate::clock::Clock;
use crate::file_state::FileState;

/// For how long keys are taken for those that are published still.
const FRESH: Duration = Duration::from_secs(60 * 60);

/// For how long keys count that cannot be got again.
const LAST: Duration = Duration::from_secs(24 * 60 * 60);

/// How often keys are asked for at most, for instance for one that a token names and nobody knows.
const AGAIN: Duration = Duration::from_secs(30);

/// Where somebody's keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// In a file.
    File(PathBuf),
    /// At an address, as a JSON Web Key Set (RFC 7517).
    Set(Url),
    /// Where the issuer at this address says, by OpenID Connect Discovery 1.0.
    Discovery(Url),
}

impl KeySource {
    /// Looks whether there are keys, where nobody else has to be asked for them.
    ///
    /// # Errors
    /// The file cannot be read, or has none.
    pub fn check(&self) -> Result<(), KeysError> {
        match self {
            Self::File(path) => of_file(&fs::read(path)?).map(drop),
            Self::Set(_) | Self::Discovery(_) => Ok(()),
        }
    }
}

/// Somebody's keys.
pub(super) struct Keys {
    source: KeySource,
    client: Client,
    clock: Arc<dyn Clock>,
    known: Mutex<Known>,
    /// Who asks for them does so once for all who wait.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    keys: Arc<Vec<PublicKey>>,
    /// When they were got.
    since: Option<Duration>,
    /// When they were asked for last.
    asked: Option<Duration>,
    file: Option<FileState>,
    generation: u64,
}

impl Known {
    fn replace(&mut self, keys: Vec<PublicKey>) {
        self.keys = Arc::new(keys);
        self.generation += 1;
    }
}

impl Keys {
    pub(super) fn new(source: KeySource, client: Client, clock: Arc<dyn Clock>) -> Self {
        Self { source, client, clock, known: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    /// The keys that may have signed what names its key and how; nobody if there is none, or none can be got.
    pub(super) async fn fitting(&self, id: Option<&str>, algorithm: Algorithm) -> Arc<Vec<PublicKey>> {
        let has = |keys: &[PublicKey]| keys.iter().any(|key| key.fits(id, algorithm));
        if let Some(keys) = self.current(has) {
            return keys;
        }
        let _turn = self.turn.lock().await;
        if let Some(keys) = self.current(has) {
            return keys;
        }
        let state = self.file_state();
        let got = self.get().await;
        let now = self.clock.elapsed();
        let mut known = self.lock();
        (known.asked, known.file) = (Some(now), state);
        match got {
            Ok(keys) => {
                known.since = Some(now);
                known.replace(keys);
            }
            Err(error) => {
                tracing::warn!(source = %self.source, %error, "the keys of a provider cannot be got");
                if known.since.is_some_and(|since| now.saturating_sub(since) >= LAST) {
                    known.replace(Vec::new());
                }
            }
        }
        Arc::clone(&known.keys)
    }

    /// The keys that are known, unless it is time to ask for others.
    fn current(&self, has: impl Fn(&[PublicKey]) -> bool) -> Option<Arc<Vec<PublicKey>>> {
        let (state, known, now) = (self.file_state(), self.lock(), self.clock.elapsed());
        let within = |at: Option<Duration>, span| at.is_some_and(|at| now.saturating_sub(at) < span);
        let is_current = match state {
            Some(_) => state == known.file,
            None => within(known.asked, AGAIN) || (within(known.since, FRESH) && has(&known.keys)),
        };
        is_current.then(|| Arc::clone(&known.keys))
    }

    /// How often there were others; `None` if there may be others now.
    pub(super) fn generation(&self) -> Option<u64> {
        let (state, known) = (self.file_state(), self.lock());
        (state.is_none() || state == known.file).then_some(known.generation)
    }

    /// That of the file that they are in.
    fn file_state(&self) -> Option<FileState> {
        match &self.source {
            KeySource::File(path) => Some(FileState::of(path)),
            KeySource::Set(_) | KeySource::Discovery(_) => None,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn get(&self) -> Result<Vec<PublicKey>, KeysError> {
        match &self.source {
            KeySource::File(path) => of_file(&fs::read(path)?),
            KeySource::Set(url) => of_set(&body(&self.client, url).await?),
            KeySource::Discovery(issuer) => {
                let Discovered { jwks_uri, .. } = discover(&self.client, issuer).await?;
                of_set(&body(&self.client, &jwks_uri).await?)
            }
        }
    }
}

impl std::fmt::Display for KeySource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Set(url) | Self::Discovery(url) => url.fmt(f),
        }
    }
}
