//! That [`Maintenance::verify`] finds what cannot be.

use super::Folder;
use crate::metadata::Maintenance;
use crate::metadata::sqlite::writer::Durability;
use crate::metadata::suite::{Fixture, Scene, image};

async fn finds(plant: &'static str, meaning: &str) {
    let folder = Folder::new();
    {
        let scene = Scene::new(folder.open());
        scene.push("app", "layer", 0).await;
        scene.push("app", "loose", 0).await;
        scene.put("app", image("child").blob("layer"), 0).await;
        scene.put("app", image("index").child("child").subject("s").tag("v1"), 0).await;
        scene.begin("app", 0).await;
        scene.verifies().await;
    }
    let store = folder.store();
    let planted = store.write(Durability::Full, move |c| c.execute_batch(plant));
    planted.await.expect("planted");
    let found = store.verify().await.expect("verified");
    assert!(found.iter().any(|problem| problem.contains(meaning)), "{plant}: {found:?}");
}

#[tokio::test]
async fn what_is_planted_is_found() {
    let planted = [
        ("UPDATE links SET hidden_at = 1", "a live manifest's blob is absent"),
        ("UPDATE manifests SET state = 1, removed_at = 1 WHERE content = x'6368696c64'", "child is absent"),
        ("UPDATE manifests SET state = 1, removed_at = 1 WHERE content = x'696e646578'", "a tag points"),
        ("DELETE FROM review WHERE kind = 0", "a link that nothing holds"),
        ("DELETE FROM tags; DELETE FROM review WHERE kind = 1", "a manifest that nothing holds"),
        ("INSERT INTO blobs (digest, size, generation) VALUES (x'01', 1, x'02')", "a blob has no link"),
        ("INSERT INTO doomed SELECT generation, digest, size, 0 FROM blobs", "are on the doomed list"),
        ("UPDATE totals SET allocated = 7", "the totals are wrong"),
        ("UPDATE totals SET doomed_allocated = 7", "the totals are wrong"),
        ("UPDATE blobs SET links = 7", "a blob's number of links"),
        ("UPDATE repositories SET own_allocated = 7", "a repository's account"),
        ("UPDATE repositories SET tags = 7", "a repository's account"),
        ("UPDATE repositories SET manifest_bytes = 7", "a repository's account"),
        ("UPDATE repositories SET history = 7", "a repository's account"),
        ("INSERT INTO quotas (prefix, used_bytes) VALUES ('app', 7)", "a quota's account"),
        ("INSERT INTO quotas (prefix, used_repositories) VALUES ('none', 7)", "a quota's account"),
        ("UPDATE totals SET blobs = 7", "the totals are wrong"),
        ("UPDATE totals SET uploads = 7", "the totals are wrong"),
        ("UPDATE manifests SET removed_at = 1", "a time of removal"),
        ("UPDATE edges SET source = NULL", "an edge is not its manifest's"),
        (
            "UPDATE uploads SET intent_digest = x'01', intent_generation = x'02';
             INSERT INTO doomed (generation, digest, size) VALUES (x'02', x'01', 1)",
            "an upload is about to become",
        ),
    ];
    for (plant, meaning) in planted {
        finds(plant, meaning).await;
    }
}

#[tokio::test]
async fn a_damaged_page_is_found() {
    let folder = Folder::new();
    {
        let scene = Scene::new(folder.open());
        for number in 0..200 {
            scene.begin(&format!("app{number}"), 0).await;
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
