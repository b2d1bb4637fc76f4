//! Tests of the audit log: which requests it records, and that it contains no secrets.

use std::fs;
use std::time::Duration;

use orlop::auth::{ChangeAuthor, NewAccount};
use orlop::clock::Clock;
use orlop::faults::{Failure, Fault};
use orlop::http::api::{Audited, Changes, Page};
use orlop::metadata::{AuditAction, AuditEntry, AuditOutcome, AuditQuery, Role};
use orlop::metadata::{Faults, Operation};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::kit::*;
use crate::log::Log;

/// A server with accounts whose passwords are their names and `-password`: `root` administers everything, `boss`
/// administers `team/`, and `ann` pushes to `team/`.
async fn server_with_accounts() -> (Server, TempDir) {
    let dir = TempDir::new().expect("a folder");
    let file = dir.path().join("audit.jsonl");
    let server = Server::with(|setup| setup.registry.audit_file = Some(file)).await;
    for (name, scope, role) in
        [("root", "", Role::Admin), ("boss", "team/", Role::Admin), ("ann", "team/", Role::Push)]
    {
        let grants = vec![(scope.parse().expect("a scope"), role)];
        let password = Some(format!("{name}-password"));
        let new = NewAccount { name: name.into(), robot: false, password, grants };
        let by = ChangeAuthor { name: "admin socket", now: server.clock.now() };
        server.access_control.add_account(new, by).await.expect("added");
    }
    (server, dir)
}

fn as_user(request: RequestBuilder, name: &str) -> RequestBuilder {
    request.basic_auth(name, Some(format!("{name}-password")))
}

async fn status(request: RequestBuilder) -> u16 {
    request.send().await.expect("answer").status().as_u16()
}

/// All entries, the oldest one first.
async fn entries(server: &Server) -> Vec<AuditEntry> {
    server.registry.flush_audit(false).await.expect("written");
    let mut found = server.registry.metadata().audit(&AuditQuery::default(), 1000).await.expect("read").items;
    found.reverse();
    found
}

/// A line for each entry: user, action, target, outcome and status.
async fn lines(server: &Server) -> Vec<String> {
    let line = |AuditEntry { audited, .. }: AuditEntry| {
        let user = audited.user.unwrap_or("-".into());
        let subject = audited.subject.unwrap_or("-".into());
        let status = audited.status.unwrap_or_default();
        format!("{user} {} {} {subject} {} {status}", audited.action, audited.scope, audited.outcome)
    };
    entries(server).await.into_iter().map(line).collect()
}

/// Returns the lines of `lines` that were added since the last call.
struct NewLines(usize);

impl NewLines {
    async fn since(&mut self, server: &Server) -> Vec<String> {
        let all = lines(server).await;
        let added = all[self.0..].to_vec();
        self.0 = all.len();
        added
    }
}

/// An image of one blob, pushed by a user.
async fn push(server: &Server, name: &str, repository: &str) -> String {
    let started = as_user(server.post(&format!("/v2/{repository}/blobs/uploads/")), name).send().await;
    let location = text(started.expect("answer").headers(), "location");
    let blob = digest(b"{}");
    let put = server.put(&format!("{location}?digest={blob}")).body("{}");
    assert_eq!(status(as_user(put, name)).await, 201);
    let manifest = image(&blob, &blob, None);
    let put = server.put(&format!("/v2/{repository}/manifests/1")).header("content-type", IMAGE);
    assert_eq!(status(as_user(put.body(manifest.clone()), name)).await, 201);
    digest(manifest.as_bytes()).to_string()
}

