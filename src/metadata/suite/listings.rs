//! Lists for people.

use super::scene::{SIZE, Scene, at, digest, image, repo, tag};
use crate::metadata::{
    Durability, EdgeKind, ListPage, ListQuery, MAX_PAGE_BYTES, NameRange, Place, SortKey, TagEntry, Visible,
};

const SORTS: [SortKey; 5] =
    [SortKey::Name, SortKey::Size, SortKey::Pushed, SortKey::Pulled, SortKey::Version];

fn sorted(sort: SortKey, descending: bool) -> ListQuery {
    ListQuery { sort, descending, limit: 100, ..ListQuery::default() }
}

async fn entries(s: &Scene, query: &ListQuery) -> ListPage<TagEntry> {
    s.store.list_tags(&repo("app"), query).await.expect("an answer").expect("a repository")
}

async fn tags(s: &Scene, query: &ListQuery) -> Vec<String> {
    entries(s, query).await.items.iter().map(|entry| entry.name.to_string()).collect()
}

async fn repositories(s: &Scene, query: &ListQuery) -> Vec<String> {
    visible_repositories(s, query, &Visible::all()).await
}

async fn visible_repositories(s: &Scene, query: &ListQuery, visible: &Visible) -> Vec<String> {
    let found = s.store.list_repositories(query, visible).await.expect("an answer");
    found.items.iter().map(|entry| entry.name.to_string()).collect()
}

async fn pull(s: &Scene, of: &str, name: &str, hours: i64) {
    s.store.record_pulls(vec![(repo(of), digest(name), at(hours))]).await.expect("recorded");
}

/// Stores three images with one, two and no layers. `b` was pulled after `a`, `c` never.
async fn push_three_images(s: &Scene) {
    for layer in ["l1", "l2"] {
        s.push("app", layer, 0).await;
    }
    s.put("app", image("a").blob("l1").tag("a"), 3).await;
    s.put("app", image("b").blob("l1").blob("l2").tag("b").tag("b2"), 1).await;
    s.put("app", image("c").tag("c"), 2).await;
    pull(s, "app", "a", 5).await;
    pull(s, "app", "b", 6).await;
}

/// Each order, ascending and descending.
pub async fn tags_are_sorted(s: &Scene) {
    push_three_images(s).await;
    let expected = [
        ["a", "b", "b2", "c"],
        ["c", "a", "b", "b2"],
        ["b", "b2", "c", "a"],
        ["c", "a", "b", "b2"],
        ["a", "b", "b2", "c"],
    ];
    for (sort, mut expected) in SORTS.into_iter().zip(expected) {
        assert_eq!(tags(s, &sorted(sort, false)).await, expected, "{sort:?}");
        expected.reverse();
        assert_eq!(tags(s, &sorted(sort, true)).await, expected, "{sort:?}");
    }
}

/// The pages of any order make up the whole list.
pub async fn sorted_tags_are_paged(s: &Scene) {
    push_three_images(s).await;
    for (sort, descending) in SORTS.into_iter().flat_map(|sort| [(sort, false), (sort, true)]) {
        let mut query = sorted(sort, descending);
        let all = tags(s, &query).await;
        query.limit = 1;
        let mut paged = Vec::new();
        loop {
            let page = entries(s, &query).await;
            paged.extend(page.items.iter().map(|entry| entry.name.to_string()));
            let Some(next) = page.next else { break };
            assert_eq!(page.items.last().map(|last| last.place(sort)).as_ref(), Some(&next.place));
            query.after = Some(next.place);
        }
        assert_eq!(paged, all, "{sort:?} {descending}");
    }
}

/// Versions are in order, whether the store has their keys or, after a migration, not yet.
pub async fn tags_are_sorted_by_version(s: &Scene) {
    let expected = ["main", "v1.9", "1.10-rc1", "1.10", "v1.10", "1.10-alpine", "1.10.1", "2024-01-15"];
    let pushed = expected.iter().rev().fold(image("a"), |image, name| image.tag(name));
    s.put("app", pushed, 1).await;
    let all_pages = async |descending, search: Option<&str>| {
        let search = search.map(str::to_owned);
        let mut query = ListQuery { limit: 3, search, ..sorted(SortKey::Version, descending) };
        let mut found = Vec::new();
        loop {
            let page = entries(s, &query).await;
            found.extend(page.items.iter().map(|entry| entry.name.to_string()));
            let Some(next) = page.next else { return found };
            query.after = Some(next.place);
        }
    };
    let mut descending = expected;
    descending.reverse();
    for unfilled in [&[][..], &["v1.9", "1.10"], &expected] {
        for name in unfilled.iter().copied() {
            let forget = "UPDATE tags SET version_key = NULL WHERE name = ?1";
            s.store.write(Durability::Lazy, move |c| c.execute(forget, [name])).await.expect("changed");
        }
        assert_eq!(all_pages(false, None).await, expected);
        assert_eq!(all_pages(true, None).await, descending);
        assert_eq!(all_pages(false, Some("V1")).await, ["v1.9", "v1.10"]);
        assert_eq!(s.store.fill_version_keys(8).await.expect("filled"), unfilled.len() == 8);
        assert!(!s.store.fill_version_keys(8).await.expect("filled"));
        let count = "SELECT count(*) FROM tags WHERE version_key IS NULL";
        let unfilled = s.store.read(|c| c.query_row(count, [], |row| row.get::<i64>(0)));
        assert_eq!(unfilled.expect("read"), 0);
        assert_eq!(all_pages(false, None).await, expected);
    }
}

