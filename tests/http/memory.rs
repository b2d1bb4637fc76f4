//! Tests of small attacks on the server's memory: the memory that they use is limited by the budget.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;
use orlop::auth::AnonymousModes;
use orlop::memory::{Holder, MemoryBudget, Purpose};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

use crate::kit::*;

const MIB: usize = 1 << 20;

/// A registry with users and a small memory budget, where anyone may pull from `pub/`.
async fn server_with_users() -> (Server, TempDir) {
    let users = TempDir::new().expect("a folder");
    let file = users.path().join("users");
    std::fs::write(&file, format!("ann:{}\n", bcrypt::hash("secret", 4).expect("hashed"))).expect("written");
    let server = Server::with(|setup| {
        setup.registry.memory = MemoryBudget::new(16 << 20);
        setup.access_control.htpasswd = Some(file);
        setup.access_control.htpasswd_role = Some(orlop::metadata::Role::Delete);
        setup.access_control.modes =
            AnonymousModes::with_default(None).with_public(&["pub/**".into()]).expect("globs");
        setup.files = true;
    });
    (server.await, users)
}

/// A connection from a loopback address.
async fn connect_from(server: &Server, host: u8) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from(([127, 0, 0, host], 0))).expect("an address");
    socket.connect(server.address).await.expect("connected")
}

/// An HTTP/2 connection whose flow control lets the server send nothing.
async fn connect_without_reading(stream: TcpStream) -> SendRequest<Bytes> {
    let mut builder = h2::client::Builder::new();
    let (client, connection) = builder.initial_window_size(0).handshake(stream).await.expect("HTTP/2");
    tokio::spawn(connection);
    client
}

