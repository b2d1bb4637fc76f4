//! Tests of request smuggling: bytes that a proxy in front of this server may parse differently. Each request is
//! rejected or harmless, and no request gets two responses.

use std::time::Duration;

use orlop::http::TrustedProxies;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::kit::*;

/// A server that soon disconnects silent clients.
async fn server_with_short_timeouts(change: impl FnOnce(&mut Setup)) -> Server {
    let timeout = Duration::from_millis(400);
    Server::with(|setup| {
        setup.listen.head_timeout = timeout;
        setup.listen.idle_timeout = timeout;
        setup.http.body_idle_timeout = timeout;
        change(setup);
    })
    .await
}

/// The statuses of all responses to these bytes, after which the client sends nothing more.
async fn statuses(server: &Server, bytes: &[u8]) -> Vec<u16> {
    responses(server, bytes).await.0
}

/// The statuses of all responses, and their text.
async fn responses(server: &Server, bytes: &[u8]) -> (Vec<u16>, String) {
    let mut stream = server.connect().await;
    // The server may close the connection before it has read everything.
    let _ = stream.write_all(bytes).await;
    let mut all = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut all)).await;
    // If the server closes the connection with unread bytes, reading fails; what was read before counts.
    assert!(ended.is_ok(), "no end after {:?}", String::from_utf8_lossy(&all));
    let text = String::from_utf8_lossy(&all).into_owned();
    let statuses =
        text.match_indices("HTTP/1.1 ").filter_map(|(at, _)| text.get(at + 9..at + 12)?.parse().ok());
    (statuses.collect(), text)
}

/// A request that would get its own response if the server parsed it as one.
const SMUGGLED: &str = "GET /v2/smuggled HTTP/1.1\r\nhost: x\r\n\r\n";

/// Asserts that a request is rejected, and that nothing after its head is parsed as another request.
async fn assert_rejected(server: &Server, head: &str, rest: &str) {
    let statuses = statuses(server, format!("{head}\r\n\r\n{rest}").as_bytes()).await;
    let start: String = rest.chars().take(20).collect();
    assert_eq!(statuses, [400], "{head:?} {start:?}");
}

#[tokio::test]
async fn rejects_ambiguous_body_lengths() {
    let server = server_with_short_timeouts(|_| {}).await;
    let put = "PUT /v2/a/manifests/x HTTP/1.1\r\nhost: x";
    let chunks = format!("0\r\n\r\n{SMUGGLED}");
    for lengths in [
        // Parsers disagree about which length counts.
        "content-length: 4\r\ncontent-length: 5",
        "content-length: 0\r\ncontent-length: 44",
        "content-length: 4, 5",
        "content-length: +4",
        "content-length: 0x4",
        "content-length: 4 4",
        "content-length: ",
        "content-length: 99999999999999999999999",
        "content-length : 4",
        "transfer-encoding: identity",
        "transfer-encoding: chunked, identity",
        "transfer-encoding: xchunked",
        "transfer-encoding : chunked",
        "transfer-encoding: chunked\r\ntransfer-encoding: identity",
        "transfer-encoding: \x0bchunked",
        "x: y\r\n transfer-encoding: chunked",
    ] {
        assert_rejected(&server, &format!("{put}\r\n{lengths}"), &chunks).await;
    }
    // HTTP/1.0 has no chunked encoding.
    let old = "PUT /v2/a/manifests/x HTTP/1.0\r\nhost: x\r\ntransfer-encoding: chunked";
    assert_rejected(&server, old, &chunks).await;
}

/// RFC 9112, section 6.1: chunked takes precedence, and the connection is closed after the response, so that nothing
/// after it is parsed as a request.
#[tokio::test]
async fn chunked_encoding_takes_precedence_over_content_length() {
    let server = server_with_short_timeouts(|_| {}).await;
    for lengths in [
        "content-length: 4\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 4",
        "transfer-encoding: chunked\r\ncontent-length: 5\r\ncontent-length: 6",
        "content-length: 60\r\ntransfer-encoding: Chunked",
    ] {
        let head = format!("PUT /v2/a/manifests/x HTTP/1.1\r\nhost: x\r\n{lengths}");
        // An empty manifest is invalid.
        assert_rejected(&server, &head, &format!("0\r\n\r\n{SMUGGLED}")).await;
    }
}

