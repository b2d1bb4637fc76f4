//! Tests of failures that only a store in a directory has. The scenarios shared by all stores are in
//! [`crate::store::suite`].

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::oci::{Algorithm, Generation, Hasher};
use crate::store::suite::{self, Fixture};

impl Fixture for TempDir {
    fn open(&self) -> Arc<dyn BlobStore> {
        Arc::new(open(self))
    }
}

fn dir() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

fn open(dir: &TempDir) -> FilesystemStore {
    FilesystemStore::open(dir.path(), Access::ReadWrite).expect("opened")
}

fn path_of(store: &FilesystemStore, key: &BlobKey) -> PathBuf {
    store.tree.layout.blob(key)
}

crate::blob_store_suite!(dir());

#[test]
fn the_identity_is_permanent() {
    let dir = dir();
    let root = dir.path().join("deep/down");
    let first = FilesystemStore::open(&root, Access::ReadWrite).expect("made").store_id();
    for access in [Access::ReadWrite, Access::ReadOnly] {
        assert_eq!(FilesystemStore::open(&root, access).expect("opened").store_id(), first);
    }
}

#[test]
fn rejects_a_newer_layout() {
    let dir = dir();
    let text = r#"{"layout":2,"store":{"something":"else"}}"#;
    fs::write(dir.path().join("orlop.json"), text).expect("written");
    let error = FilesystemStore::open(dir.path(), Access::ReadWrite).err().expect("refused");
    assert!(matches!(error, OpenError::Newer { found: 2, known: 1, .. }));
    assert!(error.to_string().contains("use a newer one"), "{error}");
}

#[test]
fn rejects_and_keeps_a_damaged_identity() {
    let dir = dir();
    let path = dir.path().join("orlop.json");
    fs::write(&path, "{").expect("written");
    assert!(matches!(FilesystemStore::open(dir.path(), Access::ReadWrite), Err(OpenError::Malformed { .. })));
    assert_eq!(fs::read(&path).expect("kept"), b"{");
}

#[test]
fn creates_no_identity_for_existing_blobs() {
    let dir = dir();
    open(&dir);
    fs::remove_file(dir.path().join("orlop.json")).expect("removed");
    assert!(matches!(
        FilesystemStore::open(dir.path(), Access::ReadWrite),
        Err(OpenError::Unidentified { .. })
    ));
}

#[test]
fn opening_read_only_creates_no_store() {
    let dir = dir();
    assert!(matches!(
        FilesystemStore::open(dir.path(), Access::ReadOnly),
        Err(OpenError::Unidentified { .. })
    ));
    assert_eq!(fs::read_dir(dir.path()).expect("listed").count(), 0);
}

#[tokio::test]
async fn a_vanished_store_reports_no_missing_blobs() {
    let dir = dir();
    let store = open(&dir);
    let (key, size) = suite::publish(&store, b"hello").await;
    fs::remove_file(dir.path().join("orlop.json")).expect("removed");
    assert!(matches!(store.check().await, Err(StoreError::Vanished(_))));
    assert!(matches!(store.remove(&key).await, Err(StoreError::Vanished(_))));
    assert!(matches!(store.list(None).await, Err(StoreError::Vanished(_))));
    assert_eq!(suite::read(&store, &key, size, 0..size).await.expect("still there"), b"hello");
    fs::remove_dir_all(dir.path()).expect("removed");
    assert!(matches!(suite::read(&store, &key, size, 0..size).await, Err(StoreError::Vanished(_))));
    assert!(matches!(store.stage(UploadId::random(), 0).await.err(), Some(StoreError::Vanished(_))));
    assert!(matches!(store.publish(UploadId::random(), &key).await, Err(StoreError::Vanished(_))));
}

#[tokio::test]
async fn detects_another_store_in_its_place() {
    let dir = dir();
    let store = open(&dir);
    fs::remove_dir_all(dir.path()).expect("removed");
    open(&dir);
    assert!(matches!(store.check().await, Err(StoreError::Vanished(_))));
}

#[tokio::test]
async fn a_failed_write_closes_the_handle() {
    let dir = dir();
    let store = open(&dir);
    // A device that is always full stands in for a full disk.
    let upload = UploadId::random();
    std::os::unix::fs::symlink("/dev/full", dir.path().join(format!("uploads/{upload}"))).expect("linked");
    let staged = store.stage(upload, 0).await.expect("staged");
    let failed = staged.write_at(0, vec![Bytes::from_static(b"hello")]).await;
    assert!(matches!(failed, Err(StoreError::Full)), "{failed:?}");
    assert!(matches!(staged.sync().await, Err(StoreError::Closed(closed::FAILED))));
    assert!(matches!(staged.write_at(0, Vec::new()).await, Err(StoreError::Closed(closed::FAILED))));
}

