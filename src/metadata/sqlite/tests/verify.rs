//! [`Maintenance::verify`] finds inconsistencies.

use super::Folder;
use crate::metadata::Durability;
use crate::metadata::suite::{Fixture, Scene, image};

async fn assert_found(change: &'static str, meaning: &str) {
    let folder = Folder::new();
    {
        let scene = Scene::new(folder.open());
        scene.push("app", "layer", 0).await;
        scene.push("app", "loose", 0).await;
        scene.put("app", image("child").blob("layer"), 0).await;
        scene.put("app", image("index").child("child").subject("s").tag("v1"), 0).await;
        scene.start_upload("app", 0).await;
        scene.assert_consistent().await;
    }
    let store = folder.store();
    let changed = store.write(Durability::Full, move |c| c.execute_batch(change));
    changed.await.expect("changed");
    let found = store.verify().await.expect("verified");
    assert!(found.iter().any(|problem| problem.contains(meaning)), "{change}: {found:?}");
}

#[tokio::test]
async fn every_inconsistency_is_found() {
    let changes = [
        ("UPDATE links SET hidden_at = 1", "a live manifest refers to a missing blob"),
        ("UPDATE manifests SET state = 1, removed_at = 1 WHERE content = x'6368696c64'", "missing child"),
        ("UPDATE manifests SET state = 1, removed_at = 1 WHERE content = x'696e646578'", "a tag points"),
        ("DELETE FROM review WHERE kind = 0", "an unreferenced link"),
        ("DELETE FROM tags; DELETE FROM review WHERE kind = 1", "an unreferenced manifest"),
        ("INSERT INTO blobs (digest, size, generation) VALUES (x'01', 1, x'02')", "a blob has no link"),
        (
            "INSERT INTO doomed SELECT generation, digest, size, 0 FROM blobs",
            "in use is scheduled for deletion",
        ),
        ("UPDATE totals SET allocated = 7", "the totals are wrong"),
        ("UPDATE totals SET doomed_allocated = 7", "the totals are wrong"),
        ("UPDATE blobs SET links = 7", "a blob's number of links"),
        ("UPDATE repositories SET own_allocated = 7", "a repository's usage counters"),
        ("UPDATE repositories SET tags = 7", "a repository's usage counters"),
        ("UPDATE repositories SET manifest_bytes = 7", "a repository's usage counters"),
        ("UPDATE repositories SET history = 7", "a repository's usage counters"),
        ("INSERT INTO quotas (prefix, used_bytes) VALUES ('app', 7)", "a quota's usage counters"),
        ("INSERT INTO quotas (prefix, used_repositories) VALUES ('none', 7)", "a quota's usage counters"),
        ("UPDATE totals SET blobs = 7", "the totals are wrong"),
        ("UPDATE totals SET uploads = 7", "the totals are wrong"),
        ("UPDATE manifests SET removed_at = 1", "a removal time"),
        ("UPDATE edges SET source = NULL", "an edge does not match its manifest"),
        (
            "UPDATE uploads SET intent_digest = x'01', intent_generation = x'02';
             INSERT INTO doomed (generation, digest, size) VALUES (x'02', x'01', 1)",
            "an upload would become",
        ),
        (
            "INSERT INTO adopting (generation, digest) SELECT generation, digest FROM blobs",
            "a blob in use is still to be adopted",
        ),
        (
            "INSERT INTO adopting (generation, digest) VALUES (x'02', x'01');
             INSERT INTO doomed (generation, digest, size) VALUES (x'02', x'01', 1)",
            "an adopted file is scheduled for deletion",
        ),
    ];
    for (change, meaning) in changes {
        assert_found(change, meaning).await;
    }
}

#[tokio::test]
async fn damaged_page_is_found() {
    let folder = Folder::new();
    {
        let scene = Scene::new(folder.open());
        for number in 0..200 {
            scene.start_upload(&format!("app{number}"), 0).await;
        }
    }
    let path = folder.path().join("orlop.db");
    let mut bytes = std::fs::read(&path).expect("read");
    let last = bytes.len() - 4096;
    bytes[last..last + 100].fill(0xff);
    std::fs::write(&path, bytes).expect("written");
    let problems = folder.store().verify().await;
    assert!(problems.is_err() || problems.is_ok_and(|found| !found.is_empty()));
}
