//! Removal of tags and manifests by policies.

use super::scene::{DAY, HOUR};
use super::*;
use crate::metadata::{
    Change, ChangeKind, ExpiryOutcome, ImmutableTags, ManifestExpiry, Pin, PinEffect, Restoration, TagExpiry,
};

const MANIFEST_REMOVED: ExpiryOutcome = ExpiryOutcome::Removed { removed_manifest: true };
const ONLY_TAG_REMOVED: ExpiryOutcome = ExpiryOutcome::Removed { removed_manifest: false };

/// Returns the expiry at `hours` of a tag that was pushed at `pushed`.
fn expiry(name: &str, of: &str, pushed: i64, hours: i64) -> TagExpiry {
    TagExpiry {
        repo: repo("app"),
        tag: tag(name),
        digest: digest(of),
        updated_at: at(pushed),
        pulled_before: None,
        attached_to: None,
        lease: HOUR,
        change: Change::from(at(hours)).because("policy ci, rule old builds"),
    }
}

async fn expire(s: &Scene, expiry: TagExpiry) -> ExpiryOutcome {
    s.store.expire_tag(expiry).await.expect("an answer")
}

async fn expire_untagged(s: &Scene, name: &str, alone: i64, hours: i64) -> ExpiryOutcome {
    let expiry = ManifestExpiry {
        repo: repo("app"),
        digest: digest(name),
        alone_at: at(alone),
        pulled_before: Some(at(alone)),
        lease: DAY,
        pin: PinEffect::Protects,
        change: at(hours).into(),
    };
    s.store.expire_manifest(expiry).await.expect("an answer")
}

/// The tag and its manifest are removed in one step, with the reason, and can be restored.
pub async fn expiring_a_tag_removes_its_manifest(s: &Scene) {
    s.push("app", "layer", 0).await;
    s.put("app", image("a").blob("layer").tag("v1"), 0).await;
    assert_eq!(expire(s, expiry("v1", "a", 0, 100)).await, MANIFEST_REMOVED);
    assert!(!s.has("app", "a").await);
    let rows = s.store.tag_history(&repo("app"), Some(&tag("v1")), None, 1).await.expect("an answer").items;
    assert_eq!(
        (rows[0].kind, rows[0].reason.as_deref()),
        (ChangeKind::Expiry, Some("policy ci, rule old builds"))
    );
    let restored = s.store.restore_manifest(&repo("app"), &digest("a"), &at(101).into()).await;
    assert!(matches!(restored.expect("an answer"), Restoration::Done(back) if back.tags == [tag("v1")]));
    assert_eq!(expire(s, expiry("v1", "a", 101, 102)).await, MANIFEST_REMOVED);
    s.collect(rules(127)).await;
    assert!(!s.is_stored("layer").await);
}

/// A tag that changed since the evaluation stays.
pub async fn a_tag_that_changed_does_not_expire(s: &Scene) {
    s.put("app", image("a").tag("v1"), 0).await;
    s.put("app", image("a").tag("v1"), 1).await;
    assert_eq!(expire(s, expiry("v1", "a", 0, 2)).await, ExpiryOutcome::Skipped);
    s.put("app", image("b").tag("v1"), 2).await;
    assert_eq!(expire(s, expiry("v1", "a", 2, 3)).await, ExpiryOutcome::Skipped);
    assert_eq!(expire(s, expiry("v2", "a", 2, 3)).await, ExpiryOutcome::Skipped);
    let elsewhere = TagExpiry { repo: repo("other"), ..expiry("v1", "b", 2, 3) };
    assert_eq!(expire(s, elsewhere).await, ExpiryOutcome::Skipped);
    let change = Change { immutable_tags: ImmutableTags::new(|_| true), ..at(3).into() };
    assert_eq!(expire(s, TagExpiry { change, ..expiry("v1", "b", 2, 3) }).await, ExpiryOutcome::Skipped);
    assert!(s.tagged("app", "v1").await.is_some());
    // A signature stays with its subject and expires after it.
    s.put("app", image("signature").tag("b.sig"), 3).await;
    let attached = || TagExpiry { attached_to: Some(digest("b")), ..expiry("b.sig", "signature", 3, 4) };
    assert_eq!(expire(s, attached()).await, ExpiryOutcome::Skipped);
    assert_eq!(expire(s, expiry("v1", "b", 2, 4)).await, MANIFEST_REMOVED);
    assert_eq!(expire(s, attached()).await, MANIFEST_REMOVED);
}

