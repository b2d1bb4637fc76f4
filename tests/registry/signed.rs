//! A signed image that policies let go comes back so that its signature can be verified.

use std::time::Duration;

use orlop::oci::{AttachmentKind, Digest, Reference, attached_tag};
use orlop::registry::Repository;

use crate::kit::*;
use crate::retention::{DAY, policies, retention, tags};

const OLD: &str = "[[policies]]\nname = \"builds\"\n[[policies.rules]]\nname = \"old\"\naction = \"expire\"\n\
                   tags = [\"v*\"]\npushed_before = \"1d\"";

/// Signs a manifest as cosign does: under a tag that spells its digest.
async fn sign(repo: &Repository, subject: &Digest) -> (String, Digest) {
    let tag = attached_tag(subject, AttachmentKind::Signature).to_string();
    let (signature, ..) = push_image(repo, &tag, &format!("signature of {subject}")).await;
    (tag, signature)
}

/// What a verifier finds under the tag that it makes of the image's digest, down to the signature's bytes.
async fn verifies(repo: &Repository, image: &str) -> bool {
    let repo = repo.viewed();
    let reference: Reference = image.parse().expect("reference");
    let Ok(image) = repo.manifest(&reference).await else { return false };
    let tag = attached_tag(&image.digest, AttachmentKind::Signature);
    let payload = digest(format!("signature of {}", image.digest).as_bytes());
    repo.manifest(&Reference::Tag(tag)).await.is_ok() && read(&repo, &payload).await.is_some()
}

#[tokio::test]
async fn an_image_comes_back_with_its_signature() {
    let mut kit = Kit::new();
    let repo = kit.repo("app");
    let (image, ..) = push_image(&repo, "v1", "v1").await;
    let (signature_tag, signature) = sign(&repo, &image).await;
    assert!(verifies(&repo, "v1").await);
    kit.clock.advance(2 * DAY);
    let retention = retention(&mut kit, policies(OLD)).await;
    retention.run_to_end().await.expect("run");
    assert!(tags(&repo).await.is_empty());

    kit.clock.advance(Duration::from_secs(10));
    let restored = repo.restore_manifest(&image).await.expect("restored");
    assert_eq!(restored.manifests, [image.clone(), signature]);
    assert_eq!(tags(&repo).await, [signature_tag.as_str(), "v1"]);
    assert!(verifies(&repo, "v1").await);
    kit.pass(2 * TRASH).await;
    assert!(verifies(&repo, "v1").await, "and stays");

    // Once more, brought back by its tag, from another moment.
    kit.clock.advance(2 * DAY);
    retention.run_to_end().await.expect("run");
    assert!(tags(&repo).await.is_empty());
    repo.restore_tag(&"v1".parse().expect("tag")).await.expect("restored");
    assert!(verifies(&repo, "v1").await);
    assert_eq!(kit.registry.metadata().verify().await.expect("verified"), Vec::<String>::new());
}

#[tokio::test]
async fn a_signature_outlives_the_deletion_of_its_image() {
    let kit = Kit::new();
    let repo = kit.repo("app");
    let (image, ..) = push_image(&repo, "v1", "v1").await;
    sign(&repo, &image).await;
    repo.delete_manifest(&image).await.expect("deleted");
    kit.pass(TRASH / 2).await;
    repo.restore_manifest(&image).await.expect("restored");
    assert!(verifies(&repo, "v1").await);
}
