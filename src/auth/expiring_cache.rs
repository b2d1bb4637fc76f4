//! A bounded cache whose entries expire.

use std::collections::HashMap;
use std::hash::Hash;

use parking_lot::Mutex;

/// The maximum number of entries.
const MAX_ENTRIES: usize = 1000;

/// A cache of values, each with the time when it expires.
pub(super) struct ExpiringCache<K, V, T>(Mutex<HashMap<K, (V, T)>>);

impl<K, V, T> Default for ExpiringCache<K, V, T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Hash + Eq, V: Clone, T: PartialOrd> ExpiringCache<K, V, T> {
    pub(super) fn get(&self, key: &K, now: &T) -> Option<V> {
        self.0.lock().get(key).filter(|(_, until)| now < until).map(|(value, _)| value.clone())
    }

    /// Adds a value, unless the cache is full of entries that have not expired.
    pub(super) fn put(&self, key: K, value: V, until: T, now: &T) {
        let mut entries = self.0.lock();
        if entries.len() >= MAX_ENTRIES {
            entries.retain(|_, (_, until)| now < until);
        }
        if entries.len() < MAX_ENTRIES {
            entries.insert(key, (value, until));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_cache_drops_new_entries_until_old_ones_expire() {
        let cache = ExpiringCache::default();
        for key in 0..=MAX_ENTRIES {
            cache.put(key, (), 1, &0);
        }
        assert_eq!((cache.get(&0, &0), cache.get(&MAX_ENTRIES, &0)), (Some(()), None));
        assert_eq!(cache.get(&0, &1), None, "expired");
        cache.put(MAX_ENTRIES, (), 2, &1);
        assert_eq!(cache.get(&MAX_ENTRIES, &1), Some(()));
    }
}
