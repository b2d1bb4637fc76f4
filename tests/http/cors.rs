//! Requests of pages of other origins (CORS).

use orlop::auth::{ChangeAuthor, NewAccount};
use orlop::clock::Timestamp;
use orlop::metadata::{Role, Scope};
use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder};
use serde_json::json;

use crate::kit::*;

const PAGES: &str = "https://pages.example.com";
const OTHERS: [&str; 5] = [
    "https://other.example.com",
    "https://pages.example.com.evil.com",
    "http://pages.example.com",
    "https://pages.example.com:444",
    "null",
];
const TAG: &str = "/api/v1/repositories/team%2Fapp/tags/v1";

/// A closed registry with an image and the administrator `root`, for which pages of one origin are allowed.
async fn start() -> Server {
    let server = Server::with(|setup| setup.http.cors_origins = vec![PAGES.parse().expect("an origin")]);
    let server = server.await;
    server.push_image("team/app", "v1", b"layer").await;
    let new = NewAccount {
        name: "root".into(),
        robot: false,
        password: Some("correct horse".into()),
        grants: vec![(Scope::All, Role::Admin)],
    };
    let by = ChangeAuthor { name: "admin", now: Timestamp(0) };
    server.access_control.add_account(new, by).await.expect("added");
    server
}

fn preflight(server: &Server, path: &str, origin: &str, method: &str) -> RequestBuilder {
    server
        .request(Method::OPTIONS, path)
        .header("origin", origin)
        .header("access-control-request-method", method)
        .header("access-control-request-headers", "authorization")
        .header("sec-fetch-site", "cross-site")
}

async fn send(request: RequestBuilder) -> (u16, HeaderMap) {
    let response = request.send().await.expect("an answer");
    (response.status().as_u16(), response.headers().clone())
}

fn has_cors_header(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| name.as_str().starts_with("access-control-"))
}

fn varies_by_origin(headers: &HeaderMap) -> bool {
    headers.get_all("vary").iter().any(|value| value.to_str().expect("text").eq_ignore_ascii_case("origin"))
}

#[tokio::test]
async fn preflights_of_allowed_origins_need_no_login() {
    let server = start().await;
    for path in ["/v2/", "/v2/team/app/manifests/v1", "/v2/_catalog", TAG, "/api/v1/nothing"] {
        for method in ["GET", "PUT", "PATCH", "DELETE"] {
            let (status, headers) = send(preflight(&server, path, PAGES, method)).await;
            assert_eq!(
                (status, &headers["access-control-allow-origin"]),
                (204, &PAGES.parse().expect("text"))
            );
            let allowed = headers["access-control-allow-methods"].to_str().expect("text").to_owned();
            assert!(allowed.split(',').any(|allowed| allowed == method), "{allowed}");
            let allowed = headers["access-control-allow-headers"].to_str().expect("text");
            assert!(allowed.contains("authorization"), "{allowed}");
            assert!(!headers.contains_key("access-control-allow-credentials"));
            assert!(varies_by_origin(&headers));
        }
    }
    // Without the question it is an ordinary request.
    let plain = server.request(Method::OPTIONS, TAG).header("origin", PAGES);
    assert_eq!(send(plain).await.0, 401);
}

#[tokio::test]
async fn other_origins_get_no_headers() {
    let server = start().await;
    for origin in OTHERS {
        for path in ["/v2/", "/v2/team/app/manifests/v1", TAG] {
            let (status, headers) = send(preflight(&server, path, origin, "GET")).await;
            assert_eq!((status, has_cors_header(&headers)), (403, false), "{origin} {path}");
            let get = server.get(path).header("origin", origin).basic_auth("root", Some("correct horse"));
            let (status, headers) = send(get).await;
            assert_eq!((status, has_cors_header(&headers)), (200, false), "{origin} {path}");
            assert!(varies_by_origin(&headers), "{origin} {path}");
        }
    }
    // Only the registry protocol and the API are for pages of other origins.
    for path in ["/", "/metrics", "/auth/token", "/login", "/livez"] {
        let (_, headers) = send(server.get(path).header("origin", PAGES)).await;
        assert!(!has_cors_header(&headers), "{path}");
        let (_, headers) = send(preflight(&server, path, PAGES, "GET")).await;
        assert!(!has_cors_header(&headers), "{path}");
    }
}

#[tokio::test]
async fn responses_to_allowed_origins_can_be_read() {
    let server = start().await;
    for (path, expected) in [("/v2/team/app/manifests/v1", 401), (TAG, 401), ("/v2/", 401)] {
        let (status, headers) = send(server.get(path).header("origin", PAGES)).await;
        assert_eq!(
            (status, &headers["access-control-allow-origin"]),
            (expected, &PAGES.parse().expect("text"))
        );
        let exposed = headers["access-control-expose-headers"].to_str().expect("text");
        for header in ["docker-content-digest", "link", "location", "www-authenticate"] {
            assert!(exposed.split(',').any(|exposed| exposed == header), "{exposed}");
        }
        assert!(!headers.contains_key("access-control-allow-credentials"));
        let request = server.get(path).header("origin", PAGES).basic_auth("root", Some("correct horse"));
        let (status, headers) = send(request).await;
        assert_eq!((status, &headers["access-control-allow-origin"]), (200, &PAGES.parse().expect("text")));
        assert!(varies_by_origin(&headers));
    }
    let (status, headers) = send(server.get(TAG).basic_auth("root", Some("correct horse"))).await;
    assert_eq!((status, has_cors_header(&headers), varies_by_origin(&headers)), (200, false, true));
}

/// A browser asks before it sends such a change, and then leaves out the passwords that it remembers.
#[tokio::test]
async fn pages_of_allowed_origins_can_change_what_browsers_ask_for() {
    let server = start().await;
    let change = |method: Method, path: &str, origin: &str| {
        server
            .request(method, path)
            .header("origin", origin)
            .header("sec-fetch-site", "cross-site")
            .basic_auth("root", Some("correct horse"))
    };
    let update = json!({ "description": "x" });
    let app = "/api/v1/repositories/team%2Fapp";
    assert_eq!(send(change(Method::PATCH, app, PAGES).json(&update)).await.0, 200);
    assert_eq!(send(change(Method::PATCH, app, OTHERS[0]).json(&update)).await.0, 403);
    // A form can send these without a question.
    let upload = "/v2/team/app/blobs/uploads/";
    assert_eq!(send(change(Method::POST, upload, PAGES)).await.0, 403);
    assert_eq!(send(change(Method::POST, upload, PAGES).header("content-type", "text/plain")).await.0, 403);
    let asked = change(Method::POST, upload, PAGES).header("content-type", "application/octet-stream");
    assert_eq!(send(asked).await.0, 202);
    assert_eq!(send(change(Method::DELETE, TAG, PAGES)).await.0, 204);
}

#[tokio::test]
async fn without_origins_nothing_is_added() {
    let server = Server::start().await;
    server.push_image("team/app", "v1", b"layer").await;
    let (status, headers) = send(server.get(TAG).header("origin", PAGES)).await;
    assert_eq!((status, has_cors_header(&headers), varies_by_origin(&headers)), (200, false, false));
    let (_, headers) = send(preflight(&server, TAG, PAGES, "GET")).await;
    assert!(!has_cors_header(&headers));
}
