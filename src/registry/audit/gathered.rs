//! What is to be written into the audit log: gathered until that is done, and for a minute with what is the same.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::metadata::{AuditAction, AuditOutcome, AuditTimes, Audited, Origin, Scope};

/// What is the same within this time is one entry.
pub(super) const TOGETHER: Duration = Duration::from_secs(60);

/// The most entries that wait to be written.
const MOST_WAITING: usize = 10_000;

/// The most entries that are begun in a minute about what was not done: one client's, each with an end of its own, and
/// all clients' together.
const MOST_OF_ONE: u32 = 30;
const MOST_OF_ALL: u32 = 1000;

/// Entries that wait.
#[derive(Default)]
pub(super) struct Gathered {
    /// With the number of each, by which those of one moment are told in their order.
    waiting: HashMap<Audited, (u64, AuditTimes)>,
    next: u64,
    lost: u64,
    /// By the monotonic clock, when the minute began in which entries about what was not done are counted.
    minute: Option<Duration>,
    begun: u32,
    begun_by: HashMap<(IpAddr, AuditAction), u32>,
    seen: HashSet<Audited>,
}

impl Gathered {
    /// Notes what was done or tried `at` a time from a `network`, `elapsed` by the monotonic clock.
    pub(super) fn note(
        &mut self,
        audited: Audited,
        network: Option<IpAddr>,
        at: Timestamp,
        elapsed: Duration,
    ) {
        let audited = match network {
            Some(network) if audited.outcome != AuditOutcome::Allowed => {
                match self.bounded(audited, network, elapsed) {
                    Some(audited) => audited,
                    None => {
                        self.lost += 1;
                        return;
                    }
                }
            }
            _ => audited,
        };
        self.add(audited, AuditTimes::once(at));
    }

    /// An entry about what was not done, or the one that stands for all of its kind where there are too many.
    fn bounded(&mut self, audited: Audited, network: IpAddr, elapsed: Duration) -> Option<Audited> {
        if self.minute.is_none_or(|began| elapsed.saturating_sub(began) >= TOGETHER) {
            self.minute = Some(elapsed);
            self.begun = 0;
            self.begun_by.clear();
            self.seen.clear();
        }
        if self.seen.contains(&audited) {
            return Some(audited);
        }
        let client = (network, audited.action);
        let of_one = self.begun_by.get(&client).copied().unwrap_or_default();
        let audited = if of_one < MOST_OF_ONE { audited } else { in_place_of_many(audited) };
        if self.seen.contains(&audited) {
            return Some(audited);
        }
        if self.begun >= MOST_OF_ALL {
            return None;
        }
        self.begun_by.insert(client, of_one + 1);
        self.begun += 1;
        self.seen.insert(audited.clone());
        Some(audited)
    }

    fn add(&mut self, audited: Audited, times: AuditTimes) {
        if let Some((_, waiting)) = self.waiting.get_mut(&audited) {
            *waiting = waiting.and(times);
        } else if self.waiting.len() < MOST_WAITING {
            self.next += 1;
            self.waiting.insert(audited, (self.next, times));
        } else {
            self.lost = self.lost.saturating_add(times.count);
        }
    }

    /// All that waits, in the order of its beginning; with an entry for those that were lost.
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

    /// Takes back what could not be written.
    pub(super) fn put_back(&mut self, taken: Vec<(Audited, AuditTimes)>) {
        for (audited, times) in taken {
            if audited.action == AuditAction::EntriesLost {
                self.lost = self.lost.saturating_add(times.count);
                continue;
            }
            let later = self.waiting.remove(&audited);
            self.add(audited, later.map_or(times, |(_, later)| times.and(later)));
        }
    }
}

/// What is left of many entries that differ in their ends alone: nobody by name unless it is known who it was.
fn in_place_of_many(audited: Audited) -> Audited {
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

    fn guess(user: &str) -> Audited {
        let from = Origin::Address([192, 0, 2, 1].into());
        let (action, outcome) = (AuditAction::Login, AuditOutcome::Denied);
        Audited { user: Some(user.into()), from, action, outcome, status: Some(401), ..lost() }
    }

    fn network(number: u32) -> Option<IpAddr> {
        Some(IpAddr::from(number.to_be_bytes()))
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_is_the_same_is_one_entry() {
        let mut gathered = Gathered::default();
        for time in 0..200 {
            gathered.note(guess("ann"), network(1), Timestamp(time), SECOND);
        }
        let times = AuditTimes { first: Timestamp(0), last: Timestamp(199), count: 200 };
        assert_eq!(gathered.take(Timestamp(200)), [(guess("ann"), times)]);
        assert_eq!(gathered.take(Timestamp(200)), []);
    }

    #[test]
    fn many_names_from_one_client_become_one_entry() {
        let mut gathered = Gathered::default();
        for time in 0..1000 {
            gathered.note(guess(&time.to_string()), network(1), Timestamp(time), SECOND);
        }
        let taken = gathered.take(Timestamp(1000));
        assert_eq!(taken.len(), MOST_OF_ONE as usize + 1);
        let (rest, times) = taken.last().expect("some");
        assert_eq!((rest.user.as_deref(), times.count), (None, 1000 - u64::from(MOST_OF_ONE)));
        gathered.note(guess("new"), network(1), Timestamp(1001), SECOND + TOGETHER);
        assert_eq!(gathered.take(Timestamp(1002))[0].0, guess("new"), "a minute later they begin anew");
    }

    #[test]
    fn a_crowd_does_not_fill_the_log_and_is_counted() {
        let mut gathered = Gathered::default();
        for client in 0..5000 {
            gathered.note(guess(&client.to_string()), network(client), Timestamp(0), SECOND);
        }
        let taken = gathered.take(Timestamp(1));
        assert_eq!(taken.len(), MOST_OF_ALL as usize + 1);
        let (last, times) = taken.last().expect("some");
        assert_eq!((last.action, times.count), (AuditAction::EntriesLost, 4000));
    }

    #[test]
    fn what_does_not_fit_is_counted_and_not_what_was_done_by_one_who_may() {
        let mut gathered = Gathered::default();
        let push = |number: usize| Audited {
            outcome: AuditOutcome::Allowed,
            subject: Some(number.to_string()),
            ..guess("ann")
        };
        for number in 0..MOST_WAITING + 7 {
            gathered.note(push(number), network(1), Timestamp(0), SECOND);
        }
        let taken = gathered.take(Timestamp(1));
        assert_eq!(taken.len(), MOST_WAITING + 1);
        assert_eq!(taken.last().map(|(_, times)| times.count), Some(7));
        gathered.note(push(0), network(1), Timestamp(2), SECOND);
        gathered.put_back(taken);
        let taken = gathered.take(Timestamp(3));
        assert_eq!(taken.len(), MOST_WAITING + 1);
        let of_first = taken.iter().find(|(audited, _)| *audited == push(0)).expect("kept");
        assert_eq!(of_first.1, AuditTimes { first: Timestamp(0), last: Timestamp(2), count: 2 });
    }
}
