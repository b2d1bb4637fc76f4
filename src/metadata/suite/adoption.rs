//! Adoption of another registry's content.

use super::scene::{ALLOCATED, BLOB, DAY};
use super::*;
use crate::metadata::{
    AdoptManifest, AdoptTag, Adopted, AdoptedBlob, AdoptedTag, AdoptionFigures, AdoptionRecord, Change,
    Deletion, Edge, EdgeKind, ExpiryOutcome, KeptTag, ManifestExpiry, PinEffect, PushedDetails, PutOutcome,
    RemovalEffect, TagExpiry,
};
use crate::oci::{BlobKey, Generation, ImageDetails};

fn key(name: &str) -> BlobKey {
    BlobKey { digest: digest(name), generation: Generation::random() }
}

fn adopted(key: &BlobKey, to: &str) -> AdoptedBlob {
    AdoptedBlob { key: key.clone(), repo: repo(to), size: BLOB, hardlinked: true, verified: false }
}

async fn adopt_blob(s: &Scene, to: &str, name: &str, hours: i64) -> BlobKey {
    let key = key(name);
    assert_eq!(
        s.store.plan_blobs(vec![key.clone()], false).await.expect("planned"),
        std::slice::from_ref(&key)
    );
    let superfluous = s.store.adopt_blobs(vec![adopted(&key, to)], at(hours)).await.expect("adopted");
    assert_eq!(superfluous, []);
    key
}

async fn adopt(s: &Scene, to: &str, name: &str, edges: &[(&str, EdgeKind)], hours: i64) -> Adopted {
    let edge = |(name, kind): &(&str, EdgeKind)| Edge {
        target: digest(name),
        kind: *kind,
        required: *kind != EdgeKind::Subject,
        size: None,
    };
    let manifest = AdoptManifest {
        repo: repo(to),
        digest: digest(name),
        content: name.into(),
        media_type: "application/vnd.oci.image.manifest.v1+json".into(),
        artifact_type: None,
        details: PushedDetails::Own(ImageDetails::default()),
        edges: edges.iter().map(edge).collect(),
        now: at(hours),
    };
    s.store.adopt_manifest(manifest).await.expect("adopted")
}

async fn adopt_tag(s: &Scene, name: &str, to: &str, tagged: i64, hours: i64) -> AdoptedTag {
    adopt_tag_with_history(s, name, to, tagged, hours, &[]).await
}

async fn adopt_tag_with_history(
    s: &Scene,
    name: &str,
    to: &str,
    tagged: i64,
    hours: i64,
    history: &[(&str, i64)],
) -> AdoptedTag {
    let history = history.iter().map(|(name, hours)| (digest(name), at(*hours))).collect();
    let adopted = AdoptTag {
        repo: repo("app"),
        tag: tag(name),
        digest: digest(to),
        tagged_at: at(tagged),
        history,
        change: Change::from(at(hours)),
    };
    s.store.adopt_tag(adopted).await.expect("an answer")
}

/// An image with a layer, adopted at hour 0.
async fn adopt_image(s: &Scene) -> BlobKey {
    let layer = adopt_blob(s, "app", "layer", 0).await;
    assert_eq!(adopt(s, "app", "image", &[("layer", EdgeKind::Blob)], 0).await, Adopted::New);
    layer
}

async fn unverified(s: &Scene) -> Vec<crate::oci::Digest> {
    let found = s.store.next_unverified(None, 10).await.expect("an answer");
    found.into_iter().map(|blob| blob.key.digest).collect()
}

