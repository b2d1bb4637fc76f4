//! What was found to be right a moment ago: a bounded memory of it, for a time.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many are remembered.
const MOST: usize = 1000;

/// Values, each until a point in time.
pub(super) struct Fresh<K, V, T>(Mutex<HashMap<K, (V, T)>>);

impl<K, V, T> Default for Fresh<K, V, T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Hash + Eq, V: Clone, T: PartialOrd> Fresh<K, V, T> {
    pub(super) fn get(&self, key: &K, now: &T) -> Option<V> {
        self.lock().get(key).filter(|(_, until)| now < until).map(|(value, _)| value.clone())
    }

    /// Remembers a value, unless there are too many that are fresh.
    pub(super) fn put(&self, key: K, value: V, until: T, now: &T) {
        let mut fresh = self.lock();
        if fresh.len() >= MOST {
            fresh.retain(|_, (_, until)| now < until);
        }
        if fresh.len() < MOST {
            fresh.insert(key, (value, until));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, (V, T)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_are_remembered_and_those_that_are_over_make_room() {
        let fresh = Fresh::default();
        for key in 0..=MOST {
            fresh.put(key, (), 1, &0);
        }
        assert_eq!((fresh.get(&0, &0), fresh.get(&MOST, &0)), (Some(()), None));
        assert_eq!(fresh.get(&0, &1), None, "its time is over");
        fresh.put(MOST, (), 2, &1);
        assert_eq!(fresh.get(&MOST, &1), Some(()));
    }
}
