//! Audit entries waiting to be written. Equal entries within a minute are merged into one.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::metadata::{AuditAction, AuditOutcome, AuditTimes, Audited, Origin, Scope};

/// Equal entries within this time are merged.
pub(super) const MERGE_WINDOW: Duration = Duration::from_secs(60);

/// The maximum number of entries waiting to be written.
const MAX_WAITING: usize = 10_000;

/// The maximum number of distinct entries per minute about unsuccessful requests of one client
/// for one action.
const MAX_FAILURES_PER_CLIENT: u32 = 30;

/// The maximum number of distinct entries per minute about unsuccessful requests of all clients
/// together.
const MAX_FAILURES: u32 = 1000;

/// The waiting entries.
#[derive(Default)]
pub(super) struct Gathered {
    /// Each with its sequence number, which orders the entries of one moment.
    waiting: HashMap<Audited, (u64, AuditTimes)>,
    next: u64,
    lost: u64,
    /// When the current minute began, by the monotonic clock. The fields below are about its failures.
    minute: Option<Duration>,
    /// The number of distinct entries.
    distinct: u32,
    /// The number of distinct entries of each client for each action.
    distinct_by: HashMap<(IpAddr, AuditAction), u32>,
    /// The distinct entries.
    seen: HashSet<Audited>,
}

impl Gathered {
    /// Adds an entry for something done or attempted at the time `at` from a `network`; `elapsed` is the monotonic
    /// clock.
    pub(super) fn add(
        &mut self,
        audited: Audited,
        network: Option<IpAddr>,
        at: Timestamp,
        elapsed: Duration,
    ) {
        let audited = match network {
            Some(network) if audited.outcome != AuditOutcome::Allowed => {
                match self.limited(audited, network, elapsed) {
                    Some(audited) => audited,
                    None => {
                        self.lost += 1;
                        return;
                    }
                }
            }
            _ => audited,
        };
        self.merge(audited, AuditTimes::once(at));
    }

    /// Returns the entry about a failure, or a summary of it if its client has too many. `None` if all
    /// clients together have too many.
    fn limited(&mut self, audited: Audited, network: IpAddr, elapsed: Duration) -> Option<Audited> {
        if self.minute.is_none_or(|start| elapsed.saturating_sub(start) >= MERGE_WINDOW) {
            self.minute = Some(elapsed);
            self.distinct = 0;
            self.distinct_by.clear();
            self.seen.clear();
        }
        if self.seen.contains(&audited) {
            return Some(audited);
        }
        let client = (network, audited.action);
        let of_client = self.distinct_by.get(&client).copied().unwrap_or_default();
        let audited = if of_client < MAX_FAILURES_PER_CLIENT { audited } else { summary_of(audited) };
        if self.seen.contains(&audited) {
            return Some(audited);
        }
        if self.distinct >= MAX_FAILURES {
            return None;
        }
        self.distinct_by.insert(client, of_client + 1);
        self.distinct += 1;
        self.seen.insert(audited.clone());
        Some(audited)
    }

    fn merge(&mut self, audited: Audited, times: AuditTimes) {
        if let Some((_, waiting)) = self.waiting.get_mut(&audited) {
            *waiting = waiting.merge(times);
        } else if self.waiting.len() < MAX_WAITING {
            self.next += 1;
            self.waiting.insert(audited, (self.next, times));
        } else {
            self.lost = self.lost.saturating_add(times.count);
        }
    }

    /// Takes all waiting entries in the order they were added, with an entry that counts the lost ones.
    pub(super) fn take(&mut self, now: Timestamp) -> Vec<(Audited, AuditTimes)> {
        let mut taken: Vec<_> = std::mem::take(&mut self.waiting).into_iter().collect();
        taken.sort_by_key(|(_, (number, times))| (times.first, *number));
        let mut taken: Vec<_> = taken.into_iter().map(|(audited, (_, times))| (audited, times)).collect();
        let count = std::mem::take(&mut self.lost);
        if count > 0 {
            taken.push((lost(), AuditTimes { first: now, last: now, count }));
        }
        taken
    }

