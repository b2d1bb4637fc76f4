//! Translates the configuration of the Distribution registry (`registry:2` and `registry:3`): its YAML file and its
//! `REGISTRY_*` variables become settings of Orlop, and a report says what has no counterpart. Pure: reads no files.

mod document;
mod report;
#[cfg(test)]
mod tests;
mod translate;

use self::document::Document;
use super::check::check;
use super::sections::Config;

pub use self::report::{Carried, ImportError, Imported, MAX_CONFIG_BYTES, Remark};

/// Translates `yaml`, which may be empty, and the variables of `environment`, which override it.
///
/// # Errors
/// Fails if the configuration can't be read, or if its storage is no directory.
pub fn import(
    yaml: &str,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Imported, ImportError> {
    let document = Document::read(yaml, environment)?;
    let imported = translate::translate(document)?;
    validate(&imported)?;
    Ok(imported)
}

/// Checks that Orlop accepts the settings.
fn validate(imported: &Imported) -> Result<(), ImportError> {
    let config: Config =
        toml::from_str(&imported.to_toml()).map_err(|error| ImportError::Unreadable(Box::new(error)))?;
    check(&config).map_err(|(key, message)| ImportError::Invalid { key: key.to_owned(), message })
}
