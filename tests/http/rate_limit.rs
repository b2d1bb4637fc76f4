//! Tests of the rate limit.

use orlop::http::TrustedProxies;
use reqwest::{RequestBuilder, Response};

use crate::kit::*;

/// A server that accepts one request per second, ten at once, from each client behind a proxy on this machine.
async fn rate_limited_server() -> Server {
    let here = "127.0.0.0/8".parse().expect("a network");
    Server::with(|setup| {
        setup.http.trusted_proxies = TrustedProxies::new([here]);
        setup.http.rate_limit = 1;
    })
    .await
}

async fn send(request: RequestBuilder, from: &str) -> Response {
    request.header("x-forwarded-for", from).send().await.expect("answer")
}

/// Sends requests until one is rejected with 429, however slow this machine is.
async fn send_until_rejected(request: impl Fn() -> RequestBuilder, from: &str) -> Response {
    for _ in 0..100 {
        let response = send(request(), from).await;
        if response.status() == 429 {
            return response;
        }
    }
    panic!("no request was rejected");
}

#[tokio::test]
async fn limits_each_client_separately() {
    let server = rate_limited_server().await;
    assert_eq!(send(server.get("/v2/"), "192.0.2.1").await.status(), 200);
    let response = send_until_rejected(|| server.get("/v2/"), "192.0.2.1").await;
    assert_eq!(text(response.headers(), "retry-after"), "1");
    assert_eq!(text(response.headers(), "docker-distribution-api-version"), "registry/2.0");
    let body: serde_json::Value = response.json().await.expect("JSON");
    assert_eq!(body["errors"][0]["code"], "TOOMANYREQUESTS");
    assert_eq!(send(server.get("/v2/"), "192.0.2.2").await.status(), 200);
    for path in ["/livez", "/readyz"] {
        assert_eq!(send(server.get(path), "192.0.2.1").await.status(), 200);
    }
    // All other paths count, and answer in their own format.
    for path in ["/v2/app/tags/list", "/v2/Nothing", "/auth/token", "/metrics", "/nothing"] {
        let refused = send_until_rejected(|| server.get(path), "192.0.2.1").await;
        assert!(refused.headers().contains_key("retry-after"), "{path}");
    }
    let of_api = send_until_rejected(|| server.get("/api/v1/status"), "192.0.2.1").await;
    assert_eq!(text(of_api.headers(), "retry-after"), "1");
    assert_eq!(text(of_api.headers(), "content-type"), "application/problem+json");
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    assert_eq!(send(server.get("/v2/"), "192.0.2.1").await.status(), 200);
}

/// A client that is sending a body must be able to read the rejection, and the server must keep working.
#[tokio::test]
async fn rejects_requests_with_bodies() {
    let server = rate_limited_server().await;
    let post = || server.post("/v2/app/blobs/uploads/?digest=sha256:0").body(vec![0; 300_000]);
    for _ in 0..3 {
        send_until_rejected(post, "192.0.2.1").await;
    }
    assert_eq!(send(server.get("/v2/"), "192.0.2.2").await.status(), 200);
}

#[tokio::test]
async fn has_no_limit_by_default() {
    let server = Server::start().await;
    for _ in 0..200 {
        assert_eq!(server.get("/v2/").send().await.expect("answer").status(), 200);
    }
}
