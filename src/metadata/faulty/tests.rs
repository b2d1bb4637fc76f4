//! What the decorator itself does; and through it, with nothing planned, all that a store does.

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
async fn without_a_plan_nothing_goes_wrong() {
    let folder = Folder::new();
    let scene = Scene::new(folder.open());
    crate::metadata::suite::a_dry_run_equals_the_real_run(&scene).await;
    scene.verifies().await;
}

#[tokio::test]
async fn undoing_goes_through_it_as_well() {
    macro_rules! each {
        ($($scenario:ident)*) => {$({
            let folder = Folder::new();
            let scene = Scene::new(folder.open());
            crate::metadata::suite::$scenario(&scene).await;
            scene.verifies().await;
        })*};
    }
    each! {
        a_tag_is_rolled_back
        a_tag_is_restored
        the_history_of_a_removed_tag_is_forgotten
        a_push_without_a_change_is_noted
        removed_tags_are_listed
        children_come_back_with_their_index
        the_trash_is_emptied_on_request
        an_expired_tag_takes_its_manifest_along
        an_untagged_manifest_is_expired
        a_snapshot_tells_all_that_rules_ask_for
        a_pinned_manifest_outlives_its_tag
        the_last_judgement_is_told
        policies_are_recorded_with_their_history
        runs_are_told
        a_repository_is_deleted_and_brought_back
        an_emptied_repository_is_replaced
        nothing_is_left_of_an_empty_repository
    }
}

/// The medium fails before or after the effect: nothing half done is left, and doing it again gets there.
#[tokio::test]
async fn an_undo_that_fails_is_done_again() {
    use crate::metadata::suite::{digest, image, repo, tag};
    use crate::metadata::{History, RepositoryChanges, Trash};
    for fault in [Fault::Fail(Failure::Io), Fault::FailAfter(Failure::Io)] {
        let folder = Folder::new();
        let (store, faults) = folder.faulty();
        let scene = Scene::new(store.clone());
        scene.put("app", image("a").tag("v1"), 0).await;
        scene.put("app", image("b").tag("v1"), 1).await;
        let (app, change) = (repo("app"), at(2).into());
        faults.next_of(Operation::Rollback, fault);
        assert!(store.rollback(&app, &tag("v1"), None, &change).await.is_err());
        store.rollback(&app, &tag("v1"), Some(&digest("a")), &change).await.expect("again");
        assert_eq!(scene.tagged("app", "v1").await.map(|found| found.digest), Some(digest("a")));
        scene.delete("app", "a", 3).await;
        faults.next_of(Operation::RestoreManifest, fault);
        assert!(store.restore_manifest(&app, &digest("a"), &change).await.is_err());
        store.restore_manifest(&app, &digest("a"), &change).await.expect("again");
        assert!(scene.tagged("app", "v1").await.is_some());
        store.begin_deletion(&app, &change).await.expect("begun");
        faults.next_of(Operation::AdvanceRepository, fault);
        assert!(store.advance_repository(&app, 1, &change).await.is_err());
        while store.advance_repository(&app, 1, &change).await.expect("again").is_some() {}
        assert!(!scene.has("app", "a").await && !scene.has("app", "b").await);
        scene.verifies().await;
    }
}

#[tokio::test]
async fn the_nth_operation_fails_before_or_after_its_effect() {
    let folder = Folder::new();
    let (store, faults) = folder.faulty();
    store.record_time(at(1)).await.expect("recorded");
    faults.nth(1, Fault::Fail(Failure::Full));
    assert!(matches!(store.record_time(at(2)).await, Err(MetadataError::Full)));
    assert_eq!(recorded(&store).await, Some(at(1)));
    faults.next_of(Operation::RecordTime, Fault::FailAfter(Failure::Io));
    assert!(matches!(store.record_time(at(3)).await, Err(MetadataError::Failed(_))));
    assert_eq!(recorded(&store).await, Some(at(3)));
    store.record_time(at(4)).await.expect("nothing more was planned");
    assert_eq!(faults.count_of(Operation::RecordTime), 4);
    assert_eq!(faults.history().last(), Some(&Operation::RecordTime));
}

#[tokio::test]
async fn a_crash_takes_the_machine_down_until_it_is_revived() {
    let folder = Folder::new();
    let (store, faults) = folder.faulty();
    faults.next_of(Operation::RecordTime, Fault::CrashAfter);
    assert!(store.record_time(at(1)).await.is_err());
    assert!(faults.is_down() && store.check().await.is_err());
    faults.revive();
    store.check().await.expect("up again");
    assert_eq!(recorded(&store).await, Some(at(1)));
}

async fn recorded(store: &Faulty<SqliteMetadata>) -> Option<Timestamp> {
    store.inner().recorded_time().await.expect("an answer")
}
