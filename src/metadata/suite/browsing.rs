//! What pages show: namespaces, searches, untagged manifests, and tags that share a blob.

use super::*;
use crate::metadata::{
    Count, ListPage, MAX_COUNTED_TAGS, NameRange, NamespaceEntry, Pin, SearchResults, Visible,
};

fn team() -> Visible {
    Visible::from_ranges([NameRange::prefix("team/")])
}

/// Returns all entries below a parent, page by page: the name, whether it is a repository, and the number below it.
async fn tree(s: &Scene, parent: &str, visible: &Visible, limit: usize) -> Vec<(String, bool, u64)> {
    let parent = Some(parent).filter(|parent| !parent.is_empty()).map(repo);
    let mut found = Vec::new();
    let mut after = None::<String>;
    loop {
        let page = s.store.namespaces(parent.as_ref(), after.as_deref(), limit, visible).await;
        let ListPage { items, next } = page.expect("an answer");
        let entry = |entry: NamespaceEntry| {
            assert!(!entry.below.more);
            (entry.name.to_string(), entry.is_repository, entry.below.number)
        };
        found.extend(items.into_iter().map(entry));
        let Some(next) = next else { return found };
        assert!(!next.hidden);
        after = Some(next.place.name);
    }
}

/// Each name is listed once, whatever the page size, and only with what is visible.
pub async fn namespaces_form_a_tree(s: &Scene) {
    for name in ["app", "team", "team-a/x", "team.b", "team/app", "team/app/web", "team/lib", "teams/z"] {
        s.put(name, image("m").tag("t"), 0).await;
    }
    let of = |name: &str, is_repository, below| (name.to_owned(), is_repository, below);
    let top = [
        of("app", true, 0),
        of("team", true, 3),
        of("team-a", false, 1),
        of("team.b", true, 0),
        of("teams", false, 1),
    ];
    for limit in 1..7 {
        assert_eq!(tree(s, "", &Visible::all(), limit).await, top, "{limit} a page");
    }
    assert_eq!(
        tree(s, "team", &Visible::all(), 10).await,
        [of("team/app", true, 1), of("team/lib", true, 0)]
    );
    assert_eq!(tree(s, "team/app", &team(), 10).await, [of("team/app/web", true, 0)]);
    assert_eq!(tree(s, "", &team(), 10).await, [of("team", false, 3)]);
    assert_eq!(tree(s, "teams", &team(), 10).await, []);
    assert_eq!(tree(s, "none", &Visible::all(), 10).await, []);
}

/// Repositories, tags and digests are found, and only in visible repositories.
pub async fn search_finds_names_tags_and_digests(s: &Scene) {
    for (hours, name) in (1..).zip(["team/app", "secret/app", "team/lib"]) {
        s.push(name, "layer", hours).await;
        s.put(name, image("m").blob("layer").tag("v1.2").tag("latest"), hours).await;
    }
    let search = async |text: &str, visible: &Visible| -> SearchResults {
        s.store.search(text, visible, 10).await.expect("an answer")
    };
    let tags = |found: &SearchResults| -> Vec<String> {
        found.tags.iter().map(|found| format!("{}:{}", found.repo, found.tag)).collect()
    };
    let found = search("app", &Visible::all()).await;
    let names: Vec<_> = found.repositories.iter().map(|found| found.name.as_str()).collect();
    assert_eq!((names, tags(&found).len()), (vec!["secret/app", "team/app"], 0));
    let found = search("APP", &team()).await;
    assert_eq!((found.repositories.len(), found.incomplete), (1, false));
    let found = search("v1", &team()).await;
    assert_eq!(
        (tags(&found), found.more_tags),
        (vec!["team/lib:v1.2".into(), "team/app:v1.2".into()], false)
    );
    assert_eq!(tags(&search("app:lat", &Visible::all()).await), ["secret/app:latest", "team/app:latest"]);
    assert_eq!(tags(&search("team/app:", &Visible::all()).await), [""; 0]);
    let few = s.store.search("v1", &Visible::all(), 2).await.expect("an answer");
    assert_eq!((few.tags.len(), few.more_tags), (2, true));

    let manifest = digest("m");
    for text in [&manifest.hex()[..7], &manifest.to_string()] {
        let found = search(text, &team()).await;
        let repos: Vec<_> = found.manifests.iter().map(|found| found.repo.as_str()).collect();
        assert_eq!(
            (repos, found.manifests[0].digest == manifest),
            (vec!["team/lib", "team/app"], true),
            "{text}"
        );
    }
    let found = search(&digest("layer").hex()[..8], &team()).await;
    let repos: Vec<_> = found.blobs.iter().map(|found| found.repo.as_str()).collect();
    assert_eq!(repos, ["team/app", "team/lib"]);
    for text in ["", " ", ":", "abcdef", "%", &"f".repeat(200)] {
        let found = search(text, &Visible::all()).await;
        assert_eq!((found.manifests.len(), found.blobs.len(), found.tags.len()), (0, 0, 0), "{text}");
    }
}

