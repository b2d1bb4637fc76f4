//! The history of tags, and the way back along it.

use super::*;
use crate::metadata::{
    Change, ChangeKind, Deletion, EdgeKind, HistoryEntry, ImmutableTags, PutOutcome, TagReturn,
};

async fn told(s: &Scene, name: &str) -> Vec<HistoryEntry> {
    let found = s.store.tag_history(&repo("app"), Some(&tag(name)), None, 1000).await;
    found.expect("an answer").items
}

/// Kind, what the tag points at since, and what it pointed at before, newest first.
async fn rows(
    s: &Scene,
    name: &str,
) -> Vec<(ChangeKind, Option<crate::oci::Digest>, Option<crate::oci::Digest>)> {
    told(s, name).await.into_iter().map(|row| (row.kind, row.digest, row.was)).collect()
}

async fn back(s: &Scene, name: &str, to: Option<&str>, hours: i64) -> TagReturn {
    let to = to.map(digest);
    s.store.rollback(&repo("app"), &tag(name), to.as_ref(), &at(hours).into()).await.expect("an answer")
}

async fn restore(s: &Scene, name: &str, hours: i64) -> TagReturn {
    s.store.restore_tag(&repo("app"), &tag(name), &at(hours).into()).await.expect("an answer")
}

fn done(from: Option<&str>, to: &str, restored: &[&str]) -> TagReturn {
    let restored = restored.iter().map(|name| digest(name)).collect();
    TagReturn::Done { from: from.map(digest), to: digest(to), restored }
}

async fn points_at(s: &Scene, name: &str) -> Option<crate::oci::Digest> {
    s.tagged("app", name).await.map(|found| found.digest)
}

/// Every change is a row, with who made it and why; the same push again is none, but makes the tag young.
pub async fn every_change_of_a_tag_is_told(s: &Scene) {
    s.put("app", image("a").tag("v1"), 1).await;
    s.put("app", image("a").tag("v1"), 2).await;
    assert_eq!(s.tagged("app", "v1").await.and_then(|found| found.tagged_at), Some(at(2)));
    s.put("app", image("b").tag("v1"), 3).await;
    let change = Change { by: Some("eve".into()), ..Change::from(at(4)).because("a mistake") };
    let deleted = s.store.delete_tag(&repo("app"), &tag("v1"), &change).await.expect("an answer");
    assert_eq!(deleted, Deletion::Done);
    let (a, b) = (Some(digest("a")), Some(digest("b")));
    let expected = [
        (ChangeKind::Delete, None, b.clone()),
        (ChangeKind::Move, b, a.clone()),
        (ChangeKind::Push, a, None),
    ];
    assert_eq!(rows(s, "v1").await, expected);
    let newest = told(s, "v1").await.remove(0);
    assert_eq!(
        (newest.at, newest.by.as_deref(), newest.reason.as_deref()),
        (at(4), Some("eve"), Some("a mistake"))
    );
    let older =
        s.store.tag_history(&repo("app"), Some(&tag("v1")), Some(newest.id), 1).await.expect("an answer");
    let older = older.items;
    assert_eq!(older.len(), 1);
    assert_eq!(older[0].kind, ChangeKind::Move);
    assert_eq!(s.store.tag_history(&repo("other"), None, None, 1).await.expect("an answer").items, []);
}

/// No tag's history grows for ever, however often it is moved.
pub async fn a_history_keeps_its_newest_rows(s: &Scene) {
    for number in 0..30_i64 {
        let put = image(&format!("m{number}")).tag("latest").keep(5);
        s.put("app", put, number).await;
        s.put("app", image("other").tag(&format!("t{number}")), number).await;
    }
    let left = told(s, "latest").await;
    assert_eq!(left.len(), 5);
    assert_eq!(left[0].digest, Some(digest("m29")));
    assert_eq!(told(s, "t0").await.len(), 1);
}

