//! Errors in the settings.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

/// The source of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The configuration file.
    File(PathBuf),
    /// The environment variable of this name.
    Variable(String),
    /// The command-line flag of this name.
    Flag(&'static str),
    /// No source: the default.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "in {}", path.display()),
            Self::Variable(name) => write!(f, "set by {name}"),
            Self::Flag(name) => write!(f, "set by {name}"),
            Self::Default => f.write_str("by default"),
        }
    }
}

/// An error in the settings.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the configuration file {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        error: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{} is not valid TOML", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Position and cause.
        #[source]
        error: toml::de::Error,
    },
    /// The file is YAML, as the configuration of other registries is.
    #[error(
        "{} is YAML, but the configuration must be TOML: use [section] and key = value, as in \
         config/orlop.example.toml; `orlop config import {}` translates the configuration of registry:2",
        path.display(),
        path.display()
    )]
    Yaml {
        /// The file.
        path: PathBuf,
    },
    /// An environment variable looks like a setting, but there is no such setting.
    #[error("{name}: {message}")]
    Variable {
        /// The variable's name.
        name: String,
        /// The error message.
        message: String,
    },
    /// The key does not exist, or its value is invalid.
    #[error("{key} ({origin}): {message}")]
    Setting {
        /// The key.
        key: String,
        /// The source of its value.
        origin: Origin,
        /// What is wrong, and which values are allowed.
        message: String,
    },
}
