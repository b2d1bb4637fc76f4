//! The trash, and restoring manifests by pushing them again.

use super::*;
use crate::metadata::{CollectionRules, Deletion, EdgeKind, PutOutcome};

fn layered_image() -> Image {
    image("a").blob("config").blob("layer").tag("v1")
}

async fn push_layered(s: &Scene, hours: i64) {
    s.push("app", "config", hours).await;
    s.push("app", "layer", hours).await;
    s.put("app", layered_image(), hours).await;
}

/// A manifest in the trash keeps everything it needs and is restored completely.
pub async fn manifest_is_restored_from_the_trash(s: &Scene) {
    push_layered(s, 0).await;
    s.delete("app", "a", 100).await;
    s.collect(rules(123)).await;
    s.put("app", layered_image(), 123).await;
    s.collect(rules(1000)).await;
    assert!(s.tagged("app", "v1").await.is_some());
    assert!(s.has_blob("app", "config").await && s.has_blob("app", "layer").await);
}

/// After the trash time the manifest is removed with everything only it kept alive.
pub async fn the_trash_is_emptied(s: &Scene) {
    push_layered(s, 0).await;
    s.delete("app", "a", 100).await;
    assert_eq!(s.collect(rules(124)).await, 2);
    assert!(!s.is_stored("config").await && !s.is_stored("layer").await);
    assert_eq!(s.pending_deletions().await.len(), 2);
    assert_eq!(s.store.totals().await.expect("totals").manifests, 0);
}

/// The oldest trash of all repositories comes first.
pub async fn oldest_trash_comes_first(s: &Scene) {
    for (of, name, hours) in [("app", "b", 2), ("other", "a", 1), ("app", "c", 3)] {
        s.put(of, image(name).tag(name), 0).await;
        s.delete(of, name, hours).await;
    }
    let oldest = s.store.oldest_trash(2).await.expect("an answer");
    assert_eq!(oldest, [(repo("other"), digest("a")), (repo("app"), digest("b"))]);
}

/// After that its blobs must be pushed again first.
pub async fn a_restore_is_refused_when_a_target_is_gone(s: &Scene) {
    push_layered(s, 0).await;
    s.delete("app", "a", 100).await;
    s.collect(rules(124)).await;
    let missing = vec![(digest("config"), EdgeKind::Blob), (digest("layer"), EdgeKind::Blob)];
    assert_eq!(s.try_put("app", layered_image(), 125).await, PutOutcome::Missing(missing));
}

/// An index is not restored without its child.
pub async fn a_restore_is_refused_when_a_child_is_removed(s: &Scene) {
    s.put("app", image("child"), 0).await;
    s.put("app", image("index").child("child"), 0).await;
    s.delete("app", "index", 1).await;
    s.delete("app", "child", 1).await;
    let missing = PutOutcome::Missing(vec![(digest("child"), EdgeKind::Child)]);
    assert_eq!(s.try_put("app", image("index").child("child"), 2).await, missing);
    s.put("app", image("child"), 3).await;
    s.put("app", image("index").child("child"), 3).await;
}

/// A blob that was deleted while only the trash needed it is restored with its manifest.
pub async fn a_restore_unhides_what_it_needs(s: &Scene) {
    push_layered(s, 0).await;
    s.delete("app", "a", 100).await;
    assert_eq!(s.delete_blob("app", "layer", 101).await, Deletion::Done);
    s.collect(rules(110)).await;
    assert!(!s.has_blob("app", "layer").await);
    s.put("app", layered_image(), 111).await;
    assert!(s.has_blob("app", "layer").await);
    s.collect(rules(1000)).await;
    assert!(s.has_blob("app", "layer").await);
}

/// Any other manifest does not find a hidden blob.
pub async fn a_hidden_blob_is_missing_for_a_new_manifest(s: &Scene) {
    push_layered(s, 0).await;
    s.delete("app", "a", 100).await;
    s.delete_blob("app", "layer", 101).await;
    let missing = PutOutcome::Missing(vec![(digest("layer"), EdgeKind::Blob)]);
    assert_eq!(s.try_put("app", image("b").blob("layer"), 102).await, missing);
}

/// A hidden blob stays while the trash needs it and is removed with it.
pub async fn a_hidden_blob_goes_with_the_trash(s: &Scene) {
    push_layered(s, 0).await;
    s.delete("app", "a", 100).await;
    s.delete_blob("app", "layer", 100).await;
    s.collect(CollectionRules { trash: 10 * scene::DAY, ..rules(200) }).await;
    assert!(s.is_stored("layer").await);
    s.collect(rules(400)).await;
    assert!(!s.is_stored("layer").await);
}

/// A hidden blob that nothing needs stays for the trash time.
pub async fn a_hidden_blob_stays_for_the_trash_time(s: &Scene) {
    s.push("app", "layer", 0).await;
    s.delete_blob("app", "layer", 100).await;
    s.collect(rules(123)).await;
    assert!(s.is_stored("layer").await);
    s.collect(rules(124)).await;
    assert!(!s.is_stored("layer").await);
}

/// A manifest can be pushed again while its edges are being deleted: with all of them or not at all.
pub async fn manifest_is_restored_while_it_is_purged(s: &Scene) {
    push_layered(s, 0).await;
    s.delete("app", "a", 100).await;
    s.store.expire_trash(&rules(124), 10).await.expect("expired");
    let batch = s.store.purge_manifests(&rules(124), 1).await.expect("purged");
    assert!(batch.more);
    assert!(!s.has("app", "a").await);
    s.put("app", layered_image(), 125).await;
    s.collect(rules(1000)).await;
    assert!(s.has_blob("app", "config").await && s.has_blob("app", "layer").await);
    assert_eq!(s.delete_blob("app", "layer", 1001).await, Deletion::HeldBy(digest("a")));
    assert_eq!(s.delete_blob("app", "config", 1001).await, Deletion::HeldBy(digest("a")));
}

/// A shorter or longer trash time applies at once.
pub async fn a_changed_trash_time_takes_effect_at_once(s: &Scene) {
    s.put("app", image("a"), 0).await;
    s.delete("app", "a", 100).await;
    s.collect(CollectionRules { trash: 10 * scene::DAY, ..rules(200) }).await;
    assert_eq!(s.store.totals().await.expect("totals").manifests, 1);
    s.collect(CollectionRules { trash: scene::HOUR, ..rules(200) }).await;
    assert_eq!(s.store.totals().await.expect("totals").manifests, 0);
}

/// Small batches lead to the same result.
pub async fn the_trash_is_emptied_in_batches_of_any_size(s: &Scene) {
    for (limit, name) in [(1, "x"), (2, "y"), (3, "z")] {
        let mut put = image(name).tag(name);
        for number in 0..7 {
            let blob = format!("{name}{number}");
            s.push("app", &blob, 0).await;
            put = put.blob(&blob);
        }
        s.put("app", put, 0).await;
        s.delete("app", name, 1).await;
        assert_eq!(s.collect_in_batches(rules(100), limit).await, 7);
    }
    s.store.forget_pending_deletions(&s.pending_deletions().await).await.expect("deleted");
    assert_eq!(s.store.totals().await.expect("totals"), crate::metadata::Totals::default());
}
