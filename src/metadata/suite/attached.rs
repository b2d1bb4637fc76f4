//! Manifests attached to an image by a tag that spells its digest, such as signatures, are restored with the
//! image: a signed image can be verified again after it was restored.

use super::scene::DAY;
use super::*;
use crate::metadata::{Change, Deletion, ExpiryOutcome, Restoration, Restored, TagExpiry, TagRestoration};
use crate::oci::{AttachmentKind, attached_tag};

use AttachmentKind::{Attestation, Signature};

fn attached_tag_of(name: &str, kind: AttachmentKind) -> String {
    attached_tag(&digest(name), kind).to_string()
}

/// Stores a manifest that is attached to `of`.
async fn attach(s: &Scene, name: &str, of: &str, kind: AttachmentKind, hours: i64) {
    s.push("app", name, hours).await;
    s.put("app", image(name).blob(name).tag(&attached_tag_of(of, kind)), hours).await;
}

/// Lets a policy remove a tag that was pushed at `pushed` hours. An attached tag is removed after its subject.
async fn expire(s: &Scene, name: &str, of: &str, subject: Option<&str>, pushed: i64, hours: i64) {
    let expiry = TagExpiry {
        repo: repo("app"),
        tag: tag(name),
        digest: digest(of),
        updated_at: at(pushed),
        pulled_before: None,
        attached_to: subject.map(digest),
        lease: DAY,
        change: Change::from(at(hours)).because("a rule"),
    };
    let expired = s.store.expire_tag(expiry).await.expect("an answer");
    assert_eq!(expired, ExpiryOutcome::Removed { removed_manifest: true }, "{name}");
}

/// Expires a signed image, and its signature one hour later.
async fn expire_signed(s: &Scene, hours: i64) {
    expire(s, "v1", "a", None, 0, hours).await;
    expire(s, &attached_tag_of("a", Signature), "signature", Some("a"), 1, hours + 1).await;
}

async fn push_signed_image(s: &Scene) {
    s.put("app", image("a").tag("v1"), 0).await;
    attach(s, "signature", "a", Signature, 1).await;
}

async fn restore(s: &Scene, name: &str, hours: i64) -> Restored {
    let restored = s.store.restore_manifest(&repo("app"), &digest(name), &at(hours).into()).await;
    match restored.expect("an answer") {
        Restoration::Done(restored) => restored,
        other => panic!("{other:?}"),
    }
}

async fn points_at(s: &Scene, tag: &str) -> Option<crate::oci::Digest> {
    s.tagged("app", tag).await.map(|found| found.digest)
}

/// Signatures, attestations and what is attached to these.
pub async fn attached_manifests_are_restored_with_their_image(s: &Scene) {
    push_signed_image(s).await;
    attach(s, "attestation", "a", Attestation, 1).await;
    attach(s, "countersignature", "signature", Signature, 1).await;
    expire_signed(s, 10).await;
    expire(s, &attached_tag_of("a", Attestation), "attestation", Some("a"), 1, 11).await;
    expire(s, &attached_tag_of("signature", Signature), "countersignature", Some("signature"), 1, 12).await;
    let restored = restore(s, "a", 13).await;
    assert_eq!(restored.manifests, ["a", "signature", "attestation", "countersignature"].map(digest));
    let tags = [
        attached_tag_of("a", Signature),
        attached_tag_of("a", Attestation),
        attached_tag_of("signature", Signature),
    ];
    assert_eq!(restored.tags, [tag("v1"), tag(&tags[0]), tag(&tags[1]), tag(&tags[2])]);
    for (tag, name) in tags.iter().zip(["signature", "attestation", "countersignature"]) {
        assert_eq!(points_at(s, tag).await, Some(digest(name)));
    }
    s.collect(rules(1000)).await;
    assert!(s.has_blob("app", "signature").await && s.has_blob("app", "countersignature").await);
}

/// Children of an expired index may be live or in the trash; their attachments expired in both cases.
pub async fn attachments_of_children_are_restored_with_the_index(s: &Scene) {
    for name in ["live", "removed"] {
        s.put("app", image(name), 0).await;
    }
    s.put("app", image("a").child("live").child("removed").tag("v1"), 0).await;
    for name in ["live", "removed"] {
        attach(s, &format!("signature of {name}"), name, Signature, 1).await;
    }
    expire(s, "v1", "a", None, 0, 10).await;
    s.delete("app", "removed", 11).await;
    for name in ["live", "removed"] {
        let signature = format!("signature of {name}");
        expire(s, &attached_tag_of(name, Signature), &signature, Some(name), 1, 12).await;
    }
    restore(s, "a", 13).await;
    for name in ["live", "removed"] {
        let signature = digest(&format!("signature of {name}"));
        assert_eq!(points_at(s, &attached_tag_of(name, Signature)).await, Some(signature));
    }
}

