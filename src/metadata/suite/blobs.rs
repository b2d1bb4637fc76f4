//! Blobs, and the links by which repositories serve them.

use super::scene::{ALLOCATED, SIZE};
use super::*;
use crate::metadata::{BlobRecord, Deletion, Mount, StoredBlob};
use crate::oci::{BlobKey, Generation};

async fn mount(s: &Scene, to: &str, name: &str, from: Option<&str>, hours: i64) -> Option<BlobRecord> {
    let from = from.map(repo);
    let mounted = s.store.mount_blob(&repo(to), &digest(name), from.as_ref(), at(hours)).await;
    match mounted.expect("an answer") {
        Mount::Done(blob) => Some(blob),
        Mount::Missing => None,
        Mount::Refused(over) => panic!("{over}"),
    }
}

/// A push of what is there already replaces its bytes, whatever has become of them.
pub async fn a_push_replaces_the_generation_and_dooms_the_old_one(s: &Scene) {
    let old = s.push("app", "layer", 1).await;
    let new = s.push("other", "layer", 2).await;
    assert_eq!(s.blob("app", "layer").await.map(|blob| blob.key), Some(new.clone()));
    assert_eq!(s.store.doomed(10).await.expect("listed"), [(old.clone(), SIZE)]);
    s.store.forget_doomed(&[old]).await.expect("forgotten");
    assert_eq!(s.doomed().await, []);
    let stored = s.store.stored_blob(&digest("layer")).await.expect("an answer");
    assert_eq!(stored, Some(StoredBlob { key: new, size: SIZE, damaged: false, allocated: Some(ALLOCATED) }));
}

/// A repository serves what was pushed to it.
pub async fn a_blob_is_served_where_it_was_pushed(s: &Scene) {
    s.push("app", "layer", 1).await;
    assert!(s.has_blob("app", "layer").await);
    assert!(!s.has_blob("other", "layer").await);
    assert!(!s.has_blob("app", "other").await);
}

/// Damaged is absent, to HEAD, mount and manifests; and back when it turns out to be sound.
pub async fn a_damaged_blob_is_absent(s: &Scene) {
    let key = s.push("app", "layer", 1).await;
    assert!(s.mark(&key, true, 1).await);
    assert!(!s.has_blob("app", "layer").await);
    assert!(!s.head_blob("app", "layer", 2).await);
    assert_eq!(mount(s, "other", "layer", Some("app"), 2).await, None);
    assert_ne!(s.try_put("app", image("a").blob("layer"), 2).await, crate::metadata::PutOutcome::Stored);
    assert!(s.mark(&key, false, 1).await);
    assert!(s.has_blob("app", "layer").await);
}

/// A re-push heals.
pub async fn a_push_heals_a_damaged_blob(s: &Scene) {
    let key = s.push("app", "layer", 1).await;
    assert!(s.mark(&key, true, 1).await);
    let healed = s.push("app", "layer", 2).await;
    assert_eq!(s.blob("app", "layer").await.map(|blob| blob.key), Some(healed));
    assert!(!s.mark(&key, true, 1).await);
    assert!(s.has_blob("app", "layer").await);
}

/// What is not the current generation is not marked.
pub async fn another_generation_is_not_marked(s: &Scene) {
    let key = s.push("app", "layer", 1).await;
    let other = BlobKey { generation: Generation::random(), ..key };
    assert!(!s.mark(&other, true, 1).await);
    assert!(s.has_blob("app", "layer").await);
}

/// A mount links and leases.
pub async fn a_blob_is_mounted_from_a_repository(s: &Scene) {
    let key = s.push("app", "layer", 1).await;
    let mounted = mount(s, "other", "layer", Some("app"), 5).await.expect("mounted");
    assert_eq!(mounted, BlobRecord { key, size: SIZE, leased_at: at(5) });
    assert_eq!(s.blob("other", "layer").await, Some(mounted));
    assert_eq!(s.blob("app", "layer").await.map(|blob| blob.leased_at), Some(at(1)));
}

