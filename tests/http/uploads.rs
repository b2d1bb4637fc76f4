//! Tests of pushing blobs: in one request, as a stream, in chunks; and of mounting and cancelling.

use crate::kit::*;

const BLOB: &[u8] = b"hello, world";

async fn read(server: &Server, repo: &str, content: &[u8]) {
    let response = server.get(&format!("/v2/{repo}/blobs/{}", digest(content))).send().await.expect("answer");
    assert_eq!(response.status(), 200);
    assert_eq!(response.bytes().await.expect("body"), content);
}

#[tokio::test]
async fn pushes_a_blob_in_one_request() {
    let server = Server::start().await;
    let path = format!("/v2/a/b/blobs/uploads/?digest={}", digest(BLOB));
    let response = server.post(&path).body(BLOB).send().await.expect("answer");
    assert_eq!(response.status(), 201);
    assert_eq!(text(response.headers(), "location"), format!("/v2/a/b/blobs/{}", digest(BLOB)));
    assert_eq!(text(response.headers(), "docker-content-digest"), digest(BLOB).as_str());
    read(&server, "a/b", BLOB).await;
}

#[tokio::test]
async fn pushes_a_blob_by_post_and_put() {
    let server = Server::start().await;
    let response = server.post("/v2/a/blobs/uploads/").send().await.expect("answer");
    let headers = response.headers().clone();
    let status = response.status();
    assert_eq!(status, 202);
    assert_eq!(text(&headers, "range"), "0-0");
    let id = text(&headers, "docker-upload-uuid");
    assert_eq!(text(&headers, "location"), format!("/v2/a/blobs/uploads/{id}"));
    server.push("a", BLOB).await;
    read(&server, "a", BLOB).await;
    server.push("a", b"").await;
    read(&server, "a", b"").await;
}

#[tokio::test]
async fn pushes_a_blob_as_a_stream_like_docker() {
    let server = Server::start().await;
    let location = server.upload("a").await;
    let pieces = BLOB.chunks(5).map(|piece| Ok::<_, std::io::Error>(piece.to_vec()));
    let body = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces.collect::<Vec<_>>()));
    let response = server.patch(&location).body(body).send().await.expect("answer");
    assert_eq!(response.status(), 202);
    assert_eq!(text(response.headers(), "range"), "0-11");
    let location = text(response.headers(), "location");
    let put = server.put(&format!("{location}?digest={}", digest(BLOB))).header("content-length", "0");
    assert_eq!(put.send().await.expect("answer").status(), 201);
    read(&server, "a", BLOB).await;
}

#[tokio::test]
async fn accepts_chunks_only_in_order() {
    let server = Server::start().await;
    let location = server.upload("a").await;
    let chunk = |range: &str, bytes: &[u8]| {
        server.patch(&location).header("content-range", range).body(bytes.to_vec())
    };
    let first = chunk("0-4", &BLOB[..5]).send().await.expect("answer");
    assert_eq!((first.status().as_u16(), text(first.headers(), "range").as_str()), (202, "0-4"));
    // A chunk after a gap, a repeated chunk, and the last chunk too.
    for (range, bytes) in [("6-7", &BLOB[6..8]), ("0-4", &BLOB[..5])] {
        let gap = chunk(range, bytes).send().await.expect("answer");
        assert_eq!((gap.status().as_u16(), text(gap.headers(), "range").as_str()), (416, "0-4"));
        assert_eq!(text(gap.headers(), "location"), location);
    }
    let put = |range: &str, bytes: &[u8]| {
        let path = format!("{location}?digest={}", digest(BLOB));
        server.put(&path).header("content-range", range).body(bytes.to_vec())
    };
    refused(put("6-11", &BLOB[6..]), 416, "BLOB_UPLOAD_INVALID").await;
    let status = server.get(&location).send().await.expect("answer");
    assert_eq!((status.status().as_u16(), text(status.headers(), "range").as_str()), (204, "0-4"));
    assert_eq!(text(status.headers(), "location"), location);
    assert_eq!(put("5-11", &BLOB[5..]).send().await.expect("answer").status(), 201);
    read(&server, "a", BLOB).await;
}

#[tokio::test]
async fn rejects_a_chunk_with_a_wrong_range() {
    let server = Server::start().await;
    let location = server.upload("a").await;
    for range in ["", "0", "a-b", "5-1", "-1", "0-", "bytes=0-4", "0-99999999999999999999999"] {
        let chunk = server.patch(&location).header("content-range", range).body("hello");
        refused(chunk, 400, "BLOB_UPLOAD_INVALID").await;
    }
    let short = server.patch(&location).header("content-range", "0-5").body("hello");
    refused(short, 400, "SIZE_INVALID").await;
    let standard = server.patch(&location).header("content-range", "bytes 0-4/*").body("hello");
    assert_eq!(standard.send().await.expect("answer").status(), 202);
}

