//! Caches the public keys of an issuer and fetches them again when they may have changed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::Algorithm;
use parking_lot::Mutex;
use reqwest::Client;
use url::Url;

use super::discovery::{ProviderMetadata, discover, fetch};
use super::jwks::{KeysError, PublicKey, parse_file, parse_set};
use crate::clock::Clock;
use crate::errors::Chain;
use crate::file_state::FileState;
use crate::text_file;

/// How long fetched keys are used before they are fetched again.
const KEYS_TTL: Duration = Duration::from_secs(60 * 60);

/// How long keys stay in use while they can't be fetched again.
const STALE_KEYS_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// The minimum time between two fetches, for example when tokens name an unknown key.
const MIN_FETCH_INTERVAL: Duration = Duration::from_secs(30);

/// Where the public keys of an issuer come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A file.
    File(PathBuf),
    /// The address of a JSON Web Key Set (RFC 7517).
    Jwks(Url),
    /// The address of an issuer, whose metadata (OpenID Connect Discovery 1.0) says where the keys are.
    Discovery(Url),
}

impl KeySource {
    /// Checks that a file contains keys. Doesn't fetch keys over the network.
    ///
    /// # Errors
    /// Fails if the file can't be read or contains no keys.
    pub fn check(&self) -> Result<(), KeysError> {
        match self {
            Self::File(path) => match parse_file(&text_file::read_bytes(path)?)?.is_empty() {
                true => Err(KeysError::Invalid("the file contains no keys".into())),
                false => Ok(()),
            },
            Self::Jwks(_) | Self::Discovery(_) => Ok(()),
        }
    }
}

/// The keys of an issuer.
pub(super) struct Keys(Arc<KeyCache>);

struct KeyCache {
    source: KeySource,
    client: Client,
    clock: Arc<dyn Clock>,
    state: Mutex<CacheState>,
    /// Makes sure that only one task fetches the keys while the others wait for it.
    fetch_lock: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct CacheState {
    keys: Arc<Vec<PublicKey>>,
    /// When the keys were last fetched successfully.
    fetched_at: Option<Duration>,
    /// When a fetch was last attempted, successfully or not.
    tried_at: Option<Duration>,
    /// The state of the file when it was last read.
    file: Option<FileState>,
    /// The number of times the keys were replaced.
    generation: u64,
}

impl CacheState {
    fn replace(&mut self, keys: Vec<PublicKey>) {
        self.keys = Arc::new(keys);
        self.generation += 1;
    }
}

impl Keys {
    pub(super) fn new(source: KeySource, client: Client, clock: Arc<dyn Clock>) -> Self {
        let state = Mutex::default();
        let fetch_lock = tokio::sync::Mutex::default();
        Self(Arc::new(KeyCache { source, client, clock, state, fetch_lock }))
    }

    /// The keys to verify a token with this key id and algorithm. Fetches the keys again if they may have changed. If a
    /// cached key already matches, the caller doesn't wait for the fetch. The fetch continues if the caller is
    /// cancelled.
    pub(super) async fn current_for(&self, id: Option<&str>, algorithm: Algorithm) -> Arc<Vec<PublicKey>> {
        let has_match = |keys: &[PublicKey]| keys.iter().any(|key| key.fits(id, algorithm));
        let (keys, is_current) = self.0.current(has_match);
        if is_current {
            return keys;
        }
        let cache = Arc::clone(&self.0);
        let can_use_cached = has_match(&keys) && self.0.file_state().is_none();
        let id = id.map(str::to_owned);
        let refresh = tokio::spawn(async move {
            let _guard = cache.fetch_lock.lock().await;
            let has_match = |keys: &[PublicKey]| keys.iter().any(|key| key.fits(id.as_deref(), algorithm));
            if !cache.current(has_match).1 {
                cache.refresh().await;
            }
        });
        if can_use_cached && self.0.is_within_stale_ttl() {
            return keys;
        }
        // If the task panicked, the cache is unchanged.
        let _ = refresh.await;
        Arc::clone(&self.0.state.lock().keys)
    }

    /// The number of times the keys were replaced; `None` if the loaded keys may be outdated. Keys that were never
    /// loaded are not outdated.
    pub(super) fn generation(&self) -> Option<u64> {
        let cache = &self.0;
        let file = cache.file_state();
        let state = cache.state.lock();
        let is_current = match file {
            Some(_) => state.file.is_none() || file == state.file,
            None => {
                state.fetched_at.is_none()
                    || cache.is_recent(state.fetched_at, KEYS_TTL)
                    || cache.was_tried_recently(&state)
            }
        };
        is_current.then_some(state.generation)
    }
}

impl KeyCache {
    /// The cached keys, and whether they can be used without fetching them again. `has_match` returns whether a list of
    /// keys contains one for the token.
    fn current(&self, has_match: impl Fn(&[PublicKey]) -> bool) -> (Arc<Vec<PublicKey>>, bool) {
        let file = self.file_state();
        let state = self.state.lock();
        let is_current = match file {
            Some(_) => file == state.file,
            None => {
                self.was_tried_recently(&state)
                    || (self.is_recent(state.fetched_at, KEYS_TTL) && has_match(&state.keys))
            }
        };
        (Arc::clone(&state.keys), is_current)
    }

    fn was_tried_recently(&self, state: &CacheState) -> bool {
        self.is_recent(state.tried_at, MIN_FETCH_INTERVAL)
    }

    /// Whether the last successful fetch is recent enough to keep using its keys while they can't be fetched again.
    fn is_within_stale_ttl(&self) -> bool {
        let fetched_at = self.state.lock().fetched_at;
        self.is_recent(fetched_at, STALE_KEYS_TTL)
    }

    fn is_recent(&self, at: Option<Duration>, max_age: Duration) -> bool {
        at.is_some_and(|at| self.clock.elapsed().saturating_sub(at) < max_age)
    }

    async fn refresh(&self) {
        let file = self.file_state();
        let fetched = self.fetch().await;
        let keep_on_failure = file.is_none() && self.is_within_stale_ttl();
        let mut state = self.state.lock();
        state.tried_at = Some(self.clock.elapsed());
        state.file = file;
        match fetched {
            Ok(keys) => {
                state.fetched_at = state.tried_at;
                state.replace(keys);
            }
            Err(error) => {
                let error = Chain(&error);
                tracing::warn!(source = %self.source, %error, "failed to load an identity provider's keys");
                // If the operator removes or breaks a key file, that takes effect at once: its old keys are not kept.
                if !keep_on_failure {
                    state.replace(Vec::new());
                }
            }
        }
    }

    /// The state of the file; `None` if the keys are not in a file.
    fn file_state(&self) -> Option<FileState> {
        match &self.source {
            KeySource::File(path) => Some(FileState::of(path)),
            KeySource::Jwks(_) | KeySource::Discovery(_) => None,
        }
    }

    async fn fetch(&self) -> Result<Vec<PublicKey>, KeysError> {
        match &self.source {
            KeySource::File(path) => parse_file(&text_file::read_bytes(path)?),
            KeySource::Jwks(url) => parse_set(&fetch(&self.client, url).await?),
            KeySource::Discovery(issuer) => {
                let ProviderMetadata { jwks_uri, .. } = discover(&self.client, issuer).await?;
                parse_set(&fetch(&self.client, &jwks_uri).await?)
            }
        }
    }
}

impl std::fmt::Display for KeySource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Jwks(url) | Self::Discovery(url) => url.fmt(f),
        }
    }
}
