//! Settings: their sources, and the error messages for invalid ones.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use orlop::config::{
    Budget, Config, Flag, ForwardedHeader, HAS_TRACES, Percent, Period, Size, Sources, Span, Untagged,
};
use orlop::errors::Chain;

const EXAMPLE: &str = include_str!("../config/orlop.example.toml");

fn environment(variables: &[(&str, &str)]) -> Sources {
    let pair = |(name, value): &(&str, &str)| (name.into(), value.into());
    Sources { environment: variables.iter().map(pair).collect(), ..Sources::default() }
}

fn file(text: &str) -> (tempfile::TempDir, Sources) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("orlop.toml");
    std::fs::write(&path, text).expect("written");
    let sources = Sources { file: Some(path), ..Sources::default() };
    (dir, sources)
}

/// Returns the error about a configuration file, without the file's directory.
fn error_in_file(text: &str) -> String {
    let (dir, sources) = file(text);
    let message = Chain(&Config::load(&sources).expect_err(text)).to_string();
    message.replace(&format!("{}/", dir.path().display()), "")
}

fn error_in_variable(name: &str, value: &str) -> String {
    Chain(&Config::load(&environment(&[(name, value)])).expect_err(name)).to_string()
}

#[test]
fn defaults_apply_without_any_source() {
    let config = Config::load(&Sources::default()).expect("defaults are sound");
    assert_eq!(config, Config::default());
    assert_eq!(config.server.listen.to_string(), "0.0.0.0:5000");
    assert_eq!(config.metadata_dir(), Path::new("./orlop-data/metadata"));
}

#[test]
fn example_shows_the_defaults() {
    let (_dir, sources) = file(EXAMPLE);
    assert_eq!(Config::load(&sources).expect("valid"), Config::default());
}

/// Returns the example with the settings in comments switched on.
fn whole_example() -> String {
    let setting = |line: &str| {
        line.strip_prefix('#')
            .is_some_and(|rest| rest.starts_with(char::is_lowercase) || rest.starts_with("[["))
    };
    let uncommented = |line: &str| {
        if setting(line) { line[1..].to_owned() } else { line.to_owned() }
    };
    EXAMPLE.lines().map(uncommented).collect::<Vec<_>>().join("\n")
}

#[test]
fn example_names_every_key() {
    let example: toml::Table = whole_example().parse().expect("valid");
    let defaults = serde_json::to_value(Config::default()).expect("serialises");
    let names = |section: &serde_json::Value| -> BTreeSet<String> {
        section.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect()
    };
    for (section, settings) in defaults.as_object().expect("sections") {
        let shown = serde_json::to_value(&example[section]).expect("serialises");
        assert_eq!(names(&shown), names(settings), "[{section}]");
    }
    let (_dir, sources) = file(&whole_example());
    Config::load(&sources).expect("commented settings are valid too");
}

#[test]
fn flags_override_variables_and_variables_override_the_file() {
    let (_dir, mut sources) = file("[gc]\ninterval = \"1m\"\nlease = \"1h\"\nbatch = 7");
    sources.environment =
        environment(&[("ORLOP_GC__INTERVAL", "200ms"), ("ORLOP_STORAGE__DATA", "/env")]).environment;
    sources.flags = vec![Flag { name: "--data", key: "storage.data", value: "/flag".into() }];
    let config = Config::load(&sources).expect("valid");
    assert_eq!(config.gc.interval, Span(Duration::from_millis(200)));
    assert_eq!(config.gc.lease, Span::hours(1));
    assert_eq!(config.gc.batch.0, 7);
    assert_eq!(config.gc.trash, Span::hours(24));
    assert_eq!(config.storage.data, Path::new("/flag"));
}