#[tokio::test]
async fn discards_bytes_that_cannot_be_synced() {
    let dir = dir();
    let store = open(&dir);
    let upload = UploadId::random();
    // A pipe cannot be synced.
    let path = dir.path().join(format!("uploads/{upload}"));
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("made");
    let staged = store.stage(upload, 0).await.expect("staged");
    assert!(matches!(staged.sync().await, Err(StoreError::Io(_))));
    assert!(matches!(staged.sync().await, Err(StoreError::Closed(closed::FAILED))));
    assert!(!path.exists());
    assert!(matches!(store.publish(upload, &suite::key_of(b"hello")).await, Err(StoreError::NotFound)));
}

#[tokio::test]
async fn discards_published_bytes_that_cannot_be_synced() {
    let dir = dir();
    let store = open(&dir);
    let upload = UploadId::random();
    let key = suite::key_of(b"hello");
    let path = dir.path().join(format!("uploads/{upload}"));
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("made");
    let _staged = store.stage(upload, 0).await.expect("staged");
    assert!(matches!(store.publish(upload, &key).await, Err(StoreError::Io(_))));
    assert!(!path.exists() && !path_of(&store, &key).exists());
    assert!(!store.unpublish(upload, &key).await.expect("nothing left"));
}

#[tokio::test]
async fn a_read_only_store_rejects_changes() {
    let dir = dir();
    let (key, size) = suite::publish(&open(&dir), b"hello").await;
    let store = FilesystemStore::open(dir.path(), Access::ReadOnly).expect("opened");
    let upload = UploadId::random();
    assert!(matches!(store.stage(upload, 0).await.err(), Some(StoreError::ReadOnly)));
    assert!(matches!(store.publish(upload, &key).await, Err(StoreError::ReadOnly)));
    assert!(matches!(store.unpublish(upload, &key).await, Err(StoreError::ReadOnly)));
    assert!(matches!(store.discard(upload).await, Err(StoreError::ReadOnly)));
    assert!(matches!(store.remove(&key).await, Err(StoreError::ReadOnly)));
    store.check().await.expect("sound");
    assert_eq!(suite::read(&store, &key, size, 0..size).await.expect("read"), b"hello");
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_fails_the_check() {
    let dir = dir();
    let store = open(&dir);
    let uploads = dir.path().join("uploads");
    fs::set_permissions(&uploads, fs::Permissions::from_mode(0o500)).expect("changed");
    // Root can write anywhere.
    if !rustix::process::geteuid().is_root() {
        assert!(matches!(store.check().await, Err(StoreError::Io(_))));
    }
    fs::remove_dir(&uploads).expect("removed");
    assert!(matches!(store.check().await, Err(StoreError::Io(_))));
}

#[tokio::test]
async fn a_file_that_is_too_short_is_damaged() {
    let dir = dir();
    let store = open(&dir);
    let content = suite::pattern(1_000_000, 1);
    let (key, size) = suite::publish(&store, &content).await;
    let stream = store.read(&key, size, 0..size).await.expect("opened").into_stream();
    let file = fs::OpenOptions::new().write(true).open(path_of(&store, &key)).expect("opened");
    file.set_len(600_000).expect("cut");
    assert!(matches!(suite::collect(stream).await, Err(StoreError::Damaged(_))));
    assert!(matches!(store.read(&key, size, 0..1).await, Err(StoreError::Damaged(_))));
}

#[tokio::test]
async fn undoes_an_interrupted_publish_by_link() {
    let dir = dir();
    let store = open(&dir);
    let (key, _) = suite::publish(&store, b"hello").await;
    let upload = UploadId::random();
    fs::hard_link(path_of(&store, &key), dir.path().join(format!("uploads/{upload}"))).expect("linked");
    assert!(store.unpublish(upload, &key).await.expect("undone"));
    assert!(!path_of(&store, &key).exists());
    store.stage(upload, 5).await.expect("staged again");
}

#[tokio::test]
async fn recreates_a_removed_directory() {
    let dir = dir();
    let store = open(&dir);
    let (key, _) = suite::publish(&store, b"hello").await;
    store.remove(&key).await.expect("removed");
    fs::remove_dir(store.tree.layout.shard(&key)).expect("empty");
    suite::publish(&store, b"hello").await;
}

#[tokio::test]
async fn reports_and_keeps_unknown_files() {
    let dir = dir();
    let store = open(&dir);
    let (key, _) = suite::publish(&store, b"hello").await;
    let shard = &key.digest.hex()[..2];
    let unknown_files = [
        "uploads/lost".into(),
        "blobs/md5".into(),
        "blobs/sha256/zz".into(),
        format!("blobs/sha256/{shard}/x"),
    ];
    for name in &unknown_files {
        fs::write(dir.path().join(name), "?").expect("written");
    }
    let mut unknown = Vec::new();
    let mut from = None;
    loop {
        let page = store.list(from.as_deref()).await.expect("listed");
        unknown.extend(page.unknown);
        from = page.next;
        if from.is_none() {
            break;
        }
    }
    assert_eq!(unknown, unknown_files);
    assert!(matches!(store.list(Some("nonsense")).await, Err(StoreError::Io(_))));
}

/// A hard link takes no space. Where it is impossible, a copy for everyone takes its place.
#[tokio::test]
async fn exports_a_link_or_else_a_copy() {
    let dir = dir();
    let store = open(&dir);
    let (key, size) = suite::publish(&store, b"hello").await;
    let device = |path: &std::path::Path| fs::metadata(path).expect("there").dev();
    let linked = dir.path().join("linked");
    let method = store.export(&key, size, &linked, ExportMethod::HardLink).await.expect("exported");
    assert_eq!(method, ExportMethod::HardLink);
    let inode = |path: &std::path::Path| fs::metadata(path).expect("there").ino();
    assert_eq!(inode(&linked), inode(&path_of(&store, &key)));
    let Ok(other) = tempfile::tempdir_in("/dev/shm") else { return };
    if device(other.path()) == device(dir.path()) {
        return;
    }
    let copied = other.path().join("copied");
    fs::write(other.path().join("copied.orlop-draft"), "of an interrupted export").expect("written");
    let method = store.export(&key, size, &copied, ExportMethod::HardLink).await.expect("exported");
    assert_eq!(method, ExportMethod::Copy);
    assert_eq!(fs::read(&copied).expect("read"), b"hello");
    assert_eq!(fs::metadata(&copied).expect("there").permissions().mode() & 0o777, 0o644);
    assert_eq!(fs::read_dir(other.path()).expect("read").count(), 1, "no draft is left");
    let missing = store.export(&key, size, &other.path().join("none/x"), ExportMethod::Copy).await;
    let error = missing.expect_err("no directory");
    assert!(crate::errors::Chain(&error).to_string().contains("none/x: "), "{error:?}");
}

/// A file of another registry's tree, and its key.
fn foreign(dir: &TempDir, content: &'static [u8]) -> (PathBuf, BlobKey) {
    let path = dir.path().join("data");
    fs::write(&path, content).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).expect("set");
    let digest = Hasher::digest(Algorithm::Sha256, content);
    (path, BlobKey { digest, generation: Generation::random() })
}

