//! Tests fsck, which checks manifests against the records made when they were accepted.

use bytes::Bytes;
use orlop::maintenance::fsck::{FsckReport, ProblemKind, fsck};
use orlop::maintenance::progress::Silent;
use orlop::registry::{PutRequest, Repository};
use serde_json::json;

use crate::kit::{Kit, digest, push};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

async fn put(repo: &Repository, content_type: &str, content: &str) {
    let request = PutRequest {
        digest: None,
        tags: vec!["v1".parse().expect("tag")],
        content_type: Some(content_type.parse().expect("media type")),
        content: Bytes::copy_from_slice(content.as_bytes()),
    };
    repo.put_manifest(request).await.expect("accepted");
}

async fn check(kit: &Kit) -> FsckReport {
    fsck(&kit.registry, false, &Silent).await.expect("checked")
}

#[tokio::test]
async fn manifests_whose_type_only_the_content_type_header_gave_are_sound() {
    let kit = Kit::new();
    let blob = push(&kit.repo("artifact"), b"hello").await;
    put(&kit.repo("null"), INDEX, r#"{"schemaVersion":2,"manifests":null}"#).await;
    put(&kit.repo("none"), INDEX, r#"{"schemaVersion":2}"#).await;
    let blobs = json!({ "blobs": [{ "mediaType": "a/b", "digest": blob.as_str(), "size": 5 }] });
    put(&kit.repo("artifact"), "application/vnd.oci.artifact.manifest.v1+json", &blobs.to_string()).await;
    let report = check(&kit).await;
    assert!(report.is_sound(), "{report:?}");
    assert_eq!((report.manifests, report.warnings.len()), (3, 0), "{report:?}");
}

#[tokio::test]
async fn a_sparse_index_stays_sound_after_the_setting_is_turned_off() {
    let kit = Kit::with(|settings| settings.sparse = true);
    let child = json!({ "mediaType": IMAGE, "digest": digest(b"absent").as_str(), "size": 7 });
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [child] });
    put(&kit.repo("app"), INDEX, &index.to_string()).await;
    let kit = kit.restarted_with(|settings| settings.sparse = false).await;
    let report = check(&kit).await;
    assert!(report.is_sound() && report.warnings.is_empty(), "{report:?}");
}

/// Pushes an image with a config of six bytes and no layers.
async fn push_image(repo: &Repository) -> String {
    let config = push(repo, b"config").await;
    let image = json!({
        "schemaVersion": 2, "mediaType": IMAGE, "layers": [],
        "config": { "mediaType": CONFIG, "digest": config.as_str(), "size": 6 },
    });
    let image = image.to_string();
    put(repo, IMAGE, &image).await;
    image
}

#[tokio::test]
async fn reports_a_missing_required_child_even_if_sparse_indexes_are_allowed() {
    let kit = Kit::new();
    let repo = kit.repo("app");
    let image = push_image(&repo).await;
    let child =
        json!({ "mediaType": IMAGE, "digest": digest(image.as_bytes()).as_str(), "size": image.len() });
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [child] });
    put(&repo, INDEX, &index.to_string()).await;
    assert!(check(&kit).await.is_sound());
    let connection = rusqlite::Connection::open(kit.metadata_dir.path().join("orlop.db")).expect("opened");
    connection
        .execute("UPDATE manifests SET state = 1, removed_at = 0 WHERE media_type = ?1", [IMAGE])
        .expect("removed");
    drop(connection);
    let kit = kit.restarted_with(|settings| settings.sparse = true).await;
    let report = check(&kit).await;
    assert_eq!(report.counts.get(&ProblemKind::MissingTarget), Some(&1), "{report:?}");
}

#[tokio::test]
async fn warns_if_a_descriptor_size_differs_from_the_blob() {
    let kit = Kit::new();
    let repo = kit.repo("app");
    let image = push_image(&repo).await;
    // An earlier version accepted such manifests.
    let wrong = image.replace("\"size\":6", "\"size\":99");
    let connection = rusqlite::Connection::open(kit.metadata_dir.path().join("orlop.db")).expect("opened");
    let key =
        |content: &str| [&[1][..], &hex::decode(digest(content.as_bytes()).hex()).expect("hex")].concat();
    let changed = connection.execute(
        "UPDATE manifests SET content = ?1, digest = ?2 WHERE digest = ?3",
        rusqlite::params![wrong.as_bytes(), key(&wrong), key(&image)],
    );
    assert_eq!(changed.expect("changed"), 1);
    drop(connection);
    let report = check(&kit).await;
    assert_eq!(report.counts.get(&ProblemKind::DamagedManifest), None, "{report:?}");
    let [warning] = &report.warnings[..] else { panic!("{report:?}") };
    assert!(warning.contains("with 99 bytes, but it has 6"), "{warning}");
}
