//! What policies leave where it is: what a pusher was told of, and what other rules keep.

use std::time::Duration;

use orlop::oci::Reference;

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
        repo.manifest(&by_digest).await.expect("told");
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

#[tokio::test]
async fn what_nobody_comes_back_for_expires_a_lease_later() {
    let mut kit = Kit::new();
    let repo = kit.repo("app");
    let (image, ..) = push_image(&repo, "a", "a").await;
    kit.clock.advance(2 * DAY);
    let retention = retention(&mut kit, policies(OLD)).await;
    // Whoever may only pull is promised nothing.
    repo.viewed().manifest(&Reference::Digest(image.clone())).await.expect("there");
    let plan = retention.plan(None, false).await.expect("planned");
    repo.manifest(&Reference::Digest(image.clone())).await.expect("told");
    let done = retention.apply(&plan, true, None).await.expect("applied");
    assert_eq!((done.tags, done.skipped, done.stopped), (0, 1, true));
    kit.clock.advance(LEASE + Duration::from_secs(1));
    retention.run_to_end().await.expect("run");
    assert!(tags(&repo).await.is_empty());
    repo.restore_manifest(&image).await.expect("in the trash");
}
