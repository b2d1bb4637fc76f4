//! Tests of the reports on usage, retention plans and checks of policies.

use std::time::Duration;

use orlop::http::api::{
    Applied, Changes, Checked, Page, Plan, PolicyList, PolicyPreview, Tag, UsageReport, Why,
};
use orlop::metadata::Quota;
use orlop::retention::{Policies, TagList};
use serde_json::{Value, json};

use crate::api::{answer, get, open_server, problem};
use crate::kit::*;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const MINE: &str = "/api/v1/retention/policies/mine";

#[tokio::test]
async fn unknown_repository_has_no_usage_and_no_plan() {
    let server = open_server().await;
    server.push_image("team/app", "v1", b"layer").await;
    let detail = problem(server.get("/api/v1/usage?scope=team"), 404).await;
    assert_eq!(detail, "the registry has no repository team; to select a prefix, end it with a slash: team/");
    let none: UsageReport = get(&server, "/api/v1/usage?scope=none/").await;
    assert_eq!((none.usage.repositories, none.repositories.len()), (0, 0));
    for pressure in ["", "&pressure=true"] {
        let detail =
            problem(server.get(&format!("/api/v1/retention/plan?repository=team{pressure}")), 404).await;
        assert_eq!(detail, "the registry has no repository team");
    }
    let apply = server.post("/api/v1/retention/apply").json(&json!({ "repository": "team" }));
    assert_eq!(problem(apply, 404).await, "the registry has no repository team");
    get::<Plan>(&server, "/api/v1/retention/plan?repository=team%2Fapp").await;
}

#[tokio::test]
async fn reports_include_a_repository_that_is_all_in_the_trash() {
    let server = open_server().await;
    let (_, image) = server.push_image("app", "v1", b"layer").await;
    let gone = server.delete(&format!("/api/v1/repositories/app/manifests/{image}")).send().await;
    assert_eq!(gone.expect("answer").status(), 204);
    assert!(get::<UsageReport>(&server, "/api/v1/usage?scope=app").await.usage.bytes > 0);
    get::<Plan>(&server, "/api/v1/retention/plan?repository=app").await;
}

#[tokio::test]
async fn usage_lists_the_quotas_that_affect_its_scope() {
    let quota = |scope: &str| Quota { bytes: Some(1 << 20), ..Quota::of(scope.parse().expect("a scope")) };
    let server = Server::with(|setup| {
        let scopes = ["", "team/", "team/a/", "team/a/x", "team/ab/", "team", "other/", "z"];
        setup.registry.quotas = scopes.map(quota).to_vec();
    })
    .await;
    server.registry.enforce_quotas().await.expect("set");
    server.push_image("team/a/x", "v1", b"layer").await;
    let quotas = async |scope: &str| -> Vec<String> {
        let report: UsageReport = get(&server, &format!("/api/v1/usage?scope={scope}")).await;
        report.quotas.iter().map(|quota| quota.scope.to_string()).collect()
    };
    assert_eq!(quotas("team/a/").await, ["", "team/", "team/a/", "team/a/x"]);
    assert_eq!(quotas("team/").await, ["", "team/", "team/a/", "team/a/x", "team/ab/"]);
    assert_eq!(quotas("team/a/x").await, ["", "team/", "team/a/", "team/a/x"]);
    assert_eq!(quotas("none/").await, [""]);
    assert_eq!(quotas("").await.len(), 8);
}