    /// Puts back entries that could not be written.
    pub(super) fn put_back(&mut self, taken: Vec<(Audited, AuditTimes)>) {
        for (audited, times) in taken {
            if audited.action == AuditAction::EntriesLost {
                self.lost = self.lost.saturating_add(times.count);
                continue;
            }
            let later = self.waiting.remove(&audited);
            self.merge(audited, later.map_or(times, |(_, later)| times.merge(later)));
        }
    }
}

/// The entry that stands for many that differ only in their details. It names a user only if the user is authenticated.
fn summary_of(audited: Audited) -> Audited {
    let user = audited.user.filter(|_| audited.action != AuditAction::Login);
    let token = audited.token.filter(|_| audited.action != AuditAction::Login);
    Audited { user, token, scope: Scope::All, subject: None, ..audited }
}

fn lost() -> Audited {
    Audited {
        user: None,
        token: None,
        from: Origin::Registry,
        action: AuditAction::EntriesLost,
        scope: Scope::All,
        subject: None,
        outcome: AuditOutcome::Failed,
        status: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed_login(user: &str) -> Audited {
        let from = Origin::Address([192, 0, 2, 1].into());
        Audited {
            user: Some(user.into()),
            from,
            action: AuditAction::Login,
            outcome: AuditOutcome::Denied,
            status: Some(401),
            ..lost()
        }
    }

    #[expect(clippy::unnecessary_wraps, reason = "the parameter of `add` is an `Option`")]
    fn network(number: u32) -> Option<IpAddr> {
        Some(IpAddr::from(number.to_be_bytes()))
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn merges_equal_entries() {
        let mut gathered = Gathered::default();
        for time in 0..200 {
            gathered.add(failed_login("ann"), network(1), Timestamp(time), SECOND);
        }
        let times = AuditTimes { first: Timestamp(0), last: Timestamp(199), count: 200 };
        assert_eq!(gathered.take(Timestamp(200)), [(failed_login("ann"), times)]);
        assert_eq!(gathered.take(Timestamp(200)), []);
    }

    #[test]
    fn summarises_many_user_names_from_one_client() {
        let mut gathered = Gathered::default();
        for time in 0..1000 {
            gathered.add(failed_login(&time.to_string()), network(1), Timestamp(time), SECOND);
        }
        let taken = gathered.take(Timestamp(1000));
        assert_eq!(taken.len(), MAX_FAILURES_PER_CLIENT as usize + 1);
        let (rest, times) = taken.last().expect("some");
        assert_eq!((rest.user.as_deref(), times.count), (None, 1000 - u64::from(MAX_FAILURES_PER_CLIENT)));
        gathered.add(failed_login("new"), network(1), Timestamp(1001), SECOND + MERGE_WINDOW);
        assert_eq!(
            gathered.take(Timestamp(1002))[0].0,
            failed_login("new"),
            "the limit restarts after a minute"
        );
    }

    #[test]
    fn counts_failures_beyond_the_limit_of_all_clients() {
        let mut gathered = Gathered::default();
        for client in 0..5000 {
            gathered.add(failed_login(&client.to_string()), network(client), Timestamp(0), SECOND);
        }
        let taken = gathered.take(Timestamp(1));
        assert_eq!(taken.len(), MAX_FAILURES as usize + 1);
        let (last, times) = taken.last().expect("some");
        assert_eq!((last.action, times.count), (AuditAction::EntriesLost, 4000));
    }

    #[test]
    fn counts_lost_entries_when_too_many_wait() {
        let mut gathered = Gathered::default();
        let push = |number: usize| Audited {
            outcome: AuditOutcome::Allowed,
            subject: Some(number.to_string()),
            ..failed_login("ann")
        };
        for number in 0..MAX_WAITING + 7 {
            gathered.add(push(number), network(1), Timestamp(0), SECOND);
        }
        let taken = gathered.take(Timestamp(1));
        assert_eq!(taken.len(), MAX_WAITING + 1);
        assert_eq!(taken.last().map(|(_, times)| times.count), Some(7));
        gathered.add(push(0), network(1), Timestamp(2), SECOND);
        gathered.put_back(taken);
        let taken = gathered.take(Timestamp(3));
        assert_eq!(taken.len(), MAX_WAITING + 1);
        let of_first = taken.iter().find(|(audited, _)| *audited == push(0)).expect("kept");
        assert_eq!(of_first.1, AuditTimes { first: Timestamp(0), last: Timestamp(2), count: 2 });
    }
}
