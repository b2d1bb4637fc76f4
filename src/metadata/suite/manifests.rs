//! Manifests and tags.

use super::scene::SIZE;
use super::*;
use crate::metadata::{Deletion, EdgeKind, PutOutcome, WrongSize};

/// A manifest is served as it was pushed, by its digest and its tags.
pub async fn a_manifest_is_served_by_digest_and_tag(s: &Scene) {
    s.put("app", image("a").tag("v1").tag("latest"), 1).await;
    let by_digest = s.manifest("app", "a").await.expect("by digest");
    let by_tag = s.tagged("app", "latest").await.expect("by tag");
    assert_eq!(by_digest.content.as_ref(), b"a");
    assert_eq!(by_digest.media_type, "application/vnd.oci.image.manifest.v1+json");
    assert_eq!((by_digest.tagged_at, by_tag.tagged_at), (None, Some(at(1))));
    assert_eq!(by_tag.content, by_digest.content);
    assert!(!s.has("other", "a").await);
    assert_eq!(s.tagged("app", "v2").await, None);
}

/// All missing targets are reported with their kinds, and nothing is stored.
pub async fn missing_targets_are_reported(s: &Scene) {
    s.push("app", "there", 1).await;
    let put = image("a").blob("there").blob("config").child("b").subject("s").foreign_blob("f").tag("v1");
    let missing = vec![(digest("config"), EdgeKind::Blob), (digest("b"), EdgeKind::Child)];
    assert_eq!(s.try_put("app", put, 1).await, PutOutcome::Missing(missing));
    assert!(!s.has("app", "a").await);
    assert_eq!(s.tagged("app", "v1").await, None);
}

/// The size is compared if the target exists, required or not. Missing targets are reported first.
pub async fn target_size_must_match(s: &Scene) {
    s.push("app", "layer", 1).await;
    s.put("app", image("child"), 1).await;
    s.put("app", image("a").blob("layer").foreign_blob("far").sparse_child("away").sized(SIZE), 1).await;
    s.put("app", image("b").child("child").sized(5), 1).await;
    let wrong = |name: &str, claimed, actual| {
        PutOutcome::WrongSize(WrongSize { digest: digest(name), claimed, actual })
    };
    assert_eq!(s.try_put("app", image("c").blob("layer").sized(9), 1).await, wrong("layer", 9, SIZE));
    for put in [image("c").child("child"), image("c").sparse_child("child")] {
        assert_eq!(s.try_put("app", put.sized(6), 1).await, wrong("child", 6, 5));
    }
    let put = image("c").blob("layer").blob("gone").sized(9);
    assert!(matches!(s.try_put("app", put, 1).await, PutOutcome::Missing(_)));
    assert!(!s.has("app", "c").await);
    s.put("app", image("c").blob("layer").child("child"), 1).await;
    // A manifest that was accepted once is accepted again.
    s.put("app", image("c").blob("layer").child("child").sized(9).tag("v1"), 2).await;
    s.delete("app", "c", 3).await;
    s.put("app", image("c").blob("layer").child("child").sized(9), 4).await;
}

/// All references are checked and recorded, however many there are.
pub async fn many_references_are_checked_and_recorded(s: &Scene) {
    s.push("app", "layer", 1).await;
    s.put("app", image("child"), 1).await;
    let put = || {
        let names = (0..400).map(|number| format!("far {number}"));
        let put =
            names.fold(image("a").blob("layer"), |put, name| put.foreign_blob(&name).sparse_child(&name));
        put.blob("layer").child("child").subject("layer")
    };
    let last = put().blob("gone");
    let missing = PutOutcome::Missing(vec![(digest("gone"), EdgeKind::Blob)]);
    assert_eq!(s.try_put("app", last, 1).await, missing);
    s.put("app", put(), 1).await;
    let stored = s.store.manifests_after(0, 10).await.expect("read");
    let stored = stored.iter().find(|stored| stored.digest == digest("a")).expect("stored");
    let edges = s.store.edges_of(stored.id).await.expect("read");
    let count = |kind| edges.iter().filter(|edge| edge.kind == kind).count();
    assert_eq!([EdgeKind::Blob, EdgeKind::Child, EdgeKind::Subject].map(count), [401, 401, 1]);
}

