//! Events: what happened to the store, for an operator to read later.
//!
//! An event that a change causes is recorded in the transaction and by the method that makes the change.
//! Monitored conditions (the budget, the disk, the clock) have states; every change of state is recorded.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::names::named;
use super::{RetentionRun, RunCause, Weigh};
use crate::clock::Timestamp;
use crate::oci::{Digest, RepoName};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its position: later events have larger ids.
    pub id: i64,
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub details: EventDetails,
}

/// A page of the events that a client may read, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventPage {
    /// The events. A page may be short or empty although more follow.
    pub items: Vec<Event>,
    /// The position before which more may follow. It may be that of an event that the client may not read.
    pub next: Option<i64>,
}

/// The maximum number of events that a page reads for a client that may not read all of them.
pub const MAX_EVENTS_EXAMINED: usize = 1_000;

impl Weigh for Event {
    fn weight(&self) -> usize {
        256 + self.details.weight()
    }
}

named! {
/// The kind of an event.
pub enum EventKind or UnknownKind {
    /// A blob was found damaged and is quarantined until it is pushed again.
    BlobDamaged = "blob-damaged",
    /// A push replaced the content of a quarantined blob.
    BlobHealed = "blob-healed",
    /// A quarantined blob was found intact and is served again.
    BlobSound = "blob-sound",
    /// Usage passed the budget's high mark, and too little can be reclaimed.
    BudgetHigh = "budget-high",
    /// The budget is exhausted: pushes are rejected.
    BudgetFull = "budget-full",
    /// Usage is below the budget's marks again.
    BudgetAmple = "budget-ample",
    /// The disk is full: pushes are rejected.
    DiskFull = "disk-full",
    /// The disk has enough free space again.
    DiskAmple = "disk-ample",
    /// The clock is wrong: nothing expires.
    ClockSuspect = "clock-suspect",
    /// The clock is trusted again.
    ClockTrusted = "clock-trusted",
    /// Policies removed something.
    RetentionRun = "retention-run",
    /// A policy was set.
    PolicySet = "policy-set",
    /// A policy was removed.
    PolicyRemoved = "policy-removed",
    /// A repository was deleted.
    RepositoryDeleted = "repository-deleted",
    /// A deleted repository was restored.
    RepositoryRestored = "repository-restored",
    /// A repository was renamed.
    RepositoryRenamed = "repository-renamed",
}
}

/// The text is not the name of an event kind.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("unknown event kind")]
pub struct UnknownKind;

impl EventKind {
    /// Returns all kinds.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter()
    }

    /// Returns all states of the monitored condition that this kind belongs to, the best first. Empty if the
    /// kind is not a state.
    pub fn states(self) -> &'static [Self] {
        match self {
            Self::BudgetAmple | Self::BudgetHigh | Self::BudgetFull => {
                &[Self::BudgetAmple, Self::BudgetHigh, Self::BudgetFull]
            }
            Self::DiskAmple | Self::DiskFull => &[Self::DiskAmple, Self::DiskFull],
            Self::ClockTrusted | Self::ClockSuspect => &[Self::ClockTrusted, Self::ClockSuspect],
            _ => &[],
        }
    }
}

