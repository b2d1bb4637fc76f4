//! Somebody's public keys, kept current: they are published to be changed.

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
use crate::text_file;

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
            Self::File(path) => match of_file(&text_file::read_bytes(path)?)?.is_empty() {
                true => Err(KeysError::Nonsense("there are none in it".into())),
                false => Ok(()),
            },
            Self::Set(_) | Self::Discovery(_) => Ok(()),
        }
    }
}

/// Somebody's keys.
pub(super) struct Keys(Arc<Kept>);

struct Kept {
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
        let (known, turn) = (Mutex::default(), tokio::sync::Mutex::default());
        Self(Arc::new(Kept { source, client, clock, known, turn }))
    }

    /// The keys that may have signed what names its key and how. Others are asked for where these may be others by now:
    /// who has some that fit does not wait for that, nor does it end where nobody waits any more.
    pub(super) async fn fitting(&self, id: Option<&str>, algorithm: Algorithm) -> Arc<Vec<PublicKey>> {
        let has = |keys: &[PublicKey]| keys.iter().any(|key| key.fits(id, algorithm));
        let (keys, is_current) = self.0.current(has);
        if is_current {
            return keys;
        }
        let kept = Arc::clone(&self.0);
        let (id, fits) = (id.map(str::to_owned), has(&keys) && self.0.file_state().is_none());
        let asked = tokio::spawn(async move {
            let _turn = kept.turn.lock().await;
            let has = |keys: &[PublicKey]| keys.iter().any(|key| key.fits(id.as_deref(), algorithm));
            if !kept.current(has).1 {
                kept.ask().await;
            }
        });
        if fits && self.0.lasts() {
            return keys;
        }
        // It has ended by a panic at worst, and then nothing is known that was not before.
        let _ = asked.await;
        Arc::clone(&self.0.lock().keys)
    }

    /// How often there were others; `None` if there may be others now.
    pub(super) fn generation(&self) -> Option<u64> {
        let kept = &self.0;
        let (state, known) = (kept.file_state(), kept.lock());
        let is_same = match state {
            Some(_) => known.file.is_none() || state == known.file,
            None => known.since.is_none() || kept.is_young(known.since, FRESH) || kept.was_asked(&known),
        };
        is_same.then_some(known.generation)
    }
}

impl Kept {
    /// The keys that are known, and whether it is not time to ask for others.
    fn current(&self, has: impl Fn(&[PublicKey]) -> bool) -> (Arc<Vec<PublicKey>>, bool) {
        let (state, known) = (self.file_state(), self.lock());
        let is_current = match state {
            Some(_) => state == known.file,
            None => self.was_asked(&known) || (self.is_young(known.since, FRESH) && has(&known.keys)),
        };
        (Arc::clone(&known.keys), is_current)
    }

    fn was_asked(&self, known: &Known) -> bool {
        self.is_young(known.asked, AGAIN)
    }

    /// Whether the keys count still, though they cannot be got again.
    fn lasts(&self) -> bool {
        let since = self.lock().since;
        self.is_young(since, LAST)
    }

    fn is_young(&self, at: Option<Duration>, span: Duration) -> bool {
        at.is_some_and(|at| self.clock.elapsed().saturating_sub(at) < span)
    }

    async fn ask(&self) {
        let state = self.file_state();
        let got = self.get().await;
        let lasts = state.is_none() && self.lasts();
        let mut known = self.lock();
        (known.asked, known.file) = (Some(self.clock.elapsed()), state);
        match got {
            Ok(keys) => {
                known.since = known.asked;
                known.replace(keys);
            }
            Err(error) => {
                tracing::warn!(source = %self.source, %error, "the keys of a provider cannot be got");
                // A file that is gone, or holds something else, is the operator's word.
                if !lasts {
                    known.replace(Vec::new());
                }
            }
        }
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
            KeySource::File(path) => of_file(&text_file::read_bytes(path)?),
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