#[tokio::test]
async fn records_pushes_deletions_and_denials_but_not_pulls() {
    let (server, _dir) = server_with_accounts().await;
    let mut new_lines = NewLines(0);
    let digest = push(&server, "ann", "team/app").await;
    assert_eq!(new_lines.since(&server).await, ["ann manifest-push team/app 1 allowed 201"]);

    let path = "/v2/team/app/manifests/1";
    assert_eq!(status(as_user(server.get(path), "ann")).await, 200);
    assert_eq!(status(as_user(server.get("/v2/team/app/tags/list"), "ann")).await, 200);
    assert_eq!(status(as_user(server.get("/v2/team/none/manifests/1"), "ann")).await, 404);
    assert_eq!(status(server.get("/v2/")).await, 401);
    assert_eq!(status(server.get(path)).await, 401);
    assert_eq!(status(server.post("/v2/team/app/blobs/uploads/")).await, 401);
    assert_eq!(status(server.get(path).bearer_auth("e30.e30.e30")).await, 401);
    assert!(new_lines.since(&server).await.is_empty(), "clients send their first request without a password");

    assert_eq!(status(as_user(server.get("/v2/other/app/manifests/1"), "ann")).await, 403);
    assert_eq!(status(as_user(server.post("/v2/other/app/blobs/uploads/"), "ann")).await, 403);
    assert_eq!(status(as_user(server.get("/metrics"), "ann")).await, 403);
    assert_eq!(status(as_user(server.delete(path), "ann")).await, 403);
    assert_eq!(status(server.delete(path)).await, 401);
    assert_eq!(
        new_lines.since(&server).await,
        [
            "ann pull other/app 1 denied 403",
            "ann push other/app - denied 403",
            "ann read  /metrics denied 403",
            "ann tag-delete team/app 1 denied 403",
            "- tag-delete team/app 1 denied 401",
        ]
    );

    assert_eq!(status(as_user(server.delete(path), "boss")).await, 202);
    assert_eq!(
        status(as_user(server.delete(&format!("/v2/team/app/manifests/{digest}")), "boss")).await,
        202
    );
    assert_eq!(
        status(as_user(server.delete(&format!("/v2/team/app/manifests/{digest}")), "boss")).await,
        404
    );
    assert_eq!(status(as_user(server.put(path).body("no JSON"), "boss")).await, 400);
    assert_eq!(
        new_lines.since(&server).await,
        [
            "boss tag-delete team/app 1 allowed 202".to_owned(),
            format!("boss manifest-delete team/app {digest} allowed 202"),
            format!("boss manifest-delete team/app {digest} failed 404"),
            "boss manifest-push team/app 1 failed 400".into(),
        ]
    );
}

#[tokio::test]
async fn records_api_changes_with_their_targets() {
    let (server, _dir) = server_with_accounts().await;
    let digest = push(&server, "ann", "team/app").await;
    let mut new_lines = NewLines(1);
    let by = |name: &'static str, method: Method, path: &str, body: Value| {
        let request = as_user(server.request(method, &format!("/api/v1{path}")), name);
        status(if body.is_null() { request } else { request.json(&body) })
    };
    let app = "/repositories/team%2Fapp";
    let grant = json!({ "grantee": "ann", "scope": "team/x/", "role": "delete" });
    assert_eq!(by("boss", Method::PUT, &format!("{app}/tags/v2"), json!({ "digest": digest })).await, 200);
    assert_eq!(by("boss", Method::PUT, "/grants", grant.clone()).await, 204);
    assert_eq!(by("ann", Method::PUT, "/grants", grant).await, 403);
    assert_eq!(by("boss", Method::DELETE, "/grants?grantee=ann&scope=team/x/", Value::Null).await, 204);
    assert_eq!(by("root", Method::PUT, "/organisations/acme", Value::Null).await, 204);
    assert_eq!(by("root", Method::PUT, "/organisations/acme/teams/devs", Value::Null).await, 204);
    assert_eq!(by("root", Method::PUT, "/accounts/bob", json!({ "roles": [{ "role": "pull" }] })).await, 201);
    assert_eq!(by("root", Method::PATCH, "/accounts/bob", json!({ "disabled": true })).await, 200);
    assert_eq!(by("boss", Method::DELETE, "/accounts/bob", Value::Null).await, 403);
    assert_eq!(by("boss", Method::POST, "/trash/empty", json!({})).await, 403);
    assert_eq!(by("boss", Method::PATCH, app, json!({ "description": "x" })).await, 200);
    assert_eq!(by("boss", Method::POST, &format!("{app}/rename"), json!({ "to": "team/new" })).await, 204);
    assert_eq!(by("root", Method::GET, "/accounts", Value::Null).await, 200);
    assert_eq!(by("ann", Method::GET, "/accounts", Value::Null).await, 403);
    assert_eq!(by("root", Method::POST, "/nothing", Value::Null).await, 404);
    assert_eq!(
        new_lines.since(&server).await,
        [
            &*format!("boss tag-point team/app v2 {digest} allowed 200"),
            "boss grant-set team/x/ ann delete allowed 204",
            "ann grant-set team/x/ ann delete denied 403",
            "boss grant-remove team/x/ ann allowed 204",
            "root organisation-add acme/ acme allowed 204",
            "root team-add acme/ acme/devs allowed 204",
            "root account-add  bob with pull on \"\" allowed 201",
            "root account-update  bob (disabled) allowed 200",
            "boss account-remove  bob denied 403",
            "boss trash-empty  - denied 403",
            "boss repository-update team/app - allowed 200",
            "boss repository-rename team/app team/new allowed 204",
            "ann read  /api/v1/accounts denied 403",
        ]
    );
}

