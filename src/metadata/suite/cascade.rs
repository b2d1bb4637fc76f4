//! Children, referrers and blobs that follow the manifests that kept them alive.

use super::scene::DAY;
use super::*;
use crate::metadata::CollectionRules;

async fn push_index(s: &Scene) {
    s.push("app", "layer", 0).await;
    s.put("app", image("child").blob("layer"), 0).await;
    s.put("app", image("index").child("child").tag("v1"), 0).await;
}

/// Children stay until the purge and are removed with it. Their blobs follow one lease later, because until
/// then clients could see them as referenced.
pub async fn children_follow_their_index(s: &Scene) {
    push_index(s).await;
    s.delete("app", "index", 100).await;
    s.collect(rules(123)).await;
    assert!(s.has("app", "child").await);
    s.collect(rules(125)).await;
    assert!(!s.has("app", "child").await);
    s.collect(rules(150)).await;
    assert!(!s.is_stored("layer").await);
    assert_eq!(s.store.totals().await.expect("totals").manifests, 0);
}

/// While a child references a blob, the blob needs no lease. The purge of the child must therefore grant one.
pub async fn blobs_of_a_purged_child_are_leased(s: &Scene) {
    push_index(s).await;
    s.delete("app", "index", 100).await;
    assert!(s.head_blob("app", "layer", 124).await);
    s.collect(rules(125)).await;
    s.put("app", image("new").blob("layer").tag("v2"), 126).await;
}

/// A tag keeps a child alive.
pub async fn a_tagged_child_stays(s: &Scene) {
    push_index(s).await;
    s.delete("app", "index", 100).await;
    s.put("app", image("child").blob("layer").tag("saved"), 101).await;
    s.collect(rules(5000)).await;
    assert!(s.has("app", "child").await && s.has_blob("app", "layer").await);
}

/// Another index does, too.
pub async fn a_child_of_another_index_stays(s: &Scene) {
    push_index(s).await;
    s.put("app", image("other").child("child").tag("v2"), 1).await;
    s.delete("app", "index", 100).await;
    s.collect(rules(5000)).await;
    assert!(s.has("app", "child").await && s.has_blob("app", "layer").await);
    s.delete("app", "other", 5000).await;
    s.collect(rules(5030)).await;
    s.collect(rules(5100)).await;
    assert!(!s.has("app", "child").await && !s.is_stored("layer").await);
}

/// A lease keeps a child as long as it runs, and no longer.
pub async fn a_leased_child_follows_when_its_lease_ends(s: &Scene) {
    push_index(s).await;
    s.delete("app", "index", 100).await;
    assert!(s.head_manifest("app", "child", 120).await);
    s.collect(rules(143)).await;
    assert!(s.has("app", "child").await);
    s.collect(rules(160)).await;
    assert!(!s.has("app", "child").await);
}

/// With a lease longer than the trash time, children follow when the lease ends, not weeks later.
pub async fn children_follow_also_when_leases_outlast_the_trash(s: &Scene) {
    push_index(s).await;
    s.delete("app", "index", 100).await;
    let short_trash = |hours| CollectionRules { trash: scene::HOUR, ..rules(hours) };
    s.collect(short_trash(102)).await;
    assert!(s.has("app", "child").await);
    s.collect(short_trash(130)).await;
    assert!(!s.has("app", "child").await);
    s.collect(short_trash(200)).await;
    assert!(!s.is_stored("layer").await);
}

/// Also in a repository with constant uploads.
pub async fn children_follow_in_a_busy_repository(s: &Scene) {
    push_index(s).await;
    s.delete("app", "index", 100).await;
    let upload = s.start_upload("app", 123).await;
    s.collect(rules(125)).await;
    assert!(s.cancel(upload, 126).await);
    s.collect(rules(190)).await;
    s.collect(rules(250)).await;
    assert!(!s.has("app", "child").await && !s.is_stored("layer").await);
}

