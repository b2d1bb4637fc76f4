//! Reloads TLS files when they change: a renewed certificate is used without a restart.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use rustls::ServerConfig;

use super::challenges::Challenges;
use super::tls::{Loaded, TlsError, TlsFiles};
use crate::clock::Timestamp;
use crate::errors::Chain;
use crate::file_state::FileState;

/// How often the files are checked. A change is loaded once it is the same in two checks, because a renewal
/// writes the certificate and its key one after the other.
const CHECK_INTERVAL: Duration = Duration::from_millis(300);

/// A server's TLS configuration, as loaded last from its files.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    current: RwLock<Loaded>,
    seen: Mutex<Seen>,
    /// The challenges of a certificate authority, if the files come from one.
    challenges: Option<Arc<Challenges>>,
}

/// The observed states of the files.
#[derive(Debug)]
struct Seen {
    /// The states when they were loaded last.
    read: Vec<FileState>,
    /// The states at the last check.
    last: Vec<FileState>,
}

impl Tls {
    /// Loads the files for the first time.
    ///
    /// # Errors
    /// Fails if a file is missing or cannot be used; the error names it.
    pub fn open(files: TlsFiles) -> Result<Self, TlsError> {
        let states = files.states();
        let loaded = files.load()?;
        Ok(Self::new(files, states, loaded, None))
    }

    /// The same for files that come from a certificate authority and may still be missing or invalid. Until
    /// they are valid, only handshakes of its challenges succeed.
    ///
    /// # Errors
    /// Fails if the file of the client authorities cannot be used.
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

    /// The expiry of the certificate, if there is one that can be parsed.
    pub fn expires(&self) -> Option<Timestamp> {
        let current = self.current.read();
        current.leaf.as_ref().map(|leaf| leaf.until)
    }

    /// The configuration for new connections. Each load has its own session cache, so no session from earlier
    /// files is resumed.
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read().config)
    }

    /// The challenges of a certificate authority, if the files come from one.
    pub(super) fn challenges(&self) -> Option<&Challenges> {
        self.challenges.as_deref()
    }

    /// Watches the files for ever. If new files cannot be used, the last configuration stays in use, so that
    /// a faulty renewal does not interrupt the service.
    pub(super) async fn watch_files(self: &Arc<Self>) {
        loop {
            tokio::time::sleep(CHECK_INTERVAL).await;
            let this = Arc::clone(self);
            // The hook logs a panic, and the next check follows anyway.
            let _ = tokio::task::spawn_blocking(move || this.check_files()).await;
        }
    }

    /// Checks the files, and loads them if they differ from the last load.
    fn check_files(&self) {
        let now = self.files.states();
        let mut seen = self.seen.lock();
        if now != seen.read && now == seen.last {
            seen.read.clone_from(&now);
            self.reload();
        }
        seen.last = now;
    }

    fn reload(&self) {
        let path = self.files.certificate.display();
        match self.files.load() {
            Ok(loaded) => {
                *self.current.write() = loaded;
                tracing::info!(%path, "certificate reloaded for new connections");
            }
            Err(error) => {
                let error = Chain(&error);
                tracing::error!(%path, %error, "reloading the certificate failed; keeping the current one");
            }
        }
    }
}
