//! `fsck`: reads every byte, checks each digest, count and reference.
//!
//! It runs beside a serving registry: what looks wrong at the first glance may have been deleted or
//! uploaded meanwhile, so everything is looked at again before it is reported. Repairing never removes what
//! a record names:
//!
//! - a blob whose bytes are missing or damaged is marked, so that the next push of it heals it;
//! - a blob that was marked and is sound is unmarked;
//! - what a blob takes of the disk is recorded anew where it is something else;
//! - bytes that no record, upload or list names are removed;
//! - files that are not the store's are reported and kept.

mod blobs;
mod manifests;
mod orphans;
mod report;

pub use report::{FsckReport, Problem, ProblemKind};

use std::collections::HashSet;

use super::progress::{Counter, Progress, Unit};
use crate::oci::Digest;
use crate::registry::{Registry, ServiceError};

pub(super) use self::report::Findings;

/// One check in progress.
struct Check<'a> {
    registry: &'a Registry,
    repair: bool,
    progress: &'a dyn Progress,
    findings: Findings,
    /// Blobs whose bytes are missing or damaged.
    bad: HashSet<Digest>,
}

/// Checks everything, and with `repair` mends what can be mended.
///
/// # Errors
/// [`ServiceError`] when a store failed so that the check could not go on; never because of what it found.
pub async fn fsck(
    registry: &Registry,
    repair: bool,
    progress: &dyn Progress,
) -> Result<FsckReport, ServiceError> {
    let findings = Findings::default();
    let mut check = Check { registry, repair, progress, findings, bad: HashSet::new() };
    check.facts().await?;
    check.blobs().await?;
    check.manifests().await?;
    check.orphans().await?;
    Ok(check.findings.into_report())
}

impl Check<'_> {
    /// The facts against each other, as their store knows best.
    async fn facts(&mut self) -> Result<(), ServiceError> {
        let mut counter = self.counter("checking the database", Unit::Items, Some(1));
        for message in self.registry.metadata().verify().await? {
            self.findings.add(ProblemKind::InconsistentFacts, "database", message, false);
        }
        counter.add(1);
        Ok(())
    }
}

impl<'a> Check<'a> {
    fn counter(&self, what: &str, unit: Unit, total: Option<u64>) -> Counter<'a> {
        Counter::new(self.progress, what, unit, total)
    }
}
