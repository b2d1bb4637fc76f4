//! Caches query results until their repository changes.
//!
//! A busy tag is read thousands of times between two writes. Each cached result belongs to a *generation* of its
//! repository. After every COMMIT that changed a repository, and before the callers get their results, the writer
//! advances its generation (see [`CacheInvalidation`]). So no result outlives the rows that it was read from,
//! and no single entry needs to be invalidated.

use std::borrow::Borrow;
use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem::take;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;

use crate::metadata::sql::{self, OptionalExtension};
use crate::oci::RepoName;

/// Approximate maximum size of a cache, in bytes.
const MAX_CACHE_BYTES: usize = 4 << 20;

/// Approximate size of an entry besides its content, in bytes.
const ENTRY_OVERHEAD: usize = 512;

/// Number of generation counters. Repositories whose names hash to the same counter are invalidated together.
const COUNTERS: usize = 1024;

/// Counts the changes to each repository.
#[derive(Clone)]
pub(super) struct CacheGenerations(Arc<[AtomicU64; COUNTERS]>);

impl Default for CacheGenerations {
    fn default() -> Self {
        Self(Arc::new([const { AtomicU64::new(0) }; COUNTERS]))
    }
}

impl CacheGenerations {
    /// Starts a new generation of `repo`: it may have changed.
    pub(super) fn advance(&self, repo: &RepoName) {
        self.counter(repo).fetch_add(1, Ordering::Release);
    }

    /// Starts a new generation of every repository.
    pub(super) fn advance_all(&self) {
        for counter in self.0.iter() {
            counter.fetch_add(1, Ordering::Release);
        }
    }

    fn current(&self, repo: &RepoName) -> u64 {
        self.counter(repo).load(Ordering::Acquire)
    }

    fn counter(&self, repo: &RepoName) -> &AtomicU64 {
        let mut hasher = DefaultHasher::new();
        repo.hash(&mut hasher);
        &self.0[hasher.finish() as usize % COUNTERS]
    }
}

/// Results of one query about a repository.
pub(in crate::metadata) struct QueryCache<K, V> {
    generations: CacheGenerations,
    cached: Mutex<CachedRepositories<K, V>>,
}

struct CachedRepositories<K, V> {
    size: usize,
    repositories: HashMap<RepoName, CachedResults<K, V>>,
}

struct CachedResults<K, V> {
    generation: u64,
    size: usize,
    by_key: HashMap<K, V>,
}

impl<K: Hash + Eq, V: Clone> QueryCache<K, V> {
    pub(super) fn new(generations: CacheGenerations) -> Self {
        Self { generations, cached: Mutex::new(CachedRepositories { size: 0, repositories: HashMap::new() }) }
    }

