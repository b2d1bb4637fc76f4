//! Answers that are remembered until what they say of a repository changes.
//!
//! A busy tag is read thousands of times between two writes. Each answer belongs to an *epoch* of its
//! repository, which the writer ends after every COMMIT that touched it (see `touched`), before it tells anybody: so
//! no answer outlives the facts that it was read from, and there is nothing to invalidate piece by piece.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::oci::RepoName;

/// The most bytes, roughly, that the remembered answers of one kind take.
const MOST: usize = 4 << 20;

/// What an answer takes beside its content, roughly.
const OVERHEAD: usize = 512;

/// How many epochs there are. Repositories whose names hash to the same one forget together.
const EPOCHS: usize = 1024;

/// Which write to a repository was the last.
#[derive(Clone)]
pub(super) struct CacheGenerations(Arc<[AtomicU64; EPOCHS]>);

impl Default for CacheGenerations {
    fn default() -> Self {
        Self(Arc::new([const { AtomicU64::new(0) }; EPOCHS]))
    }
}

impl CacheGenerations {
    /// Ends the epoch of `repo`: its facts may have changed.
    pub(super) fn end(&self, repo: &RepoName) {
        self.of(repo).fetch_add(1, Ordering::Release);
    }

    /// Ends those of all repositories.
    pub(super) fn end_all(&self) {
        for epoch in self.0.iter() {
            epoch.fetch_add(1, Ordering::Release);
        }
    }

    fn now(&self, repo: &RepoName) -> u64 {
        self.of(repo).load(Ordering::Acquire)
    }

    fn of(&self, repo: &RepoName) -> &AtomicU64 {
        let mut hasher = DefaultHasher::new();
        repo.hash(&mut hasher);
        &self.0[hasher.finish() as usize % EPOCHS]
    }
}

/// The answers to one kind of question about a repository.
pub(super) struct QueryCache<K, V> {
    epochs: CacheGenerations,
    remembered: Mutex<Remembered<K, V>>,
}

struct Remembered<K, V> {
    size: usize,
    repositories: HashMap<RepoName, Answers<K, V>>,
}

struct Answers<K, V> {
    epoch: u64,
    size: usize,
    by_key: HashMap<K, V>,
}

impl<K: Hash + Eq, V: Clone> QueryCache<K, V> {
    pub(super) fn new(epochs: CacheGenerations) -> Self {
        Self { epochs, remembered: Mutex::new(Remembered { size: 0, repositories: HashMap::new() }) }
    }

    /// The remembered answer, or that of `query`. `size` tells how many bytes the content of one has.
    pub(super) fn or_ask<Q, E>(
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
        // Read before the question is asked: a write in between makes the answer newer than its epoch, and
        // the epoch's end forgets it all the same.
        let epoch = self.epochs.now(repo);
        if let Some(answer) = self.recall(epoch, repo, key) {
            return Ok(Some(answer));
        }
        let answer = query()?;
        if let Some(answer) = &answer {
            let size = size(answer) + OVERHEAD;
            self.lock().put(repo, epoch, (key.to_owned(), answer.clone()), size);
        }
        Ok(answer)
    }

    fn recall<Q>(&self, epoch: u64, repo: &RepoName, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let remembered = self.lock();
        let answers = remembered.repositories.get(repo).filter(|answers| answers.epoch == epoch)?;
        answers.by_key.get(key).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Remembered<K, V>> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Hash + Eq, V> Remembered<K, V> {
    fn put(&mut self, repo: &RepoName, epoch: u64, (key, answer): (K, V), size: usize) {
        match self.repositories.get(repo) {
            Some(answers) if answers.epoch > epoch => return,
            Some(answers) if answers.epoch < epoch => self.forget(repo),
            _ => {}
        }
        if size > MOST {
            return;
        }
        if self.size + size > MOST {
            self.repositories.clear();
            self.size = 0;
        }
        let nothing = || Answers { epoch, size: 0, by_key: HashMap::new() };
        let answers = self.repositories.entry(repo.clone()).or_insert_with(nothing);
        self.size += size;
        answers.size += size;
        answers.by_key.insert(key, answer);
    }

    fn forget(&mut self, repo: &RepoName) {
        self.size -= self.repositories.remove(repo).map_or(0, |answers| answers.size);
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn ask(recall: &QueryCache<String, u32>, answer: u32) -> Option<u32> {
        let repo = "a".parse().expect("name");
        recall.or_ask::<str, Infallible>(&repo, "key", |_| 0, || Ok(Some(answer))).expect("infallible")
    }

    #[test]
    fn an_answer_is_remembered_until_its_repository_changes() {
        let epochs = CacheGenerations::default();
        let recall = QueryCache::new(epochs.clone());
        assert_eq!(ask(&recall, 1), Some(1));
        epochs.end(&"b".parse().expect("name"));
        assert_eq!(ask(&recall, 2), Some(1));
        epochs.end(&"a".parse().expect("name"));
        assert_eq!(ask(&recall, 3), Some(3));
        epochs.end_all();
        assert_eq!(ask(&recall, 4), Some(4));
    }

    #[test]
    fn an_answer_that_a_write_overtook_is_not_kept() {
        let epochs = CacheGenerations::default();
        let recall: QueryCache<String, u32> = QueryCache::new(epochs.clone());
        let repo = "a".parse().expect("name");
        let overtaken = recall.or_ask::<str, Infallible>(
            &repo,
            "key",
            |_| 0,
            || {
                epochs.end(&repo);
                Ok(Some(1))
            },
        );
        assert_eq!(overtaken.expect("infallible"), Some(1));
        assert_eq!(ask(&recall, 2), Some(2));
    }

    #[test]
    fn too_much_is_forgotten() {
        let recall: QueryCache<String, u32> = QueryCache::new(CacheGenerations::default());
        let repo = "a".parse().expect("name");
        for key in 0..100_000 {
            let key = key.to_string();
            recall.or_ask::<str, Infallible>(&repo, &key, |_| 0, || Ok(Some(1))).expect("infallible");
        }
        assert!(recall.lock().size <= MOST);
    }

    #[test]
    fn what_is_forgotten_takes_no_room() {
        let epochs = CacheGenerations::default();
        let recall: QueryCache<String, u32> = QueryCache::new(epochs.clone());
        for answer in 0..3 {
            ask(&recall, answer);
            epochs.end_all();
        }
        assert_eq!(recall.lock().size, OVERHEAD);
    }
}
