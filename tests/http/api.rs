//! Tests of `/api/v1`, and helpers for other tests of the API.

use std::time::Duration;

use orlop::clock::Timestamp;
use orlop::http::api::{
    Applied, Changes, Checked, ImportedPolicies, Manifest, ManifestReasons, Page, Plan, PlanItem,
    PolicyChanged, PolicyDecision, PolicyList, PresetEntry, Problem, Repository, Run, Stage, Status, Tag,
    TagTarget, UsageDay, UsageReport, Why,
};
use orlop::registry::Access;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::kit::*;

pub const ANY_DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

pub async fn open_server() -> Server {
    Server::with(|setup| setup.changes = Changes::Anyone).await
}

pub async fn get<T: serde::de::DeserializeOwned>(server: &Server, path: &str) -> T {
    let response = server.get(path).send().await.expect("answer");
    assert_eq!(response.status(), 200, "{path}");
    assert_eq!(text(response.headers(), "content-type"), "application/json");
    response.json().await.expect("what was documented")
}

/// Asserts that a request is rejected with problem details; returns the reason.
pub async fn problem(request: RequestBuilder, status: u16) -> String {
    let response = request.send().await.expect("answer");
    let actual = response.status().as_u16();
    let kind = text(response.headers(), "content-type");
    let body = response.text().await.expect("body");
    assert_eq!((actual, kind.as_str()), (status, "application/problem+json"), "{body}");
    let problem: Problem = serde_json::from_str(&body).expect("problem details");
    assert_eq!((problem.status, problem.kind.as_str()), (status, "about:blank"));
    problem.detail
}

/// Pushes an index of two images with the tag `latest`; returns its digest and those of its children.
async fn push_index(server: &Server, repo: &str) -> (String, Vec<String>) {
    let mut children = Vec::new();
    for (layer, architecture) in [(b"one", "amd64"), (b"two", "arm64")] {
        let config = server.push(repo, b"{}").await;
        let layer = server.push(repo, layer).await;
        let manifest = image(&config, &layer, None);
        let child = digest(manifest.as_bytes());
        assert_eq!(server.put_manifest(repo, child.as_str(), &manifest).await.status(), 201);
        children.push(json!({
            "mediaType": IMAGE, "digest": child.as_str(), "size": manifest.len(),
            "platform": { "os": "linux", "architecture": architecture },
        }));
    }
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": children }).to_string();
    assert_eq!(server.put_manifest(repo, "latest", &index).await.status(), 201);
    let children = children.iter().map(|child| child["digest"].as_str().unwrap_or_default().to_owned());
    (digest(index.as_bytes()).to_string(), children.collect())
}

#[tokio::test]
async fn lists_tags_with_size_times_and_platforms() {
    let server = Server::start().await;
    let (index, _) = push_index(&server, "team/app").await;
    let page: Page<Tag> = get(&server, "/api/v1/repositories/team%2Fapp/tags").await;
    let [tag] = page.items.as_slice() else { panic!("{page:?}") };
    assert_eq!((tag.name.as_str(), &tag.digest, tag.size), ("latest", &index, 2 + 3 + 3));
    assert_eq!(tag.platforms, ["linux/amd64", "linux/arm64"]);
    assert_eq!((tag.pulled_at, tag.pushed_at.to_string().as_str()), (None, "1970-01-12T13:46:40.000Z"));
    assert_eq!(get::<Tag>(&server, "/api/v1/repositories/team%2Fapp/tags/latest").await, *tag);
}

#[tokio::test]
async fn pages_continue_where_the_previous_one_ended() {
    let server = Server::start().await;
    for tag in ["a", "b", "c"] {
        server.push_image("app", tag, tag.as_bytes()).await;
        server.push_image(&format!("team/{tag}"), "v1", tag.as_bytes()).await;
    }
    for sort in ["name", "size", "pushed", "pulled"] {
        for list in ["/api/v1/repositories?prefix=team/", "/api/v1/repositories/app/tags?"] {
            let mut found = Vec::new();
            let mut after = String::new();
            loop {
                let path = format!("{list}&sort={sort}&order=asc&limit=2{after}");
                let page: Page<Value> = get(&server, &path).await;
                found.extend(page.items.iter().map(|item| item["name"].as_str().unwrap_or("").to_owned()));
                let Some(next) = page.next else { break };
                after = format!("&after={}", next.replace(':', "%3A"));
            }
            let expected = ["a", "b", "c"]
                .map(|tag| if list.contains("team") { format!("team/{tag}") } else { tag.into() });
            assert_eq!(found, expected, "{list} {sort}");
        }
    }
}

