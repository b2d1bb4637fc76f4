//! Answers that are remembered until any fact is written.
//!
//! A busy tag is read thousands of times between two writes. Each answer belongs to an *epoch*, which the
//! writer ends with every transaction but those of mere notes, before it tells anybody of it: so no answer
//! outlives the facts that it was read from, and there is nothing to invalidate piece by piece.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::oci::RepoName;

/// The most bytes, roughly, that the remembered answers of one kind take.
const MOST: usize = 4 << 20;

/// What an answer takes beside its content, roughly.
const OVERHEAD: usize = 512;

/// Which transaction was the last.
#[derive(Clone, Default)]
pub(super) struct Epoch(Arc<AtomicU64>);

impl Epoch {
    /// Ends the epoch: the facts may have changed.
    pub(super) fn end(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }

    fn now(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// The answers to one kind of question about a repository.
pub(super) struct Recall<K, V> {
    epoch: Epoch,
    remembered: Mutex<Remembered<K, V>>,
}

struct Remembered<K, V> {
    epoch: u64,
    size: usize,
    answers: HashMap<RepoName, HashMap<K, V>>,
}

impl<K: Hash + Eq, V: Clone> Recall<K, V> {
    pub(super) fn new(epoch: Epoch) -> Self {
        Self { epoch, remembered: Mutex::new(Remembered { epoch: 0, size: 0, answers: HashMap::new() }) }
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
        let epoch = self.epoch.now();
        if let Some(answer) = self.recall(epoch, repo, key) {
            return Ok(Some(answer));
        }
        let answer = query()?;
        if let Some(answer) = &answer {
            self.remember(epoch, repo, key.to_owned(), answer.clone(), size(answer) + OVERHEAD);
        }
        Ok(answer)
    }

    fn recall<Q>(&self, epoch: u64, repo: &RepoName, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let remembered = self.lock();
        let current = remembered.epoch == epoch;
        current.then(|| remembered.answers.get(repo)?.get(key).cloned()).flatten()
    }

    fn remember(&self, epoch: u64, repo: &RepoName, key: K, answer: V, size: usize) {
        let mut remembered = self.lock();
        if remembered.epoch > epoch {
            return;
        }
        if remembered.epoch < epoch || remembered.size + size > MOST {
            remembered.answers.clear();
            remembered.size = 0;
            remembered.epoch = epoch;
        }
        if size <= MOST {
            remembered.size += size;
            remembered.answers.entry(repo.clone()).or_default().insert(key, answer);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Remembered<K, V>> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn ask(recall: &Recall<String, u32>, answer: u32) -> Option<u32> {
        let repo = "a".parse().expect("name");
        recall.or_ask::<str, Infallible>(&repo, "key", |_| 0, || Ok(Some(answer))).expect("infallible")
    }

    #[test]
    fn an_answer_is_remembered_until_the_epoch_ends() {
        let epoch = Epoch::default();
        let recall = Recall::new(epoch.clone());
        assert_eq!(ask(&recall, 1), Some(1));
        assert_eq!(ask(&recall, 2), Some(1));
        epoch.end();
        assert_eq!(ask(&recall, 3), Some(3));
    }

    #[test]
    fn an_answer_that_a_write_overtook_is_not_kept() {
        let epoch = Epoch::default();
        let recall: Recall<String, u32> = Recall::new(epoch.clone());
        let repo = "a".parse().expect("name");
        let overtaken = recall.or_ask::<str, Infallible>(
            &repo,
            "key",
            |_| 0,
            || {
                epoch.end();
                Ok(Some(1))
            },
        );
        assert_eq!(overtaken.expect("infallible"), Some(1));
        assert_eq!(ask(&recall, 2), Some(2));
    }

    #[test]
    fn too_much_is_forgotten() {
        let recall: Recall<String, u32> = Recall::new(Epoch::default());
        let repo = "a".parse().expect("name");
        for key in 0..100_000 {
            let key = key.to_string();
            recall.or_ask::<str, Infallible>(&repo, &key, |_| 0, || Ok(Some(1))).expect("infallible");
        }
        assert!(recall.lock().size <= MOST);
    }
}
