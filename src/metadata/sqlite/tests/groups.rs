//! Group commit: a failed change does not affect the others, the writer recovers from a full disk, but not from a
//! storage error.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};

use super::Folder;
use crate::metadata::Durability;
use crate::metadata::Metadata;
use crate::metadata::sql::{self, Connection};
use crate::metadata::suite::{Scene, at, image, repo};
use crate::metadata::{MetadataError, PutManifest};
use crate::oci::{Algorithm, UploadId};

fn failing(code: i32) -> impl FnOnce(&dyn Connection) -> sql::Result<()> + Send + 'static {
    move |c| {
        c.execute("INSERT INTO facts (key, value) VALUES ('undone', '')", [])?;
        Err(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None).into())
    }
}

/// Keeps the writer busy until the returned sender is dropped, so that the following changes form one group.
async fn block_writer(store: &Metadata) -> (Sender<()>, impl Future<Output = ()>) {
    let (release, released) = channel::<()>();
    let (started, has_started) = channel::<()>();
    let mut blocking = Box::pin(store.write(Durability::Lazy, move |_| {
        let _ = started.send(());
        let _ = released.recv();
        Ok(())
    }));
    assert!(futures_util::poll!(&mut blocking).is_pending());
    has_started.recv().expect("it runs alone in its group");
    (release, async move { blocking.await.expect("written") })
}

fn stored_keys(store: &Metadata) -> Vec<String> {
    let rows = store.read(|c| {
        let mut query = c.prepare_cached("SELECT key FROM facts ORDER BY key")?;
        query.query_map([], |row| row.get(0))?.collect()
    });
    rows.expect("read")
}

#[tokio::test]
async fn failed_change_does_not_affect_the_others() {
    let folder = Folder::new();
    let store = folder.store();
    let (release, blocked) = block_writer(&store).await;
    let before = store.record_time(at(1));
    let fails = store.write(Durability::Full, failing(rusqlite::ffi::SQLITE_CONSTRAINT));
    let after = store.bind_store("one");
    let all = async { tokio::join!(blocked, before, fails, after) };
    let ((), before, fails, after) = released(release, all).await;
    before.expect("recorded");
    assert!(matches!(fails, Err(MetadataError::Failed(cause)) if cause.is::<rusqlite::Error>()));
    assert_eq!(after.expect("bound"), "one");
    assert_eq!(stored_keys(&store), ["store_id", "time"]);
}

/// Returns a change that appends `name` to `ran`.
fn record_name(
    ran: &Arc<Mutex<Vec<&'static str>>>,
    name: &'static str,
) -> impl FnOnce(&dyn Connection) -> sql::Result<()> + use<> {
    let ran = Arc::clone(ran);
    move |_| {
        ran.lock().expect("not poisoned").push(name);
        Ok(())
    }
}

#[tokio::test]
async fn small_changes_overtake_large_ones_that_wait_for_space() {
    const LARGE: usize = 5 << 20;
    let folder = Folder::new();
    let store = folder.store();
    let ran = Arc::new(Mutex::new(Vec::new()));
    let (release, blocked) = block_writer(&store).await;
    let first = store.write_weighed(Durability::Full, LARGE, record_name(&ran, "first large"));
    let second = store.write_weighed(Durability::Full, LARGE, record_name(&ran, "second large"));
    let small = store.write(Durability::Full, record_name(&ran, "small"));
    let all = async { tokio::join!(blocked, first, second, small) };
    let ((), first, second, small) = released(release, all).await;
    first.and(second).and(small).expect("written");
    assert_eq!(*ran.lock().expect("not poisoned"), ["first large", "small", "second large"]);
}

#[tokio::test]
async fn storage_error_fails_the_group_and_poisons_the_writer() {
    let folder = Folder::new();
    let store = folder.store();
    store.bind_store("one").await.expect("bound");
    let (release, blocked) = block_writer(&store).await;
    let before = store.record_time(at(1));
    let fails = store.write(Durability::Full, failing(rusqlite::ffi::SQLITE_IOERR));
    let after = store.record_time(at(2));
    let all = async { tokio::join!(blocked, before, fails, after) };
    let ((), before, fails, after) = released(release, all).await;
    assert!(before.is_err() && fails.is_err() && after.is_err());
    assert!(store.check().await.is_err(), "a poisoned writer rejects changes");
    assert_eq!(store.bind_store("two").await.expect("reads still work"), "one");
    assert_eq!(stored_keys(&store), ["store_id"]);
    drop(store);
    folder.store().check().await.expect("works after reopening");
}