#[tokio::test]
async fn tags_are_sorted_by_version() {
    let server = Server::start().await;
    for tag in ["1.10", "latest", "1.9", "1.10-rc1"] {
        server.push_image("app", tag, tag.as_bytes()).await;
    }
    let mut found = Vec::new();
    let mut after = String::new();
    loop {
        let path = format!("/api/v1/repositories/app/tags?sort=version&limit=3{after}");
        let page: Page<Tag> = get(&server, &path).await;
        found.extend(page.items.into_iter().map(|tag| tag.name));
        let Some(next) = page.next else { break };
        after = format!("&after={next}");
    }
    assert_eq!(found, ["1.10", "1.10-rc1", "1.9", "latest"], "newest first");
    let refused = server.get("/api/v1/repositories?sort=version").send().await.expect("an answer");
    assert_eq!(refused.status(), 400);
    assert!(refused.text().await.expect("a body").contains("only tags are sorted by version"));
}

#[tokio::test]
async fn a_repository_has_totals() {
    let server = Server::start().await;
    let (_, digest) = server.push_image("team/app", "v1", b"layer").await;
    let repository: Repository = get(&server, "/api/v1/repositories/team%2Fapp").await;
    assert_eq!((repository.tags, repository.manifests, repository.bytes), (1, 1, 2 + 5));
    let page: Page<Repository> = get(&server, "/api/v1/repositories?search=APP").await;
    assert_eq!((page.items, page.next), (vec![repository], None));
    let manifest: Manifest =
        get(&server, &format!("/api/v1/repositories/team%2Fapp/manifests/{digest}")).await;
    assert_eq!((manifest.tags, manifest.blobs.len(), manifest.size), (vec!["v1".to_owned()], 2, 7));
}

#[tokio::test]
async fn a_manifest_lists_its_relations() {
    let server = Server::start().await;
    let (index, children) = push_index(&server, "app").await;
    let path = |digest: &str| format!("/api/v1/repositories/app/manifests/{digest}");
    let found: Manifest = get(&server, &path(&index)).await;
    let members: Vec<_> = found.children.iter().map(|child| (&child.digest, child.present)).collect();
    assert_eq!(members, [(&children[0], true), (&children[1], true)]);
    assert_eq!(found.children[1].platform.as_deref(), Some("linux/arm64"));
    assert_eq!(get::<Manifest>(&server, &path(&children[0])).await.indexes, [index]);

    let config = server.push("app", b"{}").await;
    let layer = server.push("app", b"sbom").await;
    let subject = children[0].parse().expect("a digest");
    let referrer = image(&config, &layer, Some((&subject, "application/vnd.example.sbom")));
    let about = digest(referrer.as_bytes());
    assert_eq!(server.put_manifest("app", about.as_str(), &referrer).await.status(), 201);
    let found: Manifest = get(&server, &path(about.as_str())).await;
    assert_eq!(
        found.subject.map(|subject| (subject.digest, subject.present)),
        Some((children[0].clone(), true))
    );
    let found: Manifest = get(&server, &path(&children[0])).await;
    assert_eq!(
        found.referrers.iter().map(|referrer| &*referrer.digest).collect::<Vec<_>>(),
        [about.as_str()]
    );
    assert_eq!(found.referrers[0].artifact_type.as_deref(), Some("application/vnd.example.sbom"));
}

#[tokio::test]
async fn changes_tags_and_manifests() {
    let server = open_server().await;
    let (index, children) = push_index(&server, "team/app").await;
    let tag = |name: &str| format!("/api/v1/repositories/team%2Fapp/tags/{name}");
    let target = |digest: &str| TagTarget { digest: digest.to_owned() };
    let put = server.put(&tag("v1")).json(&target(&children[0])).send().await.expect("answer");
    assert_eq!(put.status(), 200);
    assert_eq!(put.json::<Tag>().await.expect("a tag").digest, children[0]);
    let moved = server.put(&tag("v1")).json(&target(&index)).send().await.expect("answer");
    assert_eq!(moved.json::<Tag>().await.expect("a tag").digest, index);
    problem(server.put(&tag("v1")).json(&target(ANY_DIGEST)), 404).await;

    assert_eq!(server.delete(&tag("v1")).send().await.expect("answer").status(), 204);
    problem(server.delete(&tag("v1")), 404).await;
    let manifest = |digest: &str| format!("/api/v1/repositories/team%2Fapp/manifests/{digest}");
    let held = problem(server.delete(&manifest(&children[0])), 409).await;
    assert!(held.contains(&index), "{held}");
    assert_eq!(server.delete(&manifest(&index)).send().await.expect("answer").status(), 204);
    problem(server.get(&tag("latest")), 404).await;
}

