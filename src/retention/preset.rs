//! Presets: built-in policies that are selected by name.

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