/// A file that is not needed any more becomes a pending deletion.
pub async fn planned_blobs_are_adopted_or_abandoned(s: &Scene) {
    let keys = [key("layer"), key("faster"), key("lost")];
    s.store.plan_blobs(keys.to_vec(), false).await.expect("planned");
    assert_eq!(s.store.adopting_keys().await.expect("read").len(), 3);
    s.assert_consistent().await;
    s.push("app", "faster", 1).await;
    let both = vec![adopted(&keys[0], "app"), adopted(&keys[1], "other")];
    assert_eq!(s.store.adopt_blobs(both, at(1)).await.expect("adopted"), [keys[1].clone()]);
    assert_eq!(s.pending_deletions().await, [keys[1].clone()]);
    assert!(s.has_blob("app", "layer").await && s.has_blob("other", "faster").await);
    s.assert_consistent().await;
    s.store.abandon_adopting().await.expect("abandoned");
    assert!(s.pending_deletions().await.contains(&keys[2]));
    assert_eq!(s.store.adopt_blobs(vec![adopted(&keys[2], "app")], at(1)).await.expect("an answer").len(), 1);
    assert!(!s.is_stored("lost").await);
    assert_eq!(s.store.plan_blobs(vec![key("layer")], true).await.expect("planned"), []);
}

/// A verified copy replaces a quarantined blob; an unverified link does not.
pub async fn a_copy_heals_a_quarantined_blob(s: &Scene) {
    let old = s.push("app", "layer", 0).await;
    s.mark(&old, true, 0).await;
    assert_eq!(s.store.plan_blobs(vec![key("layer")], false).await.expect("planned"), []);
    let new = key("layer");
    s.store.plan_blobs(vec![new.clone()], true).await.expect("planned");
    let copy = AdoptedBlob { hardlinked: false, verified: true, ..adopted(&new, "app") };
    assert_eq!(s.store.adopt_blobs(vec![copy], at(1)).await.expect("adopted"), []);
    assert_eq!(s.blob("app", "layer").await.expect("there").key, new);
    assert_eq!(s.pending_deletions().await, [old]);
    assert_eq!(unverified(s).await, []);
}

/// A second run leaves a blob deleted that a user deleted here.
pub async fn missing_blobs_are_not_linked(s: &Scene) {
    adopt_blob(s, "app", "layer", 0).await;
    let both = vec![digest("layer"), digest("missing")];
    assert_eq!(s.store.adopt_links(&repo("other"), both, at(0)).await.expect("linked").len(), 1);
    assert!(s.has_blob("other", "layer").await && !s.has_blob("other", "missing").await);
    s.delete_blob("other", "layer", 1).await;
    s.store.adopt_links(&repo("other"), vec![digest("layer")], at(2)).await.expect("linked");
    assert!(!s.has_blob("other", "layer").await, "a user deleted it here");
}

/// It is served, but a push may not rely on it before it was hashed. A push of its bytes verifies it too.
pub async fn unverified_blob_is_missing_for_pushes(s: &Scene) {
    let layer = adopt_blob(s, "app", "layer", 0).await;
    let other = adopt_blob(s, "app", "other", 0).await;
    assert!(s.has_blob("app", "layer").await);
    let put = s.try_put("app", image("new").blob("layer"), 1).await;
    assert!(matches!(put, PutOutcome::Missing(_)), "{put:?}");
    let mounted = s.store.mount_blob(&repo("b"), &digest("layer"), Some(&repo("app")), at(1)).await;
    assert_eq!(mounted.expect("an answer"), crate::metadata::Mount::Missing);
    let mounted = s.store.mount_blob(&repo("b"), &digest("layer"), None, at(1)).await;
    assert_eq!(mounted.expect("an answer"), crate::metadata::Mount::Missing);
    let among = [digest("layer"), digest("absent")];
    let found = s.store.unverified_among(Some(&repo("app")), &among).await.expect("read");
    assert_eq!(found.iter().map(|blob| &blob.key).collect::<Vec<_>>(), [&layer]);
    assert_eq!(s.store.unverified_among(Some(&repo("b")), &among).await.expect("read"), []);
    assert_eq!(s.store.unverified_among(None, &among).await.expect("read").len(), 1);
    assert!(s.store.mark_verified(&layer).await.expect("marked"));
    assert!(!s.store.mark_verified(&key("layer")).await.expect("an answer"));
    s.put("app", image("new").blob("layer"), 1).await;
    s.push("app", "other", 2).await;
    assert_eq!(unverified(s).await, []);
    assert_eq!(s.store.unverified_among(None, &among).await.expect("read"), []);
    assert_eq!(s.pending_deletions().await, [other]);
    let totals = s.store.totals().await.expect("read");
    assert_eq!(totals.pending_deletion_allocated, 0, "the old tree keeps the bytes");
}

