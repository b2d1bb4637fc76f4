//! Quotas.

use super::scene::SIZE;
use super::*;
use crate::metadata::{
    Commit, Metered, Mount, OverQuota, PutOutcome, Quota, Renaming, Restoration, TagReturn, UploadCreation,
    UploadEnd,
};
use crate::oci::{Algorithm, BlobKey, Generation, UploadId};

fn quota(scope: &str, bytes: Option<u64>, tags: Option<u64>) -> Quota {
    Quota { bytes, tags, ..Quota::of(scope.parse().expect("a scope")) }
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
    assert_eq!(used(s, "app").await, (SIZE + 1, 1));
    let held = s.store.quotas(Some(&repo("app"))).await.expect("an answer");
    assert_eq!(held.len(), 1);
    assert!(matches!(commit(s, "app", "b").await, Commit::Refused(_)));
    set(s, &[]).await;
    assert_eq!(commit(s, "app", "b").await, Commit::Done);
    assert_eq!(s.store.quotas(None).await.expect("an answer"), []);
}

/// The bytes of manifests count, once in each repository and until they are purged.
pub async fn a_quota_of_bytes_counts_manifests(s: &Scene) {
    set(s, &[quota("team/", Some(10), None)]).await;
    s.put("team/a", image("four"), 0).await;
    s.put("team/a", image("four").tag("v1"), 0).await;
    s.put("team/b", image("four"), 0).await;
    let refused = s.try_put("team/b", image("three"), 0).await;
    let PutOutcome::Refused(over) = refused else { panic!("{refused:?}") };
    assert_eq!((over.of, over.used, over.wanted, over.limit), (Metered::Bytes, 8, 5, 10));
    assert!(!s.has("team/b", "three").await);
    s.put("team/b", image("2b"), 0).await;
    s.delete("team/a", "four", 0).await;
    assert_eq!(used(s, "team/").await, (10, 0));
    s.collect(rules(100)).await;
    assert_eq!(used(s, "team/").await, (6, 0));
    s.put("team/a", image("four"), 100).await;
}

/// A name counts from its first upload or manifest on, until nothing is left of it.
pub async fn a_quota_of_names_is_kept(s: &Scene) {
    let scope = "team/".parse().expect("a scope");
    set(s, &[Quota { repositories: Some(2), ..Quota::of(scope) }]).await;
    s.begin("team/a", 0).await;
    s.put("team/b", image("b"), 0).await;
    s.put("other", image("a"), 0).await;
    let begun = s.store.create_upload(&repo("team/c"), UploadId::random(), Algorithm::Sha256, at(0)).await;
    let Ok(UploadCreation::Refused(over)) = begun else { panic!("{begun:?}") };
    assert_eq!((over.of, over.used, over.wanted, over.limit), (Metered::Repositories, 2, 1, 2));
    assert!(matches!(s.try_put("team/c", image("c"), 0).await, PutOutcome::Refused(_)));
    s.push("other", "blob", 0).await;
    let mounted = s.store.mount_blob(&repo("team/c"), &digest("blob"), None, at(0)).await.expect("an answer");
    assert!(matches!(mounted, Mount::Refused(_)));
    let renamed = s.store.rename_repository(&repo("other"), &repo("team/c"), &at(0).into()).await;
    assert!(matches!(renamed, Ok(Renaming::Refused(_))));
    assert!(s.has("other", "a").await);
    s.put("team/b", image("c").tag("v1"), 0).await;
    s.begin("team/a", 0).await;
}

/// What comes back or gets another name passes no quota either.
pub async fn a_quota_holds_for_restores_and_renames(s: &Scene) {
    s.put("team/app", image("a").tag("v1").tag("v2"), 0).await;
    s.put("team/app", image("b").tag("v3"), 0).await;
    s.untag("team/app", "v3", 1).await;
    s.delete("team/app", "a", 1).await;
    s.put("other/app", image("twelve bytes").tag("v1"), 0).await;
    set(s, &[quota("team/", Some(10), Some(1))]).await;
    let restored = s.store.restore_manifest(&repo("team/app"), &digest("a"), &at(2).into()).await;
    assert!(matches!(restored, Ok(Restoration::Refused(OverQuota { of: Metered::Tags, .. }))));
    assert!(!s.has("team/app", "a").await);
    let restored = s.store.restore_tag(&repo("team/app"), &tag("v3"), &at(2).into()).await;
    assert!(matches!(restored, Ok(TagReturn::Done { .. })));
    let restored = s.store.restore_tag(&repo("team/app"), &tag("v1"), &at(2).into()).await;
    assert!(matches!(restored, Ok(TagReturn::Refused(_))));
    s.untag("team/app", "v3", 3).await;
    let renamed = s.store.rename_repository(&repo("other/app"), &repo("team/other"), &at(3).into()).await;
    assert!(matches!(
        renamed,
        Ok(Renaming::Refused(OverQuota { of: Metered::Bytes, used: 2, wanted: 12, .. }))
    ));
    let renamed = s.store.rename_repository(&repo("team/app"), &repo("team/new"), &at(3).into()).await;
    assert_eq!(renamed.expect("an answer"), Renaming::Done);
    assert_eq!(used(s, "team/").await, (2, 0));
}

/// What is over a quota stays, and only growth is refused.
pub async fn what_exceeds_a_new_quota_stays(s: &Scene) {
    s.put("app", image("twelve bytes").tag("v1").tag("v2"), 0).await;
    set(s, &[quota("app", Some(5), Some(1))]).await;
    let measured = s.store.measure_quotas(&[quota("app", Some(5), Some(1))]).await.expect("measured");
    assert_eq!(measured, s.store.quotas(None).await.expect("an answer"));
    let exceeded: Vec<_> = measured[0].exceeded().map(|exceeded| (exceeded.of, exceeded.used)).collect();
    assert_eq!(exceeded, [(Metered::Bytes, 12), (Metered::Tags, 2)]);
    assert!(s.tagged("app", "v2").await.is_some());
    s.put("app", image("twelve bytes").tag("v1"), 1).await;
    assert!(matches!(s.try_put("app", image("x"), 1).await, PutOutcome::Refused(_)));
    assert!(s.untag("app", "v1", 1).await);
}