/// The time that another client waits for a response.
async fn answer_time(server: &Server, host: u8, path: &str) -> Duration {
    let start = Instant::now();
    let stream = connect_from(server, host).await;
    let (client, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    tokio::spawn(connection);
    let request = http::Request::get(format!("http://x{path}")).body(()).expect("valid");
    let (response, _) = client.ready().await.expect("a stream").send_request(request, true).expect("sent");
    response.await.expect("an answer");
    start.elapsed()
}

/// Waits until no response holds memory.
async fn send_buffers_are_released(budget: &MemoryBudget) {
    let empty = async {
        while budget.reserved_for(Purpose::SendBuffers) > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), empty).await.expect("released");
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_of_anonymous_clients_stay_within_their_share() {
    let (server, _users) = server_with_users().await;
    let budget = server.registry.memory().clone();
    let mut streams = Vec::new();
    for _ in 0..40 {
        let mut client = connect_without_reading(connect_from(&server, 9).await).await;
        for _ in 0..8 {
            let mut request = http::Request::post("http://x/auth/token");
            for number in 0..4 {
                request = request.header(format!("x-{number}"), "y".repeat(3700));
            }
            let request = request.body(()).expect("valid");
            client = client.ready().await.expect("a stream");
            streams.push(client.send_request(request, false).expect("sent"));
        }
        streams.last_mut().expect("one").1.reserve_capacity(1);
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    // Anonymous clients get a quarter. Data that was read before memory was short comes on top.
    assert!(budget.reserved_by_anonymous() <= 5 * MIB, "{budget:?}");
    assert!(budget.reserved_by_anonymous() >= MIB, "{budget:?}");
    let time = answer_time(&server, 8, "/v2/").await;
    assert!(time < Duration::from_secs(2), "{time:?}");
    drop(streams);
}

#[tokio::test(flavor = "multi_thread")]
async fn unread_responses_stay_within_their_share() {
    let (server, _users) = server_with_users().await;
    let content = vec![7; MIB];
    let digest = digest(&content);
    let push =
        server.post(&format!("/v2/pub/a/blobs/uploads/?digest={digest}")).basic_auth("ann", Some("secret"));
    assert_eq!(push.body(content).send().await.expect("answer").status(), 201);
    let budget = server.registry.memory().clone();
    let mut clients = Vec::new();
    for _ in 0..12 {
        let mut client = connect_without_reading(connect_from(&server, 9).await).await;
        for _ in 0..16 {
            let request =
                http::Request::get(format!("http://x/v2/pub/a/blobs/{digest}")).body(()).expect("valid");
            client = client.ready().await.expect("a stream");
            clients.push((client.send_request(request, true).expect("sent"), client.clone()));
        }
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(budget.reserved_for(Purpose::SendBuffers) >= MIB, "{budget:?}");
    assert!(budget.reserved_by_anonymous() <= 5 * MIB, "{budget:?}");
    let time = answer_time(&server, 8, "/v2/").await;
    assert!(time < Duration::from_secs(2), "{time:?}");
    drop(clients);
    send_buffers_are_released(&budget).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_a_large_manifest_until_it_is_read_over_http_1() {
    let (server, _users) = server_with_users().await;
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[],"annotations":{{"a":"{}"}}}}"#,
        "x".repeat(3 * MIB)
    );
    let push = server.put("/v2/pub/a/manifests/1").basic_auth("ann", Some("secret"));
    assert_eq!(push.header("content-type", INDEX).body(manifest).send().await.expect("answer").status(), 201);
    let budget = server.registry.memory().clone();
    let mut clients = Vec::new();
    for _ in 0..6 {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("set");
        let mut client = socket.connect(server.address).await.expect("connected");
        client.write_all(b"GET /v2/pub/a/manifests/1 HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sent");
        clients.push(client);
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(budget.reserved_for(Purpose::SendBuffers) >= 3 * MIB, "{budget:?}");
    assert!(budget.reserved_by_anonymous() <= 7 * MIB, "{budget:?}");
    drop(clients);
    send_buffers_are_released(&budget).await;
}

#[tokio::test]
async fn rejects_a_head_that_is_too_large() {
    let server = Server::start().await;
    let cookie = "c".repeat(17_000);
    let answer =
        server.raw(format!("GET /v2/ HTTP/1.1\r\nhost: x\r\ncookie: {cookie}\r\n\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let token = "t".repeat(8000);
    assert_ne!(server.get("/v2/").bearer_auth(token).send().await.expect("answer").status(), 431);
}

#[tokio::test(flavor = "multi_thread")]
async fn short_memory_limits_the_requests_of_a_connection_and_rejects_others_with_503() {
    let server = Server::with(|setup| setup.registry.memory = MemoryBudget::new(16 << 20)).await;
    let (mut client, connection) = h2::client::handshake(server.connect().await).await.expect("HTTP/2");
    tokio::spawn(connection);
    let budget = server.registry.memory().clone();
    let mut held = None;
    let mut waiting = Vec::new();
    let digest = digest(b"never sent");
    // Each request waits for its body and holds its memory.
    for number in 0..6 {
        if number == 1 {
            // The first request has started, so the server keeps reading its connection.
            tokio::time::sleep(Duration::from_millis(300)).await;
            held = Some(budget.charge(Holder::Authenticated, Purpose::Reports, 13 * MIB));
        }
        let request = http::Request::post(format!("http://x/v2/a/blobs/uploads/?digest={digest}"))
            .body(())
            .expect("valid");
        client = client.ready().await.expect("a stream");
        waiting.push(client.send_request(request, false).expect("sent"));
    }
    let mut statuses = Vec::new();
    for (response, _) in waiting {
        if let Ok(Ok(response)) = tokio::time::timeout(Duration::from_millis(500), response).await {
            let has = |name: &str| response.headers().contains_key(name);
            statuses.push((response.status().as_u16(), has("retry-after"), has("content-security-policy")));
        }
    }
    assert!(statuses.contains(&(503, true, true)), "{statuses:?}");
    assert!(budget.refusals() > 0);
    drop(held);
    assert_eq!(server.get("/v2/").send().await.expect("answer").status(), 200);
}

#[tokio::test]
async fn counts_and_releases_connections() {
    let server = Server::start().await;
    let budget = server.registry.memory().clone();
    let connections = [server.connect().await, server.connect().await];
    let counted = async |expected: bool| {
        while (budget.reserved_for(Purpose::Connections) > 0) != expected {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), counted(true)).await.expect("counted");
    drop(connections);
    tokio::time::timeout(Duration::from_secs(5), counted(false)).await.expect("released");
    assert_eq!(budget.reserved(), 0);
}
