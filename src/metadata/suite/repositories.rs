//! Repositories that are deleted, brought back, renamed and forgotten.

use super::*;
use crate::metadata::{Change, ChangeKind, EdgeKind, ImmutableTags, PutOutcome, Renaming, RepositoryStep};

/// Runs what was begun to its end, two manifests at a time; the facts hold after every step.
async fn finish(s: &Scene, name: &str, mut hours: i64) -> RepositoryStep {
    for _ in 0..100 {
        let step = s.store.advance_repository(&repo(name), 2, &at(hours).into()).await;
        let step = step.expect("an answer").expect("something to do");
        s.verifies().await;
        if step.finished {
            return step;
        }
        hours += 1;
    }
    panic!("it never ends");
}

async fn delete_all(s: &Scene, name: &str, hours: i64) -> RepositoryStep {
    let begun = s.store.begin_deletion(&repo(name), &at(hours).into()).await.expect("an answer");
    assert!(begun.is_some());
    finish(s, name, hours).await
}

async fn bring_back(s: &Scene, name: &str, removal: Option<i64>, hours: i64) -> RepositoryStep {
    let begun = s.store.begin_restoration(&repo(name), removal, &at(hours).into()).await;
    assert!(begun.expect("an answer").is_some());
    finish(s, name, hours).await
}

async fn rename(s: &Scene, from: &str, to: &str, hours: i64) -> Renaming {
    let renamed = s.store.rename_repository(&repo(from), &repo(to), &at(hours).into()).await;
    renamed.expect("an answer")
}

async fn filled(s: &Scene) {
    s.push("app", "layer", 0).await;
    for number in 0..3 {
        let (child, index) = (format!("c{number}"), format!("i{number}"));
        s.put("app", image(&child).blob("layer"), 0).await;
        s.put("app", image(&index).child(&child).tag(&index), 0).await;
        s.put("app", image(&format!("s{number}")).subject(&index), 0).await;
    }
}

async fn catalog(s: &Scene) -> Vec<crate::oci::RepoName> {
    s.store.repositories(None, 100).await.expect("listed")
}

/// All of it goes, in steps that each leave whole what they leave, and all of it comes back.
pub async fn a_repository_is_deleted_and_brought_back(s: &Scene) {
    filled(s).await;
    s.delete("app", "s0", 1).await;
    let done = delete_all(s, "app", 2).await;
    assert_eq!((done.work.total, done.work.done, done.work.failed), (8, 8, 0));
    assert_eq!(catalog(s).await, []);
    assert_eq!(s.store.repository_work(10).await.expect("listed"), []);
    s.put("app", image("new").tag("i1"), 9).await;
    let done = bring_back(s, "app", None, 10).await;
    assert_eq!((done.work.kind, done.work.done), (ChangeKind::Restore, 8));
    for (name, of) in [("i0", "i0"), ("i1", "new"), ("i2", "i2")] {
        assert_eq!(s.tagged("app", name).await.map(|found| found.digest), Some(digest(of)));
    }
    assert!(!s.has("app", "s0").await, "it was gone before");
    s.collect(rules(5000)).await;
    assert!(s.has("app", "c2").await && s.has_blob("app", "layer").await);
    let told = s.store.tag_history(&repo("app"), None, None, 10).await.expect("an answer").items;
    assert_eq!(
        told.iter().map(|row| row.kind).collect::<Vec<_>>(),
        [ChangeKind::Restore, ChangeKind::Delete]
    );
}

/// Each deletion is brought back by itself.
pub async fn an_earlier_deletion_is_brought_back(s: &Scene) {
    s.put("app", image("a").tag("a"), 0).await;
    let first = delete_all(s, "app", 1).await.work.removal;
    s.put("app", image("b").tag("b"), 2).await;
    delete_all(s, "app", 3).await;
    bring_back(s, "app", Some(first), 4).await;
    assert!(s.has("app", "a").await && !s.has("app", "b").await);
    let again = s.store.begin_restoration(&repo("app"), Some(first), &at(5).into()).await;
    assert_eq!(again.expect("an answer"), None);
}

