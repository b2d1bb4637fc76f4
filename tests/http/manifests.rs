//! Tests of pushing, reading and deleting manifests.

use std::time::Duration;

use orlop::fair::Client;
use orlop::registry::Access;
use serde_json::{Value, json};

use crate::kit::*;

#[tokio::test]
async fn returns_a_manifest_as_it_was_pushed() {
    let server = Server::start().await;
    let (manifest, digest) = server.push_image("a", "latest", b"layer").await;
    for reference in ["latest", digest.as_str()] {
        let path = format!("/v2/a/manifests/{reference}");
        for request in [server.get(&path), server.head(&path)] {
            let response = request.header("accept", "text/html").send().await.expect("answer");
            assert_eq!(response.status(), 200);
            let header = |name| text(response.headers(), name);
            assert_eq!(header("content-type"), IMAGE);
            assert_eq!(header("content-length"), manifest.len().to_string());
            assert_eq!(header("docker-content-digest"), digest.as_str());
            assert_eq!(header("etag"), format!("\"{digest}\""));
        }
        assert_eq!(server.get(&path).send().await.expect("answer").text().await.expect("body"), manifest);
    }
}

#[tokio::test]
async fn accepts_tags_as_query_parameters() {
    let server = Server::start().await;
    let (manifest, digest) = server.push_image("a", "first", b"layer").await;
    let response = server.put_manifest("a", &format!("{digest}?tag=1.2&tag=1&tag=1"), &manifest).await;
    assert_eq!(response.status(), 201);
    let tags: Vec<_> = response.headers().get_all("oci-tag").iter().collect();
    assert_eq!(tags, ["1.2", "1"]);
    assert_eq!(text(response.headers(), "location"), format!("/v2/a/manifests/{digest}"));
    assert_eq!(server.head("/v2/a/manifests/1.2").send().await.expect("answer").status(), 200);
    let many = (0..101).map(|n| format!("tag=t{n}")).collect::<Vec<_>>().join("&");
    let put = |query: &str| server.put(&format!("/v2/a/manifests/{digest}?{query}")).body(manifest.clone());
    refused(put(&many), 414, "UNSUPPORTED").await;
    refused(put("tag=-bad"), 400, "TAG_INVALID").await;
    assert_eq!(server.head("/v2/a/manifests/t0").send().await.expect("answer").status(), 404);
}

#[tokio::test]
async fn rejects_a_path_with_the_wrong_digest() {
    let server = Server::start().await;
    let (manifest, _) = server.push_image("a", "latest", b"layer").await;
    let put = |reference: &str| server.put(&format!("/v2/a/manifests/{reference}")).body(manifest.clone());
    refused(put(digest(b"other").as_str()), 400, "DIGEST_INVALID").await;
    refused(put("sha256:baddigeststring"), 400, "DIGEST_INVALID").await;
    refused(put("-bad"), 400, "TAG_INVALID").await;
}

#[tokio::test]
async fn names_all_missing_blobs() {
    let server = Server::start().await;
    let config = digest(b"config");
    let layer = digest(b"layer");
    let response = server.put_manifest("a", "latest", &image(&config, &layer, None)).await;
    assert_eq!(response.status(), 400);
    let body: serde_json::Value = response.json().await.expect("JSON");
    let errors = body["errors"].as_array().expect("a list");
    assert_eq!(errors.len(), 2);
    for error in errors {
        assert_eq!(error["code"], "MANIFEST_BLOB_UNKNOWN");
        let named = error["detail"]["digest"].as_str().expect("a digest");
        assert!(named == config.as_str() || named == layer.as_str());
    }
    refused(server.get("/v2/a/manifests/latest"), 404, "NAME_UNKNOWN").await;
}

