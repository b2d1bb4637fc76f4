//! The background task that requests a certificate and renews it in time.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use instant_acme::CertificateIdentifier;
use reqwest::Client;

use super::authority::{AcmeSettings, Authority, load_or_create_account};
use super::authority_folder::{AuthorityFolder, StoredCertificate};
use super::error::{AcmeError, single_line};
use super::order::order_certificate;
use super::schedule::{Pace, Suggestion, renewal_time};
use crate::clock::Clock;
use crate::errors::Chain;
use crate::http::listen::{Challenges, Leaf};

/// The maximum time between two checks, because the wall clock may jump.
const CHECK_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// How long an authority may take for a request of a certificate.
const AUTHORITY_TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// Requests and renews the certificate of a server.
pub struct CertificateRenewer {
    settings: AcmeSettings,
    folder: AuthorityFolder,
    client: Client,
    challenges: Arc<Challenges>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for CertificateRenewer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateRenewer").field("names", &self.settings.names).finish_non_exhaustive()
    }
}

impl CertificateRenewer {
    /// Sends requests with `client`, answers challenges through `challenges`, and stores the account and the
    /// certificate below `metadata_dir`.
    pub fn new(
        mut settings: AcmeSettings,
        metadata_dir: &Path,
        client: Client,
        challenges: Arc<Challenges>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        settings.names.sort();
        settings.names.dedup();
        let folder = AuthorityFolder::of(metadata_dir, &settings.directory);
        Self { settings, folder, client, challenges, clock }
    }

    /// Runs for ever. Writes its files on the async thread: they are small, and this happens once in weeks.
    pub async fn run(&self) {
        let mut pace = Pace::default();
        let mut suggestion = Suggestion::default();
        self.warn_about_current_certificate();
        loop {
            let wait = self.step(&mut pace, &mut suggestion).await;
            tokio::time::sleep(wait.min(CHECK_INTERVAL)).await;
        }
    }

    /// Warns if clients can't connect with the current certificate.
    fn warn_about_current_certificate(&self) {
        let authority = &self.settings.directory;
        let names = self.names();
        match self.folder.read_certificate() {
            None => tracing::warn!(
                authority,
                names,
                "there is no certificate yet; TLS connections fail until the authority issues one"
            ),
            Some(stored) if stored.leaf.names != self.settings.names => tracing::warn!(
                authority,
                names,
                "the stored certificate is for {}; it is used until the authority issues another",
                stored.leaf.names.join(", ")
            ),
            Some(stored) if stored.leaf.until <= self.clock.now() => tracing::warn!(
                authority,
                names,
                "the stored certificate has expired; clients reject it until the authority issues another"
            ),
            Some(_) => {}
        }
    }

    /// Requests a certificate if it is time to. Returns how long to wait before the next step.
    async fn step(&self, pace: &mut Pace, suggestion: &mut Suggestion) -> Duration {
        let mut replaces = None;
        if let Some(stored) = self.current_certificate() {
            self.update_suggestion(&stored, suggestion).await;
            let suggested = suggestion.renewal_time(&stored);
            let regular = renewal_time(&stored);
            let wait = suggested.map_or(regular, |suggested| suggested.min(regular)).since(self.clock.now());
            if !wait.is_zero() {
                return wait;
            }
            // Only authorities that suggest renewal accept the identifier of the replaced certificate.
            replaces = suggested.and_then(|_| CertificateIdentifier::try_from(&stored.der).ok());
        }
        if pace.remaining().is_zero() {
            self.renew(pace, replaces).await;
        }
        pace.remaining()
    }

    async fn renew(&self, pace: &mut Pace, replaces: Option<CertificateIdentifier<'static>>) {
        let authority = Authority::new(self.client.clone());
        let request = self.request_certificate(authority.clone(), replaces);
        let result = tokio::time::timeout(AUTHORITY_TIMEOUT, request).await;
        match result.unwrap_or(Err(AcmeError::TimedOut)) {
            Ok(leaf) => {
                pace.record_success(leaf.until.since(leaf.from));
                let names = self.names();
                let until = leaf.until.rfc3339();
                tracing::info!(names, until, "the authority issued a certificate");
            }
            Err(error) => self.handle_failure(&error, pace.record_failure(authority.retry_after())),
        }
    }

    fn handle_failure(&self, error: &AcmeError, wait: Duration) {
        let authority = &self.settings.directory;
        let names = self.names();
        let retry_in = humantime::format_duration(Duration::from_secs(wait.as_secs()));
        tracing::error!(
            authority,
            names,
            error = single_line(Chain(error)),
            "certificate request failed; retrying in {retry_in}"
        );
        if error.is_unknown_account()
            && let Err(error) = self.folder.delete_account()
        {
            let error = Chain(&error);
            tracing::error!(%error, "failed to delete an account that the authority does not know");
        }
    }

    /// Asks the authority when it suggests to renew this certificate, if it is time to ask.
    async fn update_suggestion(&self, stored: &StoredCertificate, suggestion: &mut Suggestion) {
        if !suggestion.time_until_request(stored).is_zero()
            || !matches!(self.folder.read_account(), Ok(Some(_)))
        {
            return;
        }
        let request = async {
            let authority = Authority::new(self.client.clone());
            let account = load_or_create_account(&self.settings, &self.folder, authority).await?;
            Suggestion::fetch(&account, stored).await
        };
        let result = tokio::time::timeout(AUTHORITY_TIMEOUT, request).await;
        let result = result.unwrap_or_else(|_| Err(AcmeError::TimedOut.into()));
        *suggestion = result.unwrap_or_else(|error| {
            tracing::debug!(
                error = single_line(Chain(&*error)),
                "the authority does not suggest when to renew the certificate"
            );
            Suggestion::none(stored)
        });
        let now = self.clock.now();
        let suggested = suggestion.renewal_time(stored);
        if suggested.is_some_and(|suggested| suggested <= now && now < renewal_time(stored)) {
            let authority = &self.settings.directory;
            tracing::info!(authority, "the authority suggests to renew the certificate early");
        }
    }

    /// Requests a certificate from the authority and stores it.
    async fn request_certificate(
        &self,
        authority: Authority,
        replaces: Option<CertificateIdentifier<'static>>,
    ) -> Result<Leaf, AcmeError> {
        self.folder.check_writable()?;
        let account = load_or_create_account(&self.settings, &self.folder, authority).await?;
        let issued = order_certificate(&account, &self.settings.names, replaces, &self.challenges).await?;
        self.folder.write_certificate(&issued.chain, &issued.key, &self.settings.names)
    }

    /// The stored certificate, if it is for the configured names.
    fn current_certificate(&self) -> Option<StoredCertificate> {
        self.folder.read_certificate().filter(|stored| stored.leaf.names == self.settings.names)
    }

    fn names(&self) -> String {
        self.settings.names.join(", ")
    }
}
