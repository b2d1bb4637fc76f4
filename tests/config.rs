//! Settings: where they come from, and what is said of wrong ones.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use orlop::config::{
    Budget, Config, Flag, ForwardedHeader, HAS_TRACES, Percent, Period, Size, Sources, Span, Untagged,
};

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

/// What is said of a file, without the directory it lies in.
fn refusal(text: &str) -> String {
    let (dir, sources) = file(text);
    let message = Config::load(&sources).expect_err(text).to_string();
    message.replace(&format!("{}/", dir.path().display()), "")
}

fn refused_variable(name: &str, value: &str) -> String {
    Config::load(&environment(&[(name, value)])).expect_err(name).to_string()
}

#[test]
fn with_nothing_given_there_are_the_defaults() {
    let config = Config::load(&Sources::default()).expect("defaults are sound");
    assert_eq!(config, Config::default());
    assert_eq!(config.server.listen.to_string(), "0.0.0.0:5000");
    assert_eq!(config.metadata_dir(), Path::new("./orlop-data/metadata"));
}

#[test]
fn the_example_says_the_defaults() {
    let (_dir, sources) = file(EXAMPLE);
    assert_eq!(Config::load(&sources).expect("valid"), Config::default());
}

/// The example with what it shows in comments switched on.
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
fn the_example_names_every_key() {
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
    Config::load(&sources).expect("what is in comments is valid too");
}

