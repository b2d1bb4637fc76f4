//! Retention policies: decides which tags and manifests expire and which are kept. Pure: no I/O and no clock.
//!
//! Operators write [`Policies`]. [`Policies::compile`] checks them and reports mistakes with the names of the policy
//! and the rule. [`evaluate`] takes a snapshot of one repository and decides on each tag and manifest; dry runs and
//! real runs both use it. [`PRESETS`] are built-in policies, and [`import`] converts policies of other registries.
//! `docs/retention.md` is the guide for operators who write policies.
//!
//! - Keep always wins. Items that no rule selects are kept. Items with unknown details are kept.
//! - Rules apply to tags and to unreferenced manifests. The children of an index, the referrers of a manifest, and
//!   tags made from its digest (cosign's, and the fallback tags of the spec) follow it.
//! - An item whose subject, by its manifest or its tag, is not in the repository is *orphaned*. Signatures may be
//!   stored apart from the content they sign, so orphans expire only by rules that select them explicitly.
//! - A manifest expires when everything that references it does. A tag may expire while another one keeps the manifest.

mod apply_rules;
mod check;
mod compile;
mod compiled;
mod decide;
mod describe;
mod error;
mod evaluate;
mod explain;
mod globs;
mod graph;
pub mod import;
mod inherit;
mod item;
mod limits;
mod matcher;
mod newest;
mod plan;
mod policy;
mod preset;
mod reachability;
mod selectors;
mod snapshot;

#[cfg(test)]
mod tests;

pub use compiled::{CompiledPolicies, Needs, RuleLabel};
pub use error::{Mistake, Place, PolicyError, Warning, WarningKind};
pub use evaluate::evaluate;
pub use explain::Explanation;
pub(crate) use globs::Globs;
pub use limits::{
    MAX_COMPILED_BYTES, MAX_COMPILED_PATTERN, MAX_PATTERN_BYTES, MAX_PATTERNS, MAX_POLICIES, MAX_RULES,
};
pub use plan::{Cause, Decision, Expiry, KeepReason, RepoPlan, StepTarget};
pub use policy::{Action, Count, Expressions, Final, Order, Policies, Policy, Rule, TagList, When};
pub use preset::{PRESETS, Preset};
pub use snapshot::{ManifestFacts, RepoSnapshot, TagFacts};
