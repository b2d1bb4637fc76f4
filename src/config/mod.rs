//! All settings: names, defaults, sources and allowed values.
//!
//! A setting's *key* is its section and name, such as `gc.interval`. Its value comes from the first of these sources
//! that sets it: a flag, the environment (`ORLOP_GC__INTERVAL`), the file, the default. An invalid setting ends the
//! program before it changes anything. The error names the key, the source of its value, and the allowed values.

mod acme;
mod auth;
mod check;
mod error;
mod identity;
mod keys;
mod layers;
mod network;
mod sections;
mod server;
mod text;
mod traces;
mod units;
mod warnings;

pub use acme::{Acme, Directory, DnsName, Email};
pub use auth::{Auth, FileRole, ModeSetting, Secret};
pub use check::MIN_SCRUB_RATE;
pub use error::{ConfigError, Origin};
pub use identity::{
    AsText, Globs, IdentityProvider, KeysAt, PrivateUrl, ProviderName, ProviderRule, TokenAuthority,
};
pub use keys::variable;
pub use layers::{Flag, Sources};
pub use network::Network;
pub use sections::*;
pub use server::{ForwardedHeader, Server};
pub use traces::{CollectorUrl, HAS_TRACES, Traces};
pub use units::{Budget, Count, Listen, LogFilter, Percent, Period, PublicUrl, Size, Span, Untagged};

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// All settings.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Network connections.
    pub server: Server,
    /// Blob storage.
    pub storage: Storage,
    /// The metadata database.
    pub metadata: Metadata,
    /// Limits for manifests.
    pub manifests: Manifests,
    /// Limits for blob uploads.
    pub uploads: Uploads,
    /// Garbage collection.
    pub gc: Gc,
    /// The scrub, which verifies stored blobs.
    pub scrub: Scrub,
    /// Retention policies.
    pub retention: Retention,
    /// Tag history.
    pub history: History,
    /// The log of store events.
    pub events: Events,
    /// The audit log.
    pub audit: Audit,
    /// Page sizes of lists: tags, the catalog, referrers.
    pub lists: Lists,
    /// The management API.
    pub api: Api,
    /// Authentication and authorisation.
    pub auth: Auth,
    /// OpenID Connect providers.
    pub identity_providers: Vec<IdentityProvider>,
    /// An external token server.
    pub token_authority: TokenAuthority,
    /// A TLS certificate by ACME.
    pub acme: Acme,
    /// Requests to other servers.
    pub outbound: Outbound,
    /// Quotas.
    pub quotas: Vec<QuotaSetting>,
    /// Labels of `/metrics`.
    pub metrics: Metrics,
    /// Log output.
    pub log: Log,
    /// Export of traces.
    pub traces: Traces,
}

impl Config {
    /// Loads the settings from `sources`.
    ///
    /// # Errors
    /// Fails with the first error found.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let layers = layers::Layers::merge(sources)?;
        let mut config: Self = layers.read()?;
        if layers.is_default("storage.warn_free") {
            config.storage.warn_before_full();
        }
        check::check(&config).map_err(|(key, message)| layers.error(key, message))?;
        Ok(config)
    }

    /// Whether the registry serves TLS itself.
    pub fn has_tls(&self) -> bool {
        self.server.tls_certificate.is_some() || self.acme.is_on()
    }

    /// Whether browsers may be told to use only HTTPS for this server's name (HSTS). They then do so on all ports,
    /// which would break plain HTTP of other services on the machine. So the name must be the registry's own: it is, if
    /// the registry serves TLS itself and is reached at the standard port.
    pub fn has_name_for_tls(&self) -> bool {
        self.has_tls() && self.server.public_url.as_ref().is_some_and(PublicUrl::is_standard_https)
    }

    /// Returns the directory of the database: `metadata.dir`, or `metadata` in the data directory.
    pub fn metadata_dir(&self) -> PathBuf {
        let beside = || self.storage.data.join("metadata");
        self.metadata.dir.clone().unwrap_or_else(beside)
    }
}