/// What is pushed while it goes stays, with what it needs; what lists before what it lists goes first.
pub async fn a_push_survives_the_deletion_of_its_repository(s: &Scene) {
    s.put("app", image("early").sparse_child("late").tag("early"), 0).await;
    s.put("app", image("late"), 0).await;
    filled(s).await;
    s.store.begin_deletion(&repo("app"), &at(1).into()).await.expect("begun");
    s.put("app", image("new").child("c0").tag("new"), 2).await;
    s.put("app", image("i2").child("c2").tag("again"), 2).await;
    s.store.advance_repository(&repo("app"), 2, &at(3).into()).await.expect("a step");
    s.put("app", image("s2").subject("i2").tag("sig"), 4).await;
    let done = finish(s, "app", 5).await;
    assert_eq!((done.work.done, done.work.failed), (10, 1));
    assert!(s.has("app", "new").await && s.has("app", "c0").await && s.has("app", "s2").await);
    assert!(!s.has("app", "i0").await && !s.has("app", "early").await && !s.has("app", "late").await);
}

/// A deletion that is begun again goes on; what is empty is not deleted; a restoration ends a deletion.
pub async fn a_deletion_that_is_under_way_is_taken_back(s: &Scene) {
    filled(s).await;
    let begin = || async { s.store.begin_deletion(&repo("app"), &at(1).into()).await.expect("an answer") };
    let first = begin().await.expect("begun");
    s.store.advance_repository(&repo("app"), 2, &at(2).into()).await.expect("a step");
    let again = begin().await.expect("begun");
    assert_eq!((again.removal, again.done), (first.removal, 2));
    assert_eq!(s.store.repository_work(10).await.expect("listed"), [again]);
    assert_eq!(rename(s, "app", "other", 3).await, Renaming::Busy);
    let done = bring_back(s, "app", None, 4).await;
    assert_eq!(done.work.done, 2);
    assert!(s.has("app", "i2").await && s.has("app", "s2").await);
    begin().await.expect("begun");
    assert_eq!(bring_back(s, "app", None, 5).await.work.total, 0, "nothing had gone");
    let none = s.store.begin_deletion(&repo("unheard-of"), &at(1).into()).await.expect("an answer");
    assert_eq!(none, None);
    assert_eq!(s.store.advance_repository(&repo("app"), 2, &at(5).into()).await.expect("an answer"), None);
}

/// Immutable tags stay, and what they hold; what lacks something does not come back and is named.
pub async fn what_cannot_go_or_come_back_is_counted(s: &Scene) {
    let key = s.push("app", "layer", 0).await;
    s.put("app", image("a").tag("v1"), 0).await;
    s.put("app", image("b").blob("layer").tag("b"), 0).await;
    s.store.begin_deletion(&repo("app"), &at(1).into()).await.expect("begun");
    let change = Change { fixed: ImmutableTags::new(|tag| tag.as_str() == "v1"), ..at(2).into() };
    let step = s.store.advance_repository(&repo("app"), 9, &change).await.expect("a step").expect("one");
    assert_eq!((step.work.done, step.work.failed, step.finished), (1, 1, true));
    assert!(s.tagged("app", "v1").await.is_some());
    assert!(s.mark(&key, true, 1).await);
    let step = bring_back(s, "app", None, 3).await;
    assert_eq!((step.work.done, step.work.failed), (0, 1));
    assert_eq!(step.missing, [(digest("layer"), EdgeKind::Blob)]);
}

/// Everything comes along, and renaming back undoes it.
pub async fn a_repository_is_renamed(s: &Scene) {
    filled(s).await;
    assert_eq!(rename(s, "unheard-of", "new", 1).await, Renaming::Unknown);
    assert_eq!(rename(s, "app", "team/new", 1).await, Renaming::Done);
    assert!(!s.has("app", "i0").await && !s.has_blob("app", "layer").await);
    assert!(s.tagged("team/new", "i0").await.is_some() && s.has_blob("team/new", "layer").await);
    assert_eq!(catalog(s).await, [repo("team/new")]);
    assert!(!s.store.repository_exists(&repo("app")).await.expect("an answer"));
    let told = s.store.tag_history(&repo("team/new"), None, None, 10).await.expect("an answer").items;
    assert_eq!((told[0].kind, told[0].reason.as_deref()), (ChangeKind::Rename, Some("app became team/new")));
    assert_eq!(rename(s, "team/new", "app", 2).await, Renaming::Done);
    assert!(s.tagged("app", "i0").await.is_some());
    assert_eq!(rename(s, "app", "app", 3).await, Renaming::Occupied);
}

