//! Converts the configuration into the settings of the registry, its jobs and its listeners.

use std::sync::Arc;

use crate::config::{Budget, Config, Period, QuotaSetting, Sparse, Storage, Untagged};
use crate::http::listen::{ListenSettings, Tls};
use crate::http::{HttpSettings, TrustedProxies};
use crate::jobs::{CollectorSettings, ScrubSettings};
use crate::memory::MemoryBudget;
use crate::metadata::Quota;
use crate::oci::PageLimits;
use crate::registry::{BudgetSettings, BudgetSize, Settings};

/// Pages that are updated live may use a part of the connections, one in this many.
const LIVE_SHARE: usize = 4;

/// Builds the settings of the registry.
pub(super) fn registry_settings(config: &Config) -> Settings {
    Settings {
        lease: config.gc.lease.0,
        lease_pressure: config.gc.lease_pressure.0,
        max_references: config.manifests.max_references.get(),
        sparse: config.manifests.sparse == Sparse::Allow,
        parallel_uploads: config.uploads.parallel.get(),
        upload_queue: config.uploads.queue_timeout.0,
        max_blob_size: config.uploads.max_size.0,
        min_free: config.storage.min_free.0,
        warn_free: config.storage.warn_free.0,
        history_keep: config.history.keep.get(),
        history_max_rows: config.history.max_rows.get(),
        removed_tag_history_retention: config.history.removed.0,
        events_keep: config.events.keep.0,
        max_events: config.events.most.get(),
        audit_keep: config.audit.keep.0,
        max_audit_entries: config.audit.most.get(),
        audit_file: config.audit.file.clone(),
        read_only: config.storage.read_only,
        budget: config.storage.budget.map(|budget| self::budget(&config.storage, budget)),
        memory: MemoryBudget::new(config.server.memory_budget()),
        quotas: quotas(config),
    }
}

fn budget(storage: &Storage, budget: Budget) -> BudgetSettings {
    let limit = match budget {
        Budget::Size(size) => BudgetSize::Bytes(size.0),
        Budget::Share(share) => BudgetSize::Percent(share.0),
    };
    BudgetSettings { limit, high: storage.high_mark.0, low: storage.low_mark.0, wait: storage.budget_wait.0 }
}

/// Returns the quotas that the settings define.
pub(super) fn quotas(config: &Config) -> Vec<Quota> {
    let quota = |setting: &QuotaSetting| Quota {
        scope: setting.prefix.clone(),
        bytes: setting.bytes.map(|size| size.0),
        tags: setting.tags.map(|count| count.0.into()),
        repositories: setting.repositories.map(|count| count.0.into()),
    };
    config.quotas.iter().map(quota).collect()
}

/// Builds the settings of the garbage collector.
pub(super) fn collector_settings(config: &Config) -> CollectorSettings {
    CollectorSettings {
        trash: config.gc.trash.0,
        untagged: match config.gc.untagged {
            Untagged::Keep => None,
            Untagged::After(span) => Some(span.0),
        },
        upload_expiry: config.uploads.expire.0,
        batch: config.gc.batch.get(),
    }
}

/// Builds the settings of the scrub.
pub(super) fn scrub_settings(config: &Config) -> ScrubSettings {
    let period = match config.scrub.period {
        Period::Off => None,
        Period::Every(span) => Some(span.0),
    };
    ScrubSettings { period, rate: config.scrub.rate.0 }
}

/// Builds the settings of the listener.
pub(super) fn listen_settings(
    config: &Config,
    tls: Option<Arc<Tls>>,
    memory: MemoryBudget,
) -> ListenSettings {
    let server = &config.server;
    ListenSettings {
        max_connections: server.max_connections.get(),
        head_timeout: server.header_timeout.0,
        write_timeout: server.write_timeout.0,
        drain_timeout: server.drain_timeout.0,
        shared_networks: server.trusted_proxies.iter().map(|network| network.0).collect(),
        memory,
        tls,
        ..ListenSettings::default()
    }
}

/// Builds the settings of the protocol and the API.
pub(super) fn http_settings(config: &Config) -> HttpSettings {
    let networks = config.server.trusted_proxies.iter().map(|network| network.0);
    HttpSettings {
        max_manifest_size: usize::try_from(config.manifests.max_size.0).unwrap_or(usize::MAX),
        max_tags: config.manifests.max_tags.get(),
        body_idle_timeout: config.server.body_idle_timeout.0,
        pages: PageLimits { default: config.lists.page.get(), max: config.lists.max_page.get() },
        public_url: config.server.public_url.as_ref().map(ToString::to_string),
        tls: config.has_tls(),
        rate_limit: config.server.rate_limit.0,
        strict_transport: config.has_name_for_tls(),
        // The text of an origin is ASCII.
        cors_origins: config
            .server
            .cors_origins
            .iter()
            .filter_map(|origin| origin.to_string().parse().ok())
            .collect(),
        trusted_proxies: TrustedProxies::new(networks).with_header(config.server.forwarded_header),
        ui: config.ui.enabled,
        live_pages: config.server.max_connections.get() / LIVE_SHARE,
        // Secrets are serialised as `(set)`.
        settings_text: toml::to_string(config).unwrap_or_default(),
    }
}
