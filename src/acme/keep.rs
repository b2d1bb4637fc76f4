//! Sees to it that there is a certificate, and a new one in time.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use instant_acme::CertificateIdentifier;
use reqwest::Client;

use super::AcmeSettings;
use super::account::account;
use super::authority::Authority;
use super::error::AcmeError;
use super::kept::{Folder, KeptCertificate};
use super::order::order;
use super::pace::{Pace, renewal};
use super::suggestion::Suggestion;
use crate::clock::Clock;
use crate::http::listen::{Challenges, Leaf};

/// How often the time is looked at, at least: the wall clock may jump.
const LOOK: Duration = Duration::from_secs(60 * 60);

/// The longest that an authority may take.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// Keeps a server in certificates.
pub struct Acme {
    settings: AcmeSettings,
    folder: Folder,
    client: Client,
    challenges: Arc<Challenges>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Acme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acme").field("names", &self.settings.names).finish_non_exhaustive()
    }
}

impl Acme {
    /// Asks by `client`, answers by `challenges`, and keeps what it is given in the folder of the facts.
    pub fn new(
        mut settings: AcmeSettings,
        facts: &Path,
        client: Client,
        challenges: Arc<Challenges>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        settings.names.sort();
        settings.names.dedup();
        let folder = Folder::of(facts, &settings.directory);
        Self { settings, folder, client, challenges, clock }
    }

    /// Goes on for ever. Its small files are written where it runs: that is once in weeks.
    pub async fn keep(&self) {
        let (mut pace, mut suggestion) = (Pace::default(), Suggestion::default());
        self.warn();
        loop {
            let wait = self.step(&mut pace, &mut suggestion).await;
            tokio::time::sleep(wait.min(LOOK)).await;
        }
    }

    /// Tells what clients will not like until the authority has given a certificate.
    fn warn(&self) {
        let (authority, names) = (&self.settings.directory, self.names());
        match self.folder.read_certificate() {
            None => tracing::warn!(
                authority,
                names,
                "there is no certificate yet: clients are refused until the authority has given one"
            ),
            Some(kept) if kept.leaf.names != self.settings.names => tracing::warn!(
                authority,
                names,
                "the certificate that is kept is for {}, and used until the authority has given another",
                kept.leaf.names.join(", ")
            ),
            Some(kept) if kept.leaf.until <= self.clock.now() => tracing::warn!(
                authority,
                names,
                "the certificate that is kept has ended: clients go away until the authority has given another"
            ),
            Some(_) => {}
        }
    }

    /// Asks for a certificate, if it is time for that. How long there is nothing to do.
    async fn step(&self, pace: &mut Pace, suggestion: &mut Suggestion) -> Duration {
        let mut replaces = None;
        if let Some(kept) = self.kept() {
            self.learn(&kept, suggestion).await;
            let (wanted, usual) = (suggestion.renewal(&kept), renewal(&kept));
            let rest = wanted.map_or(usual, |wanted| wanted.min(usual)).since(self.clock.now());
            if !rest.is_zero() {
                return rest;
            }
            // Only authorities that suggest something take it.
            replaces = wanted.and_then(|_| CertificateIdentifier::try_from(&kept.der).ok());
        }
        if pace.rest().is_zero() {
            self.attempt(pace, replaces).await;
        }
        pace.rest()
    }

    async fn attempt(&self, pace: &mut Pace, replaces: Option<CertificateIdentifier<'static>>) {
        let authority = Authority::new(self.client.clone());
        let asked = tokio::time::timeout(PATIENCE, self.ask(authority.clone(), replaces)).await;
        match asked.unwrap_or(Err(AcmeError::Slow)) {
            Ok(leaf) => {
                pace.succeeded(leaf.until.since(leaf.from));
                let (names, until) = (self.names(), leaf.until.rfc3339());
                tracing::info!(names, until, "the authority has given a certificate");
            }
            Err(error) => self.failed(&error, pace.failed(authority.advice())),
        }
    }

    fn failed(&self, error: &AcmeError, wait: Duration) {
        let authority = &self.settings.directory;
        let (names, again) = (self.names(), humantime::format_duration(Duration::from_secs(wait.as_secs())));
        tracing::error!(authority, names, %error, "there is no new certificate; asking again in {again}");
        if error.is_of_no_account()
            && let Err(error) = self.folder.forget_account()
        {
            tracing::error!(%error, "an account that the authority does not know cannot be forgotten");
        }
    }

    /// Asks the authority whether it wants this certificate to be renewed, if it is time for that.
    async fn learn(&self, kept: &KeptCertificate, suggestion: &mut Suggestion) {
        if !suggestion.rest(kept).is_zero() || !matches!(self.folder.read_account(), Ok(Some(_))) {
            return;
        }
        let ask = async {
            let authority = Authority::new(self.client.clone());
            let account = account(&self.settings, &self.folder, authority).await;
            Suggestion::ask(&account.map_err(|error| error.to_string())?, kept).await
        };
        let asked = tokio::time::timeout(PATIENCE, ask).await;
        *suggestion = asked.unwrap_or_else(|_| Err(AcmeError::Slow.to_string())).unwrap_or_else(|error| {
            tracing::debug!(error, "the authority does not suggest when to renew the certificate");
            Suggestion::unknown(kept)
        });
        let now = self.clock.now();
        if suggestion.renewal(kept).is_some_and(|wanted| wanted <= now && now < renewal(kept)) {
            let authority = &self.settings.directory;
            tracing::info!(authority, "the authority wants the certificate to be renewed early");
        }
    }

    /// What the authority gives, once it is kept.
    async fn ask(
        &self,
        authority: Authority,
        replaces: Option<CertificateIdentifier<'static>>,
    ) -> Result<Leaf, AcmeError> {
        self.folder.probe()?;
        let account = account(&self.settings, &self.folder, authority).await?;
        let given = order(&account, &self.settings.names, replaces, &self.challenges).await?;
        self.folder.write_certificate(&given.chain, &given.key, &self.settings.names)
    }

    /// The certificate that is kept, if it is for these names.
    fn kept(&self) -> Option<KeptCertificate> {
        self.folder.read_certificate().filter(|kept| kept.leaf.names == self.settings.names)
    }

    fn names(&self) -> String {
        self.settings.names.join(", ")
    }
}
