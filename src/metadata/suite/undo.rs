//! Listing, restoring and emptying the trash.

use super::*;
use crate::metadata::{Change, ChangeKind, EdgeKind, RemovedManifest, Restoration, Restored, TrashCursor};

async fn restore(s: &Scene, name: &str, hours: i64) -> Restoration {
    s.store.restore_manifest(&repo("app"), &digest(name), &at(hours).into()).await.expect("an answer")
}

fn outcome(manifests: &[&str], tags: &[&str], taken: &[&str]) -> Restoration {
    let tags_of = |names: &[&str]| names.iter().map(|name| tag(name)).collect();
    let manifests = manifests.iter().map(|name| digest(name)).collect();
    Restoration::Done(Restored { manifests, tags: tags_of(tags), tags_in_use: tags_of(taken) })
}

async fn list_trash(s: &Scene, of: Option<&str>) -> Vec<RemovedManifest> {
    let of = of.map(repo);
    let mut after = None::<TrashCursor>;
    let mut found = Vec::new();
    loop {
        let page = s.store.removed_manifests(of.as_ref(), after, 2).await.expect("an answer");
        found.extend(page.items);
        after = page.next;
        if after.is_none() {
            return found;
        }
    }
}

/// Newest first, in pages, of one repository or of all, with the tags that were removed.
pub async fn the_trash_is_listed(s: &Scene) {
    for (name, hours) in [("a", 3), ("b", 1), ("c", 2), ("d", 2), ("e", 5)] {
        s.put("app", image(name).tag(name).tag(&format!("{name}-too")), 0).await;
        s.delete("app", name, hours).await;
    }
    s.put("other", image("x"), 0).await;
    s.delete("other", "x", 4).await;
    let digests = |found: Vec<RemovedManifest>| found.into_iter().map(|one| one.digest).collect::<Vec<_>>();
    assert_eq!(digests(list_trash(s, None).await), ["e", "x", "a", "d", "c", "b"].map(digest));
    assert_eq!(digests(list_trash(s, Some("app")).await), ["e", "a", "d", "c", "b"].map(digest));
    assert_eq!(list_trash(s, Some("unheard-of")).await, []);
    let first = list_trash(s, None).await.remove(0);
    assert_eq!((first.repo, first.size, first.removed_at), (repo("app"), 1, at(5)));
    let lost: Vec<_> = first.tags.into_iter().map(|lost| (lost.tag, lost.kind)).collect();
    assert_eq!(lost, [(tag("e"), ChangeKind::Delete), (tag("e-too"), ChangeKind::Delete)]);
}

/// Removed tags are listed while their manifest is live and the tag is not in use again.
pub async fn removed_tags_are_listed(s: &Scene) {
    s.put("app", image("a").tag("v1").tag("v2").tag("v3").tag("stays"), 0).await;
    s.put("app", image("b").tag("b"), 0).await;
    for (name, hours) in [("v1", 1), ("v2", 2), ("v3", 3)] {
        assert!(s.untag("app", name, hours).await);
    }
    s.delete("app", "b", 4).await;
    s.put("app", image("a").tag("v2"), 5).await;
    let of = repo("app");
    for of in [None, Some(&of)] {
        let mut after = None;
        let mut found = Vec::new();
        loop {
            let page = s.store.removed_tags(of, after, 1).await.expect("an answer");
            found.extend(page.items.into_iter().map(|one| (one.lost.tag, one.removed_at, one.digest)));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found, [(tag("v3"), at(3), digest("a")), (tag("v1"), at(1), digest("a"))]);
    }
}

/// A manifest is restored with its tags and its content, and stays.
pub async fn a_removed_manifest_is_restored(s: &Scene) {
    s.push("app", "layer", 0).await;
    s.put("app", image("a").blob("layer").tag("v1").tag("v2").tag("v3"), 0).await;
    s.untag("app", "v3", 1).await;
    assert_eq!(restore(s, "a", 1).await, Restoration::Unknown);
    s.delete("app", "a", 2).await;
    s.delete_blob("app", "layer", 3).await;
    s.put("app", image("b").tag("v2"), 3).await;
    assert_eq!(restore(s, "a", 4).await, outcome(&["a"], &["v1"], &["v2"]));
    assert_eq!(s.tagged("app", "v1").await.map(|found| found.digest), Some(digest("a")));
    assert_eq!(s.tagged("app", "v2").await.map(|found| found.digest), Some(digest("b")));
    assert_eq!(s.tagged("app", "v3").await, None);
    s.collect(rules(1000)).await;
    assert!(s.has("app", "a").await && s.has_blob("app", "layer").await);
    assert_eq!(restore(s, "unheard-of", 5).await, Restoration::Unknown);
}

