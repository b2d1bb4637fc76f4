//! Every setting: its name, its default, where it may come from and what it may be.
//!
//! A setting's *key* is its section and name, `gc.interval`. It is taken from the first of these that has
//! it: a flag, the environment (`ORLOP_GC__INTERVAL`), the file, the default. Whatever is wrong ends the
//! program before it touches anything, with a message that names the key, where its value came from, and
//! what is allowed.

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
    /// Connections.
    pub server: Server,
    /// The bytes.
    pub storage: Storage,
    /// The facts.
    pub metadata: Metadata,
    /// What manifests are accepted.
    pub manifests: Manifests,
    /// How blobs come in.
    pub uploads: Uploads,
    /// What is collected, and when.
    pub gc: Gc,
    /// How everything that is stored is read again and checked.
    pub scrub: Scrub,
    /// What stays and what goes by itself.
    pub retention: Retention,
    /// What is remembered of tags.
    pub history: History,
    /// What is remembered of what happened to the store.
    pub events: Events,
    /// What is remembered of who did what.
    pub audit: Audit,
    /// Tag lists, the catalog and referrers.
    pub lists: Lists,
    /// The API for people and programs.
    pub api: Api,
    /// Who comes in.
    pub auth: Auth,
    /// Who proves who somebody is.
    pub identity_providers: Vec<IdentityProvider>,
    /// Where clients get their tokens, if not here.
    pub token_authority: TokenAuthority,
    /// A certificate that comes by itself.
    pub acme: Acme,
    /// Requests to others.
    pub outbound: Outbound,
    /// What repositories may use.
    pub quotas: Vec<QuotaSetting>,
    /// What `/metrics` tells by name.
    pub metrics: Metrics,
    /// What the server tells its operator.
    pub log: Log,
    /// What a collector of traces is told.
    pub traces: Traces,
}

impl Config {
    /// The settings that `sources` give.
    ///
    /// # Errors
    /// [`ConfigError`] for the first thing that is wrong.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let layers = layers::Layers::gather(sources)?;
        let mut config: Self = layers.read()?;
        if layers.leaves_default("storage.warn_free") {
            config.storage.warn_before_full();
        }
        check::check(&config).map_err(|(key, message)| layers.error(key, message))?;
        Ok(config)
    }

    /// Whether the registry speaks TLS itself.
    pub fn has_tls(&self) -> bool {
        self.server.tls_certificate.is_some() || self.acme.is_on()
    }

    /// Whether browsers may be told to come to this server's name by TLS alone. They then do so on all ports, which
    /// would take from a machine's other services their plain HTTP, so the name must be the registry's: it is, where
    /// it speaks TLS itself and is reached at the standard port.
    pub fn has_name_for_tls(&self) -> bool {
        self.has_tls() && self.server.public_url.as_ref().is_some_and(PublicUrl::is_standard_https)
    }

    /// Where the facts are kept: `metadata.dir`, or a directory beside the bytes.
    pub fn metadata_dir(&self) -> PathBuf {
        let beside = || self.storage.data.join("metadata");
        self.metadata.dir.clone().unwrap_or_else(beside)
    }
}
