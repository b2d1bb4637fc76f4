//! The kinds of events and their names.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use EventKind::*;

/// The kind of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// A blob was found damaged and is quarantined until it is pushed again.
    BlobDamaged,
    /// A push replaced the content of a quarantined blob.
    BlobHealed,
    /// A quarantined blob was found intact and is served again.
    BlobSound,
    /// Usage passed the budget's high mark, and too little can be reclaimed.
    BudgetHigh,
    /// The budget is exhausted: pushes are rejected.
    BudgetFull,
    /// Usage is below the budget's marks again.
    BudgetAmple,
    /// The disk is full: pushes are rejected.
    DiskFull,
    /// The disk has enough free space again.
    DiskAmple,
    /// The clock is wrong: nothing expires.
    ClockSuspect,
    /// The clock is trusted again.
    ClockTrusted,
    /// Policies removed something.
    RetentionRun,
    /// A policy was set.
    PolicySet,
    /// A policy was removed.
    PolicyRemoved,
    /// A repository was deleted.
    RepositoryDeleted,
    /// A deleted repository was restored.
    RepositoryRestored,
    /// A repository was renamed.
    RepositoryRenamed,
}

/// The text is not the name of an event kind.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("unknown event kind")]
pub struct UnknownKind;

/// Every kind by its name.
const NAMES: [(EventKind, &str); 16] = [
    (BlobDamaged, "blob-damaged"),
    (BlobHealed, "blob-healed"),
    (BlobSound, "blob-sound"),
    (BudgetHigh, "budget-high"),
    (BudgetFull, "budget-full"),
    (BudgetAmple, "budget-ample"),
    (DiskFull, "disk-full"),
    (DiskAmple, "disk-ample"),
    (ClockSuspect, "clock-suspect"),
    (ClockTrusted, "clock-trusted"),
    (RetentionRun, "retention-run"),
    (PolicySet, "policy-set"),
    (PolicyRemoved, "policy-removed"),
    (RepositoryDeleted, "repository-deleted"),
    (RepositoryRestored, "repository-restored"),
    (RepositoryRenamed, "repository-renamed"),
];

impl EventKind {
    /// Returns all kinds.
    pub fn all() -> impl Iterator<Item = Self> {
        NAMES.into_iter().map(|(kind, _)| kind)
    }

    /// Returns its name.
    pub fn name(self) -> &'static str {
        NAMES.into_iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }

    /// Returns all states of the monitored condition that this kind belongs to, the best first. Empty if the
    /// kind is not a state.
    pub fn states(self) -> &'static [Self] {
        match self {
            BudgetAmple | BudgetHigh | BudgetFull => &[BudgetAmple, BudgetHigh, BudgetFull],
            DiskAmple | DiskFull => &[DiskAmple, DiskFull],
            ClockTrusted | ClockSuspect => &[ClockTrusted, ClockSuspect],
            _ => &[],
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for EventKind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        NAMES.into_iter().find(|(_, name)| *name == text).map(|(kind, _)| kind).ok_or(UnknownKind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_their_serialised_form() {
        for kind in EventKind::all() {
            assert_eq!(serde_json::to_value(kind).expect("JSON"), kind.name());
            assert_eq!(kind.name().parse(), Ok(kind));
        }
        assert_eq!("".parse::<EventKind>(), Err(UnknownKind));
    }

    #[test]
    fn states_of_a_condition_share_one_list() {
        for kind in EventKind::all() {
            let states = kind.states();
            assert!(states.is_empty() || states.contains(&kind), "{kind}");
            assert!(states.iter().all(|state| state.states() == states), "{kind}");
        }
    }
}
