//! Usage reports, reclaimable space, and explanations of what keeps objects alive.

use super::scene::{ALLOCATED, SIZE};
use super::*;
use crate::metadata::{
    CollectionRules, ManifestState, PrefixUsage, Reclaimable, ReclaimableSummary, Scope, Usage, UsageDay,
};
use crate::oci::{Digest, Reference, RepoName};

async fn usage(s: &Scene, scope: &str) -> Usage {
    s.store.usage(&scope.parse().expect("a scope")).await.expect("usage")
}

async fn mount(s: &Scene, to: &str, name: &str) {
    s.store.mount_blob(&repo(to), &digest(name), None, at(0)).await.expect("mounted");
}

async fn would_free(s: &Scene, names: &[(&str, &str)]) -> u64 {
    let named = |(of, name): &(&str, &str)| -> (RepoName, Digest) { (repo(of), digest(name)) };
    s.store.would_free(names.iter().map(named).collect()).await.expect("an answer")
}

/// Deletes these manifests, lets all times pass and returns the bytes freed on disk.
async fn delete_and_measure(s: &Scene, names: &[(&str, &str)]) -> u64 {
    let before = s.store.totals().await.expect("totals").blob_allocated;
    for (of, name) in names {
        s.delete(of, name, 1).await;
    }
    // A child follows its index when its lease has ended, and its blobs follow one lease later.
    for days in [20, 40, 60] {
        s.collect(CollectionRules { untagged: None, ..rules(24 * days) }).await;
    }
    before - s.store.totals().await.expect("totals").blob_allocated
}

/// Blobs linked by one repository only are exclusive, others are shared. The same applies to prefixes.
pub async fn usage_is_reported_by_scope(s: &Scene) {
    s.push("team/one", "own", 0).await;
    s.push("team/one", "ours", 0).await;
    mount(s, "team/two", "ours").await;
    s.push("team/one", "all", 0).await;
    mount(s, "other", "all").await;
    s.put("team/one", image("a").tag("v1").tag("v2"), 0).await;
    let expected = |repositories, tags, links: u64, blobs: u64, exclusive: u64| Usage {
        repositories,
        tags,
        manifests: tags / 2,
        links,
        logical: links * SIZE,
        bytes: blobs * SIZE,
        allocated: blobs * ALLOCATED,
        exclusive: exclusive * ALLOCATED,
    };
    assert_eq!(usage(s, "team/one").await, expected(1, 2, 3, 3, 1));
    assert_eq!(usage(s, "team/two").await, expected(1, 0, 1, 1, 0));
    assert_eq!(usage(s, "team/").await, expected(2, 2, 4, 3, 2));
    assert_eq!(usage(s, "other").await.shared(), ALLOCATED);
    assert_eq!(usage(s, "").await, expected(3, 2, 5, 3, 3));
    assert_eq!(usage(s, "absent").await, Usage::default());
    s.collect(rules(100)).await;
    assert_eq!(usage(s, "").await, expected(3, 2, 0, 0, 0));
}

/// The largest prefixes are listed by name and all others are summed. Names that sort between a prefix and its
/// repositories do not count towards it.
pub async fn usage_is_reported_by_prefix(s: &Scene) {
    for (of, name) in [("team", "a"), ("team/one", "b"), ("team/two/x", "c"), ("team-a/x", "d"), ("z", "e")] {
        s.push(of, name, 0).await;
    }
    mount(s, "team-a/x", "a").await;
    s.put("team/one", image("i").tag("v1").tag("v2"), 0).await;
    let biggest = async |limit| s.store.biggest_prefixes(limit).await.expect("an answer");
    let usage = |prefix: Option<&str>, repositories, tags, links: u64, exclusive: u64| PrefixUsage {
        prefix: prefix.map(str::to_owned),
        repositories,
        tags,
        logical: links * SIZE,
        exclusive: exclusive * ALLOCATED,
        shared: (links - exclusive) * ALLOCATED,
    };
    let team = usage(Some("team"), 3, 2, 3, 2);
    let second = usage(Some("team-a"), 1, 0, 2, 1);
    assert_eq!(biggest(9).await, [team.clone(), second, usage(Some("z"), 1, 0, 1, 1)]);
    assert_eq!(biggest(1).await, [team, usage(None, 2, 0, 3, 2)]);
    assert_eq!(biggest(0).await, [usage(None, 5, 2, 6, 4)]);
}