#[tokio::test]
async fn records_a_change_as_done_if_only_its_result_cannot_be_read() {
    let faults = Faults::new();
    let server = Server::with(|setup| {
        setup.changes = Changes::Anyone;
        setup.metadata_faults = faults.clone();
    });
    let server = server.await;
    let (_, digest) = server.push_image("team/app", "v1", b"layer").await;
    let before = lines(&server).await.len();
    faults.inject_next(Operation::TagEntry, Fault::Fail(Failure::Io));
    let put =
        server.put("/api/v1/repositories/team%2Fapp/tags/v2").json(&json!({ "digest": digest.as_str() }));
    assert_eq!(status(put).await, 500);
    assert_eq!(status(server.head("/v2/team/app/manifests/v2")).await, 200);
    assert_eq!(lines(&server).await[before..], [format!("- tag-point team/app v2 {digest} allowed 500")]);
}

#[tokio::test]
async fn records_the_access_token_of_a_request() {
    let (server, _dir) = server_with_accounts().await;
    let made = json!({ "account": "ann", "name": "ci", "role": "push", "scope": "team/" });
    let response = as_user(server.post("/api/v1/tokens"), "ann").json(&made).send().await.expect("answer");
    assert_eq!(response.status(), 201);
    let made: Value = response.json().await.expect("JSON");
    let id = made["token"]["id"].as_str().expect("an id");
    let secret = made["secret"].as_str().expect("a secret");
    let path = "/v2/team/app/manifests/1";
    assert_eq!(status(server.delete(path).basic_auth("ann", Some(secret))).await, 403);
    let wrong = format!("orlop_{id}_{}", "0".repeat(64));
    assert_eq!(status(server.get(path).bearer_auth(wrong)).await, 401);
    let found = entries(&server).await;
    let tokens: Vec<_> = found
        .iter()
        .map(|entry| (entry.audited.action, entry.audited.user.as_deref(), entry.audited.token.as_deref()))
        .collect();
    let expected = [
        (AuditAction::TokenAdd, Some("ann"), None),
        (AuditAction::TagDelete, Some("ann"), Some(id)),
        (AuditAction::Login, None, Some(id)),
    ];
    assert_eq!(tokens, expected);
    assert_eq!(found[0].audited.subject.as_deref(), Some("ann push ci"));
}

#[tokio::test]
async fn password_guessing_does_not_fill_the_audit_log() {
    let (server, _dir) = server_with_accounts().await;
    for _ in 0..40 {
        let wrong = server.get("/v2/").basic_auth("ann", Some("wrong"));
        assert!([401, 429].contains(&status(wrong).await));
        server.registry.flush_audit(false).await.expect("written");
    }
    let found = entries(&server).await;
    let outcomes: Vec<_> = found.iter().map(|entry| (entry.audited.status, entry.audited.outcome)).collect();
    assert_eq!(outcomes, [(Some(401), AuditOutcome::Denied), (Some(429), AuditOutcome::Denied)]);
    assert_eq!(found.iter().map(|entry| entry.times.count).sum::<u64>(), 40);
    for name in 0..100 {
        status(server.get("/v2/").basic_auth(format!("user{name}"), Some("wrong"))).await;
    }
    let found = entries(&server).await;
    assert!(found.len() < 70, "{}", found.len());
    assert_eq!(found.iter().map(|entry| entry.times.count).sum::<u64>(), 140);
    server.clock.advance(Duration::from_secs(61));
    status(server.get("/v2/").basic_auth("ann", Some("wrong"))).await;
    assert_eq!(entries(&server).await.len(), found.len() + 1, "a minute later it is another entry");
}

