//! Tests the details that images carry (labels, annotations, platforms): the stored record is bounded, and retention
//! rules read the complete data where they need it.

use std::fmt::Write as _;

use orlop::clock::Clock;
use orlop::metadata::{Integrity, SnapshotQuery};
use orlop::oci::Digest;
use orlop::registry::{PutManifestError, Repository};
use serde_json::{Value, json};

use crate::kit::*;
use crate::retention::{DAY, expired_tags, policies, retention};

/// A config with one long label for the team, and about `other_bytes` bytes of short labels.
fn config(team: &str, other_bytes: usize) -> String {
    let mut labels = format!(r#""org.example.the-team-that-made-it":"{team}""#);
    for number in 0..other_bytes / 20 {
        write!(labels, r#","label-{number:06}":"xx""#).expect("written");
    }
    format!(r#"{{"os":"linux","architecture":"arm64","config":{{"Labels":{{{labels}}}}}}}"#)
}

async fn push_with_config(repo: &Repository, tag: &str, config: &str) -> Digest {
    let config = push(repo, config.as_bytes()).await;
    put_with_config(repo, tag, &config).await;
    config
}

async fn put_with_config(repo: &Repository, tag: &str, config: &Digest) {
    let mut manifest: Value = serde_json::from_str(&image(config, &[])).expect("JSON");
    manifest["annotations"] = json!({ "tag": tag });
    put(repo, &[tag], &manifest.to_string()).await.expect("accepted");
}

/// The size of the metadata, without free pages and logs.
async fn stored_bytes(kit: &Kit) -> u64 {
    let folder = tempfile::TempDir::new().expect("temporary folder");
    let copy = folder.path().join("orlop.db");
    kit.registry.metadata().copy_to(&copy).await.expect("copied");
    std::fs::metadata(&copy).expect("there").len()
}

#[tokio::test]
async fn many_manifests_of_one_large_config_take_little_space() {
    let kit = Kit::new();
    let repo = kit.repo("app");
    let large = config("a", 1_000_000);
    assert!((900_000..1 << 20).contains(&large.len()), "{}", large.len());
    let before = stored_bytes(&kit).await;
    let config = push(&repo, large.as_bytes()).await;
    for number in 0..100 {
        put_with_config(&repo, &format!("t{number}"), &config).await;
    }
    let grown = stored_bytes(&kit).await - before;
    assert!(grown < 200_000, "{grown}");
}

/// The annotations of a manifest are stored in its content only.
#[tokio::test]
async fn annotations_are_stored_once() {
    let kit = Kit::new();
    let repo = kit.repo("app");
    let before = stored_bytes(&kit).await;
    let note = "x".repeat(1_000_000);
    push_with_config(&repo, "one", "{}").await;
    let mut manifest: Value = serde_json::from_str(&image(&push(&repo, b"{}").await, &[])).expect("JSON");
    manifest["annotations"] = json!({ "note": note });
    put(&repo, &["noted"], &manifest.to_string()).await.expect("accepted");
    let grown = stored_bytes(&kit).await - before;
    assert!((900_000..1_200_000).contains(&grown), "{grown}");
}

const BY_TEAM: &str = r#"
[[policies]]
name = "teams"
[[policies.rules]]
name = "ours"
action = "keep"
labels = { "org.example.the-team-that-made-it" = "us" }
[[policies.rules]]
name = "old"
action = "expire"
pushed_before = "1d"
"#;

#[tokio::test]
async fn a_rule_reads_the_config_where_its_record_is_incomplete() {
    let mut kit = Kit::new();
    let repo = kit.repo("app");
    for (tag, team, other_bytes) in [
        ("few-us", "us", 100),
        ("few-them", "them", 100),
        ("many-us", "us", 50_000),
        ("many-them", "them", 50_000),
    ] {
        push_with_config(&repo, tag, &config(team, other_bytes)).await;
    }
    let huge = config("them", 2_000_000);
    push_with_config(&repo, "huge-them", &huge).await;
    kit.clock.advance(2 * DAY);
    let retention = retention(&mut kit, policies(BY_TEAM)).await;
    let plan = retention.plan(None, false).await.expect("planned");
    assert_eq!(expired_tags(&plan), ["app:few-them", "app:huge-them", "app:many-them"]);
}

#[tokio::test]
async fn an_image_whose_config_cannot_be_read_is_kept() {
    let mut kit = Kit::new();
    let repo = kit.repo("app");
    let quarantined = push_with_config(&repo, "damaged", &config("them", 50_000)).await;
    push_with_config(&repo, "sound", &config("them", 60_000)).await;
    // This config is larger than a rule reads.
    push_with_config(&repo, "enormous", &config("them", 5_000_000)).await;
    let key = kit.registry.metadata().stored_blob(&quarantined).await.expect("read").expect("there").key;
    let integrity = Integrity::Damaged("by mistake".into());
    kit.registry.metadata().mark_blob(&key, integrity, kit.clock.now()).await.expect("marked");
    kit.clock.advance(2 * DAY);
    let retention = retention(&mut kit, policies(BY_TEAM)).await;
    let plan = retention.plan(None, false).await.expect("planned");
    assert_eq!(expired_tags(&plan), ["app:sound"]);
}

#[tokio::test]
async fn a_rule_reads_an_index_with_more_platforms_than_are_stored() {
    let mut kit = Kit::new();
    let repo = kit.repo("app");
    for (tag, os) in [("plan9", "plan9"), ("linux", "linux")] {
        let mut children = Vec::new();
        for number in 0..70 {
            let config = push(&repo, format!(r#"{{"of":"{tag}","n":{number}}}"#).as_bytes()).await;
            let child = put(&repo, &[], &image(&config, &[])).await.expect("accepted");
            children.push(json!({
                "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": child.as_str(),
                "size": size_of(&child), "platform": { "os": os, "architecture": format!("a{number}") },
            }));
        }
        let index = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": children,
        });
        put(&repo, &[tag], &index.to_string()).await.expect("accepted");
    }
    kit.clock.advance(2 * DAY);
    let keep = BY_TEAM.replace(
        "labels = { \"org.example.the-team-that-made-it\" = \"us\" }",
        "platforms = [\"plan9/a69\"]",
    );
    let retention = retention(&mut kit, policies(&keep)).await;
    let plan = retention.plan(None, false).await.expect("planned");
    assert_eq!(expired_tags(&plan), ["app:linux"]);
}

#[tokio::test]
async fn a_snapshot_holds_no_details_if_no_rule_needs_them() {
    let kit = Kit::new();
    let repo = kit.repo("app");
    for number in 0..20 {
        push_with_config(&repo, &format!("t{number}"), &config(&number.to_string(), 10_000)).await;
    }
    let query = SnapshotQuery::default();
    let loaded = kit.registry.metadata().retention_snapshot(repo.name(), &query);
    let loaded = loaded.await.expect("read").expect("there");
    assert_eq!((loaded.snapshot.manifests.len(), loaded.unread.len()), (20, 0));
    let holds = |facts: &orlop::retention::ManifestFacts| {
        facts.labels.is_some() || facts.annotations.is_some() || facts.platforms.is_some()
    };
    assert!(!loaded.snapshot.manifests.iter().any(holds));
}

#[tokio::test]
async fn rejects_a_descriptor_whose_size_differs_from_the_content() {
    let kit = Kit::with(|settings| settings.sparse = true);
    let repo = kit.repo("app");
    let config = push(&repo, b"{}").await;
    let layer = push(&repo, b"layer").await;
    let sound: Value = serde_json::from_str(&image(&config, &[&layer])).expect("JSON");
    let child = put(&repo, &[], &sound.to_string()).await.expect("accepted");
    let sound_index: Value = serde_json::from_str(&index(&[&child])).expect("JSON");
    let assert_rejected = async |manifest: &Value, pointer: &str, digest: &Digest| {
        let mut manifest = manifest.clone();
        manifest.pointer_mut(pointer).expect("a descriptor")["size"] = json!(77);
        let error = put(&repo, &["wrong"], &manifest.to_string()).await.expect_err("rejected");
        let PutManifestError::Invalid(invalid) = error else { panic!("{error:?}") };
        let text = invalid.to_string();
        let actual = size_of(digest).to_string();
        assert!(text.contains(digest.as_str()) && text.contains("77") && text.contains(&actual), "{text}");
    };
    assert_rejected(&sound, "/config", &config).await;
    assert_rejected(&sound, "/layers/0", &layer).await;
    assert_rejected(&sound_index, "/manifests/0", &child).await;
    let wrong = kit.registry.metadata().tag_entry(repo.name(), &"wrong".parse().expect("tag")).await;
    assert_eq!(wrong.expect("read"), None);
}

/// A subject may be anything, a layer with URLs is stored elsewhere, and absent content has no known size.
#[tokio::test]
async fn does_not_compare_sizes_of_subjects_foreign_layers_and_absent_children() {
    let kit = Kit::with(|settings| settings.sparse = true);
    let repo = kit.repo("app");
    let config = push(&repo, b"{}").await;
    let layer = push(&repo, b"layer").await;
    let subject = put(&repo, &[], &image(&config, &[])).await.expect("accepted");
    let mut manifest: Value = serde_json::from_str(&image(&config, &[&layer])).expect("JSON");
    manifest["layers"][0]["size"] = json!(77);
    manifest["layers"][0]["urls"] = json!(["https://example.com/layer"]);
    manifest["subject"] = json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": subject.as_str(), "size": 77,
    });
    put(&repo, &["urls"], &manifest.to_string()).await.expect("accepted");
    put(&repo, &["sparse"], &index(&[&digest(b"absent child")])).await.expect("accepted");
}

/// Tags may point at manifests that an earlier version accepted and this version would reject.
#[tokio::test]
async fn a_manifest_accepted_by_an_earlier_version_can_be_tagged() {
    use orlop::metadata::{PushedDetails, PutManifest};
    let kit = Kit::new();
    let repo = kit.repo("app");
    let config = push(&repo, b"{}").await;
    let mut manifest: Value = serde_json::from_str(&image(&config, &[])).expect("JSON");
    manifest["artifactType"] = json!("no media type");
    manifest["config"]["size"] = json!(77);
    let content = manifest.to_string();
    assert!(matches!(put(&repo, &["new"], &content).await, Err(PutManifestError::Invalid(_))));
    let old = PutManifest {
        repo: repo.name().clone(),
        digest: digest(content.as_bytes()),
        content: content.clone().into(),
        media_type: "application/vnd.oci.image.manifest.v1+json".into(),
        artifact_type: Some("no media type".into()),
        details: PushedDetails::Config { digest: config, details: None },
        edges: Vec::new(),
        tags: Vec::new(),
        requires_verified: false,
        change: kit.clock.now().into(),
    };
    kit.registry.metadata().put_manifest(old).await.expect("stored");
    put(&repo, &["pushed-again"], &content).await.expect("accepted again");
    repo.point_tag("again".parse().expect("tag"), &digest(content.as_bytes())).await.expect("tagged");
}
