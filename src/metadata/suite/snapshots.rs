//! Snapshots for policy evaluation, and pins.

use super::scene::DAY;
use super::*;
use crate::clock::Timestamp;
use crate::metadata::{
    EvaluationRecord, ExpiryOutcome, LoadedSnapshot, Pin, SnapshotQuery, TagExpiry, UnreadConfig,
};
use crate::oci::ImageDetails;
use crate::retention::{ManifestFacts, Needs, RepoSnapshot};

async fn load(s: &Scene, query: SnapshotQuery) -> LoadedSnapshot {
    s.store.retention_snapshot(&repo("app"), &query).await.expect("read").expect("a repository")
}

/// Loads a snapshot with the label `a`, the annotation `k` and platforms.
async fn snapshot(s: &Scene, past: usize) -> RepoSnapshot {
    let mut loaded = load(s, SnapshotQuery { past, needs: needs() }).await.snapshot;
    loaded.inherit_details();
    loaded
}

fn needs() -> Needs {
    Needs { labels: ["a".to_owned()].into(), annotations: ["k".to_owned()].into(), platforms: true }
}

fn find<'a>(snapshot: &'a RepoSnapshot, name: &str) -> &'a ManifestFacts {
    snapshot.manifests.iter().find(|manifest| manifest.digest == digest(name)).expect("a manifest")
}

fn linux() -> ImageDetails {
    ImageDetails {
        platforms: Some(vec!["linux/amd64".into()]),
        labels: Some([("a".into(), "b".into())].into()),
        incomplete: false,
    }
}

async fn pin(s: &Scene, names: &[&str]) {
    let pins = names.iter().map(|name| Pin { digest: digest(name), reason: format!("keeps {name}") });
    s.store.set_pins(&repo("app"), pins.collect()).await.expect("pinned");
}

/// Live manifests with children and subjects, and tags with their times, of this repository only.
pub async fn snapshot_has_all_data_that_rules_use(s: &Scene) {
    let nowhere =
        s.store.retention_snapshot(&repo("nowhere"), &SnapshotQuery::default()).await.expect("read");
    assert!(nowhere.is_none());
    s.put("app", image("child").details(linux()), 1).await;
    s.put("app", image("index").child("child").annotation("k", "v").tag("v1"), 2).await;
    s.put("app", image("sbom").subject("index").artifact_type("application/sbom"), 3).await;
    s.put("app", image("removed").tag("removed"), 3).await;
    s.delete("app", "removed", 4).await;
    s.put("other", image("elsewhere").tag("v1"), 4).await;
    s.store.record_pulls(vec![(repo("app"), digest("index"), at(5))]).await.expect("recorded");
    let found = snapshot(s, 0).await;
    let [tag] = found.tags.as_slice() else { panic!("{found:?}") };
    assert_eq!((tag.name.as_str(), &tag.digest, tag.pushed_at), ("v1", &digest("index"), at(2)));
    assert_eq!(found.manifests.len(), 3);
    let index = find(&found, "index");
    assert_eq!((index.children.as_slice(), index.pulled_at), ([digest("child")].as_slice(), Some(at(5))));
    let size = r#"{"annotations":{"k":"v"}}"#.len() as u64;
    assert_eq!((index.pushed_at, index.alone_at, index.size), (at(2), None, size));
    assert_eq!(index.annotations.as_ref().expect("known")["k"], "v");
    // An index inherits the details of its only child.
    assert_eq!((&index.platforms, &index.labels), (&linux().platforms, &linux().labels));
    let sbom = find(&found, "sbom");
    assert_eq!(
        (sbom.subject.as_ref(), sbom.artifact_type.as_deref()),
        (Some(&digest("index")), Some("application/sbom"))
    );
    assert_eq!((&sbom.platforms, find(&found, "child").alone_at), (&None, Some(at(1))));
}

