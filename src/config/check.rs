//! Checks for values that have the right type but are out of range or contradict each other, and warnings about
//! settings that are valid but probably not intended.

use std::fmt::Display;
use std::time::Duration;

use super::auth::TokenAuthority;
use super::sections::{Config, ForwardedHeader, HAS_TRACES, Lists, Storage, Traces};
use super::units::{Budget, Count, Size, Span};
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
    acme(config)?;
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
        check_least(key, span, Span(Duration::from_millis(1)))?;
    }
    let auth = &config.auth;
    check_range("auth.token_lifetime", auth.token_lifetime, MIN_TOKEN_LIFETIME, DAY)?;
    check_range("auth.session_idle_timeout", auth.session_idle_timeout, MIN_SESSION, MAX_SESSION)?;
    check_range("auth.session_lifetime", auth.session_lifetime, MIN_SESSION, MAX_SESSION)
}

/// Minimum of the limits of a session: its last use is recorded to about a minute.
const MIN_SESSION: Span = Span::seconds(5 * 60);

/// Maximum of the limits of a session.
const MAX_SESSION: Span = Span::hours(365 * 24);

/// Minimum of `auth.token_lifetime`: clients assume this lifetime if a token response names none.
const MIN_TOKEN_LIFETIME: Span = Span::seconds(60);

const DAY: Span = Span::hours(24);

fn counts(config: &Config) -> Result<(), Invalid> {
    let check_range = |key, count, least, most| check_range(key, count, Count(least), Count(most));
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

fn check_range<T: PartialOrd + Display>(
    key: &'static str,
    value: T,
    least: T,
    most: T,
) -> Result<(), Invalid> {
    if (&least..=&most).contains(&&value) {
        return Ok(());
    }
    Err((key, format!("must be from {least} to {most}, not {value}")))
}

fn check_least<T: PartialOrd + Display>(key: &'static str, value: T, least: T) -> Result<(), Invalid> {
    if value >= least { Ok(()) } else { Err((key, format!("must be at least {least}, not {value}"))) }
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
    check_range("manifests.max_size", config.manifests.max_size, MIN_MANIFEST, Size::mib(64))?;
    check_least("scrub.rate", config.scrub.rate, MIN_SCRUB_RATE)?;
    if let Some(Budget::Size(budget)) = config.storage.budget {
        check_least("storage.budget", budget, MIN_BUDGET)?;
    }
    if let Some(memory) = config.server.memory {
        check_least("server.memory", memory, MIN_MEMORY)?;
    }
    if config.uploads.max_size.0 == 0 {
        return Err(("uploads.max_size", "must be at least 1B".into()));
    }
    Ok(())
}

fn quotas(config: &Config) -> Result<(), Invalid> {
    for (at, quota) in config.quotas.iter().enumerate() {
        let prefix = quota.prefix.as_str();
        if quota.bytes.is_none() && quota.tags.is_none() && quota.repositories.is_none() {
            return Err(("quotas", format!("the quota of {prefix:?} needs bytes, tags or repositories")));
        }
        if config.quotas[..at].iter().any(|other| other.prefix == quota.prefix) {
            return Err(("quotas", format!("there are two quotas of {prefix:?}")));
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
        if provider.visit > DAY {
            return invalid("visit must be at most 1d: it is how long a job stays logged in");
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

/// Finds ACME settings that contradict each other.
fn acme(config: &Config) -> Result<(), Invalid> {
    let acme = &config.acme;
    let server = &config.server;
    match (&acme.eab_key_id, &acme.eab_key_file) {
        (Some(_), None) => return Err(("acme.eab_key_file", "must be set if acme.eab_key_id is set".into())),
        (None, Some(_)) => return Err(("acme.eab_key_id", "must be set if acme.eab_key_file is set".into())),
        _ => {}
    }
    if !acme.is_on() {
        return Ok(());
    }
    if server.tls_certificate.is_some() || server.tls_key.is_some() {
        let message =
            "excludes server.tls_certificate and server.tls_key: use either ACME or certificate files";
        return Err(("acme.names", message.into()));
    }
    if !acme.accept_terms {
        let directory = &acme.directory;
        let message = format!("must be true: agree to the terms of service of {directory}");
        return Err(("acme.accept_terms", message));
    }
    Ok(())
}

fn check_combinations(config: &Config) -> Result<(), Invalid> {
    let storage = &config.storage;
    let lists = &config.lists;
    let server = &config.server;
    if storage.warn_free < storage.min_free {
        let Storage { warn_free: warn, min_free: min, .. } = storage;
        let message = format!("must be at least storage.min_free, which is {min}, not {warn}");
        return Err(("storage.warn_free", message));
    }
    if storage.low_mark >= storage.high_mark {
        let Storage { low_mark: low, high_mark: high, .. } = storage;
        let message = format!("must be less than storage.high_mark, which is {high}, not {low}");
        return Err(("storage.low_mark", message));
    }
    if lists.page > lists.max_page {
        let Lists { page, max_page: most } = lists;
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

/// Free space that the database needs for deletes and garbage collection on an otherwise full disk.
const MIN_FREE_FOR_DELETES: Size = Size::mib(64);

impl Config {
    /// Returns warnings, one line each. Warnings about policies are not included.
    pub fn warnings(&self) -> Vec<String> {
        let storage = &self.storage;
        let defaults = Storage::default();
        let budget_keys = [
            ("storage.high_mark", storage.high_mark != defaults.high_mark),
            ("storage.low_mark", storage.low_mark != defaults.low_mark),
        ];
        let unused_marks = budget_keys.into_iter().filter(|(_, chosen)| *chosen && storage.budget.is_none());
        let unused_mark = |key| format!("{key} has no effect without storage.budget");
        let low_reserve = (storage.min_free < MIN_FREE_FOR_DELETES).then(|| {
            let min = storage.min_free;
            format!("storage.min_free = {min} is less than the {MIN_FREE_FOR_DELETES} that deletes may need")
        });
        let open_proxies = self.server.trusted_proxies.iter().find(|network| network.is_everything());
        let open_proxies = open_proxies.map(|network| {
            format!("server.trusted_proxies = {network} trusts all clients, which can then claim any address")
        });
        let unused_header = (self.server.forwarded_header != ForwardedHeader::XForwarded
            && self.server.trusted_proxies.is_empty())
        .then(|| "server.forwarded_header has no effect without server.trusted_proxies".into());
        let proxies = open_proxies.into_iter().chain(unused_header);
        let unused_acme = self.acme.idle_key();
        let unused_acme = unused_acme.map(|key| format!("{key} has no effect without acme.names"));
        let exposed_tokens = (!self.identity_providers.is_empty()
            && self.token_authority != TokenAuthority::default())
        .then(|| {
            "identity_providers: clients send the providers' tokens to token_authority.realm".to_owned()
        });
        let others = self.trace_warning().into_iter().chain(unused_acme).chain(exposed_tokens);
        unused_marks
            .map(|(key, _)| unused_mark(key))
            .chain(low_reserve)
            .chain(proxies)
            .chain(others)
            .collect()
    }

    fn trace_warning(&self) -> Option<String> {
        match &self.traces.endpoint {
            Some(_) if !HAS_TRACES => {
                Some("traces.endpoint has no effect in this build, which lacks the feature otlp".into())
            }
            None if self.traces != Traces::default() => {
                Some("traces.sample has no effect without traces.endpoint".into())
            }
            _ => None,
        }
    }
}
