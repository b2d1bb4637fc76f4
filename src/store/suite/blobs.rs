//! Scenarios of reading and listing.

use futures_util::StreamExt;

use super::{Fixture, collect, pattern, publish, read, stage};
use crate::oci::UploadId;
use crate::store::{ExportMethod, StoreError};

/// Small and large blobs are read back unchanged, also by a store that was reopened.
pub async fn a_published_blob_is_read(fixture: &dyn Fixture) {
    let store = fixture.open();
    for len in [1, 5, 4096, 65_536, 65_537, 262_144, 1_000_003] {
        let content = pattern(len, 7);
        let (key, size) = publish(&*store, &content).await;
        assert!(read(&*store, &key, size, 0..size).await.expect("read") == content, "{len} bytes differ");
        assert!(read(&*fixture.open(), &key, size, 0..size).await.expect("read") == content);
    }
}

/// A range contains exactly its bytes.
pub async fn a_range_is_read(fixture: &dyn Fixture) {
    let store = fixture.open();
    let content = pattern(700_001, 1);
    let (key, size) = publish(&*store, &content).await;
    for range in
        [0..1, 5..5, 1..700_001, 262_143..262_145, 100_000..400_000, 700_000..700_001, 700_001..700_001]
    {
        #[expect(clippy::cast_possible_truncation, reason = "within the content")]
        let expected = &content[range.start as usize..range.end as usize];
        assert!(
            read(&*store, &key, size, range.clone()).await.expect("read") == expected,
            "{range:?} differs"
        );
    }
}

/// A range beyond the end is rejected, not padded.
pub async fn a_range_beyond_the_end_is_rejected(fixture: &dyn Fixture) {
    let store = fixture.open();
    let (key, size) = publish(&*store, b"hello").await;
    assert!(matches!(read(&*store, &key, size, 0..6).await, Err(StoreError::Io(_))));
}

/// A removal does not affect readers that have started.
pub async fn readers_survive_a_removal(fixture: &dyn Fixture) {
    let store = fixture.open();
    let content = pattern(1_000_000, 4);
    let (key, size) = publish(&*store, &content).await;
    let mut stream = store.read(&key, size, 0..size).await.expect("opened").into_stream();
    let mut bytes = stream.next().await.expect("a piece").expect("read").to_vec();
    store.remove(&key).await.expect("removed");
    bytes.extend(collect(stream).await.expect("read"));
    assert!(bytes == content);
}

/// Bytes whose number differs from the record are not served.
pub async fn a_wrong_size_is_damaged(fixture: &dyn Fixture) {
    let store = fixture.open();
    let (key, _) = publish(&*store, b"hello").await;
    for size in [4, 6] {
        assert!(matches!(read(&*store, &key, size, 0..4).await, Err(StoreError::Damaged(_))));
    }
}

/// The pages of the listing contain everything exactly once.
pub async fn everything_is_listed(fixture: &dyn Fixture) {
    let store = fixture.open();
    let mut blobs = Vec::new();
    for number in 0..40_u8 {
        blobs.push(publish(&*store, &pattern(number.into(), number)).await);
    }
    let upload = UploadId::random();
    stage(&*store, upload, b"hello").await;
    let mut found = Vec::new();
    let mut uploads = Vec::new();
    let mut from = None;
    loop {
        let page = store.list(from.as_deref()).await.expect("listed");
        found.extend(page.blobs);
        uploads.extend(page.uploads);
        assert_eq!(page.unknown, [] as [String; 0]);
        from = page.next;
        if from.is_none() {
            break;
        }
    }
    blobs.sort();
    found.sort();
    assert_eq!(found, blobs);
    assert_eq!(uploads, [(upload, 5)]);
}

/// A working store passes its check.
pub async fn a_working_store_is_sound_and_has_free_space(fixture: &dyn Fixture) {
    let store = fixture.open();
    store.check().await.expect("sound");
    let space = store.space().await.expect("measured");
    assert!(space.free <= space.total && space.total > 0, "{space:?}");
    assert_eq!(store.list(None).await.expect("listed").unknown, [] as [String; 0]);
}

/// Inspecting returns the same bytes and finds the same damage as reading.
pub async fn a_blob_is_inspected(fixture: &dyn Fixture) {
    let store = fixture.open();
    let content = pattern(700_001, 9);
    let (key, size) = publish(&*store, &content).await;
    for range in [0..700_001, 0..0, 1..5, 4096..100_000, 699_999..700_001] {
        #[expect(clippy::cast_possible_truncation, reason = "within the content")]
        let expected = &content[range.start as usize..range.end as usize];
        assert!(store.inspect(&key, size, range.clone()).await.expect("read") == expected, "{range:?}");
    }
    assert!(matches!(store.inspect(&key, size, 0..size + 1).await, Err(StoreError::Io(_))));
    assert!(matches!(store.inspect(&key, size + 1, 0..1).await, Err(StoreError::Damaged(_))));
    store.remove(&key).await.expect("removed");
    assert!(matches!(store.inspect(&key, size, 0..1).await, Err(StoreError::NotFound)));
}

/// An exported blob has the same bytes, also after the store removed its own. Nothing is replaced.
pub async fn a_blob_is_exported(fixture: &dyn Fixture) {
    let store = fixture.open();
    let dir = tempfile::tempdir().expect("a directory");
    let content = pattern(70_000, 2);
    let (key, size) = publish(&*store, &content).await;
    for (name, method) in [("linked", ExportMethod::HardLink), ("copied", ExportMethod::Copy)] {
        let to = dir.path().join(name);
        let exported = store.export(&key, size, &to, method).await.expect("exported");
        assert!(exported == method || exported == ExportMethod::Copy);
        assert!(matches!(store.export(&key, size, &to, method).await, Err(StoreError::Io(_))));
        let wrong = store.export(&key, size + 1, &dir.path().join("wrong"), method).await;
        assert!(matches!(wrong, Err(StoreError::Damaged(_))), "{wrong:?}");
    }
    store.remove(&key).await.expect("removed");
    let absent = store.export(&key, size, &dir.path().join("gone"), ExportMethod::HardLink).await;
    assert!(matches!(absent, Err(StoreError::NotFound)), "{absent:?}");
    let mut names: Vec<_> =
        std::fs::read_dir(dir.path()).expect("read").map(|it| it.expect("one").path()).collect();
    names.sort();
    assert_eq!(names, [dir.path().join("copied"), dir.path().join("linked")]);
    for path in names {
        assert!(std::fs::read(path).expect("read") == content);
    }
}
