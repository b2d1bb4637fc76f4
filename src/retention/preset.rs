//! Policies that people pick by name.

use std::borrow::Cow;
use std::sync::LazyLock;

use serde::Deserialize;

use super::error::{Mistake, Place, PolicyError};
use super::policy::{Policies, Policy};

/// A policy that comes with the program.
#[derive(Debug, Clone, Copy)]
pub struct Preset {
    /// Its name.
    pub name: &'static str,
    /// The policy as it would stand in a file, with comments: to be read and copied.
    pub toml: &'static str,
}

/// The presets.
pub const PRESETS: [Preset; 3] = [
    Preset { name: "ci", toml: include_str!("presets/ci.toml") },
    Preset { name: "home", toml: include_str!("presets/home.toml") },
    Preset { name: "keep-everything", toml: include_str!("presets/keep-everything.toml") },
];

/// A configuration file with policies alone.
#[derive(Debug, Deserialize)]
struct File {
    retention: Policies,
}

/// The presets, read once. A test holds that all can be read.
static READ: LazyLock<Vec<Policy>> = LazyLock::new(|| {
    let read = |preset: &Preset| toml::from_str::<File>(preset.toml).ok();
    PRESETS.iter().filter_map(read).flat_map(|file| file.retention.policies).collect()
});

/// The policy with its preset's rules behind its own.
pub(super) fn expand(policy: &Policy) -> Result<Cow<'_, Policy>, PolicyError> {
    let Some(name) = &policy.preset else {
        return Ok(Cow::Borrowed(policy));
    };
    let mut policy = Policy { name: policy.called().to_owned(), ..policy.clone() };
    let Some(preset) = READ.iter().find(|preset| preset.name == *name) else {
        return Err(PolicyError {
            place: Place::Policy(policy.name),
            mistake: Mistake::UnknownPreset(name.clone()),
        });
    };
    policy.rules.extend(preset.rules.iter().cloned());
    policy.preset = None;
    Ok(Cow::Owned(policy))
}
