//! Tests of malformed requests: each gets an error of the registry protocol, never a 500 and never no response.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use crate::kit::*;

#[tokio::test]
async fn rejects_invalid_names_tags_digests_and_paths() {
    let server = Server::start().await;
    for (path, status, code) in [
        ("/v2/UPPER/tags/list", 400, "NAME_INVALID"),
        ("/v2/a//b/manifests/latest", 400, "NAME_INVALID"),
        ("/v2/a%2F..%2Fb/manifests/latest", 400, "NAME_INVALID"),
        ("/v2/a/manifests/.hidden", 400, "TAG_INVALID"),
        ("/v2/a/manifests/%00", 400, "TAG_INVALID"),
        ("/v2/a/manifests/sha256:12", 400, "DIGEST_INVALID"),
        ("/v2/a/blobs/sha1:da39a3ee5e6b4b0d3255bfef95601890afd80709", 400, "DIGEST_INVALID"),
        ("/v2/a/blobs/latest", 400, "DIGEST_INVALID"),
        ("/v2/a/blobs/uploads/not-an-id", 404, "BLOB_UPLOAD_UNKNOWN"),
        ("/v2/a", 404, "UNSUPPORTED"),
        ("/v2/a/tags", 404, "UNSUPPORTED"),
        ("/v2/a/tags/list/", 404, "UNSUPPORTED"),
        ("/v2/a/nouns/x", 404, "UNSUPPORTED"),
    ] {
        refused(server.get(path), status, code).await;
    }
    let long = format!("/v2/{}/tags/list", "a".repeat(300));
    refused(server.get(&long), 400, "NAME_INVALID").await;
}

#[tokio::test]
async fn rejects_unsupported_methods() {
    let server = Server::start().await;
    let blob = format!("/v2/a/blobs/{}", digest(b""));
    for (request, allow) in [
        (server.post("/v2/"), "GET, HEAD"),
        (server.put(&blob), "GET, HEAD, DELETE"),
        (server.get("/v2/a/blobs/uploads/"), "POST"),
        (server.post("/v2/a/manifests/latest"), "GET, HEAD, PUT, DELETE"),
        (server.delete("/v2/a/tags/list"), "GET, HEAD"),
        (server.request(reqwest::Method::OPTIONS, "/v2/_catalog"), "GET, HEAD"),
        (server.request("BREW".parse().expect("a method"), "/v2/_catalog"), "GET, HEAD"),
    ] {
        let response = request.send().await.expect("answer");
        assert_eq!(response.status(), 405);
        assert_eq!(text(response.headers(), "allow"), allow);
        assert!(response.text().await.expect("body").contains("UNSUPPORTED"));
    }
}

#[tokio::test]
async fn unknown_paths_get_404_in_json() {
    let server = Server::start().await;
    for path in ["/index.html", "/v1/_ping", "/v20/", "/favicon.ico"] {
        let response = server.get(path).send().await.expect("answer");
        assert_eq!(response.status(), 404);
        let body: serde_json::Value = response.json().await.expect("JSON");
        assert_eq!(body["errors"][0]["code"], "UNSUPPORTED");
    }
}

#[tokio::test]
async fn rejects_bytes_that_are_not_http() {
    let server = Server::start().await;
    for request in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"GET /v2/\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nbad header\r\n\r\n",
        b"PATCH /v2/ HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"PATCH /v2/ HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
    ] {
        let answer = server.raw(request).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
    let long = format!("GET /v2/{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(66_000));
    assert!(server.raw(long.as_bytes()).await.starts_with("HTTP/1.1 4"));
    let heavy = format!("GET /v2/ HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "a".repeat(200_000));
    assert!(server.raw(heavy.as_bytes()).await.starts_with("HTTP/1.1 431"));
}

#[tokio::test]
async fn rejects_headers_that_are_not_text() {
    let server = Server::start().await;
    let location = server.upload("a").await;
    let head = |method: &str, path: &str, header: &str| {
        let mut request =
            format!("{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n{header}: ").into_bytes();
        request.extend_from_slice(b"\xff\xfe\r\n\r\n");
        request
    };
    let answer = server.raw(&head("PATCH", &location, "content-range")).await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("BLOB_UPLOAD_INVALID"), "{answer}");
    let answer = server.raw(&head("PUT", "/v2/a/manifests/x", "content-type")).await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("MANIFEST_INVALID"), "{answer}");
    for header in ["range", "if-match", "user-agent", "accept", "if-range"] {
        let answer = server.raw(&head("GET", &format!("/v2/a/blobs/{}", digest(b"")), header)).await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    }
}

#[tokio::test]
async fn an_aborted_body_keeps_the_received_bytes() {
    let server = Server::start().await;
    let location = server.upload("a").await;
    let mut stream = server.connect().await;
    let head = format!("PATCH {location} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nhello");
    stream.write_all(head.as_bytes()).await.expect("sent");
    stream.flush().await.expect("sent");
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(stream);
    let status = server.get(&location).send().await.expect("answer");
    assert_eq!((status.status().as_u16(), text(status.headers(), "range").as_str()), (204, "0-4"));
}

#[tokio::test]
async fn a_slow_body_gets_408() {
    let server = Server::with(|setup| setup.http.body_idle_timeout = Duration::from_millis(50)).await;
    let location = server.upload("a").await;
    for (method, path, code) in [
        ("PATCH", location.as_str(), "BLOB_UPLOAD_INVALID"),
        ("PUT", "/v2/a/manifests/latest", "MANIFEST_INVALID"),
    ] {
        let head = format!("{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nhello");
        let answer = server.raw(head.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 408") && answer.contains(code), "{answer}");
    }
}

#[tokio::test]
async fn an_invalid_chunked_body_gets_400() {
    let server = Server::start().await;
    let location = server.upload("a").await;
    let request =
        format!("PATCH {location} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nnot hex\r\n");
    let answer = server.raw(request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
}

#[tokio::test]
async fn a_client_gets_a_response_although_its_body_is_not_read() {
    let server = Server::start().await;
    let missing = "/v2/a/blobs/uploads/00000000-0000-4000-8000-000000000000";
    // More than the socket buffers hold, so that the client reads the response only if the server keeps reading.
    let response = server.patch(missing).body(vec![0; 512 * 1024]).send().await.expect("answer");
    assert_eq!(response.status(), 404);
    let head = format!("PATCH {missing} HTTP/1.1\r\nhost: x\r\ncontent-length: 9999999999\r\n\r\nhello");
    assert!(server.raw(head.as_bytes()).await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn sends_100_continue_only_if_the_body_is_read() {
    let server = Server::start().await;
    let missing = "/v2/a/blobs/uploads/00000000-0000-4000-8000-000000000000";
    let expect = "host: x\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n";
    let answer = server.raw(format!("PUT {missing}?digest=x HTTP/1.1\r\n{expect}").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    let location = server.upload("a").await;
    let answer = server.raw(format!("PATCH {location} HTTP/1.1\r\n{expect}").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 100"), "{answer}");
}
