//! Limits on policies and their patterns.

/// The maximum number of policies in the configuration file and the API together.
pub const MAX_POLICIES: usize = 1000;

/// The maximum number of rules in all policies together, including rules of presets.
pub const MAX_RULES: usize = 2000;

/// The maximum number of expressions and globs in all policies together, or in one list outside policies.
pub const MAX_PATTERNS: usize = 10_000;

/// The maximum size of one expression or glob in bytes. Names have at most 255 bytes and tags 128.
pub const MAX_PATTERN_BYTES: usize = 4 << 10;

/// The maximum compiled size of one expression or glob in bytes. Repetitions such as `{1000}` multiply the size.
pub const MAX_COMPILED_PATTERN: usize = 256 << 10;

/// The maximum compiled size of all expressions and globs in bytes. Checking a policy holds up to three such sets.
pub const MAX_COMPILED_BYTES: usize = 8 << 20;