/// A pull after the evaluation keeps the tag: of the manifest, of a child, or of an index that lists it.
pub async fn a_tag_that_was_pulled_does_not_expire(s: &Scene) {
    s.put("app", image("child").tag("child"), 0).await;
    s.put("app", image("index").child("child").tag("index"), 0).await;
    let since = |name: &str, hours| TagExpiry { pulled_before: Some(at(hours)), ..expiry(name, name, 0, 10) };
    let pull = |name: &str, hours| s.store.record_pulls(vec![(repo("app"), digest(name), at(hours))]);
    pull("child", 5).await.expect("recorded");
    assert_eq!(expire(s, since("index", 5)).await, ExpiryOutcome::Skipped);
    pull("index", 6).await.expect("recorded");
    assert_eq!(expire(s, since("child", 6)).await, ExpiryOutcome::Skipped);
    assert_eq!(expire(s, since("child", 7)).await, ONLY_TAG_REMOVED);
    assert_eq!(expire(s, since("index", 7)).await, MANIFEST_REMOVED);
}

/// Another tag, a live index or a live subject keeps the manifest. An index or subject in the trash does not.
pub async fn referenced_manifest_outlives_its_tag(s: &Scene) {
    s.put("app", image("a").tag("v1").tag("v2"), 0).await;
    assert_eq!(expire(s, expiry("v1", "a", 0, 1)).await, ONLY_TAG_REMOVED);
    assert_eq!(expire(s, expiry("v2", "a", 0, 1)).await, MANIFEST_REMOVED);
    s.put("app", image("child").tag("child"), 0).await;
    s.put("app", image("index").child("child").tag("index"), 0).await;
    s.put("app", image("signature").subject("index").tag("sig"), 0).await;
    assert_eq!(expire(s, expiry("child", "child", 0, 1)).await, ONLY_TAG_REMOVED);
    assert_eq!(expire(s, expiry("sig", "signature", 0, 1)).await, ONLY_TAG_REMOVED);
    s.put("app", image("child").tag("child"), 2).await;
    s.put("app", image("signature").subject("index").tag("sig"), 2).await;
    assert_eq!(expire(s, expiry("index", "index", 0, 3)).await, MANIFEST_REMOVED);
    assert_eq!(expire(s, expiry("child", "child", 2, 4)).await, MANIFEST_REMOVED);
    assert_eq!(expire(s, expiry("sig", "signature", 2, 4)).await, MANIFEST_REMOVED);
    s.collect(rules(100)).await;
    assert_eq!(s.store.totals().await.expect("totals").manifests, 0);
}

/// A client that has checked that a manifest exists still finds it when it pushes the index, even if only a tag
/// kept the manifest.
pub async fn tag_does_not_expire_during_a_push(s: &Scene) {
    let expiry = |name: &str, hours| TagExpiry { lease: DAY, ..expiry(name, name, 0, hours) };
    for name in ["a", "b"] {
        s.put("app", image(name).tag(name), 0).await;
        assert!(s.head_manifest("app", name, 40).await);
    }
    s.put("app", image("unchecked").tag("unchecked"), 0).await;
    for hours in [41, 50, 63] {
        assert_eq!(expire(s, expiry("a", hours)).await, ExpiryOutcome::Skipped, "{hours}");
    }
    s.put("app", image("index").child("a").tag("index"), 63).await;
    assert_eq!(expire(s, expiry("a", 63)).await, ONLY_TAG_REMOVED, "the index lists it");
    assert_eq!(expire(s, expiry("b", 64)).await, MANIFEST_REMOVED, "no index followed");
    assert_eq!(
        expire(s, expiry("unchecked", 1)).await,
        MANIFEST_REMOVED,
        "no client has checked for it since its push"
    );
}

/// Restored tags are evaluated like all others.
pub async fn restored_tag_expires(s: &Scene) {
    s.put("app", image("a").tag("v1"), 0).await;
    s.delete("app", "a", 40).await;
    let restored = s.store.restore_manifest(&repo("app"), &digest("a"), &at(41).into()).await;
    assert!(matches!(restored.expect("an answer"), Restoration::Done(_)));
    assert_eq!(expire(s, TagExpiry { lease: DAY, ..expiry("v1", "a", 41, 42) }).await, MANIFEST_REMOVED);
}

