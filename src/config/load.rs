//! Loads the settings: merges their sources, which are file, environment and flags, and rejects unknown keys.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::Value as Json;
use toml::{Table, Value};

use super::check::check;
use super::error::{ConfigError, Origin};
use super::sections::Config;
use crate::text_file;

/// A command-line flag that sets a key.
#[derive(Debug, Clone)]
pub struct Flag {
    /// The flag's name with its leading dashes.
    pub name: &'static str,
    /// The key that it sets.
    pub key: &'static str,
    /// The value, as in an environment variable.
    pub value: String,
}

/// All sources of settings.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The TOML file, if there is one.
    pub file: Option<PathBuf>,
    /// The environment. Only names with the prefix `ORLOP_` count, and empty values count as unset.
    pub environment: Vec<(OsString, OsString)>,
    /// Flags.
    pub flags: Vec<Flag>,
}

impl Config {
    /// Loads the settings from `sources`.
    ///
    /// # Errors
    /// Fails with the first error found.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let layers = Layers::merge(sources)?;
        let mut config: Self = layers.read()?;
        if layers.is_default("storage.warn_free") {
            config.storage.warn_before_full();
        }
        check(&config).map_err(|(key, message)| layers.error(key, message))?;
        Ok(config)
    }
}

/// The merged table, with the source of each value.
struct Layers {
    table: Table,
    origins: BTreeMap<String, Origin>,
    file: Option<PathBuf>,
}

impl Layers {
    fn merge(sources: &Sources) -> Result<Self, ConfigError> {
        let file = sources.file.clone();
        let table = file.as_deref().map_or_else(|| Ok(Table::new()), read_file)?;
        let mut layers = Self { table, origins: BTreeMap::new(), file };
        layers.reject_unknown()?;
        for (name, value) in &sources.environment {
            layers.set_variable(name, value)?;
        }
        for flag in &sources.flags {
            layers.set(flag.key, &flag.value, Origin::Flag(flag.name))?;
        }
        Ok(layers)
    }

    /// Deserialises the settings.
    fn read(&self) -> Result<Config, ConfigError> {
        let value = Value::Table(self.table.clone());
        serde_path_to_error::deserialize(value).map_err(|error| {
            let key = error.path().to_string();
            self.error(&key, error.into_inner().message().to_owned())
        })
    }

    /// Builds an error about `key`.
    fn error(&self, key: &str, message: String) -> ConfigError {
        ConfigError::Setting { key: key.to_owned(), origin: self.origin(key), message }
    }

    /// Whether no source sets `key`.
    fn is_default(&self, key: &str) -> bool {
        matches!(self.origin(key), Origin::Default)
    }

    fn origin(&self, key: &str) -> Origin {
        let in_file = || {
            let (section, name) = key.split_once('.').unwrap_or((key, ""));
            // The file's origin is recorded for a whole list: `quotas[0].bytes`, `retention.policies[0].name`.
            let found = self.table.get(section.split('[').next()?)?;
            let name = name.split(['[', '.']).next()?;
            (name.is_empty() || found.is_array() || found.get(name).is_some()).then_some(())?;
            self.file.clone().map(Origin::File)
        };
        let set = self.origins.get(key).or_else(|| self.origins.get(key.split('[').next()?)).cloned();
        set.or_else(in_file).unwrap_or(Origin::Default)
    }

    fn reject_unknown(&self) -> Result<(), ConfigError> {
        for (section, settings) in &self.table {
            let known = keys().get(section);
            let known = known.ok_or_else(|| self.error(section, unknown_section()))?;
            if is_list(section) {
                let error = || self.error(section, format!("must be a list with a [[{section}]] per item"));
                settings.as_array().ok_or_else(error)?;
                continue;
            }
            let error = || self.error(section, format!("must be a section, [{section}]"));
            let settings = settings.as_table().ok_or_else(error)?;
            if let Some(name) = settings.keys().find(|name| !known.contains_key(*name)) {
                return Err(self.error(&format!("{section}.{name}"), unknown_key(section)));
            }
        }
        Ok(())
    }

