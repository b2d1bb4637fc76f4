//! Random operations that expire or delete tags, manifests and repositories, and restore them.

use std::collections::BTreeSet;

use orlop::clock::Timestamp;
use orlop::metadata::{Change, ExpiryOutcome, TagExpiry};
use orlop::oci::{Digest, Reference as RequestedReference, RepoName, Tag};
use orlop::registry::{RepointedTag, UndoError};
use proptest::prelude::*;

use super::{REPOS, TAGS, World};
use crate::kit::{LEASE, TRASH, has};

#[derive(Debug, Clone)]
pub enum Undo {
    RestoreManifest { repo: usize, manifest: usize },
    RestoreTag { repo: usize, tag: usize },
    Rollback { repo: usize, tag: usize },
    TagExpiry { repo: usize, tag: usize },
    DeleteRepository { repo: usize },
    RestoreRepository { repo: usize },
    RenameThereAndBack { repo: usize },
}

pub fn undo() -> impl Strategy<Value = Undo> {
    let repo = || 0..REPOS.len();
    let tag = || 0..TAGS.len();
    prop_oneof![
        4 => (repo(), 0..8_usize).prop_map(|(repo, manifest)| Undo::RestoreManifest { repo, manifest }),
        2 => (repo(), tag()).prop_map(|(repo, tag)| Undo::RestoreTag { repo, tag }),
        3 => (repo(), tag()).prop_map(|(repo, tag)| Undo::Rollback { repo, tag }),
        3 => (repo(), tag()).prop_map(|(repo, tag)| Undo::TagExpiry { repo, tag }),
        1 => repo().prop_map(|repo| Undo::DeleteRepository { repo }),
        2 => repo().prop_map(|repo| Undo::RestoreRepository { repo }),
        1 => repo().prop_map(|repo| Undo::RenameThereAndBack { repo }),
    ]
}

fn tag(name: &str) -> Tag {
    name.parse().expect("tag")
}

impl World {
    pub(super) async fn undo(&mut self, undo: Undo) {
        match undo {
            Undo::RestoreManifest { repo, manifest } => self.restore_manifest(repo, manifest).await,
            Undo::RestoreTag { repo, tag: name } => {
                let outcome = self.repo(repo).restore_tag(&tag(TAGS[name])).await;
                self.record_repointed_tag(repo, TAGS[name], outcome);
            }
            Undo::Rollback { repo, tag: name } => {
                let outcome = self.repo(repo).rollback(&tag(TAGS[name]), None).await;
                self.record_repointed_tag(repo, TAGS[name], outcome);
            }
            Undo::TagExpiry { repo, tag } => self.expire_tag(repo, TAGS[tag]).await,
            Undo::DeleteRepository { repo } => self.delete_repository(repo).await,
            Undo::RestoreRepository { repo } => self.restore_repository(repo).await,
            Undo::RenameThereAndBack { repo } => self.rename_there_and_back(repo).await,
        }
    }

    /// Whether a removed manifest must still be restorable.
    fn is_in_trash(&self, repo: usize, digest: &Digest) -> bool {
        let removed = self.models[repo].manifests.get(digest).and_then(|manifest| manifest.removed);
        removed.is_some_and(|removed| self.now() < removed.plus(TRASH))
    }

    fn record_restored(&mut self, repo: usize, digests: &[Digest]) {
        let now = self.now();
        for digest in digests {
            let manifest = self.models[repo].manifests.get_mut(digest).expect("known");
            manifest.removed = None;
            manifest.touched = now;
        }
    }

