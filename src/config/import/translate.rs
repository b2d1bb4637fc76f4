//! Which setting of Orlop a key of a Distribution registry becomes, and what to do about the others.

use std::time::Duration;

use super::document::Document;
use super::report::{Carried, ImportError, Imported, Remark};
use crate::config::auth::PrivateUrl;
use crate::config::text::Text;
use crate::config::units::{Listen, PublicUrl, Span, WebOrigin};

/// The data directory that `orlop adopt` creates in the directory of the other registry.
const ADOPTED: &str = "orlop";

/// Keys without a counterpart: the first that is a prefix applies.
const WITHOUT_COUNTERPART: [(&str, &str); 38] = [
    ("version", ""),
    ("http.secret", "not needed: uploads need no secret that instances share"),
    ("http.relativeurls", "not needed: orlop always answers with relative URLs"),
    ("http.prefix", "orlop serves /v2/ at the root of its host only: give it a host name of its own"),
    ("http.net", "orlop listens on TCP only: let a reverse proxy listen on the Unix socket"),
    ("http.debug.prometheus", "orlop serves metrics at /metrics of its own port, without a setting"),
    ("http.debug", "orlop has no debug server: /livez, /readyz and /metrics are on its own port"),
    ("http.http2", "orlop always offers HTTP/2 over TLS"),
    ("http.h2c", "orlop always accepts HTTP/2 without TLS"),
    ("http.headers", "set these headers at a reverse proxy, if clients need them"),
    ("http.tls.minimumtls", "orlop accepts TLS 1.2 and 1.3"),
    ("http.tls.ciphersuites", "orlop chooses the cipher suites"),
    ("log.fields", "orlop adds no fields to log lines: add them where the log is collected"),
    ("log.hooks", "orlop sends no mail: watch its log, or the events of `orlop events`"),
    ("log.reportcaller", "orlop log lines name their module"),
    ("storage.filesystem.maxthreads", "not needed: uploads.parallel limits concurrent uploads"),
    ("storage.cache", "not needed: metadata is in a database with a cache of its own"),
    ("storage.redirect", "not needed: blobs come from the registry itself"),
    ("storage.tag", "not needed"),
    ("storage.maintenance.uploadpurging.interval", "not needed: uploads end when they are due"),
    ("storage.maintenance.uploadpurging.dryrun", "not needed: only idle uploads expire"),
    ("auth.htpasswd.realm", "not needed"),
    ("auth.silly", "this accepts anything: use auth.htpasswd, or `orlop user add`"),
    ("auth", "orlop does not have this kind of authentication: see docs/users.md and docs/identities.md"),
    ("middleware", "orlop has no plug-ins"),
    ("notifications", "orlop sends no notifications: poll `orlop events`, or GET /api/v1 (docs/api.md)"),
    ("redis", "not needed: orlop uses no Redis"),
    ("health", "not needed: orlop checks its storage at /readyz, and `orlop healthcheck` asks it"),
    ("reporting", "orlop reports to no service: collect its log, or its traces (docs/tracing.md)"),
    ("compatibility.schema1", "orlop does not accept schema 1 manifests, which Docker deprecated in 2017"),
    ("compatibility", "orlop does not have this setting"),
    ("validation.disabled", "orlop always checks that what a manifest refers to exists"),
    ("validation.enabled", "orlop always checks that what a manifest refers to exists"),
    ("validation", "orlop accepts manifests whose layers have URLs, and does not check these URLs"),
    ("policy", "orlop accepts all kinds of artifacts"),
    ("http.tls.letsencrypt", "see [acme] in config/orlop.example.toml"),
    ("proxy", "orlop is no pull-through cache"),
    ("storage", "orlop does not have this setting"),
];

/// Translates a document.
pub(super) fn translate(document: Document) -> Result<Imported, ImportError> {
    let mut translation = Translation { document, result: Imported::default() };
    translation.storage()?;
    translation.cache();
    translation.address();
    translation.tls();
    translation.origins();
    translation.authentication();
    translation.limits();
    translation.log();
    translation.rest();
    Ok(translation.result)
}

struct Translation {
    document: Document,
    result: Imported,
}

