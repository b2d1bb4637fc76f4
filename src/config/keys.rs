//! The keys there are, read off the defaults so that no list of them can fall behind.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde_json::Value;

use super::Config;

/// What every variable's name begins with.
pub(super) const PREFIX: &str = "ORLOP_";

/// How a variable's text becomes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Number,
    Flag,
    /// As TOML writes it in one line.
    List,
}

/// Each section with its settings.
pub(super) type Keys = BTreeMap<String, BTreeMap<String, Kind>>;

/// Every key there is.
pub(super) fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| {
        let defaults = serde_json::to_value(Config::default()).unwrap_or_default();
        sections(defaults, |section| sections(section, kind))
    })
}

/// Whether a section is a list of tables.
pub(super) fn is_list(section: &str) -> bool {
    keys().get(section).is_some_and(BTreeMap::is_empty)
}

fn sections<T>(value: Value, read: impl Fn(Value) -> T) -> BTreeMap<String, T> {
    let Value::Object(members) = value else {
        return BTreeMap::new();
    };
    members.into_iter().map(|(name, value)| (name, read(value))).collect()
}

fn kind(default: Value) -> Kind {
    match default {
        Value::Bool(_) => Kind::Flag,
        Value::Number(_) => Kind::Number,
        Value::Array(_) => Kind::List,
        _ => Kind::Text,
    }
}

/// The environment variable of `key`: `ORLOP_GC__INTERVAL` for `gc.interval`.
pub fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase().replace('.', "__"))
}

/// What to say of a section that does not exist.
pub(super) fn unknown_section() -> String {
    let names: Vec<&str> = keys().keys().map(String::as_str).collect();
    format!("there is no such section; there are {}", names.join(", "))
}

/// What to say of a key that does not exist in a section that does.
pub(super) fn unknown_key(section: &str) -> String {
    let names = keys().get(section).into_iter().flatten();
    let names: Vec<&str> = names.map(|(name, _)| name.as_str()).collect();
    format!("there is no such setting; {section} has {}", names.join(", "))
}

/// The variable that a misspelt one was meant to be, if only its underscores differ.
pub(super) fn meant(name: &str) -> Option<String> {
    let flat = |text: &str| text.to_uppercase().replace(['_', '-', '.'], "");
    let all = keys().iter().flat_map(|(section, settings)| {
        settings.keys().map(move |name| variable(&format!("{section}.{name}")))
    });
    all.into_iter().find(|variable| flat(variable) == flat(name))
}
