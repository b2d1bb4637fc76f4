//! Deleting, restoring, renaming and forgetting repositories.

use super::*;
use crate::metadata::{Change, ChangeKind, EdgeKind, ImmutableTags, PutOutcome, Renaming, RepositoryStep};

/// Runs the started work to its end, two manifests at a time. The records must be consistent after every step.
async fn finish(s: &Scene, name: &str, mut hours: i64) -> RepositoryStep {
    for _ in 0..100 {
        let step = s.store.advance_repository(&repo(name), 2, &at(hours).into()).await;
        let step = step.expect("an answer").expect("something to do");
        s.assert_consistent().await;
        if step.finished {
            return step;
        }
        hours += 1;
    }
    panic!("the work does not end");
}

async fn delete_all(s: &Scene, name: &str, hours: i64) -> RepositoryStep {
    let started = s.store.start_deletion(&repo(name), &at(hours).into()).await.expect("an answer");
    assert!(started.is_some());
    finish(s, name, hours).await
}

async fn restore_all(s: &Scene, name: &str, removal: Option<i64>, hours: i64) -> RepositoryStep {
    let started = s.store.start_restoration(&repo(name), removal, &at(hours).into()).await;
    assert!(started.expect("an answer").is_some());
    finish(s, name, hours).await
}

async fn rename(s: &Scene, from: &str, to: &str, hours: i64) -> Renaming {
    let renamed = s.store.rename_repository(&repo(from), &repo(to), &at(hours).into()).await;
    renamed.expect("an answer")
}

async fn fill(s: &Scene) {
    s.push("app", "layer", 0).await;
    for number in 0..3 {
        let child = format!("c{number}");
        let index = format!("i{number}");
        s.put("app", image(&child).blob("layer"), 0).await;
        s.put("app", image(&index).child(&child).tag(&index), 0).await;
        s.put("app", image(&format!("s{number}")).subject(&index), 0).await;
    }
}

async fn catalog(s: &Scene) -> Vec<crate::oci::RepoName> {
    s.store.repositories(None, 100).await.expect("listed")
}

/// A description belongs to a repository with content, and moves with it.
pub async fn a_description_stays_with_its_repository(s: &Scene) {
    let describe = async |name: &str, text: Option<&str>| {
        s.store.set_description(&repo(name), text).await.expect("an answer")
    };
    let description = async |name: &str| {
        let entry = s.store.repository_entry(&repo(name)).await.expect("an answer");
        entry.expect("a repository").description
    };
    assert!(!describe("app", Some("text")).await, "there is none");
    fill(s).await;
    assert_eq!(description("app").await, None);
    assert!(describe("app", Some("text")).await);
    assert_eq!(rename(s, "app", "moved", 1).await, Renaming::Done);
    assert_eq!(description("moved").await.as_deref(), Some("text"));
    delete_all(s, "moved", 2).await;
    assert!(!describe("moved", None).await, "it is empty");
    restore_all(s, "moved", None, 3).await;
    assert_eq!(description("moved").await.as_deref(), Some("text"));
    assert!(describe("moved", None).await);
    assert_eq!(description("moved").await, None);
}

/// Everything is removed in steps that each leave the rest consistent, and everything is restored.
pub async fn repository_is_deleted_and_restored(s: &Scene) {
    fill(s).await;
    s.delete("app", "s0", 1).await;
    let done = delete_all(s, "app", 2).await;
    assert_eq!((done.work.total, done.work.done, done.work.failed), (8, 8, 0));
    assert_eq!(catalog(s).await, []);
    assert_eq!(s.store.repository_work(10).await.expect("listed"), []);
    s.put("app", image("new").tag("i1"), 9).await;
    let done = restore_all(s, "app", None, 10).await;
    assert_eq!((done.work.kind, done.work.done), (ChangeKind::Restore, 8));
    for (name, of) in [("i0", "i0"), ("i1", "new"), ("i2", "i2")] {
        assert_eq!(s.tagged("app", name).await.map(|found| found.digest), Some(digest(of)));
    }
    assert!(!s.has("app", "s0").await, "it was deleted before");
    s.collect(rules(5000)).await;
    assert!(s.has("app", "c2").await && s.has_blob("app", "layer").await);
    let rows = s.store.tag_history(&repo("app"), None, None, 10).await.expect("an answer").items;
    assert_eq!(
        rows.iter().map(|row| row.kind).collect::<Vec<_>>(),
        [ChangeKind::Restore, ChangeKind::Delete]
    );
}

