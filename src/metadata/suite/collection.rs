//! The collector's reviews.

use super::scene::DAY;
use super::*;
use crate::metadata::{CollectionRules, Garbage};

/// A blob that a live manifest needs is kept forever.
pub async fn referenced_blob_is_kept(s: &Scene) {
    s.push("app", "layer", 0).await;
    s.put("app", image("a").blob("layer").tag("v1"), 0).await;
    for hours in [1, 100, 10_000] {
        assert_eq!(s.collect(rules(hours)).await, 0);
    }
    assert!(s.has_blob("app", "layer").await);
}

/// An upload that no manifest followed is collected, and its key becomes a pending deletion.
pub async fn unreferenced_blob_is_collected(s: &Scene) {
    let key = s.push("app", "layer", 0).await;
    assert_eq!(s.collect(rules(100)).await, 1);
    assert!(!s.is_stored("layer").await);
    assert_eq!(s.pending_deletions().await, [key]);
}

/// A blob stays while any repository links it.
pub async fn a_shared_blob_goes_with_its_last_link(s: &Scene) {
    s.push("app", "layer", 0).await;
    s.store.mount_blob(&repo("other"), &digest("layer"), None, at(0)).await.expect("mounted");
    s.put("other", image("a").blob("layer").tag("v1"), 0).await;
    assert_eq!(s.collect(rules(100)).await, 1);
    assert!(!s.has_blob("app", "layer").await && s.has_blob("other", "layer").await);
    assert_eq!(s.pending_deletions().await, []);
    s.delete("other", "a", 100).await;
    assert_eq!(s.collect(rules(200)).await, 1);
    assert_eq!(s.pending_deletions().await.len(), 1);
}

/// A foreign layer that is pushed later is kept alive from then on.
pub async fn foreign_layer_is_kept_once_pushed(s: &Scene) {
    s.put("app", image("a").foreign_blob("far").tag("v1"), 0).await;
    s.push("app", "far", 1).await;
    s.collect(rules(1000)).await;
    assert!(s.has_blob("app", "far").await);
    s.delete("app", "a", 1000).await;
    s.collect(rules(1100)).await;
    assert!(!s.is_stored("far").await);
}

/// A manifest that never had a tag expires after its time, first into the trash.
pub async fn an_untagged_manifest_expires(s: &Scene) {
    s.push("app", "layer", 0).await;
    s.put("app", image("a").blob("layer"), 0).await;
    s.collect(rules(14 * 24 - 1)).await;
    assert!(s.has("app", "a").await);
    s.collect(rules(14 * 24)).await;
    assert!(!s.has("app", "a").await);
    assert!(s.has_blob("app", "layer").await);
    s.collect(rules(15 * 24)).await;
    assert!(!s.is_stored("layer").await);
}

/// The time starts when the last tag is removed.
pub async fn an_overwritten_manifest_expires_after_its_tag_moved(s: &Scene) {
    s.put("app", image("a").tag("latest"), 0).await;
    s.collect(rules(5000)).await;
    s.put("app", image("b").tag("latest"), 5000).await;
    s.collect(rules(5000 + 14 * 24 - 1)).await;
    assert!(s.has("app", "a").await);
    s.collect(rules(5000 + 14 * 24)).await;
    assert!(!s.has("app", "a").await && s.has("app", "b").await);
}

/// The time also starts again with the last pull.
pub async fn a_pull_keeps_an_untagged_manifest(s: &Scene) {
    s.put("app", image("a"), 0).await;
    let pulls = vec![(repo("app"), digest("a"), at(300)), (repo("app"), digest("absent"), at(300))];
    s.store.record_pulls(pulls).await.expect("recorded");
    s.store.record_pulls(vec![(repo("app"), digest("a"), at(200))]).await.expect("recorded");
    s.collect(rules(300 + 14 * 24 - 1)).await;
    assert!(s.has("app", "a").await);
    s.collect(rules(300 + 14 * 24)).await;
    assert!(!s.has("app", "a").await);
}

/// A manifest does not expire before its lease ends, however short the setting.
pub async fn a_leased_manifest_does_not_expire(s: &Scene) {
    s.put("app", image("a"), 0).await;
    s.head_manifest("app", "a", 20).await;
    let at_once = |hours| CollectionRules { untagged: Some(scene::HOUR), ..rules(hours) };
    s.collect(at_once(43)).await;
    assert!(s.has("app", "a").await);
    s.collect(at_once(80)).await;
    assert!(!s.has("app", "a").await);
}

