//! Tests of the parts of the API that pages also show: contents of manifests, untagged manifests, namespaces, searches
//! and background work.

use orlop::http::api::{Background, Changes, Contents, Found, Namespace, Page, Tag, Untagged};
use serde_json::json;

use crate::api::{get, open_server, problem};
use crate::kit::*;

const COMMAND: &str = "RUN /bin/sh -c make install # buildkit";

/// Pushes an image with a config that has a history, under a tag; returns its digest.
async fn push_built_image(server: &Server, repo: &str, tag: &str, layers: &[&[u8]]) -> String {
    let config = json!({
        "os": "linux", "architecture": "arm64",
        "config": { "Entrypoint": ["/app"], "Labels": { "team": "<b>a</b>" } },
        "history": [
            { "created_by": "ADD base /" },
            { "created_by": "ENV A=1", "empty_layer": true },
            { "created_by": COMMAND },
        ],
    });
    let config = server.push(repo, config.to_string().as_bytes()).await;
    let mut descriptors = Vec::new();
    for layer in layers {
        let layer = server.push(repo, layer).await;
        descriptors.push(json!({
            "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer.as_str(), "size": size_of(&layer),
        }));
    }
    let manifest = json!({
        "schemaVersion": 2, "mediaType": IMAGE, "layers": descriptors, "annotations": { "a": "b" },
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": config.as_str(), "size": size_of(&config),
        },
    })
    .to_string();
    assert_eq!(server.put_manifest(repo, tag, &manifest).await.status(), 201);
    digest(manifest.as_bytes()).to_string()
}

fn contents_path(repo: &str, digest: &str) -> String {
    format!("/api/v1/repositories/{}/manifests/{digest}/contents", repo.replace('/', "%2F"))
}

#[tokio::test]
async fn contents_of_an_image_explain_its_layers() {
    let server = Server::start().await;
    let image = push_built_image(&server, "team/app", "v1", &[b"base", b"own", b"more"]).await;
    push_built_image(&server, "other", "v2", &[b"base"]).await;
    let found: Contents = get(&server, &contents_path("team/app", &image)).await;
    assert_eq!((found.kind.as_str(), found.client.as_str(), found.incomplete), ("image", "docker", false));
    let layers: Vec<_> = found
        .layers
        .iter()
        .map(|layer| (layer.size, layer.command.as_deref(), layer.other_tags, layer.more_tags))
        .collect();
    let expected = [
        (4, Some("ADD base /"), Some(1), false),
        (3, Some("RUN make install"), Some(0), false),
        (4, None, Some(0), false),
    ];
    assert_eq!(layers, expected);
    let steps: Vec<_> = found.steps.iter().map(|step| (step.command.as_str(), step.layer)).collect();
    assert_eq!(steps, [("ADD base /", Some(0)), ("ENV A=1", None), ("RUN make install", Some(1))]);
    let config = found.config.expect("readable");
    assert_eq!((config.architecture.as_str(), config.labels["team"].as_str()), ("arm64", "<b>a</b>"));
    assert_eq!((config.entrypoint, found.annotations["a"].as_str()), (vec!["/app".to_owned()], "b"));
    let missing = contents_path("team/app", &format!("sha256:{}", "0".repeat(64)));
    problem(server.get(&missing), 404).await;
}

#[tokio::test]
async fn contents_of_an_index_separate_attestations() {
    let server = Server::start().await;
    let image = push_built_image(&server, "app", "arm", &[b"layer"]).await;
    let config = server.push("app", b"{}").await;
    let layer = server.push("app", b"statement").await;
    let attestation = json!({
        "schemaVersion": 2, "mediaType": IMAGE,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": config.as_str(), "size": size_of(&config),
        },
        "layers": [{
            "mediaType": "application/vnd.in-toto+json", "digest": layer.as_str(), "size": size_of(&layer),
            "annotations": { "in-toto.io/predicate-type": "https://slsa.dev/provenance/v1" },
        }],
    })
    .to_string();
    let attested = digest(attestation.as_bytes());
    assert_eq!(server.put_manifest("app", attested.as_str(), &attestation).await.status(), 201);
    let size =
        get::<orlop::http::api::Manifest>(&server, &format!("/api/v1/repositories/app/manifests/{image}"))
            .await
            .manifest_size;
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [
        { "mediaType": IMAGE, "digest": image, "size": size,
          "platform": { "os": "linux", "architecture": "arm64" } },
        { "mediaType": IMAGE, "digest": attested.as_str(), "size": attestation.len(),
          "platform": { "os": "unknown", "architecture": "unknown" },
          "annotations": { "vnd.docker.reference.type": "attestation-manifest",
                           "vnd.docker.reference.digest": image } },
    ]})
    .to_string();
    assert_eq!(server.put_manifest("app", "latest", &index).await.status(), 201);
    let found: Contents = get(&server, &contents_path("app", digest(index.as_bytes()).as_str())).await;
    assert_eq!((found.kind.as_str(), found.members.len(), found.layers.len()), ("index", 1, 0));
    assert_eq!(found.members[0].platform.as_deref(), Some("linux/arm64"));
    assert!(found.members[0].size.is_some_and(|size| size > 5));
    assert_eq!(found.attestations[0].about.as_deref(), Some(image.as_str()));
    assert_eq!(found.attestations[0].predicates, ["https://slsa.dev/provenance/v1"]);
    let found: Contents = get(&server, &contents_path("app", attested.as_str())).await;
    assert_eq!((found.kind.as_str(), found.client.as_str()), ("provenance", "oras"));
}