/// A child that was pushed again after its index was removed is kept as long as any untagged manifest.
pub async fn child_pushed_again_is_kept_as_untagged(s: &Scene) {
    push_index(s).await;
    s.delete("app", "index", 100).await;
    s.put("app", image("child").blob("layer"), 101).await;
    s.collect(rules(160)).await;
    s.collect(rules(300)).await;
    assert!(s.has("app", "child").await && s.has_blob("app", "layer").await);
    s.collect(rules(101 + 14 * 24 + 1)).await;
    assert!(!s.has("app", "child").await);
}

/// The same for a child that the purge had orphaned already.
pub async fn orphan_pushed_again_is_kept_as_untagged(s: &Scene) {
    push_index(s).await;
    s.delete("app", "index", 100).await;
    let short_trash = |hours| CollectionRules { trash: scene::HOUR, ..rules(hours) };
    s.collect(short_trash(102)).await;
    s.put("app", image("child").blob("layer"), 103).await;
    s.collect(short_trash(160)).await;
    assert!(s.has("app", "child").await && s.has_blob("app", "layer").await);
}

/// Events at the same time are still ordered.
pub async fn child_follows_an_index_removed_after_its_tag(s: &Scene) {
    push_index(s).await;
    s.put("app", image("child").blob("layer").tag("child"), 100).await;
    assert!(s.untag("app", "child", 100).await);
    s.delete("app", "index", 100).await;
    s.collect(rules(125)).await;
    assert!(!s.has("app", "child").await);
}

/// The same for a push at the time of the removal, even if the clock has gone back meanwhile.
pub async fn child_pushed_at_the_time_of_removal_is_kept_as_untagged(s: &Scene) {
    push_index(s).await;
    s.put("app", image("referrer").subject("index"), 0).await;
    s.delete("app", "index", 100).await;
    s.put("app", image("child").blob("layer"), 100).await;
    s.put("app", image("referrer").subject("index"), 99).await;
    for hours in [125, 160, 300] {
        s.collect(rules(hours)).await;
        assert!(s.has("app", "child").await && s.has("app", "referrer").await);
    }
}

/// The same for a child whose tag moved after the index was removed.
pub async fn a_child_that_lost_its_tag_later_is_kept_as_untagged(s: &Scene) {
    push_index(s).await;
    s.put("app", image("child").blob("layer").tag("latest"), 1).await;
    s.delete("app", "index", 100).await;
    s.put("app", image("new").tag("latest"), 110).await;
    s.collect(rules(160)).await;
    assert!(s.has("app", "child").await);
    s.collect(rules(110 + 14 * 24 + 30)).await;
    assert!(!s.has("app", "child").await);
}

/// A referrer lives as long as its subject. The same holds for referrers of referrers.
pub async fn referrers_follow_their_subject(s: &Scene) {
    s.push("app", "sbom", 0).await;
    s.put("app", image("subject").tag("v1"), 0).await;
    s.put("app", image("referrer").subject("subject").blob("sbom"), 0).await;
    s.put("app", image("signature").subject("referrer"), 0).await;
    s.collect(rules(5000)).await;
    assert!(s.has("app", "referrer").await && s.has("app", "signature").await);
    s.delete("app", "subject", 5000).await;
    for hours in [5023, 5030, 5060, 5100] {
        s.collect(rules(hours)).await;
        assert_eq!(s.has("app", "referrer").await, hours == 5023);
    }
    assert!(!s.has("app", "signature").await && !s.is_stored("sbom").await);
}

/// A tag keeps a referrer alive.
pub async fn a_tagged_referrer_stays(s: &Scene) {
    s.put("app", image("subject").tag("v1"), 0).await;
    s.put("app", image("referrer").subject("subject").tag("sha256-x.sig"), 0).await;
    s.delete("app", "subject", 1).await;
    s.collect(rules(5000)).await;
    assert!(s.has("app", "referrer").await);
}

