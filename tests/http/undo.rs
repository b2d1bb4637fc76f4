//! Tests of the trash, of tag histories, and of deleting, restoring and renaming repositories through `/api/v1`.

use std::sync::Arc;
use std::time::Duration;

use orlop::clock::Clock;
use orlop::http::api::{
    ChangeKind, Changes, Damaged, Emptied, Event, Page, Problem, Removed, RemovedKind, Repository, Restored,
    RolledBack, Scrub, Tag, Work,
};
use orlop::metadata::Integrity;
use orlop::oci::{RepoName, Tag as TagName};
use orlop::registry::TagGuard;
use reqwest::{RequestBuilder, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::kit::*;

const ANY_DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const HOUR: Duration = Duration::from_secs(60 * 60);
const APP: &str = "/api/v1/repositories/team%2Fapp";
const LATEST: &str = "/api/v1/repositories/team%2Fapp/tags/latest";

async fn open_server() -> Server {
    Server::with(|setup| setup.changes = Changes::Anyone).await
}

async fn answer<T: DeserializeOwned>(request: RequestBuilder, status: u16) -> T {
    let response = request.send().await.expect("answer");
    let actual = response.status().as_u16();
    let body = response.text().await.expect("body");
    assert_eq!(actual, status, "{body}");
    serde_json::from_str(if body.is_empty() { "null" } else { &body }).expect("what was documented")
}

/// The reason why a request is rejected.
async fn refusal(request: RequestBuilder, status: u16) -> String {
    answer::<Problem>(request, status).await.detail
}

async fn get<T: DeserializeOwned>(server: &Server, path: &str) -> T {
    answer(server.get(path), 200).await
}

async fn trash(server: &Server, query: &str) -> Vec<Removed> {
    get::<Page<Removed>>(server, &format!("/api/v1/trash{query}")).await.items
}

fn post(server: &Server, path: &str, body: &Value) -> RequestBuilder {
    server.post(path).json(body)
}

/// Does the work that a background job does every second.
async fn work(server: &Server) {
    while server.registry.advance_repository_work(2).await.expect("advanced").is_some() {}
}

async fn pulls(server: &Server, repo: &str, reference: &str) -> StatusCode {
    server.get(&format!("/v2/{repo}/manifests/{reference}")).send().await.expect("answer").status()
}

/// Makes all tags immutable that start with `v`.
struct Releases;

impl TagGuard for Releases {
    fn is_immutable(&self, _: &RepoName, tag: &TagName) -> bool {
        tag.as_str().starts_with('v')
    }
}

#[tokio::test]
async fn trash_lists_newest_first_and_restores() {
    let server = open_server().await;
    let (_, image) = server.push_image("team/app", "latest", b"one").await;
    let (_, other) = server.push_image("other", "1", b"two").await;
    let tag = server.put("/api/v1/repositories/other/tags/2").json(&json!({ "digest": other.as_str() }));
    answer::<Tag>(tag, 200).await;
    let manifest = format!("{APP}/manifests/{image}");
    answer::<()>(server.delete(&manifest), 204).await;
    server.clock.advance(HOUR);
    answer::<()>(server.delete("/api/v1/repositories/other/tags/2"), 204).await;

    let found = trash(&server, "").await;
    let [tag, removed] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(
        (tag.kind, tag.repository.as_str(), tag.digest.as_str()),
        (RemovedKind::Tag, "other", other.as_str())
    );
    assert_eq!((removed.kind, removed.digest.as_str()), (RemovedKind::Manifest, image.as_str()));
    assert_eq!(removed.kept_until.0, removed.removed_at.0.plus(TRASH));
    assert_eq!((removed.tags[0].name.as_str(), removed.tags[0].kind), ("latest", ChangeKind::Delete));
    assert_eq!(trash(&server, "?repository=team/app").await.first(), Some(removed));
    let first: Page<Removed> = get(&server, "/api/v1/trash?limit=1").await;
    let next = first.next.expect("there is more").replace(':', "%3A");
    assert_eq!(trash(&server, &format!("?limit=1&after={next}")).await.first(), Some(removed));

    assert_eq!(pulls(&server, "team/app", "latest").await, 404);
    let restore = |body: Value| post(&server, "/api/v1/trash/restore", &body);
    let back: Restored =
        answer(restore(json!({ "repository": "team/app", "digest": image.as_str() })), 200).await;
    assert_eq!((back.manifests, back.tags), (vec![image.to_string()], vec!["latest".to_owned()]));
    assert_eq!(pulls(&server, "team/app", "latest").await, 200);
    let back: Restored = answer(restore(json!({ "repository": "other", "tag": "2" })), 200).await;
    assert_eq!((back.digest.as_str(), back.tags), (other.as_str(), vec!["2".to_owned()]));
    assert_eq!(pulls(&server, "other", "2").await, 200);
    assert_eq!(trash(&server, "").await, []);
}

#[tokio::test]
async fn failed_restore_states_the_reason() {
    let server = open_server().await;
    let (_, image) = server.push_image("team/app", "latest", b"one").await;
    let restore = |body: Value| post(&server, "/api/v1/trash/restore", &body);
    let in_use = refusal(restore(json!({ "repository": "team/app", "tag": "latest" })), 409).await;
    assert!(in_use.contains(image.as_str()), "{in_use}");
    refusal(restore(json!({ "repository": "team/app", "tag": "never" })), 404).await;
    refusal(restore(json!({ "repository": "team/app", "digest": image.as_str() })), 404).await;
    for wrong in [
        json!({ "repository": "team/app" }),
        json!({ "repository": "team/app", "tag": "a", "digest": ANY_DIGEST }),
        json!({ "repository": "APP", "tag": "a" }),
        json!({ "repository": "app", "tag": ".a" }),
        json!({ "repository": "app", "digest": "sha256:12" }),
    ] {
        refusal(restore(wrong), 400).await;
    }
    for path in ["/api/v1/trash?repository=APP", "/api/v1/trash?after=1:x:1", "/api/v1/trash?limit=0"] {
        refusal(server.get(path), 400).await;
    }
}

#[tokio::test]
async fn emptied_trash_cannot_be_restored() {
    let server = open_server().await;
    let mut images = Vec::new();
    for repo in ["team/app", "other"] {
        let (_, image) = server.push_image(repo, "latest", repo.as_bytes()).await;
        answer::<()>(server.delete(&format!("/v2/{repo}/manifests/{image}")), 202).await;
        images.push(image);
    }
    let removed_at = trash(&server, "").await[0].removed_at.0;
    server.clock.advance(HOUR);
    let empty = |body: Value| post(&server, "/api/v1/trash/empty", &body);
    let emptied: Emptied = answer(empty(json!({ "repository": "other" })), 200).await;
    assert_eq!(emptied.manifests, 1);
    assert_eq!(emptied.collected_from.0, removed_at.plus(server.registry.settings().lease));
    assert_eq!(trash(&server, "").await.len(), 1);
    let restore = json!({ "repository": "other", "digest": images[1].as_str() });
    refusal(post(&server, "/api/v1/trash/restore", &restore), 404).await;
    assert_eq!(answer::<Emptied>(empty(json!({})), 200).await.manifests, 1);
    let nothing: Emptied = answer(empty(json!({})), 200).await;
    assert_eq!((nothing.manifests, nothing.collected_from.0), (0, removed_at.plus(HOUR)));
    refusal(empty(json!({ "repo": "other" })), 400).await;
}

#[tokio::test]
async fn tag_has_a_history_and_rolls_back() {
    let server = open_server().await;
    let (_, first) = server.push_image("team/app", "latest", b"one").await;
    server.clock.advance(HOUR);
    let (_, second) = server.push_image("team/app", "latest", b"two").await;
    let rollback = |body: Value| post(&server, &format!("{LATEST}/rollback"), &body);
    let back: RolledBack = answer(rollback(json!({})), 200).await;
    assert_eq!((back.from.as_deref(), back.to.as_str()), (Some(second.as_str()), first.as_str()));
    assert_eq!(get::<Tag>(&server, LATEST).await.digest, first.as_str());
    let back: RolledBack = answer(rollback(json!({ "to": second.as_str() })), 200).await;
    assert_eq!(back.to, second.as_str());
    answer::<()>(server.delete(LATEST), 204).await;

    let history: Page<Event> = get(&server, &format!("{LATEST}/history")).await;
    let kinds: Vec<_> = history.items.iter().map(|event| event.kind).collect();
    use ChangeKind::{Delete, Move, Push, Rollback};
    assert_eq!(kinds, [Delete, Rollback, Rollback, Move, Push]);
    assert!(history.items.iter().all(|event| event.by.as_deref() == Some("127.0.0.1")));
    assert_eq!((&history.items[0].digest, history.items[0].was.as_deref()), (&None, Some(second.as_str())));
    let page: Page<Event> = get(&server, &format!("{LATEST}/history?limit=2")).await;
    let next = page.next.expect("there is more");
    let page: Page<Event> = get(&server, &format!("{LATEST}/history?limit=3&after={next}")).await;
    assert_eq!((page.items.as_slice(), page.next), (&history.items[2..], None));

    assert!(refusal(rollback(json!({ "to": ANY_DIGEST })), 404).await.contains("history"));
    refusal(rollback(json!({ "to": "latest" })), 400).await;
    refusal(post(&server, &format!("{APP}/tags/never/rollback"), &json!({})), 404).await;
    refusal(server.get(&format!("{APP}/tags/never/history")), 404).await;
    refusal(server.get(&format!("{LATEST}/history?after=x")), 400).await;
}

#[tokio::test]
async fn deletes_and_restores_a_repository_in_steps() {
    let server = open_server().await;
    for tag in ["1", "2", "3", "4", "5"] {
        server.push_image("team/app", tag, tag.as_bytes()).await;
    }
    refusal(server.get(&format!("{APP}/work")), 404).await;
    let started: Work = answer(server.delete(APP), 202).await;
    assert_eq!(
        (started.kind, started.total, started.done, started.finished),
        (ChangeKind::Delete, 5, 0, false)
    );
    server.registry.advance_repository_work(2).await.expect("advanced");
    let halfway: Work = get(&server, &format!("{APP}/work")).await;
    assert_eq!((halfway.removal, halfway.done, halfway.finished), (started.removal, 2, false));
    work(&server).await;
    let finished: Work = get(&server, &format!("{APP}/work")).await;
    assert_eq!((finished.done, finished.failed, finished.finished), (5, 0, true));
    refusal(server.get(APP), 404).await;
    refusal(server.delete(APP), 404).await;
    assert_eq!(trash(&server, "?repository=team/app").await.len(), 5);

    server.push_image("team/app", "3", b"again").await;
    let restore = |body: Value| post(&server, &format!("{APP}/restore"), &body);
    refusal(restore(json!({ "removal": started.removal + 1000 })), 404).await;
    let started: Work = answer(restore(json!({})), 202).await;
    assert_eq!(
        (started.kind, started.removal, started.finished),
        (ChangeKind::Restore, finished.removal, false)
    );
    work(&server).await;
    let finished: Work = get(&server, &format!("{APP}/work")).await;
    assert_eq!((finished.done, finished.finished, finished.taken), (5, true, vec!["3".to_owned()]));
    assert_eq!(get::<Repository>(&server, APP).await.tags, 5);
    let history: Page<Event> = get(&server, &format!("{APP}/history")).await;
    let kinds: Vec<_> = history.items.iter().map(|event| (event.id, event.kind)).collect();
    assert_eq!(kinds[1], (started.removal, ChangeKind::Delete));
    refusal(server.get("/api/v1/repositories/none/history"), 404).await;
    refusal(post(&server, "/api/v1/repositories/none/restore", &json!({})), 404).await;
}

#[tokio::test]
async fn renames_a_repository() {
    let server = open_server().await;
    server.push_image("team/app", "latest", b"one").await;
    server.push_image("other", "latest", b"two").await;
    let rename = |to: &str| post(&server, &format!("{APP}/rename"), &json!({ "to": to }));
    assert!(refusal(rename("other"), 409).await.contains("other"));
    refusal(rename("OTHER"), 400).await;
    answer::<()>(rename("moved/app"), 204).await;
    assert_eq!(pulls(&server, "moved/app", "latest").await, 200);
    assert_eq!(pulls(&server, "team/app", "latest").await, 404);
    refusal(rename("again"), 404).await;
    answer::<Work>(server.delete("/api/v1/repositories/moved%2Fapp"), 202).await;
    let busy = post(&server, "/api/v1/repositories/moved%2Fapp/rename", &json!({ "to": "again" }));
    refusal(busy, 409).await;
}

#[tokio::test]
async fn a_repository_keeps_its_description() {
    let server = open_server().await;
    let describe = |path: &str, text: &str| {
        server.request(reqwest::Method::PATCH, path).json(&json!({ "description": text }))
    };
    refusal(describe(APP, "x"), 404).await;
    server.push_image("team/app", "latest", b"one").await;
    assert_eq!(get::<Repository>(&server, APP).await.description, None);
    let described: Repository = answer(describe(APP, "Line 1\r\n<b>line 2</b>\t\u{1f40b} \n"), 200).await;
    assert_eq!(described.description.as_deref(), Some("Line 1\n<b>line 2</b>\t\u{1f40b}"));
    let page: Page<Repository> = get(&server, "/api/v1/repositories").await;
    assert_eq!(page.items, std::slice::from_ref(&described));
    for invalid in ["\u{1b}[2J", "a\0", &"ä".repeat(4097)] {
        refusal(describe(APP, invalid), 400).await;
    }
    refusal(server.request(reqwest::Method::PATCH, APP).json(&json!({})), 400).await;
    answer::<()>(post(&server, &format!("{APP}/rename"), &json!({ "to": "moved" })), 204).await;
    let moved = "/api/v1/repositories/moved";
    assert_eq!(get::<Repository>(&server, moved).await.description, described.description);
    answer::<Work>(server.delete(moved), 202).await;
    work(&server).await;
    refusal(describe(moved, "x"), 404).await;
    answer::<Work>(post(&server, &format!("{moved}/restore"), &json!({})), 202).await;
    work(&server).await;
    assert_eq!(get::<Repository>(&server, moved).await.description, described.description);
    assert!(answer::<Repository>(describe(moved, &"ä".repeat(4096)), 200).await.description.is_some());
    assert_eq!(answer::<Repository>(describe(moved, " \n"), 200).await.description, None);
}

#[tokio::test]
async fn immutable_tags_reject_changes() {
    let server = open_server().await;
    let (_, first) = server.push_image("team/app", "latest", b"one").await;
    server.push_image("team/app", "latest", b"two").await;
    server.push_image("team/app", "v1", b"three").await;
    server.registry.guard_tags(Arc::new(Releases));
    let v1 = format!("{APP}/tags/v1");
    for request in [
        server.delete(APP),
        server.delete(&v1),
        post(&server, &format!("{APP}/rename"), &json!({ "to": "moved" })),
        server.put(&v1).json(&json!({ "digest": first.as_str() })),
    ] {
        assert!(refusal(request, 403).await.contains("v1"));
    }
    let back = post(&server, &format!("{LATEST}/rollback"), &json!({}));
    assert_eq!(answer::<RolledBack>(back, 200).await.to, first.as_str());
}

#[tokio::test]
async fn lists_quarantined_blobs() {
    let server = open_server().await;
    server.push_image("team/app", "latest", b"one").await;
    let report: Scrub = get(&server, "/api/v1/scrub").await;
    assert_eq!((report.damaged, report.problems.len(), report.finished_at), (0, 0, None));
    let digest = digest(b"one");
    let stored = server.registry.metadata().stored_blob(&digest).await.expect("metadata").expect("stored");
    let damaged = Integrity::Damaged("it is short".into());
    let now = server.clock.now();
    assert!(server.registry.metadata().mark_blob(&stored.key, damaged, now).await.expect("quarantined"));
    let page: Page<Damaged> = get(&server, "/api/v1/damaged").await;
    let [damaged] = page.items.as_slice() else { panic!("{page:?}") };
    assert_eq!((damaged.digest.as_str(), damaged.size), (digest.as_str(), 3));
    assert_eq!(damaged.repositories, ["team/app"]);
    assert_eq!(get::<Scrub>(&server, "/api/v1/scrub").await.damaged, 1);
    refusal(server.get("/api/v1/damaged?after=x"), 400).await;
}