#[test]
fn variables_accept_every_type_of_value() {
    let config = Config::load(&environment(&[
        ("ORLOP_STORAGE__READ_ONLY", "true"),
        ("ORLOP_SERVER__MAX_CONNECTIONS", "12"),
        ("ORLOP_STORAGE__MIN_FREE", "64MiB"),
        ("ORLOP_GC__UNTAGGED", "keep"),
        ("ORLOP_SERVER__LISTEN", "[::]:80"),
        ("ORLOP_SERVER__PUBLIC_URL", "https://registry.example.com/"),
        ("ORLOP_LOG__LEVEL", "info,orlop::registry=debug"),
        ("ORLOP_QUOTAS", r#"[{ prefix = "team/", bytes = "1GB" }]"#),
        ("ORLOP_RETENTION__POLICIES", r#"[{ preset = "ci" }]"#),
    ]))
    .expect("valid");
    assert_eq!(config.quotas.len(), 1);
    assert_eq!(config.retention.policies[0].preset.as_deref(), Some("ci"));
    assert!(config.storage.read_only);
    assert_eq!(config.server.max_connections.0, 12);
    assert_eq!(config.storage.min_free, Size::mib(64));
    assert_eq!(config.gc.untagged, Untagged::Keep);
    assert_eq!(config.server.listen.to_string(), "[::]:80");
    let url = config.server.public_url.expect("set");
    assert_eq!(url.to_string(), "https://registry.example.com");
}

#[test]
fn list_in_a_variable_has_toml_syntax() {
    let refused = error_in_variable("ORLOP_QUOTAS", "team/");
    assert!(refused.starts_with("quotas (set by ORLOP_QUOTAS): must be a list in TOML syntax"), "{refused}");
    let refused = error_in_variable("ORLOP_RETENTION__POLICIES", r#"[{ presex = "ci" }]"#);
    assert!(
        refused.starts_with("retention.policies[0].presex (set by ORLOP_RETENTION__POLICIES)"),
        "{refused}"
    );
}

#[test]
fn scrub_can_be_switched_off() {
    let period = |text: &str| {
        let config = Config::load(&environment(&[("ORLOP_SCRUB__PERIOD", text)])).expect("valid");
        config.scrub.period
    };
    assert_eq!(period("off"), Period::Off);
    assert_eq!(period("0s"), Period::Off);
    assert_eq!(period("7d"), Period::Every(Span::hours(7 * 24)));
    assert_eq!(
        error_in_file("[scrub]\nrate = \"1B\""),
        "scrub.rate (in orlop.toml): must be at least 1KiB, not 1B"
    );
}

#[test]
fn ignores_variables_of_other_services() {
    let variables = [
        ("ORLOP_CONFIG", "/etc/orlop.toml"),
        ("ORLOP_PORT", "tcp://10.0.0.7:5000"),
        ("ORLOP_PORT_5000_TCP_ADDR", "10.0.0.7"),
        ("ORLOP_SERVICE_HOST", "10.0.0.7"),
        ("ORLOP_SERVICE_PORT", "5000"),
        ("ORLOP_UI_SERVICE_HOST", "10.0.0.9"),
        ("ORLOP_UI_SERVICE_PORT", "80"),
        ("ORLOP_UI_SERVICE_PORT_HTTP", "80"),
        ("ORLOP_UI_PORT", "tcp://10.0.0.9:80"),
        ("ORLOP_UI_PORT_80_TCP", "tcp://10.0.0.9:80"),
        ("ORLOP_UI_PORT_80_TCP_PROTO", "tcp"),
        ("ORLOP_AUTH_PORT_53_UDP_ADDR", "10.0.0.9"),
        ("ORLOP_DOCKER_REGISTRY_PORT_132_SCTP_PORT", "132"),
        ("ORLOP_METRICS_SERVER_SERVICE_HOST", "10.0.0.9"),
        ("ORLOP_STORAGE_PORT", "tcp://10.0.0.9:80"),
        ("ORLOP_NAME", "/web/orlop"),
        ("ORLOP_UI_NAME", "/web/orlop-ui"),
        ("ORLOP_ENV_PATH", "/bin"),
        ("ORLOP_UI_ENV_GC__LEASE", "1h"),
        ("ORLOP_GC__LEASE", ""),
        ("PATH", "/bin"),
    ];
    let config = Config::load(&environment(&variables)).expect("none is a setting");
    assert_eq!(config, Config::default());
}

#[test]
fn misspelt_settings_are_not_ignored_as_other_services() {
    for name in [
        "ORLOP_SERVER__PORT",
        "ORLOP_SERVER__SERVICE_HOST",
        "ORLOP_SERVER_LISTEN",
        "ORLOP_QUOTAS__NAME",
        "ORLOP_GC__ENV_LEASE",
        "ORLOP_PORTS",
        "ORLOP_UI_PORTAL",
        "ORLOP_UI_PORT_80",
        "ORLOP_SERVICE_HOSTS",
        "ORLOP_NAME",
        "ORLOP_ENV",
    ] {
        let refused = error_in_variable(name, "5000");
        assert!(refused.starts_with(name), "{refused}");
    }
}

#[test]
fn suggests_corrections_for_settings_of_other_servers() {
    for (text, suggestion) in [
        (":5000", "write \"0.0.0.0:5000\", or \"[::]:5000\" for IPv6 too"),
        ("5000", "write \"0.0.0.0:5000\", or \"[::]:5000\" for IPv6 too"),
        ("*:5000", "write \"0.0.0.0:5000\", or \"[::]:5000\" for IPv6 too"),
        ("localhost:5000", "write \"127.0.0.1:5000\", or \"[::1]:5000\" for IPv6"),
    ] {
        let refused = error_in_file(&format!("[server]\nlisten = {text:?}"));
        assert!(refused.ends_with(suggestion), "{refused}");
    }
    for yaml in ["version: 0.1\nlog:\n  fields:\n", "# zot\n---\nhttp:\n  port: 5000\n", "storage:\n"] {
        assert!(error_in_file(yaml).contains("is YAML, but the configuration must be TOML"), "{yaml}");
    }
    for nonsense in ["server = ", "http://example.com", "{\"a\": 1}"] {
        assert!(error_in_file(nonsense).contains("is not valid TOML"), "{nonsense}");
    }
}

#[test]
fn reads_file_with_byte_order_mark() {
    let (_dir, sources) = file("\u{feff}[gc]\nlease = \"2h\"\n");
    assert_eq!(Config::load(&sources).expect("read").gc.lease.to_string(), "2h");
}

#[test]
fn unknown_key_error_lists_existing_keys() {
    assert_eq!(
        error_in_file("[gc]\nintervall = \"1m\""),
        "gc.intervall (in orlop.toml): no such setting; gc has batch, interval, lease, lease_pressure, trash, untagged"
    );
    assert_eq!(
        error_in_file("[collector]\ninterval = \"1m\""),
        "collector (in orlop.toml): no such section; \
         the sections are acme, api, audit, auth, events, gc, history, identity_providers, lists, log, manifests, metadata, metrics, outbound, quotas, retention, scrub, server, storage, token_authority, traces, ui, uploads"
    );
    assert_eq!(error_in_file("gc = 5"), "gc (in orlop.toml): must be a section, [gc]");
}

#[test]
fn rejects_unknown_variables() {
    assert_eq!(
        error_in_variable("ORLOP_GC__INTERVALL", "1m"),
        "ORLOP_GC__INTERVALL: no such setting; gc has batch, interval, lease, lease_pressure, trash, untagged"
    );
    assert_eq!(
        error_in_variable("ORLOP_GC_INTERVAL", "1m"),
        "ORLOP_GC_INTERVAL: no such setting; did you mean ORLOP_GC__INTERVAL?"
    );
    assert_eq!(
        error_in_variable("ORLOP_gc__interval", "1m"),
        "ORLOP_gc__interval: no such setting; did you mean ORLOP_GC__INTERVAL?"
    );
    assert_eq!(
        error_in_variable("ORLOP_LISTEN", ":80"),
        "ORLOP_LISTEN: no such section; \
         the sections are acme, api, audit, auth, events, gc, history, identity_providers, lists, log, manifests, metadata, metrics, outbound, quotas, retention, scrub, server, storage, token_authority, traces, ui, uploads"
    );
}

#[test]
fn wrong_unit_error_names_valid_units() {
    let duration = "a duration with its unit, such as \"200ms\", \"10m\" or \"14d\"";
    assert_eq!(
        error_in_file("[gc]\ninterval = 10"),
        format!("gc.interval (in orlop.toml): 10 is not {duration}")
    );
    for text in ["0", "10", "ten minutes", "-1s", "1e9d", "99999999999y"] {
        assert_eq!(
            error_in_variable("ORLOP_GC__INTERVAL", text),
            format!("gc.interval (set by ORLOP_GC__INTERVAL): {text:?} is not {duration}")
        );
    }
    for text in ["4194304", "4 bananas", "-1MiB"] {
        assert_eq!(
            error_in_variable("ORLOP_MANIFESTS__MAX_SIZE", text),
            format!(
                "manifests.max_size (set by ORLOP_MANIFESTS__MAX_SIZE): {text:?} \
                 is not a size with its unit, such as \"512MiB\" or \"2GB\""
            )
        );
    }
    assert_eq!(
        error_in_variable("ORLOP_GC__UNTAGGED", "never"),
        "gc.untagged (set by ORLOP_GC__UNTAGGED): \"never\" \
         is not a duration with its unit, such as \"14d\", or \"keep\""
    );
    assert_eq!(
        error_in_variable("ORLOP_SCRUB__PERIOD", "never"),
        "scrub.period (set by ORLOP_SCRUB__PERIOD): \"never\" \
         is not a duration with its unit, such as \"30d\", or \"off\""
    );
}

#[test]
fn wrong_type_error_names_the_right_type() {
    assert_eq!(
        error_in_file("[uploads]\nparallel = \"many\""),
        "uploads.parallel (in orlop.toml): \"many\" is not a whole number"
    );
    assert_eq!(
        error_in_file("[uploads]\nparallel = -1"),
        "uploads.parallel (in orlop.toml): -1 is not a number from 0 to 4294967295"
    );
    assert_eq!(
        error_in_variable("ORLOP_STORAGE__READ_ONLY", "yes"),
        "storage.read_only (set by ORLOP_STORAGE__READ_ONLY): \"yes\" is not true or false"
    );
    assert_eq!(
        error_in_file("[manifests]\nsparse = \"yes\""),
        "manifests.sparse (in orlop.toml): unknown variant `yes`, expected `refuse` or `allow`"
    );
    assert_eq!(
        error_in_file("[server]\nlisten = \":5000\""),
        "server.listen (in orlop.toml): \":5000\" is not an IP address with a port, \
         such as \"0.0.0.0:5000\" or \"[::]:5000\": write \"0.0.0.0:5000\", or \"[::]:5000\" for IPv6 too"
    );
    assert_eq!(
        error_in_file("[server]\npublic_url = \"registry.example.com\""),
        "server.public_url (in orlop.toml): \"registry.example.com\" is not a URL without a path, \
         such as \"https://registry.example.com\""
    );
    assert_eq!(
        error_in_file("[log]\nlevel = \"loud\""),
        "log.level (in orlop.toml): \"loud\" is not off, error, warn, info, debug, trace, \
         or directives such as \"info,orlop::registry=debug\""
    );
}

#[test]
fn rejects_values_out_of_range() {
    for (key, section) in [("interval", "gc"), ("lease", "gc"), ("expire", "uploads")] {
        assert_eq!(
            error_in_file(&format!("[{section}]\n{key} = \"0s\"")),
            format!("{section}.{key} (in orlop.toml): must be at least 1ms, not 0s")
        );
    }
    assert_eq!(error_in_file("[gc]\nbatch = 0"), "gc.batch (in orlop.toml): must be from 1 to 100000, not 0");
    assert_eq!(
        error_in_file("[storage]\nmin_free = \"3GiB\"\nwarn_free = \"2GiB\""),
        "storage.warn_free (in orlop.toml): must be at least storage.min_free, which is 3GiB, not 2GiB"
    );
    assert_eq!(
        error_in_file("[lists]\npage = 20000"),
        "lists.page (in orlop.toml): must be at most lists.max_page, which is 10000, not 20000"
    );
    assert_eq!(
        error_in_file("[server]\ntls_certificate = \"/etc/tls.crt\""),
        "server.tls_key (by default): must be set if server.tls_certificate is set"
    );
    assert_eq!(
        error_in_file("[server]\ntls_client_ca = \"/etc/ca.crt\""),
        "server.tls_certificate (by default): must be set if server.tls_client_ca is set"
    );
    assert_eq!(
        error_in_file("[manifests]\nmax_size = \"1GiB\""),
        "manifests.max_size (in orlop.toml): must be from 1KiB to 64MiB, not 1GiB"
    );
    assert_eq!(
        error_in_file("[auth]\nsession_lifetime = \"1s\""),
        "auth.session_lifetime (in orlop.toml): must be from 5m to 365d, not 1s"
    );
}

#[test]
fn origins_are_written_as_browsers_write_them() {
    let load = |origin: &str| Config::load(&file(&format!("[server]\ncors_origins = [\"{origin}\"]")).1);
    for valid in [
        "https://pages.example.com",
        "http://10.0.0.2:8080",
        "http://[::1]:3000",
        "https://xn--bcher-kva.example",
    ] {
        assert_eq!(load(valid).expect("valid").server.cors_origins[0].to_string(), valid);
    }
    for invalid in [
        "*",
        "null",
        "pages.example.com",
        "https://pages.example.com/",
        "https://pages.example.com/x",
        "https://Pages.example.com",
        "https://pages.example.com:443",
        "https://a@pages.example.com",
        "ftp://pages.example.com",
        "https://bücher.example",
    ] {
        let message = error_in_file(&format!("[server]\ncors_origins = [\"{invalid}\"]"));
        assert!(message.contains("is not an origin as browsers write it"), "{message}");
    }
}

#[test]
fn reads_policies() {
    let text = r#"
[retention]
interval = "10m"
[[retention.policies]]
preset = "ci"
repositories = ["team/**"]
[[retention.immutable]]
tags = ["v*"]
"#;
    let (_dir, sources) = file(text);
    let retention = Config::load(&sources).expect("valid").retention;
    assert_eq!(retention.interval, Span(Duration::from_secs(600)));
    let (compiled, warnings) = retention.policies().compile().expect("sound");
    assert!(compiled.rules().next().is_some() && warnings.is_empty());
    assert!(compiled.is_immutable(&"a".parse().expect("name"), &"v1".parse().expect("tag")));
}

#[test]
fn policy_error_names_the_rule() {
    let rule = |selector: &str| {
        let head = "[[retention.policies]]\nname = \"builds\"\n[[retention.policies.rules]]\nname = \"old\"\naction = \"expire\"";
        error_in_file(&format!("{head}\n{selector}"))
    };
    for (selector, says) in [
        ("tag_regex = \"(\"", "tag_regex: \"(\" is not a regular expression"),
        ("pushed_before = \"0s\"", "pushed_before: must be a time with its unit"),
        ("pushed_before = \"9d\"\npushed_within = \"3d\"", "nothing can match"),
        ("", "it would empty every repository"),
    ] {
        let message = rule(selector);
        let place = "retention.policies (in orlop.toml): rule `old` of retention policy `builds`: ";
        assert!(message.starts_with(place) && message.contains(says), "{message}");
    }
    assert!(rule("tag = [\"x\"]").starts_with("retention.policies"), "{}", rule("tag = [\"x\"]"));
    assert!(
        error_in_file("[[retention.immutable]]\ntags = [\"[\"]")
            .starts_with("retention.immutable (in orlop.toml)")
    );
}

#[test]
fn error_within_a_list_names_its_path_and_the_file() {
    let rule = "[[retention.policies]]\nname = \"p\"\n[[retention.policies.rules]]\nname = \"r\"";
    for (text, place) in [
        (format!("{rule}\naction = \"explode\""), "retention.policies[0].rules[0].action"),
        (format!("{rule}\naction = \"keep\"\nuntagged = 1"), "retention.policies[0].rules[0].untagged"),
        ("[[retention.policies]]\nname = 5".to_owned(), "retention.policies[0].name"),
        ("[[retention.protected]]\ntags = \"v*\"".to_owned(), "retention.protected[0].tags"),
        ("[[quotas]]\nprefix = \"a\"\ntags = \"many\"".to_owned(), "quotas[0].tags"),
    ] {
        let message = error_in_file(&text);
        assert!(message.starts_with(&format!("{place} (in orlop.toml): ")), "{message}");
    }
}

#[test]
fn unreadable_file_error_names_the_file() {
    let sources = Sources { file: Some("/nowhere/orlop.toml".into()), ..Sources::default() };
    let message = Chain(&Config::load(&sources).expect_err("absent")).to_string();
    assert_eq!(
        message,
        "cannot read the configuration file /nowhere/orlop.toml: No such file or directory (os error 2)"
    );
    assert!(
        error_in_file("[gc\n")
            .starts_with("orlop.toml is not valid TOML: TOML parse error at line 1, column 4")
    );
}

#[test]
fn reads_a_list_of_quotas() {
    let text = "[[quotas]]\nprefix = \"team/\"\nbytes = \"10GB\"\n[[quotas]]\nprefix = \"app\"\ntags = 5";
    let (_dir, sources) = file(text);
    let quotas = Config::load(&sources).expect("valid").quotas;
    assert_eq!((quotas[0].prefix.as_str(), quotas[0].bytes), ("team/", Some(Size(10_000_000_000))));
    assert_eq!((quotas[1].prefix.as_str(), quotas[1].tags.map(|tags| tags.0)), ("app", Some(5)));
}

#[test]
fn rejects_invalid_quotas() {
    let refused = |text: &str| error_in_file(&format!("[[quotas]]\n{text}"));
    assert_eq!(
        refused("prefix = \"team/\""),
        "quotas (in orlop.toml): the quota of \"team/\" needs bytes, tags or repositories"
    );
    assert_eq!(
        refused("prefix = \"a\"\ntags = 1\n[[quotas]]\nprefix = \"a\"\ntags = 2"),
        "quotas (in orlop.toml): there are two quotas of \"a\""
    );
    assert!(
        refused("prefix = \"Team/\"\ntags = 1")
            .contains("quotas[0].prefix (in orlop.toml): \"Team/\" is neither a repository")
    );
    assert!(refused("prefix = \"a\"\nbytes = \"10\"").starts_with("quotas[0].bytes (in orlop.toml): "));
    assert!(error_in_file("quotas = 5").contains("must be a list with a [[quotas]] per item"));
}

#[test]
fn budget_is_a_size_or_a_share() {
    let budget = |text: &str| {
        let (_dir, sources) = file(&format!("[storage]\nbudget = \"{text}\""));
        Config::load(&sources).expect("valid").storage.budget
    };
    assert_eq!(budget("80GB"), Some(Budget::Size(Size(80_000_000_000))));
    assert_eq!(budget("80%"), Some(Budget::Share(Percent(80))));
    assert!(error_in_file("[storage]\nbudget = \"120%\"").contains("is not a size with its unit"));
    assert!(
        error_in_file("[storage]\nlow_mark = \"95%\"")
            .contains("must be less than storage.high_mark, which is 90%")
    );
}

#[test]
fn trusted_proxies_are_addresses_and_networks() {
    let (_dir, sources) = file("[server]\ntrusted_proxies = [\"10.0.0.1\", \"fd00::/8\", \"0.0.0.0/0\"]");
    let config = Config::load(&sources).expect("valid");
    let written = config.server.trusted_proxies.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(written, ["10.0.0.1/32", "fd00::/8", "0.0.0.0/0"]);
    let warnings = config.warnings();
    assert!(warnings[0].starts_with("server.trusted_proxies = 0.0.0.0/0 trusts all clients"), "{warnings:?}");
    assert_eq!(
        error_in_file("[server]\ntrusted_proxies = [\"proxy.lan\"]"),
        "server.trusted_proxies[0] (in orlop.toml): \"proxy.lan\" is not an IP address or a network, \
         such as \"10.0.0.1\" or \"10.0.0.0/8\""
    );
    let variable = Config::load(&environment(&[("ORLOP_SERVER__TRUSTED_PROXIES", "[\"10.0.0.0/8\"]")]));
    assert_eq!(variable.expect("valid").server.trusted_proxies.len(), 1);
}

#[test]
fn traces_need_a_build_with_otlp() {
    let warnings = |text: &str| {
        let (_dir, sources) = file(text);
        Config::load(&sources).expect("valid").warnings()
    };
    let found = warnings("[traces]\nendpoint = \"http://localhost:4318\"\nsample = \"5%\"");
    assert_eq!(found.is_empty(), HAS_TRACES, "{found:?}");
    assert!(HAS_TRACES || found[0].contains("lacks the feature otlp"), "{found:?}");
    assert!(warnings("[traces]\nsample = \"5%\"")[0].contains("without traces.endpoint"));
    assert_eq!(
        error_in_variable("ORLOP_TRACES__ENDPOINT", "localhost:4318"),
        "traces.endpoint (set by ORLOP_TRACES__ENDPOINT): \"localhost:4318\" is not the URL of a collector, \
         such as \"http://localhost:4318\""
    );
}

#[test]
fn reads_one_kind_of_forwarding_header() {
    let header = |text: &str| Config::load(&environment(&[("ORLOP_SERVER__FORWARDED_HEADER", text)]));
    let config = header("forwarded").expect("valid");
    assert_eq!(config.server.forwarded_header, ForwardedHeader::Forwarded);
    assert!(config.warnings()[0].contains("without server.trusted_proxies"), "{:?}", config.warnings());
    assert_eq!(header("x-forwarded").expect("valid"), Config::default());
    let refused = header("both").expect_err("neither").to_string();
    assert!(refused.contains("unknown variant `both`, expected `x-forwarded` or `forwarded`"), "{refused}");
}

/// Other services of a machine are reached by the machine's name too.
#[test]
fn hsts_requires_tls_at_the_standard_port() {
    let has_name = |url: &str, tls: bool| {
        let tls = if tls { "tls_certificate = \"a\"\ntls_key = \"b\"" } else { "" };
        let (_dir, sources) = file(&format!("[server]\npublic_url = \"{url}\"\n{tls}"));
        Config::load(&sources).expect("valid").has_name_for_tls()
    };
    assert!(has_name("https://registry.example", true) && has_name("https://registry.example:443", true));
    assert!(!has_name("https://box.lan:5000", true) && !has_name("http://registry.example", true));
    assert!(!has_name("https://registry.example", false), "the proxy decides about HSTS");
    assert!(!Config::default().has_name_for_tls());
}

#[test]
fn rejects_incomplete_identity_providers() {
    let provider = |rest: &str| {
        format!("[[identity_providers]]\nname = \"ci\"\nissuer = \"https://id.example.com\"\n{rest}")
    };
    let rule = "[[identity_providers.rules]]\nclaims = { sub = \"x\", ref = [\"a\", \"b\"] }\n";
    let good = provider(&format!(
        "audience = \"r\"\n{rule}may = [\"push:team/\", \"pull\"]\nteams = [\"acme/devs\"]"
    ));
    let (_dir, sources) = file(&good);
    let config = Config::load(&sources).expect("valid");
    let settings = config.identity_providers[0].settings(None);
    assert_eq!(settings.rules[0].may[0].to_string(), "push:team/");
    assert_eq!(settings.rules[0].claims["ref"], ["a", "b"]);
    for (text, why) in [
        (provider(""), "ci: set audience (for jobs) or client_id (for people)"),
        (provider("client_id = \"orlop\""), "client_id needs server.public_url"),
        (provider("audience = \"r\"\n[[identity_providers.rules]]\nclaims = {}"), "a rule must name a claim"),
        (
            provider(&format!("audience = \"r\"\n{rule}may = [\"fly\"]")),
            "is not a role: use pull, push, delete or admin",
        ),
        (provider("audience = \"r\"\nkeys = \"http://id.example.com/keys\""), "nor an HTTPS URL"),
        (
            format!("{0}audience = \"r\"\n{0}audience = \"r\"", provider("")),
            "there are two providers of this name",
        ),
        (good.replace("https:", "http:"), "is not an HTTPS URL"),
        (provider("audience = \"r\"\nvisit = \"2d\""), "visit must be at most 1d"),
        (
            provider("audience = \"r\"\nclient_id = \"r\"\n[server]\npublic_url = \"https://r.example.com\""),
            "must differ from client_id",
        ),
        ("[token_authority]\nrealm = \"https://auth.example.com\"".into(), "token_authority.service"),
    ] {
        assert!(error_in_file(&text).contains(why), "{}", error_in_file(&text));
    }
}

#[test]
fn warns_that_clients_send_provider_tokens_to_the_token_authority() {
    let text = "[[identity_providers]]\nname = \"ci\"\nissuer = \"https://id.example.com\"\naudience = \"r\"\n\
        [token_authority]\nrealm = \"https://auth.example.com\"\nservice = \"r\"\nissuer = \"a\"\nkeys = \"k\"";
    let (_dir, sources) = file(text);
    let warnings = Config::load(&sources).expect("valid").warnings();
    assert!(warnings.iter().any(|warning| warning.starts_with("identity_providers: ")), "{warnings:?}");
}

#[test]
fn examples_in_the_guides_are_valid() {
    for guide in ["docs/identities.md", "docs/retention.md"] {
        let text = std::fs::read_to_string(guide).expect("a guide");
        let examples: Vec<_> =
            text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
        assert!(!examples.is_empty(), "{guide}");
        for example in examples {
            let (_dir, sources) = file(example);
            Config::load(&sources).unwrap_or_else(|error| panic!("{guide}: {error}\n{example}"));
        }
    }
}

#[test]
fn acme_requires_accepted_terms() {
    let one = "[acme]\nnames = [\"Registry.example\"]";
    let agreed = format!("{one}\naccept_terms = true");
    let (_dir, sources) = file(&agreed);
    let config = Config::load(&sources).expect("valid");
    assert!(config.has_tls() && config.acme.names[0].to_string() == "registry.example");
    let message = error_in_file(one);
    assert!(
        message.starts_with(
            "acme.accept_terms (by default): must be true: agree to the terms of service of https://acme-v02"
        ),
        "{message}"
    );
    let both = format!("{agreed}\n[server]\ntls_certificate = \"a\"\ntls_key = \"b\"");
    assert_eq!(
        error_in_file(&both),
        "acme.names (in orlop.toml): excludes server.tls_certificate and server.tls_key: use either ACME or \
         certificate files"
    );
    let message = error_in_file("[acme]\nnames = [\"*.example\"]");
    assert!(
        message.starts_with("acme.names[0] (in orlop.toml): \"*.example\" is not a DNS name"),
        "{message}"
    );
    assert!(error_in_file("[acme]\neab_key_id = \"a\"").starts_with("acme.eab_key_file"));
    assert!(error_in_file("[acme]\neab_key_file = \"a\"").starts_with("acme.eab_key_id"));
    let (_dir, sources) = file(&format!("{agreed}\n[server]\ntls_client_ca = \"ca.crt\""));
    assert!(Config::load(&sources).is_ok(), "client certificates work with ACME too");
    let (_dir, sources) = file("[acme]\naccept_terms = true");
    let warnings = Config::load(&sources).expect("valid").warnings();
    assert_eq!(warnings, ["acme.accept_terms has no effect without acme.names"]);
}