#[tokio::test]
async fn errors_are_problem_details() {
    let server = open_server().await;
    server.push_image("app", "v1", b"layer").await;
    for (path, status) in [
        ("/api/v1", 404),
        ("/api/v1/nothing", 404),
        ("/api/v1/repositories/", 404),
        ("/api/v1/repositories/none", 404),
        ("/api/v1/repositories/none/tags", 404),
        ("/api/v1/repositories/app/tags/none", 404),
        ("/api/v1/repositories/APP", 400),
        ("/api/v1/repositories/a%FF", 400),
        ("/api/v1/repositories/app/tags/.a", 400),
        ("/api/v1/repositories/app/manifests/sha256:12", 400),
        ("/api/v1/repositories?limit=0", 400),
        ("/api/v1/repositories?limit=1001", 400),
        ("/api/v1/repositories?limit=ten", 400),
        ("/api/v1/repositories?limit=1&limit=2", 400),
        ("/api/v1/repositories?sort=colour", 400),
        ("/api/v1/repositories?sort=size&after=x", 400),
        ("/api/v1/repositories?serach=a", 400),
    ] {
        problem(server.get(path), status).await;
    }
    let response = server.post("/api/v1/repositories").send().await.expect("answer");
    assert_eq!(text(response.headers(), "allow"), "GET,HEAD");
    problem(server.post("/api/v1/repositories"), 405).await;
    let put = || server.put("/api/v1/repositories/app/tags/v1");
    let json = || put().header("content-type", "application/json");
    problem(put().body("{}"), 415).await;
    // serde would accept a list for a struct.
    let list = format!(r#"["sha256:{}"]"#, "a".repeat(64));
    problem(json().body(list), 400).await;
    for body in ["", "{", "[]", "{}", r#"{"digest":1}"#, r#"{"digest":"x"}"#, r#"{"digest":"x","y":1}"#] {
        problem(json().body(body), 400).await;
    }
    problem(json().body(" ".repeat((1 << 20) + 1)), 413).await;
}

#[tokio::test]
async fn reports_the_status() {
    let server = Server::start().await;
    let status: Status = get(&server, "/api/v1/status").await;
    assert!(status.ready && !status.read_only && status.problem.is_none());
    assert_eq!(status.version, env!("CARGO_PKG_VERSION"));
    let head = server.head("/api/v1/status").send().await.expect("answer");
    assert_eq!((head.status().as_u16(), head.content_length()), (200, Some(0)));
}

#[tokio::test]
async fn reports_usage_by_scope() {
    let server = Server::start().await;
    server.push_image("team/app", "v1", b"layer").await;
    server.push_image("other", "v1", b"something else").await;
    let usage = async |query: &str| get::<UsageReport>(&server, &format!("/api/v1/usage{query}")).await;
    let all = usage("").await;
    let store = all.store.as_ref().expect("all of it");
    assert_eq!((all.usage.repositories, all.usage.tags, store.manifests), (2, 2, 2));
    assert_eq!(all.usage.bytes, 2 + 5 + 14, "the configuration is shared");
    assert_eq!(all.repositories.len(), 2);
    assert_eq!(usage("?scope=").await.usage, all.usage);
    for scope in ["team/", "team%2Fapp"] {
        let one = usage(&format!("?scope={scope}")).await;
        assert_eq!((one.usage.repositories, one.usage.bytes), (1, 2 + 5), "{scope}");
        assert_eq!(one.coldest_tags[0].repository, "team/app");
        assert_eq!((one.store, one.biggest_blobs.len()), (None, 2));
    }
    problem(server.get("/api/v1/usage?scope=TEAM"), 400).await;
    problem(server.get("/api/v1/usage?scpoe=team"), 400).await;
    server.registry.metadata().record_day(Timestamp(1_000_000_000)).await.expect("noted");
    let days: Vec<UsageDay> = get(&server, "/api/v1/usage/days").await;
    assert_eq!((days.len(), days[0].day, days[0].manifests), (1, 11, 2));
}

/// Pulls that are only recorded in memory count in every report.
#[tokio::test]
async fn recent_pulls_are_in_every_report() {
    let server = open_server().await;
    let (_, digest) = server.push_image("app", "v1", b"layer").await;
    type Report = (&'static str, fn(&Value) -> &Value);
    let image = format!("/api/v1/repositories/app/manifests/{digest}");
    let why = "/api/v1/why?repository=app&reference=v1";
    let reports: [Report; 6] = [
        ("/api/v1/usage", |report| &report["coldest_tags"][0]["pulled"]),
        ("/api/v1/repositories", |report| &report["items"][0]["pulled_at"]),
        ("/api/v1/repositories/app", |report| &report["pulled_at"]),
        ("/api/v1/repositories/app/tags?sort=pulled", |report| &report["items"][0]["pulled_at"]),
        ("/api/v1/repositories/app/tags/v1", |report| &report["pulled_at"]),
        (why, |report| &report["manifests"][0]["pulled_at"]),
    ];
    for (path, pulled) in reports
        .into_iter()
        .chain([(&*image, (|report: &Value| &report["pulled_at"]) as fn(&Value) -> &Value)])
    {
        let before = pulled(&get::<Value>(&server, path).await).clone();
        server.clock.advance(Duration::from_secs(60));
        assert_eq!(server.get("/v2/app/manifests/v1").send().await.expect("answer").status(), 200);
        let after = get::<Value>(&server, path).await;
        assert!(pulled(&after).is_string() && *pulled(&after) != before, "{path}: {after}");
    }
}

#[tokio::test]
async fn why_explains_what_keeps_content() {
    let server = Server::start().await;
    let (index, children) = push_index(&server, "team/app").await;
    let why = async |query: &str| get::<Why>(&server, &format!("/api/v1/why?{query}")).await;
    let found = why("repository=team%2Fapp&reference=latest").await;
    let [manifest] = found.manifests.as_slice() else { panic!("{found:?}") };
    assert_eq!(
        (&found.digest, manifest.state, &manifest.tags),
        (&index, Stage::Live, &vec!["latest".into()])
    );
    assert!(found.blob.is_none() && manifest.frees > 0);
    let child = why(&format!("repository=team%2Fapp&reference={}", children[0])).await;
    assert_eq!((&child.manifests[0].indexes[0].digest, child.manifests[0].index_count), (&index, 1));
    assert_eq!(child.manifests[0].indexes[0].tags, ["latest"]);
    assert_eq!(why(&format!("reference={}", children[0])).await, child);

    let layer = digest(b"one");
    for query in [format!("reference={layer}"), format!("repository=team%2Fapp&reference={layer}")] {
        let blob = why(&query).await.blob.expect("a blob");
        assert_eq!((blob.bytes, blob.repository_count), (3, 1));
        assert_eq!(blob.repositories[0].manifests[0].digest, children[0]);
        assert!(blob.repositories[0].leased_until.is_some());
    }
    let delete = server.registry.repository("team/app".parse().expect("a name"), Access { push: true });
    delete.delete_manifest(&index.parse().expect("a digest")).await.expect("deleted");
    let found = why(&format!("reference={index}")).await;
    assert_eq!(found.manifests[0].state, Stage::Trash);
    assert!(found.manifests[0].trash_until.is_some());

    for (query, status) in [
        ("", 400),
        ("reference=latest", 400),
        ("reference=.a&repository=app", 400),
        ("reference=latest&repository=APP", 400),
        ("reference=latest&repository=none", 404),
    ] {
        problem(server.get(&format!("/api/v1/why?{query}")), status).await;
    }
    problem(server.get(&format!("/api/v1/why?reference={ANY_DIGEST}")), 404).await;
    problem(server.get(&format!("/api/v1/why?repository=none&reference={layer}")), 404).await;
}

/// An operation of the document.
pub struct Operation {
    pub id: String,
    pub method: Method,
    pub path: String,
    pub responses: Vec<String>,
    pub takes_a_body: bool,
}

/// Every documented operation, with example values for its path parameters.
pub async fn operations(server: &Server, user: Option<(&str, &str)>) -> Vec<Operation> {
    let request = server.get("/api/v1/openapi.json");
    let request = user.map_or(request.try_clone().expect("a request"), |(name, password)| {
        request.basic_auth(name, Some(password))
    });
    let document: Value = request.send().await.expect("answer").json().await.expect("JSON");
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")));
    let mut found = Vec::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for (method, operation) in methods.as_object().expect("methods") {
            let path =
                path.replace("{name}", "team%2Fapp").replace("{tag}", "v1").replace("{digest}", ANY_DIGEST);
            let path =
                path.replace("{account}", "ann").replace("{user}", "ann").replace("{organisation}", "acme");
            let path =
                path.replace("{team}", "devs").replace("{id}", "0123456789ab").replace("{job}", "collector");
            assert!(!path.contains('{'), "no example for {path}");
            let responses = operation["responses"].as_object().expect("responses").keys().cloned().collect();
            found.push(Operation {
                id: operation["operationId"].as_str().expect("an id").to_owned(),
                method: method.to_uppercase().parse().expect("a method"),
                path,
                responses,
                takes_a_body: operation["requestBody"].is_object(),
            });
        }
    }
    found
}

#[tokio::test]
async fn operations_answer_as_documented() {
    let server = open_server().await;
    server.push_image("team/app", "v1", b"layer").await;
    let operations = operations(&server, None).await;
    let with_bodies = operations.iter().filter(|operation| operation.takes_a_body);
    let without_body = operations.iter().map(|operation| (operation, false));
    for (operation, with_body) in without_body.chain(with_bodies.map(|operation| (operation, true))) {
        let request = server.request(operation.method.clone(), &operation.path);
        let request = if with_body { request.json(&json!({})) } else { request };
        let response = request.send().await.expect("answer");
        let status = response.status();
        let kind = text(response.headers(), "content-type");
        let body = response.text().await.expect("body");
        assert!(operation.responses.contains(&status.as_str().to_owned()), "{}: {status}", operation.id);
        assert!(!body.contains("no such path"), "{} has no route", operation.id);
        if !status.is_success() {
            assert_eq!(kind, "application/problem+json", "{}", operation.id);
        }
    }
    let mut ids: Vec<_> = operations.iter().map(|operation| &operation.id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), operations.len(), "each operation has its own id");
}