/// Many referrers follow in small batches.
pub async fn many_referrers_follow_in_batches(s: &Scene) {
    s.put("app", image("subject").tag("v1"), 0).await;
    for number in 0..9 {
        s.put("app", image(&format!("r{number}")).subject("subject"), 0).await;
    }
    s.delete("app", "subject", 1).await;
    s.store.expire_trash(&rules(100), 10).await.expect("expired");
    let batch = s.store.purge_manifests(&rules(100), 2).await.expect("purged");
    assert!(batch.more);
    let live = s.store.referrers(&repo("app"), &digest("subject"), None, None, 100).await.expect("listed");
    assert!(live.len() >= 6, "one batch released {} referrers", 9 - live.len());
    s.collect_in_batches(rules(100), 2).await;
    assert_eq!(s.store.totals().await.expect("totals").manifests, 0);
}

/// A purge leases released blobs from the time of the removal on, because until then clients saw them as
/// referenced.
pub async fn purge_leases_released_blobs(s: &Scene) {
    s.push("app", "layer", 0).await;
    s.put("app", image("a").blob("layer"), 0).await;
    assert!(s.head_blob("app", "layer", 99).await);
    s.delete("app", "a", 100).await;
    let short_trash = |hours| CollectionRules { trash: scene::HOUR, ..rules(hours) };
    s.collect(short_trash(102)).await;
    assert_eq!(s.blob("app", "layer").await.map(|blob| blob.leased_at), Some(at(100)));
    s.collect(short_trash(123)).await;
    s.put("app", image("b").blob("layer").tag("v1"), 123).await;
}

/// An index may list blobs as its children, as BuildKit's caches do.
pub async fn index_keeps_the_blobs_it_lists(s: &Scene) {
    s.push("app", "cache", 0).await;
    s.put("app", image("index").blob("cache").tag("cache"), 0).await;
    s.collect(rules(5000)).await;
    assert!(s.has_blob("app", "cache").await);
    s.delete("app", "index", 5000).await;
    s.collect(rules(5100)).await;
    assert!(!s.is_stored("cache").await);
}

/// An index whose subject is one of its own children does not keep itself alive.
pub async fn an_index_about_its_own_child_is_collected(s: &Scene) {
    s.put("app", image("child"), 0).await;
    s.put("app", image("index").child("child").subject("child").tag("v1"), 0).await;
    s.collect(rules(5000)).await;
    assert!(s.has("app", "index").await && s.has("app", "child").await);
    assert!(s.untag("app", "v1", 5000).await);
    for hours in (5000..7000).step_by(100) {
        s.collect(rules(hours)).await;
    }
    assert_eq!(s.store.totals().await.expect("totals").manifests, 0);
}

/// While the child is tagged, the index lives like any referrer. Without the tag both are collected.
pub async fn an_index_about_its_own_tagged_child_stays(s: &Scene) {
    s.put("app", image("child").tag("v1"), 0).await;
    s.put("app", image("index").child("child").subject("child"), 0).await;
    s.collect(rules(5000)).await;
    assert!(s.has("app", "index").await && s.has("app", "child").await);
    assert!(s.untag("app", "v1", 5000).await);
    for hours in (5000..7000).step_by(100) {
        s.collect(rules(hours)).await;
    }
    assert_eq!(s.store.totals().await.expect("totals").manifests, 0);
}

/// Keeping untagged manifests forever does not keep what a user deleted.
pub async fn children_follow_also_where_untagged_manifests_are_kept(s: &Scene) {
    push_index(s).await;
    s.put("app", image("loose"), 0).await;
    s.delete("app", "index", 100).await;
    for hours in [200, 300, 9000] {
        s.collect(CollectionRules { untagged: None, trash: DAY, ..rules(hours) }).await;
    }
    assert!(!s.has("app", "child").await && s.has("app", "loose").await);
}
