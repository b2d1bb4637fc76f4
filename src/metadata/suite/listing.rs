//! Lists of the distribution API, page by page.

use super::*;
use crate::oci::Digest;

async fn tags(s: &Scene, after: Option<&str>, limit: usize) -> Vec<String> {
    let tags = s.store.tags(&repo("app"), after, limit).await.expect("an answer").expect("a repository");
    tags.iter().map(ToString::to_string).collect()
}

async fn referrers(s: &Scene, kind: Option<&str>, after: Option<&Digest>, limit: usize) -> Vec<Digest> {
    let page = s.store.referrers(&repo("app"), &digest("s"), kind, after, limit).await.expect("an answer");
    page.into_iter().map(|referrer| referrer.digest).collect()
}

/// Tags are listed in byte order, after a tag that need not exist.
pub async fn tags_are_listed_in_byte_order(s: &Scene) {
    let mut put = image("a");
    for name in ["b", "a", "B", "_x", "1", "a.1", "a-1", "aa"] {
        put = put.tag(name);
    }
    s.put("app", put, 1).await;
    let all = ["1", "B", "_x", "a", "a-1", "a.1", "aa", "b"];
    assert_eq!(tags(s, None, 100).await, all);
    assert_eq!(tags(s, Some("a"), 2).await, ["a-1", "a.1"]);
    assert_eq!(tags(s, Some("C"), 2).await, ["_x", "a"]);
    assert_eq!(tags(s, Some("b"), 2).await, [""; 0]);
    assert_eq!(tags(s, None, 0).await, [""; 0]);
}

/// A repository without tags has an empty list; an unknown repository has none.
pub async fn an_unknown_repository_has_no_tag_list(s: &Scene) {
    assert_eq!(s.store.tags(&repo("app"), None, 10).await.expect("an answer"), None);
    s.put("app", image("a"), 1).await;
    assert_eq!(tags(s, None, 10).await, [""; 0]);
}

/// The catalog lists repositories with a live manifest.
pub async fn repositories_with_a_live_manifest_are_listed(s: &Scene) {
    for name in ["b", "a/x", "a", "c"] {
        s.put(name, image("m"), 1).await;
    }
    s.push("only-blobs", "layer", 1).await;
    s.delete("b", "m", 2).await;
    assert_eq!(s.store.repositories(None, 10).await.expect("listed"), ["a", "a/x", "c"].map(repo));
    assert_eq!(s.store.repositories(Some("a"), 1).await.expect("listed"), ["a/x"].map(repo));
    assert_eq!(s.store.repositories(Some("c"), 1).await.expect("listed"), []);
}

/// Referrers are sorted by digest, page by page.
pub async fn referrers_are_paged(s: &Scene) {
    let mut expected = Vec::new();
    for number in 0..7 {
        let name = format!("r{number}");
        s.put("app", image(&name).subject("s"), 1).await;
        expected.push(digest(&name));
    }
    expected.sort();
    assert_eq!(referrers(s, None, None, 100).await, expected);
    assert_eq!(referrers(s, None, None, 3).await, expected[..3]);
    assert_eq!(referrers(s, None, Some(&expected[2]), 3).await, expected[3..6]);
    assert_eq!(referrers(s, None, Some(&expected[6]), 3).await, []);
}

/// The filter also applies across pages.
pub async fn referrers_are_filtered_by_artifact_type(s: &Scene) {
    let mut expected = Vec::new();
    for number in 0..6 {
        let name = format!("r{number}");
        let kind = if number % 2 == 0 { "sbom" } else { "signature" };
        s.put("app", image(&name).subject("s").artifact_type(kind), 1).await;
        if kind == "sbom" {
            expected.push(digest(&name));
        }
    }
    expected.sort();
    assert_eq!(referrers(s, Some("sbom"), None, 10).await, expected);
    assert_eq!(referrers(s, Some("sbom"), Some(&expected[0]), 1).await, expected[1..2]);
    assert_eq!(referrers(s, Some("other"), None, 10).await, []);
}

