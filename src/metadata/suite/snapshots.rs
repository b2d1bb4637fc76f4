//! What the evaluator of policies is told, and what pins hold.

use super::scene::DAY;
use super::*;
use crate::clock::Timestamp;
use crate::metadata::{ExpireTag, Expired, Judged, Pin};
use crate::oci::ImageDetails;
use crate::retention::{ManifestFacts, RepoSnapshot};

async fn snapshot(s: &Scene, past: usize) -> RepoSnapshot {
    s.store.retention_snapshot(&repo("app"), past).await.expect("read").expect("a repository")
}

fn find<'a>(snapshot: &'a RepoSnapshot, name: &str) -> &'a ManifestFacts {
    snapshot.manifests.iter().find(|manifest| manifest.digest == digest(name)).expect("a manifest")
}

fn linux() -> ImageDetails {
    ImageDetails {
        platforms: Some(vec!["linux/amd64".into()]),
        labels: Some([("a".into(), "b".into())].into()),
    }
}

async fn pin(s: &Scene, names: &[&str]) {
    let pins = names.iter().map(|name| Pin { digest: digest(name), reason: format!("keeps {name}") });
    s.store.set_pins(&repo("app"), pins.collect()).await.expect("pinned");
}

/// Live manifests with children and subjects, tags with their times; nothing of other repositories.
pub async fn a_snapshot_tells_all_that_rules_ask_for(s: &Scene) {
    let nowhere = s.store.retention_snapshot(&repo("nowhere"), 0).await.expect("read");
    assert!(nowhere.is_none());
    s.put("app", image("child").details(linux()), 1).await;
    s.put("app", image("index").child("child").annotation("k", "v").tag("v1"), 2).await;
    s.put("app", image("sbom").subject("index").artifact_type("application/sbom"), 3).await;
    s.put("app", image("removed").tag("removed"), 3).await;
    s.delete("app", "removed", 4).await;
    s.put("other", image("elsewhere").tag("v1"), 4).await;
    s.store.note_pulls(vec![(repo("app"), digest("index"), at(5))]).await.expect("noted");
    let found = snapshot(s, 0).await;
    let [tag] = found.tags.as_slice() else { panic!("{found:?}") };
    assert_eq!((tag.name.as_str(), &tag.digest, tag.pushed_at), ("v1", &digest("index"), at(2)));
    assert_eq!(found.manifests.len(), 3);
    let index = find(&found, "index");
    assert_eq!((index.children.as_slice(), index.pulled_at), ([digest("child")].as_slice(), Some(at(5))));
    let size = r#"{"annotations":{"k":"v"}}"#.len() as u64;
    assert_eq!((index.pushed_at, index.alone_at, index.size), (at(2), None, size));
    assert_eq!(index.annotations["k"], "v");
    // What is known of its only child is known of it.
    assert_eq!((&index.platforms, &index.labels), (&linux().platforms, &linux().labels));
    let sbom = find(&found, "sbom");
    assert_eq!(
        (sbom.subject.as_ref(), sbom.artifact_type.as_deref()),
        (Some(&digest("index")), Some("application/sbom"))
    );
    assert_eq!((&sbom.platforms, find(&found, "child").alone_at), (&None, Some(at(1))));
}

/// Newest first, each once, without what the tag points at.
pub async fn a_snapshot_tells_the_past_as_far_as_it_is_asked_for(s: &Scene) {
    for (hour, name) in ["a", "b", "a", "c", "d"].into_iter().enumerate() {
        s.put("app", image(name).tag("latest"), hour as i64).await;
    }
    s.put("app", image("e").tag("other"), 9).await;
    for (past, expected) in [(0, &[][..]), (2, &["c", "a"]), (9, &["c", "a", "b"])] {
        let found = snapshot(s, past).await;
        let digests: Vec<_> = expected.iter().map(|name| digest(name)).collect();
        assert_eq!((&found.tags[0].past, found.tags[1].past.len()), (&digests, 0));
    }
}

