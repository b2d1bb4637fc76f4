//! Checks for values that have the right type but are out of range or contradict each other.

use super::acme;
use super::{Budget, Config, Count, Size, Span};
use crate::auth::Rule;
use crate::errors::Chain;
use crate::retention::Place;

/// A key and an error message about its value.
type Invalid = (&'static str, String);

/// Returns the first invalid value.
pub(super) fn check(config: &Config) -> Result<(), Invalid> {
    spans(config)?;
    counts(config)?;
    sizes(config)?;
    quotas(config)?;
    policies(config)?;
    config.auth.modes()?;
    identities(config)?;
    acme::check(config)?;
    check_combinations(config)
}

/// Compiles the policies to find their errors.
fn policies(config: &Config) -> Result<(), Invalid> {
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

fn spans(config: &Config) -> Result<(), Invalid> {
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
        check_positive(key, span)?;
    }
    let least = Span(MINUTE);
    let most = Span(MINUTE * 60 * 24);
    let lifetime = config.auth.token_lifetime;
    if !(least..=most).contains(&lifetime) {
        return Err(("auth.token_lifetime", format!("must be from {least} to {most}, not {lifetime}")));
    }
    Ok(())
}

/// Clients assume this lifetime if a token response names none.
const MINUTE: std::time::Duration = std::time::Duration::from_secs(60);

fn check_positive(key: &'static str, span: Span) -> Result<(), Invalid> {
    if span < Span(std::time::Duration::from_millis(1)) {
        return Err((key, format!("must be at least 1ms, not {span}")));
    }
    Ok(())
}

fn counts(config: &Config) -> Result<(), Invalid> {
    check_range("server.max_connections", config.server.max_connections, 1, 1_000_000)?;
    check_range("server.rate_limit", config.server.rate_limit, 0, 1_000_000)?;
    check_range("manifests.max_references", config.manifests.max_references, 1, 1_000_000)?;
    check_range("manifests.max_tags", config.manifests.max_tags, 1, 10_000)?;
    check_range("uploads.parallel", config.uploads.parallel, 1, 100_000)?;
    check_range("gc.batch", config.gc.batch, 1, 100_000)?;
    check_range("history.keep", config.history.keep, 1, 10_000)?;
    check_range("history.max_rows", config.history.max_rows, 1000, 10_000_000)?;
    check_range("events.most", config.events.most, 1, 100_000)?;
    check_range("audit.most", config.audit.most, 1, 10_000_000)?;
    check_range("metrics.repositories", config.metrics.repositories, 0, 10_000)?;
    check_range("lists.page", config.lists.page, 1, 100_000)?;
    check_range("lists.max_page", config.lists.max_page, 1, 100_000)
}

fn check_range(key: &'static str, count: Count, least: u32, most: u32) -> Result<(), Invalid> {
    if !(least..=most).contains(&count.0) {
        return Err((key, format!("must be from {least} to {most}, not {count}")));
    }
    Ok(())
}

/// Minimum of `server.memory`: one large manifest and one password hash need this much.
const MIN_MEMORY: Size = Size::mib(16);

/// Minimum of `storage.budget`. An empty store with its database takes a quarter of this.
const MIN_BUDGET: Size = Size::mib(64);

/// Minimum of `manifests.max_size`: below it hardly any image could be pushed.
const MIN_MANIFEST: Size = Size(1 << 10);

/// Minimum read rate of the scrub per second: a slower scrub would not check a single image in a day.
pub const MIN_SCRUB_RATE: Size = Size(1 << 10);

fn sizes(config: &Config) -> Result<(), Invalid> {
    let least = MIN_MANIFEST;
    let most = Size::mib(64);
    let manifest = config.manifests.max_size;
    if !(least..=most).contains(&manifest) {
        return Err(("manifests.max_size", format!("must be from {least} to {most}, not {manifest}")));
    }
    if config.scrub.rate < MIN_SCRUB_RATE {
        let message = format!("must be at least {MIN_SCRUB_RATE}, not {}", config.scrub.rate);
        return Err(("scrub.rate", message));
    }
    if let Some(Budget::Size(budget)) = config.storage.budget
        && budget < MIN_BUDGET
    {
        return Err(("storage.budget", format!("must be at least {MIN_BUDGET}, not {budget}")));
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

fn quotas(config: &Config) -> Result<(), Invalid> {
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

fn identities(config: &Config) -> Result<(), Invalid> {
    let providers = &config.identity_providers;
    for (at, provider) in providers.iter().enumerate() {
        let name = &provider.name.0;
        let invalid = |why: &str| Err(("identity_providers", format!("{name}: {why}")));
        if providers[..at].iter().any(|other| other.name == provider.name) {
            return invalid("there are two providers of this name");
        }
        if provider.audience.is_none() && provider.client_id.is_none() {
            return invalid("set audience (for jobs) or client_id (for people)");
        }
        if provider.client_id.is_some() && config.server.public_url.is_none() {
            return invalid("client_id needs server.public_url, to which people return after signing in");
        }
        if provider.audience.is_some() && provider.audience == provider.client_id {
            return invalid(
                "audience must differ from client_id, or tokens of people would be accepted as those of jobs",
            );
        }
        if provider.visit > Span(MINUTE * 60 * 24) {
            return invalid("visit must be at most 1d");
        }
        if provider.client_secret.is_some() && provider.client_secret_file.is_some() {
            return invalid("set only one of client_secret and client_secret_file");
        }
        for (at, rule) in provider.settings(None).rules.iter().enumerate() {
            if let Err(error) = Rule::compile(rule) {
                return invalid(&format!("rules[{at}]: {}", Chain(&error)));
            }
        }
    }
    let missing = |key| (key, "must be set if another key of token_authority is set".to_owned());
    config.token_authority.settings().map(drop).map_err(missing)
}

fn check_combinations(config: &Config) -> Result<(), Invalid> {
    let storage = &config.storage;
    let lists = &config.lists;
    let server = &config.server;
    if storage.warn_free < storage.min_free {
        let warn = storage.warn_free;
        let min = storage.min_free;
        let message = format!("must be at least storage.min_free, which is {min}, not {warn}");
        return Err(("storage.warn_free", message));
    }
    if storage.low_mark >= storage.high_mark {
        let low = storage.low_mark;
        let high = storage.high_mark;
        let message = format!("must be less than storage.high_mark, which is {high}, not {low}");
        return Err(("storage.low_mark", message));
    }
    if lists.page > lists.max_page {
        let page = lists.page;
        let most = lists.max_page;
        return Err(("lists.page", format!("must be at most lists.max_page, which is {most}, not {page}")));
    }
    match (&server.tls_certificate, &server.tls_key) {
        (Some(_), None) => Err(("server.tls_key", "must be set if server.tls_certificate is set".into())),
        (None, Some(_)) => Err(("server.tls_certificate", "must be set if server.tls_key is set".into())),
        (None, None) if server.tls_client_ca.is_some() && !config.has_tls() => {
            Err(("server.tls_certificate", "must be set if server.tls_client_ca is set".into()))
        }
        _ => Ok(()),
    }
}
