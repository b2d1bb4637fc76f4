//! Tests of the operators' routes: base, health, metrics and the access log.

use std::sync::Arc;

use async_trait::async_trait;
use orlop::http::Health;
use serde_json::{Value, json};

use crate::kit::*;
use crate::log::Log;

struct Unhealthy;

#[async_trait]
impl Health for Unhealthy {
    async fn ready(&self) -> Result<Vec<String>, String> {
        Err("no disk".into())
    }

    fn warnings(&self) -> Vec<String> {
        vec!["the disk is nearly full".into()]
    }
}

#[tokio::test]
async fn base_identifies_the_registry() {
    let server = Server::start().await;
    for path in ["/v2/", "/v2"] {
        let response = server.get(path).send().await.expect("answer");
        assert_eq!(response.status(), 200);
        assert_eq!(text(response.headers(), "docker-distribution-api-version"), "registry/2.0");
        assert_eq!(response.text().await.expect("body"), "{}");
    }
}

#[tokio::test]
async fn readiness_reports_the_health_check() {
    let server = Server::start().await;
    assert_eq!(server.get("/livez").send().await.expect("answer").status(), 200);
    assert_eq!(server.get("/readyz").send().await.expect("answer").status(), 200);
    let server = Server::with(|setup| setup.health = Arc::new(Unhealthy)).await;
    assert_eq!(server.get("/livez").send().await.expect("answer").status(), 200);
    let response = server.get("/readyz").send().await.expect("answer");
    assert_eq!(response.status(), 503);
    assert!(response.text().await.expect("body").contains("no disk"));
}

#[tokio::test]
async fn warns_clients_that_push() {
    let server = Server::with(|setup| setup.health = Arc::new(Unhealthy)).await;
    let response = server.post("/v2/a/blobs/uploads/").send().await.expect("answer");
    assert_eq!(text(response.headers(), "warning"), "299 - \"the disk is nearly full\"");
}

#[tokio::test]
async fn counts_requests_by_route_and_not_by_name() {
    let server = Server::start().await;
    server.push_image("secret/name", "v1", b"layer").await;
    server.get("/v2/secret/name/manifests/v1").send().await.expect("answer").text().await.expect("body");
    server.get("/v2/secret/name/manifests/v2").send().await.expect("answer").text().await.expect("body");
    let text = server.get("/metrics").send().await.expect("answer").text().await.expect("body");
    assert!(
        text.contains(r#"orlop_http_requests_total{route="manifest",method="GET",status="200"} 1"#),
        "{text}"
    );
    assert!(text.contains(r#"orlop_http_requests_total{route="manifest",method="GET",status="404"} 1"#));
    assert!(text.contains(r#"orlop_http_received_bytes_total{route="upload"} 7"#), "{text}");
    assert!(!text.contains("secret"));
    assert!(text.ends_with("# EOF\n"));
}

#[tokio::test]
async fn locations_are_absolute_with_a_public_url() {
    let url = "https://registry.example/sub";
    let server = Server::with(|setup| setup.http.public_url = Some(url.into())).await;
    let response = server.post("/v2/a/blobs/uploads/").send().await.expect("answer");
    assert!(text(response.headers(), "location").starts_with(&format!("{url}/v2/a/blobs/uploads/")));
}

/// The log entries about the repository `logged`, and those about `/livez`.
fn entries(log: &Log) -> Vec<Value> {
    let ours = |entry: &Value| entry["repository"] == "logged" || entry["route"] == "livez";
    log.entries().into_iter().filter(ours).collect()
}

#[tokio::test]
async fn logs_a_request_when_its_body_has_been_sent() {
    let log = Log::of_all();
    let server = Server::start().await;
    let content = vec![7; 8 * 1024 * 1024];
    let digest = server.push("logged", &content).await;
    server.get("/livez").send().await.expect("answer");
    let path = format!("/v2/logged/blobs/{digest}");
    let response = server.get(&path).header("user-agent", "a test").send().await.expect("answer");
    assert_eq!(entries(log).len(), 2, "{:?}", entries(log));
    assert_eq!(response.bytes().await.expect("body"), content);
    let logged = entries(log);
    assert_eq!(logged[1]["received"], content.len());
    let last = logged.last().expect("an entry");
    assert_eq!(
        (&last["method"], &last["status"], &last["route"]),
        (&json!("GET"), &json!(200), &json!("blob"))
    );
    assert_eq!((&last["repository"], &last["path"]), (&json!("logged"), &json!(path)));
    assert_eq!((&last["sent"], &last["agent"]), (&json!(content.len()), &json!("a test")));
    assert!(last["ms"].is_number() && last["aborted"].is_null(), "{last}");

    drop(server.get(&path).send().await.expect("answer"));
    while entries(log).len() < 4 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let last = entries(log).pop().expect("an entry");
    assert_eq!((&last["aborted"], &last["status"]), (&json!(true), &json!(200)));
}