/// Operations with a method other than GET require the permission to make changes, also those that only check policies.
#[tokio::test]
async fn anonymous_clients_cannot_make_changes() {
    let server = Server::start().await;
    server.push_image("team/app", "v1", b"layer").await;
    for operation in operations(&server, None).await {
        if operation.method == Method::GET {
            continue;
        }
        let detail = problem(server.request(operation.method, &operation.path), 401).await;
        assert!(detail.contains("log in"), "{detail}");
    }
    get::<Tag>(&server, "/api/v1/repositories/team%2Fapp/tags/v1").await;
}

/// Every route has a description, because only the macro `routes!` adds one.
#[test]
fn every_route_is_documented() {
    let mut folders = vec![std::path::PathBuf::from("src/http/api")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            if path.ends_with("api/routes.rs") {
                continue;
            }
            let source = std::fs::read_to_string(&path).expect("a source");
            assert!(!source.contains(".route("), "{} adds a route without a description", path.display());
        }
    }
}

/// Sends JSON, and returns the response's JSON.
pub async fn answer<T: serde::de::DeserializeOwned>(request: RequestBuilder, body: &Value) -> T {
    let response = request.json(body).send().await.expect("answer");
    assert_eq!(response.status(), 200);
    response.json().await.expect("what was documented")
}

