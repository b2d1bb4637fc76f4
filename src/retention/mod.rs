//! What may expire and what must stay. Pure: no I/O, no clock of its own.
//!
//! [`Policies`] are what an operator writes; [`Policies::compile`] checks them, and refuses with the names of
//! policy and rule. [`evaluate`] takes the facts of one repository and decides on each tag and manifest; the
//! dry run and the real run ask it alike. [`PRESETS`] come with the program, and [`import`] reads other
//! registries' policies. `docs/retention.md` is the guide for those who write policies.
//!
//! - Keep always wins. What no rule names is kept. What is not known is kept.
//! - Rules judge tags, and manifests that nothing holds. An index's children, a manifest's referrers and the
//!   tags that are made of its digest (cosign's, and the spec's fallback tags) follow it.
//! - What is attached to something that is not in the repository, by its subject or its tag, is *orphaned*.
//!   Signatures may well be kept apart from what they sign, so rules must name orphans to expire them.
//! - A manifest goes when all that holds it goes. A tag may go while another keeps the manifest.

mod check;
mod compile;
mod compiled;
mod decide;
mod error;
mod evaluate;
mod explain;
mod globs;
mod graph;
pub mod import;
mod inherit;
mod item;
mod judge;
mod matcher;
mod newest;
mod plan;
mod policy;
mod preset;
mod reachability;
mod selectors;
mod snapshot;
mod version;

#[cfg(test)]
mod tests;

pub use compile::{MAX_POLICIES, MAX_RULES};
pub use compiled::{Compiled, Needs, RuleLabel};
pub use error::{Mistake, Oddity, Place, PolicyError, Warning};
pub use evaluate::evaluate;
pub use explain::Explanation;
pub(crate) use globs::Globs;
pub use matcher::{MAX_COMPILED_BYTES, MAX_COMPILED_PATTERN, MAX_PATTERN_BYTES, MAX_PATTERNS};
pub use plan::{Cause, Decision, Expiry, KeepReason, RepoPlan, StepTarget};
pub use policy::{Action, Count, Expressions, Final, Order, Policies, Policy, Rule, TagList, When};
pub use preset::{PRESETS, Preset};
pub use snapshot::{ManifestFacts, RepoSnapshot, TagFacts};