/// It is served as the other registry served it.
pub async fn what_an_adopted_manifest_lacks_is_optional(s: &Scene) {
    adopt_image(s).await;
    let edges = [("layer", EdgeKind::Blob), ("gone", EdgeKind::Blob), ("nowhere", EdgeKind::Child)];
    assert_eq!(adopt(s, "app", "broken", &edges, 1).await, Adopted::New);
    assert!(s.has("app", "broken").await);
    assert_eq!(adopt(s, "app", "broken", &edges, 2).await, Adopted::Known);
    s.delete("app", "broken", 3).await;
    assert_eq!(adopt(s, "app", "broken", &edges, 4).await, Adopted::Known, "it is in the trash");
    assert!(!s.has("app", "broken").await);
}

/// Neither the collector nor policies remove it, but users may. After the release, it counts as untagged.
pub async fn adopted_manifest_is_held_until_release(s: &Scene) {
    adopt_image(s).await;
    adopt(s, "app", "tagged", &[("layer", EdgeKind::Blob)], 0).await;
    assert_eq!(adopt_tag(s, "v1", "tagged", -9, 0).await, AdoptedTag::New);
    s.collect(rules(24 * 400)).await;
    assert!(s.has("app", "image").await && s.tagged("app", "v1").await.is_some());
    let expiry = ManifestExpiry {
        repo: repo("app"),
        digest: digest("image"),
        alone_at: crate::clock::Timestamp(0),
        pulled_before: None,
        lease: DAY,
        pin: PinEffect::Ignored,
        change: at(9600).into(),
    };
    assert_eq!(s.store.expire_manifest(expiry).await.expect("an answer"), ExpiryOutcome::Skipped);
    let expiry = TagExpiry {
        repo: repo("app"),
        tag: tag("v1"),
        digest: digest("tagged"),
        updated_at: at(0),
        pulled_before: None,
        attached_to: None,
        lease: DAY,
        change: at(9600).into(),
    };
    assert_eq!(s.store.expire_tag(expiry).await.expect("an answer"), ExpiryOutcome::Skipped);
    assert!(s.untag("app", "v1", 9601).await, "a user may");
    s.collect(rules(24 * 800)).await;
    assert!(s.has("app", "tagged").await);
    assert!(s.store.release_held(at(24 * 800), 1).await.expect("released"));
    s.assert_consistent().await;
    while s.store.release_held(at(24 * 800), 1).await.expect("released") {}
    s.collect(rules(24 * 801)).await;
    assert!(s.has("app", "image").await, "it counts as untagged since the release");
    s.collect(rules(24 * 820)).await;
    assert!(!s.has("app", "image").await && !s.has("app", "tagged").await);
}

/// What only a deleted index held follows it, although it was adopted itself.
pub async fn children_of_a_deleted_adopted_index_follow(s: &Scene) {
    adopt_image(s).await;
    adopt(s, "app", "child", &[], 0).await;
    adopt(s, "app", "index", &[("child", EdgeKind::Child), ("image", EdgeKind::Child)], 0).await;
    adopt_tag(s, "v1", "image", -9, 0).await;
    assert_eq!(s.delete("app", "index", 1).await, Deletion::Done);
    s.collect(rules(24 * 9)).await;
    s.collect(rules(24 * 19)).await;
    assert!(!s.has("app", "child").await && s.has("app", "image").await);
}

/// With the times of the other registry, while the tag counts as pushed now.
pub async fn adopted_tag_has_its_history(s: &Scene) {
    for name in ["a", "b"] {
        adopt(s, "app", name, &[], 0).await;
    }
    let history = [("x", -30), ("a", -20), ("b", -10)];
    assert_eq!(adopt_tag_with_history(s, "v1", "b", -10, 1, &history).await, AdoptedTag::New);
    let rows = s.store.tag_history(&repo("app"), Some(&tag("v1")), None, 10).await.expect("read");
    let rows: Vec<_> = rows.items.iter().map(|row| (row.digest.clone(), row.at, row.by.clone())).collect();
    let expected = [("b", -10), ("a", -20), ("x", -30)];
    assert_eq!(rows, expected.map(|(name, hours)| (Some(digest(name)), at(hours), None)));
    let found = s.tagged("app", "v1").await.expect("there");
    assert_eq!((found.digest, found.tagged_at), (digest("b"), Some(at(1))));
}

