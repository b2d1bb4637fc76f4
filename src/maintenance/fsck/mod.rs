//! `fsck`: reads all content and checks each digest, count and reference.
//!
//! It can run beside a serving registry. Anything that looks wrong may just have been deleted or uploaded meanwhile, so
//! it is checked again before it is reported. A repair never removes recorded content:
//!
//! - A blob whose content is missing or damaged is quarantined, so that the next push of it repairs it.
//! - A quarantined blob that is sound is released, and an adopted blob that is sound is recorded as verified.
//! - The recorded disk usage of a blob is corrected.
//! - Blobs that no record, upload or deletion list refers to are removed.
//! - Foreign files in the store are reported and kept.

mod blobs;
mod manifests;
mod orphans;
mod report;
mod verdict;

pub(crate) use blobs::record_sound;
pub use report::{FsckReport, Problem, ProblemKind};

use std::collections::HashSet;

use super::progress::{Counter, Progress, Unit};
use crate::oci::Digest;
use crate::registry::{Registry, ServiceError};

pub(crate) use self::report::Findings;
pub(crate) use self::verdict::Verdict;

/// A check in progress.
struct Check<'a> {
    registry: &'a Registry,
    repair: bool,
    progress: &'a dyn Progress,
    findings: Findings,
    /// Blobs whose content is missing or damaged.
    bad: HashSet<Digest>,
}

/// Checks everything, and with `repair` repairs what can be repaired.
///
/// # Errors
/// Fails if a store failed so that the check could not continue. Problems that it finds are not errors.
pub async fn fsck(
    registry: &Registry,
    repair: bool,
    progress: &dyn Progress,
) -> Result<FsckReport, ServiceError> {
    let findings = Findings::default();
    let mut check = Check { registry, repair, progress, findings, bad: HashSet::new() };
    check.check_database().await?;
    check.check_blobs().await?;
    check.check_manifests().await?;
    check.find_orphans().await?;
    Ok(check.findings.into_report())
}

impl Check<'_> {
    /// Runs the consistency checks of the database.
    async fn check_database(&mut self) -> Result<(), ServiceError> {
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