/// A blob is not a child, a manifest is not a blob, and content of another repository does not count.
pub async fn target_must_match_kind_and_repository(s: &Scene) {
    s.push("app", "x", 1).await;
    s.put("app", image("m"), 1).await;
    for put in [image("a").child("x"), image("a").blob("m")] {
        assert!(matches!(s.try_put("app", put, 2).await, PutOutcome::Missing(_)));
    }
    assert!(matches!(s.try_put("other", image("a").blob("x"), 2).await, PutOutcome::Missing(_)));
    assert!(matches!(s.try_put("other", image("a").child("m"), 2).await, PutOutcome::Missing(_)));
    s.put("app", image("a").blob("x").child("m"), 2).await;
}

/// Subjects and foreign layers may be absent.
pub async fn an_absent_subject_is_accepted(s: &Scene) {
    s.put("app", image("a").subject("nowhere").foreign_blob("far"), 1).await;
    assert!(s.has("app", "a").await);
}

/// A push moves the tag from its earlier manifest.
pub async fn a_tag_moves(s: &Scene) {
    s.put("app", image("a").tag("latest"), 1).await;
    s.put("app", image("b").tag("latest"), 2).await;
    assert_eq!(s.tagged("app", "latest").await.map(|found| found.digest), Some(digest("b")));
    assert!(s.has("app", "a").await);
}

/// Removing a tag leaves the manifest and its other tags.
pub async fn a_tag_is_removed_alone(s: &Scene) {
    s.put("app", image("a").tag("v1").tag("v2"), 1).await;
    assert!(s.untag("app", "v1", 2).await);
    assert!(!s.untag("app", "v1", 2).await);
    assert!(!s.untag("unheard-of", "v1", 2).await);
    assert_eq!(s.tagged("app", "v1").await, None);
    assert!(s.tagged("app", "v2").await.is_some());
}

/// A manifest is removed with all its tags at once.
pub async fn deleting_a_manifest_removes_its_tags(s: &Scene) {
    s.put("app", image("a").tag("v1").tag("v2"), 1).await;
    s.put("app", image("b").tag("v3"), 1).await;
    assert_eq!(s.delete("app", "a", 2).await, Deletion::Done);
    assert!(!s.has("app", "a").await);
    assert_eq!(s.tagged("app", "v1").await, None);
    assert!(s.tagged("app", "v3").await.is_some());
    assert_eq!(s.delete("app", "a", 2).await, Deletion::Unknown);
    assert!(!s.head_manifest("app", "a", 2).await);
}

/// A live index keeps its children from being deleted; one in the trash does not.
pub async fn a_child_of_a_live_index_is_not_deleted(s: &Scene) {
    s.put("app", image("child"), 1).await;
    s.put("app", image("index").child("child").tag("v1"), 1).await;
    assert_eq!(s.delete("app", "child", 2).await, Deletion::HeldBy(digest("index")));
    assert!(s.has("app", "child").await);
    s.delete("app", "index", 3).await;
    assert_eq!(s.delete("app", "child", 3).await, Deletion::Done);
}

/// A subject can be deleted while it has referrers.
pub async fn a_subject_is_deleted_beneath_its_referrers(s: &Scene) {
    s.put("app", image("subject").tag("v1"), 1).await;
    s.put("app", image("referrer").subject("subject"), 1).await;
    assert_eq!(s.delete("app", "subject", 2).await, Deletion::Done);
    assert!(s.has("app", "referrer").await);
}

/// Pushing again adds nothing twice and renews the lease.
pub async fn pushing_again_is_idempotent(s: &Scene) {
    s.push("app", "layer", 1).await;
    let put = || image("a").blob("layer").subject("s").tag("v1");
    s.put("app", put(), 1).await;
    s.put("app", put().tag("v2"), 2).await;
    assert_eq!(s.manifest("app", "a").await.map(|found| found.leased_at), Some(at(2)));
    assert_eq!(s.store.totals().await.expect("totals").manifests, 1);
    assert_eq!(s.store.tags(&repo("app"), None, 10).await.expect("tags"), Some(vec![tag("v1"), tag("v2")]));
    let referrers = s.store.referrers(&repo("app"), &digest("s"), None, None, 10).await.expect("referrers");
    assert_eq!(referrers.len(), 1);
    s.delete("app", "a", 3).await;
    s.collect(rules(1000)).await;
    assert!(!s.is_stored("layer").await);
}

/// Pushing again checks all targets and fails if one is quarantined.
pub async fn pushing_again_checks_targets_again(s: &Scene) {
    let key = s.push("app", "layer", 1).await;
    s.put("app", image("a").blob("layer"), 1).await;
    assert!(s.mark(&key, true, 1).await);
    let missing = PutOutcome::Missing(vec![(digest("layer"), EdgeKind::Blob)]);
    assert_eq!(s.try_put("app", image("a").blob("layer"), 2).await, missing);
    assert!(s.has("app", "a").await);
}
