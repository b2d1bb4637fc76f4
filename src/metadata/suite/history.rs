//! The history of tags, rollback, and restoring tags.

use super::*;
use crate::metadata::{
    Change, ChangeKind, ChangeQuery, Deletion, EdgeKind, HistoryEntry, ImmutableTags, NameRange, PutOutcome,
    RecentChanges, TagRestoration, Visible,
};

async fn history(s: &Scene, name: &str) -> Vec<HistoryEntry> {
    let found = s.store.tag_history(&repo("app"), Some(&tag(name)), None, 1000).await;
    found.expect("an answer").items
}

/// Returns the kind, the new digest and the previous digest of each row, newest first.
async fn rows(
    s: &Scene,
    name: &str,
) -> Vec<(ChangeKind, Option<crate::oci::Digest>, Option<crate::oci::Digest>)> {
    history(s, name).await.into_iter().map(|row| (row.kind, row.digest, row.was)).collect()
}

async fn roll_back(s: &Scene, name: &str, to: Option<&str>, hours: i64) -> TagRestoration {
    let to = to.map(digest);
    s.store.rollback(&repo("app"), &tag(name), to.as_ref(), &at(hours).into()).await.expect("an answer")
}

async fn restore(s: &Scene, name: &str, hours: i64) -> TagRestoration {
    s.store.restore_tag(&repo("app"), &tag(name), &at(hours).into()).await.expect("an answer")
}

fn outcome(from: Option<&str>, to: &str, restored: &[&str]) -> TagRestoration {
    let restored = restored.iter().map(|name| digest(name)).collect();
    TagRestoration::Done { from: from.map(digest), to: digest(to), restored }
}

async fn points_at(s: &Scene, name: &str) -> Option<crate::oci::Digest> {
    s.tagged("app", name).await.map(|found| found.digest)
}