/// Each deletion can be restored separately.
pub async fn earlier_deletion_is_restored(s: &Scene) {
    s.put("app", image("a").tag("a"), 0).await;
    let first = delete_all(s, "app", 1).await.work.removal;
    s.put("app", image("b").tag("b"), 2).await;
    delete_all(s, "app", 3).await;
    restore_all(s, "app", Some(first), 4).await;
    assert!(s.has("app", "a").await && !s.has("app", "b").await);
    let again = s.store.start_restoration(&repo("app"), Some(first), &at(5).into()).await;
    assert_eq!(again.expect("an answer"), None);
}

/// Content pushed during the deletion stays, with everything it requires. Indexes are removed before the
/// manifests they list.
pub async fn a_push_survives_the_deletion_of_its_repository(s: &Scene) {
    s.put("app", image("early").sparse_child("late").tag("early"), 0).await;
    s.put("app", image("late"), 0).await;
    fill(s).await;
    s.store.start_deletion(&repo("app"), &at(1).into()).await.expect("started");
    s.put("app", image("new").child("c0").tag("new"), 2).await;
    s.put("app", image("i2").child("c2").tag("again"), 2).await;
    s.store.advance_repository(&repo("app"), 2, &at(3).into()).await.expect("a step");
    s.put("app", image("s2").subject("i2").tag("sig"), 4).await;
    let done = finish(s, "app", 5).await;
    assert_eq!((done.work.done, done.work.failed), (10, 1));
    assert!(s.has("app", "new").await && s.has("app", "c0").await && s.has("app", "s2").await);
    assert!(!s.has("app", "i0").await && !s.has("app", "early").await && !s.has("app", "late").await);
}

/// Starting a running deletion again continues it. An empty repository is not deleted. A restoration ends a
/// deletion.
pub async fn running_deletion_is_undone(s: &Scene) {
    fill(s).await;
    let start = || async { s.store.start_deletion(&repo("app"), &at(1).into()).await.expect("an answer") };
    let first = start().await.expect("started");
    s.store.advance_repository(&repo("app"), 2, &at(2).into()).await.expect("a step");
    let again = start().await.expect("started");
    assert_eq!((again.removal, again.done), (first.removal, 2));
    assert_eq!(s.store.repository_work(10).await.expect("listed"), [again]);
    assert_eq!(rename(s, "app", "other", 3).await, Renaming::Busy);
    let done = restore_all(s, "app", None, 4).await;
    assert_eq!(done.work.done, 2);
    assert!(s.has("app", "i2").await && s.has("app", "s2").await);
    start().await.expect("started");
    assert_eq!(restore_all(s, "app", None, 5).await.work.total, 0, "nothing had been removed");
    let none = s.store.start_deletion(&repo("unheard-of"), &at(1).into()).await.expect("an answer");
    assert_eq!(none, None);
    assert_eq!(s.store.advance_repository(&repo("app"), 2, &at(5).into()).await.expect("an answer"), None);
}

/// Immutable tags stay with their manifests. A manifest with missing targets is not restored, and the targets
/// are reported.
pub async fn manifests_that_cannot_be_removed_or_restored_are_counted(s: &Scene) {
    let key = s.push("app", "layer", 0).await;
    s.put("app", image("a").tag("v1"), 0).await;
    s.put("app", image("b").blob("layer").tag("b"), 0).await;
    s.store.start_deletion(&repo("app"), &at(1).into()).await.expect("started");
    let change = Change { immutable_tags: ImmutableTags::new(|tag| tag.as_str() == "v1"), ..at(2).into() };
    let step = s.store.advance_repository(&repo("app"), 9, &change).await.expect("a step").expect("one");
    assert_eq!((step.work.done, step.work.failed, step.finished), (1, 1, true));
    assert!(s.tagged("app", "v1").await.is_some());
    assert!(s.mark(&key, true, 1).await);
    let step = restore_all(s, "app", None, 3).await;
    assert_eq!((step.work.done, step.work.failed), (0, 1));
    assert_eq!(step.missing, [(digest("layer"), EdgeKind::Blob)]);
}