    async fn restore_manifest(&mut self, repo: usize, manifest: usize) {
        let Some(digest) = self.nth_manifest(repo, manifest) else { return };
        match self.repo(repo).restore_manifest(&digest).await {
            Ok(restored) => {
                assert!(!self.models[repo].must_serve(&digest, self.now()), "{digest} was there");
                self.record_restored(repo, &restored.manifests);
                for name in restored.tags {
                    let before = self.models[repo].tags.insert(name.to_string(), digest.clone());
                    assert_eq!(before, None, "{name} was in use");
                }
            }
            Err(error @ (UndoError::Unknown | UndoError::Missing(_))) => {
                assert!(!self.is_in_trash(repo, &digest), "{digest} could not be restored: {error:?}");
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn record_repointed_tag(&mut self, repo: usize, name: &str, outcome: Result<RepointedTag, UndoError>) {
        let now = self.now();
        match outcome {
            Ok(RepointedTag { from, to, restored }) => {
                assert_eq!(self.models[repo].tags.get(name), from.as_ref());
                self.record_restored(repo, &restored);
                let model = &mut self.models[repo];
                model.tags.insert(name.to_owned(), to);
                if let Some(before) = from.and_then(|before| model.manifests.get_mut(&before)) {
                    before.touched = now;
                }
            }
            Err(UndoError::Gone(digest)) => {
                assert!(!self.models[repo].must_serve(&digest, now) && !self.is_in_trash(repo, &digest));
            }
            Err(UndoError::InUse(digest)) => assert_eq!(self.models[repo].tags.get(name), Some(&digest)),
            Err(UndoError::Unknown | UndoError::Missing(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }

    async fn expire_tag(&mut self, repo: usize, name: &str) {
        let handle = self.repo(repo);
        let now = self.now();
        let Ok(found) = handle.without_push().manifest(&RequestedReference::Tag(tag(name))).await else {
            return;
        };
        let expiry = TagExpiry {
            repo: handle.name().clone(),
            tag: tag(name),
            digest: found.digest.clone(),
            updated_at: found.tagged_at.expect("by its tag"),
            pulled_before: None,
            attached_to: None,
            lease: LEASE,
            change: Change::from(now).because("a policy"),
        };
        let outcome = self.registry.expire_tag(expiry).await.expect("metadata");
        let model = &mut self.models[repo];
        let ExpiryOutcome::Removed { removed_manifest } = outcome else {
            let first = model.manifests.get(&found.digest).expect("known").first;
            assert!(found.leased_at > first, "nothing changed meanwhile, and no client took a lease");
            return;
        };
        assert_eq!(model.tags.remove(name).as_ref(), Some(&found.digest));
        if removed_manifest {
            assert!(!model.tags.values().any(|tagged| *tagged == found.digest));
            assert!(!model.has_live_parent(&found.digest, now), "a live index needs it");
            model.manifests.get_mut(&found.digest).expect("known").removed = Some(now);
        } else {
            model.manifests.get_mut(&found.digest).expect("known").touched = now;
        }
    }

    async fn advance_repository_work(&self) {
        while self.registry.advance_repository_work(2).await.expect("metadata").is_some() {
            let problems = self.registry.metadata().verify().await.expect("metadata");
            assert!(problems.is_empty(), "{problems:?}");
        }
    }

    async fn delete_repository(&mut self, repo: usize) {
        let outcome = self.repo(repo).delete().await;
        let now = self.now();
        let model = &mut self.models[repo];
        let served: BTreeSet<Digest> =
            model.manifests.keys().filter(|digest| model.must_serve(digest, now)).cloned().collect();
        assert!(outcome.is_ok() || served.is_empty(), "{outcome:?}");
        if outcome.is_err() {
            return;
        }
        model.tags.clear();
        for (digest, manifest) in &mut model.manifests {
            // Manifests that the collector may already have taken are not promised to be restorable.
            let removed = if served.contains(digest) { now } else { Timestamp(0) };
            manifest.removed.get_or_insert(removed);
        }
        model.deleted = served.into_iter().map(|digest| (digest, now)).collect();
        self.advance_repository_work().await;
    }

    async fn restore_repository(&mut self, repo: usize) {
        if self.repo(repo).restore(None).await.is_err() {
            return;
        }
        self.advance_repository_work().await;
        let handle = self.repo(repo);
        let promised: Vec<Digest> = self.models[repo]
            .deleted
            .iter()
            .filter(|(digest, at)| self.models[repo].manifests[digest].removed == Some(**at))
            .map(|(digest, _)| digest.clone())
            .filter(|digest| self.is_in_trash(repo, digest))
            .collect();
        for digest in promised {
            assert!(has(&handle, digest.as_str()).await, "{digest} was not restored");
        }
        let mut restored = Vec::new();
        for (digest, manifest) in &self.models[repo].manifests {
            if manifest.removed.is_some() && has(&handle, digest.as_str()).await {
                restored.push(digest.clone());
            }
        }
        self.record_restored(repo, &restored);
        for name in TAGS {
            let found = handle.without_push().manifest(&RequestedReference::Tag(tag(name))).await.ok();
            match (found, self.models[repo].tags.get(name)) {
                (Some(found), None) => {
                    assert!(restored.contains(&found.digest), "{name} was restored with its manifest");
                    self.models[repo].tags.insert(name.to_owned(), found.digest);
                }
                (found, known) => assert_eq!(found.map(|found| found.digest).as_ref(), known),
            }
        }
    }

    async fn rename_there_and_back(&mut self, repo: usize) {
        let elsewhere: RepoName = "elsewhere".parse().expect("name");
        if self.repo(repo).rename(&elsewhere).await.is_err() {
            return;
        }
        let access = orlop::registry::Access { push: false };
        let renamed = self.registry.repository(elsewhere, access);
        for (name, digest) in &self.models[repo].tags {
            let found = renamed
                .manifest(&RequestedReference::Tag(tag(name)))
                .await
                .expect("renamed with its repository");
            assert_eq!(found.digest, *digest);
        }
        renamed.rename(self.repo(repo).name()).await.expect("renamed back");
    }
}
