//! Tests that a signed image expired by a policy is restored together with its signature.

use std::time::Duration;

use orlop::oci::{AttachmentKind, Digest, Reference, attached_tag};
use orlop::registry::Repository;

use crate::kit::*;
use crate::retention::{DAY, policies, retention, tags};

const OLD: &str = "[[policies]]\nname = \"builds\"\n[[policies.rules]]\nname = \"old\"\naction = \"expire\"\n\
                   tags = [\"v*\"]\npushed_before = \"1d\"";

/// Signs a manifest as cosign does, under a tag that spells its digest.
async fn sign(repo: &Repository, subject: &Digest) -> (String, Digest) {
    let tag = attached_tag(subject, AttachmentKind::Signature).to_string();
    let (signature, ..) = push_image(repo, &tag, &format!("signature of {subject}")).await;
    (tag, signature)
}

/// Whether a verifier finds the signature: the tag derived from the image's digest, and the signature blob.
async fn has_valid_signature(repo: &Repository, image: &str) -> bool {
    let repo = repo.without_push();
    let reference: Reference = image.parse().expect("reference");
    let Ok(image) = repo.manifest(&reference).await else { return false };
    let tag = attached_tag(&image.digest, AttachmentKind::Signature);
    let payload = digest(format!("signature of {}", image.digest).as_bytes());
    repo.manifest(&Reference::Tag(tag)).await.is_ok() && read(&repo, &payload).await.is_some()
}

#[tokio::test]
async fn a_restored_image_has_its_signature() {
    let mut kit = Kit::new();
    let repo = kit.repo("app");
    let (image, ..) = push_image(&repo, "v1", "v1").await;
    let (signature_tag, signature) = sign(&repo, &image).await;
    assert!(has_valid_signature(&repo, "v1").await);
    kit.clock.advance(2 * DAY);
    let retention = retention(&mut kit, policies(OLD)).await;
    retention.run_to_end().await.expect("run");
    assert!(tags(&repo).await.is_empty());

    kit.clock.advance(Duration::from_secs(10));
    let restored = repo.restore_manifest(&image).await.expect("restored");
    assert_eq!(restored.manifests, [image.clone(), signature]);
    assert_eq!(tags(&repo).await, [signature_tag.as_str(), "v1"]);
    assert!(has_valid_signature(&repo, "v1").await);
    kit.pass(2 * TRASH).await;
    assert!(has_valid_signature(&repo, "v1").await, "and it stays");

    // It expires again and is restored by its tag, from another time.
    kit.clock.advance(2 * DAY);
    retention.run_to_end().await.expect("run");
    assert!(tags(&repo).await.is_empty());
    repo.restore_tag(&"v1".parse().expect("tag")).await.expect("restored");
    assert!(has_valid_signature(&repo, "v1").await);
    assert_eq!(kit.registry.metadata().verify().await.expect("verified"), Vec::<String>::new());
}

#[tokio::test]
async fn a_signature_survives_the_deletion_and_restore_of_its_image() {
    let kit = Kit::new();
    let repo = kit.repo("app");
    let (image, ..) = push_image(&repo, "v1", "v1").await;
    sign(&repo, &image).await;
    repo.delete_manifest(&image).await.expect("deleted");
    kit.pass(TRASH / 2).await;
    repo.restore_manifest(&image).await.expect("restored");
    assert!(has_valid_signature(&repo, "v1").await);
}
