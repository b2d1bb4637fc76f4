//! Tests of pushes that are rejected before their body has arrived: the client must be able to read the response,
//! however fast it sends.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::kit::*;
use crate::tls::{Pair, tls_server};

/// More bytes than all buffers between client and server hold.
const BODY: usize = 20 << 20;

const ABSENT: &str = "/v2/a/blobs/uploads/00000000-0000-4000-8000-000000000000";

/// Requests that are rejected, each in another way, and their status.
async fn targets(server: &Server) -> Vec<(String, &'static str)> {
    let location = server.upload("a").await;
    vec![
        (format!("PATCH {ABSENT}"), "404"),
        (format!("PATCH {location}"), "413"),
        ("POST /v2/Not-A-Name/blobs/uploads/".into(), "400"),
        ("PUT /api/v1/nothing".into(), "404"),
    ]
}

/// Sends a body as fast as possible while it reads the response; returns the response.
async fn push<S: AsyncRead + AsyncWrite + Send + 'static>(stream: S, target: &str) -> String {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let head = format!("{target} HTTP/1.1\r\nhost: x\r\ncontent-length: {BODY}\r\n\r\n");
    let sending = tokio::spawn(async move {
        writer.write_all(head.as_bytes()).await?;
        let piece = vec![7; 256 << 10];
        for _ in 0..BODY / piece.len() {
            writer.write_all(&piece).await?;
        }
        writer.shutdown().await
    });
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(20), reader.read_to_end(&mut answer)).await;
    let read = read.expect("an end").map(drop).map_err(|error| error.to_string());
    assert_eq!(read, Ok(()), "{target}: {}", String::from_utf8_lossy(&answer));
    let sent = sending.await.expect("no panic").map_err(|error| error.to_string());
    assert_eq!(sent, Ok(()), "{target}");
    String::from_utf8(answer).expect("text")
}

fn is_complete(answer: &str, status: &str) -> bool {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let length = format!("content-length: {}\r\n", body.len());
    answer.starts_with(&format!("HTTP/1.1 {status}"))
        && head.contains(&length)
        && head.contains("connection: close")
}

#[tokio::test(flavor = "multi_thread")]
async fn client_reads_every_response_over_http1() {
    let server = Server::with(|setup| setup.registry.max_blob_size = 1000).await;
    for _ in 0..25 {
        for (target, status) in targets(&server).await {
            let answer = push(server.connect().await, &target).await;
            assert!(is_complete(&answer, status), "{target}: {answer}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn client_reads_every_response_over_tls() {
    let pair = Pair::new();
    let (server, _folder) = tls_server(&pair, |setup| setup.registry.max_blob_size = 1000).await;
    for _ in 0..100 {
        let answer = push(pair.connect(&server).await, &format!("PATCH {ABSENT}")).await;
        assert!(is_complete(&answer, "404"), "{answer}");
    }
}

/// Sends a body on an HTTP/2 stream as flow control allows, until the response arrives or all of it is sent. Returns
/// the response, and how the stream ended.
async fn push_http2(
    client: &mut h2::client::SendRequest<Bytes>,
    path: &str,
) -> (u16, String, Option<h2::Reason>) {
    let request = http::Request::patch(format!("http://x{path}")).body(()).expect("valid");
    let mut ready = client.clone().ready().await.expect("a stream");
    let (response, mut body) = ready.send_request(request, false).expect("sent");
    let sending = tokio::spawn(async move {
        let piece = Bytes::from(vec![7; 16 << 10]);
        for _ in 0..BODY / piece.len() {
            body.reserve_capacity(piece.len());
            let mut left = piece.clone();
            while !left.is_empty() {
                match std::future::poll_fn(|cx| body.poll_capacity(cx)).await {
                    Some(Ok(0)) => {}
                    Some(Ok(window)) => {
                        let part = left.split_to(window.min(left.len()));
                        if let Err(error) = body.send_data(part, false) {
                            return error.reason();
                        }
                    }
                    Some(Err(error)) => return error.reason(),
                    None => return std::future::poll_fn(|cx| body.poll_reset(cx)).await.ok(),
                }
            }
        }
        body.send_data(Bytes::new(), true).err().and_then(|error| error.reason())
    });
    let response = response.await.expect("an answer");
    let status = response.status().as_u16();
    let mut answer = Vec::new();
    let mut pieces = response.into_body();
    while let Some(piece) = pieces.data().await {
        let piece = piece.expect("the answer to its end");
        pieces.flow_control().release_capacity(piece.len()).expect("released");
        answer.extend_from_slice(&piece);
    }
    let reason =
        tokio::time::timeout(Duration::from_secs(20), sending).await.expect("an end").expect("no panic");
    (status, String::from_utf8(answer).expect("text"), reason)
}

#[tokio::test(flavor = "multi_thread")]
async fn client_reads_every_response_over_http2_and_no_stream_fails() {
    let server = Server::start().await;
    let (mut client, connection) = h2::client::handshake(server.connect().await).await.expect("HTTP/2");
    tokio::spawn(connection);
    for _ in 0..100 {
        let (status, answer, reason) = push_http2(&mut client, ABSENT).await;
        assert_eq!(status, 404);
        assert!(answer.contains("BLOB_UPLOAD_UNKNOWN"), "{answer}");
        assert!(matches!(reason, None | Some(h2::Reason::NO_ERROR)), "{reason:?}");
    }
}

/// The server reads a small body that no handler reads, and keeps the connection open.
#[tokio::test]
async fn a_small_unread_body_keeps_the_connection() {
    let server = Server::start().await;
    let mut stream = server.connect().await;
    for _ in 0..3 {
        stream
            .write_all(b"PUT /api/v1/nothing HTTP/1.1\r\nhost: x\r\ncontent-length: 5000\r\n\r\n")
            .await
            .expect("sent");
        stream.write_all(&[7; 5000]).await.expect("sent");
        let answer = read_answer(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 404") && !answer.contains("connection: close"), "{answer}");
    }
}

/// After a large unread body the server announces that it closes the connection, and does not keep it open for long
/// even if the client stays.
#[tokio::test]
async fn a_connection_lingers_for_a_few_seconds_at_most() {
    let server = Server::start().await;
    let mut stream = server.connect().await;
    stream
        .write_all(
            format!("PATCH {ABSENT} HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n").as_bytes(),
        )
        .await
        .expect("sent");
    let mut answer = String::new();
    let start = Instant::now();
    stream.read_to_string(&mut answer).await.expect("the answer");
    assert!(is_complete(&answer, "404"), "{answer}");
    assert!(start.elapsed() < Duration::from_secs(2), "the server's half is closed at once");
    let refused = async {
        while stream.write_all(&[7; 100]).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), refused).await.expect("closed");
    assert!(start.elapsed() >= Duration::from_secs(3), "{:?}", start.elapsed());
}

/// Reads one response, up to the end of its body.
async fn read_answer(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).await.expect("read");
        assert!(count > 0, "closed after {}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
        if length.parse() == Ok(body.len()) {
            return text.into_owned();
        }
    }
}