#[tokio::test]
async fn usage_reports_what_expires_from_the_trash_and_when() {
    let server = open_server().await;
    for (repo, layer) in [("team/a", "one"), ("team/b", "two"), ("other", "three")] {
        let (_, image) = server.push_image(repo, "v1", layer.as_bytes()).await;
        server.clock.advance(Duration::from_secs(60));
        let gone =
            server.delete(&format!("/api/v1/repositories/{}/manifests/{image}", repo.replace('/', "%2F")));
        assert_eq!(gone.send().await.expect("answer").status(), 204);
    }
    let trash = async |scope: &str| {
        let report: UsageReport = get(&server, &format!("/api/v1/usage?scope={scope}")).await;
        assert!(report.reclaimable.trash.allocated <= report.usage.exclusive, "{report:?}");
        (report.reclaimable.trash.count, report.reclaimable.trash.next, report.reclaimable.trash.last)
    };
    let at = |time: &str| Some(format!("1970-01-13T{time}Z"));
    assert_eq!(trash("team%2Fa").await, (1, at("13:47:40"), at("13:47:40")));
    assert_eq!(trash("team/").await, (2, at("13:47:40"), at("13:48:40")));
    assert_eq!(trash("").await, (3, at("13:47:40"), at("13:49:40")));
    assert_eq!(trash("none/").await, (0, None, None));
}

#[tokio::test]
async fn tags_show_whether_they_are_protected_or_immutable() {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let list = |repositories: &[&str], tags: &[&str], except: &[&str]| TagList {
        repositories: words(repositories),
        tags: words(tags),
        except: words(except),
    };
    let server = Server::with(|setup| {
        let protected = vec![list(&["prod/**"], &[], &["tmp-*"])];
        setup.policies =
            Policies { protected, immutable: vec![list(&[], &["v*"], &[])], ..Policies::default() };
    })
    .await;
    for (repo, tag) in [("prod/app", "v1"), ("prod/app", "main"), ("prod/app", "tmp-1"), ("dev", "main")] {
        server.push_image(repo, tag, b"layer").await;
    }
    let flags = |tag: &Tag| (tag.name.clone(), tag.protected, tag.immutable);
    let listed: Page<Tag> = get(&server, "/api/v1/repositories/prod%2Fapp/tags").await;
    let expected = [("main", true, false), ("tmp-1", false, false), ("v1", true, true)];
    let expected = expected.map(|(name, protected, immutable)| (name.to_owned(), protected, immutable));
    assert_eq!(listed.items.iter().map(flags).collect::<Vec<_>>(), expected);
    for expected in expected {
        let path = format!("/api/v1/repositories/prod%2Fapp/tags/{}", expected.0);
        assert_eq!(flags(&get(&server, &path).await), expected);
    }
    let other: Tag = get(&server, "/api/v1/repositories/dev/tags/main").await;
    assert!(!other.protected && !other.immutable);
    // Also without any rule for the repository, so that no policy applies to it.
    let why: Why = get(&server, "/api/v1/why?repository=prod/app&reference=v1").await;
    let why = &why.manifests[0];
    assert_eq!((&why.tags[..], &why.rules[..]), (&["main", "tmp-1", "v1"].map(str::to_owned)[..], &[][..]));
    assert_eq!(
        (&why.protected[..], &why.immutable[..]),
        (&["main", "v1"].map(str::to_owned)[..], &["v1".to_owned()][..])
    );
}

#[tokio::test]
async fn another_plan_does_not_replace_an_existing_one() {
    let server = open_server().await;
    server.push_image("team/app", "old", b"layer").await;
    server.clock.advance(2 * DAY);
    answer::<Checked>(server.put(MINE), &expire_after("1d", "**")).await;
    let mine: Plan = get(&server, "/api/v1/retention/plan").await;
    get::<Plan>(&server, "/api/v1/retention/plan?pressure=true").await;
    let done: Applied = answer(server.post("/api/v1/retention/apply"), &json!({ "plan": mine.plan })).await;
    assert_eq!((done.plan, done.tags), (mine.plan, 1));
}

fn expire_after(age: &str, repositories: &str) -> Value {
    let rule = json!({ "name": "old", "action": "expire", "pushed_before": age });
    json!({ "name": "mine", "repositories": [repositories], "rules": [rule] })
}

/// The warnings about a policy, which are the same when it is checked and when it is set.
async fn warnings(server: &Server, policy: &Value) -> Vec<String> {
    let checked: Checked = answer(server.post("/api/v1/retention/check"), policy).await;
    let set: Checked = answer(server.put(MINE), policy).await;
    assert_eq!(checked, set);
    assert_eq!(set.mistake, None);
    set.warnings
}

