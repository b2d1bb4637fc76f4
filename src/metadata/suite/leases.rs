//! Leases: what was promised to be there stays for the manifest that may follow.

use super::scene::DAY;
use super::*;
use crate::metadata::Target;

async fn blob_lease(s: &Scene) -> Option<i64> {
    s.blob("app", "layer").await.map(|blob| (blob.leased_at.0 - at(0).0) / 3_600_000)
}

async fn manifest_lease(s: &Scene, name: &str) -> Option<i64> {
    s.manifest("app", name).await.map(|found| (found.leased_at.0 - at(0).0) / 3_600_000)
}

/// A HEAD renews, but not what is still young.
pub async fn a_lease_is_renewed_when_it_is_stale(s: &Scene) {
    s.push("app", "layer", 0).await;
    assert!(s.head_blob("app", "layer", 1).await);
    assert_eq!(blob_lease(s).await, Some(0));
    assert!(s.head_blob("app", "layer", 3).await);
    assert_eq!(blob_lease(s).await, Some(3));
}

/// What a live manifest holds needs no lease.
pub async fn a_held_blob_needs_no_lease(s: &Scene) {
    s.push("app", "layer", 0).await;
    s.put("app", image("a").blob("layer"), 0).await;
    assert!(s.head_blob("app", "layer", 9).await);
    assert_eq!(blob_lease(s).await, Some(0));
    s.delete("app", "a", 10).await;
    assert!(s.head_blob("app", "layer", 11).await);
    assert_eq!(blob_lease(s).await, Some(11));
}

/// A manifest is leased like a blob, unless an index holds it: a tag may expire, and the manifest with it.
pub async fn a_manifest_is_leased_unless_it_is_held(s: &Scene) {
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

/// Whoever was told that something is there hears when it has gone meanwhile.
pub async fn nothing_absent_is_leased(s: &Scene) {
    assert!(!s.head_blob("app", "layer", 1).await);
    s.push("other", "layer", 1).await;
    assert!(!s.head_blob("app", "layer", 1).await);
    assert!(!s.head_manifest("other", "layer", 1).await);
}

/// A lease keeps what nothing holds, and no longer.
pub async fn a_lease_ends(s: &Scene) {
    s.push("app", "layer", 0).await;
    s.begin("elsewhere", 0).await;
    s.collect(rules(23)).await;
    assert!(s.has_blob("app", "layer").await);
    s.collect(rules(100)).await;
    assert!(!s.has_blob("app", "layer").await);
}

/// A lease renewed in time keeps it longer.
pub async fn a_renewed_lease_keeps(s: &Scene) {
    s.push("app", "layer", 0).await;
    s.head_blob("app", "layer", 40).await;
    s.collect(rules(63)).await;
    assert!(s.has_blob("app", "layer").await);
    s.collect(rules(100)).await;
    assert!(!s.is_stored("layer").await);
}

/// An open upload keeps what was leased when it began, however long it takes.
pub async fn an_open_upload_extends_leases(s: &Scene) {
    s.push("app", "layer", 0).await;
    let id = s.begin("app", 20).await;
    s.collect(rules(500)).await;
    assert!(s.has_blob("app", "layer").await);
    let (_, committed) = s.commit(id, "big", 500).await;
    assert!(committed);
    s.collect(rules(523)).await;
    s.put("app", image("a").blob("layer").blob("big").tag("v1"), 523).await;
}

/// After the upload's end its extension ends a lease later.
pub async fn the_extension_ends_with_a_lease(s: &Scene) {
    s.push("app", "layer", 0).await;
    let id = s.begin("app", 20).await;
    assert!(s.cancel(id, 100).await);
    s.collect(rules(123)).await;
    assert!(s.has_blob("app", "layer").await);
    s.collect(rules(140)).await;
    assert!(!s.has_blob("app", "layer").await);
}

/// An upload that began after the lease's end extends nothing, and extensions do not chain.
pub async fn a_later_upload_extends_nothing(s: &Scene) {
    s.push("app", "layer", 0).await;
    let first = s.begin("app", 20).await;
    assert!(s.cancel(first, 40).await);
    s.begin("app", 50).await;
    s.collect(rules(63)).await;
    assert!(s.has_blob("app", "layer").await);
    s.collect(rules(80)).await;
    assert!(!s.has_blob("app", "layer").await);
}

/// Another repository's uploads extend nothing here.
pub async fn an_upload_elsewhere_extends_nothing(s: &Scene) {
    s.push("app", "layer", 0).await;
    s.begin("other", 1).await;
    s.collect(rules(60)).await;
    assert!(!s.has_blob("app", "layer").await);
}

/// A push of many layers that takes more than a day, each upload short, finds its first layer in the end.
pub async fn a_push_of_short_uploads_may_take_longer_than_a_lease(s: &Scene) {
    let mut put = image("a").tag("v1");
    for hours in 0..30 {
        let name = format!("layer{hours}");
        let id = s.begin("app", hours).await;
        let (_, committed) = s.commit(id, &name, hours + 1).await;
        assert!(committed);
        s.collect(rules(hours + 1)).await;
        put = put.blob(&name);
    }
    s.put("app", put, 31).await;
}

/// A changed setting counts from the next look on.
pub async fn a_changed_lease_takes_effect_at_once(s: &Scene) {
    s.push("app", "layer", 0).await;
    s.collect(rules(20)).await;
    let shorter = crate::metadata::CollectionRules { lease: DAY / 24, ..rules(20) };
    s.collect(shorter).await;
    assert!(!s.has_blob("app", "layer").await);
}

/// Where leases of what is held are written down, a purge leases nothing: only what was told stays.
pub async fn a_purge_leases_nothing_where_every_lease_is_written_down(s: &Scene) {
    for name in ["told", "untold"] {
        s.push("app", name, 0).await;
    }
    s.put("app", image("a").blob("told").blob("untold").tag("v1"), 0).await;
    assert!(s.head("app", Target::Blob(&digest("told")), 40, true).await);
    assert_eq!(s.blob("app", "told").await.map(|blob| blob.leased_at), Some(at(40)));
    s.delete("app", "a", 41).await;
    let told = crate::metadata::CollectionRules {
        leases_recorded_since: Some(at(0)),
        trash: scene::HOUR,
        ..rules(50)
    };
    s.collect(told).await;
    assert!(s.has_blob("app", "told").await);
    assert!(!s.has_blob("app", "untold").await);
}

/// Uploads that ended long ago extend the usual leases, whatever the shortest is, and are soon a few rows.
pub async fn past_uploads_are_put_together(s: &Scene) {
    s.push("app", "layer", 0).await;
    for hours in 1..20 {
        let id = s.begin("app", hours).await;
        let end = crate::metadata::UploadEnd { now: at(hours), lease: DAY, shortest: scene::HOUR };
        assert!(s.store.cancel_upload(id, None, end).await.expect("an answer"));
    }
    s.collect(rules(42)).await;
    assert!(s.has_blob("app", "layer").await, "the last one that began within the lease extends it");
    s.collect(rules(50)).await;
    assert!(!s.has_blob("app", "layer").await);
}
