//! Tests of the fault injection itself.

use bytes::Bytes;

use super::*;
use crate::store::MemoryStore;
use crate::store::suite::{self, Fixture};

impl Fixture for Faulty<MemoryStore> {
    fn open(&self) -> Arc<dyn BlobStore> {
        Arc::new(Faulty::new(self.inner.reopened(), self.faults.clone()))
    }
}

fn faulty() -> (Faulty<MemoryStore>, Faults) {
    let faults = Faults::new();
    (Faulty::new(MemoryStore::new(), faults.clone()), faults)
}

crate::blob_store_suite!(faulty().0);

fn hello() -> Vec<Bytes> {
    vec![Bytes::from_static(b"he"), Bytes::from_static(b"llo!")]
}

#[tokio::test]
async fn a_fault_fails_the_chosen_operation_before_or_after_its_effect() {
    let (store, faults) = faulty();
    let (key, _) = suite::publish(&store, b"hello").await;
    assert_eq!(faults.history(), [Operation::Stage, Operation::Write, Operation::Publish]);
    faults.inject_nth(3, Fault::Fail(Failure::Full));
    assert!(matches!(store.remove(&key).await, Err(StoreError::Full)));
    assert_eq!(store.inner().keys().len(), 1);
    faults.inject_next(Operation::Remove, Fault::FailAfter(Failure::Io));
    assert!(matches!(store.remove(&key).await, Err(StoreError::Io(_))));
    assert_eq!(store.inner().keys(), []);
    store.remove(&key).await.expect("no more faults are planned");
}

#[tokio::test]
async fn a_torn_write_leaves_half_of_the_bytes_and_closes_the_handle() {
    let (store, faults) = faulty();
    let upload = UploadId::random();
    let staged = store.stage(upload, 0).await.expect("staged");
    faults.inject_next(Operation::Write, Fault::Torn(Failure::Io));
    assert!(staged.write_at(0, hello()).await.is_err());
    assert!(matches!(staged.sync().await, Err(StoreError::Closed(_))));
    assert!(matches!(store.stage(upload, 4).await, Err(StoreError::Damaged(_))));
    assert!(store.stage(upload, 3).await.is_ok());
}

#[tokio::test]
async fn staging_again_waits_for_a_stalled_write() {
    let (store, faults) = faulty();
    let upload = UploadId::random();
    let staged = store.stage(upload, 0).await.expect("staged");
    faults.inject_next(Operation::Write, Fault::Stall);
    let write = tokio::spawn(async move { staged.write_at(0, hello()).await });
    faults.wait_until_stalled(1).await;
    write.abort();
    let restaged = store.stage(upload, 0);
    tokio::pin!(restaged);
    assert!(futures_util::poll!(&mut restaged).is_pending());
    faults.release();
    restaged.await.expect("staged again");
}

#[tokio::test]
async fn after_a_crash_all_operations_fail_until_the_machine_is_revived() {
    let (store, faults) = faulty();
    let memory = store.inner().clone();
    faults.on_crash(move || memory.power_cut());
    let (key, _) = suite::publish(&store, b"hello").await;
    let upload = UploadId::random();
    let staged = store.stage(upload, 0).await.expect("staged");
    faults.inject_next(Operation::Write, Fault::CrashAfter);
    assert!(staged.write_at(0, hello()).await.is_err());
    assert!(faults.is_down());
    assert!(store.check().await.is_err());
    faults.revive();
    store.check().await.expect("up again");
    assert_eq!(store.inner().keys(), [key]);
    assert_eq!(store.inner().uploads(), []);
}

#[tokio::test]
async fn the_same_seed_injects_the_same_faults() {
    async fn run(seed: u64, probability: f64) -> Vec<bool> {
        let (store, faults) = faulty();
        faults.inject_randomly(
            seed,
            probability,
            &[Fault::Fail(Failure::Io), Fault::FailAfter(Failure::Full)],
        );
        let mut failed = Vec::new();
        for _ in 0..100 {
            failed.push(store.check().await.is_err());
        }
        failed
    }
    assert_eq!(run(1, 0.3).await, run(1, 0.3).await);
    assert_ne!(run(1, 0.3).await, run(2, 0.3).await);
    assert_eq!(run(1, 0.0).await, [false; 100]);
    assert_eq!(run(1, 1.0).await, [true; 100]);
    let failed = run(3, 0.3).await.into_iter().filter(|failed| *failed).count();
    assert!((15..45).contains(&failed), "{failed}");
}