#[tokio::test]
async fn contents_list_what_is_attached() {
    let server = Server::start().await;
    let image_digest = push_built_image(&server, "app", "v1", &[b"layer"]).await;
    let config = server.push("app", b"{}").await;
    let layer = server.push("app", b"text").await;
    let subject = image_digest.parse().expect("a digest");
    let sbom = image(&config, &layer, Some((&subject, "application/spdx+json")));
    assert_eq!(server.put_manifest("app", digest(sbom.as_bytes()).as_str(), &sbom).await.status(), 201);
    let signature =
        image(&config, &layer, None).replace("image.layer.v1.tar", "dev.cosign.simplesigning.v1+json");
    let tag = format!("{}.sig", image_digest.replace(':', "-"));
    assert_eq!(server.put_manifest("app", &tag, &signature).await.status(), 201);
    let found: Contents = get(&server, &contents_path("app", &image_digest)).await;
    let attached: Vec<_> =
        found.attached.iter().map(|attached| (attached.kind.as_str(), attached.tag.as_deref())).collect();
    assert_eq!(attached, [("sbom-spdx", None), ("cosign-signature", Some(tag.as_str()))]);
    let found: Contents = get(&server, &contents_path("app", digest(sbom.as_bytes()).as_str())).await;
    assert_eq!(found.subject.as_deref(), Some(image_digest.as_str()));
}

#[tokio::test]
async fn lists_untagged_manifests_page_by_page() {
    let server = Server::start().await;
    for number in 0..3 {
        server.push_image("app", "v1", format!("layer {number}").as_bytes()).await;
    }
    let mut found = Vec::new();
    let mut after = String::new();
    loop {
        let path = format!("/api/v1/repositories/app/untagged?limit=1{after}");
        let page: Page<Untagged> = get(&server, &path).await;
        found.extend(page.items.into_iter().map(|untagged| untagged.digest));
        let Some(next) = page.next else { break };
        after = format!("&after={next}");
    }
    found.sort();
    let mut expected = Vec::new();
    for number in 0..2 {
        let config = digest(b"{}");
        let layer = digest(format!("layer {number}").as_bytes());
        expected.push(digest(image(&config, &layer, None).as_bytes()).to_string());
    }
    expected.sort();
    assert_eq!(found, expected);
    problem(server.get("/api/v1/repositories/app/untagged?after=x"), 400).await;
    problem(server.get("/api/v1/repositories/none/untagged"), 404).await;
}

#[tokio::test]
async fn lists_namespaces_and_searches() {
    let server = Server::start().await;
    for repo in ["app", "team/app", "team/lib/core"] {
        server.push_image(repo, "v1.0", b"layer").await;
    }
    let names = async |query: &str| -> Vec<(String, bool, u64)> {
        let page: Page<Namespace> = get(&server, &format!("/api/v1/namespaces{query}")).await;
        page.items.into_iter().map(|it| (it.name, it.is_repository, it.repositories)).collect()
    };
    assert_eq!(names("").await, [("app".into(), true, 0), ("team".into(), false, 2)]);
    let team = [("team/app".into(), true, 0), ("team/lib".into(), false, 1)];
    assert_eq!(names("?parent=team").await, team);
    let first: Page<Namespace> = get(&server, "/api/v1/namespaces?parent=team&limit=1").await;
    let after = first.next.expect("more").replace('/', "%2F");
    assert_eq!(names(&format!("?parent=team&limit=1&after={after}")).await, team[1..]);
    problem(server.get("/api/v1/namespaces?parent=Team"), 400).await;

    let found: Found = get(&server, "/api/v1/search?text=lib").await;
    let repositories: Vec<_> = found.repositories.iter().map(|found| found.name.as_str()).collect();
    assert_eq!((repositories, found.tags.len()), (vec!["team/lib/core"], 0));
    let found: Found = get(&server, "/api/v1/search?text=team/app%3Av1").await;
    assert_eq!((found.tags[0].repository.as_str(), found.tags.len()), ("team/app", 1));
    let digits = &found.tags[0].digest["sha256:".len()..][..7];
    let found: Found = get(&server, &format!("/api/v1/search?text={digits}")).await;
    assert_eq!(found.manifests.len(), 3);
    problem(server.get("/api/v1/search"), 400).await;
    problem(server.get(&format!("/api/v1/search?text={}", "a".repeat(256))), 400).await;
}

#[tokio::test]
async fn tags_have_aliases_and_an_author() {
    let server = Server::with(|setup| setup.changes = Changes::Anyone).await;
    let (_, image) = server.push_image("app", "v1", b"layer").await;
    let put = server.put("/api/v1/repositories/app/tags/latest").json(&json!({ "digest": image.as_str() }));
    let latest: Tag = put.send().await.expect("answer").json().await.expect("a tag");
    assert_eq!(latest.aliases, ["v1"]);
    assert!(latest.pushed_by.is_some(), "{latest:?}");
}

#[tokio::test]
async fn background_work_is_reported() {
    let server = open_server().await;
    let found: Background = get(&server, "/api/v1/background").await;
    assert_eq!((found.collector.runs.running, found.collector.runs.next_at), (false, None));
    assert!(!found.scrub.scheduled && found.retention.last.is_none());
    // Nothing runs the jobs in these tests.
    for job in ["collector", "retention", "scrub"] {
        let detail = problem(server.post(&format!("/api/v1/background/{job}/run")), 409).await;
        assert!(detail.contains("does not run here"), "{detail}");
    }
    problem(server.post("/api/v1/background/other/run"), 400).await;
}
