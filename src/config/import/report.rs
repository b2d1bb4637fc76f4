//! The result of a translation, and its errors.

use std::collections::BTreeMap;

use thiserror::Error;
use toml::Value;

/// Maximum size of a configuration file.
pub const MAX_CONFIG_BYTES: usize = 1 << 20;

/// Why a configuration can't be translated.
#[derive(Debug, Error)]
pub enum ImportError {
    /// The file is too large to be a configuration.
    #[error("the file is larger than 1 MiB, so it is not a configuration")]
    TooLarge,
    /// The file is not YAML.
    #[error("the file is not valid YAML")]
    Yaml(#[source] Box<serde_saphyr::Error>),
    /// The file is YAML, but not the configuration of a Distribution registry.
    #[error(
        "the file is not the configuration of a Distribution registry: it must be a mapping with `version: 0.1`"
    )]
    NotAConfiguration,
    /// The value of a variable is not YAML.
    #[error("the value of {name} is not valid YAML")]
    Variable {
        /// The name of the variable.
        name: String,
        /// The cause.
        #[source]
        error: Box<serde_saphyr::Error>,
    },
    /// The registry stores its images elsewhere than in a directory.
    #[error(
        "storage.{driver}: orlop stores images in a directory only, and cannot take over this storage. Start orlop \
         beside the old registry, and copy the images with `skopeo sync --all --src docker --dest docker` or \
         `crane copy`. To translate the other settings, replace storage.{driver} by storage.filesystem"
    )]
    Driver {
        /// The storage driver.
        driver: String,
    },
    /// The settings contradict each other.
    #[error("the translated settings are invalid: {key} {message}")]
    Invalid {
        /// The setting.
        key: String,
        /// Why it is invalid.
        message: String,
    },
    /// The translated settings can't be read, which is a bug.
    #[error("the translated settings are invalid; please report this")]
    Unreadable(#[source] Box<toml::de::Error>),
}

/// A translated configuration.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Imported {
    /// The settings, by section.
    settings: BTreeMap<&'static str, BTreeMap<&'static str, Value>>,
    /// What was carried over.
    pub carried: Vec<Carried>,
    /// What has no counterpart.
    pub remarks: Vec<Remark>,
    /// What to do next.
    pub steps: Vec<String>,
}

/// A setting that was carried over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    /// The key in the configuration of the other registry.
    pub from: String,
    /// The setting of Orlop.
    pub to: String,
}

/// A setting without a counterpart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// The key in the configuration of the other registry.
    pub key: String,
    /// What it means for Orlop, and what to do instead.
    pub text: String,
}

impl Imported {
    /// Formats the settings as TOML.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        for (section, settings) in &self.settings {
            text.push_str(&format!("\n[{section}]\n"));
            for (name, value) in settings {
                text.push_str(&format!("{name} = {value}\n"));
            }
        }
        text.trim_start().to_owned()
    }

    pub(super) fn set(&mut self, section: &'static str, name: &'static str, value: impl Into<Value>) {
        self.settings.entry(section).or_default().insert(name, value.into());
    }
}
