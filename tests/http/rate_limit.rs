//! How many requests a client may send.

use orlop::http::TrustedProxies;
use reqwest::{RequestBuilder, Response};

use crate::kit::*;

/// A server that takes one request a second, ten at once, from each client behind this machine's proxy.
async fn strict() -> Server {
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

/// Sends until it is too often, however slow this machine is.
async fn hurry(request: impl Fn() -> RequestBuilder, from: &str) -> Response {
    for _ in 0..100 {
        let response = send(request(), from).await;
        if response.status() == 429 {
            return response;
        }
    }
    panic!("never too often");
}

#[tokio::test]
async fn who_sends_too_much_waits_and_others_do_not() {
    let server = strict().await;
    assert_eq!(send(server.get("/v2/"), "192.0.2.1").await.status(), 200);
    let response = hurry(|| server.get("/v2/"), "192.0.2.1").await;
    assert_eq!(text(response.headers(), "retry-after"), "1");
    assert_eq!(text(response.headers(), "docker-distribution-api-version"), "registry/2.0");
    let body: serde_json::Value = response.json().await.expect("JSON");
    assert_eq!(body["errors"][0]["code"], "TOOMANYREQUESTS");
    assert_eq!(send(server.get("/v2/"), "192.0.2.2").await.status(), 200);
    for path in ["/livez", "/readyz"] {
        assert_eq!(send(server.get(path), "192.0.2.1").await.status(), 200);
    }
    // Everything else counts, and in its own words.
    for path in ["/v2/app/tags/list", "/v2/Nothing", "/auth/token", "/metrics", "/nothing"] {
        let refused = hurry(|| server.get(path), "192.0.2.1").await;
        assert!(refused.headers().contains_key("retry-after"), "{path}");
    }
    let of_api = hurry(|| server.get("/api/v1/status"), "192.0.2.1").await;
    assert_eq!(text(of_api.headers(), "retry-after"), "1");
    assert_eq!(text(of_api.headers(), "content-type"), "application/problem+json");
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    assert_eq!(send(server.get("/v2/"), "192.0.2.1").await.status(), 200);
}

/// A refusal must come through though a body is under way, and leave the server in order.
#[tokio::test]
async fn a_body_that_comes_too_soon_is_refused() {
    let server = strict().await;
    let post = || server.post("/v2/app/blobs/uploads/?digest=sha256:0").body(vec![0; 300_000]);
    for _ in 0..3 {
        hurry(post, "192.0.2.1").await;
    }
    assert_eq!(send(server.get("/v2/"), "192.0.2.2").await.status(), 200);
}

#[tokio::test]
async fn there_is_no_limit_unless_one_is_set() {
    let server = Server::start().await;
    for _ in 0..200 {
        assert_eq!(server.get("/v2/").send().await.expect("answer").status(), 200);
    }
}
