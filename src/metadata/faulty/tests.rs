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