/// What is in use is not replaced, nor what is in the trash: it is looked for under the name that it went by.
pub async fn an_emptied_repository_is_replaced(s: &Scene) {
    s.put("old", image("a").tag("v1"), 0).await;
    s.put("app", image("b").tag("v1"), 0).await;
    assert_eq!(rename(s, "app", "old", 1).await, Renaming::Occupied);
    delete_all(s, "old", 2).await;
    assert_eq!(rename(s, "app", "old", 3).await, Renaming::InTrash);
    bring_back(s, "old", None, 4).await;
    assert_eq!(s.tagged("old", "v1").await.map(|found| found.digest), Some(digest("a")));
    delete_all(s, "old", 5).await;
    s.collect(rules(1000)).await;
    assert_eq!(rename(s, "app", "old", 1001).await, Renaming::Done);
    assert_eq!(s.tagged("old", "v1").await.map(|found| found.digest), Some(digest("b")));
}

/// Immutable tags keep their repository's name.
pub async fn a_repository_with_an_immutable_tag_is_not_renamed(s: &Scene) {
    s.put("app", image("a").tag("v1"), 0).await;
    let change = Change { fixed: ImmutableTags::new(|_| true), ..at(1).into() };
    let renamed = s.store.rename_repository(&repo("app"), &repo("new"), &change).await.expect("an answer");
    assert_eq!(renamed, Renaming::Fixed(tag("v1")));
}

/// An upload goes on under the name that its client knows.
pub async fn an_upload_stays_with_its_name(s: &Scene) {
    filled(s).await;
    let upload = s.begin("app", 1).await;
    assert_eq!(rename(s, "app", "new", 2).await, Renaming::Done);
    assert!(s.store.upload(&repo("app"), upload).await.expect("an answer").is_some());
    assert!(s.commit(upload, "fresh", 3).await.1);
    assert!(s.has_blob("app", "fresh").await && !s.has_blob("new", "fresh").await);
    let upload = s.begin("app", 4).await;
    assert_eq!(rename(s, "new", "app", 5).await, Renaming::Done);
    assert!(s.commit(upload, "more", 6).await.1);
    assert!(s.has_blob("app", "more").await && s.has_blob("app", "layer").await);
    assert!(matches!(s.try_put("app", image("x").blob("fresh"), 7).await, PutOutcome::Missing(_)));
}

/// A repository of which nothing is left, not even a history, is forgotten; no other.
pub async fn nothing_is_left_of_an_empty_repository(s: &Scene) {
    s.put("kept", image("a").tag("v1"), 0).await;
    filled(s).await;
    delete_all(s, "app", 1).await;
    s.put("kept", image("b").tag("v1"), 200).await;
    s.collect(rules(200)).await;
    s.collect(rules(300)).await;
    let sweep = || async {
        let (mut after, mut forgotten) = (Some(0), 0);
        while let Some(from) = after {
            let (next, count) = s.store.forget_repositories(from, 1).await.expect("swept");
            (after, forgotten) = (next, forgotten + count);
        }
        forgotten
    };
    assert_eq!(sweep().await, 0, "its history is remembered");
    while s.store.forget_history(at(250), 2).await.expect("forgotten").more {}
    s.begin("busy", 300).await;
    assert_eq!(sweep().await, 1);
    assert!(!s.store.repository_exists(&repo("app")).await.expect("an answer"));
    assert!(s.store.repository_exists(&repo("busy")).await.expect("an answer"));
    assert!(s.tagged("kept", "v1").await.is_some());
}