/// Tagged, listed and attached manifests are not untagged.
pub async fn untagged_manifests_are_listed(s: &Scene) {
    s.put("app", image("tagged").tag("v1"), 0).await;
    s.put("app", image("child"), 0).await;
    s.put("app", image("index").child("child").tag("v2"), 0).await;
    s.put("app", image("signature").subject("tagged"), 0).await;
    for name in ["loose", "lost", "pinned"] {
        s.put("app", image(name), 1).await;
    }
    s.put("app", image("lost").tag("v3"), 1).await;
    assert!(s.untag("app", "v3", 5).await);
    let pin = Pin { digest: digest("pinned"), reason: "keep: newest".into() };
    s.store.set_pins(&repo("app"), vec![pin]).await.expect("pinned");
    let mut expected = [
        (digest("loose"), None, Some(at(1 + 14 * 24))),
        (digest("lost"), None, Some(at(5 + 14 * 24))),
        (digest("pinned"), Some("keep: newest".to_owned()), None),
    ];
    expected.sort();
    for limit in 1..5 {
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let page = s.store.untagged_manifests(&repo("app"), &rules(6), after.as_ref(), limit).await;
            let page = page.expect("an answer").expect("the repository exists");
            assert!(page.items.len() <= limit);
            found.extend(page.items.into_iter().map(|it| (it.manifest.digest, it.pinned_by, it.expires_at)));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found, expected, "{limit} a page");
    }
    // The collector leaves the queue as it was for what is untagged.
    s.collect(rules(6)).await;
    let page = s.store.untagged_manifests(&repo("app"), &rules(6), None, 10).await.expect("an answer");
    assert_eq!(page.expect("the repository exists").items.len(), 3);
    assert_eq!(
        s.store.untagged_manifests(&repo("none"), &rules(6), None, 10).await.expect("an answer"),
        None
    );
}

/// Only tags that do not lead to the manifest count, in visible repositories, up to the limit.
pub async fn tags_that_share_a_blob_are_counted(s: &Scene) {
    for name in ["team/a", "team/b", "secret"] {
        s.push(name, "base", 0).await;
        s.push(name, "own", 0).await;
    }
    s.put("team/a", image("one").blob("base").blob("own").tag("v1").tag("latest"), 0).await;
    s.put("team/a", image("list").child("one").tag("multi"), 0).await;
    s.put("team/a", image("two").blob("base").tag("v2"), 0).await;
    s.put("team/b", image("three").blob("base"), 0).await;
    s.put("team/b", image("list").child("three").tag("v3").tag("v4"), 0).await;
    s.put("secret", image("four").blob("base").blob("own").tag("v5"), 0).await;
    s.put("team/b", image("untagged").blob("base"), 0).await;
    let count = async |visible: &Visible| -> Vec<u64> {
        let blobs = ["base", "own", "none"].map(digest);
        let counts = s.store.tags_sharing(&repo("team/a"), &digest("one"), &blobs, visible).await;
        let counts = counts.expect("an answer").into_iter();
        counts.map(|Count { number, more }| if more { panic!("{number}") } else { number }).collect()
    };
    assert_eq!(count(&Visible::all()).await, [4, 1, 0]);
    assert_eq!(count(&team()).await, [3, 0, 0]);
    assert_eq!(count(&Visible::default()).await, [0, 0, 0]);
    for number in 0..MAX_COUNTED_TAGS {
        s.put("team/b", image("many").blob("base").tag(&format!("t{number}")), 1).await;
    }
    let counts = s.store.tags_sharing(&repo("team/a"), &digest("one"), &[digest("base")], &team()).await;
    assert_eq!(counts.expect("an answer"), [Count { number: MAX_COUNTED_TAGS, more: true }]);
}

/// The size of a manifest includes its children; what is absent has none.
pub async fn sizes_of_contents_are_summed(s: &Scene) {
    for blob in ["a", "b"] {
        s.push("app", blob, 0).await;
    }
    s.put("app", image("one").blob("a"), 0).await;
    s.put("app", image("list").child("one").tag("v1"), 0).await;
    s.put("app", image("two").blob("a").blob("b").tag("v2"), 0).await;
    let wanted = ["list", "two", "none"].map(digest);
    let sizes = s.store.content_sizes(&repo("app"), &wanted).await.expect("an answer");
    assert_eq!(sizes, [Some(scene::SIZE), Some(2 * scene::SIZE), None]);
}

/// A tag is listed with who made it, and with other tags of the same manifest.
pub async fn tag_is_listed_with_its_author_and_aliases(s: &Scene) {
    s.put("app", image("one").tag("v1"), 0).await;
    for name in ["a", "b", "c", "d", "e", "f"] {
        s.put("app", image("one").tag(name).by("alice"), 1).await;
    }
    let entry = s.store.tag_entry(&repo("app"), &tag("b")).await.expect("an answer").expect("a tag");
    assert_eq!(entry.pushed_by.as_deref(), Some("alice"));
    assert_eq!(entry.aliases, ["a", "c", "d", "e", "f"].map(tag));
    let entry = s.store.tag_entry(&repo("app"), &tag("v1")).await.expect("an answer").expect("a tag");
    assert_eq!((entry.pushed_by, entry.aliases.len()), (None, 5));
}