/// A search finds names that contain the text, ignoring case, in every order.
pub async fn tags_are_searched(s: &Scene) {
    s.put("app", image("a").tag("v1-RC1").tag("v1").tag("rc"), 1).await;
    for sort in SORTS {
        let query = ListQuery { search: Some("Rc".into()), ..sorted(sort, false) };
        assert_eq!(tags(s, &query).await, ["rc", "v1-RC1"], "{sort:?}");
    }
    assert_eq!(
        s.store.list_tags(&repo("other"), &sorted(SortKey::Name, false)).await.expect("an answer"),
        None
    );
}

/// A tag entry describes its manifest. Blobs that children of an index share count once.
pub async fn tag_entry_describes_its_manifest(s: &Scene) {
    for layer in ["shared", "one", "two"] {
        s.push("app", layer, 0).await;
    }
    s.put("app", image("amd64").blob("shared").blob("one"), 1).await;
    s.put("app", image("arm64").blob("shared").blob("two"), 1).await;
    s.put("app", image("multi").child("amd64").child("arm64").artifact_type("kind").tag("latest"), 2).await;
    let entry = s.store.tag_entry(&repo("app"), &tag("latest")).await.expect("an answer").expect("a tag");
    assert_eq!((entry.pushed_at, &entry.manifest.digest), (at(2), &digest("multi")));
    assert_eq!(entry.manifest.size, 3 * SIZE);
    assert_eq!(entry.manifest.manifest_size, "multi".len() as u64);
    assert_eq!(entry.manifest.artifact_type.as_deref(), Some("kind"));
    assert_eq!((entry.manifest.pulled_at, entry.manifest.platforms), (None, Vec::new()));
    let size = async |name| s.store.content_size(&repo("app"), &digest(name)).await.expect("an answer");
    assert_eq!((size("multi").await, size("none").await), (Some(3 * SIZE), None));
    assert_eq!(s.store.tag_entry(&repo("app"), &tag("none")).await.expect("an answer"), None);
    assert_eq!(s.store.tag_entry(&repo("none"), &tag("latest")).await.expect("an answer"), None);
}

/// A manifest entry has its tags, its references and the indexes that list it.
pub async fn manifest_entry_lists_tags_references_and_indexes(s: &Scene) {
    s.push("app", "layer", 0).await;
    s.put("app", image("child").blob("layer").subject("gone").tag("v1").tag("v2"), 1).await;
    s.put("app", image("index").child("child"), 2).await;
    let found = s.store.manifest_entry(&repo("app"), &digest("child")).await.expect("an answer");
    let (entry, related) = found.expect("a manifest");
    assert_eq!((entry.size, entry.pushed_at), (SIZE, at(1)));
    assert_eq!(related.tags, [tag("v1"), tag("v2")]);
    assert_eq!(related.indexes, [digest("index")]);
    let mut references =
        [(digest("layer"), EdgeKind::Blob, true), (digest("gone"), EdgeKind::Subject, false)];
    references.sort_by_key(|(digest, ..)| digest.clone());
    assert_eq!(related.references, references);
    s.delete("app", "index", 3).await;
    s.delete("app", "child", 3).await;
    assert_eq!(s.store.manifest_entry(&repo("app"), &digest("child")).await.expect("an answer"), None);
}

/// Repositories with live manifests are sorted and filtered, page by page.
pub async fn repositories_are_sorted(s: &Scene) {
    for (name, layers, hours) in [("team/a", 2, 1), ("team/b", 0, 3), ("other", 1, 2)] {
        for layer in 0..layers {
            s.push(name, &format!("l{layer}"), 0).await;
        }
        s.put(name, image("m").tag("t"), hours).await;
    }
    s.push("only-blobs", "l0", 0).await;
    pull(s, "team/a", "m", 7).await;
    let expected = [
        (SortKey::Name, ["other", "team/a", "team/b"]),
        (SortKey::Size, ["team/b", "other", "team/a"]),
        (SortKey::Pushed, ["team/a", "other", "team/b"]),
        (SortKey::Pulled, ["other", "team/b", "team/a"]),
    ];
    for (sort, mut expected) in expected {
        assert_eq!(repositories(s, &sorted(sort, false)).await, expected, "{sort:?}");
        expected.reverse();
        assert_eq!(repositories(s, &sorted(sort, true)).await, expected, "{sort:?}");
    }
    let team = ListQuery { prefix: Some("team/".into()), ..sorted(SortKey::Pushed, true) };
    assert_eq!(repositories(s, &team).await, ["team/b", "team/a"]);
    let after = Place { number: at(3).0, name: "team/b".into() };
    assert_eq!(repositories(s, &ListQuery { after: Some(after), ..team }).await, ["team/a"]);
    let search = ListQuery { search: Some("HE".into()), ..sorted(SortKey::Name, false) };
    assert_eq!(repositories(s, &search).await, ["other"]);
}

