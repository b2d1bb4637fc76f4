//! Quotas.

use super::scene::SIZE;
use super::*;
use crate::metadata::{Commit, Metered, Mount, OverQuota, PutOutcome, Quota, UploadEnd};
use crate::oci::{BlobKey, Generation};

fn quota(scope: &str, bytes: Option<u64>, tags: Option<u64>) -> Quota {
    Quota { scope: scope.parse().expect("a scope"), bytes, tags }
}

async fn set(s: &Scene, quotas: &[Quota]) {
    s.store.set_quotas(quotas).await.expect("set");
}

async fn used(s: &Scene, scope: &str) -> (u64, u64) {
    let quotas = s.store.quotas(None).await.expect("an answer");
    let found = quotas.iter().find(|found| found.quota.scope.as_str() == scope).expect("it is there");
    (found.bytes, found.tags)
}

async fn commit(s: &Scene, to: &str, name: &str) -> Commit {
    let id = s.begin(to, 0).await;
    let key = BlobKey { digest: digest(name), generation: Generation::random() };
    let end = UploadEnd { now: at(0), lease: scene::DAY, shortest: scene::DAY };
    let committed = s.store.commit_upload(id, &key, scene::BLOB, end).await.expect("an answer");
    if let Commit::Refused(_) = committed {
        assert!(s.cancel(id, 0).await, "a refused upload is still there");
    }
    committed
}

/// Neither a commit nor a mount passes a quota; what is there already adds nothing.
pub async fn a_quota_of_bytes_is_kept(s: &Scene) {
    set(s, &[quota("app", Some(2 * SIZE), None)]).await;
    assert_eq!(commit(s, "app", "a").await, Commit::Done);
    assert_eq!(commit(s, "app", "b").await, Commit::Done);
    assert_eq!(commit(s, "app", "a").await, Commit::Done);
    let scope = "app".parse().expect("a scope");
    let over = OverQuota { scope, of: Metered::Bytes, used: 2 * SIZE, wanted: SIZE, limit: 2 * SIZE };
    assert_eq!(commit(s, "app", "c").await, Commit::Refused(over.clone()));
    s.push("other", "d", 0).await;
    let mounted = s.store.mount_blob(&repo("app"), &digest("d"), None, at(0)).await.expect("an answer");
    assert_eq!(mounted, Mount::Refused(over));
    let mounted = s.store.mount_blob(&repo("app"), &digest("a"), None, at(0)).await.expect("an answer");
    assert!(matches!(mounted, Mount::Done(_)));
    s.collect(rules(100)).await;
    assert_eq!(used(s, "app").await, (0, 0));
    assert_eq!(commit(s, "app", "c").await, Commit::Done);
}

/// A tag that moves is not a new one.
pub async fn a_quota_of_tags_is_kept(s: &Scene) {
    set(s, &[quota("app", None, Some(2))]).await;
    s.put("app", image("a").tag("v1").tag("v2"), 0).await;
    s.put("app", image("b").tag("v1"), 0).await;
    let refused = s.try_put("app", image("c").tag("v2").tag("v3"), 0).await;
    assert!(matches!(refused, PutOutcome::Refused(OverQuota { of: Metered::Tags, used: 2, wanted: 1, .. })));
    assert!(!s.has("app", "c").await);
    s.put("app", image("c"), 0).await;
    s.untag("app", "v2", 0).await;
    s.put("app", image("c").tag("v3"), 0).await;
}

/// Repositories below a prefix share a quota; others do not know of it.
pub async fn a_quota_is_of_its_scope(s: &Scene) {
    set(s, &[quota("", Some(4 * SIZE), None), quota("team/", Some(2 * SIZE), None)]).await;
    assert_eq!(commit(s, "team/one", "a").await, Commit::Done);
    assert_eq!(commit(s, "team/two", "a").await, Commit::Done);
    assert!(matches!(commit(s, "team/one", "b").await, Commit::Refused(_)));
    assert_eq!(commit(s, "teamwork", "b").await, Commit::Done);
    assert_eq!(commit(s, "app", "b").await, Commit::Done);
    assert!(matches!(commit(s, "app", "c").await, Commit::Refused(over) if over.scope.as_str().is_empty()));
    assert_eq!((used(s, "").await, used(s, "team/").await), ((4 * SIZE, 0), (2 * SIZE, 0)));
}

/// What is used of a new quota is added up; one that is no more holds no longer.
pub async fn quotas_are_replaced(s: &Scene) {
    s.push("app", "a", 0).await;
    s.put("app", image("i").tag("v1"), 0).await;
    set(s, &[quota("app", Some(1), Some(1)), quota("other/", None, None)]).await;
    assert_eq!(used(s, "app").await, (SIZE, 1));
    let held = s.store.quotas(Some(&repo("app"))).await.expect("an answer");
    assert_eq!(held.len(), 1);
    assert!(matches!(commit(s, "app", "b").await, Commit::Refused(_)));
    set(s, &[]).await;
    assert_eq!(commit(s, "app", "b").await, Commit::Done);
    assert_eq!(s.store.quotas(None).await.expect("an answer"), []);
}