/// What happened, with the data of its kind. Sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "facts", rename_all = "kebab-case")]
#[allow(missing_docs, reason = "each variant names its kind, and its fields are those of the kind")]
pub enum EventDetails {
    /// [`EventKind::BlobDamaged`]
    BlobDamaged {
        #[serde(with = "text")]
        digest: Digest,
        reason: String,
    },
    /// [`EventKind::BlobHealed`]
    BlobHealed {
        #[serde(with = "text")]
        digest: Digest,
        /// The repository it was pushed to.
        #[serde(with = "text")]
        repository: RepoName,
    },
    /// [`EventKind::BlobSound`]
    BlobSound {
        #[serde(with = "text")]
        digest: Digest,
    },
    /// [`EventKind::BudgetHigh`]
    BudgetHigh { budget: u64, used: u64, reserved: u64 },
    /// [`EventKind::BudgetFull`]
    BudgetFull { budget: u64, used: u64, reserved: u64 },
    /// [`EventKind::BudgetAmple`]
    BudgetAmple { budget: u64, used: u64, reserved: u64 },
    /// [`EventKind::DiskFull`]
    DiskFull { free: u64, min_free: u64 },
    /// [`EventKind::DiskAmple`]
    DiskAmple { free: u64, min_free: u64 },
    /// [`EventKind::ClockSuspect`]
    ClockSuspect { reason: String },
    /// [`EventKind::ClockTrusted`]
    ClockTrusted {},
    /// [`EventKind::RetentionRun`]
    RetentionRun {
        cause: RunCause,
        tags: u64,
        manifests: u64,
        skipped: u64,
        bytes: Option<u64>,
        stopped: bool,
        by: Option<String>,
    },
    /// [`EventKind::PolicySet`]
    PolicySet { name: String, by: Option<String> },
    /// [`EventKind::PolicyRemoved`]
    PolicyRemoved { name: String, by: Option<String> },
    /// [`EventKind::RepositoryDeleted`]
    RepositoryDeleted {
        #[serde(with = "text")]
        repository: RepoName,
        manifests: u64,
        by: Option<String>,
    },
    /// [`EventKind::RepositoryRestored`]
    RepositoryRestored {
        #[serde(with = "text")]
        repository: RepoName,
        manifests: u64,
        by: Option<String>,
    },
    /// [`EventKind::RepositoryRenamed`]
    RepositoryRenamed {
        #[serde(with = "text")]
        from: RepoName,
        #[serde(with = "text")]
        to: RepoName,
        by: Option<String>,
    },
}

impl EventDetails {
    /// Returns its kind.
    pub fn kind(&self) -> EventKind {
        match self {
            Self::BlobDamaged { .. } => EventKind::BlobDamaged,
            Self::BlobHealed { .. } => EventKind::BlobHealed,
            Self::BlobSound { .. } => EventKind::BlobSound,
            Self::BudgetHigh { .. } => EventKind::BudgetHigh,
            Self::BudgetFull { .. } => EventKind::BudgetFull,
            Self::BudgetAmple { .. } => EventKind::BudgetAmple,
            Self::DiskFull { .. } => EventKind::DiskFull,
            Self::DiskAmple { .. } => EventKind::DiskAmple,
            Self::ClockSuspect { .. } => EventKind::ClockSuspect,
            Self::ClockTrusted {} => EventKind::ClockTrusted,
            Self::RetentionRun { .. } => EventKind::RetentionRun,
            Self::PolicySet { .. } => EventKind::PolicySet,
            Self::PolicyRemoved { .. } => EventKind::PolicyRemoved,
            Self::RepositoryDeleted { .. } => EventKind::RepositoryDeleted,
            Self::RepositoryRestored { .. } => EventKind::RepositoryRestored,
            Self::RepositoryRenamed { .. } => EventKind::RepositoryRenamed,
        }
    }
}

impl EventDetails {
    /// Returns the repositories that it is about. Empty if it is about the registry as a whole.
    pub fn repositories(&self) -> Vec<&RepoName> {
        match self {
            Self::RepositoryDeleted { repository, .. } | Self::RepositoryRestored { repository, .. } => {
                vec![repository]
            }
            Self::RepositoryRenamed { from, to, .. } => vec![from, to],
            // A healed blob may belong to other repositories, too.
            _ => Vec::new(),
        }
    }

    /// Returns the size of its texts in bytes.
    fn weight(&self) -> usize {
        match self {
            Self::BlobDamaged { reason: text, .. } | Self::ClockSuspect { reason: text } => text.len(),
            Self::PolicySet { name, .. } | Self::PolicyRemoved { name, .. } => name.len(),
            _ => 0,
        }
    }
}

impl From<&RetentionRun> for EventDetails {
    fn from(run: &RetentionRun) -> Self {
        let RetentionRun { cause, tags, manifests, skipped, bytes, stopped, by, .. } = run.clone();
        Self::RetentionRun { cause, tags, manifests, skipped, bytes, stopped, by }
    }
}

