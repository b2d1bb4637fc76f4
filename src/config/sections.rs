//! All settings with their defaults, by section.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::acme::Acme;
use super::auth::{Auth, IdentityProvider, TokenAuthority};
use super::units::{
    Budget, CollectorUrl, Count, Listen, LogFilter, Network, Percent, Period, PublicUrl, Size, Span,
    Untagged, WebOrigin,
};
pub use crate::http::ForwardedHeader;
use crate::http::api::Changes;
use crate::memory;
use crate::metadata::Scope;
use crate::retention::{Policies, Policy, TagList};

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
    /// The web pages.
    pub ui: Ui,
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
    /// Whether the registry serves TLS itself.
    pub fn has_tls(&self) -> bool {
        self.server.tls_certificate.is_some() || self.acme.is_on()
    }

    /// Whether responses may make browsers use only HTTPS for this server's name (HSTS). They then do so on all ports,
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

/// Network connections.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Address and port to listen on. `[::]` accepts IPv4 too.
    pub listen: Listen,
    /// URL of the registry as clients see it, for absolute URLs in responses.
    pub public_url: Option<PublicUrl>,
    /// PEM file of the certificate and its chain. Turns TLS on.
    pub tls_certificate: Option<PathBuf>,
    /// PEM file of the certificate's private key.
    pub tls_key: Option<PathBuf>,
    /// PEM file of certificate authorities: every client must present a certificate that one of them signed.
    pub tls_client_ca: Option<PathBuf>,
    /// Proxies whose headers about the client's address and protocol are trusted.
    pub trusted_proxies: Vec<Network>,
    /// Headers that these proxies set; others are ignored.
    pub forwarded_header: ForwardedHeader,
    /// Origins whose pages may use `/v2` and the API from a browser.
    pub cors_origins: Vec<WebOrigin>,
    /// How long running transfers may continue after SIGTERM.
    pub drain_timeout: Span,
    /// How long a client may take to send a request's headers.
    pub header_timeout: Span,
    /// How long a client may pause within a request's body.
    pub body_idle_timeout: Span,
    /// How long a client may pause while it reads a response.
    pub write_timeout: Span,
    /// Maximum number of concurrent connections.
    pub max_connections: Count,
    /// Maximum memory for requests. By default derived from the machine's memory.
    pub memory: Option<Size>,
    /// Maximum requests per client and second; 0 for no limit.
    pub rate_limit: Count,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: Listen::default(),
            public_url: None,
            tls_certificate: None,
            tls_key: None,
            tls_client_ca: None,
            trusted_proxies: Vec::new(),
            forwarded_header: ForwardedHeader::XForwarded,
            cors_origins: Vec::new(),
            drain_timeout: Span::seconds(30),
            header_timeout: Span::seconds(15),
            body_idle_timeout: Span::seconds(60),
            write_timeout: Span::seconds(60),
            max_connections: Count(1024),
            memory: None,
            rate_limit: Count(0),
        }
    }
}

impl Server {
    /// Returns the memory budget in bytes: as configured, or derived from the memory of the machine or container.
    pub fn memory_budget(&self) -> u64 {
        self.memory.map_or_else(memory::default_budget, |size| size.0)
    }
}

/// Blob storage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Storage {
    /// The data directory.
    pub data: PathBuf,
    /// Free space below which pushes are refused.
    pub min_free: Size,
    /// Free space below which the server warns.
    pub warn_free: Size,
    /// Where the volume of an old registry may be mounted, whose images were or are to be adopted. Empty: nowhere.
    pub old_registry: PathBuf,
    /// Whether all changes are refused.
    pub read_only: bool,
    /// Maximum disk usage of the registry. By default all free space.
    pub budget: Option<Budget>,
    /// Share of the budget above which space is reclaimed.
    pub high_mark: Percent,
    /// Share of the budget down to which space is reclaimed.
    pub low_mark: Percent,
    /// How long a push waits for space in the budget.
    pub budget_wait: Span,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            data: PathBuf::from("./orlop-data"),
            min_free: Size::mib(512),
            warn_free: Size::mib(2048),
            old_registry: PathBuf::from("/var/lib/registry"),
            read_only: false,
            budget: None,
            high_mark: Percent(90),
            low_mark: Percent(80),
            budget_wait: Span::seconds(30),
        }
    }
}

impl Storage {
    /// Raises the warning threshold above `min_free`, so that the warning precedes refusals if only `min_free` was set.
    pub(super) fn warn_before_full(&mut self) {
        self.warn_free = self.warn_free.max(Size(self.min_free.0.saturating_mul(2)));
    }
}

/// The metadata database.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Metadata {
    /// Directory of the database. By default `metadata` in the data directory.
    pub dir: Option<PathBuf>,
}

/// Whether an index may refer to missing child manifests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sparse {
    /// The index is rejected, and the error names the missing children.
    Refuse,
    /// The index is accepted.
    Allow,
}

/// Limits for manifests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Manifests {
    /// Maximum bytes of a manifest.
    pub max_size: Size,
    /// Maximum number of descriptors in a manifest.
    pub max_references: Count,
    /// Maximum number of tags that one push may set.
    pub max_tags: Count,
    /// Whether an index may refer to missing child manifests.
    pub sparse: Sparse,
}

impl Default for Manifests {
    fn default() -> Self {
        Self {
            max_size: Size::mib(4),
            max_references: Count(10_000),
            max_tags: Count(100),
            sparse: Sparse::Refuse,
        }
    }
}

/// Limits for blob uploads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Uploads {
    /// How long an idle upload is kept.
    pub expire: Span,
    /// Maximum number of request bodies that are received concurrently.
    pub parallel: Count,
    /// How long a request may wait for one of these slots.
    pub queue_timeout: Span,
    /// Maximum bytes of a blob.
    pub max_size: Size,
}

