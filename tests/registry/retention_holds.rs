//! Tests what retention does not remove: manifests that a pusher has found, and manifests that other rules keep.

use std::time::Duration;

use orlop::clock::Timestamp;
use orlop::jobs::retention::Retention;
use orlop::oci::{Digest, Reference};
use orlop::registry::Repository;

use crate::kit::*;
use crate::retention::{DAY, policies, retention, tags};

const OLD: &str = "[[policies]]\nname = \"builds\"\n[[policies.rules]]\nname = \"old\"\naction = \"expire\"\n\
                   pushed_before = \"1d\"";

/// Holds both normally and under pressure.
#[tokio::test]
async fn keeps_a_manifest_that_a_pusher_has_found_by_digest() {
    for under_pressure in [false, true] {
        let mut kit = Kit::new();
        let repo = kit.repo("app");
        let mut images = Vec::new();
        for tag in ["found", "unseen"] {
            images.push(push_image(&repo, tag, tag).await.0);
        }
        kit.clock.advance(2 * DAY);
        let retention = retention(&mut kit, policies(OLD)).await;
        let by_digest = Reference::Digest(images[0].clone());
        repo.probe_manifest(&by_digest).await.expect("found");
        kit.clock.advance(LEASE / 2);
        if under_pressure {
            retention.apply_under_pressure(|_| std::future::ready(Ok(false))).await.expect("applied");
        } else {
            retention.run_to_end().await.expect("run");
        }
        assert_eq!(tags(&repo).await, ["found"]);
        put(&repo, &["multi"], &index(&[&images[0]])).await.expect("the push succeeds");

        // The index keeps the manifest now, so the tag can expire.
        kit.clock.advance(2 * LEASE);
        retention.run_to_end().await.expect("run");
        assert_eq!(tags(&repo).await, ["multi"]);
        assert!(has(&repo, images[0].as_str()).await);
    }
}

async fn lease_of(repo: &Repository, image: &Digest) -> Timestamp {
    repo.without_push().manifest(&Reference::Digest(image.clone())).await.expect("there").leased_at
}

#[tokio::test]
async fn a_found_manifest_that_no_push_refers_to_expires_one_lease_later() {
    let mut kit = Kit::new();
    let repo = kit.repo("app");
    let (image, ..) = push_image(&repo, "a", "a").await;
    let pushed = lease_of(&repo, &image).await;
    kit.clock.advance(2 * DAY);
    let retention = retention(&mut kit, policies(OLD)).await;
    // A HEAD by a client with pull access only takes no lease, and neither does a pull.
    repo.without_push().probe_manifest(&Reference::Digest(image.clone())).await.expect("there");
    repo.manifest(&Reference::Digest(image.clone())).await.expect("pulled");
    let plan = retention.plan(None, false).await.expect("planned");
    assert_eq!(lease_of(&repo, &image).await, pushed);
    repo.probe_manifest(&Reference::Digest(image.clone())).await.expect("found");
    assert_ne!(lease_of(&repo, &image).await, pushed);
    let done = retention.apply(&plan, true, None).await.expect("applied");
    assert_eq!((done.tags, done.skipped, done.stopped), (0, 1, true));
    kit.clock.advance(LEASE + Duration::from_secs(1));
    retention.run_to_end().await.expect("run");
    assert!(tags(&repo).await.is_empty());
    repo.restore_manifest(&image).await.expect("in the trash");
}

/// A rule that keeps untagged manifests at rest, and a rule that expires images under pressure.
const KEEP_UNTAGGED_AT_REST: &str = r#"
[[policies]]
name = "p"
[[policies.rules]]
name = "calm"
action = "keep"
untagged = true
when = "calm"
[[policies.rules]]
name = "full"
action = "expire"
when = "pressure"
pushed_before = "1h"
"#;

/// Expires untagged manifests before tags.
const UNTAGGED_FIRST: &str = r#"
[[policies]]
name = "first"
[[policies.rules]]
name = "untagged"
action = "expire"
untagged = true
when = "pressure"
pushed_before = "1h"
"#;

/// Pushes a tagged and an untagged image. The rules at rest pin the untagged one, whose digest is returned.
async fn push_tagged_and_untagged(kit: &mut Kit, text: &str) -> (Retention, Repository, Digest) {
    let repo = kit.repo("app");
    push_image(&repo, "tagged", "tagged").await;
    let config = push(&repo, b"{}").await;
    let layer = push(&repo, b"layer").await;
    let untagged = put(&repo, &[], &image(&config, &[&layer])).await.expect("manifest");
    kit.clock.advance(Duration::from_secs(2 * 3600));
    let retention = retention(kit, policies(text)).await;
    retention.run_to_end().await.expect("run");
    assert!(kit.registry.metadata().pin(repo.name(), &untagged).await.expect("read").is_some());
    (retention, repo, untagged)
}

#[tokio::test]
async fn rules_at_rest_still_keep_images_if_other_images_free_enough() {
    let mut kit = Kit::new();
    let (retention, repo, untagged) = push_tagged_and_untagged(&mut kit, KEEP_UNTAGGED_AT_REST).await;
    let done =
        retention.apply_under_pressure(|done| std::future::ready(Ok(done.tags == 1))).await.expect("applied");
    assert_eq!((done.tags, done.manifests), (1, 1));
    kit.pass(2 * UNTAGGED).await;
    assert!(has(&repo, untagged.as_str()).await);
}

#[tokio::test]
async fn pressure_rules_apply_before_rules_at_rest_and_in_order() {
    let mut kit = Kit::new();
    let (retention, repo, untagged) =
        push_tagged_and_untagged(&mut kit, &format!("{UNTAGGED_FIRST}{KEEP_UNTAGGED_AT_REST}")).await;
    let done = retention.apply_under_pressure(|done| std::future::ready(Ok(done.manifests == 1))).await;
    assert_eq!(done.expect("applied").tags, 0);
    assert!(!has(&repo, untagged.as_str()).await && has(&repo, "tagged").await);
}

#[tokio::test]
async fn releases_images_kept_at_rest_if_the_pressure_rules_free_too_little() {
    let mut kit = Kit::new();
    let (retention, repo, untagged) = push_tagged_and_untagged(&mut kit, KEEP_UNTAGGED_AT_REST).await;
    let done = retention.apply_under_pressure(|_| std::future::ready(Ok(false))).await.expect("applied");
    assert_eq!((done.tags, done.manifests), (1, 1));
    assert!(has(&repo, untagged.as_str()).await, "the collector removes it later");
    kit.pass(2 * UNTAGGED).await;
    assert!(!has(&repo, untagged.as_str()).await);
}

/// A plan may be old when it is applied.
#[tokio::test]
async fn applying_a_plan_keeps_pins_made_since() {
    let mut kit = Kit::new();
    let (retention, repo, _) = push_tagged_and_untagged(&mut kit, KEEP_UNTAGGED_AT_REST).await;
    let plan = retention.plan(None, false).await.expect("planned");
    let config = push(&repo, b"{}").await;
    let layer = push(&repo, b"newer").await;
    let newer = put(&repo, &[], &image(&config, &[&layer])).await.expect("manifest");
    retention.run_to_end().await.expect("run");
    retention.apply(&plan, true, None).await.expect("applied");
    kit.pass(2 * UNTAGGED).await;
    assert!(has(&repo, newer.as_str()).await);
}