/// A measured size replaces the estimate; sizes of other generations are ignored.
pub async fn measured_size_replaces_the_estimate(s: &Scene) {
    let key = s.push("app", "x", 0).await;
    assert_eq!(s.store.unmeasured(10).await.expect("an answer"), []);
    s.store.record_allocated(vec![(key, 512)]).await.expect("recorded");
    assert_eq!(usage(s, "app").await.exclusive, 512);
    let other = crate::oci::BlobKey { digest: digest("x"), generation: crate::oci::Generation::random() };
    s.store.record_allocated(vec![(other, 7)]).await.expect("recorded");
    assert_eq!(s.store.totals().await.expect("totals").blob_allocated, 512);
    assert!(s.store.own_size().await.expect("an answer") > 0);
}

/// A day has one row with its latest totals.
pub async fn each_day_is_recorded_once(s: &Scene) {
    s.store.record_day(at(0)).await.expect("recorded");
    s.push("app", "x", 0).await;
    s.store.record_day(at(0)).await.expect("recorded");
    s.store.record_day(at(24)).await.expect("recorded");
    let day = at(0).0 / 86_400_000;
    let expected = |day| UsageDay { day, blobs: 1, bytes: SIZE, allocated: ALLOCATED, manifests: 0 };
    assert_eq!(s.store.days(10).await.expect("an answer"), [expected(day), expected(day + 1)]);
    assert_eq!(s.store.days(1).await.expect("an answer"), [expected(day + 1)]);
}

/// Trash, untagged manifests and leased blobs are reported separately, with the time when more becomes due.
pub async fn reclaimable_space_is_reported(s: &Scene) {
    for name in ["kept", "trash", "untagged", "leased"] {
        s.push("app", name, 0).await;
    }
    s.put("app", image("k").blob("kept").tag("v1"), 0).await;
    s.put("app", image("t").blob("kept").blob("trash").tag("v2"), 0).await;
    s.put("app", image("u").blob("kept").blob("untagged"), 0).await;
    s.delete("app", "t", 2).await;
    let one = |due: u64, next| Reclaimable { count: 1, allocated: ALLOCATED, due, next, last: next };
    let summary = s.store.reclaimable_summary(&Scope::All, &rules(3)).await.expect("an answer");
    let expected = ReclaimableSummary {
        trash: one(0, Some(at(26))),
        untagged: one(0, Some(at(14 * 24))),
        leased: one(0, Some(at(24))),
    };
    assert_eq!(summary, expected);
    let later = s.store.reclaimable_summary(&Scope::All, &rules(30)).await.expect("an answer");
    assert_eq!((later.trash, later.leased), (one(ALLOCATED, None), one(ALLOCATED, None)));
}

/// A hidden blob is reported once, although its link may be queued for two reasons.
pub async fn hidden_blob_is_reclaimable_once(s: &Scene) {
    s.push("app", "x", 0).await;
    s.delete_blob("app", "x", 1).await;
    let summary = s.store.reclaimable_summary(&Scope::All, &rules(2)).await.expect("an answer");
    let next = Some(at(25));
    assert_eq!(summary.leased, Reclaimable { count: 1, allocated: ALLOCATED, due: 0, next, last: next });
}

/// The same for some repositories only, with the first and the last time at which more becomes due.
pub async fn reclaimable_space_is_reported_by_scope(s: &Scene) {
    for (of, name) in [("team/a", "a"), ("team/b", "b"), ("other", "c")] {
        s.push(of, name, 0).await;
        s.put(of, image(name).blob(name).tag("v1"), 0).await;
        s.push(of, &format!("leased {name}"), 0).await;
    }
    s.put("team/a", image("late").blob("a").tag("v2"), 0).await;
    s.delete("team/a", "a", 2).await;
    s.delete("team/a", "late", 4).await;
    s.delete("team/b", "b", 3).await;
    s.put("other", image("untagged"), 5).await;
    let summary = async |scope: &str| {
        let scope = scope.parse().expect("a scope");
        s.store.reclaimable_summary(&scope, &rules(6)).await.expect("an answer")
    };
    let waiting = |count, blobs: u64, hours: [i64; 2]| {
        let [next, last] = hours.map(|hours| Some(at(hours)));
        Reclaimable { count, allocated: blobs * ALLOCATED, due: 0, next, last }
    };
    let team = summary("team/").await;
    assert_eq!((team.trash, team.untagged), (waiting(3, 2, [26, 28]), Reclaimable::default()));
    assert_eq!(team.leased, waiting(2, 2, [24, 24]));
    let one = summary("team/a").await;
    assert_eq!((one.trash, one.leased), (waiting(2, 1, [26, 28]), waiting(1, 1, [24, 24])));
    let other = summary("other").await;
    assert_eq!((other.trash, other.untagged.count), (Reclaimable::default(), 1));
    assert_eq!(summary("").await.trash, team.trash);
    assert_eq!(summary("absent").await, ReclaimableSummary::default());
    assert_eq!(summary("absent/").await, ReclaimableSummary::default());
}