#[tokio::test]
async fn rejects_invalid_manifests() {
    let server = Server::start().await;
    for content in
        ["", "{", "null", "[]", "\"text\"", "{}", r#"{"schemaVersion": 1, "fsLayers": []}"#, "\u{0}"]
    {
        let put = server.put("/v2/a/manifests/latest").header("content-type", IMAGE).body(content);
        refused(put, 400, "MANIFEST_INVALID").await;
    }
    let (manifest, _) = server.push_image("a", "latest", b"layer").await;
    let put = |kind: &'static str| {
        server.put("/v2/a/manifests/x").header("content-type", kind).body(manifest.clone())
    };
    refused(put("no type"), 400, "MANIFEST_INVALID").await;
    refused(put(INDEX), 400, "MANIFEST_INVALID").await;
    let parameters = put("application/vnd.oci.image.manifest.v1+json; charset=utf-8").send().await;
    assert_eq!(parameters.expect("answer").status(), 201);
}

#[tokio::test]
async fn rejects_a_large_manifest_with_and_without_a_declared_length() {
    let server = Server::with(|setup| setup.http.max_manifest_size = 1000).await;
    let put = || server.put("/v2/a/manifests/latest").header("content-type", IMAGE);
    refused(put().body(" ".repeat(1001)), 413, "MANIFEST_INVALID").await;
    let pieces = [1, 2].map(|_| Ok::<_, std::io::Error>(" ".repeat(600)));
    let stream = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));
    refused(put().body(stream), 413, "MANIFEST_INVALID").await;
    refused(put().body(" ".repeat(1000)), 400, "MANIFEST_INVALID").await;
}

#[tokio::test]
async fn a_push_can_be_conditional() {
    let server = Server::start().await;
    let (first, one) = server.push_image("a", "latest", b"one").await;
    let (second, two) = server.push_image("a", "other", b"two").await;
    let put = |content: &str| {
        server.put("/v2/a/manifests/latest").header("content-type", IMAGE).body(content.to_owned())
    };
    refused(put(&second).header("if-match", format!("\"{two}\"")), 412, "MANIFEST_INVALID").await;
    refused(put(&second).header("if-none-match", "*"), 412, "MANIFEST_INVALID").await;
    let right = put(&second).header("if-match", format!("\"{one}\"")).send().await.expect("answer");
    assert_eq!(right.status(), 201);
    refused(put(&first).header("if-match", format!("\"{one}\"")), 412, "MANIFEST_INVALID").await;
    let new = server.put("/v2/a/manifests/new").header("if-match", "*").body(first.clone());
    refused(new, 412, "MANIFEST_INVALID").await;
}

#[tokio::test]
async fn a_client_can_check_whether_a_tag_moved() {
    let server = Server::start().await;
    let (_, digest) = server.push_image("a", "latest", b"one").await;
    let get = |tag: &str| server.get("/v2/a/manifests/latest").header("if-none-match", tag);
    let tag = format!("\"{digest}\"");
    let same = get(&tag).send().await.expect("answer");
    assert_eq!(same.status(), 304);
    assert_eq!(text(same.headers(), "docker-content-digest"), digest.as_str());
    server.push_image("a", "latest", b"two").await;
    assert_eq!(get(&tag).send().await.expect("answer").status(), 200);
}

#[tokio::test]
async fn deletes_a_tag_or_by_digest_the_manifest() {
    let server = Server::start().await;
    let (manifest, digest) = server.push_image("a", "one", b"layer").await;
    server.put_manifest("a", "two", &manifest).await;
    server.put_manifest("a", "three", &manifest).await;
    let delete = async |reference: &str| {
        server.delete(&format!("/v2/a/manifests/{reference}")).send().await.expect("answer").status().as_u16()
    };
    let head = async |reference: &str| {
        server.head(&format!("/v2/a/manifests/{reference}")).send().await.expect("answer").status().as_u16()
    };
    assert_eq!(delete("one").await, 202);
    assert_eq!((head("one").await, head("two").await, head(digest.as_str()).await), (404, 200, 200));
    assert_eq!(delete(digest.as_str()).await, 202);
    assert_eq!((head("two").await, head("three").await, head(digest.as_str()).await), (404, 404, 404));
    refused(server.delete("/v2/a/manifests/one"), 404, "MANIFEST_UNKNOWN").await;
}

