//! The configuration of a Distribution registry as a tree of keys: its YAML file, overridden by `REGISTRY_*` variables
//! as that registry does it.
//!
//! A variable's name is the path of a key in upper case, separated by underscores: `REGISTRY_HTTP_TLS_KEY` is
//! `http.tls.key`. Its value is YAML. Variables apply in the order of their names, so that `REGISTRY_STORAGE` comes
//! before `REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::report::{ImportError, MAX_CONFIG_BYTES};

/// The prefix of the variables.
const PREFIX: &str = "REGISTRY_";

/// The maximum number of nodes that YAML aliases may expand to.
const MAX_ALIASED: usize = 10_000;

/// Keys that are a mapping of one name to its parameters, and may be written as the name alone.
const NAMED: [&str; 2] = ["storage", "auth"];

/// A configuration whose keys are taken one by one, so that those without a counterpart are left.
#[derive(Debug)]
pub(super) struct Document {
    root: Map<String, Value>,
    /// The variables that set a key, by the key.
    variables: BTreeMap<String, String>,
}

impl Document {
    pub(super) fn read(
        yaml: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ImportError> {
        if yaml.len() > MAX_CONFIG_BYTES {
            return Err(ImportError::TooLarge);
        }
        let parsed =
            parse(yaml.trim_start_matches('\u{feff}')).map_err(|error| ImportError::Yaml(error.into()))?;
        let root = match parsed {
            Value::Null => Map::new(),
            Value::Object(root) if is_versioned(&root) => root,
            _ => return Err(ImportError::NotAConfiguration),
        };
        let mut document = Self { root, variables: BTreeMap::new() };
        for key in NAMED {
            document.expand(key);
        }
        let variables: BTreeMap<_, _> = environment.into_iter().collect();
        for (name, value) in variables {
            let Some(path) = name.strip_prefix(PREFIX).filter(|path| !path.is_empty()) else { continue };
            let path: Vec<_> = path.split('_').collect();
            let value = parse(&value)
                .map_err(|error| ImportError::Variable { name: name.clone(), error: error.into() })?;
            let key = set(&mut document.root, &path, value);
            document.variables.insert(key, name);
            for key in NAMED {
                document.expand(key);
            }
        }
        Ok(document)
    }

    /// Turns `storage: filesystem` into `storage: {filesystem: {}}`.
    fn expand(&mut self, key: &str) {
        if let Some(Value::String(name)) = self.root.get(key) {
            let named = Map::from_iter([(name.clone(), Value::Object(Map::new()))]);
            self.root.insert(key.to_owned(), Value::Object(named));
        }
    }

    /// Takes the value of a key out of the document. `None` if it is not set.
    pub(super) fn take(&mut self, key: &str) -> Option<Value> {
        let mut at = &mut self.root;
        let (above, last) = key.rsplit_once('.').map_or((None, key), |(above, last)| (Some(above), last));
        for name in above.into_iter().flat_map(|above| above.split('.')) {
            at = at.get_mut(name)?.as_object_mut()?;
        }
        at.remove(last).filter(|value| !value.is_null())
    }

    /// Takes a text, or a number as text.
    pub(super) fn take_text(&mut self, key: &str) -> Option<String> {
        let text = match self.take(key)? {
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            Value::Bool(value) => value.to_string(),
            _ => return None,
        };
        (!text.is_empty()).then_some(text)
    }

    /// Takes a truth value.
    pub(super) fn take_bool(&mut self, key: &str) -> Option<bool> {
        match self.take(key)? {
            Value::Bool(value) => Some(value),
            // YAML 1.1, which that registry reads, has these too.
            Value::String(text) => Some(["true", "yes", "on", "y"].contains(&text.to_lowercase().as_str())),
            _ => None,
        }
    }

    /// Takes a list of texts.
    pub(super) fn take_list(&mut self, key: &str) -> Vec<String> {
        match self.take(key) {
            Some(Value::Array(items)) => {
                items.into_iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
            }
            Some(Value::String(item)) => vec![item],
            _ => Vec::new(),
        }
    }

    /// Whether a key is set.
    pub(super) fn has(&self, key: &str) -> bool {
        let mut names = key.split('.');
        let first = names.next().and_then(|name| self.root.get(name));
        names.fold(first, |value, name| value?.get(name)).is_some_and(|value| !value.is_null())
    }

    /// Returns the names below a key.
    pub(super) fn names(&self, key: &str) -> Vec<String> {
        let below = self.root.get(key).and_then(Value::as_object);
        below.into_iter().flat_map(Map::keys).cloned().collect()
    }

    /// Returns a key as the report shows it: with the variable that sets it.
    pub(super) fn show(&self, key: &str) -> String {
        match self.variables.get(key) {
            Some(variable) => format!("{key} ({variable})"),
            None => key.to_owned(),
        }
    }

    /// Returns the keys that were not taken.
    pub(super) fn rest(&self) -> Vec<String> {
        let mut keys = Vec::new();
        collect_keys("", &self.root, &mut keys);
        keys
    }
}

fn parse(yaml: &str) -> Result<Value, serde_saphyr::Error> {
    if yaml.trim().is_empty() {
        return Ok(Value::Null);
    }
    let mut options = serde_saphyr::Options::default();
    options.alias_limits.max_total_replayed_events = MAX_ALIASED;
    serde_saphyr::from_str_with_options(yaml, options)
}

fn is_versioned(root: &Map<String, Value>) -> bool {
    match root.get("version") {
        Some(Value::String(version)) => version.starts_with("0."),
        Some(Value::Number(version)) => version.as_f64().is_some_and(|version| version < 1.0),
        _ => false,
    }
}

/// Sets the key that `path` names, whatever the case of the keys that exist. Returns the key.
fn set(root: &mut Map<String, Value>, path: &[&str], value: Value) -> String {
    let Some((first, rest)) = path.split_first() else { return String::new() };
    let existing = root.keys().find(|key| key.eq_ignore_ascii_case(first)).cloned();
    let name = existing.unwrap_or_else(|| first.to_lowercase());
    if rest.is_empty() {
        root.insert(name.clone(), value);
        return name;
    }
    let entry = root.entry(name.clone()).or_insert(Value::Null);
    let below = set_in(entry, rest, value);
    format!("{name}.{below}")
}

/// Sets the key that `path` names in `at`, which becomes a mapping unless it is a list with this item.
fn set_in(at: &mut Value, path: &[&str], value: Value) -> String {
    if let Value::Array(items) = at
        && let [number, rest @ ..] = path
        && let Some(item) = number.parse::<usize>().ok().and_then(|number| items.get_mut(number))
    {
        if rest.is_empty() {
            *item = value;
            return (*number).to_owned();
        }
        return format!("{number}.{}", set_in(item, rest, value));
    }
    if !at.is_object() {
        *at = Value::Object(Map::new());
    }
    at.as_object_mut().map(|root| set(root, path, value)).unwrap_or_default()
}

fn collect_keys(above: &str, map: &Map<String, Value>, keys: &mut Vec<String>) {
    for (name, value) in map {
        let key = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
        match value {
            Value::Object(below) if !below.is_empty() => collect_keys(&key, below, keys),
            Value::Null | Value::Object(_) => {}
            _ => keys.push(key),
        }
    }
}
