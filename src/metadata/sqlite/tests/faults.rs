//! Injected faults: what fails has either all or nothing of its effect.

use std::sync::Arc;

use super::Folder;
use crate::clock::Timestamp;
use crate::faults::{Failure, Fault};
use crate::metadata::suite::{Scene, at};
use crate::metadata::{Faults, Metadata, MetadataError, Operation};

/// If the disk fails before or after the effect, nothing half done is left, and a retry succeeds.
#[tokio::test]
async fn failed_restore_can_be_retried() {
    use crate::metadata::suite::{digest, image, repo, tag};
    for fault in [Fault::Fail(Failure::Io), Fault::FailAfter(Failure::Io)] {
        let folder = Folder::new();
        let faults = Faults::new();
        let store = Arc::new(folder.store().with_faults(faults.clone()));
        let scene = Scene::new(store.clone());
        scene.put("app", image("a").tag("v1"), 0).await;
        scene.put("app", image("b").tag("v1"), 1).await;
        let app = repo("app");
        let change = at(2).into();
        faults.inject_next(Operation::Rollback, fault);
        assert!(store.rollback(&app, &tag("v1"), None, &change).await.is_err());
        store.rollback(&app, &tag("v1"), Some(&digest("a")), &change).await.expect("the retry succeeds");
        assert_eq!(scene.tagged("app", "v1").await.map(|found| found.digest), Some(digest("a")));
        scene.delete("app", "a", 3).await;
        faults.inject_next(Operation::RestoreManifest, fault);
        assert!(store.restore_manifest(&app, &digest("a"), &change).await.is_err());
        store.restore_manifest(&app, &digest("a"), &change).await.expect("the retry succeeds");
        assert!(scene.tagged("app", "v1").await.is_some());
        store.start_deletion(&app, &change).await.expect("started");
        faults.inject_next(Operation::AdvanceRepository, fault);
        assert!(store.advance_repository(&app, 1, &change).await.is_err());
        while store.advance_repository(&app, 1, &change).await.expect("the retry succeeds").is_some() {}
        assert!(!scene.has("app", "a").await && !scene.has("app", "b").await);
        scene.assert_consistent().await;
    }
}

#[tokio::test]
async fn nth_operation_fails_before_or_after_its_effect() {
    let folder = Folder::new();
    let faults = Faults::new();
    let store = Arc::new(folder.store().with_faults(faults.clone()));
    store.record_time(at(1)).await.expect("recorded");
    faults.inject_nth(1, Fault::Fail(Failure::Full));
    assert!(matches!(store.record_time(at(2)).await, Err(MetadataError::Full)));
    assert_eq!(recorded(&store).await, Some(at(1)));
    faults.inject_next(Operation::RecordTime, Fault::FailAfter(Failure::Io));
    assert!(matches!(store.record_time(at(3)).await, Err(MetadataError::Failed(_))));
    assert_eq!(recorded(&store).await, Some(at(3)));
    store.record_time(at(4)).await.expect("no more faults are planned");
    assert_eq!(faults.count_of(Operation::RecordTime), 4);
    assert_eq!(faults.history().last(), Some(&Operation::RecordTime));
}

#[tokio::test]
async fn crash_lasts_until_revived() {
    let folder = Folder::new();
    let faults = Faults::new();
    let store = Arc::new(folder.store().with_faults(faults.clone()));
    faults.inject_next(Operation::RecordTime, Fault::CrashAfter);
    assert!(store.record_time(at(1)).await.is_err());
    assert!(faults.is_down() && store.check().await.is_err());
    faults.revive();
    store.check().await.expect("revived");
    assert_eq!(recorded(&store).await, Some(at(1)));
}

async fn recorded(store: &Metadata) -> Option<Timestamp> {
    store.recorded_time().await.expect("an answer")
}