/// Without a source any will do.
pub async fn a_blob_is_mounted_from_anywhere(s: &Scene) {
    s.push("app", "layer", 1).await;
    assert!(mount(s, "other", "layer", None, 5).await.is_some());
    assert!(s.has_blob("other", "layer").await);
    assert_eq!(mount(s, "other", "absent", None, 5).await, None);
}

/// A source that does not serve the blob is none, and the miss leaves nothing behind.
pub async fn a_mount_misses_where_the_source_has_nothing(s: &Scene) {
    s.push("app", "layer", 1).await;
    s.begin("empty", 1).await;
    assert_eq!(mount(s, "other", "layer", Some("empty"), 5).await, None);
    assert_eq!(mount(s, "other", "layer", Some("unheard-of"), 5).await, None);
    assert!(!s.has_blob("other", "layer").await);
    assert!(!s.store.repository_exists(&repo("other")).await.expect("an answer"));
}

/// A deleted blob is gone at once, for its own repository alone.
pub async fn a_deleted_blob_is_hidden(s: &Scene) {
    s.push("app", "layer", 1).await;
    assert!(mount(s, "other", "layer", None, 1).await.is_some());
    assert_eq!(s.delete_blob("app", "layer", 2).await, Deletion::Done);
    assert!(!s.has_blob("app", "layer").await);
    assert!(!s.head_blob("app", "layer", 2).await);
    assert_eq!(s.delete_blob("app", "layer", 2).await, Deletion::Unknown);
    assert_eq!(mount(s, "third", "layer", Some("app"), 2).await, None);
    assert!(s.has_blob("other", "layer").await);
    assert_eq!(s.delete_blob("unheard-of", "layer", 2).await, Deletion::Unknown);
}

/// A push brings a deleted blob back for good.
pub async fn a_push_unhides(s: &Scene) {
    s.push("app", "layer", 1).await;
    s.delete_blob("app", "layer", 2).await;
    s.push("app", "layer", 3).await;
    s.put("app", image("a").blob("layer").tag("v1"), 4).await;
    s.collect(rules(1000)).await;
    assert!(s.has_blob("app", "layer").await);
}

/// So does a mount.
pub async fn a_mount_unhides(s: &Scene) {
    s.push("app", "layer", 1).await;
    s.push("other", "layer", 1).await;
    s.delete_blob("app", "layer", 2).await;
    assert!(mount(s, "app", "layer", Some("other"), 3).await.is_some());
    s.put("app", image("a").blob("layer").tag("v1"), 4).await;
    s.collect(rules(1000)).await;
    assert!(s.has_blob("app", "layer").await);
    assert!(!s.has_blob("other", "layer").await);
}

/// What a live manifest needs cannot be deleted.
pub async fn a_held_blob_is_not_deleted(s: &Scene) {
    s.push("app", "layer", 1).await;
    s.put("app", image("a").blob("layer"), 1).await;
    assert_eq!(s.delete_blob("app", "layer", 2).await, Deletion::HeldBy(digest("a")));
    assert!(s.has_blob("app", "layer").await);
    s.delete("app", "a", 3).await;
    assert_eq!(s.delete_blob("app", "layer", 4).await, Deletion::Done);
    assert!(!s.has_blob("app", "layer").await);
}

/// Whoever may not read everything is told where a blob is, to choose from.
pub async fn a_blob_is_found_in_its_repositories(s: &Scene) {
    s.push("app", "a", 0).await;
    s.push("other", "a", 0).await;
    s.push("other", "b", 0).await;
    let found = async |name: &str, limit: usize| {
        let mut found = s.store.blob_repositories(&digest(name), limit).await.expect("an answer");
        found.sort();
        found
    };
    assert_eq!(found("a", 9).await, [repo("app"), repo("other")]);
    assert_eq!((found("a", 1).await.len(), found("none", 9).await.len()), (1, 0));
    s.store.delete_blob(&repo("other"), &digest("a"), at(0)).await.expect("an answer");
    assert_eq!(found("a", 9).await, [repo("app")], "what is hidden is not there");
}