#[tokio::test]
async fn panic_in_a_change_fails_writes_but_not_reads() {
    let folder = Folder::new();
    let store = folder.store();
    store.bind_store("one").await.expect("bound");
    let panics = store.write(Durability::Full, |_| -> sql::Result<()> { panic!("a test") });
    assert!(panics.await.is_err());
    assert!(store.check().await.is_err());
    assert_eq!(store.bind_store("two").await.expect("reads still work"), "one");
}

#[tokio::test]
async fn writer_recovers_from_a_full_disk() {
    let folder = Folder::new();
    let store = folder.store();
    max_pages(&store, 1).await;
    let mut stored = 0;
    while put(&store, stored).await.is_ok() {
        stored += 1;
    }
    assert!(matches!(put(&store, stored).await, Err(MetadataError::Full)));
    assert!(matches!(store.check().await, Ok(()) | Err(MetadataError::Full)));
    assert_eq!(store.totals().await.expect("totals").manifests, stored);
    assert_eq!(store.verify().await.expect("verified"), Vec::<String>::new());
    max_pages(&store, 1 << 20).await;
    put(&store, stored).await.expect("there is space again");
    store.create_upload(&repo("app"), UploadId::random(), Algorithm::Sha256, at(1)).await.expect("created");
    assert_eq!(store.verify().await.expect("verified"), Vec::<String>::new());
}

#[tokio::test]
async fn full_disk_fails_only_changes_that_need_space() {
    let folder = Folder::new();
    let store = folder.store();
    store.record_time(at(1)).await.expect("recorded");
    max_pages(&store, 1).await;
    let (release, blocked) = block_writer(&store).await;
    let all = async { tokio::join!(blocked, put(&store, 1), store.record_time(at(2))) };
    let ((), put, time) = released(release, all).await;
    assert!(matches!(put, Err(MetadataError::Full)));
    time.expect("it needs no space");
    assert_eq!(store.recorded_time().await.expect("read"), Some(at(2)));
}

#[tokio::test]
async fn tidy_returns_unused_space() {
    let folder = Folder::new();
    let store = folder.store();
    for number in 0..20 {
        put(&store, number).await.expect("stored");
    }
    let pages = |store: &Metadata| {
        store.read(|c| c.query_row("PRAGMA page_count", [], |row| row.get::<u32>(0))).expect("read")
    };
    let before = pages(&store);
    store
        .write(Durability::Lazy, |c| c.execute("DELETE FROM manifests", []).map(drop))
        .await
        .expect("deleted");
    store.tidy().await.expect("tidied");
    assert!(pages(&store) + 1000 < before, "{before} pages before, {} after", pages(&store));
    Scene::new(std::sync::Arc::new(store)).put("app", image("a"), 1).await;
}

async fn released<T>(release: Sender<()>, all: impl Future<Output = T>) -> T {
    tokio::pin!(all);
    // Polls each change once, so that all of them wait behind the blocking one.
    assert!(futures_util::poll!(&mut all).is_pending());
    drop(release);
    all.await
}

async fn max_pages(store: &Metadata, pages: u32) {
    let set =
        move |c: &dyn Connection| c.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()));
    store.write(Durability::Lazy, set).await.expect("set");
}

async fn put(store: &Metadata, number: u64) -> crate::metadata::Result<()> {
    let name = format!("m{number}");
    let put = PutManifest {
        repo: repo("app"),
        digest: crate::metadata::suite::digest(&name),
        content: vec![7; 300_000],
        media_type: "m".into(),
        artifact_type: None,
        details: crate::metadata::PushedDetails::Own(crate::oci::ImageDetails::default()),
        edges: Vec::new(),
        tags: Vec::new(),
        requires_verified: true,
        change: at(1).into(),
    };
    store.put_manifest(put).await.map(drop)
}
