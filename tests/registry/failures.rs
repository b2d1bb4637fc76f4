//! What goes wrong below the use cases, and what is told of it.

use std::sync::Arc;
use std::time::Duration;

use ::bytes::Bytes;
use futures_util::{StreamExt, stream};
use orlop::clock::{ManualClock, Timestamp};
use orlop::metadata::faulty as facts;
use orlop::metadata::sqlite::{Access as FactsAccess, SqliteMetadata};
use orlop::oci::Algorithm;
use orlop::registry::{Access, ClientBody, Fault, Registry, Repository, Settings, UploadError};
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
}

fn broken() -> Broken {
    let (bytes, facts) = (bytes::Faults::new(), facts::Faults::new());
    let dir = TempDir::new().expect("temporary folder");
    let metadata = SqliteMetadata::open(dir.path(), FactsAccess::ReadWrite).expect("metadata");
    let clock = Arc::new(ManualClock::at(Timestamp(1_000_000_000)));
    let registry = Registry::new(
        Arc::new(bytes::Faulty::new(MemoryStore::new(), bytes.clone())),
        Arc::new(facts::Faulty::new(metadata, facts.clone())),
        clock.clone(),
        Settings { min_free: 0, warn_free: 0, ..Settings::default() },
    );
    let repo = registry.repository("a".parse().expect("name"), Access { push: true });
    Broken { repo, bytes, facts, clock, dir }
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
    assert!(matches!(outcome, Err(UploadError::Fault(Fault::Full(_)))), "{outcome:?}");
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
