//! Values that are of the right kind and yet make no sense, alone or together.

use super::acme;
use super::{Budget, Config, Count, Size, Span};
use crate::auth::Rule;
use crate::retention::Place;

/// A key, and what is wrong with its value.
type Wrong = (&'static str, String);

/// Finds the first value that makes no sense.
pub(super) fn check(config: &Config) -> Result<(), Wrong> {
    spans(config)?;
    counts(config)?;
    sizes(config)?;
    quotas(config)?;
    policies(config)?;
    config.auth.modes()?;
    identities(config)?;
    acme::check(config)?;
    together(config)
}

/// Policies are made ready for use once, to find their mistakes.
fn policies(config: &Config) -> Result<(), Wrong> {
    let compiled = config.retention.policies().compile();
    compiled.map(drop).map_err(|error| {
        let key = match error.place {
            Place::Protected(_) => "retention.protected",
            Place::Immutable(_) => "retention.immutable",
            Place::Policy(_) | Place::Rule { .. } => "retention.policies",
        };
        (key, error.to_string())
    })
}

fn spans(config: &Config) -> Result<(), Wrong> {
    let server = &config.server;
    for (key, span) in [
        ("server.header_timeout", server.header_timeout),
        ("server.body_idle_timeout", server.body_idle_timeout),
        ("server.write_timeout", server.write_timeout),
        ("uploads.expire", config.uploads.expire),
        ("gc.interval", config.gc.interval),
        ("gc.lease", config.gc.lease),
        ("retention.interval", config.retention.interval),
        ("gc.lease_pressure", config.gc.lease_pressure),
    ] {
        longer_than_nothing(key, span)?;
    }
    let (least, most, lifetime) = (Span(MINUTE), Span(MINUTE * 60 * 24), config.auth.token_lifetime);
    if !(least..=most).contains(&lifetime) {
        return Err(("auth.token_lifetime", format!("must be from {least} to {most}, not {lifetime}")));
    }
    Ok(())
}

/// Clients take a token that tells no time for one of this long.
const MINUTE: std::time::Duration = std::time::Duration::from_secs(60);

fn longer_than_nothing(key: &'static str, span: Span) -> Result<(), Wrong> {
    if span < Span(std::time::Duration::from_millis(1)) {
        return Err((key, format!("must be at least 1ms, not {span}")));
    }
    Ok(())
}

fn counts(config: &Config) -> Result<(), Wrong> {
    within("server.max_connections", config.server.max_connections, 1, 1_000_000)?;
    within("server.rate_limit", config.server.rate_limit, 0, 1_000_000)?;
    within("manifests.max_references", config.manifests.max_references, 1, 1_000_000)?;
    within("manifests.max_tags", config.manifests.max_tags, 1, 10_000)?;
    within("uploads.parallel", config.uploads.parallel, 1, 100_000)?;
    within("gc.batch", config.gc.batch, 1, 100_000)?;
    within("history.keep", config.history.keep, 1, 10_000)?;
    within("history.max_rows", config.history.max_rows, 1000, 10_000_000)?;
    within("events.most", config.events.most, 1, 100_000)?;
    within("audit.most", config.audit.most, 1, 10_000_000)?;
    within("metrics.repositories", config.metrics.repositories, 0, 10_000)?;
    within("lists.page", config.lists.page, 1, 100_000)?;
    within("lists.max_page", config.lists.max_page, 1, 100_000)
}

fn within(key: &'static str, count: Count, least: u32, most: u32) -> Result<(), Wrong> {
    if !(least..=most).contains(&count.0) {
        return Err((key, format!("must be from {least} to {most}, not {count}")));
    }
    Ok(())
}

/// One large manifest and one password at a time need this.
const MIN_MEMORY: Size = Size::mib(16);

/// An empty store with its database takes a quarter of this.
const LEAST_BUDGET: Size = Size::mib(64);

/// The least that `manifests.max_size` may be: below it hardly any image could be pushed.
const MIN_MANIFEST: Size = Size(1 << 10);

/// The least that is read in a second: slower, not even one image is checked in a day.
pub const MIN_SCRUB_RATE: Size = Size(1 << 10);

fn sizes(config: &Config) -> Result<(), Wrong> {
    let (least, most) = (MIN_MANIFEST, Size::mib(64));
    let manifest = config.manifests.max_size;
    if !(least..=most).contains(&manifest) {
        return Err(("manifests.max_size", format!("must be from {least} to {most}, not {manifest}")));
    }
    if config.scrub.rate < MIN_SCRUB_RATE {
        let message = format!("must be at least {MIN_SCRUB_RATE}, not {}", config.scrub.rate);
        return Err(("scrub.rate", message));
    }
    if let Some(Budget::Size(budget)) = config.storage.budget
        && budget < LEAST_BUDGET
    {
        return Err(("storage.budget", format!("must be at least {LEAST_BUDGET}, not {budget}")));
    }
    if let Some(memory) = config.server.memory
        && memory < MIN_MEMORY
    {
        return Err(("server.memory", format!("must be at least {MIN_MEMORY}, not {memory}")));
    }
    if config.uploads.max_size.0 == 0 {
        return Err(("uploads.max_size", "must be at least 1B".into()));
    }
    Ok(())
}

fn quotas(config: &Config) -> Result<(), Wrong> {
    for (at, quota) in config.quotas.iter().enumerate() {
        let prefix = &quota.prefix;
        if quota.bytes.is_none() && quota.tags.is_none() && quota.repositories.is_none() {
            return Err((
                "quotas",
                format!(
                    "the quota of {prefix:?} needs bytes, tags or repositories",
                    prefix = prefix.as_str()
                ),
            ));
        }
        if config.quotas[..at].iter().any(|other| other.prefix == *prefix) {
            return Err(("quotas", format!("there are two quotas of {prefix:?}", prefix = prefix.as_str())));
        }
    }
    Ok(())
}

fn identities(config: &Config) -> Result<(), Wrong> {
    let providers = &config.identity_providers;
    for (at, provider) in providers.iter().enumerate() {
        let name = &provider.name.0;
        let wrong = |why: &str| Err(("identity_providers", format!("{name}: {why}")));
        if providers[..at].iter().any(|other| other.name == provider.name) {
            return wrong("there are two of this name");
        }
        if provider.audience.is_none() && provider.client_id.is_none() {
            return wrong("it needs an audience, for jobs, or a client_id, for people");
        }
        if provider.client_id.is_some() && config.server.public_url.is_none() {
            return wrong("people who sign in come back to server.public_url, which is not set");
        }
        if provider.audience.is_some() && provider.audience == provider.client_id {
            return wrong(
                "the audience of jobs must be another than client_id, or people's tokens are taken for jobs'",
            );
        }
        if provider.visit > Span(MINUTE * 60 * 24) {
            return wrong("visit must be at most 1d");
        }
        if provider.client_secret.is_some() && provider.client_secret_file.is_some() {
            return wrong("client_secret and client_secret_file exclude each other");
        }
        for (at, rule) in provider.settings(None).rules.iter().enumerate() {
            if let Err(error) = Rule::of(rule) {
                return wrong(&format!("rules[{at}]: {error}"));
            }
        }
    }
    let missing = |key| (key, "must be set where another key of token_authority is".to_owned());
    config.token_authority.settings().map(drop).map_err(missing)
}

fn together(config: &Config) -> Result<(), Wrong> {
    let (storage, lists, server) = (&config.storage, &config.lists, &config.server);
    if storage.warn_free < storage.min_free {
        let (warn, min) = (storage.warn_free, storage.min_free);
        let message = format!("must be at least storage.min_free, which is {min}, not {warn}");
        return Err(("storage.warn_free", message));
    }
    if storage.low_mark >= storage.high_mark {
        let (low, high) = (storage.low_mark, storage.high_mark);
        let message = format!("must be less than storage.high_mark, which is {high}, not {low}");
        return Err(("storage.low_mark", message));
    }
    if lists.page > lists.max_page {
        let (page, most) = (lists.page, lists.max_page);
        return Err(("lists.page", format!("must be at most lists.max_page, which is {most}, not {page}")));
    }
    match (&server.tls_certificate, &server.tls_key) {
        (Some(_), None) => Err(("server.tls_key", "must be set where server.tls_certificate is".into())),
        (None, Some(_)) => Err(("server.tls_certificate", "must be set where server.tls_key is".into())),
        (None, None) if server.tls_client_ca.is_some() && !config.has_tls() => {
            Err(("server.tls_certificate", "must be set where server.tls_client_ca is".into()))
        }
        _ => Ok(()),
    }
}
