//! Authentication with the users of an htpasswd file, and the login throttle.

use std::fs;
use std::net::IpAddr;

use orlop::http::api::{Changes, Event, Page};
use orlop::metadata::Role;
use reqwest::{RequestBuilder, StatusCode};
use tempfile::TempDir;

use crate::kit::*;

/// A server whose only user is `ann` with the password `secret`.
async fn closed_server() -> (Server, TempDir) {
    let dir = TempDir::new().expect("a folder");
    let file = dir.path().join("users");
    let hash = bcrypt::hash("secret", 4).expect("hashed");
    fs::write(&file, format!("ann:{hash}\n")).expect("written");
    let server = Server::with(|setup| {
        setup.access_control.htpasswd = Some(file);
        setup.access_control.htpasswd_role = Some(Role::Delete);
        setup.changes = Changes::Anyone;
    });
    (server.await, dir)
}

async fn status(request: RequestBuilder) -> StatusCode {
    request.send().await.expect("answer").status()
}

fn as_ann(request: RequestBuilder) -> RequestBuilder {
    request.basic_auth("ann", Some("secret"))
}

/// Tries every path except the health checks with every method, and also unknown paths.
#[tokio::test]
async fn anonymous_requests_are_rejected_everywhere() {
    let (server, _users) = closed_server().await;
    let digest = digest(b"a");
    let upload = "/v2/team/app/blobs/uploads/00000000-0000-0000-0000-000000000000".to_owned();
    let paths = [
        "/v2/".to_owned(),
        "/v2/_catalog".into(),
        "/v2/team/app/tags/list".into(),
        "/v2/team/app/manifests/latest".into(),
        format!("/v2/team/app/manifests/{digest}"),
        format!("/v2/team/app/blobs/{digest}"),
        format!("/v2/team/app/referrers/{digest}"),
        "/v2/team/app/blobs/uploads/".into(),
        format!("/v2/team/app/blobs/uploads/?mount={digest}&from=team/other"),
        upload,
        "/v2/Not/A/Name/manifests/x".into(),
        "/v2/nothing".into(),
        "/api/v1/repositories".into(),
        "/api/v1/openapi.json".into(),
        "/api/v1/nothing".into(),
        "/metrics".into(),
        "/nothing".into(),
        "/livez/".into(),
        "//livez".into(),
        "/readyz/../metrics".into(),
    ];
    for path in &paths {
        for method in ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS"] {
            let method = method.parse().expect("a method");
            let response = server.request(method, path).send().await.expect("answer");
            assert_eq!(response.status(), 401, "{path}");
            assert!(text(response.headers(), "www-authenticate").starts_with("Basic realm="), "{path}");
        }
    }
    for path in ["/", "/livez", "/readyz"] {
        assert_eq!(status(server.get(path)).await, 200);
    }
}

#[tokio::test]
async fn rejections_follow_the_protocol() {
    let (server, _users) = closed_server().await;
    let response = server.get("/v2/").send().await.expect("answer");
    assert_eq!(text(response.headers(), "docker-distribution-api-version"), "registry/2.0");
    let body: serde_json::Value = response.json().await.expect("JSON");
    assert_eq!(body["errors"][0]["code"], "UNAUTHORIZED");
    let response = server.get("/api/v1/status").send().await.expect("answer");
    assert_eq!(text(response.headers(), "content-type"), "application/problem+json");
}

#[tokio::test]
async fn user_may_do_everything_and_is_named_in_history() {
    let (server, _users) = closed_server().await;
    assert_eq!(status(as_ann(server.get("/v2/"))).await, 200);
    let started = as_ann(server.post("/v2/app/blobs/uploads/")).send().await.expect("answer");
    assert_eq!(started.status(), 202);
    let location = text(started.headers(), "location");
    let blob = digest(b"{}");
    let put = as_ann(server.put(&format!("{location}?digest={blob}")).body("{}"));
    assert_eq!(status(put).await, 201);
    let manifest = image(&blob, &blob, None);
    let put = server.put("/v2/app/manifests/1").header("content-type", IMAGE).body(manifest);
    assert_eq!(status(as_ann(put)).await, 201);
    assert_eq!(status(as_ann(server.get("/v2/app/manifests/1"))).await, 200);
    assert_eq!(status(as_ann(server.delete("/api/v1/repositories/app/tags/1"))).await, 204);
    assert_eq!(status(as_ann(server.get("/metrics"))).await, 200);
    let history = as_ann(server.get("/api/v1/repositories/app/tags/1/history"));
    let history: Page<Event> = history.send().await.expect("answer").json().await.expect("a page");
    assert_eq!(history.items.len(), 2);
    assert!(history.items.iter().all(|event| event.by.as_deref() == Some("ann")));
}

/// Responses don't reveal whether a user exists.
#[tokio::test]
async fn unknown_user_and_wrong_password_get_same_response() {
    let (server, _users) = closed_server().await;
    let answer = async |name: &str, password: &str| {
        let response = server.get("/v2/").basic_auth(name, Some(password)).send().await.expect("answer");
        let headers: Vec<_> =
            response.headers().iter().filter(|(name, _)| *name != "date").map(|h| format!("{h:?}")).collect();
        (response.status(), headers, response.text().await.expect("body"))
    };
    let wrong = answer("ann", "guess").await;
    assert_eq!(wrong.0, 401);
    assert_eq!(answer("eve", "secret").await, wrong);
    assert_eq!(answer("", "secret").await, wrong);
    for header in ["Bearer x", "Basic", "Basic !", "Digest a=b", "bAsIc YW5uOmd1ZXNz"] {
        assert_eq!(status(server.get("/v2/").header("authorization", header)).await, 401, "{header}");
    }
}

#[tokio::test]
async fn throttles_password_guessing() {
    let (server, _users) = closed_server().await;
    assert_eq!(status(as_ann(server.get("/v2/"))).await, 200);
    let mut last = StatusCode::OK;
    for guess in 0..30 {
        let response = server.get("/v2/").basic_auth("ann", Some(guess)).send().await.expect("answer");
        last = response.status();
        if last == 429 {
            let wait: u64 = text(response.headers(), "retry-after").parse().expect("seconds");
            assert!((1..60).contains(&wait));
            break;
        }
    }
    assert_eq!(last, 429);
    assert_eq!(status(as_ann(server.get("/v2/"))).await, 200, "a verified password is still accepted");
}

/// The server keeps working after it rejected requests before their bodies arrived.
#[tokio::test]
async fn survives_rejected_request_bodies() {
    let (server, _users) = closed_server().await;
    for _ in 0..3 {
        let rejected = server.put("/v2/app/manifests/1").body(vec![b' '; 300_000]).send().await;
        if let Ok(rejected) = rejected {
            assert_eq!(rejected.status(), 401);
        }
    }
    assert_eq!(status(as_ann(server.get("/v2/"))).await, 200);
}

#[test]
fn peer_name_has_no_port() {
    let peer = |text: &str| orlop::http::listen::Peer::Tcp(text.parse().expect("an address")).name();
    assert_eq!(peer("10.0.0.1:1234"), "10.0.0.1");
    assert_eq!(peer("[::ffff:10.0.0.1]:1234"), "10.0.0.1");
    assert!(peer("[2001:db8::1]:1").parse::<IpAddr>().is_ok());
}