    /// Returns the cached result, or runs `query` and caches what it finds. `size` returns the content's size in bytes.
    pub(in crate::metadata) fn get_or_query<Q, E>(
        &self,
        repo: &RepoName,
        key: &Q,
        size: impl FnOnce(&V) -> usize,
        query: impl FnOnce() -> Result<Option<V>, E>,
    ) -> Result<Option<V>, E>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        // Read the generation before the query: a write in between makes the result newer than its generation, and
        // the next generation drops it all the same.
        let generation = self.generations.current(repo);
        if let Some(value) = self.find(generation, repo, key) {
            return Ok(Some(value));
        }
        let found = query()?;
        if let Some(value) = &found {
            let size = size(value) + ENTRY_OVERHEAD;
            self.lock().insert(repo, generation, key.to_owned(), value.clone(), size);
        }
        Ok(found)
    }

    fn find<Q>(&self, generation: u64, repo: &RepoName, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let cached = self.lock();
        let results = cached.repositories.get(repo).filter(|results| results.generation == generation)?;
        results.by_key.get(key).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, CachedRepositories<K, V>> {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Hash + Eq, V> CachedRepositories<K, V> {
    fn insert(&mut self, repo: &RepoName, generation: u64, key: K, value: V, size: usize) {
        match self.repositories.get(repo) {
            Some(results) if results.generation > generation => return,
            Some(results) if results.generation < generation => self.remove(repo),
            _ => {}
        }
        if size > MAX_CACHE_BYTES {
            return;
        }
        if self.size + size > MAX_CACHE_BYTES {
            self.repositories.clear();
            self.size = 0;
        }
        let empty = || CachedResults { generation, size: 0, by_key: HashMap::new() };
        let results = self.repositories.entry(repo.clone()).or_insert_with(empty);
        self.size += size;
        results.size += size;
        results.by_key.insert(key, value);
    }

    fn remove(&mut self, repo: &RepoName) {
        self.size -= self.repositories.remove(repo).map_or(0, |results| results.size);
    }
}

/// Triggers on everything that can make a cached result invalid. Only rows that were found are cached, so new rows do
/// not matter. A blob can't be removed while a link refers to it, nor a repository while anything refers to it.
const TRIGGERS: &str = "
    CREATE TEMP TRIGGER repository_renamed AFTER UPDATE OF id, name ON main.repositories
        BEGIN SELECT touched(NULL); END;
    CREATE TEMP TRIGGER blob_changed AFTER UPDATE OF digest, size, generation, damaged ON main.blobs
        BEGIN SELECT touched(NULL); END;
    CREATE TEMP TRIGGER link_changed AFTER UPDATE OF repo, digest, leased_at, hidden_at ON main.links
        BEGIN SELECT touched(old.repo); END;
    CREATE TEMP TRIGGER link_removed AFTER DELETE ON main.links
        BEGIN SELECT touched(old.repo); END;
    CREATE TEMP TRIGGER manifest_changed
        AFTER UPDATE OF repo, digest, state, media_type, content, leased_at ON main.manifests
        BEGIN SELECT touched(old.repo); END;
    CREATE TEMP TRIGGER manifest_removed AFTER DELETE ON main.manifests
        BEGIN SELECT touched(old.repo); END;
    CREATE TEMP TRIGGER tag_changed AFTER UPDATE ON main.tags
        BEGIN SELECT touched(old.repo); END;
    CREATE TEMP TRIGGER tag_removed AFTER DELETE ON main.tags
        BEGIN SELECT touched(old.repo); END;
";

/// Records the repositories that changed since the last [`CacheInvalidation::apply`]. Triggers of the writer's
/// connection record them, so that no change can forget to invalidate, and garbage collection in one repository keeps
/// the cached results of the others.
#[derive(Clone, Default)]
pub(super) struct CacheInvalidation(Arc<Mutex<Rows>>);

/// Ids of repositories; `None` stands for every repository.
type Rows = BTreeSet<Option<i64>>;

impl CacheInvalidation {
    /// Records the changes made through `connection`.
    pub(super) fn watch(connection: &Connection) -> rusqlite::Result<Self> {
        let invalidation = Self::default();
        let rows = invalidation.clone();
        connection.create_scalar_function("touched", 1, FunctionFlags::SQLITE_UTF8, move |values| {
            rows.lock().insert(values.get(0)?);
            Ok(None::<i64>)
        })?;
        connection.execute_batch(TRIGGERS)?;
        Ok(invalidation)
    }

    /// Advances the generations of all recorded repositories.
    pub(super) fn apply(&self, connection: &Connection, generations: &CacheGenerations) {
        for row in take(&mut *self.lock()) {
            match row.map(|id| repository_name(connection, id)) {
                Some(Ok(Some(name))) => generations.advance(&name),
                // All repositories, or one that is gone or whose name can't be read.
                None | Some(_) => generations.advance_all(),
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Rows> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn repository_name(connection: &dyn sql::Connection, id: i64) -> sql::Result<Option<RepoName>> {
    let mut query = connection.prepare_cached("SELECT name FROM repositories WHERE id = ?1")?;
    query.query_row([id], |row| row.get(0)).optional()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn get(cache: &QueryCache<String, u32>, value: u32) -> Option<u32> {
        let repo = "a".parse().expect("name");
        cache.get_or_query::<str, Infallible>(&repo, "key", |_| 0, || Ok(Some(value))).expect("infallible")
    }

    #[test]
    fn result_is_cached_until_its_repository_changes() {
        let generations = CacheGenerations::default();
        let cache = QueryCache::new(generations.clone());
        assert_eq!(get(&cache, 1), Some(1));
        generations.advance(&"b".parse().expect("name"));
        assert_eq!(get(&cache, 2), Some(1));
        generations.advance(&"a".parse().expect("name"));
        assert_eq!(get(&cache, 3), Some(3));
        generations.advance_all();
        assert_eq!(get(&cache, 4), Some(4));
    }

    #[test]
    fn result_overtaken_by_a_write_is_not_cached() {
        let generations = CacheGenerations::default();
        let cache: QueryCache<String, u32> = QueryCache::new(generations.clone());
        let repo = "a".parse().expect("name");
        let overtaken = cache.get_or_query::<str, Infallible>(
            &repo,
            "key",
            |_| 0,
            || {
                generations.advance(&repo);
                Ok(Some(1))
            },
        );
        assert_eq!(overtaken.expect("infallible"), Some(1));
        assert_eq!(get(&cache, 2), Some(2));
    }

    #[test]
    fn cache_size_is_limited() {
        let cache: QueryCache<String, u32> = QueryCache::new(CacheGenerations::default());
        let repo = "a".parse().expect("name");
        for key in 0..100_000 {
            let key = key.to_string();
            cache.get_or_query::<str, Infallible>(&repo, &key, |_| 0, || Ok(Some(1))).expect("infallible");
        }
        assert!(cache.lock().size <= MAX_CACHE_BYTES);
    }

    #[test]
    fn outdated_results_do_not_count_towards_the_size() {
        let generations = CacheGenerations::default();
        let cache: QueryCache<String, u32> = QueryCache::new(generations.clone());
        for value in 0..3 {
            get(&cache, value);
            generations.advance_all();
        }
        assert_eq!(cache.lock().size, ENTRY_OVERHEAD);
    }
}
