//! What policies leave where it is: what a pusher was told of, and what other rules keep.

use std::time::Duration;

use orlop::clock::Timestamp;
use orlop::jobs::retention::Retention;
use orlop::oci::{Digest, Reference};
use orlop::registry::Repository;

use crate::kit::*;
use crate::retention::{DAY, policies, retention, tags};

const OLD: &str = "[[policies]]\nname = \"builds\"\n[[policies.rules]]\nname = \"old\"\naction = \"expire\"\n\
                   pushed_before = \"1d\"";

/// At rest and under pressure.
#[tokio::test]
async fn a_pusher_finds_what_it_was_told_of_by_digest() {
    for pressed in [false, true] {
        let mut kit = Kit::new();
        let repo = kit.repo("app");
        let mut images = Vec::new();
        for tag in ["told", "untold"] {
            images.push(push_image(&repo, tag, tag).await.0);
        }
        kit.clock.advance(2 * DAY);
        let retention = retention(&mut kit, policies(OLD)).await;
        let by_digest = Reference::Digest(images[0].clone());
        repo.probe_manifest(&by_digest).await.expect("told");
        kit.clock.advance(LEASE / 2);
        if pressed {
            retention.apply_under_pressure(|_| std::future::ready(Ok(false))).await.expect("applied");
        } else {
            retention.run_to_end().await.expect("run");
        }
        assert_eq!(tags(&repo).await, ["told"]);
        put(&repo, &["multi"], &index(&[&images[0]])).await.expect("the push ends well");

        // The index holds it now, and the tag may go.
        kit.clock.advance(2 * LEASE);
        retention.run_to_end().await.expect("run");
        assert_eq!(tags(&repo).await, ["multi"]);
        assert!(has(&repo, images[0].as_str()).await);
    }
}

async fn lease_of(repo: &Repository, image: &Digest) -> Timestamp {
    repo.viewed().manifest(&Reference::Digest(image.clone())).await.expect("there").leased_at
}

#[tokio::test]
async fn what_nobody_comes_back_for_expires_a_lease_later() {
    let mut kit = Kit::new();
    let repo = kit.repo("app");
    let (image, ..) = push_image(&repo, "a", "a").await;
    let pushed = lease_of(&repo, &image).await;
    kit.clock.advance(2 * DAY);
    let retention = retention(&mut kit, policies(OLD)).await;
    // Whoever may only pull is promised nothing, and whoever pulls has what it came for.
    repo.viewed().probe_manifest(&Reference::Digest(image.clone())).await.expect("there");
    repo.manifest(&Reference::Digest(image.clone())).await.expect("pulled");
    let plan = retention.plan(None, false).await.expect("planned");
    assert_eq!(lease_of(&repo, &image).await, pushed);
    repo.probe_manifest(&Reference::Digest(image.clone())).await.expect("told");
    assert_ne!(lease_of(&repo, &image).await, pushed);
    let done = retention.apply(&plan, true, None).await.expect("applied");
    assert_eq!((done.tags, done.skipped, done.stopped), (0, 1, true));
    kit.clock.advance(LEASE + Duration::from_secs(1));
    retention.run_to_end().await.expect("run");
    assert!(tags(&repo).await.is_empty());
    repo.restore_manifest(&image).await.expect("in the trash");
}

/// What nothing but a rule keeps, and a rule for a store that is nearly full.
const CALM: &str = r#"
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

/// Lets untagged manifests go before tags.
const LOOSE_FIRST: &str = r#"
[[policies]]
name = "first"
[[policies.rules]]
name = "loose"
action = "expire"
untagged = true
when = "pressure"
pushed_before = "1h"
"#;

/// A tagged and an untagged image, which the rules at rest have pinned.
async fn loose_and_tagged(kit: &mut Kit, text: &str) -> (Retention, Repository, Digest) {
    let repo = kit.repo("app");
    push_image(&repo, "tagged", "tagged").await;
    let (config, layer) = (push(&repo, b"{}").await, push(&repo, b"layer").await);
    let loose = put(&repo, &[], &image(&config, &[&layer])).await.expect("manifest");
    kit.clock.advance(Duration::from_secs(2 * 3600));
    let retention = retention(kit, policies(text)).await;
    retention.run_to_end().await.expect("run");
    assert!(kit.registry.metadata().pin(repo.name(), &loose).await.expect("an answer").is_some());
    (retention, repo, loose)
}

#[tokio::test]
async fn rules_at_rest_keep_under_pressure_what_need_not_go() {
    let mut kit = Kit::new();
    let (retention, repo, loose) = loose_and_tagged(&mut kit, CALM).await;
    let done =
        retention.apply_under_pressure(|done| std::future::ready(Ok(done.tags == 1))).await.expect("applied");
    assert_eq!((done.tags, done.manifests), (1, 1));
    kit.pass(2 * UNTAGGED).await;
    assert!(has(&repo, loose.as_str()).await);
}

#[tokio::test]
async fn a_rule_for_a_full_store_comes_before_one_at_rest_and_in_its_order() {
    let mut kit = Kit::new();
    let (retention, repo, loose) = loose_and_tagged(&mut kit, &format!("{LOOSE_FIRST}{CALM}")).await;
    let done = retention.apply_under_pressure(|done| std::future::ready(Ok(done.manifests == 1))).await;
    assert_eq!(done.expect("applied").tags, 0);
    assert!(!has(&repo, loose.as_str()).await && has(&repo, "tagged").await);
}

#[tokio::test]
async fn what_no_rule_names_goes_when_all_else_was_not_enough() {
    let mut kit = Kit::new();
    let (retention, repo, loose) = loose_and_tagged(&mut kit, CALM).await;
    let done = retention.apply_under_pressure(|_| std::future::ready(Ok(false))).await.expect("applied");
    assert_eq!((done.tags, done.manifests), (1, 1));
    assert!(has(&repo, loose.as_str()).await, "it is the collector's");
    kit.pass(2 * UNTAGGED).await;
    assert!(!has(&repo, loose.as_str()).await);
}

/// A plan may be old when it is done.
#[tokio::test]
async fn a_plan_leaves_pinned_what_came_since() {
    let mut kit = Kit::new();
    let (retention, repo, _) = loose_and_tagged(&mut kit, CALM).await;
    let plan = retention.plan(None, false).await.expect("planned");
    let (config, layer) = (push(&repo, b"{}").await, push(&repo, b"newer").await);
    let newer = put(&repo, &[], &image(&config, &[&layer])).await.expect("manifest");
    retention.run_to_end().await.expect("run");
    retention.apply(&plan, true, None).await.expect("applied");
    kit.pass(2 * UNTAGGED).await;
    assert!(has(&repo, newer.as_str()).await);
}