/// A blob that a repository outside the scope links frees nothing, even if only a lease keeps it there. Within
/// one scope it does.
pub async fn blobs_shared_outside_the_scope_are_not_reclaimable(s: &Scene) {
    for name in ["base", "leased", "own"] {
        s.push("team/a", name, 0).await;
    }
    mount(s, "other", "leased").await;
    mount(s, "other", "base").await;
    mount(s, "team/b", "own").await;
    s.put("team/a", image("a").blob("base").blob("own").tag("v1"), 0).await;
    s.put("team/b", image("b").blob("own").tag("v1"), 0).await;
    s.delete("team/a", "a", 1).await;
    s.delete("team/b", "b", 1).await;
    let summary = async |scope: &str| {
        let scope = scope.parse().expect("a scope");
        let ReclaimableSummary { trash, leased, .. } =
            s.store.reclaimable_summary(&scope, &rules(2)).await.expect("an answer");
        [trash, leased].map(|found| (found.count, found.allocated / ALLOCATED))
    };
    assert_eq!(summary("team/a").await, [(1, 0), (0, 0)]);
    assert_eq!(summary("team/").await, [(2, 1), (0, 0)]);
    assert_eq!(summary("").await, [(2, 2), (1, 1)]);
}

/// The predicted bytes are freed.
pub async fn predicted_bytes_are_freed(s: &Scene) {
    for name in ["base", "one", "two", "three"] {
        s.push("app", name, 0).await;
    }
    s.put("app", image("a").blob("base").blob("one").tag("v1"), 0).await;
    s.put("app", image("b").blob("base").blob("two").tag("v2"), 0).await;
    s.put("app", image("c").blob("base").blob("three").tag("v3"), 0).await;
    let gone = [("app", "a"), ("app", "b"), ("app", "absent"), ("absent", "a")];
    assert_eq!(would_free(s, &gone).await, 2 * ALLOCATED);
    assert_eq!(would_free(s, &[]).await, 0);
    assert_eq!(delete_and_measure(s, &gone).await, 2 * ALLOCATED);
    assert_eq!(would_free(s, &[("app", "c")]).await, 2 * ALLOCATED);
    assert_eq!(delete_and_measure(s, &[("app", "c")]).await, 2 * ALLOCATED);
}

/// A blob that another repository needs stays. A blob that is removed from both is freed once.
pub async fn shared_blobs_are_not_freed(s: &Scene) {
    s.push("app", "base", 0).await;
    mount(s, "other", "base").await;
    s.put("app", image("a").blob("base").foreign_blob("elsewhere").tag("v1"), 0).await;
    s.put("other", image("b").blob("base").tag("v1"), 0).await;
    s.push("third", "elsewhere", 0).await;
    s.put("third", image("c").blob("elsewhere").tag("v1"), 0).await;
    assert_eq!(would_free(s, &[("app", "a")]).await, 0);
    assert_eq!(would_free(s, &[("app", "a"), ("other", "b")]).await, ALLOCATED);
    assert_eq!(delete_and_measure(s, &[("app", "a"), ("other", "b")]).await, ALLOCATED);
}

/// Categories are computed together but independently: a blob that both a trashed and an untagged manifest
/// reference is freed by neither.
pub async fn blob_kept_by_two_categories_counts_in_neither(s: &Scene) {
    s.push("app", "both", 0).await;
    s.push("app", "one", 0).await;
    s.put("app", image("t").blob("both").tag("v1"), 0).await;
    s.put("app", image("u").blob("both").blob("one"), 0).await;
    s.delete("app", "t", 1).await;
    let found = s.store.reclaimable_summary(&Scope::All, &rules(2)).await.expect("an answer");
    assert_eq!((found.trash.count, found.trash.allocated), (1, 0));
    assert_eq!((found.untagged.count, found.untagged.allocated), (1, ALLOCATED));
    assert_eq!(would_free(s, &[("app", "t"), ("app", "u")]).await, 2 * ALLOCATED);
}

