//! Presets: built-in policies that are selected by name.

use std::borrow::Cow;
use std::sync::LazyLock;

use serde::Deserialize;

use super::error::{Mistake, Place, PolicyError};
use super::policy::{Policies, Policy};

/// A built-in policy.
#[derive(Debug, Clone, Copy)]
pub struct Preset {
    /// The name.
    pub name: &'static str,
    /// The policy as it would stand in a configuration file, with comments, to be read and copied.
    pub toml: &'static str,
}

/// The built-in policies.
pub const PRESETS: [Preset; 3] = [
    Preset { name: "ci", toml: include_str!("presets/ci.toml") },
    Preset { name: "home", toml: include_str!("presets/home.toml") },
    Preset { name: "keep-everything", toml: include_str!("presets/keep-everything.toml") },
];

/// A configuration file that contains only policies.
#[derive(Debug, Deserialize)]
struct File {
    retention: Policies,
}

/// The parsed presets. A test checks that all can be parsed.
static PARSED: LazyLock<Vec<Policy>> = LazyLock::new(|| {
    let read = |preset: &Preset| toml::from_str::<File>(preset.toml).ok();
    PRESETS.iter().filter_map(read).flat_map(|file| file.retention.policies).collect()
});

/// Returns the policy with the rules of its preset appended to its own.
pub(super) fn expand(policy: &Policy) -> Result<Cow<'_, Policy>, PolicyError> {
    let Some(name) = &policy.preset else {
        return Ok(Cow::Borrowed(policy));
    };
    let mut policy = Policy { name: policy.name_or_preset().to_owned(), ..policy.clone() };
    let Some(preset) = PARSED.iter().find(|preset| preset.name == *name) else {
        return Err(PolicyError {
            place: Place::Policy(policy.name),
            mistake: Mistake::UnknownPreset(name.clone()),
        });
    };
    policy.rules.extend(preset.rules.iter().cloned());
    policy.preset = None;
    Ok(Cow::Owned(policy))
}
