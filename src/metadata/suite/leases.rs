//! Leases: objects that a client has checked for stay for the manifest that may follow.

use super::scene::DAY;
use super::*;
use crate::metadata::Target;

async fn blob_lease(s: &Scene) -> Option<i64> {
    s.blob("app", "layer").await.map(|blob| (blob.leased_at.0 - at(0).0) / 3_600_000)
}

async fn manifest_lease(s: &Scene, name: &str) -> Option<i64> {
    s.manifest("app", name).await.map(|found| (found.leased_at.0 - at(0).0) / 3_600_000)
}

/// A HEAD request renews a lease, but not a recent one.
pub async fn a_lease_is_renewed_when_it_is_stale(s: &Scene) {
    s.push("app", "layer", 0).await;
    assert!(s.head_blob("app", "layer", 1).await);
    assert_eq!(blob_lease(s).await, Some(0));
    assert!(s.head_blob("app", "layer", 3).await);
    assert_eq!(blob_lease(s).await, Some(3));
}

/// A blob that a live manifest references needs no lease.
pub async fn referenced_blob_needs_no_lease(s: &Scene) {
    s.push("app", "layer", 0).await;
    s.put("app", image("a").blob("layer"), 0).await;
    assert!(s.head_blob("app", "layer", 9).await);
    assert_eq!(blob_lease(s).await, Some(0));
    s.delete("app", "a", 10).await;
    assert!(s.head_blob("app", "layer", 11).await);
    assert_eq!(blob_lease(s).await, Some(11));
}

/// A manifest is leased like a blob, unless an index lists it. A tag is not enough, because it may expire and
/// the manifest with it.
pub async fn manifest_is_leased_unless_an_index_lists_it(s: &Scene) {
    s.put("app", image("loose"), 0).await;
    s.put("app", image("child"), 0).await;
    s.put("app", image("index").child("child").tag("v1"), 0).await;
    for name in ["loose", "child", "index"] {
        assert!(s.head_manifest("app", name, 9).await);
    }
    assert_eq!(manifest_lease(s, "loose").await, Some(9));
    assert_eq!(manifest_lease(s, "child").await, Some(0));
    assert_eq!(manifest_lease(s, "index").await, Some(9));
}

/// Renewing the lease reports whether the target has been removed meanwhile.
pub async fn absent_targets_are_not_leased(s: &Scene) {
    assert!(!s.head_blob("app", "layer", 1).await);
    s.push("other", "layer", 1).await;
    assert!(!s.head_blob("app", "layer", 1).await);
    assert!(!s.head_manifest("other", "layer", 1).await);
}

/// A lease keeps an unreferenced blob, and no longer than its duration.
pub async fn unreferenced_blob_is_collected_after_its_lease(s: &Scene) {
    s.push("app", "layer", 0).await;
    s.start_upload("elsewhere", 0).await;
    s.collect(rules(23)).await;
    assert!(s.has_blob("app", "layer").await);
    s.collect(rules(100)).await;
    assert!(!s.has_blob("app", "layer").await);
}

/// A lease that is renewed in time keeps the blob longer.
pub async fn renewed_lease_keeps_a_blob(s: &Scene) {
    s.push("app", "layer", 0).await;
    s.head_blob("app", "layer", 40).await;
    s.collect(rules(63)).await;
    assert!(s.has_blob("app", "layer").await);
    s.collect(rules(100)).await;
    assert!(!s.is_stored("layer").await);
}

/// An open upload keeps everything that was leased when it began, however long it takes.
pub async fn an_open_upload_extends_leases(s: &Scene) {
    s.push("app", "layer", 0).await;
    let id = s.start_upload("app", 20).await;
    s.collect(rules(500)).await;
    assert!(s.has_blob("app", "layer").await);
    let (_, committed) = s.commit(id, "big", 500).await;
    assert!(committed);
    s.collect(rules(523)).await;
    s.put("app", image("a").blob("layer").blob("big").tag("v1"), 523).await;
}

