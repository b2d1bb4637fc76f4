//! What is wrong with the settings.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The configuration file.
    File(PathBuf),
    /// This environment variable.
    Variable(String),
    /// This flag.
    Flag(&'static str),
    /// Nowhere: the default.
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

/// What is wrong with the settings.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the configuration file {}: {error}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{} is not valid TOML: {error}", path.display())]
    Syntax {
        /// Which.
        path: PathBuf,
        /// Where and why.
        error: toml::de::Error,
    },
    /// The file is YAML, as other registries' configuration is.
    #[error(
        "{} is YAML, and the configuration is TOML: write [section] and key = value, as \
         config/orlop.example.toml does; another registry's file is not read",
        path.display()
    )]
    Yaml {
        /// Which.
        path: PathBuf,
    },
    /// An environment variable that looks like a setting's and is none.
    #[error("{name}: {message}")]
    Variable {
        /// Its name.
        name: String,
        /// What is wrong with it.
        message: String,
    },
    /// A key that does not exist, or a value that is not allowed.
    #[error("{key} ({origin}): {message}")]
    Setting {
        /// Which.
        key: String,
        /// Where its value came from.
        origin: Origin,
        /// What is wrong with it, and what is allowed.
        message: String,
    },
}
