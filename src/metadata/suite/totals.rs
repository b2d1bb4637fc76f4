//! The store as a whole.

use super::scene::{ALLOCATED, SIZE};
use super::*;
use crate::metadata::{BlobSize, Commit, Totals};

async fn totals(s: &Scene) -> Totals {
    s.store.totals().await.expect("totals")
}

/// Totals follow every change.
pub async fn totals_are_kept_current(s: &Scene) {
    assert_eq!(totals(s).await, Totals::default());
    let upload = s.begin("app", 0).await;
    assert_eq!(totals(s).await.uploads, 1);
    s.commit(upload, "layer", 0).await;
    s.push("other", "layer", 0).await;
    s.push("app", "config", 0).await;
    s.put("app", image("a").blob("layer").blob("config").tag("v1"), 0).await;
    s.put("app", image("a").blob("layer").blob("config").tag("v2"), 0).await;
    assert_eq!(
        totals(s).await,
        Totals {
            blobs: 2,
            blob_bytes: 2 * SIZE,
            blob_allocated: 2 * ALLOCATED,
            manifests: 1,
            doomed: 1,
            doomed_bytes: SIZE,
            doomed_allocated: ALLOCATED,
            ..Totals::default()
        }
    );
    s.delete("app", "a", 1).await;
    assert_eq!(totals(s).await.manifests, 1);
    s.collect(rules(100)).await;
    assert_eq!(totals(s).await.doomed_allocated, 3 * ALLOCATED);
    s.store.forget_doomed(&s.doomed().await).await.expect("forgotten");
    assert_eq!(totals(s).await, Totals::default());
}

/// A changed size counts.
pub async fn totals_follow_a_blob_of_another_size(s: &Scene) {
    let id = s.begin("app", 0).await;
    let key = crate::oci::BlobKey { digest: digest("x"), generation: crate::oci::Generation::random() };
    let end = crate::metadata::UploadEnd { now: at(0), lease: scene::DAY, shortest: scene::DAY };
    let size = BlobSize { logical: 3, allocated: 512 };
    assert_eq!(s.store.commit_upload(id, &key, size, end).await.expect("committed"), Commit::Done);
    s.push("app", "x", 1).await;
    assert_eq!((totals(s).await.blob_bytes, totals(s).await.blob_allocated), (SIZE, ALLOCATED));
    assert_eq!(totals(s).await.doomed_allocated, 512);
}

/// The first byte store is the one.
pub async fn a_store_is_bound_once(s: &Scene) {
    assert_eq!(s.store.bind_store("one").await.expect("bound"), "one");
    assert_eq!(s.store.bind_store("two").await.expect("bound"), "one");
}

/// The time that was recorded last is told.
pub async fn the_recorded_time_is_told(s: &Scene) {
    assert_eq!(s.store.recorded_time().await.expect("an answer"), None);
    for hours in [5, 7] {
        s.store.record_time(at(hours)).await.expect("recorded");
        assert_eq!(s.store.recorded_time().await.expect("an answer"), Some(at(hours)));
    }
}

/// Tidying and checking change nothing that shows.
pub async fn a_tidied_store_is_the_same(s: &Scene) {
    s.push("app", "layer", 0).await;
    s.store.tidy().await.expect("tidied");
    s.store.check().await.expect("checked");
    assert!(s.has_blob("app", "layer").await);
}