/// Nor does that of a repository, however many tags it has. What happened to the repository as a whole stays.
pub async fn the_history_of_a_repository_keeps_its_newest_rows(s: &Scene) {
    s.put("other", image("a").tag("v1"), 0).await;
    s.put("app", image("a").tag("t0").keep_in_repository(6), 0).await;
    s.store.rename_repository(&repo("app"), &repo("new"), &at(0).into()).await.expect("renamed");
    for number in 1..30_i64 {
        s.put("new", image("a").tag(&format!("t{number}")).keep_in_repository(6), number).await;
    }
    let rows_of = async |name: &str| {
        s.store.tag_history(&repo("new"), Some(&tag(name)), None, 10).await.expect("an answer").items.len()
    };
    assert_eq!((rows_of("t24").await, rows_of("t25").await, rows_of("t29").await), (0, 1, 1));
    assert_eq!(s.store.tag_history(&repo("new"), None, None, 10).await.expect("an answer").items.len(), 1);
    assert_eq!(
        s.store.tag_history(&repo("other"), Some(&tag("v1")), None, 10).await.expect("an answer").items.len(),
        1
    );
    assert!(s.tagged("new", "t0").await.is_some());
}

/// What is told of a tag that is gone is forgotten after a time, also what came before; not what came after.
pub async fn the_history_of_a_removed_tag_is_forgotten(s: &Scene) {
    s.put("app", image("a").tag("gone").tag("back"), 1).await;
    s.untag("app", "gone", 2).await;
    s.untag("app", "back", 2).await;
    s.put("app", image("a").tag("back"), 3).await;
    let forget = |hours| s.store.forget_history(at(hours), 1);
    assert_eq!(forget(1).await.expect("forgotten").changed, 0);
    while forget(2).await.expect("forgotten").more {}
    assert_eq!(rows(s, "gone").await, []);
    assert_eq!(told(s, "back").await.len(), 1);
    assert_eq!(restore(s, "gone", 4).await, TagReturn::Unknown);
}

/// One step back; and one more is the way there again.
pub async fn a_tag_is_rolled_back(s: &Scene) {
    s.put("app", image("a").tag("latest"), 1).await;
    assert_eq!(back(s, "latest", None, 2).await, TagReturn::Unknown);
    assert_eq!(back(s, "unheard-of", None, 2).await, TagReturn::Unknown);
    s.put("app", image("b").tag("latest"), 2).await;
    s.put("app", image("c").tag("latest"), 3).await;
    assert_eq!(back(s, "latest", None, 4).await, done(Some("c"), "b", &[]));
    assert_eq!(points_at(s, "latest").await, Some(digest("b")));
    assert_eq!(told(s, "latest").await[0].kind, ChangeKind::Rollback);
    assert_eq!(back(s, "latest", None, 5).await, done(Some("b"), "c", &[]));
    assert_eq!(back(s, "latest", Some("a"), 6).await, done(Some("c"), "a", &[]));
    assert_eq!(back(s, "latest", Some("d"), 7).await, TagReturn::NotInHistory);
    assert_eq!(points_at(s, "latest").await, Some(digest("a")));
}

/// What it left is reviewed like anything that lost its last tag.
pub async fn what_a_rollback_leaves_expires(s: &Scene) {
    s.put("app", image("a").tag("latest"), 1).await;
    s.put("app", image("b").tag("latest"), 2).await;
    back(s, "latest", None, 3).await;
    s.collect(rules(1000)).await;
    assert!(s.has("app", "a").await && !s.has("app", "b").await);
}

/// Out of the trash too, with all that it needs; and not where that is gone.
pub async fn a_rollback_brings_back_what_is_in_the_trash(s: &Scene) {
    s.push("app", "layer", 1).await;
    s.put("app", image("a").blob("layer").tag("latest"), 1).await;
    s.put("app", image("b").tag("latest"), 2).await;
    s.delete("app", "a", 3).await;
    s.delete_blob("app", "layer", 3).await;
    assert_eq!(back(s, "latest", None, 4).await, done(Some("b"), "a", &["a"]));
    assert!(s.has_blob("app", "layer").await);
    s.collect(rules(1000)).await;
    assert!(s.has("app", "a").await && s.has_blob("app", "layer").await);
}