/// The extension ends one lease after the upload.
pub async fn the_extension_ends_with_a_lease(s: &Scene) {
    s.push("app", "layer", 0).await;
    let id = s.start_upload("app", 20).await;
    assert!(s.cancel(id, 100).await);
    s.collect(rules(123)).await;
    assert!(s.has_blob("app", "layer").await);
    s.collect(rules(140)).await;
    assert!(!s.has_blob("app", "layer").await);
}

/// An upload that began after the lease ended extends nothing, and extensions do not chain.
pub async fn a_later_upload_extends_nothing(s: &Scene) {
    s.push("app", "layer", 0).await;
    let first = s.start_upload("app", 20).await;
    assert!(s.cancel(first, 40).await);
    s.start_upload("app", 50).await;
    s.collect(rules(63)).await;
    assert!(s.has_blob("app", "layer").await);
    s.collect(rules(80)).await;
    assert!(!s.has_blob("app", "layer").await);
}

/// Uploads to another repository extend nothing here.
pub async fn an_upload_elsewhere_extends_nothing(s: &Scene) {
    s.push("app", "layer", 0).await;
    s.start_upload("other", 1).await;
    s.collect(rules(60)).await;
    assert!(!s.has_blob("app", "layer").await);
}

/// A push of many layers takes more than a day, each upload is short, and its first layer still exists at the
/// end.
pub async fn a_push_of_short_uploads_may_take_longer_than_a_lease(s: &Scene) {
    let mut put = image("a").tag("v1");
    for hours in 0..30 {
        let name = format!("layer{hours}");
        let id = s.start_upload("app", hours).await;
        let (_, committed) = s.commit(id, &name, hours + 1).await;
        assert!(committed);
        s.collect(rules(hours + 1)).await;
        put = put.blob(&name);
    }
    s.put("app", put, 31).await;
}

/// A changed setting applies from the next step on.
pub async fn a_changed_lease_takes_effect_at_once(s: &Scene) {
    s.push("app", "layer", 0).await;
    s.collect(rules(20)).await;
    let shorter = crate::metadata::CollectionRules { lease: DAY / 24, ..rules(20) };
    s.collect(shorter).await;
    assert!(!s.has_blob("app", "layer").await);
}

/// If leases on referenced blobs are recorded, a purge grants none: only blobs that a client has checked for
/// stay.
pub async fn purge_grants_no_lease_if_all_leases_are_recorded(s: &Scene) {
    for name in ["checked", "unchecked"] {
        s.push("app", name, 0).await;
    }
    s.put("app", image("a").blob("checked").blob("unchecked").tag("v1"), 0).await;
    assert!(s.head("app", Target::Blob(&digest("checked")), 40, true).await);
    assert_eq!(s.blob("app", "checked").await.map(|blob| blob.leased_at), Some(at(40)));
    s.delete("app", "a", 41).await;
    let rules_with_recorded_leases = crate::metadata::CollectionRules {
        leases_recorded_since: Some(at(0)),
        trash: scene::HOUR,
        ..rules(50)
    };
    s.collect(rules_with_recorded_leases).await;
    assert!(s.has_blob("app", "checked").await);
    assert!(!s.has_blob("app", "unchecked").await);
}

/// Uploads that ended long ago extend the usual leases, whatever the shortest lease is, and are soon merged
/// into a few rows.
pub async fn ended_uploads_are_merged(s: &Scene) {
    s.push("app", "layer", 0).await;
    for hours in 1..20 {
        let id = s.start_upload("app", hours).await;
        let end = crate::metadata::UploadEnd { now: at(hours), lease: DAY, min_lease: scene::HOUR };
        assert!(s.store.cancel_upload(id, None, end).await.expect("an answer"));
    }
    s.collect(rules(42)).await;
    assert!(s.has_blob("app", "layer").await, "the last upload that began within the lease extends it");
    s.collect(rules(50)).await;
    assert!(!s.has_blob("app", "layer").await);
}