#[tokio::test]
async fn sets_plans_and_applies_policies() {
    let server = open_server().await;
    for tag in ["a", "b", "v1"] {
        server.push_image("team/app", tag, tag.as_bytes()).await;
    }
    server.clock.advance(std::time::Duration::from_secs(2 * 86_400));
    let none: Plan = get(&server, "/api/v1/retention/plan").await;
    assert_eq!((none.items.len(), none.tags, none.next), (0, 0, None));

    let policy = json!({ "rules": [
        { "name": "releases", "action": "keep", "tags": ["v*"] },
        { "name": "old", "action": "expire", "pushed_before": "1d" },
    ]});
    let mine = "/api/v1/retention/policies/mine";
    let checked: Checked = answer(server.put(mine), &policy).await;
    assert_eq!(checked, Checked { mistake: None, warnings: Vec::new() });
    let found: PolicyList = get(&server, "/api/v1/retention/policies").await;
    assert_eq!((found.policies.len(), found.policies[0].in_file), (1, false));
    let mistake = json!({ "name": "mine", "rules": [{ "name": "all", "action": "expire" }] });
    let refused = problem(server.put(mine).json(&mistake), 400).await;
    assert!(refused.starts_with("rule `all` of retention policy `mine`"), "{refused}");
    let checked: Checked = answer(server.post("/api/v1/retention/check"), &mistake).await;
    assert_eq!(checked.mistake, Some(refused));
    problem(server.put("/api/v1/retention/policies/other").json(&mistake), 400).await;

    let first: Plan = get(&server, "/api/v1/retention/plan?repository=team%2Fapp&limit=3").await;
    assert_eq!((first.tags, first.tags_kept, first.manifests), (2, 1, 2));
    let rest = format!("/api/v1/retention/plan?plan={}&after={}", first.plan, first.next.expect("more"));
    let rest: Plan = get(&server, &rest).await;
    let all: Vec<_> = first.items.iter().chain(&rest.items).collect();
    let tag_and_rule = |item: &&&PlanItem| (item.tag.clone(), item.rule.clone());
    assert_eq!(tag_and_rule(&&all[0]), (Some("a".into()), Some("old".into())));
    assert_eq!(all[2].reason, "kept: rule `releases` of policy `mine`");
    assert_eq!((all.len(), rest.next), (5, None));
    problem(server.get("/api/v1/retention/plan?after=3"), 400).await;

    let why = async |tag: &str| -> ManifestReasons {
        let found: Why = get(&server, &format!("/api/v1/why?repository=team%2Fapp&reference={tag}")).await;
        found.manifests.into_iter().next().expect("a manifest")
    };
    let kept = PolicyDecision { tag: Some("v1".into()), goes: false, reason: all[2].reason.clone() };
    assert_eq!((why("v1").await.rules, why("v1").await.judged), (vec![kept], true));
    let [goes, _itself] = &why("a").await.rules[..] else { panic!("two rows") };
    assert!(goes.goes && goes.reason.starts_with("expired by rule `old` of policy `mine`"), "{goes:?}");

    let apply = "/api/v1/retention/apply";
    problem(server.post(apply).json(&json!({ "plan": uuid::Uuid::nil() })), 404).await;
    let done: Applied = answer(server.post(apply), &json!({ "plan": first.plan, "strict": true })).await;
    assert_eq!((done.plan, done.tags, done.manifests, done.skipped), (first.plan, 2, 2, 0));
    let tags: Page<Tag> = get(&server, "/api/v1/repositories/team%2Fapp/tags").await;
    assert_eq!(tags.items.iter().map(|tag| tag.name.as_str()).collect::<Vec<_>>(), ["v1"]);
    let runs: Page<Run> = get(&server, "/api/v1/retention/runs").await;
    assert_eq!((runs.items.len(), runs.items[0].tags), (1, 2));

    assert_eq!(server.delete(mine).send().await.expect("answer").status(), 204);
    problem(server.delete(mine), 404).await;
    let history: Page<PolicyChanged> = get(&server, "/api/v1/retention/history?limit=1").await;
    assert_eq!((history.items[0].policy.clone(), history.next.is_some()), (None, true));
}

#[tokio::test]
async fn lists_presets_and_imports_policies() {
    let server = open_server().await;
    let presets: Vec<PresetEntry> = get(&server, "/api/v1/retention/presets").await;
    assert!(
        presets.iter().any(|preset| preset.name == "ci" && preset.toml.contains("[[retention.policies]]"))
    );
    let lifecycle = json!({ "rules": [{
        "rulePriority": 1,
        "selection": { "tagStatus": "untagged", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 14 },
        "action": { "type": "expire" },
    }]});
    let import = "/api/v1/retention/import?from=ecr&name=amazon&repositories=team%2F%2A%2A";
    let imported: ImportedPolicies = answer(server.post(import), &lifecycle).await;
    assert!(imported.toml.contains("[[retention.policies]]"), "{}", imported.toml);
    assert_eq!(imported.policies.policies[0].repositories, ["team/**"]);
    problem(server.post("/api/v1/retention/import?from=zot").json(&json!({})), 400).await;
}