#[tokio::test]
async fn does_not_delete_a_child_of_an_index() {
    let server = Server::start().await;
    let (_, child) = server.push_image("a", "child", b"layer").await;
    let index = serde_json::json!({
        "schemaVersion": 2, "mediaType": INDEX,
        "manifests": [{ "mediaType": IMAGE, "digest": child.as_str(), "size": size_of(&child) }],
    })
    .to_string();
    assert_eq!(server.put_manifest("a", "index", &index).await.status(), 201);
    let error = refused(server.delete(&format!("/v2/a/manifests/{child}")), 405, "UNSUPPORTED").await;
    assert_eq!(error["detail"]["heldBy"], digest(index.as_bytes()).as_str());
}

#[tokio::test]
async fn reports_the_subject() {
    let server = Server::start().await;
    let config = server.push("a", b"{}").await;
    let subject = digest(b"absent");
    let manifest = image(&config, &config, Some((&subject, "application/vnd.example")));
    let response = server.put_manifest("a", digest(manifest.as_bytes()).as_str(), &manifest).await;
    assert_eq!(response.status(), 201);
    assert_eq!(text(response.headers(), "oci-subject"), subject.as_str());
    assert!(!response.headers().contains_key("oci-tag"));
}

#[tokio::test]
async fn distinguishes_unknown_repositories_from_unknown_manifests() {
    let server = Server::start().await;
    server.push_image("a", "latest", b"layer").await;
    refused(server.get("/v2/a/manifests/other"), 404, "MANIFEST_UNKNOWN").await;
    refused(server.get("/v2/nowhere/manifests/latest"), 404, "NAME_UNKNOWN").await;
}

struct Releases;

impl orlop::registry::TagGuard for Releases {
    fn is_immutable(&self, repo: &orlop::oci::RepoName, tag: &orlop::oci::Tag) -> bool {
        repo.as_str() == "prod" && tag.as_str().starts_with('v')
    }
}

#[tokio::test]
async fn an_immutable_tag_can_be_pushed_once() {
    let server = Server::start().await;
    server.registry.guard_tags(std::sync::Arc::new(Releases));
    let (manifest, digest) = server.push_image("prod", "v1", b"layer").await;
    assert_eq!(server.put_manifest("prod", "v1", &manifest).await.status(), 201, "the same again is fine");
    let other = image(&server.push("prod", b"{}").await, &server.push("prod", b"other").await, None);
    let put = server.put("/v2/prod/manifests/v1").header("content-type", IMAGE).body(other.clone());
    let error = refused(put, 403, "DENIED").await;
    assert_eq!(error["detail"]["tag"], "v1");
    assert!(error["message"].as_str().expect("text").contains("v1"));
    for reference in ["v1", digest.as_str()] {
        refused(server.delete(&format!("/v2/prod/manifests/{reference}")), 403, "DENIED").await;
    }
    assert_eq!(
        server.get("/v2/prod/manifests/v1").send().await.expect("answer").text().await.expect("body"),
        manifest
    );
    assert_eq!(server.put_manifest("prod", "latest", &other).await.status(), 201);
    server.push_image("test", "v1", b"layer").await;
    assert_eq!(server.delete("/v2/test/manifests/v1").send().await.expect("answer").status(), 202);
}

/// A push with nothing to upload ends with a HEAD, which counts as a push of the tag; a pull does not.
#[tokio::test]
async fn head_by_a_pusher_updates_the_push_time_of_a_tag() {
    let server = Server::start().await;
    let (_, digest) = server.push_image("a", "latest", b"layer").await;
    let pushed_at = || async {
        let tag = orlop::oci::Reference::Tag("latest".parse().expect("tag"));
        let found = server.registry.metadata().manifest(&"a".parse().expect("name"), &tag).await;
        found.expect("metadata").expect("present").tagged_at
    };
    let send = |request: reqwest::RequestBuilder| async {
        assert_eq!(request.send().await.expect("answer").status(), 200);
        server.registry.flush_pulls().await.expect("flushed");
    };
    let first = pushed_at().await;
    send(server.head("/v2/a/manifests/latest")).await;
    server.clock.advance(std::time::Duration::from_secs(61));
    send(server.get("/v2/a/manifests/latest")).await;
    send(server.head(&format!("/v2/a/manifests/{digest}"))).await;
    assert_eq!(pushed_at().await, first);
    send(server.head("/v2/a/manifests/latest")).await;
    assert_eq!(pushed_at().await.map(|at| at.0), first.map(|at| at.0 + 61_000));
}