/// With `keep`, untagged manifests are kept forever. If the setting changes later, they expire.
pub async fn untagged_manifests_can_be_kept(s: &Scene) {
    s.put("app", image("a"), 0).await;
    s.collect(CollectionRules { untagged: None, ..rules(9000) }).await;
    assert!(s.has("app", "a").await);
    s.collect(rules(9000)).await;
    assert!(!s.has("app", "a").await);
}

/// Tags, indexes and subjects keep manifests alive, also after the review.
pub async fn referenced_manifests_do_not_expire(s: &Scene) {
    s.put("app", image("child"), 0).await;
    s.put("app", image("index").child("child").tag("v1"), 0).await;
    s.put("app", image("referrer").subject("index"), 0).await;
    s.collect(rules(9000)).await;
    assert!(s.has("app", "child").await && s.has("app", "index").await && s.has("app", "referrer").await);
}

/// An index that expires takes its child along through the trash.
pub async fn an_untagged_index_expires_with_its_children(s: &Scene) {
    s.put("app", image("child"), 0).await;
    s.put("app", image("index").child("child"), 0).await;
    for hours in [14 * 24, 15 * 24, 17 * 24] {
        s.collect(rules(hours)).await;
    }
    assert_eq!(s.store.totals().await.expect("totals").manifests, 0);
}

/// A step reads no more than its limit and reports that more is waiting.
pub async fn batch_is_limited(s: &Scene) {
    for number in 0..5 {
        s.push("app", &format!("b{number}"), 0).await;
    }
    let batch = s.store.review_links(&rules(100), 2).await.expect("reviewed");
    assert_eq!((batch.changed, batch.more), (2, true));
    let batch = s.store.review_links(&rules(100), 10).await.expect("reviewed");
    assert_eq!((batch.changed, batch.more), (3, false));
}

/// Postponed reviews do not block reviews that are due.
pub async fn postponed_reviews_do_not_block_others(s: &Scene) {
    for number in 0..5 {
        s.push("kept", &format!("k{number}"), 0).await;
    }
    s.start_upload("kept", 1).await;
    s.push("app", "layer", 2).await;
    s.collect_in_batches(rules(100), 1).await;
    assert!(!s.is_stored("layer").await);
    assert!(s.has_blob("kept", "k0").await);
}

/// A dry run changes nothing and reports what the real run then removes.
pub async fn a_dry_run_equals_the_real_run(s: &Scene) {
    s.push("app", "kept", 0).await;
    s.put("app", image("a").blob("kept").tag("v1"), 0).await;
    s.push("app", "loose", 0).await;
    s.push("app", "trashed", 0).await;
    s.put("app", image("gone").blob("trashed"), 0).await;
    s.delete("app", "gone", 1).await;
    s.put("app", image("untagged"), 0).await;
    let later = rules(14 * 24);
    let before = s.store.totals().await.expect("totals");
    let expected =
        Garbage { manifests_expired: 1, manifests_purged: 1, links: 2, blobs: 2, bytes: 2 * scene::SIZE };
    assert_eq!(s.store.dry_run(&later).await.expect("a dry run"), expected);
    assert_eq!(s.store.dry_run(&later).await.expect("a dry run"), expected);
    assert_eq!(s.store.totals().await.expect("totals"), before);
    assert!(s.has("app", "untagged").await && s.has_blob("app", "loose").await);
    assert_eq!(s.pending_deletions().await, []);
    assert_eq!(s.collect(later).await, 2);
    assert_eq!(s.pending_deletions().await.len(), 2);
    assert_eq!(s.store.dry_run(&later).await.expect("a dry run").links, 0);
}

/// A longer lease keeps what still exists.
pub async fn a_longer_lease_takes_effect_at_once(s: &Scene) {
    s.push("app", "layer", 0).await;
    s.collect(CollectionRules { lease: 10 * DAY, ..rules(100) }).await;
    assert!(s.has_blob("app", "layer").await);
    s.collect(rules(300)).await;
    assert!(!s.has_blob("app", "layer").await);
}