/// One of several tags may expire: the others keep the manifest.
pub async fn one_of_several_tags_expires_during_a_push(s: &Scene) {
    s.put("app", image("a").tag("v1").tag("v2"), 0).await;
    assert!(s.head_manifest("app", "a", 40).await);
    let expiry = |name| TagExpiry { lease: DAY, ..expiry(name, "a", 0, 41) };
    assert_eq!(expire(s, expiry("v1")).await, ONLY_TAG_REMOVED);
    assert_eq!(expire(s, expiry("v2")).await, ExpiryOutcome::Skipped);
    assert!(s.tagged("app", "v2").await.is_some());
}

/// A long upload extends the lease.
pub async fn a_tag_does_not_expire_during_a_long_push(s: &Scene) {
    s.put("app", image("a").tag("v1"), 0).await;
    assert!(s.head_manifest("app", "a", 40).await);
    let upload = s.start_upload("app", 41).await;
    let expiry = |hours| TagExpiry { lease: DAY, ..expiry("v1", "a", 0, hours) };
    assert_eq!(expire(s, expiry(500)).await, ExpiryOutcome::Skipped);
    assert!(s.cancel(upload, 500).await);
    assert_eq!(expire(s, expiry(523)).await, ExpiryOutcome::Skipped);
    assert_eq!(expire(s, expiry(530)).await, MANIFEST_REMOVED);
}

/// A manifest that lost its tag during a push stays for the lease, whether the client requested it by digest or
/// by tag.
pub async fn untagged_manifest_does_not_expire_during_a_push(s: &Scene) {
    for name in ["by digest", "by tag"] {
        s.put("app", image(name).tag("latest"), 0).await;
        if name == "by digest" {
            assert!(s.head_manifest("app", name, 40).await);
        }
        s.put("app", image("newer").tag("latest"), 41).await;
        assert_eq!(expire_untagged(s, name, 41, 50).await, ExpiryOutcome::Skipped, "{name}");
        s.put("app", image(&format!("index of {name}")).child(name).tag(&name[3..]), 51).await;
    }
}

/// An untagged manifest expires if nothing keeps it alive and no client has checked for it.
pub async fn an_untagged_manifest_is_expired(s: &Scene) {
    s.put("app", image("a"), 0).await;
    assert_eq!(expire_untagged(s, "a", 0, 10).await, ExpiryOutcome::Skipped);
    assert_eq!(expire_untagged(s, "a", 1, 100).await, ExpiryOutcome::Skipped);
    assert!(s.head_manifest("app", "a", 90).await);
    assert_eq!(expire_untagged(s, "a", 0, 100).await, ExpiryOutcome::Skipped);
    assert_eq!(expire_untagged(s, "a", 0, 115).await, MANIFEST_REMOVED);
    assert_eq!(expire_untagged(s, "a", 0, 116).await, ExpiryOutcome::Skipped);
    s.put("app", image("child"), 0).await;
    s.put("app", image("index").child("child").tag("v1"), 0).await;
    assert_eq!(expire_untagged(s, "child", 0, 200).await, ExpiryOutcome::Skipped);
    s.collect(rules(200)).await;
    assert!(s.has("app", "child").await);
}

/// A pin keeps a manifest, unless the rule that pinned it is suspended. Anything else that keeps it alive still
/// does.
pub async fn pinned_manifest_expires_if_its_pin_is_ignored(s: &Scene) {
    for name in ["a", "child"] {
        s.put("app", image(name), 0).await;
    }
    s.put("app", image("index").child("child").tag("v1"), 0).await;
    let pins = ["a", "child"].map(|name| Pin { digest: digest(name), reason: "a rule".into() });
    s.store.set_pins(&repo("app"), pins.into()).await.expect("pinned");
    assert_eq!(expire_untagged(s, "a", 0, 100).await, ExpiryOutcome::Skipped);
    for (name, expected) in [("a", MANIFEST_REMOVED), ("child", ExpiryOutcome::Skipped)] {
        let expiry = ManifestExpiry {
            repo: repo("app"),
            digest: digest(name),
            alone_at: at(0),
            pulled_before: None,
            lease: DAY,
            pin: PinEffect::Ignored,
            change: at(100).into(),
        };
        assert_eq!(s.store.expire_manifest(expiry).await.expect("an answer"), expected, "{name}");
    }
    for (name, pinned) in [("a", false), ("child", true)] {
        let pin = s.store.pin(&repo("app"), &digest(name)).await.expect("an answer");
        assert_eq!(pin.is_some(), pinned, "{name}");
    }
}