/// Only visible repositories are listed, in every order and page by page. Invisible ones leave no trace.
pub async fn only_visible_repositories_are_listed(s: &Scene) {
    let names = ["app", "pub/a", "pub/b", "secret", "team/a", "team/b", "team/c", "zoo"];
    for (hours, name) in (1..).zip(names) {
        s.put(name, image("m").tag("t"), (hours * 5) % 8).await;
    }
    let scopes = [NameRange::prefix("team/"), NameRange::name("app"), NameRange::name("absent")];
    let ends_in_b = std::sync::Arc::new(|name: &str| name.ends_with('b'));
    let visible = Visible::from_ranges(scopes).or_matching([NameRange::prefix("pub/")], ends_in_b);
    for (sort, descending) in SORTS.into_iter().flat_map(|sort| [(sort, false), (sort, true)]) {
        let mut query = sorted(sort, descending);
        let mut expected = repositories(s, &query).await;
        expected.retain(|name| visible.shows(&repo(name)));
        assert_eq!(expected.len(), 5);
        assert_eq!(visible_repositories(s, &query, &visible).await, expected, "{sort:?} {descending}");
        query.limit = 2;
        let mut paged = Vec::new();
        loop {
            let page = s.store.list_repositories(&query, &visible).await.expect("an answer");
            paged.extend(page.items.iter().map(|entry| entry.name.to_string()));
            let Some(next) = page.next else { break };
            assert!(!next.hidden);
            query.after = Some(next.place);
        }
        assert_eq!(paged, expected, "{sort:?} {descending}");
        let query = ListQuery { prefix: Some("team/".into()), search: Some("B".into()), ..query };
        let query = ListQuery { after: None, ..query };
        assert_eq!(visible_repositories(s, &query, &visible).await, ["team/b"]);
    }
    let names = s.store.repository_names(Some("app"), 2, &visible).await.expect("an answer");
    assert_eq!((names.items, names.next.is_some()), (["pub/b", "team/a"].map(repo).into(), true));
    let nothing = Visible::default();
    assert_eq!(visible_repositories(s, &sorted(SortKey::Pushed, true), &nothing).await, [""; 0]);
    let names = s.store.repository_names(None, 2, &nothing).await.expect("an answer");
    assert_eq!((names.items, names.next), (Vec::new(), None));
}

/// Pushes and pulls count for the order even if the manifest is gone. An empty repository is not listed.
pub async fn repository_keeps_the_time_of_its_last_push(s: &Scene) {
    s.put("app", image("a").tag("a"), 1).await;
    s.put("app", image("b").tag("b"), 5).await;
    pull(s, "app", "b", 6).await;
    s.delete("app", "b", 7).await;
    let entry = s.store.repository_entry(&repo("app")).await.expect("an answer").expect("a repository");
    assert_eq!((entry.manifests, entry.pushed_at, entry.pulled_at), (1, at(5), Some(at(6))));
    s.delete("app", "a", 8).await;
    assert_eq!(repositories(s, &sorted(SortKey::Pushed, true)).await, [""; 0]);
    s.put("app", image("a").tag("a"), 9).await;
    assert_eq!(repositories(s, &sorted(SortKey::Pushed, true)).await, ["app"]);
    s.assert_consistent().await;
}

/// A page of tags ends when it gets large, and the next one continues there.
pub async fn page_of_tags_is_limited_in_bytes(s: &Scene) {
    let kind = "x".repeat(MAX_PAGE_BYTES / 2);
    for name in ["a", "b", "c", "d"] {
        s.put("app", image(name).artifact_type(&kind).tag(name), 1).await;
    }
    let mut query = sorted(SortKey::Name, false);
    let first = entries(s, &query).await;
    assert_eq!(first.items.len(), 2);
    query.after = first.next.map(|next| next.place);
    assert_eq!(tags(s, &query).await, ["c", "d"]);
}

/// A repository entry has its totals and times.
pub async fn repository_entry_has_totals_and_times(s: &Scene) {
    push_three_images(s).await;
    let entry = s.store.repository_entry(&repo("app")).await.expect("an answer").expect("a repository");
    assert_eq!((entry.tags, entry.manifests, entry.bytes), (4, 3, 2 * SIZE));
    assert_eq!((entry.pushed_at, entry.pulled_at), (at(3), Some(at(6))));
    s.put("untagged", image("m"), 4).await;
    let entry = s.store.repository_entry(&repo("untagged")).await.expect("an answer").expect("a repository");
    assert_eq!((entry.tags, entry.pushed_at, entry.pulled_at), (0, at(4), None));
    s.delete("untagged", "m", 5).await;
    assert_eq!(s.store.repository_entry(&repo("untagged")).await.expect("an answer"), None);
}