#[tokio::test]
async fn rejects_invalid_chunk_lengths() {
    let server = server_with_short_timeouts(|_| {}).await;
    let head = "PUT /v2/a/manifests/x HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked";
    for chunks in [
        format!("0x0\r\n\r\n{SMUGGLED}"),
        format!("-0\r\n\r\n{SMUGGLED}"),
        format!("10000000000000000\r\n\r\n{SMUGGLED}"),
        format!("FFFFFFFFFFFFFFFFF\r\n{SMUGGLED}"),
        format!("1\r\nab\r\n0\r\n\r\n{SMUGGLED}"),
        format!("\r\n\r\n{SMUGGLED}"),
        format!("0;{}\r\n\r\n{SMUGGLED}", "x".repeat(100_000)),
        format!("0\r\n{}\r\n{SMUGGLED}", "trailer: y\r\n".repeat(20_000)),
    ] {
        assert_rejected(&server, head, &chunks).await;
    }
}

#[tokio::test]
async fn rejects_ambiguous_heads() {
    let server = server_with_short_timeouts(|_| {}).await;
    for header in [
        // A folded line, which some parsers treat as a part of the line before.
        "x: y\r\n folded",
        "x: y\r\n\tfolded",
        "x: a\rb",
        "x: a\0b",
        "x: a\r\r\nb: c",
        "x\0: y",
        "x y: z",
        "x : y",
        ": y",
        "no colon",
        "x\r\n: y",
    ] {
        let answered =
            statuses(&server, format!("GET /v2/ HTTP/1.1\r\nhost: x\r\n{header}\r\n\r\n").as_bytes()).await;
        assert_eq!(answered, [400], "{header:?}");
    }
    for line in [
        "GET /v2/ HTTP/1.1 x",
        "GET  /v2/ HTTP/1.1",
        "GET /v2/ HTTP/2.0",
        "GET /v2/ HTTP/1.10",
        "GET /v2/\0 HTTP/1.1",
        "GET /v2/\tx HTTP/1.1",
        "GET /v2/ http/1.1",
        "G\x01T /v2/ HTTP/1.1",
        " GET /v2/ HTTP/1.1",
    ] {
        let answered =
            statuses(&server, format!("{line}\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).await;
        assert!(
            answered.len() <= 1 && answered.iter().all(|status| *status == 400),
            "{line:?}: {answered:?}"
        );
    }
}

#[tokio::test]
async fn limits_the_size_of_heads() {
    let server = server_with_short_timeouts(|_| {}).await;
    let get =
        |path: &str, headers: &str| format!("GET {path} HTTP/1.1\r\nhost: x\r\n{headers}\r\n").into_bytes();
    assert_eq!(statuses(&server, &get("/v2/", &format!("x: {}\r\n", "y".repeat(100_000)))).await, [431]);
    assert_eq!(statuses(&server, &get("/v2/", &"x: y\r\n".repeat(500))).await, [431]);
    assert_eq!(statuses(&server, &get("/v2/", &format!("{}: y\r\n", "x".repeat(70_000)))).await, [431]);
    let long = statuses(&server, &get(&format!("/v2/{}", "a".repeat(70_000)), "")).await;
    assert!(matches!(long[..], [414 | 431]), "{long:?}");
    let long = statuses(&server, &get(&format!("/v2/?{}", "a".repeat(15_000)), "")).await;
    assert_eq!(long, [200], "long but harmless");
}

/// Pipelined requests are answered in order, each once.
#[tokio::test]
async fn answers_each_pipelined_request_once() {
    let server = server_with_short_timeouts(|_| {}).await;
    let get = "GET /v2/ HTTP/1.1\r\nhost: x\r\n\r\n";
    let put = "PUT /v2/a/manifests/x HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\n{}\n";
    let requests = format!("{get}{put}{get}");
    assert_eq!(statuses(&server, requests.as_bytes()).await, [200, 400, 200]);
}

/// No encoding of a path leads to another path.
#[tokio::test]
async fn rejects_path_traversal() {
    let server = server_with_short_timeouts(|setup| setup.files = true).await;
    let (_, manifest) = server.push_image("app", "1", b"layer").await;
    for path in [
        "/v2/../../../../etc/passwd".to_owned(),
        "/v2/%2e%2e/%2e%2e/etc/passwd".into(),
        "/v2/app/../app/manifests/1".into(),
        "/v2/app/%2e%2e/app/manifests/1".into(),
        "/v2/..%2fapp/manifests/1".into(),
        "/v2/app%2f..%2f..%2fmetadata/manifests/1".into(),
        "/v2/app/manifests/..%2f1".into(),
        "/v2/app/manifests/%2e%2e".into(),
        format!("/v2/app/manifests/sha256:..%2f..%2f{}", &manifest.as_str()[13..]),
        "/v2/app/blobs/sha256:%2e%2e%2f%2e%2e%2forlop.lock".into(),
        "/v2/app/blobs/../../../orlop.lock".into(),
        "/v2/app/blobs/uploads/..%2f..%2f..%2fmetadata".into(),
        "/v2/app%00/manifests/1".into(),
        "/v2/app%0d%0ax:%20y/manifests/1".into(),
        "/v2/app\\..\\app/manifests/1".into(),
        "/v2//app/manifests/1".into(),
        "//v2/app/manifests/1".into(),
        "/v2/app/manifests/1/".into(),
        "/v2;x/app/manifests/1".into(),
        "/V2/app/manifests/1".into(),
        "/./v2/app/manifests/1".into(),
        "/livez/../v2/app/manifests/1".into(),
        "/api/v1/../../v2/app/manifests/1".into(),
        "/v2/app/manifests/%31%2e%2e%2f".into(),
        "/v2/app/manifests/\u{ff0e}\u{ff0e}".into(),
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let (answered, text) = responses(&server, request.as_bytes()).await;
        assert!(matches!(answered[..], [400 | 404]), "{path}: {answered:?}");
        assert!(
            !text.contains("\r\nx: y") && !text.contains("root:") && !text.contains("schemaVersion"),
            "{text}"
        );
    }
}

/// An absolute URL in the request line names its own host; this server answers it itself.
#[tokio::test]
async fn answers_absolute_urls_itself() {
    let server = server_with_short_timeouts(|_| {}).await;
    for (line, status) in [
        ("GET http://other.example/v2/ HTTP/1.1", 200),
        ("GET http://other.example/v2/app/tags/list HTTP/1.1", 404),
        ("GET http://other.example HTTP/1.1", 200),
        ("GET file:///etc/passwd HTTP/1.1", 400),
        ("CONNECT other.example:443 HTTP/1.1", 404),
        ("OPTIONS * HTTP/1.1", 404),
        ("GET other.example:443 HTTP/1.1", 404),
    ] {
        let (answered, text) =
            responses(&server, format!("{line}\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).await;
        assert_eq!(answered, [status], "{line}");
        assert!(!text.contains("root:"), "{text}");
    }
}

/// Text of clients is sent back in headers only if it has a fixed grammar.
#[tokio::test]
async fn prevents_header_injection() {
    let here = "127.0.0.0/8".parse().expect("a network");
    let server =
        server_with_short_timeouts(|setup| setup.http.trusted_proxies = TrustedProxies::new([here])).await;
    let (_, digest) = server.push_image("app", "1", b"layer").await;
    let split = "%0d%0ainjected:%20yes";
    for request in [
        format!("GET /v2/app/tags/list?n=1&last={split} HTTP/1.1\r\nhost: x"),
        format!("GET /v2/_catalog?n=1&last={split} HTTP/1.1\r\nhost: x"),
        format!("GET /v2/app/referrers/{digest}?artifactType={split} HTTP/1.1\r\nhost: x"),
        format!("POST /v2/app/blobs/uploads/?digest={split} HTTP/1.1\r\nhost: x\r\ncontent-length: 0"),
        format!(
            "POST /v2/app/blobs/uploads/?mount={digest}&from={split} HTTP/1.1\r\nhost: x\r\ncontent-length: 0"
        ),
        format!("PUT /v2/app/manifests/{digest}?tag={split} HTTP/1.1\r\nhost: x\r\ncontent-length: 0"),
        "GET /v2/ HTTP/1.1\r\nhost: x\r\nx-forwarded-host: a%0d%0ainjected: yes".to_owned(),
        "GET /v2/ HTTP/1.1\r\nhost: x\r\nx-request-id: injected: yes".into(),
    ] {
        let (answered, text) =
            responses(&server, format!("{request}\r\nconnection: close\r\n\r\n").as_bytes()).await;
        assert_eq!(answered.len(), 1, "{request}");
        let head = text.split("\r\n\r\n").next().unwrap_or_default().to_lowercase();
        assert!(!head.contains("\ninjected:"), "{text}");
    }
}