#[tokio::test]
async fn a_wrong_digest_cancels_the_upload() {
    let server = Server::start().await;
    let location = server.upload("a").await;
    let put = server.put(&format!("{location}?digest={}", digest(b"other"))).body(BLOB);
    let error = refused(put, 400, "DIGEST_INVALID").await;
    assert_eq!(error["detail"]["actual"], digest(BLOB).as_str());
    refused(server.get(&location), 404, "BLOB_UPLOAD_UNKNOWN").await;
    let whole = server.post(&format!("/v2/a/blobs/uploads/?digest={}", digest(b"other"))).body(BLOB);
    refused(whole, 400, "DIGEST_INVALID").await;
    assert!(server.bytes.uploads().is_empty() && server.bytes.keys().is_empty());
}

#[tokio::test]
async fn accepts_sha512() {
    use orlop::oci::{Algorithm, Hasher};
    let server = Server::start().await;
    let digest = Hasher::digest(Algorithm::Sha512, BLOB);
    let response = server.post("/v2/a/blobs/uploads/?digest-algorithm=sha512").send().await.expect("answer");
    assert_eq!(response.status(), 202);
    let location = text(response.headers(), "location");
    let put = server.put(&format!("{location}?digest={digest}")).body(BLOB).send().await.expect("answer");
    assert_eq!(put.status(), 201);
    assert_eq!(text(put.headers(), "docker-content-digest"), digest.as_str());
    let md5 = server.post("/v2/a/blobs/uploads/?digest-algorithm=md5");
    refused(md5, 400, "DIGEST_INVALID").await;
}

#[tokio::test]
async fn mounts_a_blob_or_starts_an_upload_if_it_is_missing() {
    let server = Server::start().await;
    server.push("a", BLOB).await;
    let mount = async |query: String| {
        let response =
            server.post(&format!("/v2/b/blobs/uploads/?mount={query}")).send().await.expect("answer");
        (response.status().as_u16(), text(response.headers(), "location"))
    };
    let there = digest(BLOB);
    assert_eq!(mount(format!("{there}&from=a")).await, (201, format!("/v2/b/blobs/{there}")));
    assert_eq!(mount(there.to_string()).await.0, 201);
    read(&server, "b", BLOB).await;
    let missing = digest(b"missing");
    for query in [
        format!("{missing}&from=a"),
        missing.to_string(),
        format!("{there}&from=nowhere"),
        format!("{there}&from=NO!"),
    ] {
        let (status, location) = mount(query.clone()).await;
        assert_eq!(status, 202, "{query}");
        assert!(location.starts_with("/v2/b/blobs/uploads/"), "{query}");
    }
    refused(server.post("/v2/b/blobs/uploads/?mount=latest&from=a"), 400, "DIGEST_INVALID").await;
}

#[tokio::test]
async fn cancels_an_upload_once() {
    let server = Server::start().await;
    let location = server.upload("a").await;
    assert_eq!(server.delete(&location).send().await.expect("answer").status(), 204);
    refused(server.delete(&location), 404, "BLOB_UPLOAD_UNKNOWN").await;
    refused(server.get(&location), 404, "BLOB_UPLOAD_UNKNOWN").await;
    refused(server.patch(&location).body(BLOB), 404, "BLOB_UPLOAD_UNKNOWN").await;
    let put = server.put(&format!("{location}?digest={}", digest(BLOB))).body(BLOB);
    refused(put, 404, "BLOB_UPLOAD_UNKNOWN").await;
}

#[tokio::test]
async fn an_upload_belongs_to_its_repository() {
    let server = Server::start().await;
    let elsewhere = server.upload("a").await.replace("/v2/a/", "/v2/b/");
    refused(server.get(&elsewhere), 404, "BLOB_UPLOAD_UNKNOWN").await;
    refused(
        server.put(&format!("{elsewhere}?digest={}", digest(BLOB))).body(BLOB),
        404,
        "BLOB_UPLOAD_UNKNOWN",
    )
    .await;
}

#[tokio::test]
async fn put_requires_a_digest() {
    let server = Server::start().await;
    let location = server.upload("a").await;
    refused(server.put(&location).body(BLOB), 400, "DIGEST_INVALID").await;
    refused(server.put(&format!("{location}?digest=sha256:12")).body(BLOB), 400, "DIGEST_INVALID").await;
    refused(server.put(&format!("{location}?digest=md5:12")).body(BLOB), 400, "DIGEST_INVALID").await;
}

#[tokio::test]
async fn rejects_a_blob_that_is_too_large() {
    let server = Server::with(|setup| setup.registry.max_blob_size = 11).await;
    let location = server.upload("a").await;
    refused(server.patch(&location).body(BLOB), 413, "SIZE_INVALID").await;
}

#[tokio::test]
async fn read_only_registry_rejects_pushes() {
    let server = Server::with(|setup| setup.registry.read_only = true).await;
    refused(server.post("/v2/a/blobs/uploads/"), 405, "UNSUPPORTED").await;
    refused(server.delete(&format!("/v2/a/blobs/{}", digest(BLOB))), 405, "UNSUPPORTED").await;
}

#[tokio::test]
async fn reports_a_full_disk() {
    let server = Server::with(|setup| setup.registry.min_free = u64::MAX).await;
    let error = refused(server.post("/v2/a/blobs/uploads/"), 507, "UNAVAILABLE").await;
    assert!(error["message"].as_str().expect("text").contains("full"), "{error}");
}
