//! Tests of the paginated lists of tags, repositories and referrers.

use serde_json::{Value, json};

use crate::kit::*;

/// The body of a list, and the target of its `Link` header.
async fn list(server: &Server, path: &str) -> (Value, Option<String>) {
    let response = server.get(path).send().await.expect("answer");
    assert_eq!(response.status(), 200, "{path}");
    let link = response.headers().get("link").map(|link| link.to_str().expect("ASCII").to_owned());
    let target = link.map(|link| {
        link.strip_prefix('<')
            .and_then(|link| link.strip_suffix(">; rel=\"next\""))
            .expect("a link")
            .to_owned()
    });
    (response.json().await.expect("JSON"), target)
}

async fn tagged(tags: &[&str]) -> Server {
    let server = Server::start().await;
    let (manifest, _) = server.push_image("a/b", tags[0], b"layer").await;
    for tag in &tags[1..] {
        server.put_manifest("a/b", tag, &manifest).await;
    }
    server
}

#[tokio::test]
async fn lists_tags_in_byte_order_and_in_pages() {
    let server = tagged(&["b", "a", "B", "1", "_"]).await;
    let (all, link) = list(&server, "/v2/a/b/tags/list").await;
    assert_eq!(all, json!({ "name": "a/b", "tags": ["1", "B", "_", "a", "b"] }));
    assert_eq!(link, None);
    let (first, link) = list(&server, "/v2/a/b/tags/list?n=2").await;
    assert_eq!(first["tags"], json!(["1", "B"]));
    assert_eq!(link.as_deref(), Some("/v2/a/b/tags/list?n=2&last=B"));
    let (second, link) = list(&server, &link.expect("more")).await;
    assert_eq!(second["tags"], json!(["_", "a"]));
    let (third, link) = list(&server, &link.expect("more")).await;
    assert_eq!((&third["tags"], link), (&json!(["b"]), None));
    assert_eq!(list(&server, "/v2/a/b/tags/list?last=Z").await.0["tags"], json!(["_", "a", "b"]));
    assert_eq!(list(&server, "/v2/a/b/tags/list?last=zzz").await.0["tags"], json!([]));
    // The page has exactly the requested length, so no empty page follows.
    assert_eq!(list(&server, "/v2/a/b/tags/list?n=5").await.1, None);
}

#[tokio::test]
async fn empty_list_has_no_link() {
    let server = tagged(&["a"]).await;
    assert_eq!(list(&server, "/v2/a/b/tags/list?n=0").await, (json!({ "name": "a/b", "tags": [] }), None));
    assert_eq!(list(&server, "/v2/_catalog?n=0").await, (json!({ "repositories": [] }), None));
    server.delete("/v2/a/b/manifests/a").send().await.expect("answer");
    assert_eq!(list(&server, "/v2/a/b/tags/list").await.0["tags"], json!([]));
}

#[tokio::test]
async fn page_size_must_be_a_number_and_is_bounded() {
    let server = Server::with(|setup| setup.http.pages.max = 1).await;
    for n in ["-1", "x", "", "1.5", "%2B1"] {
        for path in ["/v2/a/tags/list", "/v2/_catalog"] {
            refused(server.get(&format!("{path}?n={n}")), 400, "PAGINATION_NUMBER_INVALID").await;
        }
    }
    refused(server.get("/v2/a/tags/list"), 404, "NAME_UNKNOWN").await;
    refused(server.get("/v2/a/tags/list?n=0"), 404, "NAME_UNKNOWN").await;
    let (manifest, _) = server.push_image("a", "x", b"layer").await;
    server.put_manifest("a", "y", &manifest).await;
    let (page, link) = list(&server, "/v2/a/tags/list?n=99999999999999999999999").await;
    assert_eq!((&page["tags"], link.as_deref()), (&json!(["x"]), Some("/v2/a/tags/list?n=1&last=x")));
}

#[tokio::test]
async fn lists_repositories_in_pages() {
    let server = Server::start().await;
    for repo in ["b", "a/c", "a"] {
        server.push_image(repo, "latest", b"layer").await;
    }
    assert_eq!(list(&server, "/v2/_catalog").await, (json!({ "repositories": ["a", "a/c", "b"] }), None));
    let (first, link) = list(&server, "/v2/_catalog?n=2").await;
    assert_eq!(first["repositories"], json!(["a", "a/c"]));
    assert_eq!(link.as_deref(), Some("/v2/_catalog?n=2&last=a%2Fc"));
    let (last, link) = list(&server, &link.expect("more")).await;
    assert_eq!((&last["repositories"], link), (&json!(["b"]), None));
}

#[tokio::test]
async fn referrers_of_unknown_content_are_an_empty_index() {
    let server = Server::start().await;
    let subject = digest(b"subject");
    let path = format!("/v2/nowhere/referrers/{subject}");
    let response = server.get(&path).send().await.expect("answer");
    assert_eq!(response.status(), 200);
    assert_eq!(text(response.headers(), "content-type"), INDEX);
    let empty: Value = response.json().await.expect("JSON");
    assert_eq!(empty, json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [] }));
    refused(server.get("/v2/a/referrers/latest"), 400, "DIGEST_INVALID").await;
    refused(server.get(&format!("{path}?last=x")), 400, "DIGEST_INVALID").await;
}

#[tokio::test]
async fn filters_and_pages_referrers() {
    let server = Server::start().await;
    let config = server.push("a", b"{}").await;
    let subject = digest(b"subject");
    for n in 0..3 {
        let layer = server.push("a", &[n]).await;
        let kind = if n == 0 { "text/a+b" } else { "text/other" };
        let manifest = image(&config, &layer, Some((&subject, kind)));
        let response = server.put_manifest("a", digest(manifest.as_bytes()).as_str(), &manifest).await;
        assert_eq!(response.status(), 201);
    }
    let path = format!("/v2/a/referrers/{subject}");
    assert_eq!(list(&server, &path).await.0["manifests"].as_array().map(Vec::len), Some(3));
    for query in ["artifactType=text/a+b", "artifactType=text%2Fa%2Bb"] {
        let response = server.get(&format!("{path}?{query}")).send().await.expect("answer");
        assert_eq!(text(response.headers(), "oci-filters-applied"), "artifactType");
        let index: Value = response.json().await.expect("JSON");
        assert_eq!(index["manifests"].as_array().map(Vec::len), Some(1), "{query}");
        assert_eq!(index["manifests"][0]["artifactType"], "text/a+b");
    }
    let mut seen = Vec::new();
    let mut next = Some(format!("{path}?n=1&artifactType=text/other"));
    while let Some(path) = next {
        let (page, link) = list(&server, &path).await;
        seen.extend(page["manifests"].as_array().expect("a list").clone());
        next = link;
    }
    assert_eq!(seen.len(), 2);
    assert_ne!(seen[0]["digest"], seen[1]["digest"]);
}
