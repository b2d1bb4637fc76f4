//! Failures of the server: the log has the whole cause, and the response has nothing of it.

use serde_json::Value;

use crate::kit::{Server, digest};
use crate::log::Log;

/// The causes of failed requests that contain `text`.
fn logged_causes(text: &str) -> Vec<String> {
    let entries = Log::of_all().entries();
    let failed = entries.iter().filter(|entry| entry["message"] == "request failed");
    let causes = failed.filter_map(|entry| entry["cause"].as_str()).filter(|cause| cause.contains(text));
    causes.map(str::to_owned).collect()
}

#[tokio::test]
async fn hides_an_error_of_the_database_from_clients_and_logs_it() {
    Log::of_all();
    let server = Server::start().await;
    server.push_image("broken/app", "v1", b"layer").await;
    let database = rusqlite::Connection::open(server.metadata_dir.path().join("orlop.db")).expect("opened");
    database.execute_batch("ALTER TABLE tags RENAME TO mislaid").expect("renamed");
    let protocol = server.get("/v2/broken/app/manifests/v1").send().await.expect("a response");
    assert_eq!(protocol.status(), 500);
    let protocol: Value = protocol.json().await.expect("JSON");
    assert_eq!(protocol["errors"][0]["message"], "internal error; see the log of the registry");
    let api = server.get("/api/v1/repositories/broken%2Fapp/tags").send().await.expect("a response");
    assert_eq!(api.status(), 500);
    let api: Value = api.json().await.expect("JSON");
    assert_eq!(api["detail"], "internal error; see the log of the registry");
    for body in [protocol, api].map(|body| body.to_string()) {
        assert!(!body.contains("metadata") && !body.contains("tags"), "{body}");
    }
    let causes = logged_causes("no such table: tags");
    assert_eq!(causes.len(), 2, "{causes:?}");
    for cause in causes {
        assert!(cause.starts_with("the metadata store failed: no such table: tags"), "{cause}");
    }
}

#[tokio::test]
async fn hides_an_error_of_the_file_system_from_clients_and_logs_it() {
    Log::of_all();
    let server = Server::with(|setup| setup.files = true).await;
    let uploads = server.metadata_dir.path().join("blobs/uploads");
    std::fs::remove_dir_all(&uploads).expect("removed");
    std::fs::write(&uploads, "not a folder").expect("written");
    let content = b"content";
    let push = server.post(&format!("/v2/broken/disk/blobs/uploads/?digest={}", digest(content)));
    let response = push.body(content.to_vec()).send().await.expect("a response");
    assert_eq!(response.status(), 500);
    let body: Value = response.json().await.expect("JSON");
    assert_eq!(body["errors"][0]["message"], "internal error; see the log of the registry");
    assert!(!body.to_string().contains("directory"), "{body}");
    assert_eq!(logged_causes("os error 20"), ["the store failed: Not a directory (os error 20)"]);
}
