//! What the API makes of parameters that it does not know.

use orlop::http::api::{Status, Tag};
use serde_json::json;

use crate::api::{get, open_server, operations, problem};

const V1: &str = "/api/v1/repositories/team%2Fapp/tags/v1";

#[tokio::test]
async fn no_operation_takes_a_parameter_that_it_does_not_document() {
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
async fn a_refusal_names_the_parameters_that_there_are() {
    let server = open_server().await;
    let detail = problem(server.get("/api/v1/why?referenec=a"), 400).await;
    assert_eq!(detail, "there is no parameter `referenec` here; there are `repository`, `reference`");
    let detail = problem(server.delete(&format!("{V1}?dry_run=true")), 400).await;
    assert_eq!(detail, "there is no parameter `dry_run` here; there are none");
}

#[tokio::test]
async fn what_asks_for_nothing_is_no_parameter() {
    let server = open_server().await;
    for query in ["?", "?&", "?&&"] {
        get::<Status>(&server, &format!("/api/v1/status{query}")).await;
    }
    let head = server.head("/api/v1/status?verbose").send().await.expect("answer");
    assert_eq!(head.status(), 400);
    // What is not there is told first.
    problem(server.get("/api/v1/nothing?a=b"), 404).await;
    problem(server.post("/api/v1/status?a=b"), 405).await;
}
