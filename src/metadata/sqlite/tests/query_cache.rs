//! What is remembered of a repository goes with every change to it, and with no other's.
//!
//! Facts are changed behind the store's back, so that an answer tells whether it was remembered.

use std::sync::Arc;

use rusqlite::Connection;

use super::Folder;
use crate::metadata::suite::{Scene, at, digest, image, rules};
use crate::metadata::{MetadataStore, Target};

const REPOSITORIES: [&str; 2] = ["app", "other"];

/// Two repositories, each with two images of one blob. Everything was asked of both before the facts changed
/// unnoticed.
async fn remembering() -> (Folder, Scene) {
    let folder = Folder::new();
    let store: Arc<dyn MetadataStore> = Arc::new(folder.store());
    let scene = Scene::new(store);
    for name in REPOSITORIES {
        scene.push(name, "x", 0).await;
        scene.put(name, image("a").blob("x").tag("v1"), 0).await;
        scene.put(name, image("b").blob("x").tag("v2"), 0).await;
    }
    assert_eq!(remembered(&scene).await, REPOSITORIES);
    let unnoticed = Connection::open(folder.path().join("orlop.db")).expect("opened");
    let change = "UPDATE manifests SET media_type = 'new'; UPDATE links SET leased_at = leased_at + 1";
    unnoticed.execute_batch(change).expect("changed");
    assert_eq!(remembered(&scene).await, REPOSITORIES);
    (folder, scene)
}

/// Of which repositories the old facts are told.
async fn remembered(scene: &Scene) -> Vec<&'static str> {
    let mut old = Vec::new();
    for name in REPOSITORIES {
        let manifests = [scene.manifest(name, "b").await, scene.tagged(name, "v2").await];
        let blob = scene.blob(name, "x").await.expect("it is there");
        let facts = manifests.map(|manifest| manifest.expect("it is there").media_type != "new");
        assert_eq!(facts, [blob.leased_at == at(0); 2], "it is either remembered or forgotten as a whole");
        if facts[0] {
            old.push(name);
        }
    }
    old
}

#[tokio::test]
async fn a_change_to_a_repository_leaves_what_is_remembered_of_others() {
    let (_folder, scene) = remembering().await;
    scene.untag("app", "v1", 1).await;
    assert_eq!(remembered(&scene).await, ["other"]);

    let (_folder, scene) = remembering().await;
    scene.delete("app", "a", 1).await;
    assert_eq!(remembered(&scene).await, ["other"]);

    let (_folder, scene) = remembering().await;
    scene.put("app", image("c").blob("x").tag("v1"), 1).await;
    assert_eq!(remembered(&scene).await, ["other"]);

    let (_folder, scene) = remembering().await;
    assert!(scene.head("app", Target::Blob(&digest("x")), 20, true).await);
    assert_eq!(remembered(&scene).await, ["other"]);
}

#[tokio::test]
async fn collection_in_a_repository_leaves_what_is_remembered_of_others() {
    let (_folder, scene) = remembering().await;
    scene.delete("app", "a", 1).await;
    assert_eq!(remembered(&scene).await, ["other"]);
    scene.collect(rules(100)).await;
    assert_eq!(remembered(&scene).await, ["other"]);
}

#[tokio::test]
async fn a_change_to_a_blob_is_one_to_every_repository() {
    let (_folder, scene) = remembering().await;
    scene.push("third", "x", 1).await;
    assert_eq!(remembered(&scene).await, <[&str; 0]>::default());
}

#[tokio::test]
async fn what_is_new_leaves_what_is_remembered() {
    let (_folder, scene) = remembering().await;
    scene.push("app", "y", 1).await;
    scene.put("app", image("c").blob("y").tag("v3"), 1).await;
    assert_eq!(remembered(&scene).await, REPOSITORIES);
}