/// What has left the trash for good does not come back.
pub async fn a_rollback_to_what_is_gone_is_refused(s: &Scene) {
    let key = s.push("app", "layer", 1).await;
    s.put("app", image("a").blob("layer").tag("latest"), 1).await;
    s.put("app", image("b").tag("latest"), 2).await;
    s.delete("app", "a", 3).await;
    assert!(s.mark(&key, true, 1).await);
    let missing = TagReturn::Missing(vec![(digest("layer"), EdgeKind::Blob)]);
    assert_eq!(back(s, "latest", None, 4).await, missing);
    s.collect(rules(100)).await;
    assert_eq!(back(s, "latest", None, 101).await, TagReturn::Gone(digest("a")));
    assert_eq!(points_at(s, "latest").await, Some(digest("b")));
}

/// A tag that was taken away comes back where it pointed, unless somebody has it.
pub async fn a_tag_is_restored(s: &Scene) {
    s.put("app", image("a").tag("v1"), 1).await;
    assert_eq!(restore(s, "v1", 1).await, TagReturn::InUse(digest("a")));
    s.untag("app", "v1", 2).await;
    assert_eq!(restore(s, "v1", 3).await, done(None, "a", &[]));
    assert_eq!(told(s, "v1").await[0].kind, ChangeKind::Restore);
    s.delete("app", "a", 4).await;
    assert_eq!(restore(s, "v1", 5).await, done(None, "a", &["a"]));
    assert_eq!(restore(s, "v2", 5).await, TagReturn::Unknown);
    s.untag("app", "v1", 6).await;
    assert_eq!(back(s, "v1", None, 7).await, done(None, "a", &[]));
}

/// An immutable tag is made, and pushed again, and nothing else.
pub async fn an_immutable_tag_stays(s: &Scene) {
    let fixed = ImmutableTags::new(|tag| tag.as_str().starts_with('v'));
    let change = |hours| Change { fixed: fixed.clone(), ..at(hours).into() };
    let put = |name: &str, tag: &str| image(name).tag(tag).fixed(&fixed);
    s.put("app", put("a", "v1"), 1).await;
    s.put("app", put("a", "v1"), 2).await;
    s.put("app", image("b").tag("latest"), 2).await;
    assert_eq!(s.try_put("app", put("b", "v1"), 3).await, PutOutcome::Fixed(tag("v1")));
    let kept = Deletion::Fixed(tag("v1"));
    assert_eq!(s.store.delete_tag(&repo("app"), &tag("v1"), &change(4)).await.expect("an answer"), kept);
    assert_eq!(
        s.store.delete_manifest(&repo("app"), &digest("a"), &change(4)).await.expect("an answer"),
        kept
    );
    s.untag("app", "v1", 5).await;
    s.put("app", put("b", "v1"), 6).await;
    let back = s.store.rollback(&repo("app"), &tag("v1"), None, &change(7)).await.expect("an answer");
    assert_eq!(back, TagReturn::Unknown);
    let back = s.store.rollback(&repo("app"), &tag("v1"), Some(&digest("a")), &change(7)).await;
    assert_eq!(back.expect("an answer"), TagReturn::Fixed(tag("v1")));
    assert_eq!(points_at(s, "v1").await, Some(digest("b")));
}

/// A push that found nothing to do makes the tag young, if it still points there.
pub async fn a_push_without_a_change_is_noted(s: &Scene) {
    s.put("app", image("a").tag("v1").tag("v2"), 1).await;
    s.put("app", image("b").tag("v2"), 2).await;
    let noted = |name: &str, hours| (repo("app"), tag(name), digest("a"), at(hours));
    s.store.note_pushes(vec![noted("v1", 5), noted("v2", 5), noted("v3", 5)]).await.expect("noted");
    s.store.note_pushes(vec![noted("v1", 4)]).await.expect("noted");
    let pushed_at = |found: Option<crate::metadata::ManifestRecord>| found.and_then(|found| found.tagged_at);
    assert_eq!(pushed_at(s.tagged("app", "v1").await), Some(at(5)));
    assert_eq!(pushed_at(s.tagged("app", "v2").await), Some(at(2)));
    assert_eq!(told(s, "v1").await.len(), 1);
}
