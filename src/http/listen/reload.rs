//! TLS that follows its files: a renewed certificate is in use without a restart.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;

use super::challenges::Challenges;
use super::tls::{Loaded, TlsError, TlsFiles};
use crate::clock::Timestamp;
use crate::file_state::FileState;

/// How often the files are looked at. What changed is read when it has been the same for two looks: whoever renews a
/// certificate writes it and its key one after the other.
const EVERY: Duration = Duration::from_millis(300);

/// A server's TLS as its files have it now.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    current: RwLock<Loaded>,
    seen: Mutex<Seen>,
    /// What authorities ask, where the files come from one.
    challenges: Option<Arc<Challenges>>,
}

/// The states of the files.
#[derive(Debug)]
struct Seen {
    /// When they were read.
    read: Vec<FileState>,
    /// When they were looked at.
    last: Vec<FileState>,
}

impl Tls {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// [`TlsError`], which names the file.
    pub fn open(files: TlsFiles) -> Result<Self, TlsError> {
        let states = files.states();
        let loaded = files.load()?;
        Ok(Self::new(files, states, loaded, None))
    }

    /// The same for files that an authority's answer will be put into, and that need not be there or good before.
    /// Until then no handshake succeeds, but those by which the authority asks.
    ///
    /// # Errors
    /// [`TlsError`] for the file of the clients' authorities.
    pub fn await_files(files: TlsFiles, challenges: Arc<Challenges>) -> Result<Self, TlsError> {
        let states = files.states();
        let loaded = match files.load() {
            Err(TlsError::File { .. } | TlsError::Unusable(_)) => files.load_without_certificate()?,
            loaded => loaded?,
        };
        Ok(Self::new(files, states, loaded, Some(challenges)))
    }

    fn new(
        files: TlsFiles,
        states: Vec<FileState>,
        loaded: Loaded,
        challenges: Option<Arc<Challenges>>,
    ) -> Self {
        let seen = Mutex::new(Seen { read: states.clone(), last: states });
        Self { files, current: RwLock::new(loaded), seen, challenges }
    }

    /// Until when the certificate is good, if there is one that can be read.
    pub fn expires(&self) -> Option<Timestamp> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.leaf.as_ref().map(|leaf| leaf.until)
    }

    /// What a new connection speaks. Each reading has a memory of sessions of its own: none is resumed that began
    /// by other files.
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner).config)
    }

    /// What authorities ask now, where the files come from one.
    pub(super) fn challenges(&self) -> Option<&Challenges> {
        self.challenges.as_deref()
    }

    /// Follows the files for ever. Files that cannot be used leave what was: a slip of whoever writes them shuts
    /// nobody out.
    pub(super) async fn follow(self: &Arc<Self>) {
        loop {
            tokio::time::sleep(EVERY).await;
            let this = Arc::clone(self);
            // A panic there is logged by the hook, and the next look is due all the same.
            let _ = tokio::task::spawn_blocking(move || this.look()).await;
        }
    }

    /// Looks at the files, and reads them if they are others than those that were read.
    fn look(&self) {
        let now = self.files.states();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if now != seen.read && now == seen.last {
            seen.read.clone_from(&now);
            self.read();
        }
        seen.last = now;
    }

    fn read(&self) {
        let path = self.files.certificate.display();
        match self.files.load() {
            Ok(loaded) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = loaded;
                tracing::info!(%path, "the certificate was read again: new connections use it");
            }
            Err(error) => tracing::error!(%path, %error, "TLS stays as it was"),
        }
    }
}