/// A referrer has every field that the list shows, whether its subject exists or not.
pub async fn referrer_has_all_listed_fields(s: &Scene) {
    let put = image("r").subject("s").artifact_type("sbom").annotation("made-by", "us \"and\" them");
    s.put("app", put, 1).await;
    let page = s.store.referrers(&repo("app"), &digest("s"), None, None, 10).await.expect("an answer");
    let [referrer] = page.as_slice() else { panic!("{page:?}") };
    assert_eq!(&referrer.digest, &digest("r"));
    assert_eq!(referrer.size, r#"{"annotations":{"made-by":"us \"and\" them"}}"#.len() as u64);
    assert_eq!(referrer.media_type, "application/vnd.oci.image.manifest.v1+json");
    assert_eq!(referrer.artifact_type.as_deref(), Some("sbom"));
    assert_eq!(referrer.annotations.as_ref().expect("some").to_map()["made-by"], "us \"and\" them");
    let elsewhere = s.store.referrers(&repo("other"), &digest("s"), None, None, 10).await;
    assert_eq!(elsewhere.expect("an answer"), []);
}

/// A page takes no more memory than a few manifests, and the list continues.
pub async fn page_of_referrers_is_limited_in_bytes(s: &Scene) {
    let long = "x".repeat(3 << 20);
    for name in ["r1", "r2", "r3", "r4"] {
        s.put("app", image(name).subject("s").annotation("long", &long), 1).await;
    }
    let first = referrers(s, None, None, 10).await;
    let second = referrers(s, None, first.last(), 10).await;
    assert_eq!((first.len(), second.len()), (2, 2));
    assert_eq!(referrers(s, None, second.last(), 10).await, []);
}

/// A removed referrer is not listed until it is pushed again.
pub async fn a_removed_referrer_is_not_listed(s: &Scene) {
    s.put("app", image("r").subject("s"), 1).await;
    s.delete("app", "r", 2).await;
    assert_eq!(referrers(s, None, None, 10).await, []);
    s.put("app", image("r").subject("s"), 3).await;
    assert_eq!(referrers(s, None, None, 10).await, [digest("r")]);
}

/// An export reads the live manifests of one repository, page by page.
pub async fn live_manifests_are_paged_for_exports(s: &Scene) {
    for name in ["a", "b", "c", "removed"] {
        s.put("app", image(name), 1).await;
    }
    s.put("other", image("elsewhere"), 1).await;
    s.delete("app", "removed", 2).await;
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let page = s.store.live_manifests(&repo("app"), after.as_ref(), 2).await.expect("a page");
        let Some(last) = page.last() else { break };
        after = Some(last.digest.clone());
        found.extend(page.into_iter().map(|manifest| (manifest.digest, manifest.pushed_at)));
    }
    let mut expected: Vec<_> = ["a", "b", "c"].iter().map(|name| (digest(name), at(1))).collect();
    expected.sort();
    assert_eq!(found, expected);
    assert_eq!(s.store.live_manifests(&repo("none"), None, 2).await.expect("a page"), []);
}

/// `fsck` reads every blob and manifest, page by page.
pub async fn blobs_and_manifests_are_paged_for_fsck(s: &Scene) {
    for number in 0..5 {
        s.push("app", &format!("b{number}"), 1).await;
        s.put("app", image(&format!("m{number}")), 1).await;
    }
    let mut blobs = 0;
    let mut manifests = 0;
    let mut after = None;
    while let Some(last) = s.store.blobs_after(after.as_ref(), 2).await.expect("a page").pop() {
        blobs += 1;
        after = Some(last.key.digest);
    }
    let mut id = i64::MIN;
    while let Some(last) = s.store.manifests_after(id, 2).await.expect("a page").pop() {
        assert_eq!(digest(std::str::from_utf8(&last.content).expect("text")), last.digest);
        manifests += 1;
        id = last.id;
    }
    assert_eq!((blobs, manifests), (3, 3), "the last of each page of two");
}
