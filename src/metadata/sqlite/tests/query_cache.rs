//! Every change to a repository drops the cached results of this repository and of no other.
//!
//! The tests change rows behind the store's back, so that a result shows whether it came from the cache.

use std::sync::Arc;

use rusqlite::Connection;

use super::Folder;
use crate::metadata::suite::{Scene, at, digest, image, rules};
use crate::metadata::{Metadata, Target};

const REPOSITORIES: [&str; 2] = ["app", "other"];

/// Creates two repositories with two images of one blob each, caches all results, and then changes the rows unnoticed.
async fn cached_scene() -> (Folder, Scene) {
    let folder = Folder::new();
    let store: Arc<Metadata> = Arc::new(folder.store());
    let scene = Scene::new(store);
    for name in REPOSITORIES {
        scene.push(name, "x", 0).await;
        scene.put(name, image("a").blob("x").tag("v1"), 0).await;
        scene.put(name, image("b").blob("x").tag("v2"), 0).await;
    }
    assert_eq!(cached(&scene).await, REPOSITORIES);
    let unnoticed = Connection::open(folder.path().join("orlop.db")).expect("opened");
    let change = "UPDATE manifests SET media_type = 'new'; UPDATE links SET leased_at = leased_at + 1";
    unnoticed.execute_batch(change).expect("changed");
    assert_eq!(cached(&scene).await, REPOSITORIES);
    (folder, scene)
}

/// Lists the repositories whose results are still cached.
async fn cached(scene: &Scene) -> Vec<&'static str> {
    let mut cached = Vec::new();
    for name in REPOSITORIES {
        let manifests = [scene.manifest(name, "b").await, scene.tagged(name, "v2").await];
        let blob = scene.blob(name, "x").await.expect("it exists");
        let is_cached = manifests.map(|manifest| manifest.expect("it exists").media_type != "new");
        assert_eq!(is_cached, [blob.leased_at == at(0); 2], "results are cached or dropped all together");
        if is_cached[0] {
            cached.push(name);
        }
    }
    cached
}

#[tokio::test]
async fn change_to_a_repository_keeps_cached_results_of_others() {
    let (_folder, scene) = cached_scene().await;
    scene.untag("app", "v1", 1).await;
    assert_eq!(cached(&scene).await, ["other"]);

    let (_folder, scene) = cached_scene().await;
    scene.delete("app", "a", 1).await;
    assert_eq!(cached(&scene).await, ["other"]);

    let (_folder, scene) = cached_scene().await;
    scene.put("app", image("c").blob("x").tag("v1"), 1).await;
    assert_eq!(cached(&scene).await, ["other"]);

    let (_folder, scene) = cached_scene().await;
    assert!(scene.head("app", Target::Blob(&digest("x")), 20, true).await);
    assert_eq!(cached(&scene).await, ["other"]);
}

#[tokio::test]
async fn collection_in_a_repository_keeps_cached_results_of_others() {
    let (_folder, scene) = cached_scene().await;
    scene.delete("app", "a", 1).await;
    assert_eq!(cached(&scene).await, ["other"]);
    scene.collect(rules(100)).await;
    assert_eq!(cached(&scene).await, ["other"]);
}

#[tokio::test]
async fn change_to_a_blob_invalidates_every_repository() {
    let (_folder, scene) = cached_scene().await;
    scene.push("third", "x", 1).await;
    assert_eq!(cached(&scene).await, <[&str; 0]>::default());
}

#[tokio::test]
async fn new_content_keeps_cached_results() {
    let (_folder, scene) = cached_scene().await;
    scene.push("app", "y", 1).await;
    scene.put("app", image("c").blob("y").tag("v3"), 1).await;
    assert_eq!(cached(&scene).await, REPOSITORIES);
}
