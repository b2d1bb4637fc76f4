//! Tests of the fault injection itself and, with no faults planned, of the wrapped store.

use std::sync::Arc;

use tempfile::TempDir;

use super::*;
use crate::clock::Timestamp;
use crate::metadata::sqlite::{Access, SqliteMetadata};
use crate::metadata::suite::{Fixture, Scene, at};
use crate::metadata::{Maintenance, MetadataStore};

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().expect("a folder"))
    }

    fn faulty(&self) -> (Arc<Faulty<SqliteMetadata>>, Faults) {
        let store = SqliteMetadata::open(self.0.path(), Access::ReadWrite).expect("opened");
        let faults = Faults::new();
        (Arc::new(Faulty::new(store, faults.clone())), faults)
    }
}

impl Fixture for Folder {
    fn open(&self) -> Arc<dyn MetadataStore> {
        self.faulty().0
    }
}

#[tokio::test]
async fn forwards_unchanged_without_planned_faults() {
    let folder = Folder::new();
    let scene = Scene::new(folder.open());
    crate::metadata::suite::a_dry_run_equals_the_real_run(&scene).await;
    scene.assert_consistent().await;
}

#[tokio::test]
async fn forwards_history_trash_and_policies() {
    macro_rules! each {
        ($($scenario:ident)*) => {$({
            let folder = Folder::new();
            let scene = Scene::new(folder.open());
            crate::metadata::suite::$scenario(&scene).await;
            scene.assert_consistent().await;
        })*};
    }
    each! {
        a_tag_is_rolled_back
        a_tag_is_restored
        history_of_a_removed_tag_is_deleted
        unchanged_push_is_recorded
        removed_tags_are_listed
        children_are_restored_with_their_index
        the_trash_is_emptied_on_request
        expiring_a_tag_removes_its_manifest
        an_untagged_manifest_is_expired
        snapshot_has_all_data_that_rules_use
        a_pinned_manifest_outlives_its_tag
        last_evaluation_is_recorded
        policies_are_recorded_with_their_history
        runs_are_listed_newest_first
        repository_is_deleted_and_restored
        an_emptied_repository_is_replaced
        empty_repository_is_forgotten
    }
}

/// If the disk fails before or after the effect, nothing half done is left, and a retry succeeds.
#[tokio::test]
async fn failed_restore_can_be_retried() {
    use crate::metadata::suite::{digest, image, repo, tag};
    use crate::metadata::{History, RepositoryChanges, Trash};
    for fault in [Fault::Fail(Failure::Io), Fault::FailAfter(Failure::Io)] {
        let folder = Folder::new();
        let (store, faults) = folder.faulty();
        let scene = Scene::new(store.clone());
        scene.put("app", image("a").tag("v1"), 0).await;
        scene.put("app", image("b").tag("v1"), 1).await;
        let app = repo("app");
        let change = at(2).into();
        faults.next_of(Operation::Rollback, fault);
        assert!(store.rollback(&app, &tag("v1"), None, &change).await.is_err());
        store.rollback(&app, &tag("v1"), Some(&digest("a")), &change).await.expect("the retry succeeds");
        assert_eq!(scene.tagged("app", "v1").await.map(|found| found.digest), Some(digest("a")));
        scene.delete("app", "a", 3).await;
        faults.next_of(Operation::RestoreManifest, fault);
        assert!(store.restore_manifest(&app, &digest("a"), &change).await.is_err());
        store.restore_manifest(&app, &digest("a"), &change).await.expect("the retry succeeds");
        assert!(scene.tagged("app", "v1").await.is_some());
        store.start_deletion(&app, &change).await.expect("started");
        faults.next_of(Operation::AdvanceRepository, fault);
        assert!(store.advance_repository(&app, 1, &change).await.is_err());
        while store.advance_repository(&app, 1, &change).await.expect("the retry succeeds").is_some() {}
        assert!(!scene.has("app", "a").await && !scene.has("app", "b").await);
        scene.assert_consistent().await;
    }
}

#[tokio::test]
async fn nth_operation_fails_before_or_after_its_effect() {
    let folder = Folder::new();
    let (store, faults) = folder.faulty();
    store.record_time(at(1)).await.expect("recorded");
    faults.nth(1, Fault::Fail(Failure::Full));
    assert!(matches!(store.record_time(at(2)).await, Err(MetadataError::Full)));
    assert_eq!(recorded(&store).await, Some(at(1)));
    faults.next_of(Operation::RecordTime, Fault::FailAfter(Failure::Io));
    assert!(matches!(store.record_time(at(3)).await, Err(MetadataError::Failed(_))));
    assert_eq!(recorded(&store).await, Some(at(3)));
    store.record_time(at(4)).await.expect("no more faults are planned");
    assert_eq!(faults.count_of(Operation::RecordTime), 4);
    assert_eq!(faults.history().last(), Some(&Operation::RecordTime));
}

#[tokio::test]
async fn crash_lasts_until_revived() {
    let folder = Folder::new();
    let (store, faults) = folder.faulty();
    faults.next_of(Operation::RecordTime, Fault::CrashAfter);
    assert!(store.record_time(at(1)).await.is_err());
    assert!(faults.is_down() && store.check().await.is_err());
    faults.revive();
    store.check().await.expect("revived");
    assert_eq!(recorded(&store).await, Some(at(1)));
}

async fn recorded(store: &Faulty<SqliteMetadata>) -> Option<Timestamp> {
    store.inner().recorded_time().await.expect("an answer")
}
