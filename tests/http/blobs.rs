//! Tests of reading and deleting blobs.

use crate::kit::*;

const BLOB: &[u8] = b"0123456789";

async fn served() -> (Server, String) {
    let server = Server::start().await;
    let digest = server.push("a", BLOB).await;
    (server, format!("/v2/a/blobs/{digest}"))
}

#[tokio::test]
async fn get_and_head_return_the_same_headers() {
    let (server, path) = served().await;
    let tag = format!("\"{}\"", digest(BLOB));
    for request in [server.get(&path), server.head(&path)] {
        let response = request.send().await.expect("answer");
        assert_eq!(response.status(), 200);
        let header = |name| text(response.headers(), name);
        assert_eq!(header("content-length"), "10");
        assert_eq!(header("content-type"), "application/octet-stream");
        assert_eq!(header("docker-content-digest"), digest(BLOB).as_str());
        assert_eq!(header("etag"), tag);
        assert_eq!(header("accept-ranges"), "bytes");
        assert_eq!(header("docker-distribution-api-version"), "registry/2.0");
    }
    assert_eq!(server.head(&path).send().await.expect("answer").bytes().await.expect("none"), "");
}

#[tokio::test]
async fn responses_are_not_compressed() {
    let (server, path) = served().await;
    let response =
        server.get(&path).header("accept-encoding", "gzip, br, zstd").send().await.expect("answer");
    assert!(!response.headers().contains_key("content-encoding"));
    assert_eq!(response.bytes().await.expect("body"), BLOB);
}

#[tokio::test]
async fn returns_ranges_of_a_blob() {
    let (server, path) = served().await;
    for (range, body, content_range) in [
        ("bytes=2-4", &b"234"[..], "bytes 2-4/10"),
        ("bytes=7-", b"789", "bytes 7-9/10"),
        ("bytes=-3", b"789", "bytes 7-9/10"),
        ("bytes=8-100", b"89", "bytes 8-9/10"),
    ] {
        let response = server.get(&path).header("range", range).send().await.expect("answer");
        assert_eq!(response.status(), 206, "{range}");
        assert_eq!(text(response.headers(), "content-range"), content_range);
        assert_eq!(text(response.headers(), "content-length"), body.len().to_string());
        assert_eq!(response.bytes().await.expect("body"), body);
    }
    for range in ["bytes=10-", "bytes=5-2", "bytes=50-60", "bytes=-0"] {
        let response = server.get(&path).header("range", range).send().await.expect("answer");
        assert_eq!(response.status(), 416, "{range}");
        assert_eq!(text(response.headers(), "content-range"), "bytes */10");
    }
    for range in ["lines=1-2", "bytes=a-b", "bytes=0-1,a", "bytes=0-,0-", "nonsense"] {
        let response = server.get(&path).header("range", range).send().await.expect("answer");
        assert_eq!(response.status(), 200, "{range}");
    }
}

#[tokio::test]
async fn returns_several_ranges_in_one_response() {
    let server = Server::start().await;
    let blob: Vec<u8> = (0..600_000u32).map(|number| (number % 251) as u8).collect();
    let path = format!("/v2/a/blobs/{}", server.push("a", &blob).await);
    let ranges = [5..9usize, 0..2, 100_000..500_000, 599_990..600_000];
    let header = "bytes=5-8,0-1,100000-300000,300001-499999,-10";
    for request in [server.get(&path), server.head(&path)] {
        let response = request.header("range", header).send().await.expect("answer");
        assert_eq!(response.status(), 206);
        let len: usize = text(response.headers(), "content-length").parse().expect("a number");
        let media_type = text(response.headers(), "content-type").clone();
        let boundary =
            media_type.strip_prefix("multipart/byteranges; boundary=").expect("a boundary").to_owned();
        let body = response.bytes().await.expect("whole");
        if body.is_empty() {
            continue;
        }
        assert_eq!(body.len(), len);
        let mut expected = Vec::new();
        for (at, range) in ranges.iter().enumerate() {
            let line_end = if at == 0 { "" } else { "\r\n" };
            let first = range.start;
            let last = range.end - 1;
            expected.extend_from_slice(
                format!(
                    "{line_end}--{boundary}\r\nContent-Type: application/octet-stream\r\n\
                     Content-Range: bytes {first}-{last}/600000\r\n\r\n"
                )
                .as_bytes(),
            );
            expected.extend_from_slice(&blob[range.clone()]);
        }
        expected.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        assert!(body == expected, "the parts in the order of the request");
    }
    let response = server.get(&path).header("range", "bytes=0-3,4-7").send().await.expect("answer");
    assert_eq!(text(response.headers(), "content-range"), "bytes 0-7/600000", "adjacent ranges are one part");
    let response = server.get(&path).header("range", "bytes=600000-,700000-").send().await.expect("answer");
    assert_eq!(response.status(), 416);
}

#[tokio::test]
async fn if_range_with_another_etag_returns_the_whole_blob() {
    let (server, path) = served().await;
    let part = |tag: &str| server.get(&path).header("range", "bytes=0-1").header("if-range", tag);
    let status = async |tag: &str| part(tag).send().await.expect("answer").status().as_u16();
    assert_eq!(status(&format!("\"{}\"", digest(BLOB))).await, 206);
    assert_eq!(status("\"other\"").await, 200);
    assert_eq!(status("Tue, 15 Nov 1994 12:45:26 GMT").await, 200);
}

#[tokio::test]
async fn unchanged_content_gets_304() {
    let (server, path) = served().await;
    let tag = format!("\"{}\"", digest(BLOB));
    for request in [server.get(&path), server.head(&path)] {
        let response = request.header("if-none-match", &tag).send().await.expect("answer");
        assert_eq!(response.status(), 304);
        assert_eq!(text(response.headers(), "etag"), tag);
        assert_eq!(response.bytes().await.expect("none"), "");
    }
    refused(server.get(&path).header("if-match", "\"other\""), 412, "BLOB_UNKNOWN").await;
}

#[tokio::test]
async fn unknown_blobs_get_404() {
    let (server, _) = served().await;
    refused(server.get(&format!("/v2/a/blobs/{}", digest(b"other"))), 404, "BLOB_UNKNOWN").await;
    refused(server.get(&format!("/v2/b/blobs/{}", digest(BLOB))), 404, "BLOB_UNKNOWN").await;
    let head = server.head(&format!("/v2/b/blobs/{}", digest(BLOB))).send().await.expect("answer");
    assert_eq!(head.status(), 404);
    refused(server.delete(&format!("/v2/a/blobs/{}", digest(b"other"))), 404, "BLOB_UNKNOWN").await;
}

#[tokio::test]
async fn a_deleted_blob_disappears_immediately() {
    let (server, path) = served().await;
    assert_eq!(server.delete(&path).send().await.expect("answer").status(), 202);
    refused(server.get(&path), 404, "BLOB_UNKNOWN").await;
}

#[tokio::test]
async fn does_not_delete_a_blob_that_a_manifest_refers_to() {
    let server = Server::start().await;
    let (_, manifest) = server.push_image("a", "latest", BLOB).await;
    let error = refused(server.delete(&format!("/v2/a/blobs/{}", digest(BLOB))), 405, "UNSUPPORTED").await;
    assert_eq!(error["detail"]["heldBy"], manifest.as_str());
}

#[tokio::test]
async fn accepts_a_percent_encoded_digest() {
    let (server, path) = served().await;
    let response = server.get(&path.replace(':', "%3A")).send().await.expect("answer");
    assert_eq!(response.bytes().await.expect("body"), BLOB);
}