#[tokio::test]
async fn rejects_a_wrong_size_and_names_both_sizes() {
    let server = Server::start().await;
    let config = server.push("a", b"{}").await;
    let layer = server.push("a", b"layer").await;
    let manifest = image(&config, &layer, None).replace("\"size\":5", "\"size\":6");
    let put = server.put("/v2/a/manifests/latest").header("content-type", IMAGE).body(manifest);
    let error = refused(put, 400, "MANIFEST_INVALID").await;
    let message = error["message"].as_str().expect("a message");
    assert!(message.contains(&format!("{layer} the size 6, but it has 5 bytes")), "{message}");
}

#[tokio::test]
async fn rejects_an_invalid_artifact_type() {
    let server = Server::start().await;
    let config = server.push("a", b"{}").await;
    let layer = server.push("a", b"layer").await;
    for artifact_type in ["sbom", &format!("a/{}", "b".repeat(5000)), "a/\u{202e}b"] {
        let manifest = image(&config, &layer, Some((&digest(b"absent"), artifact_type)));
        let put = server.put("/v2/a/manifests/latest").header("content-type", IMAGE).body(manifest);
        refused(put, 400, "MANIFEST_INVALID").await;
    }
}

/// A list of tags stays short, however long the platforms and labels of the images are.
#[tokio::test]
async fn long_platforms_and_labels_keep_tag_lists_short() {
    let server = Server::start().await;
    let long = "x".repeat(500_000);
    let config = format!(r#"{{"os":"{long}","architecture":"a","config":{{"Labels":{{"a":"{long}"}}}}}}"#);
    let config = server.push("a", config.as_bytes()).await;
    for number in 0..100 {
        let layer = server.push("a", format!("layer {number}").as_bytes()).await;
        let response = server.put_manifest("a", &format!("t{number}"), &image(&config, &layer, None)).await;
        assert_eq!(response.status(), 201);
    }
    let response = server.get("/api/v1/repositories/a/tags?limit=1000").send().await.expect("answer");
    let body = response.text().await.expect("body");
    assert!(body.contains("t99") && body.len() < 100_000, "{}", body.len());
}

/// Docker treats 429 as final and retries 503.
#[tokio::test]
async fn large_manifest_without_memory_in_time_gets_503() {
    let server = Server::with(|setup| setup.registry.upload_queue = Duration::from_millis(50)).await;
    let repository = server.registry.repository("a".parse().expect("a name"), Access { push: true });
    let mut places = Vec::new();
    for _ in 0..8 {
        let repository = repository.clone().for_client(Client::single_request());
        places.push(repository.manifest_place(1 << 20).await.expect("a place"));
    }
    let padded = |padding: usize| {
        let annotations = json!({ "padding": "x".repeat(padding) });
        json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [], "annotations": annotations })
            .to_string()
    };
    let response = server.put_manifest("a", "large", &padded(100_000)).await;
    assert_eq!(response.status(), 503);
    assert!(text(response.headers(), "retry-after").parse::<u64>().is_ok());
    let error: Value = response.json().await.expect("JSON");
    assert_eq!(error["errors"][0]["code"], "UNAVAILABLE");
    assert_eq!(server.put_manifest("a", "small", &padded(100)).await.status(), 201);
    drop(places);
    assert_eq!(server.put_manifest("a", "large", &padded(100_000)).await.status(), 201);
}