    fn set_variable(&mut self, name: &OsString, value: &OsString) -> Result<(), ConfigError> {
        let name = name.to_string_lossy();
        let Some(path) = name.strip_prefix(PREFIX) else {
            return Ok(());
        };
        // The command line itself reads the path of the configuration file.
        if path == "CONFIG" || value.is_empty() {
            return Ok(());
        }
        let error = |message: String| ConfigError::Variable { name: name.to_string(), message };
        let key = match known_key(path) {
            Ok(key) => key,
            Err(_) if !names_section(path) && is_foreign(path, &value.to_string_lossy()) => return Ok(()),
            Err(message) => return Err(error(message)),
        };
        let value = value.to_str().ok_or_else(|| error("its value is not UTF-8".into()))?;
        self.set(&key, value, Origin::Variable(name.to_string()))
    }

    fn set(&mut self, key: &str, text: &str, origin: Origin) -> Result<(), ConfigError> {
        self.origins.insert(key.to_owned(), origin);
        if is_list(key) {
            let list = value(Kind::List, text).map_err(|message| self.error(key, message))?;
            self.table.insert(key.to_owned(), list);
            return Ok(());
        }
        let (section, name) = key.split_once('.').unwrap_or((key, ""));
        let kind = keys().get(section).and_then(|known| known.get(name)).copied();
        let value = value(kind.unwrap_or(Kind::Text), text).map_err(|message| self.error(key, message))?;
        let section = self.table.entry(section).or_insert_with(|| Value::Table(Table::new()));
        if let Some(section) = section.as_table_mut() {
            section.insert(name.to_owned(), value);
        }
        Ok(())
    }
}

fn read_file(path: &Path) -> Result<Table, ConfigError> {
    let unreadable = |error| ConfigError::Unreadable { path: path.into(), error };
    let text = text_file::read(path).map_err(unreadable)?;
    text.parse().map_err(|error| match is_yaml(path, &text) {
        true => ConfigError::Yaml { path: path.into() },
        false => ConfigError::Syntax { path: path.into(), error },
    })
}

/// Whether a file that is not TOML looks like YAML: by its extension, or by its first line, `key:` or `key: value`.
fn is_yaml(path: &Path, text: &str) -> bool {
    let named = path.extension().is_some_and(|ending| ending == "yml" || ending == "yaml");
    let first = text.lines().map(str::trim_end).find(|line| !line.is_empty() && !line.starts_with('#'));
    let is_key =
        |key: &str| !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let begins = first.is_some_and(|line| {
        line == "---"
            || line
                .split_once(':')
                .is_some_and(|(key, rest)| is_key(key) && (rest.is_empty() || rest.starts_with(' ')))
    });
    named || begins
}

/// Whether a variable with the prefix `ORLOP_` is not a setting, but describes another service. Kubernetes describes
/// every Service of the namespace in every pod, and Docker every linked container. For Services or containers named
/// `orlop` or `orlop-something`, these variables begin with `ORLOP_`
/// (<https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>,
/// <https://docs.docker.com/engine/network/links/#environment-variables>). No setting has such a name.
fn is_foreign(path: &str, value: &str) -> bool {
    const PROTOCOLS: [&str; 3] = ["_TCP", "_UDP", "_SCTP"];
    // The marker follows the name of the Service or container, which may be just the prefix, `ORLOP`.
    let parts = |marker: &str| {
        let rest = path.strip_prefix(marker).filter(|rest| rest.is_empty() || rest.starts_with('_'));
        let inner = || path.rsplit_once(&format!("_{marker}")).map(|(_, rest)| rest);
        rest.or_else(inner)
    };
    let is_port = parts("PORT").is_some_and(|rest| {
        let number = rest.trim_start_matches('_').trim_start_matches(|c: char| c.is_ascii_digit());
        rest.is_empty() || PROTOCOLS.iter().any(|protocol| number.starts_with(protocol))
    });
    let is_service = parts("SERVICE_HOST").is_some_and(str::is_empty)
        || parts("SERVICE_PORT").is_some_and(|rest| rest.is_empty() || rest.starts_with('_'));
    let is_link = parts("NAME").is_some_and(str::is_empty) && value.starts_with('/')
        || parts("ENV").is_some_and(|rest| rest.starts_with('_'));
    is_port || is_service || is_link
}