#[test]
fn flags_win_over_variables_and_variables_over_the_file() {
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
fn every_kind_of_value_can_be_a_variable() {
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
    assert_eq!(url.as_str(), "https://registry.example.com");
}

#[test]
fn a_list_in_a_variable_is_one_of_toml_s() {
    let refused = refused_variable("ORLOP_QUOTAS", "team/");
    assert!(
        refused.starts_with("quotas (set by ORLOP_QUOTAS): must be a list as TOML writes it"),
        "{refused}"
    );
    let refused = refused_variable("ORLOP_RETENTION__POLICIES", r#"[{ presex = "ci" }]"#);
    assert!(
        refused.starts_with("retention.policies[0].presex (set by ORLOP_RETENTION__POLICIES)"),
        "{refused}"
    );
}

#[test]
fn the_scrub_can_be_switched_off() {
    let period = |text: &str| {
        let config = Config::load(&environment(&[("ORLOP_SCRUB__PERIOD", text)])).expect("valid");
        config.scrub.period
    };
    assert_eq!(period("off"), Period::Off);
    assert_eq!(period("0s"), Period::Off);
    assert_eq!(period("7d"), Period::Every(Span::hours(7 * 24)));
    assert_eq!(
        refusal("[scrub]\nrate = \"1B\""),
        "scrub.rate (in orlop.toml): must be at least 1KiB, not 1B"
    );
}

#[test]
fn what_the_neighbours_set_is_left_alone() {
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
    let config = Config::load(&environment(&variables)).expect("none is ours");
    assert_eq!(config, Config::default());
}

#[test]
fn a_misspelt_setting_is_not_taken_for_a_neighbour_s_variable() {
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
        let refused = refused_variable(name, "5000");
        assert!(refused.starts_with(name), "{refused}");
    }
}

#[test]
fn what_is_meant_is_suggested_to_those_who_come_from_other_servers() {
    for (text, suggestion) in [
        (":5000", "write \"0.0.0.0:5000\", or \"[::]:5000\" for IPv6 too"),
        ("5000", "write \"0.0.0.0:5000\", or \"[::]:5000\" for IPv6 too"),
        ("*:5000", "write \"0.0.0.0:5000\", or \"[::]:5000\" for IPv6 too"),
        ("localhost:5000", "write \"127.0.0.1:5000\", or \"[::1]:5000\" for IPv6"),
    ] {
        let refused = refusal(&format!("[server]\nlisten = {text:?}"));
        assert!(refused.ends_with(suggestion), "{refused}");
    }
    for yaml in ["version: 0.1\nlog:\n  fields:\n", "# zot\n---\nhttp:\n  port: 5000\n", "storage:\n"] {
        assert!(refusal(yaml).contains("is YAML, and the configuration is TOML"), "{yaml}");
    }
    for nonsense in ["server = ", "http://example.com", "{\"a\": 1}"] {
        assert!(refusal(nonsense).contains("is not valid TOML"), "{nonsense}");
    }
}

#[test]
fn a_file_with_a_byte_order_mark_is_read() {
    let (_dir, sources) = file("\u{feff}[gc]\nlease = \"2h\"\n");
    assert_eq!(Config::load(&sources).expect("read").gc.lease.to_string(), "2h");
}

#[test]
fn unknown_keys_are_named_with_those_there_are() {
    assert_eq!(
        refusal("[gc]\nintervall = \"1m\""),
        "gc.intervall (in orlop.toml): there is no such setting; gc has batch, interval, lease, lease_pressure, trash, untagged"
    );
    assert_eq!(
        refusal("[collector]\ninterval = \"1m\""),
        "collector (in orlop.toml): there is no such section; \
         there are acme, api, audit, auth, events, gc, history, identity_providers, lists, log, manifests, metadata, metrics, outbound, quotas, retention, scrub, server, storage, token_authority, traces, uploads"
    );
    assert_eq!(refusal("gc = 5"), "gc (in orlop.toml): must be a section, [gc]");
}

#[test]
fn unknown_variables_are_named() {
    assert_eq!(
        refused_variable("ORLOP_GC__INTERVALL", "1m"),
        "ORLOP_GC__INTERVALL: there is no such setting; gc has batch, interval, lease, lease_pressure, trash, untagged"
    );
    assert_eq!(
        refused_variable("ORLOP_GC_INTERVAL", "1m"),
        "ORLOP_GC_INTERVAL: there is no such setting; did you mean ORLOP_GC__INTERVAL?"
    );
    assert_eq!(
        refused_variable("ORLOP_gc__interval", "1m"),
        "ORLOP_gc__interval: there is no such setting; did you mean ORLOP_GC__INTERVAL?"
    );
    assert_eq!(
        refused_variable("ORLOP_LISTEN", ":80"),
        "ORLOP_LISTEN: there is no such section; \
         there are acme, api, audit, auth, events, gc, history, identity_providers, lists, log, manifests, metadata, metrics, outbound, quotas, retention, scrub, server, storage, token_authority, traces, uploads"
    );
}

#[test]
fn wrong_units_say_which_are_right() {
    let duration = "a duration with its unit, such as \"200ms\", \"10m\" or \"14d\"";
    assert_eq!(refusal("[gc]\ninterval = 10"), format!("gc.interval (in orlop.toml): 10 is not {duration}"));
    for text in ["0", "10", "ten minutes", "-1s", "1e9d", "99999999999y"] {
        assert_eq!(
            refused_variable("ORLOP_GC__INTERVAL", text),
            format!("gc.interval (set by ORLOP_GC__INTERVAL): {text:?} is not {duration}")
        );
    }
    for text in ["4194304", "4 bananas", "-1MiB"] {
        assert_eq!(
            refused_variable("ORLOP_MANIFESTS__MAX_SIZE", text),
            format!(
                "manifests.max_size (set by ORLOP_MANIFESTS__MAX_SIZE): {text:?} \
                 is not a size with its unit, such as \"512MiB\" or \"2GB\""
            )
        );
    }
    assert_eq!(
        refused_variable("ORLOP_GC__UNTAGGED", "never"),
        "gc.untagged (set by ORLOP_GC__UNTAGGED): \"never\" \
         is not a duration with its unit, such as \"14d\", or \"keep\""
    );
    assert_eq!(
        refused_variable("ORLOP_SCRUB__PERIOD", "never"),
        "scrub.period (set by ORLOP_SCRUB__PERIOD): \"never\" \
         is not a duration with its unit, such as \"30d\", or \"off\""
    );
}

#[test]
fn wrong_kinds_say_which_is_right() {
    assert_eq!(
        refusal("[uploads]\nparallel = \"many\""),
        "uploads.parallel (in orlop.toml): \"many\" is not a whole number"
    );
    assert_eq!(
        refusal("[uploads]\nparallel = -1"),
        "uploads.parallel (in orlop.toml): -1 is not a number from 0 to 4294967295"
    );
    assert_eq!(
        refused_variable("ORLOP_STORAGE__READ_ONLY", "yes"),
        "storage.read_only (set by ORLOP_STORAGE__READ_ONLY): \"yes\" is not true or false"
    );
    assert_eq!(
        refusal("[manifests]\nsparse = \"yes\""),
        "manifests.sparse (in orlop.toml): unknown variant `yes`, expected `refuse` or `allow`"
    );
    assert_eq!(
        refusal("[server]\nlisten = \":5000\""),
        "server.listen (in orlop.toml): \":5000\" is not an IP address with a port, \
         such as \"0.0.0.0:5000\" or \"[::]:5000\": write \"0.0.0.0:5000\", or \"[::]:5000\" for IPv6 too"
    );
    assert_eq!(
        refusal("[server]\npublic_url = \"registry.example.com\""),
        "server.public_url (in orlop.toml): \"registry.example.com\" is not a URL without a path, \
         such as \"https://registry.example.com\""
    );
    assert_eq!(
        refusal("[log]\nlevel = \"loud\""),
        "log.level (in orlop.toml): \"loud\" is not off, error, warn, info, debug, trace, \
         or directives such as \"info,orlop::registry=debug\""
    );
}

#[test]
fn impossible_values_are_refused() {
    for (key, section) in [("interval", "gc"), ("lease", "gc"), ("expire", "uploads")] {
        assert_eq!(
            refusal(&format!("[{section}]\n{key} = \"0s\"")),
            format!("{section}.{key} (in orlop.toml): must be at least 1ms, not 0s")
        );
    }
    assert_eq!(refusal("[gc]\nbatch = 0"), "gc.batch (in orlop.toml): must be from 1 to 100000, not 0");
    assert_eq!(
        refusal("[storage]\nmin_free = \"3GiB\"\nwarn_free = \"2GiB\""),
        "storage.warn_free (in orlop.toml): must be at least storage.min_free, which is 3GiB, not 2GiB"
    );
    assert_eq!(
        refusal("[lists]\npage = 20000"),
        "lists.page (in orlop.toml): must be at most lists.max_page, which is 10000, not 20000"
    );
    assert_eq!(
        refusal("[server]\ntls_certificate = \"/etc/tls.crt\""),
        "server.tls_key (by default): must be set where server.tls_certificate is"
    );
    assert_eq!(
        refusal("[server]\ntls_client_ca = \"/etc/ca.crt\""),
        "server.tls_certificate (by default): must be set where server.tls_client_ca is"
    );
    assert_eq!(
        refusal("[manifests]\nmax_size = \"1GiB\""),
        "manifests.max_size (in orlop.toml): must be from 1KiB to 64MiB, not 1GiB"
    );
}

#[test]
fn policies_are_read() {
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
fn a_mistake_in_a_policy_is_named_with_its_rule() {
    let rule = |selector: &str| {
        let head = "[[retention.policies]]\nname = \"builds\"\n[[retention.policies.rules]]\nname = \"old\"\naction = \"expire\"";
        refusal(&format!("{head}\n{selector}"))
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
        refusal("[[retention.immutable]]\ntags = [\"[\"]").starts_with("retention.immutable (in orlop.toml)")
    );
}

#[test]
fn a_wrong_value_within_a_list_comes_from_the_file() {
    let rule = "[[retention.policies]]\nname = \"p\"\n[[retention.policies.rules]]\nname = \"r\"";
    for (text, place) in [
        (format!("{rule}\naction = \"explode\""), "retention.policies[0].rules[0].action"),
        (format!("{rule}\naction = \"keep\"\nuntagged = 1"), "retention.policies[0].rules[0].untagged"),
        ("[[retention.policies]]\nname = 5".to_owned(), "retention.policies[0].name"),
        ("[[retention.protected]]\ntags = \"v*\"".to_owned(), "retention.protected[0].tags"),
        ("[[quotas]]\nprefix = \"a\"\ntags = \"many\"".to_owned(), "quotas[0].tags"),
    ] {
        let message = refusal(&text);
        assert!(message.starts_with(&format!("{place} (in orlop.toml): ")), "{message}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let sources = Sources { file: Some("/nowhere/orlop.toml".into()), ..Sources::default() };
    let message = Config::load(&sources).expect_err("absent").to_string();
    assert_eq!(
        message,
        "cannot read the configuration file /nowhere/orlop.toml: No such file or directory (os error 2)"
    );
    assert!(
        refusal("[gc\n").starts_with("orlop.toml is not valid TOML: TOML parse error at line 1, column 4")
    );
}

#[test]
fn quotas_are_a_list() {
    let text = "[[quotas]]\nprefix = \"team/\"\nbytes = \"10GB\"\n[[quotas]]\nprefix = \"app\"\ntags = 5";
    let (_dir, sources) = file(text);
    let quotas = Config::load(&sources).expect("valid").quotas;
    assert_eq!((quotas[0].prefix.as_str(), quotas[0].bytes), ("team/", Some(Size(10_000_000_000))));
    assert_eq!((quotas[1].prefix.as_str(), quotas[1].tags.map(|tags| tags.0)), ("app", Some(5)));
}

#[test]
fn wrong_quotas_are_refused() {
    let refused = |text: &str| refusal(&format!("[[quotas]]\n{text}"));
    assert_eq!(
        refused("prefix = \"team/\""),
        "quotas (in orlop.toml): the quota of \"team/\" needs bytes, tags or repositories"
    );
    assert_eq!(
        refused("prefix = \"a\"\ntags = 1\n[[quotas]]\nprefix = \"a\"\ntags = 2"),
        "quotas (in orlop.toml): there are two quotas of \"a\""
    );
    assert!(
        refused("prefix = \"Team/\"\ntags = 1").contains("quotas[0].prefix (in orlop.toml): \"Team/\" is no")
    );
    assert!(refused("prefix = \"a\"\nbytes = \"10\"").starts_with("quotas[0].bytes (in orlop.toml): "));
    assert!(refusal("quotas = 5").contains("must be a list, each member below a [[quotas]]"));
}

#[test]
fn a_budget_is_a_size_or_a_share() {
    let budget = |text: &str| {
        let (_dir, sources) = file(&format!("[storage]\nbudget = \"{text}\""));
        Config::load(&sources).expect("valid").storage.budget
    };
    assert_eq!(budget("80GB"), Some(Budget::Size(Size(80_000_000_000))));
    assert_eq!(budget("80%"), Some(Budget::Share(Percent(80))));
    assert!(refusal("[storage]\nbudget = \"120%\"").contains("is not a size with its unit"));
    assert!(
        refusal("[storage]\nlow_mark = \"95%\"")
            .contains("must be less than storage.high_mark, which is 90%")
    );
}

#[test]
fn proxies_are_addresses_and_networks() {
    let (_dir, sources) = file("[server]\ntrusted_proxies = [\"10.0.0.1\", \"fd00::/8\", \"0.0.0.0/0\"]");
    let config = Config::load(&sources).expect("valid");
    let written = config.server.trusted_proxies.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(written, ["10.0.0.1/32", "fd00::/8", "0.0.0.0/0"]);
    let warnings = config.warnings();
    assert!(
        warnings[0].starts_with("server.trusted_proxies = 0.0.0.0/0 trusts_external_identities everybody"),
        "{warnings:?}"
    );
    assert_eq!(
        refusal("[server]\ntrusted_proxies = [\"proxy.lan\"]"),
        "server.trusted_proxies[0] (in orlop.toml): \"proxy.lan\" is not an IP address or a network, \
         such as \"10.0.0.1\" or \"10.0.0.0/8\""
    );
    let variable = Config::load(&environment(&[("ORLOP_SERVER__TRUSTED_PROXIES", "[\"10.0.0.0/8\"]")]));
    assert_eq!(variable.expect("valid").server.trusted_proxies.len(), 1);
}

#[test]
fn traces_are_of_builds_that_have_them() {
    let warnings = |text: &str| {
        let (_dir, sources) = file(text);
        Config::load(&sources).expect("valid").warnings()
    };
    let told = warnings("[traces]\nendpoint = \"http://localhost:4318\"\nsample = \"5%\"");
    assert_eq!(told.is_empty(), HAS_TRACES, "{told:?}");
    assert!(HAS_TRACES || told[0].contains("without --features otlp"), "{told:?}");
    assert!(warnings("[traces]\nsample = \"5%\"")[0].contains("beside traces.endpoint only"));
    assert_eq!(
        refused_variable("ORLOP_TRACES__ENDPOINT", "localhost:4318"),
        "traces.endpoint (set by ORLOP_TRACES__ENDPOINT): \"localhost:4318\" is not the URL of a collector, \
         such as \"http://localhost:4318\""
    );
}

#[test]
fn proxies_write_one_kind_of_header() {
    let header = |text: &str| Config::load(&environment(&[("ORLOP_SERVER__FORWARDED_HEADER", text)]));
    let config = header("forwarded").expect("valid");
    assert_eq!(config.server.forwarded_header, ForwardedHeader::Forwarded);
    assert!(config.warnings()[0].contains("beside server.trusted_proxies only"), "{:?}", config.warnings());
    assert_eq!(header("x-forwarded").expect("valid"), Config::default());
    let refused = header("both").expect_err("neither").to_string();
    assert!(refused.contains("unknown variant `both`, expected `x-forwarded` or `forwarded`"), "{refused}");
}

/// Other services of a machine are reached by its name too.
#[test]
fn a_name_is_for_tls_alone_where_it_is_the_registry_s() {
    let has_name = |url: &str, tls: bool| {
        let tls = if tls { "tls_certificate = \"a\"\ntls_key = \"b\"" } else { "" };
        let (_dir, sources) = file(&format!("[server]\npublic_url = \"{url}\"\n{tls}"));
        Config::load(&sources).expect("valid").has_name_for_tls()
    };
    assert!(has_name("https://registry.example", true) && has_name("https://registry.example:443", true));
    assert!(!has_name("https://box.lan:5000", true) && !has_name("http://registry.example", true));
    assert!(!has_name("https://registry.example", false), "that is the proxy's to say");
    assert!(!Config::default().has_name_for_tls());
}

#[test]
fn providers_of_identities_say_what_they_need() {
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
        (provider(""), "ci: it needs an audience, for jobs, or a client_id, for people"),
        (provider("client_id = \"orlop\""), "server.public_url, which is not set"),
        (provider("audience = \"r\"\n[[identity_providers.rules]]\nclaims = {}"), "a rule must name a claim"),
        (
            provider(&format!("audience = \"r\"\n{rule}may = [\"fly\"]")),
            "is none of pull, push, delete and admin",
        ),
        (provider("audience = \"r\"\nkeys = \"http://id.example.com/keys\""), "nor a URL of HTTPS"),
        (format!("{0}audience = \"r\"\n{0}audience = \"r\"", provider("")), "there are two of this name"),
        (good.replace("https:", "http:"), "is not a URL of HTTPS"),
        (provider("audience = \"r\"\nvisit = \"2d\""), "visit must be at most 1d"),
        (
            provider("audience = \"r\"\nclient_id = \"r\"\n[server]\npublic_url = \"https://r.example.com\""),
            "another than client_id",
        ),
        ("[token_authority]\nrealm = \"https://auth.example.com\"".into(), "token_authority.service"),
    ] {
        assert!(refusal(&text).contains(why), "{}", refusal(&text));
    }
}

#[test]
fn what_a_provider_signed_is_shown_to_no_authority_unwarned() {
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
fn a_certificate_that_comes_by_itself_is_agreed_to() {
    let one = "[acme]\nnames = [\"Registry.example\"]";
    let agreed = format!("{one}\naccept_terms = true");
    let (_dir, sources) = file(&agreed);
    let config = Config::load(&sources).expect("valid");
    assert!(config.has_tls() && config.acme.names[0].as_str() == "registry.example");
    let message = refusal(one);
    assert!(
        message.starts_with("acme.accept_terms (by default): must be true: https://acme-v02"),
        "{message}"
    );
    let both = format!("{agreed}\n[server]\ntls_certificate = \"a\"\ntls_key = \"b\"");
    assert_eq!(
        refusal(&both),
        "acme.names (in orlop.toml): a certificate comes either by itself or from server.tls_certificate and \
         server.tls_key"
    );
    let message = refusal("[acme]\nnames = [\"*.example\"]");
    assert!(
        message.starts_with("acme.names[0] (in orlop.toml): \"*.example\" is not a DNS name"),
        "{message}"
    );
    assert!(refusal("[acme]\neab_key_id = \"a\"").starts_with("acme.eab_key_file"));
    assert!(refusal("[acme]\neab_key_file = \"a\"").starts_with("acme.eab_key_id"));
    let (_dir, sources) = file(&format!("{agreed}\n[server]\ntls_client_ca = \"ca.crt\""));
    assert!(Config::load(&sources).is_ok(), "clients may have to show a certificate all the same");
    let (_dir, sources) = file("[acme]\naccept_terms = true");
    let warnings = Config::load(&sources).expect("valid").warnings();
    assert_eq!(warnings, ["acme.accept_terms has an effect beside acme.names only, which is not set"]);
}
