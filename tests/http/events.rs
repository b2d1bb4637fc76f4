//! Tests of the API's list of events.

use orlop::clock::Clock;
use orlop::http::api::{Page, StoreEvent};
use orlop::metadata::{EventKind, Integrity};
use serde_json::json;

use crate::api::{get, open_server, problem};
use crate::kit::*;

const POLICY: &str = "/api/v1/retention/policies/mine";

#[tokio::test]
async fn lists_a_quarantined_blob_and_its_repair() {
    let server = open_server().await;
    server.push_image("team/app", "v1", b"layer").await;
    let layer = digest(b"layer");
    let metadata = server.registry.metadata();
    let key = metadata.stored_blob(&layer).await.expect("metadata").expect("stored").key;
    let damaged = Integrity::Damaged("it hashes to something else".into());
    assert!(metadata.mark_blob(&key, damaged, server.clock.now()).await.expect("marked"));
    server.push("other", b"layer").await;
    let page: Page<StoreEvent> = get(&server, "/api/v1/events").await;
    let [healed, damaged] = page.items.as_slice() else { panic!("{page:?}") };
    assert_eq!((healed.kind, damaged.kind), (EventKind::BlobHealed, EventKind::BlobDamaged));
    let facts = json!({ "digest": layer.as_str(), "reason": "it hashes to something else" });
    assert_eq!(json!(damaged.facts), facts);
    assert!(damaged.message.contains("quarantined until it is pushed again"), "{}", damaged.message);
    assert_eq!(json!(healed.facts), json!({ "digest": layer.as_str(), "repository": "other" }));
    assert_eq!(damaged.at.to_string(), "1970-01-12T13:46:40.000Z");
}

#[tokio::test]
async fn lists_events_newest_first_by_kind_and_page() {
    let server = open_server().await;
    let policy = json!({ "rules": [{ "name": "all", "action": "keep" }], "repositories": ["**"] });
    for _ in 0..2 {
        assert_eq!(server.put(POLICY).json(&policy).send().await.expect("answer").status(), 200);
        assert_eq!(server.delete(POLICY).send().await.expect("answer").status(), 204);
    }
    let kinds = async |path: &str| -> (Vec<EventKind>, Option<String>) {
        let page: Page<StoreEvent> = get(&server, path).await;
        (page.items.iter().map(|event| event.kind).collect(), page.next)
    };
    use EventKind::{PolicyRemoved, PolicySet};
    let all = [PolicyRemoved, PolicySet, PolicyRemoved, PolicySet];
    assert_eq!(kinds("/api/v1/events").await, (all.into(), None));
    let (first, next) = kinds("/api/v1/events?limit=3").await;
    assert_eq!(first, all[..3]);
    let rest = kinds(&format!("/api/v1/events?limit=3&after={}", next.expect("more"))).await;
    assert_eq!(rest, (vec![PolicySet], None));
    let (set, next) = kinds("/api/v1/events?kind=policy-set&limit=1").await;
    assert_eq!(set, [PolicySet]);
    let path = format!("/api/v1/events?kind=policy-set&limit=1&after={}", next.expect("more"));
    assert_eq!(kinds(&path).await, (vec![PolicySet], None));
    assert_eq!(kinds("/api/v1/events?kind=disk-full").await, (vec![], None));
}

#[tokio::test]
async fn rejects_unknown_kinds_and_pages() {
    let server = open_server().await;
    for query in ["kind=", "kind=fire", "limit=0", "limit=1001", "after=x", "before=1"] {
        problem(server.get(&format!("/api/v1/events?{query}")), 400).await;
    }
}
