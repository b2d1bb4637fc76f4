//! Arguments that several commands share.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde::de::DeserializeOwned;

/// Output format.
#[derive(Debug, Args)]
pub(super) struct Output {
    /// Print the result as JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// The flag that skips the confirmation prompt.
#[derive(Debug, Args)]
pub(super) struct Confirmation {
    /// Do not ask for confirmation
    #[arg(long)]
    pub(super) yes: bool,
}

/// Parses values with these names, which are also their names in the API.
pub(super) fn one_of<T>(names: impl IntoIterator<Item = &'static str>) -> impl TypedValueParser<Value = T>
where
    T: DeserializeOwned + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(names).try_map(|name| serde_json::from_value::<T>(name.into()))
}
