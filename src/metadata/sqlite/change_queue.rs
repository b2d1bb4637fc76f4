//! Queue of changes for the writer thread. It hands them out in groups that are bounded in number and bytes.
//!
//! Groups of small and of large changes take turns, so that a small change waits for at most one group of large
//! changes, and large changes never starve. If small changes arrive while a group of large changes is written, the next
//! period of the same length is reserved for small changes. A push is several small changes one after another: it so
//! waits for one group of large changes in total, not for one before each of its changes.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Maximum number of changes in a group. It bounds how long the first of them waits.
pub(super) const MAX_GROUP: usize = 128;

/// Maximum bytes in a group, unless its first change alone has more.
const MAX_GROUP_BYTES: usize = 1 << 20;

/// Changes with more bytes than this are large.
pub(super) const LARGE_CHANGE_BYTES: usize = 64 << 10;

/// Longest period that is reserved for small changes.
const MAX_SMALL_ONLY_TIME: Duration = Duration::from_millis(100);

/// A queue with many senders and one receiver.
pub(super) struct ChangeQueue<T> {
    waiting: Mutex<Waiting<T>>,
    arrived: Condvar,
}

struct Waiting<T> {
    small: VecDeque<Weighed<T>>,
    large: VecDeque<Weighed<T>>,
    was_large: bool,
    is_closed: bool,
    /// When the group of large changes that is being written was taken.
    large_since: Option<Instant>,
    /// Whether small changes have arrived since then.
    has_small: bool,
    /// End of the period reserved for small changes.
    small_only_until: Option<Instant>,
}

struct Weighed<T> {
    change: T,
    bytes: usize,
}

impl<T> ChangeQueue<T> {
    pub(super) fn new() -> Self {
        let waiting = Waiting {
            small: VecDeque::new(),
            large: VecDeque::new(),
            was_large: false,
            is_closed: false,
            large_since: None,
            has_small: false,
            small_only_until: None,
        };
        Self { waiting: Mutex::new(waiting), arrived: Condvar::new() }
    }

    /// Appends a change; `false` if the queue is closed.
    pub(super) fn push(&self, change: T, bytes: usize) -> bool {
        let mut waiting = self.lock();
        if waiting.is_closed {
            return false;
        }
        waiting.has_small |= bytes <= LARGE_CHANGE_BYTES;
        let changes = if bytes > LARGE_CHANGE_BYTES { &mut waiting.large } else { &mut waiting.small };
        changes.push_back(Weighed { change, bytes });
        drop(waiting);
        self.arrived.notify_one();
        true
    }

