//! Blobs, and the links through which repositories serve them.

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

/// Pushing an existing blob replaces its content, whatever its state.
pub async fn push_replaces_the_generation_and_deletes_the_old_one(s: &Scene) {
    let old = s.push("app", "layer", 1).await;
    let new = s.push("other", "layer", 2).await;
    assert_eq!(s.blob("app", "layer").await.map(|blob| blob.key), Some(new.clone()));
    assert_eq!(s.store.pending_deletions(10).await.expect("listed"), [(old.clone(), SIZE)]);
    s.store.forget_pending_deletions(&[old]).await.expect("deleted");
    assert_eq!(s.pending_deletions().await, []);
    let stored = s.store.stored_blob(&digest("layer")).await.expect("an answer");
    assert_eq!(
        stored,
        Some(StoredBlob {
            key: new,
            size: SIZE,
            damaged: false,
            allocated: Some(ALLOCATED),
            unverified: false,
            hardlinked: false
        })
    );
}

/// A repository serves only what was pushed to it.
pub async fn a_blob_is_served_where_it_was_pushed(s: &Scene) {
    s.push("app", "layer", 1).await;
    assert!(s.has_blob("app", "layer").await);
    assert!(!s.has_blob("other", "layer").await);
    assert!(!s.has_blob("app", "other").await);
}

/// A quarantined blob is absent for HEAD requests, mounts and manifests, and returns when it is found intact.
pub async fn quarantined_blob_is_absent(s: &Scene) {
    let key = s.push("app", "layer", 1).await;
    assert!(s.mark(&key, true, 1).await);
    assert!(!s.has_blob("app", "layer").await);
    assert!(!s.head_blob("app", "layer", 2).await);
    assert_eq!(mount(s, "other", "layer", Some("app"), 2).await, None);
    assert_ne!(s.try_put("app", image("a").blob("layer"), 2).await, crate::metadata::PutOutcome::Stored);
    assert!(s.mark(&key, false, 1).await);
    assert!(s.has_blob("app", "layer").await);
}

/// Pushing the blob again repairs it.
pub async fn push_repairs_a_quarantined_blob(s: &Scene) {
    let key = s.push("app", "layer", 1).await;
    assert!(s.mark(&key, true, 1).await);
    let healed = s.push("app", "layer", 2).await;
    assert_eq!(s.blob("app", "layer").await.map(|blob| blob.key), Some(healed));
    assert!(!s.mark(&key, true, 1).await);
    assert!(s.has_blob("app", "layer").await);
}

/// Only the current generation can be quarantined.
pub async fn other_generations_are_not_quarantined(s: &Scene) {
    let key = s.push("app", "layer", 1).await;
    let other = BlobKey { generation: Generation::random(), ..key };
    assert!(!s.mark(&other, true, 1).await);
    assert!(s.has_blob("app", "layer").await);
}

/// A mount links and leases the blob.
pub async fn a_blob_is_mounted_from_a_repository(s: &Scene) {
    let key = s.push("app", "layer", 1).await;
    let mounted = mount(s, "other", "layer", Some("app"), 5).await.expect("mounted");
    assert_eq!(mounted, BlobRecord { key, size: SIZE, leased_at: at(5) });
    assert_eq!(s.blob("other", "layer").await, Some(mounted));
    assert_eq!(s.blob("app", "layer").await.map(|blob| blob.leased_at), Some(at(1)));
}

/// Without a source any repository will do.
pub async fn blob_is_mounted_from_any_repository(s: &Scene) {
    s.push("app", "layer", 1).await;
    assert!(mount(s, "other", "layer", None, 5).await.is_some());
    assert!(s.has_blob("other", "layer").await);
    assert_eq!(mount(s, "other", "absent", None, 5).await, None);
}

/// A source that does not serve the blob is not used, and the failed mount leaves nothing behind.
pub async fn a_mount_misses_where_the_source_has_nothing(s: &Scene) {
    s.push("app", "layer", 1).await;
    s.start_upload("empty", 1).await;
    assert_eq!(mount(s, "other", "layer", Some("empty"), 5).await, None);
    assert_eq!(mount(s, "other", "layer", Some("unheard-of"), 5).await, None);
    assert!(!s.has_blob("other", "layer").await);
    assert!(!s.store.repository_exists(&repo("other")).await.expect("an answer"));
}

/// A deleted blob is gone at once, in its own repository only.
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

/// A push restores a deleted blob permanently.
pub async fn push_unhides_a_blob(s: &Scene) {
    s.push("app", "layer", 1).await;
    s.delete_blob("app", "layer", 2).await;
    s.push("app", "layer", 3).await;
    s.put("app", image("a").blob("layer").tag("v1"), 4).await;
    s.collect(rules(1000)).await;
    assert!(s.has_blob("app", "layer").await);
}

/// A mount does, too.
pub async fn mount_unhides_a_blob(s: &Scene) {
    s.push("app", "layer", 1).await;
    s.push("other", "layer", 1).await;
    s.delete_blob("app", "layer", 2).await;
    assert!(mount(s, "app", "layer", Some("other"), 3).await.is_some());
    s.put("app", image("a").blob("layer").tag("v1"), 4).await;
    s.collect(rules(1000)).await;
    assert!(s.has_blob("app", "layer").await);
    assert!(!s.has_blob("other", "layer").await);
}

/// A blob that a live manifest needs cannot be deleted.
pub async fn referenced_blob_is_not_deleted(s: &Scene) {
    s.push("app", "layer", 1).await;
    s.put("app", image("a").blob("layer"), 1).await;
    assert_eq!(s.delete_blob("app", "layer", 2).await, Deletion::HeldBy(digest("a")));
    assert!(s.has_blob("app", "layer").await);
    s.delete("app", "a", 3).await;
    assert_eq!(s.delete_blob("app", "layer", 4).await, Deletion::Done);
    assert!(!s.has_blob("app", "layer").await);
}

/// The repositories of a blob are listed, so that a client with limited access can mount it from one it may
/// read.
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
    assert_eq!(found("a", 9).await, [repo("app")], "hidden blobs are not listed");
}