impl Translation {
    /// Sets `section.name` from `key`.
    fn carry(&mut self, key: &str, section: &'static str, name: &'static str, value: impl Into<toml::Value>) {
        self.result.set(section, name, value);
        let from = self.document.show(key);
        self.result.carried.push(Carried { from, to: format!("{section}.{name}") });
    }

    fn remark(&mut self, key: &str, text: impl Into<String>) {
        let key = self.document.show(key);
        self.result.remarks.push(Remark { key, text: text.into() });
    }

    fn step(&mut self, text: impl Into<String>) {
        self.result.steps.push(text.into());
    }

    fn carry_text(&mut self, key: &str, section: &'static str, name: &'static str) {
        if let Some(text) = self.document.take_text(key) {
            self.carry(key, section, name, text);
        }
    }

    /// Carries a text over if Orlop accepts it.
    fn carry_parsed<T: Text>(&mut self, key: &str, section: &'static str, name: &'static str, text: String) {
        match T::parse(&text) {
            Some(_) => self.carry(key, section, name, text),
            None => self.remark(key, format!("{text:?} is not {}: set {section}.{name}", T::EXPECTED)),
        }
    }

    /// Carries a duration over, which Go writes like `1h30m`.
    fn carry_span(&mut self, key: &str, section: &'static str, name: &'static str) {
        let Some(text) = self.document.take_text(key) else { return };
        match parse_go_duration(&text) {
            Some(span) => self.carry(key, section, name, Span(span).to_string()),
            None => self.remark(key, format!("{text:?} is not a duration: set {section}.{name}")),
        }
    }

    fn storage(&mut self) -> Result<(), ImportError> {
        const OPTIONS: [&str; 7] =
            ["filesystem", "cache", "delete", "redirect", "maintenance", "tag", "middleware"];
        let mut drivers = self.document.names("storage").into_iter();
        if let Some(driver) = drivers.find(|name| !OPTIONS.contains(&name.as_str())) {
            return Err(ImportError::Driver { driver });
        }
        self.directory();
        if self.document.take_bool("storage.maintenance.readonly.enabled") == Some(true) {
            self.carry("storage.maintenance.readonly.enabled", "storage", "read_only", true);
        }
        match self.document.take_bool("storage.maintenance.uploadpurging.enabled") {
            Some(false) => self.remark(
                "storage.maintenance.uploadpurging.enabled",
                "orlop always ends abandoned uploads, after uploads.expire",
            ),
            _ => self.carry_span("storage.maintenance.uploadpurging.age", "uploads", "expire"),
        }
        Ok(())
    }

    /// Carries the directory over. That of a cache holds no images of its own, so there is nothing to adopt.
    fn directory(&mut self) {
        let key = "storage.filesystem.rootdirectory";
        let directory = self.document.take_text(key).unwrap_or_else(|| "/var/lib/registry".to_owned());
        if self.document.has("proxy.remoteurl") {
            return;
        }
        self.carry(key, "storage", "data", format!("{}/{ADOPTED}", directory.trim_end_matches('/')));
        self.step(format!(
            "stop the old registry, and run `orlop adopt {directory}`: it takes over the images without copying them"
        ));
    }

    /// Says that the registry is a cache.
    fn cache(&mut self) {
        if let Some(upstream) = self.document.take_text("proxy.remoteurl") {
            self.remark(
                "proxy.remoteurl",
                format!(
                    "this registry is a pull-through cache of {upstream}, not a registry of your own images. Orlop \
                     does not cache another registry: keep the old registry for that, or push the images you need"
                ),
            );
        }
    }

    fn address(&mut self) {
        if let Some(address) = self.document.take_text("http.addr") {
            self.carry_parsed::<Listen>("http.addr", "server", "listen", listen_address(&address));
        }
        if let Some(host) = self.document.take_text("http.host") {
            self.carry_parsed::<PublicUrl>("http.host", "server", "public_url", host);
        }
        self.carry_span("http.draintimeout", "server", "drain_timeout");
    }