/// A push that could not read the config again takes nothing away.
pub async fn details_that_are_known_stay_known(s: &Scene) {
    s.put("app", image("a").tag("v1"), 1).await;
    assert_eq!(find(&snapshot(s, 0).await, "a").platforms, None);
    s.put("app", image("a").tag("v1").details(linux()), 2).await;
    s.put("app", image("a").tag("v1"), 3).await;
    assert_eq!(find(&snapshot(s, 0).await, "a").labels, linux().labels);
}

/// Until the pin goes; then as if it had never been there.
pub async fn a_pinned_manifest_outlives_its_tag(s: &Scene) {
    s.put("app", image("a").tag("latest"), 0).await;
    pin(s, &["a", "nothing"]).await;
    s.put("app", image("b").tag("latest"), 1).await;
    s.collect(rules(24 * 30)).await;
    assert!(s.has("app", "a").await);
    let reason = s.store.pin(&repo("app"), &digest("a")).await.expect("an answer");
    assert_eq!(reason.as_deref(), Some("keeps a"));
    assert_eq!(s.store.pin(&repo("app"), &digest("b")).await.expect("an answer"), None);
    s.verifies().await;
    pin(s, &["nothing"]).await;
    assert_eq!(find(&snapshot(s, 0).await, "a").alone_at, Some(at(1)));
    s.collect(rules(24 * 30)).await;
    assert!(!s.has("app", "a").await);
}

/// Pins that are added leave those that are there, with their reasons.
pub async fn added_pins_leave_the_others(s: &Scene) {
    for name in ["a", "b", "c"] {
        s.put("app", image(name), 0).await;
    }
    pin(s, &["a", "b"]).await;
    let added = ["b", "c"].map(|name| Pin { digest: digest(name), reason: "added".into() });
    s.store.add_pins(&repo("app"), added.clone().into()).await.expect("pinned");
    s.store.add_pins(&repo("nowhere"), added.into()).await.expect("nothing to pin");
    for (name, expected) in [("a", "keeps a"), ("b", "keeps b"), ("c", "added")] {
        let reason = s.store.pin(&repo("app"), &digest(name)).await.expect("an answer");
        assert_eq!(reason.as_deref(), Some(expected));
    }
    s.collect(rules(24 * 30)).await;
    assert!(s.has("app", "a").await && s.has("app", "b").await && s.has("app", "c").await);
    pin(s, &["b"]).await;
    s.collect(rules(24 * 30)).await;
    assert!(!s.has("app", "a").await && s.has("app", "b").await && !s.has("app", "c").await);
}

/// The tag goes and its manifest stays.
pub async fn a_pin_holds_against_an_expiry(s: &Scene) {
    s.put("app", image("a").tag("v1"), 0).await;
    pin(s, &["a"]).await;
    let expiry = ExpireTag {
        repo: repo("app"),
        tag: tag("v1"),
        digest: digest("a"),
        updated_at: at(0),
        pulled_before: None,
        attached_to: None,
        lease: DAY,
        change: at(5).into(),
    };
    let done = s.store.expire_tag(expiry).await.expect("an answer");
    assert_eq!(done, Expired::Done { removed_manifest: false });
    assert!(s.has("app", "a").await && s.tagged("app", "v1").await.is_none());
}

/// A child that a tag pointed at once is not let go with its index.
pub async fn a_purge_leaves_what_is_pinned(s: &Scene) {
    s.put("app", image("child"), 0).await;
    s.put("app", image("index").child("child").tag("v1"), 0).await;
    pin(s, &["child"]).await;
    s.delete("app", "index", 1).await;
    s.collect(rules(24 * 40)).await;
    s.collect(rules(24 * 80)).await;
    assert!(s.has("app", "child").await && s.manifest("app", "index").await.is_none());
}

/// As it was written down last.
pub async fn the_last_judgement_is_told(s: &Scene) {
    assert_eq!(s.store.judged().await.expect("an answer"), None);
    for number in [1, 2] {
        let judged = Judged { at: Timestamp(number), policies: format!("sha256:{number}") };
        s.store.note_judged(&judged).await.expect("noted");
        assert_eq!(s.store.judged().await.expect("an answer"), Some(judged));
    }
}