/// A sentence for people.
impl fmt::Display for EventDetails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let taken = |used: &u64, reserved: &u64| mib(used.saturating_add(*reserved));
        match self {
            Self::BlobDamaged { digest, reason } => {
                write!(f, "{digest} is damaged and quarantined until it is pushed again: {reason}")
            }
            Self::BlobHealed { digest, repository } => {
                write!(f, "{digest} was damaged and has been pushed again to {repository}")
            }
            Self::BlobSound { digest } => {
                write!(f, "{digest} was quarantined, is intact and is served again")
            }
            Self::BudgetHigh { budget, used, reserved } => {
                let taken = taken(used, reserved);
                let budget = mib(*budget);
                write!(f, "{taken} of the budget of {budget} are used, and too little can be reclaimed")
            }
            Self::BudgetFull { budget, used, reserved } => {
                let taken = taken(used, reserved);
                let budget = mib(*budget);
                write!(f, "the budget of {budget} is exhausted ({taken} used): pushes are rejected")
            }
            Self::BudgetAmple { budget, used, reserved } => {
                let taken = taken(used, reserved);
                let budget = mib(*budget);
                write!(f, "the budget has free space again: {taken} of {budget} are used")
            }
            Self::DiskFull { free, min_free } => {
                let free = mib(*free);
                let least = mib(*min_free);
                write!(f, "the disk has {free} free, less than {least}: pushes are rejected")
            }
            Self::DiskAmple { free, .. } => {
                write!(f, "the disk has enough free space again: {}", mib(*free))
            }
            Self::ClockSuspect { reason } => write!(f, "expiry is paused: {reason}"),
            Self::ClockTrusted {} => f.write_str("the clock is trusted again"),
            Self::RetentionRun { cause, tags, manifests, skipped, stopped, .. } => {
                let cause = match cause {
                    RunCause::Interval => "",
                    RunCause::Request => " (requested)",
                    RunCause::Pressure => " (to free space)",
                };
                write!(f, "policies removed {tags} tags and {manifests} manifests{cause}")?;
                match (skipped, stopped) {
                    (0, _) => Ok(()),
                    (_, true) => f.write_str("; stopped because something had changed"),
                    (skipped, false) => write!(f, "; skipped {skipped} that had changed"),
                }
            }
            Self::PolicySet { name, .. } => write!(f, "the policy `{name}` was set"),
            Self::PolicyRemoved { name, .. } => write!(f, "the policy `{name}` was removed"),
            Self::RepositoryDeleted { repository, manifests, .. } => {
                write!(f, "{repository} was deleted: its {manifests} manifests move to the trash")
            }
            Self::RepositoryRestored { repository, manifests, .. } => {
                write!(f, "{repository} was restored: {manifests} manifests return from the trash")
            }
            Self::RepositoryRenamed { from, to, .. } => write!(f, "{from} was renamed to {to}"),
        }
    }
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

/// Serialises values as text.
mod text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;

    pub(super) fn serialize<S: Serializer>(value: &impl Display, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub(super) fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
    where
        T: FromStr,
        T::Err: Display,
        D: Deserializer<'de>,
    {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_serialised_beside_the_kind() {
        let app: RepoName = "team/app".parse().expect("a name");
        let renamed =
            EventDetails::RepositoryRenamed { from: app, to: "app".parse().expect("a name"), by: None };
        let json = serde_json::to_value(&renamed).expect("JSON");
        let facts = serde_json::json!({ "from": "team/app", "to": "app", "by": null });
        assert_eq!(json, serde_json::json!({ "kind": renamed.kind(), "facts": facts }));
        assert_eq!(serde_json::from_value::<EventDetails>(json).expect("read"), renamed);
        assert_eq!(renamed.to_string(), "team/app was renamed to app");
        let trusted = serde_json::to_value(EventDetails::ClockTrusted {}).expect("JSON");
        assert_eq!(trusted, serde_json::json!({ "kind": "clock-trusted", "facts": {} }));
    }

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