/// A manifest without tags expires as if it had just been pushed.
pub async fn untagged_manifest_is_restored_until_it_expires(s: &Scene) {
    s.put("app", image("a"), 0).await;
    s.delete("app", "a", 1).await;
    assert_eq!(restore(s, "a", 20).await, outcome(&["a"], &[], &[]));
    s.collect(rules(20 + 14 * 24 - 1)).await;
    assert!(s.has("app", "a").await);
    s.collect(rules(20 + 14 * 24 + 25)).await;
    assert!(!s.has("app", "a").await);
}

/// An index is restored with its children, and theirs.
pub async fn children_are_restored_with_their_index(s: &Scene) {
    s.push("app", "layer", 0).await;
    s.put("app", image("leaf").blob("layer"), 0).await;
    s.put("app", image("inner").child("leaf"), 0).await;
    s.put("app", image("index").child("inner").tag("v1"), 0).await;
    for name in ["index", "inner", "leaf"] {
        s.delete("app", name, 1).await;
    }
    assert_eq!(restore(s, "index", 2).await, outcome(&["index", "inner", "leaf"], &["v1"], &[]));
    s.collect(rules(1000)).await;
    assert!(s.has("app", "leaf").await && s.has_blob("app", "layer").await);
}

/// All missing targets are reported, including those of children, and nothing changes.
pub async fn incomplete_manifest_is_not_restored(s: &Scene) {
    let key = s.push("app", "layer", 0).await;
    s.put("app", image("good"), 0).await;
    s.put("app", image("bad").blob("layer"), 0).await;
    s.put("app", image("index").child("good").child("bad").tag("v1"), 0).await;
    for name in ["index", "bad", "good"] {
        s.delete("app", name, 1).await;
    }
    assert!(s.mark(&key, true, 1).await);
    let missing = Restoration::Missing(vec![(digest("layer"), EdgeKind::Blob)]);
    assert_eq!(restore(s, "index", 2).await, missing);
    assert!(!s.has("app", "good").await && s.tagged("app", "v1").await.is_none());
}

/// A child that is not required does not prevent the restore, and is restored if possible.
pub async fn sparse_index_is_restored_without_missing_children(s: &Scene) {
    let key = s.push("app", "layer", 0).await;
    s.put("app", image("good"), 0).await;
    s.put("app", image("bad").blob("layer"), 0).await;
    s.put("app", image("index").sparse_child("bad").sparse_child("good").sparse_child("absent"), 0).await;
    for name in ["index", "bad", "good"] {
        s.delete("app", name, 1).await;
    }
    assert!(s.mark(&key, true, 1).await);
    assert_eq!(restore(s, "index", 2).await, outcome(&["index", "good"], &[], &[]));
    assert!(!s.has("app", "bad").await);
}

/// A manifest is not restored once it is being purged.
pub async fn purged_manifest_is_not_restored(s: &Scene) {
    s.put("app", image("a").tag("v1"), 0).await;
    s.delete("app", "a", 1).await;
    s.store.expire_trash(&rules(100), 10).await.expect("expired");
    assert_eq!(restore(s, "a", 100).await, Restoration::Unknown);
}

/// The trash of one repository or of all is emptied at once, and nothing else is removed.
pub async fn the_trash_is_emptied_on_request(s: &Scene) {
    for of in ["app", "other"] {
        s.push(of, "layer", 0).await;
        for name in ["a", "b", "c"] {
            s.put(of, image(name).blob("layer").tag(name), 0).await;
            s.delete(of, name, 30).await;
        }
    }
    s.put("app", image("late").tag("late"), 0).await;
    s.delete("app", "late", 32).await;
    let app = repo("app");
    let first = s.store.empty_trash(Some(&app), at(31), 2).await.expect("emptied");
    assert!((first.changed, first.more) == (2, true));
    assert_eq!(s.store.empty_trash(Some(&app), at(31), 2).await.expect("emptied").changed, 1);
    assert_eq!(list_trash(s, None).await.len(), 4);
    assert_eq!(restore(s, "a", 31).await, Restoration::Unknown);
    assert_eq!(restore(s, "late", 33).await, outcome(&["late"], &["late"], &[]));
    assert_eq!(s.store.empty_trash(None, at(31), 10).await.expect("emptied").changed, 3);
    let keep_trash = crate::metadata::CollectionRules { trash: 100 * scene::DAY, ..rules(60) };
    s.collect(keep_trash).await;
    assert!(!s.is_stored("layer").await && s.has("app", "late").await);
}

/// The history records who restored a manifest.
pub async fn restore_is_recorded_in_the_history(s: &Scene) {
    s.put("app", image("a").tag("v1"), 0).await;
    s.delete("app", "a", 1).await;
    let change = Change { by: Some("ann".into()), ..at(2).into() };
    s.store.restore_manifest(&repo("app"), &digest("a"), &change).await.expect("restored");
    let rows = s.store.tag_history(&repo("app"), Some(&tag("v1")), None, 1).await.expect("an answer").items;
    assert_eq!((rows[0].kind, rows[0].by.as_deref()), (ChangeKind::Restore, Some("ann")));
}