/// A second run takes what the old registry received later, but not what was changed here later.
pub async fn later_change_of_a_tag_counts(s: &Scene) {
    for name in ["a", "b", "c"] {
        adopt(s, "app", name, &[], 0).await;
    }
    for name in ["moved", "deleted", "pushed"] {
        assert_eq!(adopt_tag(s, name, "a", -9, 1).await, AdoptedTag::New);
        assert_eq!(adopt_tag(s, name, "a", -9, 2).await, AdoptedTag::Kept(KeptTag::Unchanged));
    }
    assert_eq!(adopt_tag(s, "moved", "b", 3, 4).await, AdoptedTag::Moved);
    assert_eq!(s.tagged("app", "moved").await.expect("there").digest, digest("b"));
    s.untag("app", "deleted", 5).await;
    assert_eq!(adopt_tag(s, "deleted", "a", -9, 6).await, AdoptedTag::Kept(KeptTag::ChangedHere));
    assert_eq!(adopt_tag(s, "deleted", "a", 7, 8).await, AdoptedTag::New);
    s.put("app", image("c").tag("pushed"), 5).await;
    assert_eq!(adopt_tag(s, "pushed", "b", 4, 6).await, AdoptedTag::Kept(KeptTag::ChangedHere));
    assert_eq!(adopt_tag(s, "v9", "absent", 4, 6).await, AdoptedTag::Kept(KeptTag::NoManifest));
}

/// Bytes that the old tree keeps are not freed, until that tree is gone.
pub async fn hardlinked_bytes_are_not_freed(s: &Scene) {
    adopt_image(s).await;
    let named = || vec![(repo("app"), digest("image"))];
    let effect = s.store.removal_effect(named()).await.expect("an answer");
    assert_eq!(effect, RemovalEffect { freed: 0, hardlinked: ALLOCATED, frees_nothing: true });
    assert!(effect.is_futile());
    assert_eq!(s.store.would_free(named()).await.expect("an answer"), 0);
    assert!(s.store.has_hardlinked().await.expect("read"));
    let figures = AdoptionFigures {
        held_manifests: 1,
        unverified_blobs: 1,
        unverified_bytes: BLOB.logical,
        hardlinked_blobs: 1,
        hardlinked_bytes: ALLOCATED,
    };
    assert_eq!(s.store.adoption_figures().await.expect("read"), figures);
    s.store.clear_hardlinked(Some(&key("layer")), 1).await.expect("cleared");
    assert!(s.store.has_hardlinked().await.expect("read"), "another generation");
    assert!(s.store.clear_hardlinked(None, 1).await.expect("cleared"));
    assert!(!s.store.clear_hardlinked(None, 1).await.expect("cleared"));
    assert_eq!(s.store.would_free(named()).await.expect("an answer"), ALLOCATED);
    s.delete("app", "image", 1).await;
    assert_eq!(s.store.purge_from_trash(named()).await.expect("purged"), 1);
    assert_eq!(s.store.purge_from_trash(named()).await.expect("purged"), 0);
}

/// The last record replaces the one before.
pub async fn the_adoption_is_recorded(s: &Scene) {
    assert_eq!(s.store.adoption().await.expect("read"), None);
    let record = AdoptionRecord { path: "/old".into(), started_at: at(1), ..AdoptionRecord::default() };
    s.store.record_adoption(&record).await.expect("recorded");
    let record = AdoptionRecord { released_at: Some(at(2)), tree_removed: true, ..record };
    s.store.record_adoption(&record).await.expect("recorded");
    assert_eq!(s.store.adoption().await.expect("read"), Some(record));
}