    fn tls(&mut self) {
        let certificate = self.document.has("http.tls.certificate");
        let key = self.document.has("http.tls.key");
        if certificate && key {
            self.carry_text("http.tls.certificate", "server", "tls_certificate");
            self.carry_text("http.tls.key", "server", "tls_key");
        } else if certificate || key {
            let name = if certificate { "http.tls.certificate" } else { "http.tls.key" };
            self.document.take(name);
            self.remark(name, "TLS needs both a certificate and a key: set both");
        }
        let authorities = self.document.take_list("http.tls.clientcas");
        match authorities.as_slice() {
            [] => {}
            [file] if certificate && key => {
                self.carry("http.tls.clientcas", "server", "tls_client_ca", file.clone());
            }
            _ => self.remark(
                "http.tls.clientcas",
                "server.tls_client_ca is one file, and needs a certificate and a key: concatenate the files",
            ),
        }
        self.lets_encrypt();
    }

    fn lets_encrypt(&mut self) {
        let hosts = self.document.take_list("http.tls.letsencrypt.hosts");
        let email = self.document.take_text("http.tls.letsencrypt.email");
        self.document.take("http.tls.letsencrypt.cachefile");
        if !hosts.is_empty() || email.is_some() {
            let email = email.map(|email| format!("email = {email:?}, ")).unwrap_or_default();
            self.remark(
                "http.tls.letsencrypt",
                format!(
                    "set names = {hosts:?}, {email}and accept_terms = true in [acme], if you agree to the terms of \
                     the authority. Port 443 must lead to orlop"
                ),
            );
        }
    }

    /// Carries the origins of web pages over, which are written as a header.
    fn origins(&mut self) {
        let key = "http.headers.Access-Control-Allow-Origin";
        let origins = self.document.take_list(key);
        let (valid, invalid): (Vec<_>, Vec<_>) =
            origins.into_iter().partition(|origin| WebOrigin::parse(origin).is_some());
        if !valid.is_empty() {
            self.carry(key, "server", "cors_origins", valid);
        }
        if !invalid.is_empty() {
            self.remark(key, "list each origin in server.cors_origins: orlop knows no `*`");
        }
        for name in ["Methods", "Headers", "Credentials", "Expose-Headers"] {
            let prefix = if name == "Expose-Headers" { "" } else { "Allow-" };
            self.document.take(&format!("http.headers.Access-Control-{prefix}{name}"));
        }
    }

    fn authentication(&mut self) {
        let deletes = self.document.take_bool("storage.delete.enabled") == Some(true);
        if self.document.has("auth.htpasswd.path") {
            self.carry_text("auth.htpasswd.path", "auth", "htpasswd");
            // An empty file must not open the registry.
            self.result.set("auth", "mode", "closed");
            if !deletes {
                self.carry("storage.delete.enabled", "auth", "htpasswd_role", "push");
            }
            self.step(
                "the users of the htpasswd file keep their passwords. The first start also creates the administrator \
                 `admin`, and shows its password once; set roles with `orlop org grant`",
            );
        } else if self.document.has("auth.token") {
            self.token();
        } else if !self.document.has("auth") {
            self.step(
                "anyone who can reach the port may pull, push and delete, until there is a user: add one with \
                 `orlop user add`",
            );
        }
        if !deletes && !self.document.has("auth.htpasswd") {
            self.remark(
                "storage.delete.enabled",
                "orlop has no such switch: who may delete is a right (docs/users.md), and what was deleted can be \
                 restored for gc.trash",
            );
        }
    }

    fn token(&mut self) {
        let names = ["realm", "service", "issuer"];
        let keys = ["auth.token.jwks", "auth.token.rootcertbundle"];
        let keys = keys.into_iter().find(|key| self.document.has(key));
        let is_complete = names.iter().all(|name| self.document.has(&format!("auth.token.{name}")));
        match keys {
            Some(key) if is_complete => {
                let realm = self.document.take_text("auth.token.realm").unwrap_or_default();
                if PrivateUrl::parse(&realm).is_none() {
                    self.remark(
                        "auth.token.realm",
                        format!("{realm:?} is not {}: set [token_authority]", PrivateUrl::EXPECTED),
                    );
                } else {
                    self.carry("auth.token.realm", "token_authority", "realm", realm);
                    self.carry_text("auth.token.service", "token_authority", "service");
                    self.carry_text("auth.token.issuer", "token_authority", "issuer");
                    self.carry_text(key, "token_authority", "keys");
                }
            }
            _ => self.remark(
                "auth.token",
                "realm, service, issuer and rootcertbundle (or jwks) are all required: set [token_authority]",
            ),
        }
        self.document.take("auth.token");
    }