/// Few manifests are looked up one by one and many in one sweep; both give the same result.
pub async fn few_and_many_manifests_are_predicted_the_same(s: &Scene) {
    s.push("app", "base", 0).await;
    mount(s, "other", "base").await;
    s.put("other", image("other").blob("base").tag("v1"), 0).await;
    let names: Vec<String> = (0..40).map(|number| format!("i{number}")).collect();
    for name in &names {
        s.push("app", name, 0).await;
        let image = image(name).blob(name).blob("base").foreign_blob("elsewhere");
        s.put("app", image.tag(name), 0).await;
    }
    s.push("third", "elsewhere", 0).await;
    let going = |some: usize| -> Vec<(&str, &str)> {
        names.iter().take(some).map(|name| ("app", name.as_str())).collect()
    };
    for some in [1, 2, 3, 20, 39, 40] {
        assert_eq!(would_free(s, &going(some)).await, some as u64 * ALLOCATED, "{some} of 40");
    }
    let all: Vec<_> = going(40).into_iter().chain([("other", "other")]).collect();
    assert_eq!(would_free(s, &all).await, 41 * ALLOCATED);
}

/// The same for leased blobs. Blobs that a manifest references do not count.
pub async fn few_and_many_leases_are_reported_the_same(s: &Scene) {
    for number in 0..40 {
        let name = format!("i{number}");
        s.push("app", &name, 0).await;
        s.put("app", image(&name).blob(&name).tag(&name), 0).await;
    }
    // Referenced blobs leave the queue.
    s.collect(rules(30)).await;
    let leased = async || {
        let all = s.store.reclaimable_summary(&Scope::All, &rules(31)).await.expect("an answer");
        let one = s
            .store
            .reclaimable_summary(&"app".parse().expect("a scope"), &rules(31))
            .await
            .expect("an answer");
        assert_eq!(all.leased, one.leased);
        (all.leased.count, all.leased.allocated / ALLOCATED, all.leased.last)
    };
    s.push("app", "one", 30).await;
    assert_eq!(leased().await, (1, 1, Some(at(54))), "one of 41, looked up");
    for number in 0..20 {
        s.push("app", &format!("j{number}"), 31).await;
    }
    assert_eq!(leased().await, (21, 21, Some(at(55))), "many of 61, in one sweep");
    s.put("app", image("held").blob("j0").blob("j19").tag("held"), 31).await;
    assert_eq!(leased().await, (19, 19, Some(at(55))));
}

/// A manifest is found in each repository that has it.
pub async fn manifest_is_found_in_all_its_repositories(s: &Scene) {
    for of in ["b", "a", "c"] {
        s.put(of, image("x").tag("v1"), 0).await;
    }
    s.put("d", image("y").tag("v1"), 0).await;
    s.delete("c", "x", 1).await;
    let found = async |limit| s.store.manifest_repositories(&digest("x"), limit).await.expect("an answer");
    assert_eq!(found(10).await, [repo("a"), repo("b"), repo("c")]);
    assert_eq!(found(1).await, [repo("a")]);
}

/// Children and referrers that nothing else keeps alive are deleted, too.
pub async fn children_and_referrers_are_freed_too(s: &Scene) {
    for name in ["x", "y", "z"] {
        s.push("app", name, 0).await;
    }
    s.put("app", image("a").blob("x"), 0).await;
    s.put("app", image("b").blob("y").tag("kept"), 0).await;
    s.put("app", image("index").child("a").child("b").tag("v1"), 0).await;
    s.put("app", image("signature").blob("z").subject("index"), 0).await;
    assert_eq!(would_free(s, &[("app", "index")]).await, 2 * ALLOCATED);
    assert_eq!(delete_and_measure(s, &[("app", "index")]).await, 2 * ALLOCATED);
}