/// Everything moves to the new name, and renaming back undoes it.
pub async fn a_repository_is_renamed(s: &Scene) {
    fill(s).await;
    assert_eq!(rename(s, "unheard-of", "new", 1).await, Renaming::Unknown);
    assert_eq!(rename(s, "app", "team/new", 1).await, Renaming::Done);
    assert!(!s.has("app", "i0").await && !s.has_blob("app", "layer").await);
    assert!(s.tagged("team/new", "i0").await.is_some() && s.has_blob("team/new", "layer").await);
    assert_eq!(catalog(s).await, [repo("team/new")]);
    assert!(!s.store.repository_exists(&repo("app")).await.expect("an answer"));
    let rows = s.store.tag_history(&repo("team/new"), None, None, 10).await.expect("an answer").items;
    assert_eq!((rows[0].kind, rows[0].reason.as_deref()), (ChangeKind::Rename, Some("app became team/new")));
    assert_eq!(rename(s, "team/new", "app", 2).await, Renaming::Done);
    assert!(s.tagged("app", "i0").await.is_some());
    assert_eq!(rename(s, "app", "app", 3).await, Renaming::Occupied);
}

/// A repository in use is not replaced, nor one with manifests in the trash: users look for them under their
/// old name.
pub async fn an_emptied_repository_is_replaced(s: &Scene) {
    s.put("old", image("a").tag("v1"), 0).await;
    s.put("app", image("b").tag("v1"), 0).await;
    assert_eq!(rename(s, "app", "old", 1).await, Renaming::Occupied);
    delete_all(s, "old", 2).await;
    assert_eq!(rename(s, "app", "old", 3).await, Renaming::InTrash);
    restore_all(s, "old", None, 4).await;
    assert_eq!(s.tagged("old", "v1").await.map(|found| found.digest), Some(digest("a")));
    delete_all(s, "old", 5).await;
    s.collect(rules(1000)).await;
    assert_eq!(rename(s, "app", "old", 1001).await, Renaming::Done);
    assert_eq!(s.tagged("old", "v1").await.map(|found| found.digest), Some(digest("b")));
}

/// A repository with immutable tags keeps its name.
pub async fn a_repository_with_an_immutable_tag_is_not_renamed(s: &Scene) {
    s.put("app", image("a").tag("v1"), 0).await;
    let change = Change { immutable_tags: ImmutableTags::new(|_| true), ..at(1).into() };
    let renamed = s.store.rename_repository(&repo("app"), &repo("new"), &change).await.expect("an answer");
    assert_eq!(renamed, Renaming::Immutable(tag("v1")));
}

/// An upload continues under the name that its client knows.
pub async fn upload_stays_with_the_old_name(s: &Scene) {
    fill(s).await;
    let upload = s.start_upload("app", 1).await;
    assert_eq!(rename(s, "app", "new", 2).await, Renaming::Done);
    assert!(s.store.upload(&repo("app"), upload).await.expect("an answer").is_some());
    assert!(s.commit(upload, "fresh", 3).await.1);
    assert!(s.has_blob("app", "fresh").await && !s.has_blob("new", "fresh").await);
    let upload = s.start_upload("app", 4).await;
    assert_eq!(rename(s, "new", "app", 5).await, Renaming::Done);
    assert!(s.commit(upload, "more", 6).await.1);
    assert!(s.has_blob("app", "more").await && s.has_blob("app", "layer").await);
    assert!(matches!(s.try_put("app", image("x").blob("fresh"), 7).await, PutOutcome::Missing(_)));
}

/// The record of an empty repository without history is deleted, and no other.
pub async fn empty_repository_is_forgotten(s: &Scene) {
    s.put("kept", image("a").tag("v1"), 0).await;
    fill(s).await;
    delete_all(s, "app", 1).await;
    s.put("kept", image("b").tag("v1"), 200).await;
    s.collect(rules(200)).await;
    s.collect(rules(300)).await;
    let sweep = || async {
        let mut after = Some(0);
        let mut forgotten = 0;
        while let Some(from) = after {
            let (next, count) = s.store.forget_empty_repositories(from, 1).await.expect("swept");
            after = next;
            forgotten += count;
        }
        forgotten
    };
    assert_eq!(sweep().await, 0, "its history still exists");
    while s.store.forget_history(at(250), 2).await.expect("deleted").more {}
    s.start_upload("busy", 300).await;
    assert_eq!(sweep().await, 1);
    assert!(!s.store.repository_exists(&repo("app")).await.expect("an answer"));
    assert!(s.store.repository_exists(&repo("busy")).await.expect("an answer"));
    assert!(s.tagged("kept", "v1").await.is_some());
}
