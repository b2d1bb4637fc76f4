//! The existing keys, derived from the defaults, so that the list is always complete.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde_json::Value;

use super::Config;

/// Prefix of all environment variables of settings.
pub(super) const PREFIX: &str = "ORLOP_";

/// How the text of a variable is parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Number,
    Flag,
    /// A list in TOML syntax.
    List,
}

/// Keys by section and name.
pub(super) type Keys = BTreeMap<String, BTreeMap<String, Kind>>;

/// Returns all keys.
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

/// Returns the environment variable of `key`, such as `ORLOP_GC__INTERVAL` for `gc.interval`.
pub fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase().replace('.', "__"))
}

/// Returns the error message for an unknown section.
pub(super) fn unknown_section() -> String {
    let names: Vec<&str> = keys().keys().map(String::as_str).collect();
    format!("no such section; the sections are {}", names.join(", "))
}

/// Returns the error message for an unknown key in an existing section.
pub(super) fn unknown_key(section: &str) -> String {
    let names = keys().get(section).into_iter().flatten();
    let names: Vec<&str> = names.map(|(name, _)| name.as_str()).collect();
    format!("no such setting; {section} has {}", names.join(", "))
}

/// Returns the correct spelling of a variable that differs from it only by case and underscores.
pub(super) fn correct_spelling(name: &str) -> Option<String> {
    let flat = |text: &str| text.to_uppercase().replace(['_', '-', '.'], "");
    let all = keys().iter().flat_map(|(section, settings)| {
        settings.keys().map(move |name| variable(&format!("{section}.{name}")))
    });
    all.into_iter().find(|variable| flat(variable) == flat(name))
}