/// Reports tags, indexes, the subject, the trash and the review queue.
pub async fn why_manifest_reports_what_keeps_it(s: &Scene) {
    s.push("app", "x", 0).await;
    s.put("app", image("child").blob("x").subject("about"), 1).await;
    s.put("app", image("about"), 0).await;
    s.put("app", image("index").child("child").tag("v1").tag("v2"), 0).await;
    let ask = async |reference: Reference, hours| {
        let why = s.store.why_manifest(&repo("app"), &reference, &rules(hours), 1).await;
        why.expect("an answer")
    };
    let index = ask(Reference::Tag(tag("v2")), 2).await.expect("there");
    assert_eq!((index.tags.first.as_slice(), index.tags.count), (&[tag("v1")][..], 2));
    assert_eq!((index.state, index.review, index.frees), (ManifestState::Live, None, 0));
    let child = ask(Reference::Digest(digest("child")), 2).await.expect("there");
    assert_eq!((child.tags.count, child.indexes.count), (0, 1));
    assert_eq!(child.indexes.first[0].digest, digest("index"));
    assert_eq!(child.indexes.first[0].tags.first, [tag("v1")]);
    assert_eq!(child.subjects[0].digest, digest("about"));
    assert_eq!((child.lease.until, child.lease.extended), (at(25), false));
    assert_eq!((child.review, child.frees), (Some(at(1 + 14 * 24)), ALLOCATED));
    s.delete("app", "index", 3).await;
    let index = ask(Reference::Digest(digest("index")), 4).await.expect("there");
    assert_eq!(index.state, ManifestState::Trash(at(27)));
    assert_eq!(ask(Reference::Tag(tag("v1")), 4).await, None);
}

/// Reports repositories, their manifests, leases and uploads that extend them.
pub async fn why_blob_reports_what_keeps_it(s: &Scene) {
    s.push("app", "x", 0).await;
    mount(s, "other", "x").await;
    let upload = s.start_upload("other", 1).await;
    for name in ["a", "b"] {
        s.put("app", image(name).blob("x").tag(name), 0).await;
    }
    s.delete("app", "a", 5).await;
    let rules = CollectionRules { untagged: None, ..rules(30) };
    let why = s.store.why_blob(&digest("x"), &rules, 5).await.expect("an answer").expect("there");
    assert_eq!((why.bytes, why.allocated, why.damaged), (SIZE, ALLOCATED, false));
    assert_eq!(why.repositories.count, 2);
    let [app, other] = why.repositories.first.as_slice() else { panic!("two repositories") };
    assert_eq!((app.repo.as_str(), app.manifests.count, app.lease.extended), ("app", 2, false));
    assert_eq!(app.manifests.first[1].state, ManifestState::Trash(at(29)));
    assert_eq!((other.manifests.count, other.lease.until, other.lease.extended), (0, at(24), true));
    assert_eq!((other.review, other.hidden_until), (Some(at(24)), None));
    assert_eq!(s.store.why_blob(&digest("y"), &rules, 5).await.expect("an answer"), None);
    s.cancel(upload, 30).await;
}

/// Tags that were never pulled come before tags that were pulled long ago.
pub async fn coldest_and_biggest_are_listed(s: &Scene) {
    for name in ["a", "b", "c"] {
        s.push("app", name, 0).await;
        s.put("app", image(name).blob(name).tag(name), 0).await;
    }
    mount(s, "other", "a").await;
    let pulls = [("a", 2), ("b", 1)].map(|(name, hours)| (repo("app"), digest(name), at(hours)));
    s.store.record_pulls(pulls.into()).await.expect("recorded");
    let cold = s.store.coldest_tags(&Scope::All, 2).await.expect("an answer");
    let found: Vec<_> = cold.iter().map(|cold| (cold.tag.as_str(), cold.pulled_at)).collect();
    assert_eq!(found, [("c", None), ("b", Some(at(1)))]);
    assert_eq!(s.store.coldest_tags(&"other".parse().expect("a scope"), 2).await.expect("an answer"), []);
    let big = s.store.biggest_repositories(&Scope::All, 1).await.expect("an answer");
    assert_eq!((big.len(), big[0].repo.as_str(), big[0].usage.links), (1, "app", 3));
    assert_eq!(s.store.biggest_blobs(&Scope::All, 2).await.expect("an answer").len(), 2);
    let big = s.store.biggest_blobs(&"other".parse().expect("a scope"), 2).await.expect("an answer");
    let found: Vec<_> = big.iter().map(|blob| (&blob.digest, blob.bytes, blob.links)).collect();
    assert_eq!(found, [(&digest("a"), SIZE, 1)]);
}