    /// Blocks until there are changes; `None` when the queue is closed and empty.
    pub(super) fn next_group(&self) -> Option<Vec<T>> {
        let mut waiting = self.lock();
        waiting.finish_group(Instant::now());
        loop {
            let now = Instant::now();
            if let Some(group) = waiting.take_group(now) {
                return Some(group);
            }
            if waiting.is_closed {
                return None;
            }
            waiting = match waiting.small_only_left(now) {
                Some(left) if !waiting.large.is_empty() => {
                    self.arrived.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0
                }
                _ => self.arrived.wait(waiting).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Closes the queue. The changes in it are still handed out.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.arrived.notify_one();
    }

    /// Closes the queue and drops the changes in it, because they will no longer be written.
    pub(super) fn abandon(&self) {
        let mut waiting = self.lock();
        waiting.is_closed = true;
        let small = std::mem::take(&mut waiting.small);
        let large = std::mem::take(&mut waiting.large);
        drop(waiting);
        drop((small, large));
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Waiting<T> {
    /// Records that the last group was written.
    fn finish_group(&mut self, now: Instant) {
        if let Some(since) = self.large_since.take()
            && self.has_small
        {
            self.small_only_until = Some(now + now.duration_since(since).min(MAX_SMALL_ONLY_TIME));
        }
    }

    /// How long large changes still have to wait.
    fn small_only_left(&self, now: Instant) -> Option<Duration> {
        let left = self.small_only_until?.checked_duration_since(now)?;
        (!left.is_zero() && !self.is_closed).then_some(left)
    }

    /// Takes the next group, if one may be taken now.
    fn take_group(&mut self, now: Instant) -> Option<Vec<T>> {
        let may_take_large = !self.large.is_empty() && self.small_only_left(now).is_none();
        let takes_large = may_take_large && (self.small.is_empty() || !self.was_large);
        if !takes_large && self.small.is_empty() {
            return None;
        }
        self.was_large = takes_large;
        if takes_large {
            self.large_since = Some(now);
            self.has_small = !self.small.is_empty();
        }
        let changes = if takes_large { &mut self.large } else { &mut self.small };
        let mut group = Vec::new();
        let mut bytes = 0;
        while let Some(next) = changes.front() {
            let is_full = group.len() == MAX_GROUP || bytes + next.bytes > MAX_GROUP_BYTES;
            if is_full && !group.is_empty() {
                break;
            }
            bytes += next.bytes;
            group.extend(changes.pop_front().map(|weighed| weighed.change));
        }
        Some(group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn groups(changes: &[(u32, usize)]) -> Vec<Vec<u32>> {
        let queue = ChangeQueue::new();
        for (change, bytes) in changes {
            assert!(queue.push(*change, *bytes));
        }
        queue.close();
        assert!(!queue.push(0, 0));
        std::iter::from_fn(|| queue.next_group()).collect()
    }

    #[test]
    fn small_changes_are_grouped_in_order() {
        let changes: Vec<_> = (0..200).map(|number| (number, 100)).collect();
        let groups = groups(&changes);
        assert_eq!(groups.iter().map(Vec::len).collect::<Vec<_>>(), [MAX_GROUP, 200 - MAX_GROUP]);
        assert_eq!(groups.concat(), (0..200).collect::<Vec<_>>());
    }

    #[test]
    fn small_and_large_changes_take_turns() {
        let mut changes: Vec<_> = (0..4).map(|number| (number, 4 * MIB)).collect();
        changes.extend((10..14).map(|number| (number, 10)));
        assert_eq!(groups(&changes), [vec![0], vec![10, 11, 12, 13], vec![1], vec![2], vec![3]]);
    }

    #[test]
    fn small_changes_get_as_much_time_as_the_large_group_before() {
        let queue = ChangeQueue::new();
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        for (change, bytes) in [(0, MIB), (1, MIB), (2, MIB)] {
            queue.push(change, bytes);
        }
        let take = |now| queue.lock().take_group(now);
        assert_eq!(take(at(0)), Some(vec![0]));
        queue.lock().finish_group(at(40));
        assert_eq!(take(at(40)), Some(vec![1]), "no small changes have arrived");
        queue.push(10, 1);
        queue.lock().finish_group(at(80));
        assert_eq!(take(at(80)), Some(vec![10]));
        queue.lock().finish_group(at(81));
        assert_eq!(take(at(81)), None);
        assert_eq!(queue.lock().small_only_left(at(81)), Some(Duration::from_millis(39)));
        queue.push(11, 1);
        assert_eq!(take(at(90)), Some(vec![11]));
        assert_eq!(take(at(120)), Some(vec![2]));
        queue.lock().finish_group(at(130));
        assert_eq!(queue.lock().small_only_left(at(130)), None);
    }

    #[test]
    fn abandoned_queue_drops_its_changes() {
        let queue = ChangeQueue::new();
        let change = std::sync::Arc::new(());
        queue.push(std::sync::Arc::clone(&change), 0);
        queue.abandon();
        assert_eq!(std::sync::Arc::strong_count(&change), 1);
        assert!(!queue.push(change, 0));
        assert!(queue.next_group().is_none());
    }

    #[test]
    fn group_is_bounded_in_bytes() {
        let sizes = [MIB / 2, MIB / 2, MIB / 2, LARGE_CHANGE_BYTES + 1, 9 * MIB];
        let changes: Vec<_> = (0..).zip(sizes).collect();
        assert_eq!(groups(&changes), [vec![0, 1], vec![2, 3], vec![4]]);
        let small: Vec<_> = (0..20).map(|number| (number, LARGE_CHANGE_BYTES)).collect();
        assert_eq!(groups(&small).iter().map(Vec::len).collect::<Vec<_>>(), [16, 4]);
    }
}