/// A tag that is in use again is left alone and reported.
pub async fn reused_attached_tag_is_not_overwritten(s: &Scene) {
    push_signed_image(s).await;
    expire_signed(s, 10).await;
    attach(s, "newer", "a", Signature, 12).await;
    let restored = restore(s, "a", 13).await;
    let signature = tag(&attached_tag_of("a", Signature));
    assert_eq!((restored.tags, restored.tags_in_use), (vec![tag("v1")], vec![signature]));
    assert_eq!(points_at(s, &attached_tag_of("a", Signature)).await, Some(digest("newer")));
    assert!(!s.has("app", "signature").await);
}

/// Attachments that a user deleted or a policy removed earlier stay removed. Missing or incomplete ones do not
/// prevent the restore.
pub async fn attachments_removed_separately_are_not_restored(s: &Scene) {
    push_signed_image(s).await;
    attach(s, "attestation", "a", Attestation, 1).await;
    attach(s, "early", "a", AttachmentKind::Sbom, 1).await;
    expire(s, &attached_tag_of("a", AttachmentKind::Sbom), "early", None, 1, 9).await;
    expire(s, "v1", "a", None, 0, 10).await;
    expire(s, &attached_tag_of("a", Signature), "signature", Some("a"), 1, 11).await;
    assert_eq!(s.delete("app", "attestation", 12).await, Deletion::Done);
    let lost = s.blob("app", "signature").await.expect("in the trash").key;
    assert!(s.mark(&lost, true, 1).await);
    let restored = restore(s, "a", 13).await;
    assert_eq!((restored.manifests, restored.tags), (vec![digest("a")], vec![tag("v1")]));
    for kind in [Signature, Attestation, AttachmentKind::Sbom] {
        assert_eq!(points_at(s, &attached_tag_of("a", kind)).await, None, "{kind:?}");
    }
}

/// A manifest that is still live gets its tag back.
pub async fn attached_tag_is_restored_to_a_live_manifest(s: &Scene) {
    s.put("app", image("a").tag("v1"), 0).await;
    s.put("app", image("signature").tag(&attached_tag_of("a", Signature)), 1).await;
    expire_signed(s, 10).await;
    s.put("app", image("signature").tag("kept"), 12).await;
    let restored = restore(s, "a", 13).await;
    assert_eq!(restored.manifests, [digest("a")]);
    assert_eq!(points_at(s, &attached_tag_of("a", Signature)).await, Some(digest("signature")));
}

/// Restoring the tag of an image restores the attachments, too.
pub async fn attached_manifests_are_restored_with_a_tag(s: &Scene) {
    push_signed_image(s).await;
    expire_signed(s, 10).await;
    let back = s.store.restore_tag(&repo("app"), &tag("v1"), &at(12).into()).await.expect("an answer");
    assert!(matches!(back, TagRestoration::Done { .. }), "{back:?}");
    assert_eq!(points_at(s, &attached_tag_of("a", Signature)).await, Some(digest("signature")));
}

/// One image of a deleted repository is restored with its signature; the rest can be restored later.
pub async fn attached_manifests_are_restored_from_a_deleted_repository(s: &Scene) {
    push_signed_image(s).await;
    s.put("app", image("b").tag("v2"), 2).await;
    let app = repo("app");
    let change = Change::from(at(10));
    s.store.start_deletion(&app, &change).await.expect("an answer").expect("started");
    for hours in 10.. {
        let step = s.store.advance_repository(&app, 1, &at(hours).into()).await.expect("an answer");
        if step.expect("under way").finished {
            break;
        }
    }
    let restored = restore(s, "a", 20).await;
    assert_eq!(restored.manifests, [digest("a"), digest("signature")]);
    assert_eq!(points_at(s, &attached_tag_of("a", Signature)).await, Some(digest("signature")));
    s.store.start_restoration(&app, None, &at(21).into()).await.expect("an answer").expect("started");
    let step = s.store.advance_repository(&app, 100, &at(21).into()).await.expect("an answer");
    let step = step.expect("under way");
    assert!(step.finished && step.tags_in_use.is_empty() && step.missing.is_empty(), "{step:?}");
    assert_eq!(points_at(s, "v2").await, Some(digest("b")));
}