#[tokio::test]
async fn administrators_search_entries_of_their_scope() {
    let (server, _dir) = server_with_accounts().await;
    push(&server, "ann", "team/app").await;
    push(&server, "root", "other/app").await;
    server.clock.advance(Duration::from_secs(10));
    status(server.get("/v2/").basic_auth("eve", Some("wrong"))).await;
    server.registry.flush_audit(false).await.expect("written");
    let ask = async |name: &str, query: &str| {
        let response =
            as_user(server.get(&format!("/api/v1/audit?{query}")), name).send().await.expect("answer");
        let status = response.status().as_u16();
        let page: Option<Page<Audited>> = response.json().await.ok();
        (status, page)
    };
    let users = async |query: &str| {
        let (status, page) = ask("root", query).await;
        assert_eq!(status, 200, "{query}");
        let page = page.expect("a page");
        (page.items.into_iter().map(|entry| entry.user.unwrap_or_default()).collect::<Vec<_>>(), page.next)
    };
    assert_eq!(users("").await, (vec!["eve".into(), "root".into(), "ann".into()], None));
    assert_eq!(users("user=ann").await.0, ["ann"]);
    assert_eq!(users("scope=other/app").await.0, ["root"]);
    assert_eq!(users("action=login&outcome=denied").await.0, ["eve"]);
    let start = "1970-01-12T13:46:45Z";
    assert_eq!(users(&format!("since={start}")).await.0, ["eve"]);
    assert_eq!(users(&format!("until={start}")).await.0, ["root", "ann"]);
    let (first, next) = users("limit=2").await;
    assert_eq!(first, ["eve", "root"]);
    assert_eq!(users(&format!("limit=2&after={}", next.expect("more"))).await, (vec!["ann".into()], None));

    assert_eq!(ask("boss", "").await.0, 403);
    assert_eq!(ask("boss", "scope=other/").await.0, 403);
    assert_eq!(ask("ann", "scope=team/").await.0, 403);
    let (status, page) = ask("boss", "scope=team/").await;
    let scopes: Vec<_> =
        page.expect("a page").items.into_iter().map(|entry| entry.scope.to_string()).collect();
    assert_eq!((status, scopes), (200, vec!["team/app".into()]));
    assert_eq!(server.get("/api/v1/audit").send().await.expect("answer").status(), 401);
    for wrong in
        ["action=fire", "outcome=maybe", "since=then", "scope=Team/", "limit=0", "after=x", "who=ann"]
    {
        assert_eq!(ask("root", wrong).await.0, 400, "{wrong}");
    }
}

/// Clients can choose any names and paths.
#[tokio::test]
async fn client_text_is_truncated_and_escaped() {
    let (server, _dir) = server_with_accounts().await;
    status(server.get("/v2/").basic_auth("a\u{1b}[2Jb\u{202e}", Some("wrong"))).await;
    status(server.get("/v2/").basic_auth("x".repeat(5000), Some("wrong"))).await;
    status(as_user(server.delete(&format!("/api/v1/accounts/{}", "y".repeat(2000))), "ann")).await;
    let found = entries(&server).await;
    let users: Vec<_> = found.iter().filter_map(|entry| entry.audited.user.clone()).collect();
    assert_eq!(users[0], "a\\u{1b}[2Jb\\u{202e}");
    assert_eq!(users[1], "x".repeat(64) + "…");
    assert_eq!(found[2].audited.subject.as_deref(), Some(&*("y".repeat(256) + "…")));
}