    fn limits(&mut self) {
        if let Some(count) = self.document.take_text("catalog.maxentries") {
            match count.parse::<i64>() {
                Ok(count @ 1..=100_000) => {
                    self.carry("catalog.maxentries", "lists", "max_page", count);
                    self.result.set("lists", "page", count.min(1000));
                }
                _ => self.remark("catalog.maxentries", "set lists.max_page, from 1 to 100000"),
            }
        }
        let key = "validation.manifests.indexes.platforms";
        if let Some(platforms) = self.document.take_text(key) {
            self.document.take("validation.manifests.indexes.platformlist");
            match platforms.as_str() {
                "all" => self.carry(key, "manifests", "sparse", "refuse"),
                _ => self.carry(key, "manifests", "sparse", "allow"),
            }
        }
    }

    fn log(&mut self) {
        let level = self.document.take_text("log.level").map(|level| ("log.level", level));
        let old = self.document.take_text("loglevel").map(|level| ("loglevel", level));
        if let Some((key, level)) = level.or(old) {
            match level.to_lowercase().as_str() {
                level @ ("error" | "warn" | "info" | "debug" | "trace") => {
                    self.carry(key, "log", "level", level.to_owned());
                }
                "warning" => self.carry(key, "log", "level", "warn"),
                "fatal" | "panic" => self.carry(key, "log", "level", "error"),
                other => self.remark(key, format!("unknown level {other:?}: set log.level")),
            }
        }
        match self.document.take_text("log.formatter").as_deref() {
            Some("json") => self.carry("log.formatter", "log", "format", "json"),
            Some("logstash") => {
                self.carry("log.formatter", "log", "format", "json");
                self.remark("log.formatter", "orlop has no logstash format: its JSON has other field names");
            }
            Some(_) => self.carry("log.formatter", "log", "format", "text"),
            None => {}
        }
        if let Some(disabled) = self.document.take_bool("log.accesslog.disabled") {
            self.carry("log.accesslog.disabled", "log", "access", !disabled);
        }
    }

    /// Reports what is left.
    fn rest(&mut self) {
        let mut reported: Option<&str> = None;
        for key in self.document.rest() {
            let known = WITHOUT_COUNTERPART.iter().find(|(prefix, _)| is_below(&key, prefix));
            match known {
                Some((_, "")) => {}
                // One line for all keys below it.
                Some((prefix, _)) if reported == Some(*prefix) => {}
                Some((prefix, text)) => {
                    reported = Some(prefix);
                    let shown = if self.document.show(&key) == key { (*prefix).to_owned() } else { key };
                    self.remark(&shown, *text);
                }
                None => self.remark(&key, "unknown, as to the old registry"),
            }
        }
    }
}

/// Whether `key` is `prefix` or below it.
fn is_below(key: &str, prefix: &str) -> bool {
    key.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Completes an address as Go reads it: `:5000` is all addresses, and `localhost:5000` the local one.
fn listen_address(address: &str) -> String {
    match address.rsplit_once(':') {
        Some(("", port)) => format!("0.0.0.0:{port}"),
        Some(("localhost", port)) => format!("127.0.0.1:{port}"),
        _ => address.to_owned(),
    }
}

/// Parses a duration of Go, such as `1h30m` or `1.5h`; also a bare number, which counts nanoseconds.
fn parse_go_duration(text: &str) -> Option<Duration> {
    if let Ok(nanoseconds) = text.parse::<u64>() {
        return Some(Duration::from_nanos(nanoseconds));
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let unit = rest[number..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |end| number + end);
        let seconds = match &rest[number..unit] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        let number: f64 = rest[..number].parse().ok()?;
        total = total.checked_add(Duration::try_from_secs_f64(number * seconds).ok()?)?;
        rest = &rest[unit..];
    }
    (total > Duration::ZERO).then_some(total)
}
