//! Tests of blobs that are served from files, with and without the kernel's `sendfile`.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::kit::*;

const LEN: usize = 3 * 1024 * 1024 + 17;

/// A server that stores blobs in files, with one blob.
async fn with_blob() -> (Server, Vec<u8>, String) {
    let server = Server::with(|setup| setup.files = true).await;
    let content: Vec<u8> = (0..LEN).map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8).collect();
    let digest = server.push("a", &content).await;
    (server, content, format!("/v2/a/blobs/{digest}"))
}

#[tokio::test]
async fn a_connection_serves_all_kinds_of_responses() {
    let (server, content, path) = with_blob().await;
    let small = server.push("a", b"small").await;
    for _ in 0..3 {
        let whole = server.get(&path).send().await.expect("answer");
        assert!(whole.bytes().await.expect("body") == content);
        let part = server.get(&path).header("range", "bytes=70001-2000000").send().await.expect("answer");
        assert!(part.bytes().await.expect("body") == content[70_001..=2_000_000]);
        let little = server.get(&format!("/v2/a/blobs/{small}")).send().await.expect("answer");
        assert_eq!(little.bytes().await.expect("body"), "small");
        assert_eq!(server.get("/v2/").send().await.expect("answer").status(), 200);
    }
}

#[tokio::test]
async fn a_slow_reader_gets_pipelined_responses_in_order() {
    let (server, content, path) = with_blob().await;
    let mut stream = server.connect().await;
    let get = |close: &str| format!("GET {path} HTTP/1.1\r\nhost: x\r\n{close}\r\n");
    let requests = [get(""), get(""), get("connection: close\r\n")].concat();
    stream.write_all(requests.as_bytes()).await.expect("sent");
    let mut all = Vec::new();
    let mut buffer = vec![0; 30_000];
    loop {
        match stream.read(&mut buffer).await.expect("read") {
            0 => break,
            count => all.extend_from_slice(&buffer[..count]),
        }
        tokio::task::yield_now().await;
    }
    for _ in 0..3 {
        let head = all.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
        assert!(all.starts_with(b"HTTP/1.1 200"));
        assert!(all[head..head + LEN] == content);
        all.drain(..head + LEN);
    }
    assert!(all.is_empty());
}

#[tokio::test]
async fn http2_sends_files() {
    let (server, content, path) = with_blob().await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().expect("client");
    let response = client.get(format!("http://{}{path}", server.address)).send().await.expect("answer");
    assert_eq!(response.version(), reqwest::Version::HTTP_2);
    assert!(response.bytes().await.expect("body") == content);
}

#[tokio::test]
async fn a_client_that_disconnects_does_not_affect_others() {
    let (server, content, path) = with_blob().await;
    for _ in 0..8 {
        let mut stream = server.connect().await;
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        stream.read_exact(&mut [0; 5000]).await.expect("some of it");
    }
    assert!(server.get(&path).send().await.expect("answer").bytes().await.expect("body") == content);
}
