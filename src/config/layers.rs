//! Where settings come from, laid over each other.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::keys::{self, Kind, PREFIX, keys};
use super::{Config, ConfigError, Origin};
use crate::text_file;

/// A flag that sets a key.
#[derive(Debug, Clone)]
pub struct Flag {
    /// The flag's name with its dashes.
    pub name: &'static str,
    /// The key that it sets.
    pub key: &'static str,
    /// The value, as in an environment variable.
    pub value: String,
}

/// Everything that settings are taken from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The TOML file, if there is one.
    pub file: Option<PathBuf>,
    /// The environment; only names that begin with `ORLOP_` matter, and empty values count as unset.
    pub environment: Vec<(OsString, OsString)>,
    /// Flags.
    pub flags: Vec<Flag>,
}

/// The table that the sources give together, and where each value in it came from.
pub(super) struct Layers {
    table: Table,
    origins: BTreeMap<String, Origin>,
    file: Option<PathBuf>,
}

impl Layers {
    pub(super) fn gather(sources: &Sources) -> Result<Self, ConfigError> {
        let file = sources.file.clone();
        let table = file.as_deref().map_or_else(|| Ok(Table::new()), read_file)?;
        let mut layers = Self { table, origins: BTreeMap::new(), file };
        layers.refuse_unknown()?;
        for (name, value) in &sources.environment {
            layers.lay_variable(name, value)?;
        }
        for flag in &sources.flags {
            layers.lay(flag.key, &flag.value, Origin::Flag(flag.name))?;
        }
        Ok(layers)
    }

    /// The settings, each of the right kind.
    pub(super) fn read(&self) -> Result<Config, ConfigError> {
        let value = Value::Table(self.table.clone());
        serde_path_to_error::deserialize(value).map_err(|error| {
            let key = error.path().to_string();
            self.error(&key, error.into_inner().message().to_owned())
        })
    }

    /// An error about `key`.
    pub(super) fn error(&self, key: &str, message: String) -> ConfigError {
        ConfigError::Setting { key: key.to_owned(), origin: self.origin(key), message }
    }

    /// Whether nothing sets `key`.
    pub(super) fn leaves_default(&self, key: &str) -> bool {
        matches!(self.origin(key), Origin::Default)
    }

    fn origin(&self, key: &str) -> Origin {
        let in_file = || {
            let (section, name) = key.split_once('.').unwrap_or((key, ""));
            // A list is in the file as a whole: `quotas[0].bytes`, `retention.policies[0].name`.
            let found = self.table.get(section.split('[').next()?)?;
            let name = name.split(['[', '.']).next()?;
            (name.is_empty() || found.is_array() || found.get(name).is_some()).then_some(())?;
            self.file.clone().map(Origin::File)
        };
        let laid = self.origins.get(key).or_else(|| self.origins.get(key.split('[').next()?)).cloned();
        laid.or_else(in_file).unwrap_or(Origin::Default)
    }

    fn refuse_unknown(&self) -> Result<(), ConfigError> {
        for (section, settings) in &self.table {
            let known = keys().get(section);
            let known = known.ok_or_else(|| self.error(section, keys::unknown_section()))?;
            if keys::is_list(section) {
                let wrong =
                    || self.error(section, format!("must be a list, each member below a [[{section}]]"));
                settings.as_array().ok_or_else(wrong)?;
                continue;
            }
            let wrong = || self.error(section, format!("must be a section, [{section}]"));
            let settings = settings.as_table().ok_or_else(wrong)?;
            if let Some(name) = settings.keys().find(|name| !known.contains_key(*name)) {
                return Err(self.error(&format!("{section}.{name}"), keys::unknown_key(section)));
            }
        }
        Ok(())
    }

    fn lay_variable(&mut self, name: &OsString, value: &OsString) -> Result<(), ConfigError> {
        let name = name.to_string_lossy();
        let Some(path) = name.strip_prefix(PREFIX) else {
            return Ok(());
        };
        // The command line reads the path of the file.
        if path == "CONFIG" || value.is_empty() {
            return Ok(());
        }
        let refuse = |message: String| ConfigError::Variable { name: name.to_string(), message };
        let key = match known_key(path) {
            Ok(key) => key,
            Err(_) if !names_section(path) && is_foreign(path, &value.to_string_lossy()) => return Ok(()),
            Err(message) => return Err(refuse(message)),
        };
        let value = value.to_str().ok_or_else(|| refuse("its value is not UTF-8".into()))?;
        self.lay(&key, value, Origin::Variable(name.to_string()))
    }

    fn lay(&mut self, key: &str, text: &str, origin: Origin) -> Result<(), ConfigError> {
        self.origins.insert(key.to_owned(), origin);
        if keys::is_list(key) {
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

/// Whether a file that is not TOML is YAML, by its name or by its first setting, `key:` or `key: value`.
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

/// Whether a variable that begins like ours is none of ours. Kubernetes describes every Service of the namespace in
/// every pod, and Docker every linked container: with a Service or container named `orlop` or `orlop-something`
/// those variables begin with `ORLOP_`
/// (<https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>,
/// <https://docs.docker.com/engine/network/links/#environment-variables>). No setting has such a name.
fn is_foreign(path: &str, value: &str) -> bool {
    const PROTOCOLS: [&str; 3] = ["_TCP", "_UDP", "_SCTP"];
    // Behind the name of the Service or the container, which may be all there is before it: `ORLOP`.
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

/// Whether a variable's name has the form of a setting's in a section that exists: then it is a misspelt one.
fn names_section(path: &str) -> bool {
    path.split_once("__").is_some_and(|(section, _)| keys().contains_key(&section.to_lowercase()))
        || keys::meant(&format!("{PREFIX}{path}")).is_some()
}

/// The key that a variable sets, or what to say if there is none.
fn known_key(path: &str) -> Result<String, String> {
    let key = path.to_lowercase().replace("__", ".");
    let (section, name) = key.split_once('.').unwrap_or((&key, ""));
    match keys().get(section) {
        Some(known) if known.contains_key(name) && path == path.to_uppercase() => Ok(key),
        Some(_) if keys::is_list(&key) && path == path.to_uppercase() => Ok(key),
        known => Err(match (keys::meant(&format!("{PREFIX}{path}")), known) {
            (Some(meant), _) => format!("there is no such setting; did you mean {meant}?"),
            (None, Some(_)) => keys::unknown_key(section),
            (None, None) => keys::unknown_section(),
        }),
    }
}

fn value(kind: Kind, text: &str) -> Result<Value, String> {
    match kind {
        Kind::Text => Ok(Value::String(text.to_owned())),
        Kind::List => {
            let read =
                format!("list = {text}").parse::<Table>().ok().and_then(|mut table| table.remove("list"));
            let example = "must be a list as TOML writes it in one line, such as [{ name = \"value\" }]";
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