/// Newest first, each once, without the current digest.
pub async fn snapshot_has_the_requested_number_of_past_digests(s: &Scene) {
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

/// A push that could not read the config keeps the known details.
pub async fn known_details_stay_known(s: &Scene) {
    s.put("app", image("a").tag("v1"), 1).await;
    assert_eq!(find(&snapshot(s, 0).await, "a").platforms, None);
    s.put("app", image("a").tag("v1").details(linux()), 2).await;
    s.put("app", image("a").tag("v1"), 3).await;
    assert_eq!(find(&snapshot(s, 0).await, "a").labels, linux().labels);
}

/// Once for all manifests with this config, until its blob is deleted.
pub async fn config_details_are_recorded_with_the_blob(s: &Scene) {
    s.push("app", "config", 1).await;
    assert!(!s.store.has_config_details(&digest("config")).await.expect("an answer"));
    s.put("app", image("a").config("config", Some(linux())).tag("v1"), 1).await;
    s.put("app", image("b").config("config", None).tag("v2"), 1).await;
    let found = snapshot(s, 0).await;
    for name in ["a", "b"] {
        let facts = find(&found, name);
        assert_eq!((&facts.platforms, &facts.labels), (&linux().platforms, &linux().labels));
    }
    let entry = s.store.tag_entry(&repo("app"), &tag("v2")).await.expect("an answer").expect("there");
    assert_eq!(entry.manifest.platforms, ["linux/amd64"]);
    s.delete("app", "a", 2).await;
    s.delete("app", "b", 2).await;
    s.collect(rules(24 * 40)).await;
    s.collect(rules(24 * 80)).await;
    assert!(!s.store.has_config_details(&digest("config")).await.expect("an answer"));
}

/// A large repository takes no memory for details that no rule uses.
pub async fn snapshot_has_only_requested_details(s: &Scene) {
    s.push("app", "config", 1).await;
    let details =
        ImageDetails { labels: Some([("a".into(), "b".into()), ("c".into(), "d".into())].into()), ..linux() };
    s.put("app", image("image").config("config", Some(details)).tag("v1"), 1).await;
    s.put("app", image("annotated").annotation("k", "v").tag("v2"), 1).await;
    let none = load(s, SnapshotQuery::default()).await;
    assert_eq!(none.unread, []);
    for facts in &none.snapshot.manifests {
        assert_eq!((&facts.platforms, &facts.labels, &facts.annotations), (&None, &None, &None));
    }
    let labels = Needs { labels: ["c".to_owned()].into(), ..Needs::default() };
    let found = load(s, SnapshotQuery { past: 0, needs: labels }).await.snapshot;
    let expected = Some([("c".to_owned(), "d".to_owned())].into());
    assert_eq!((&find(&found, "image").labels, &find(&found, "image").annotations), (&expected, &None));
    let annotations = Needs { annotations: ["x".to_owned()].into(), ..Needs::default() };
    let found = load(s, SnapshotQuery { past: 0, needs: annotations }).await.snapshot;
    assert_eq!(find(&found, "annotated").annotations, Some([].into()));
    // Its content is not JSON.
    assert_eq!(find(&found, "image").annotations, None);
}

/// Details that are not recorded must be read from the config itself.
pub async fn incomplete_config_is_reported_as_unread(s: &Scene) {
    for name in ["partial", "huge", "lost"] {
        s.push("app", name, 1).await;
    }
    let partial = ImageDetails { incomplete: true, ..linux() };
    let huge = ImageDetails { incomplete: true, ..ImageDetails::default() };
    s.put("app", image("a").config("partial", Some(partial)).tag("a"), 1).await;
    s.put("app", image("b").config("huge", Some(huge)).tag("b"), 1).await;
    s.put("app", image("c").config("lost", None).tag("c"), 1).await;
    let found = load(s, SnapshotQuery { past: 0, needs: needs() }).await;
    // All requested details of it are recorded.
    assert_eq!(find(&found.snapshot, "a").labels, linux().labels);
    assert_eq!(unread(&found), ["huge", "lost"].map(digest));
    let more = Needs { labels: ["a".to_owned(), "z".to_owned()].into(), ..Needs::default() };
    let found = load(s, SnapshotQuery { past: 0, needs: more }).await;
    assert_eq!(find(&found.snapshot, "a").labels, None);
    assert_eq!(unread(&found), ["partial", "huge", "lost"].map(digest));
}

/// Returns the configs to read, each for the one image that has it, in the order of the images' names.
fn unread(loaded: &LoadedSnapshot) -> Vec<crate::oci::Digest> {
    let mut found: Vec<&UnreadConfig> = loaded.unread.iter().collect();
    let name = |config: &&UnreadConfig| {
        let index = config.manifests[0];
        ["a", "b", "c"].into_iter().find(|name| loaded.snapshot.manifests[index].digest == digest(name))
    };
    found.sort_by_key(name);
    found.into_iter().map(|config| config.digest.clone()).collect()
}

/// The manifest is kept until the pin is removed, and then treated as if it had never been pinned.
pub async fn a_pinned_manifest_outlives_its_tag(s: &Scene) {
    s.put("app", image("a").tag("latest"), 0).await;
    pin(s, &["a", "nothing"]).await;
    s.put("app", image("b").tag("latest"), 1).await;
    s.collect(rules(24 * 30)).await;
    assert!(s.has("app", "a").await);
    let reason = s.store.pin(&repo("app"), &digest("a")).await.expect("an answer");
    assert_eq!(reason.as_deref(), Some("keeps a"));
    assert_eq!(s.store.pin(&repo("app"), &digest("b")).await.expect("an answer"), None);
    s.assert_consistent().await;
    pin(s, &["nothing"]).await;
    assert_eq!(find(&snapshot(s, 0).await, "a").alone_at, Some(at(1)));
    s.collect(rules(24 * 30)).await;
    assert!(!s.has("app", "a").await);
}

/// Added pins keep existing ones with their reasons.
pub async fn adding_pins_keeps_existing_pins(s: &Scene) {
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

/// The tag expires and its manifest stays.
pub async fn pinned_manifest_survives_the_expiry_of_its_tag(s: &Scene) {
    s.put("app", image("a").tag("v1"), 0).await;
    pin(s, &["a"]).await;
    let expiry = TagExpiry {
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
    assert_eq!(done, ExpiryOutcome::Removed { removed_manifest: false });
    assert!(s.has("app", "a").await && s.tagged("app", "v1").await.is_none());
}

/// A pinned child is not removed with its index.
pub async fn purge_keeps_pinned_manifests(s: &Scene) {
    s.put("app", image("child"), 0).await;
    s.put("app", image("index").child("child").tag("v1"), 0).await;
    pin(s, &["child"]).await;
    s.delete("app", "index", 1).await;
    s.collect(rules(24 * 40)).await;
    s.collect(rules(24 * 80)).await;
    assert!(s.has("app", "child").await && s.manifest("app", "index").await.is_none());
}

/// The last recorded evaluation is returned.
pub async fn last_evaluation_is_recorded(s: &Scene) {
    assert_eq!(s.store.last_evaluation().await.expect("an answer"), None);
    for number in [1, 2] {
        let evaluation = EvaluationRecord { at: Timestamp(number), policies: format!("sha256:{number}") };
        s.store.record_evaluation(&evaluation).await.expect("recorded");
        assert_eq!(s.store.last_evaluation().await.expect("an answer"), Some(evaluation));
    }
}
