//! The store as a whole: totals, recorded time and maintenance.

use super::scene::{ALLOCATED, SIZE};
use super::*;
use crate::metadata::{BlobSize, ClockJump, Commit, Restoration, SnapshotQuery, Totals};

async fn totals(s: &Scene) -> Totals {
    s.store.totals().await.expect("totals")
}

/// Totals follow every change.
pub async fn totals_are_kept_current(s: &Scene) {
    assert_eq!(totals(s).await, Totals::default());
    assert!(!s.store.has_images().expect("an answer"));
    let upload = s.start_upload("app", 0).await;
    assert_eq!(totals(s).await.uploads, 1);
    s.commit(upload, "layer", 0).await;
    s.push("other", "layer", 0).await;
    s.push("app", "config", 0).await;
    assert!(s.store.has_images().expect("an answer"));
    s.put("app", image("a").blob("layer").blob("config").tag("v1"), 0).await;
    s.put("app", image("a").blob("layer").blob("config").tag("v2"), 0).await;
    assert_eq!(
        totals(s).await,
        Totals {
            blobs: 2,
            blob_bytes: 2 * SIZE,
            blob_allocated: 2 * ALLOCATED,
            manifests: 1,
            pending_deletions: 1,
            pending_deletion_bytes: SIZE,
            pending_deletion_allocated: ALLOCATED,
            ..Totals::default()
        }
    );
    s.delete("app", "a", 1).await;
    assert_eq!(totals(s).await.manifests, 1);
    s.collect(rules(100)).await;
    assert_eq!(totals(s).await.pending_deletion_allocated, 3 * ALLOCATED);
    s.store.forget_pending_deletions(&s.pending_deletions().await).await.expect("deleted");
    assert_eq!(totals(s).await, Totals::default());
}

/// A changed size counts.
pub async fn totals_follow_a_blob_of_another_size(s: &Scene) {
    let id = s.start_upload("app", 0).await;
    let key = crate::oci::BlobKey { digest: digest("x"), generation: crate::oci::Generation::random() };
    let end = crate::metadata::UploadEnd { now: at(0), lease: scene::DAY, min_lease: scene::DAY };
    let size = BlobSize { logical: 3, allocated: 512 };
    assert_eq!(s.store.commit_upload(id, &key, size, end).await.expect("committed"), Commit::Done);
    s.push("app", "x", 1).await;
    assert_eq!((totals(s).await.blob_bytes, totals(s).await.blob_allocated), (SIZE, ALLOCATED));
    assert_eq!(totals(s).await.pending_deletion_allocated, 512);
}

/// The store stays bound to the first blob store.
pub async fn a_store_is_bound_once(s: &Scene) {
    assert_eq!(s.store.bind_store("one").await.expect("bound"), "one");
    assert_eq!(s.store.bind_store("two").await.expect("bound"), "one");
}

/// The last recorded time is returned.
pub async fn recorded_time_is_returned(s: &Scene) {
    assert_eq!(s.store.recorded_time().await.expect("an answer"), None);
    for hours in [5, 7] {
        s.store.record_time(at(hours)).await.expect("recorded");
        assert_eq!(s.store.recorded_time().await.expect("an answer"), Some(at(hours)));
    }
}

/// Times recorded while the clock was behind are corrected; others do not change.
pub async fn times_follow_a_jump_of_the_clock(s: &Scene) {
    s.push("app", "layer", 0).await;
    s.put("app", image("before").tag("before"), 0).await;
    s.put("app", image("b").blob("layer").tag("wrong"), 3).await;
    s.delete("app", "b", 4).await;
    s.put("app", image("c").tag("wrong"), 4).await;
    let by = 1000 * scene::HOUR;
    s.store.apply_clock_jump(ClockJump { from: at(2), until: at(5), by }).await.expect("moved");
    assert_eq!(s.manifest("app", "c").await.expect("live").leased_at, at(1004));
    let query = SnapshotQuery::default();
    let loaded = s.store.retention_snapshot(&repo("app"), &query).await.expect("an answer").expect("known");
    let snapshot = loaded.snapshot;
    let pushed: Vec<_> = snapshot.tags.iter().map(|tag| (tag.name.as_str(), tag.pushed_at)).collect();
    assert_eq!(pushed, [("before", at(0)), ("wrong", at(1004))]);
    s.collect(rules(1027)).await;
    let restored = s.store.restore_manifest(&repo("app"), &digest("b"), &at(1027).into()).await;
    assert!(matches!(restored.expect("an answer"), Restoration::Done(_)));
    assert!(s.has_blob("app", "layer").await);
    s.assert_consistent().await;
}

/// A past upload whose corrected start is that of another one extends leases until the later end of both.
pub async fn past_uploads_are_merged_after_a_jump_of_the_clock(s: &Scene) {
    let id = s.start_upload("app", 1002).await;
    assert!(s.cancel(id, 1004).await);
    s.push("app", "layer", 3).await;
    let id = s.start_upload("app", 3).await;
    assert!(s.cancel(id, 30).await);
    let by = 999 * scene::HOUR;
    s.store.apply_clock_jump(ClockJump { from: at(1), until: at(40), by }).await.expect("moved");
    s.collect(rules(1050)).await;
    assert!(s.has_blob("app", "layer").await);
    s.collect(rules(1060)).await;
    assert!(!s.has_blob("app", "layer").await);
}

/// Tidying and checking have no visible effect.
pub async fn tidying_changes_nothing(s: &Scene) {
    s.push("app", "layer", 0).await;
    s.store.tidy().await.expect("tidied");
    s.store.check().await.expect("checked");
    assert!(s.has_blob("app", "layer").await);
}