impl Default for Uploads {
    fn default() -> Self {
        Self {
            expire: Span::hours(24),
            parallel: Count(64),
            queue_timeout: Span::seconds(30),
            max_size: Size::mib(1 << 20),
        }
    }
}

/// Garbage collection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gc {
    /// Pause between runs of the collector when nothing is left to do, with a jitter of a tenth.
    pub interval: Span,
    /// Lease: how long uploaded or announced content is kept for its manifest.
    pub lease: Span,
    /// Minimum lease while space is reclaimed for the budget; never longer than the lease.
    pub lease_pressure: Span,
    /// How long deleted content can be restored.
    pub trash: Span,
    /// How long a manifest without a tag, index or subject is kept.
    pub untagged: Untagged,
    /// Maximum number of rows per step of the collector.
    pub batch: Count,
}

impl Default for Gc {
    fn default() -> Self {
        Self {
            interval: Span::seconds(600),
            lease: Span::hours(24),
            lease_pressure: Span::hours(1),
            trash: Span::hours(24),
            untagged: Untagged::After(Span::hours(14 * 24)),
            batch: Count(500),
        }
    }
}

/// The scrub, which verifies stored blobs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scrub {
    /// Period in which every blob is verified once.
    pub period: Period,
    /// Maximum read rate per second.
    pub rate: Size,
}

impl Default for Scrub {
    fn default() -> Self {
        Self { period: Period::Every(Span::hours(30 * 24)), rate: Size::mib(32) }
    }
}

/// Tag history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct History {
    /// Maximum number of changes kept per tag.
    pub keep: Count,
    /// Maximum number of changes kept per repository. The oldest are removed first.
    pub max_rows: Count,
    /// How long the history of a removed tag is kept.
    pub removed: Span,
}

impl Default for History {
    fn default() -> Self {
        Self { keep: Count(100), max_rows: Count(100_000), removed: Span::hours(90 * 24) }
    }
}

/// The log of store events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Events {
    /// How long an event is kept.
    pub keep: Span,
    /// Maximum number of events of each kind.
    pub most: Count,
}

impl Default for Events {
    fn default() -> Self {
        Self { keep: Span::hours(90 * 24), most: Count(1000) }
    }
}

/// The audit log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Audit {
    /// How long an entry is kept.
    pub keep: Span,
    /// Maximum number of entries of each outcome.
    pub most: Count,
    /// File to which entries are also appended, as JSON lines.
    pub file: Option<PathBuf>,
}

impl Default for Audit {
    fn default() -> Self {
        Self { keep: Span::hours(90 * 24), most: Count(100_000), file: None }
    }
}

/// A quota for the repositories of a scope.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuotaSetting {
    /// A repository, or a prefix with a slash at its end; empty for all repositories.
    pub prefix: Scope,
    /// Maximum bytes of blobs, manifests and open uploads; content counts once per repository that has it.
    pub bytes: Option<Size>,
    /// Maximum number of tags.
    pub tags: Option<Count>,
    /// Maximum number of repositories.
    pub repositories: Option<Count>,
}

/// Retention policies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// How often all repositories are evaluated, with a jitter of a tenth.
    pub interval: Span,
    /// The policies.
    pub policies: Vec<Policy>,
    /// Tags that no rule may expire.
    pub protected: Vec<TagList>,
    /// Tags that no rule may expire and that cannot be moved or deleted.
    pub immutable: Vec<TagList>,
}

impl Default for Retention {
    fn default() -> Self {
        Self { interval: Span::hours(1), policies: Vec::new(), protected: Vec::new(), immutable: Vec::new() }
    }
}

impl Retention {
    /// Returns the policies with the protected and immutable tags.
    pub fn policies(&self) -> Policies {
        let Self { policies, protected, immutable, .. } = self.clone();
        Policies { policies, protected, immutable }
    }
}

/// Page sizes of lists: tags, the catalog, referrers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lists {
    /// Number of items on a page if the client requests none.
    pub page: Count,
    /// Maximum number of items that a client may request.
    pub max_page: Count,
}

impl Default for Lists {
    fn default() -> Self {
        Self { page: Count(1000), max_page: Count(10_000) }
    }
}

/// The web pages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ui {
    /// Whether the registry serves web pages.
    pub enabled: bool,
}

impl Default for Ui {
    fn default() -> Self {
        Self { enabled: true }
    }
}

/// The management API.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Api {
    /// Who may make changes.
    pub changes: Changes,
}

/// Requests to other servers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Outbound {
    /// PEM file of certificate authorities that are trusted in addition to the machine's.
    pub ca_file: Option<PathBuf>,
}

/// Labels of `/metrics`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// Number of repository prefixes with metrics of their own, the largest first.
    pub repositories: Count,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { repositories: Count(50) }
    }
}

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text, with colours on a terminal.
    Auto,
    /// Text without colours.
    Text,
    /// One JSON object per line.
    Json,
}

/// Log output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// Format of log lines.
    pub format: LogFormat,
    /// Minimum level, or filter directives.
    pub level: LogFilter,
    /// Whether each request is logged.
    pub access: bool,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Auto, level: LogFilter::default(), access: true }
    }
}

/// Export of traces.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Traces {
    /// URL of a collector that accepts OTLP over HTTP.
    pub endpoint: Option<CollectorUrl>,
    /// Share of requests that are traced, unless the client has decided it.
    pub sample: Percent,
}

impl Default for Traces {
    fn default() -> Self {
        Self { endpoint: None, sample: Percent(100) }
    }
}

/// Whether this build can export spans.
pub const HAS_TRACES: bool = cfg!(feature = "otlp");
