//! Tests of connections: HTTP versions, timeouts, limits, and shutdown.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use crate::kit::*;

/// The time until the server closes a connection on which these bytes were sent.
async fn ends_after(server: &Server, sent: &[u8]) -> Duration {
    let mut stream = server.connect().await;
    stream.write_all(sent).await.expect("sent");
    let start = Instant::now();
    let mut all = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut all)).await;
    ended.expect("ended").ok();
    start.elapsed()
}

fn with_short_timeouts(setup: &mut Setup) {
    setup.listen.head_timeout = Duration::from_millis(200);
    setup.listen.idle_timeout = Duration::from_millis(600);
    setup.listen.write_timeout = Duration::from_millis(400);
}

#[tokio::test]
async fn serves_http2_without_tls_by_prior_knowledge() {
    let server = Server::start().await;
    let content = vec![7; 3 * 1024 * 1024];
    let digest = server.push("a", &content).await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().expect("client");
    let url = format!("http://{}/v2/a/blobs/", server.address);
    let response = client.get(format!("{url}{digest}")).send().await.expect("answer");
    assert_eq!(response.version(), reqwest::Version::HTTP_2);
    assert_eq!(text(response.headers(), "content-length"), content.len().to_string());
    assert_eq!(response.bytes().await.expect("body"), content);
    let head = client.head(format!("{url}{digest}")).send().await.expect("answer");
    assert_eq!(text(head.headers(), "content-length"), content.len().to_string());
    let other = vec![8; 2 * 1024 * 1024];
    let post =
        client.post(format!("{url}uploads/?digest={}", crate::kit::digest(&other))).body(other.clone());
    assert_eq!(post.send().await.expect("answer").status(), 201);
    let refused = client.patch(format!("{url}uploads/00000000-0000-4000-8000-000000000000")).body(other);
    assert_eq!(refused.send().await.expect("answer").status(), 404);
}

#[tokio::test]
async fn closes_connections_without_a_complete_head() {
    let server = Server::with(with_short_timeouts).await;
    for sent in [&b""[..], b"PRI * HT", b"GET /v2/ HTTP/1.1\r\nhost"] {
        let time = ends_after(&server, sent).await;
        assert!(time >= Duration::from_millis(150) && time < Duration::from_millis(500), "{time:?}");
    }
    // An incomplete head after a request times out too.
    let mut stream = server.connect().await;
    stream.write_all(b"GET /v2/ HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sent");
    stream.read_exact(&mut [0; 100]).await.expect("an answer");
    stream.write_all(b"GET /v2/").await.expect("sent");
    let rest = tokio::time::timeout(Duration::from_millis(500), stream.read_to_end(&mut Vec::new())).await;
    assert!(rest.is_ok(), "still open");
}

#[tokio::test]
async fn an_idle_connection_lives_longer_than_an_incomplete_head() {
    let server = Server::with(with_short_timeouts).await;
    let time = ends_after(&server, b"GET /v2/ HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(time >= Duration::from_millis(550) && time < Duration::from_millis(1200), "{time:?}");
}

#[tokio::test]
async fn closes_connections_of_clients_that_do_not_read() {
    let server = Server::with(|setup| {
        with_short_timeouts(setup);
        // The write timeout is longer if many more connections are free.
        setup.listen.max_connections = 1;
    })
    .await;
    let content = vec![7; 16 * 1024 * 1024];
    let digest = server.push("a", &content).await;
    let mut stream = server.connect().await;
    let request = format!("GET /v2/a/blobs/{digest} HTTP/1.1\r\nhost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let mut all = Vec::new();
    let read = stream.read_to_end(&mut all).await;
    assert!(read.is_err() || all.len() < content.len(), "{} bytes", all.len());
}

#[tokio::test]
async fn closes_idle_connections_at_the_connection_limit() {
    let server = Server::with(|setup| {
        with_short_timeouts(setup);
        setup.listen.idle_timeout = Duration::from_secs(60);
        setup.listen.max_connections = 1;
    })
    .await;
    let mut idle = server.connect().await;
    idle.write_all(b"GET /v2/ HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sent");
    idle.read_exact(&mut [0; 100]).await.expect("an answer");
    let start = Instant::now();
    assert_eq!(server.get("/v2/").send().await.expect("answer").status(), 200);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

/// A connection from a loopback address.
async fn connect_from(server: &Server, host: u8) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from(([127, 0, 0, host], 0))).expect("an address");
    socket.connect(server.address).await.expect("connected")
}

/// One client keeps as many connections as it can by requesting `/livez`; other clients can still connect.
#[tokio::test]
async fn a_client_cannot_keep_every_connection() {
    let server = Server::with(|setup| setup.listen.max_connections = 16).await;
    let mut kept = Vec::new();
    for _ in 0..20 {
        let mut stream = connect_from(&server, 7).await;
        stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sent");
        kept.push(stream);
    }
    for host in 10..18 {
        let mut stream = connect_from(&server, host).await;
        stream.write_all(b"GET /v2/ HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sent");
        let answer = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut [0; 12])).await;
        assert_eq!(answer.expect("in time").expect("an answer"), 12, "{host}");
        kept.push(stream);
    }
}

/// Many clients share an address, as behind NAT, and none is rejected.
#[tokio::test]
async fn many_clients_behind_one_address_are_all_served() {
    let server = Server::with(|setup| setup.listen.max_connections = 16).await;
    let clients: Vec<_> = (0..100)
        .map(|_| {
            let request = reqwest::Client::new().get(format!("http://{}/v2/", server.address));
            tokio::spawn(request.send())
        })
        .collect();
    for client in clients {
        assert_eq!(client.await.expect("no panic").expect("answer").status(), 200);
    }
}

#[tokio::test]
async fn shutdown_finishes_running_requests() {
    let server = Server::start().await;
    let location = server.upload("a").await;
    let mut busy = server.connect().await;
    let head = format!("PATCH {location} HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nhello");
    busy.write_all(head.as_bytes()).await.expect("sent");
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.shutdown.cancel();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!server.serving.is_finished());
    busy.write_all(b"world").await.expect("sent");
    let answer = read_all(&mut busy).await;
    assert!(answer.starts_with("HTTP/1.1 202") && answer.contains("connection: close"), "{answer}");
    tokio::time::timeout(Duration::from_secs(2), server.serving).await.expect("ended").expect("no panic");
    assert!(tokio::net::TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn shutdown_has_a_timeout() {
    let server = Server::with(|setup| setup.listen.drain_timeout = Duration::from_millis(200)).await;
    let location = server.upload("a").await;
    let mut busy = server.connect().await;
    let head = format!("PATCH {location} HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nhello");
    busy.write_all(head.as_bytes()).await.expect("sent");
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(2), server.serving).await.expect("ended").expect("no panic");
}

#[tokio::test]
async fn a_unix_socket_serves_an_axum_router() {
    let dir = tempfile::tempdir().expect("folder");
    let path = dir.path().join("admin.sock");
    let router = axum::Router::new().route("/hello", axum::routing::get(async || "hello, admin"));
    let listener = UnixListener::bind(&path).expect("a socket");
    let shutdown = CancellationToken::new();
    let settings = orlop::http::listen::ListenSettings::default();
    let serving = tokio::spawn(orlop::http::listen::serve(listener, router, settings, shutdown.clone()));
    let mut stream = UnixStream::connect(&path).await.expect("connected");
    stream.write_all(b"GET /hello HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("read");
    assert!(answer.ends_with("hello, admin"), "{answer}");
    shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(2), serving).await.expect("ended").expect("no panic");
}