/// Sends secrets in every possible way; neither the rows, nor the file, nor the log may contain one.
#[tokio::test]
async fn no_secret_is_in_the_audit_log_its_file_or_the_log() {
    let log = Log::of_all();
    let (server, dir) = server_with_accounts().await;
    let secret = |way: &str| format!("hush-{way}-hush");
    let ways = [
        "basic", "wrong", "bearer", "scope", "made", "changed", "typo", "digest", "unknown", "form",
        "refresh",
    ];
    let basic = |user: &str, way: &str| server.get("/v2/").basic_auth(user, Some(secret(way)));
    let mut statuses = vec![status(basic("ann", "wrong")).await, status(basic("nobody", "basic")).await];
    statuses.push(status(server.get("/v2/").bearer_auth(secret("bearer"))).await);
    statuses.push(
        status(server.get("/v2/").header("authorization", format!("Digest {}", secret("digest")))).await,
    );
    let token = format!("/auth/token?service=orlop&password={0}&scope=repository:{0}:pull", secret("scope"));
    statuses.push(status(server.get(&token).basic_auth("ann", Some(secret("wrong")))).await);
    statuses.push(status(as_user(server.get(&token), "ann")).await);
    let root =
        |method, path: &str, body: Value| status(as_user(server.request(method, path), "root").json(&body));
    let account = "/api/v1/accounts/carl";
    statuses.push(root(Method::PUT, account, json!({ "password": secret("made") })).await);
    statuses.push(root(Method::PATCH, account, json!({ "password": secret("changed") })).await);
    statuses.push(
        root(Method::PATCH, account, json!({ "pasword": secret("typo"), "disabled": secret("typo") })).await,
    );
    let unknown = format!("/api/v1/accounts?password={}", secret("unknown"));
    statuses.push(status(as_user(server.get(&unknown), "root")).await);
    let form = |way: &str| format!("grant_type=password&username=ann&password={}", secret(way));
    statuses.push(status(server.post("/auth/token").body(form("form"))).await);
    let refresh = format!("grant_type=refresh_token&refresh_token=orlop_0123456789ab_{}", secret("refresh"));
    statuses.push(status(server.post("/auth/token").body(refresh)).await);
    assert_eq!(statuses, [401, 401, 401, 401, 401, 200, 201, 200, 400, 400, 401, 401]);

    let ask = json!({ "account": "ann", "role": "push", "scope": "team/" });
    let made = as_user(server.post("/api/v1/tokens"), "ann").json(&ask).send().await.expect("answer");
    let made: Value = made.json().await.expect("JSON");
    let id = made["token"]["id"].as_str().expect("an id");
    let token = made["secret"].as_str().expect("a secret");
    let bearer = server.get("/auth/token?scope=repository:team/app:pull").basic_auth("ann", Some(token));
    let bearer: Value = bearer.send().await.expect("answer").json().await.expect("JSON");
    let bearer = bearer["token"].as_str().expect("a token");
    for request in [
        server.delete("/v2/team/app/manifests/1").basic_auth("ann", Some(token)),
        server.delete("/v2/team/app/manifests/1").bearer_auth(token),
        server.delete("/v2/other/manifests/1").bearer_auth(bearer),
        server.get("/v2/").basic_auth(token, Some("")),
        server.get("/v2/").basic_auth(bearer, Some("")),
        as_user(server.delete(&format!("/api/v1/tokens/{token}")), "root"),
        as_user(server.delete(&format!("/v2/team/app/manifests/{token}")), "boss"),
    ] {
        status(request).await;
    }
    server.registry.flush_audit(true).await.expect("written");

    let file = fs::read_to_string(dir.path().join("audit.jsonl")).expect("a file");
    let rows = format!("{:?}", entries(&server).await);
    assert!(rows.len() > 2000 && file.lines().count() >= 10, "{file}");
    let end = token.rsplit('_').next().expect("a secret");
    let signature = bearer.rsplit('.').next().expect("a signature");
    let secrets = ways.map(secret).into_iter().chain([end.into(), signature.into(), "ann-password".into()]);
    for secret in secrets {
        for (place, text) in [("rows", &rows), ("file", &file), ("log", &log.text())] {
            assert!(!text.contains(&secret), "{secret} is in the {place}");
        }
    }
    assert!(rows.contains(id), "the id is not a secret");
}
