//! What goes wrong below the use cases, and what is told of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ::bytes::Bytes;
use futures_util::{StreamExt, stream};
use orlop::clock::{ManualClock, Timestamp};
use orlop::fair::Client;
use orlop::metadata::faulty as facts;
use orlop::metadata::sqlite::{Access as FactsAccess, SqliteMetadata};
use orlop::oci::Algorithm;
use orlop::registry::{
    Access, ClientBody, DeleteError, DiskReserve, Registry, Repository, ServiceError, Settings, UploadError,
};
use orlop::store::MemoryStore;
use orlop::store::faulty as bytes;
use tempfile::TempDir;

use crate::kit::{body, digest, push, read};

/// A repository over stores that fail when they are told to.
struct Broken {
    repo: Repository,
    bytes: bytes::Faults,
    facts: facts::Faults,
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
    let (bytes, facts) = (bytes::Faults::new(), facts::Faults::new());
    let dir = TempDir::new().expect("temporary folder");
    let metadata = SqliteMetadata::open(dir.path(), FactsAccess::ReadWrite).expect("metadata");
    let clock = Arc::new(ManualClock::at(Timestamp(1_000_000_000)));
    let registry = Registry::new(
        Arc::new(bytes::Faulty::new(MemoryStore::new(), bytes.clone())),
        Arc::new(facts::Faulty::new(metadata, facts.clone())),
        clock.clone(),
        settings,
    );
    let repo = registry.repository("a".parse().expect("name"), Access { push: true });
    Broken { repo, bytes, facts, clock, dir, registry }
}

/// `count` pieces of a mebibyte: long enough for each to be written by itself.
fn large(count: usize) -> ClientBody {
    stream::repeat_with(|| Ok(Bytes::from(vec![b'x'; 1 << 20]))).take(count).boxed()
}

#[tokio::test]
async fn a_disk_that_fills_up_in_the_middle_of_a_body_is_said_to_be_full() {
    let Broken { repo, bytes, dir: _dir, .. } = broken();
    let id = repo.begin_upload(Algorithm::Sha256).await.expect("upload");
    bytes.nth_of(bytes::Operation::Write, 2, bytes::Fault::Torn(bytes::Failure::Full));
    let outcome = repo.append(id, None, large(8)).await;
    assert!(matches!(outcome, Err(UploadError::Service(ServiceError::Full(_)))), "{outcome:?}");
    assert_eq!(repo.upload_offset(id).await.expect("offset"), 0);
    repo.finish(id, None, body(&[b"again"]), digest(b"again")).await.expect("blob");
    assert!(read(&repo, &digest(b"again")).await.is_some());
}

/// A record that names the bytes may have become durable all the same.
#[tokio::test]
async fn a_commit_of_unknown_outcome_is_not_undone_while_the_facts_refuse_to_change() {
    let Broken { repo, bytes, facts, dir: _dir, .. } = broken();
    let id = repo.begin_upload(Algorithm::Sha256).await.expect("upload");
    facts.next_of(facts::Operation::CommitUpload, facts::Fault::Fail(facts::Failure::Io));
    assert!(repo.finish(id, None, body(&[b"x"]), digest(b"x")).await.is_err());
    facts.next_of(facts::Operation::Intend, facts::Fault::Fail(facts::Failure::Io));
    assert!(repo.upload_offset(id).await.is_err());
    assert_eq!(bytes.count_of(bytes::Operation::Unpublish), 0);
    assert_eq!(repo.upload_offset(id).await.expect("offset"), 0);
    assert_eq!(bytes.count_of(bytes::Operation::Unpublish), 1);
}

#[tokio::test]
async fn what_can_be_read_is_served_while_the_facts_refuse_to_change() {
    let Broken { repo, facts, clock, dir: _dir, .. } = broken();
    push(&repo, b"x").await;
    clock.advance(Duration::from_secs(30 * 24 * 60 * 60));
    facts.next_of(facts::Operation::RenewLease, facts::Fault::Fail(facts::Failure::Io));
    assert!(repo.blob(&digest(b"x")).await.is_ok());
}

/// An upload that waits for its disk cannot give its turn back.
#[tokio::test]
async fn an_upload_without_a_turn_in_time_is_told_to_come_back() {
    let Broken { repo, bytes, dir: _dir, .. } = broken_with(|settings| {
        settings.parallel_uploads = 1;
        settings.upload_queue = Duration::from_millis(100);
    });
    bytes.next_of(bytes::Operation::Write, bytes::Fault::Stall);
    let holder = tokio::spawn({
        let repo = repo.clone();
        async move { push(&repo, b"waits for its disk").await }
    });
    let other = repo.clone().for_client(Client::User("other".into()));
    let id = other.begin_upload(Algorithm::Sha256).await.expect("upload");
    while bytes.count_of(bytes::Operation::Write) == 0 {
        tokio::task::yield_now().await;
    }
    let outcome = other.append(id, None, body(&[b"all"])).await;
    assert!(matches!(outcome, Err(UploadError::Service(ServiceError::Busy))), "{outcome:?}");
    bytes.release();
    holder.await.expect("pushed");
    other.finish(id, None, body(&[b"all"]), digest(b"all")).await.expect("blob");
}

/// Counts how often it is released, and has space but once.
#[derive(Default)]
struct Reserve(AtomicUsize);

impl DiskReserve for Reserve {
    fn release(&self) -> bool {
        self.0.fetch_add(1, Ordering::SeqCst) == 0
    }
}

#[tokio::test]
async fn a_delete_on_a_full_disk_gives_the_reserve_up() {
    let Broken { repo, facts, dir: _dir, registry, .. } = broken();
    push(&repo, b"x").await;
    push(&repo, b"y").await;
    let fail = |operation| facts.next_of(operation, facts::Fault::Fail(facts::Failure::Full));
    fail(facts::Operation::DeleteBlob);
    let outcome = repo.delete_blob(&digest(b"x")).await;
    assert!(
        matches!(outcome, Err(DeleteError::Service(ServiceError::Full(_)))),
        "without a reserve: {outcome:?}"
    );
    let reserve = Arc::new(Reserve::default());
    registry.set_disk_reserve(reserve.clone());
    repo.delete_blob(&digest(b"x")).await.expect("there is room without it");
    assert_eq!(reserve.0.load(Ordering::SeqCst), 0);
    fail(facts::Operation::DeleteBlob);
    repo.delete_blob(&digest(b"y")).await.expect("deleted");
    assert_eq!(reserve.0.load(Ordering::SeqCst), 1);
    fail(facts::Operation::CancelUpload);
    let id = repo.begin_upload(Algorithm::Sha256).await.expect("upload");
    assert!(repo.cancel_upload(id).await.is_err(), "the reserve is used up");
}
