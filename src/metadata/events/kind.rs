//! The kinds of events.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use utoipa::ToSchema;

use EventKind::*;

/// What kind of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// A blob was found damaged, and is absent until it is pushed again.
    BlobDamaged,
    /// A push brought the bytes of a damaged blob again.
    BlobHealed,
    /// A blob that was set aside was found sound.
    BlobSound,
    /// The budget's high mark was passed, and too little may go.
    BudgetHigh,
    /// The budget is used up: pushes are refused.
    BudgetFull,
    /// There is room in the budget again.
    BudgetAmple,
    /// The disk is full: pushes are refused.
    DiskFull,
    /// There is room on the disk again.
    DiskAmple,
    /// The clock was found wrong: nothing expires.
    ClockSuspect,
    /// The clock is trusted again.
    ClockTrusted,
    /// Policies let something go.
    RetentionRun,
    /// A policy was set.
    PolicySet,
    /// A policy was removed.
    PolicyRemoved,
    /// A repository was deleted.
    RepositoryDeleted,
    /// A repository's deletion was undone.
    RepositoryRestored,
    /// A repository got another name.
    RepositoryRenamed,
}

/// Something that is no kind of event.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("there is no such kind of event")]
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
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        NAMES.into_iter().map(|(kind, _)| kind)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        NAMES.into_iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }

    /// The states of what is watched of which this is one, the best first; none if it is no state.
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
    fn names_are_the_same_on_the_wire() {
        for kind in EventKind::all() {
            assert_eq!(serde_json::to_value(kind).expect("JSON"), kind.name());
            assert_eq!(kind.name().parse(), Ok(kind));
        }
        assert_eq!("".parse::<EventKind>(), Err(UnknownKind));
    }

    #[test]
    fn a_state_is_among_its_states() {
        for kind in EventKind::all() {
            let states = kind.states();
            assert!(states.is_empty() || states.contains(&kind), "{kind}");
            assert!(states.iter().all(|state| state.states() == states), "{kind}");
        }
    }
}