#[tokio::test]
async fn previews_what_setting_a_policy_would_do() {
    let server = open_server().await;
    for repo in ["team/a", "other"] {
        server.push_image(repo, "v1", repo.as_bytes()).await;
    }
    server.clock.advance(2 * DAY);
    let preview = "/api/v1/retention/preview?expiring=true";
    let found: PolicyPreview = answer(server.post(preview), &expire_after("1d", "team/**")).await;
    assert_eq!((found.mistake, found.problem, found.warnings.len()), (None, None, 1));
    let plan = found.plan.expect("a plan");
    let tags: Vec<_> =
        plan.items.iter().filter_map(|item| Some((&*item.repository, item.tag.as_deref()?))).collect();
    assert_eq!((plan.tags, tags), (1, vec![("team/a", "v1")]));
    let apply = json!({ "plan": plan.plan });
    let early = server.post("/api/v1/retention/apply").json(&apply).send().await.expect("answer");
    assert_eq!(early.status(), 409, "the policy is not set");
    let policies: PolicyList = get(&server, "/api/v1/retention/policies").await;
    assert_eq!(policies.policies, []);

    answer::<Checked>(server.put(MINE), &expire_after("1d", "team/**")).await;
    // A narrower policy of the same name: the repository that the old one applies to is shown, too.
    let found: PolicyPreview = answer(server.post(preview), &expire_after("1d", "other")).await;
    assert_eq!(found.plan.map(|plan| (plan.tags, plan.tags_kept)), Some((1, 0)));
    let done: Applied = answer(server.post("/api/v1/retention/apply"), &apply).await;
    assert_eq!(done.tags, 1);
    let mistaken: PolicyPreview = answer(server.post(preview), &json!({ "preset": "none" })).await;
    assert!(mistaken.mistake.is_some_and(|mistake| mistake.contains("there is no preset")));
}

#[tokio::test]
async fn warns_about_a_policy_that_would_empty_repositories() {
    let server = open_server().await;
    for repo in ["team/a", "team/b", "other"] {
        server.push_image(repo, "v1", repo.as_bytes()).await;
    }
    server.clock.advance(2 * DAY);
    server.push_image("team/b", "new", b"new").await;
    let warned = |names: &str| [format!("retention policy `mine`: it would now expire every tag in {names}")];
    assert_eq!(warnings(&server, &expire_after("1d", "**")).await, warned("other, team/a"));
    assert_eq!(warnings(&server, &expire_after("1d", "team/**")).await, warned("team/a"));
    assert_eq!(warnings(&server, &expire_after("1d", "team/b")).await, [""; 0]);
    assert_eq!(warnings(&server, &expire_after("30d", "**")).await, [""; 0]);
    // Another policy keeps the tags of `other`.
    let keep = json!({ "rules": [{ "name": "all", "action": "keep" }], "repositories": ["other"] });
    answer::<Checked>(server.put("/api/v1/retention/policies/keep"), &keep).await;
    assert_eq!(warnings(&server, &expire_after("1d", "**")).await, warned("team/a"));
    let alone: Checked = answer(server.put("/api/v1/retention/policies/keep"), &keep).await;
    assert_eq!(alone.warnings, [""; 0], "another policy empties team/a");
}

#[tokio::test]
async fn warning_names_the_first_repositories_and_is_absent_for_too_many() {
    let server = Server::with(|setup| setup.changes = Changes::Anyone).await;
    for number in 0..100 {
        server.push_image(&format!("team/{number:03}"), "v1", b"layer").await;
    }
    server.clock.advance(2 * DAY);
    let found = warnings(&server, &expire_after("1d", "**")).await;
    let [warning] = found.as_slice() else { panic!("{found:?}") };
    assert!(warning.contains(" in team/000, ") && warning.ends_with("team/009 and 90 more"), "{warning}");
    server.push_image("other", "v1", b"layer").await;
    assert_eq!(warnings(&server, &expire_after("1d", "**")).await, [""; 0]);
    assert_eq!(warnings(&server, &expire_after("1d", "team/00?")).await.len(), 1);
}