#[tokio::test]
async fn a_linked_file_stays_as_it_is_and_outlives_its_blob() {
    let dir = dir();
    let store = open(&dir);
    let (path, key) = foreign(&dir, b"layer");
    let before = fs::metadata(&path).expect("there");
    let adopted = store.adopt(&path, &key, Adoption::Hardlink).await.expect("linked");
    assert_eq!((adopted.size, adopted.links, store.links(&key).await.expect("there")), (5, 2, 2));
    store.sync_adopted(std::slice::from_ref(&key)).await.expect("synced");
    let after = fs::metadata(path_of(&store, &key)).expect("there");
    assert_eq!((after.ino(), after.mode(), after.uid()), (before.ino(), before.mode(), before.uid()));
    store.remove(&key).await.expect("removed");
    assert_eq!(fs::read(&path).expect("kept"), b"layer");
    assert!(matches!(store.links(&key).await, Err(StoreError::NotFound)));
}

#[tokio::test]
async fn a_copy_is_checked_and_leaves_nothing_behind() {
    let dir = dir();
    let store = open(&dir);
    let (path, key) = foreign(&dir, b"layer");
    let adopted = store.adopt(&path, &key, Adoption::Copy).await.expect("copied");
    assert_eq!((adopted.size, adopted.links), (5, 1));
    assert_ne!(
        fs::metadata(path_of(&store, &key)).expect("there").ino(),
        fs::metadata(&path).expect("there").ino()
    );
    let other = BlobKey { digest: Hasher::digest(Algorithm::Sha256, b"other"), ..key };
    let refused = store.adopt(&path, &other, Adoption::Copy).await;
    assert!(matches!(refused, Err(AdoptError::Store(StoreError::Damaged(_)))), "{refused:?}");
    assert!(!path_of(&store, &other).exists());
    assert_eq!(fs::read_dir(dir.path().join("uploads")).expect("listed").count(), 0);
}

#[tokio::test]
async fn only_regular_files_are_adopted() {
    let dir = dir();
    let store = open(&dir);
    let (path, key) = foreign(&dir, b"layer");
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&path, &link).expect("linked");
    for how in [Adoption::Hardlink, Adoption::Copy] {
        assert!(matches!(store.adopt(&link, &key, how).await, Err(AdoptError::NotAFile)));
        assert!(matches!(
            store.adopt(&dir.path().join("absent"), &key, how).await,
            Err(AdoptError::NotFound)
        ));
    }
    assert!(!path_of(&store, &key).exists());
}