/// Every change is a row with its author and reason. Pushing the same manifest again adds no row but renews the
/// tag's push time.
pub async fn every_change_of_a_tag_is_recorded(s: &Scene) {
    s.put("app", image("a").tag("v1"), 1).await;
    s.put("app", image("a").tag("v1"), 2).await;
    assert_eq!(s.tagged("app", "v1").await.and_then(|found| found.tagged_at), Some(at(2)));
    s.put("app", image("b").tag("v1"), 3).await;
    let change = Change { by: Some("eve".into()), ..Change::from(at(4)).because("a mistake") };
    let deleted = s.store.delete_tag(&repo("app"), &tag("v1"), &change).await.expect("an answer");
    assert_eq!(deleted, Deletion::Done);
    let a = Some(digest("a"));
    let b = Some(digest("b"));
    let expected = [
        (ChangeKind::Delete, None, b.clone()),
        (ChangeKind::Move, b, a.clone()),
        (ChangeKind::Push, a, None),
    ];
    assert_eq!(rows(s, "v1").await, expected);
    let newest = history(s, "v1").await.remove(0);
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

/// The history of a tag does not grow without limit, however often the tag moves.
pub async fn a_history_keeps_its_newest_rows(s: &Scene) {
    for number in 0..30_i64 {
        let put = image(&format!("m{number}")).tag("latest").keep(5);
        s.put("app", put, number).await;
        s.put("app", image("other").tag(&format!("t{number}")), number).await;
    }
    let left = history(s, "latest").await;
    assert_eq!(left.len(), 5);
    assert_eq!(left[0].digest, Some(digest("m29")));
    assert_eq!(history(s, "t0").await.len(), 1);
}

/// The history of a repository does not, either, however many tags it has. Rows about the repository itself
/// stay.
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

/// The history of a removed tag is deleted after a time, including earlier rows but not later ones.
pub async fn history_of_a_removed_tag_is_deleted(s: &Scene) {
    s.put("app", image("a").tag("gone").tag("back"), 1).await;
    s.untag("app", "gone", 2).await;
    s.untag("app", "back", 2).await;
    s.put("app", image("a").tag("back"), 3).await;
    let forget = |hours| s.store.forget_history(at(hours), 1);
    assert_eq!(forget(1).await.expect("deleted").changed, 0);
    while forget(2).await.expect("deleted").more {}
    assert_eq!(rows(s, "gone").await, []);
    assert_eq!(history(s, "back").await.len(), 1);
    assert_eq!(restore(s, "gone", 4).await, TagRestoration::Unknown);
}

/// One rollback goes one step back; a second one returns.
pub async fn a_tag_is_rolled_back(s: &Scene) {
    s.put("app", image("a").tag("latest"), 1).await;
    assert_eq!(roll_back(s, "latest", None, 2).await, TagRestoration::Unknown);
    assert_eq!(roll_back(s, "unheard-of", None, 2).await, TagRestoration::Unknown);
    s.put("app", image("b").tag("latest"), 2).await;
    s.put("app", image("c").tag("latest"), 3).await;
    assert_eq!(roll_back(s, "latest", None, 4).await, outcome(Some("c"), "b", &[]));
    assert_eq!(points_at(s, "latest").await, Some(digest("b")));
    assert_eq!(history(s, "latest").await[0].kind, ChangeKind::Rollback);
    assert_eq!(roll_back(s, "latest", None, 5).await, outcome(Some("b"), "c", &[]));
    assert_eq!(roll_back(s, "latest", Some("a"), 6).await, outcome(Some("c"), "a", &[]));
    assert_eq!(roll_back(s, "latest", Some("d"), 7).await, TagRestoration::NotInHistory);
    assert_eq!(points_at(s, "latest").await, Some(digest("a")));
}

/// A manifest that a rollback replaced is reviewed like any that lost its last tag.
pub async fn manifest_replaced_by_a_rollback_expires(s: &Scene) {
    s.put("app", image("a").tag("latest"), 1).await;
    s.put("app", image("b").tag("latest"), 2).await;
    roll_back(s, "latest", None, 3).await;
    s.collect(rules(1000)).await;
    assert!(s.has("app", "a").await && !s.has("app", "b").await);
}

/// A rollback restores a manifest from the trash with everything it requires.
pub async fn rollback_restores_from_the_trash(s: &Scene) {
    s.push("app", "layer", 1).await;
    s.put("app", image("a").blob("layer").tag("latest"), 1).await;
    s.put("app", image("b").tag("latest"), 2).await;
    s.delete("app", "a", 3).await;
    s.delete_blob("app", "layer", 3).await;
    assert_eq!(roll_back(s, "latest", None, 4).await, outcome(Some("b"), "a", &["a"]));
    assert!(s.has_blob("app", "layer").await);
    s.collect(rules(1000)).await;
    assert!(s.has("app", "a").await && s.has_blob("app", "layer").await);
}

/// A manifest that was purged, or whose blobs are gone, cannot be restored.
pub async fn rollback_to_a_purged_manifest_is_rejected(s: &Scene) {
    let key = s.push("app", "layer", 1).await;
    s.put("app", image("a").blob("layer").tag("latest"), 1).await;
    s.put("app", image("b").tag("latest"), 2).await;
    s.delete("app", "a", 3).await;
    assert!(s.mark(&key, true, 1).await);
    let missing = TagRestoration::Missing(vec![(digest("layer"), EdgeKind::Blob)]);
    assert_eq!(roll_back(s, "latest", None, 4).await, missing);
    s.collect(rules(100)).await;
    assert_eq!(roll_back(s, "latest", None, 101).await, TagRestoration::Gone(digest("a")));
    assert_eq!(points_at(s, "latest").await, Some(digest("b")));
}

/// A removed tag is restored to its manifest, unless it is in use again.
pub async fn a_tag_is_restored(s: &Scene) {
    s.put("app", image("a").tag("v1"), 1).await;
    assert_eq!(restore(s, "v1", 1).await, TagRestoration::InUse(digest("a")));
    s.untag("app", "v1", 2).await;
    assert_eq!(restore(s, "v1", 3).await, outcome(None, "a", &[]));
    assert_eq!(history(s, "v1").await[0].kind, ChangeKind::Restore);
    s.delete("app", "a", 4).await;
    assert_eq!(restore(s, "v1", 5).await, outcome(None, "a", &["a"]));
    assert_eq!(restore(s, "v2", 5).await, TagRestoration::Unknown);
    s.untag("app", "v1", 6).await;
    assert_eq!(roll_back(s, "v1", None, 7).await, outcome(None, "a", &[]));
}

/// An immutable tag can be created and pushed again unchanged, and nothing else.
pub async fn an_immutable_tag_stays(s: &Scene) {
    let immutable_tags = ImmutableTags::new(|tag| tag.as_str().starts_with('v'));
    let change = |hours| Change { immutable_tags: immutable_tags.clone(), ..at(hours).into() };
    let put = |name: &str, tag: &str| image(name).tag(tag).immutable_tags(&immutable_tags);
    s.put("app", put("a", "v1"), 1).await;
    s.put("app", put("a", "v1"), 2).await;
    s.put("app", image("b").tag("latest"), 2).await;
    assert_eq!(s.try_put("app", put("b", "v1"), 3).await, PutOutcome::Immutable(tag("v1")));
    let kept = Deletion::Immutable(tag("v1"));
    assert_eq!(s.store.delete_tag(&repo("app"), &tag("v1"), &change(4)).await.expect("an answer"), kept);
    assert_eq!(
        s.store.delete_manifest(&repo("app"), &digest("a"), &change(4)).await.expect("an answer"),
        kept
    );
    s.untag("app", "v1", 5).await;
    s.put("app", put("b", "v1"), 6).await;
    let back = s.store.rollback(&repo("app"), &tag("v1"), None, &change(7)).await.expect("an answer");
    assert_eq!(back, TagRestoration::Unknown);
    let back = s.store.rollback(&repo("app"), &tag("v1"), Some(&digest("a")), &change(7)).await;
    assert_eq!(back.expect("an answer"), TagRestoration::Immutable(tag("v1")));
    assert_eq!(points_at(s, "v1").await, Some(digest("b")));
}

/// A push that changes nothing renews the tag's push time if the tag still points there.
pub async fn unchanged_push_is_recorded(s: &Scene) {
    s.put("app", image("a").tag("v1").tag("v2"), 1).await;
    s.put("app", image("b").tag("v2"), 2).await;
    let push = |name: &str, hours| (repo("app"), tag(name), digest("a"), at(hours));
    s.store.record_pushes(vec![push("v1", 5), push("v2", 5), push("v3", 5)]).await.expect("recorded");
    s.store.record_pushes(vec![push("v1", 4)]).await.expect("recorded");
    let pushed_at = |found: Option<crate::metadata::ManifestRecord>| found.and_then(|found| found.tagged_at);
    assert_eq!(pushed_at(s.tagged("app", "v1").await), Some(at(5)));
    assert_eq!(pushed_at(s.tagged("app", "v2").await), Some(at(2)));
    assert_eq!(history(s, "v1").await.len(), 1);
}

/// In the visible repositories, or in one; pages continue where the last one ended.
pub async fn recent_changes_are_listed_newest_first(s: &Scene) {
    for (number, name) in ["app", "other", "app"].into_iter().enumerate() {
        let time = i64::try_from(number).expect("small");
        s.push(name, "layer", time).await;
        s.put(name, image(&format!("m{number}")).blob("layer").tag("v1"), time).await;
    }
    let list = async |query: &ChangeQuery, visible: &Visible, limit| {
        s.store.recent_changes(query, visible, limit).await.expect("read")
    };
    let kinds = |page: &RecentChanges| -> Vec<_> {
        page.items.iter().map(|item| (item.repo.to_string(), item.entry.kind)).collect()
    };
    let all = ChangeQuery::default();
    let app = || "app".to_owned();
    let expected =
        [(app(), ChangeKind::Move), ("other".to_owned(), ChangeKind::Push), (app(), ChangeKind::Push)];
    assert_eq!(kinds(&list(&all, &Visible::all(), 10).await), expected);
    let first = list(&all, &Visible::all(), 1).await;
    assert_eq!(first.items[0].tag, Some(tag("v1")));
    let rest = list(&ChangeQuery { before: first.next, ..all.clone() }, &Visible::all(), 10).await;
    assert_eq!((kinds(&rest), rest.next), (expected[1..].to_vec(), None));
    let visible = Visible::from_ranges([NameRange::name("other")]);
    assert_eq!(kinds(&list(&all, &visible, 10).await), expected[1..2]);
    let of_app = ChangeQuery { repository: Some(repo("app")), kind: Some(ChangeKind::Push), ..all.clone() };
    assert_eq!(kinds(&list(&of_app, &Visible::all(), 10).await), expected[2..]);
    let of_none = ChangeQuery { repository: Some(repo("none")), ..all };
    assert_eq!(list(&of_none, &Visible::all(), 10).await, RecentChanges::default());
}
