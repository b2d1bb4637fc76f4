//! What usage, plans and checks of policies tell, and of what.

use orlop::http::api::Plan;
use orlop::jobs::usage::UsageReport;
use serde_json::json;

use crate::api::{get, open_server, problem};

#[tokio::test]
async fn a_repository_that_never_was_has_neither_usage_nor_plan() {
    let server = open_server().await;
    server.push_image("team/app", "v1", b"layer").await;
    let detail = problem(server.get("/api/v1/usage?scope=team"), 404).await;
    assert_eq!(
        detail,
        "the registry has no repository team; what is below a prefix is asked for with a slash: team/"
    );
    let none: UsageReport = get(&server, "/api/v1/usage?scope=none/").await;
    assert_eq!((none.usage.repositories, none.repositories.len()), (0, 0));
    for pressure in ["", "&pressure=true"] {
        let detail =
            problem(server.get(&format!("/api/v1/retention/plan?repository=team{pressure}")), 404).await;
        assert_eq!(detail, "the registry has no repository team");
    }
    let apply = server.post("/api/v1/retention/apply").json(&json!({ "repository": "team" }));
    assert_eq!(problem(apply, 404).await, "the registry has no repository team");
    get::<Plan>(&server, "/api/v1/retention/plan?repository=team%2Fapp").await;
}

#[tokio::test]
async fn what_is_all_in_the_trash_is_still_told_of() {
    let server = open_server().await;
    let (_, image) = server.push_image("app", "v1", b"layer").await;
    let gone = server.delete(&format!("/api/v1/repositories/app/manifests/{image}")).send().await;
    assert_eq!(gone.expect("answer").status(), 204);
    assert!(get::<UsageReport>(&server, "/api/v1/usage?scope=app").await.usage.bytes > 0);
    get::<Plan>(&server, "/api/v1/retention/plan?repository=app").await;
}
