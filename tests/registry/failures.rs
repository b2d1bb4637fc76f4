//! Tests how the use cases report failures of the store and the metadata.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ::bytes::Bytes;
use futures_util::{StreamExt, stream};
use orlop::clock::{ManualClock, Timestamp};
use orlop::fair::Client;
use orlop::metadata::{Access as MetadataAccess, Metadata};
use orlop::oci::Algorithm;
use orlop::registry::{
    Access, ClientBody, DeleteError, DiskReserve, Registry, Repository, ServiceError, Settings, UploadError,
};
use orlop::store::MemoryStore;
use orlop::store::faulty as faulty_store;
use tempfile::TempDir;

use crate::kit::{body, digest, push, read};

/// A repository whose store and metadata fail on command.
struct Broken {
    repo: Repository,
    store_faults: faulty_store::Faults,
    metadata_faults: orlop::metadata::Faults,
    clock: Arc<ManualClock>,
    dir: TempDir,
    registry: Arc<Registry>,
}

fn broken() -> Broken {
    broken_with(|_| {})
}

fn broken_with(change: impl FnOnce(&mut Settings)) -> Broken {
    let mut settings = Settings { min_free: 0, warn_free: 0, ..Settings::default() };
    change(&mut settings);
    let store_faults = faulty_store::Faults::new();
    let metadata_faults = orlop::metadata::Faults::new();
    let dir = TempDir::new().expect("temporary folder");
    let metadata = Metadata::open(dir.path(), MetadataAccess::ReadWrite).expect("metadata");
    let clock = Arc::new(ManualClock::at(Timestamp(1_000_000_000)));
    let registry = Registry::new(
        Arc::new(faulty_store::Faulty::new(MemoryStore::new(), store_faults.clone())),
        Arc::new(metadata.with_faults(metadata_faults.clone())),
        clock.clone(),
        settings,
    );
    let repo = registry.repository("a".parse().expect("name"), Access { push: true });
    Broken { repo, store_faults, metadata_faults, clock, dir, registry }
}

/// `count` pieces of one mebibyte, each long enough to be written on its own.
fn large(count: usize) -> ClientBody {
    stream::repeat_with(|| Ok(Bytes::from(vec![b'x'; 1 << 20]))).take(count).boxed()
}

#[tokio::test]
async fn reports_a_full_disk_when_it_fills_up_during_a_body() {
    let Broken { repo, store_faults, dir: _dir, .. } = broken();
    let id = repo.start_upload(Algorithm::Sha256).await.expect("upload");
    store_faults.inject_nth_of(
        faulty_store::Operation::Write,
        2,
        faulty_store::Fault::Torn(faulty_store::Failure::Full),
    );
    let outcome = repo.append(id, None, large(8)).await;
    assert!(matches!(outcome, Err(UploadError::Service(ServiceError::Full(_)))), "{outcome:?}");
    assert_eq!(repo.upload_offset(id).await.expect("offset"), 0);
    repo.finish(id, None, body(&[b"again"]), digest(b"again")).await.expect("blob");
    assert!(read(&repo, &digest(b"again")).await.is_some());
}

/// The record that names the blob may have become durable although the commit reported an error.
#[tokio::test]
async fn does_not_undo_a_commit_of_unknown_outcome_while_metadata_writes_fail() {
    let Broken { repo, store_faults, metadata_faults, dir: _dir, .. } = broken();
    let id = repo.start_upload(Algorithm::Sha256).await.expect("upload");
    metadata_faults.inject_next(
        orlop::metadata::Operation::CommitUpload,
        orlop::faults::Fault::Fail(orlop::faults::Failure::Io),
    );
    assert!(repo.finish(id, None, body(&[b"x"]), digest(b"x")).await.is_err());
    metadata_faults.inject_next(
        orlop::metadata::Operation::RecordIntent,
        orlop::faults::Fault::Fail(orlop::faults::Failure::Io),
    );
    assert!(repo.upload_offset(id).await.is_err());
    assert_eq!(store_faults.count_of(faulty_store::Operation::Unpublish), 0);
    assert_eq!(repo.upload_offset(id).await.expect("offset"), 0);
    assert_eq!(store_faults.count_of(faulty_store::Operation::Unpublish), 1);
}

#[tokio::test]
async fn serves_reads_while_metadata_writes_fail() {
    let Broken { repo, metadata_faults, clock, dir: _dir, .. } = broken();
    push(&repo, b"x").await;
    clock.advance(Duration::from_secs(30 * 24 * 60 * 60));
    metadata_faults.inject_next(
        orlop::metadata::Operation::RenewLease,
        orlop::faults::Fault::Fail(orlop::faults::Failure::Io),
    );
    assert!(repo.blob(&digest(b"x")).await.is_ok());
}

/// An upload that waits for the disk cannot give up its turn.
#[tokio::test]
async fn an_upload_that_gets_no_turn_in_time_fails_as_busy() {
    let Broken { repo, store_faults, dir: _dir, .. } = broken_with(|settings| {
        settings.parallel_uploads = 1;
        settings.upload_queue = Duration::from_millis(100);
    });
    store_faults.inject_next(faulty_store::Operation::Write, faulty_store::Fault::Stall);
    let holder = tokio::spawn({
        let repo = repo.clone();
        async move { push(&repo, b"waits for its disk").await }
    });
    let other = repo.clone().for_client(Client::User("other".into()));
    let id = other.start_upload(Algorithm::Sha256).await.expect("upload");
    while store_faults.count_of(faulty_store::Operation::Write) == 0 {
        tokio::task::yield_now().await;
    }
    let outcome = other.append(id, None, body(&[b"all"])).await;
    assert!(matches!(outcome, Err(UploadError::Service(ServiceError::Busy))), "{outcome:?}");
    store_faults.release();
    holder.await.expect("pushed");
    other.finish(id, None, body(&[b"all"]), digest(b"all")).await.expect("blob");
}

/// Counts its releases. Only the first one frees space.
#[derive(Default)]
struct Reserve(AtomicUsize);

impl DiskReserve for Reserve {
    fn release(&self) -> bool {
        self.0.fetch_add(1, Ordering::SeqCst) == 0
    }
}

#[tokio::test]
async fn a_delete_on_a_full_disk_releases_the_reserve() {
    let Broken { repo, metadata_faults, dir: _dir, registry, .. } = broken();
    push(&repo, b"x").await;
    push(&repo, b"y").await;
    let fail = |operation| {
        metadata_faults.inject_next(operation, orlop::faults::Fault::Fail(orlop::faults::Failure::Full));
    };
    fail(orlop::metadata::Operation::DeleteBlob);
    let outcome = repo.delete_blob(&digest(b"x")).await;
    assert!(
        matches!(outcome, Err(DeleteError::Service(ServiceError::Full(_)))),
        "without a reserve: {outcome:?}"
    );
    let reserve = Arc::new(Reserve::default());
    registry.set_disk_reserve(reserve.clone());
    repo.delete_blob(&digest(b"x")).await.expect("there is space without the reserve");
    assert_eq!(reserve.0.load(Ordering::SeqCst), 0);
    fail(orlop::metadata::Operation::DeleteBlob);
    repo.delete_blob(&digest(b"y")).await.expect("deleted");
    assert_eq!(reserve.0.load(Ordering::SeqCst), 1);
    fail(orlop::metadata::Operation::CancelUpload);
    let id = repo.start_upload(Algorithm::Sha256).await.expect("upload");
    assert!(repo.cancel_upload(id).await.is_err(), "the reserve is used up");
}
