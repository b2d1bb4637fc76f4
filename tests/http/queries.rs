//! Tests that the API rejects unknown query parameters.

use orlop::http::api::{Status, Tag};
use serde_json::json;

use crate::api::{get, open_server, operations, problem};

const V1: &str = "/api/v1/repositories/team%2Fapp/tags/v1";

#[tokio::test]
async fn operations_reject_undocumented_parameters() {
    let server = open_server().await;
    server.push_image("team/app", "v1", b"layer").await;
    for operation in operations(&server, None).await {
        assert!(operation.responses.contains(&"400".to_owned()), "{} does not document 400", operation.id);
        for query in ["dryrun=true", "dryrun", "%64ryrun=true", "&dryrun="] {
            let path = format!("{}?{query}", operation.path);
            let request = server.request(operation.method.clone(), &path).json(&json!({}));
            let detail = problem(request, 400).await;
            assert!(detail.contains("`dryrun`"), "{}: {detail}", operation.id);
        }
    }
    get::<Tag>(&server, V1).await;
}

#[tokio::test]
async fn error_names_the_supported_parameters() {
    let server = open_server().await;
    let detail = problem(server.get("/api/v1/why?referenec=a"), 400).await;
    assert_eq!(detail, "unknown parameter `referenec`; supported parameters: `repository`, `reference`");
    let detail = problem(server.delete(&format!("{V1}?dry_run=true")), 400).await;
    assert_eq!(detail, "unknown parameter `dry_run`; supported parameters: none");
}

#[tokio::test]
async fn empty_query_is_accepted() {
    let server = open_server().await;
    for query in ["?", "?&", "?&&"] {
        get::<Status>(&server, &format!("/api/v1/status{query}")).await;
    }
    let head = server.head("/api/v1/status?verbose").send().await.expect("answer");
    assert_eq!(head.status(), 400);
    // An unknown path or method is reported before the parameters.
    problem(server.get("/api/v1/nothing?a=b"), 404).await;
    problem(server.post("/api/v1/status?a=b"), 405).await;
}