/// Whether a variable's name resembles a setting in an existing section, so that it is probably a misspelt one.
fn names_section(path: &str) -> bool {
    path.split_once("__").is_some_and(|(section, _)| keys().contains_key(&section.to_lowercase()))
        || correct_spelling(&format!("{PREFIX}{path}")).is_some()
}

/// Returns the key that a variable sets, or an error message.
fn known_key(path: &str) -> Result<String, String> {
    let key = path.to_lowercase().replace("__", ".");
    let (section, name) = key.split_once('.').unwrap_or((&key, ""));
    match keys().get(section) {
        Some(known) if known.contains_key(name) && path == path.to_uppercase() => Ok(key),
        Some(_) if is_list(&key) && path == path.to_uppercase() => Ok(key),
        known => Err(match (correct_spelling(&format!("{PREFIX}{path}")), known) {
            (Some(correct), _) => format!("no such setting; did you mean {correct}?"),
            (None, Some(_)) => unknown_key(section),
            (None, None) => unknown_section(),
        }),
    }
}

fn value(kind: Kind, text: &str) -> Result<Value, String> {
    match kind {
        Kind::Text => Ok(Value::String(text.to_owned())),
        Kind::List => {
            let read =
                format!("list = {text}").parse::<Table>().ok().and_then(|mut table| table.remove("list"));
            let example = "must be a list in TOML syntax on one line, such as [{ name = \"value\" }]";
            read.filter(Value::is_array).ok_or_else(|| example.into())
        }
        Kind::Number => match text.parse() {
            Ok(number) => Ok(Value::Integer(number)),
            Err(_) => Err(format!("{text:?} is not a whole number")),
        },
        Kind::Flag => match text.parse() {
            Ok(flag) => Ok(Value::Boolean(flag)),
            Err(_) => Err(format!("{text:?} is not true or false")),
        },
    }
}

/// Prefix of all environment variables of settings.
const PREFIX: &str = "ORLOP_";

/// How the text of a variable is parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
    Flag,
    /// A list in TOML syntax.
    List,
}

/// The existing keys by section and name.
type Keys = BTreeMap<String, BTreeMap<String, Kind>>;

/// Returns all keys, derived from the defaults, so that the list is always complete.
fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| {
        let defaults = serde_json::to_value(Config::default()).unwrap_or_default();
        sections(defaults, |section| sections(section, kind))
    })
}

/// Whether a section is a list of tables.
fn is_list(section: &str) -> bool {
    keys().get(section).is_some_and(BTreeMap::is_empty)
}

fn sections<T>(value: Json, read: impl Fn(Json) -> T) -> BTreeMap<String, T> {
    let Json::Object(members) = value else {
        return BTreeMap::new();
    };
    members.into_iter().map(|(name, value)| (name, read(value))).collect()
}

fn kind(default: Json) -> Kind {
    match default {
        Json::Bool(_) => Kind::Flag,
        Json::Number(_) => Kind::Number,
        Json::Array(_) => Kind::List,
        _ => Kind::Text,
    }
}

/// Returns the environment variable of `key`, such as `ORLOP_GC__INTERVAL` for `gc.interval`.
pub fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase().replace('.', "__"))
}

/// Returns the error message for an unknown section.
fn unknown_section() -> String {
    let names: Vec<&str> = keys().keys().map(String::as_str).collect();
    format!("no such section; the sections are {}", names.join(", "))
}

/// Returns the error message for an unknown key in an existing section.
fn unknown_key(section: &str) -> String {
    let names = keys().get(section).into_iter().flatten();
    let names: Vec<&str> = names.map(|(name, _)| name.as_str()).collect();
    format!("no such setting; {section} has {}", names.join(", "))
}

/// Returns the correct spelling of a variable that differs from it only by case and underscores.
fn correct_spelling(name: &str) -> Option<String> {
    let flat = |text: &str| text.to_uppercase().replace(['_', '-', '.'], "");
    let all = keys().iter().flat_map(|(section, settings)| {
        settings.keys().map(move |name| variable(&format!("{section}.{name}")))
    });
    all.into_iter().find(|variable| flat(variable) == flat(name))
}
