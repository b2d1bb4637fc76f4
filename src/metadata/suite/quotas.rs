//! Quotas.

use super::scene::SIZE;
use super::*;
use crate::metadata::{
    Commit, Mount, OverQuota, PutOutcome, Quota, QuotaResource, Reclaimed, Renaming, Restoration,
    TagRestoration, Target, UploadCreation, UploadEnd,
};
use crate::oci::{Algorithm, BlobKey, Generation, UploadId};

fn quota(scope: &str, bytes: Option<u64>, tags: Option<u64>) -> Quota {
    Quota { bytes, tags, ..Quota::of(scope.parse().expect("a scope")) }
}

async fn set_quotas(s: &Scene, quotas: &[Quota]) {
    s.store.set_quotas(quotas).await.expect("set");
}

async fn used(s: &Scene, scope: &str) -> (u64, u64) {
    let quotas = s.store.quotas(None).await.expect("an answer");
    let found = quotas.iter().find(|found| found.quota.scope.as_str() == scope).expect("it is there");
    (found.bytes, found.tags)
}

async fn commit(s: &Scene, to: &str, name: &str) -> Commit {
    let id = s.start_upload(to, 0).await;
    let key = BlobKey { digest: digest(name), generation: Generation::random() };
    let end = UploadEnd { now: at(0), lease: scene::DAY, min_lease: scene::DAY };
    let committed = s.store.commit_upload(id, &key, scene::BLOB, end).await.expect("an answer");
    if let Commit::Refused(_) = committed {
        assert!(s.cancel(id, 0).await, "a rejected upload still exists");
    }
    committed
}

/// Neither a commit nor a mount exceeds a quota; content that exists already adds nothing.
pub async fn byte_quota_is_enforced(s: &Scene) {
    set_quotas(s, &[quota("app", Some(2 * SIZE), None)]).await;
    assert_eq!(commit(s, "app", "a").await, Commit::Done);
    assert_eq!(commit(s, "app", "b").await, Commit::Done);
    assert_eq!(commit(s, "app", "a").await, Commit::Done);
    let scope = "app".parse().expect("a scope");
    let over =
        OverQuota { scope, resource: QuotaResource::Bytes, used: 2 * SIZE, requested: SIZE, limit: 2 * SIZE };
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

/// Moving a tag does not count as a new one.
pub async fn tag_quota_is_enforced(s: &Scene) {
    set_quotas(s, &[quota("app", None, Some(2))]).await;
    s.put("app", image("a").tag("v1").tag("v2"), 0).await;
    s.put("app", image("b").tag("v1"), 0).await;
    let refused = s.try_put("app", image("c").tag("v2").tag("v3"), 0).await;
    assert!(matches!(
        refused,
        PutOutcome::Refused(OverQuota { resource: QuotaResource::Tags, used: 2, requested: 1, .. })
    ));
    assert!(!s.has("app", "c").await);
    s.put("app", image("c"), 0).await;
    s.untag("app", "v2", 0).await;
    s.put("app", image("c").tag("v3"), 0).await;
}

/// Repositories below a prefix share a quota; others are not affected.
pub async fn quota_applies_to_its_scope(s: &Scene) {
    set_quotas(s, &[quota("", Some(4 * SIZE), None), quota("team/", Some(2 * SIZE), None)]).await;
    assert_eq!(commit(s, "team/one", "a").await, Commit::Done);
    assert_eq!(commit(s, "team/two", "a").await, Commit::Done);
    assert!(matches!(commit(s, "team/one", "b").await, Commit::Refused(_)));
    assert_eq!(commit(s, "teamwork", "b").await, Commit::Done);
    assert_eq!(commit(s, "app", "b").await, Commit::Done);
    assert!(matches!(commit(s, "app", "c").await, Commit::Refused(over) if over.scope.as_str().is_empty()));
    assert_eq!((used(s, "").await, used(s, "team/").await), ((4 * SIZE, 0), (2 * SIZE, 0)));
}

/// The usage of a new quota is computed; a quota that was removed no longer applies.
pub async fn quotas_are_replaced(s: &Scene) {
    s.push("app", "a", 0).await;
    s.put("app", image("i").tag("v1"), 0).await;
    set_quotas(s, &[quota("app", Some(1), Some(1)), quota("other/", None, None)]).await;
    assert_eq!(used(s, "app").await, (SIZE + 1, 1));
    let applicable = s.store.quotas(Some(&repo("app"))).await.expect("an answer");
    assert_eq!(applicable.len(), 1);
    assert!(matches!(commit(s, "app", "b").await, Commit::Refused(_)));
    set_quotas(s, &[]).await;
    assert_eq!(commit(s, "app", "b").await, Commit::Done);
    assert_eq!(s.store.quotas(None).await.expect("an answer"), []);
}

/// The bytes of manifests count once in each repository, until they are purged.
pub async fn byte_quota_counts_manifests(s: &Scene) {
    set_quotas(s, &[quota("team/", Some(10), None)]).await;
    s.put("team/a", image("four"), 0).await;
    s.put("team/a", image("four").tag("v1"), 0).await;
    s.put("team/b", image("four"), 0).await;
    let refused = s.try_put("team/b", image("three"), 0).await;
    let PutOutcome::Refused(over) = refused else { panic!("{refused:?}") };
    assert_eq!((over.resource, over.used, over.requested, over.limit), (QuotaResource::Bytes, 8, 5, 10));
    assert!(!s.has("team/b", "three").await);
    s.put("team/b", image("2b"), 0).await;
    s.delete("team/a", "four", 0).await;
    assert_eq!(used(s, "team/").await, (10, 0));
    s.collect(rules(100)).await;
    assert_eq!(used(s, "team/").await, (6, 0));
    s.put("team/a", image("four"), 100).await;
}

/// A name counts from its first upload or manifest until the repository is empty.
pub async fn repository_quota_is_enforced(s: &Scene) {
    let scope = "team/".parse().expect("a scope");
    set_quotas(s, &[Quota { repositories: Some(2), ..Quota::of(scope) }]).await;
    s.start_upload("team/a", 0).await;
    s.put("team/b", image("b"), 0).await;
    s.put("other", image("a"), 0).await;
    let created = s.store.create_upload(&repo("team/c"), UploadId::random(), Algorithm::Sha256, at(0)).await;
    let Ok(UploadCreation::Refused(over)) = created else { panic!("{created:?}") };
    assert_eq!(
        (over.resource, over.used, over.requested, over.limit),
        (QuotaResource::Repositories, 2, 1, 2)
    );
    assert!(matches!(s.try_put("team/c", image("c"), 0).await, PutOutcome::Refused(_)));
    s.push("other", "blob", 0).await;
    let mounted = s.store.mount_blob(&repo("team/c"), &digest("blob"), None, at(0)).await.expect("an answer");
    assert!(matches!(mounted, Mount::Refused(_)));
    let renamed = s.store.rename_repository(&repo("other"), &repo("team/c"), &at(0).into()).await;
    assert!(matches!(renamed, Ok(Renaming::Refused(_))));
    assert!(s.has("other", "a").await);
    s.put("team/b", image("c").tag("v1"), 0).await;
    s.start_upload("team/a", 0).await;
}

/// Restoring and renaming cannot exceed a quota, either.
pub async fn quotas_apply_to_restores_and_renames(s: &Scene) {
    s.put("team/app", image("a").tag("v1").tag("v2"), 0).await;
    s.put("team/app", image("b").tag("v3"), 0).await;
    s.untag("team/app", "v3", 1).await;
    s.delete("team/app", "a", 1).await;
    s.put("other/app", image("twelve bytes").tag("v1"), 0).await;
    set_quotas(s, &[quota("team/", Some(10), Some(1))]).await;
    let restored = s.store.restore_manifest(&repo("team/app"), &digest("a"), &at(2).into()).await;
    assert!(matches!(restored, Ok(Restoration::Refused(OverQuota { resource: QuotaResource::Tags, .. }))));
    assert!(!s.has("team/app", "a").await);
    let restored = s.store.restore_tag(&repo("team/app"), &tag("v3"), &at(2).into()).await;
    assert!(matches!(restored, Ok(TagRestoration::Done { .. })));
    let restored = s.store.restore_tag(&repo("team/app"), &tag("v1"), &at(2).into()).await;
    assert!(matches!(restored, Ok(TagRestoration::Refused(_))));
    s.untag("team/app", "v3", 3).await;
    let renamed = s.store.rename_repository(&repo("other/app"), &repo("team/other"), &at(3).into()).await;
    assert!(matches!(
        renamed,
        Ok(Renaming::Refused(OverQuota { resource: QuotaResource::Bytes, used: 2, requested: 12, .. }))
    ));
    let renamed = s.store.rename_repository(&repo("team/app"), &repo("team/new"), &at(3).into()).await;
    assert_eq!(renamed.expect("an answer"), Renaming::Done);
    assert_eq!(used(s, "team/").await, (2, 0));
}

/// Content over a quota stays; only growth is rejected.
pub async fn content_over_a_new_quota_stays(s: &Scene) {
    s.put("app", image("twelve bytes").tag("v1").tag("v2"), 0).await;
    set_quotas(s, &[quota("app", Some(5), Some(1))]).await;
    let measured = s.store.measure_quotas(&[quota("app", Some(5), Some(1))]).await.expect("measured");
    assert_eq!(measured, s.store.quotas(None).await.expect("an answer"));
    let exceeded: Vec<_> =
        measured[0].exceeded().map(|exceeded| (exceeded.resource, exceeded.used)).collect();
    assert_eq!(exceeded, [(QuotaResource::Bytes, 12), (QuotaResource::Tags, 2)]);
    assert!(s.tagged("app", "v2").await.is_some());
    s.put("app", image("twelve bytes").tag("v1"), 1).await;
    assert!(matches!(s.try_put("app", image("x"), 1).await, PutOutcome::Refused(_)));
    assert!(s.untag("app", "v1", 1).await);
}

/// Links and manifests count until they are purged.
pub async fn stored_content_is_counted(s: &Scene) {
    s.push("app", "layer", 0).await;
    s.put("app", image("a").blob("layer").tag("v1"), 0).await;
    s.delete("app", "a", 1).await;
    let is_counted =
        async |of: &str, target: Target<'_>| s.store.is_counted(&repo(of), target).await.expect("an answer");
    assert!(is_counted("app", Target::Manifest(&digest("a"))).await);
    assert!(is_counted("app", Target::Blob(&digest("layer"))).await);
    assert!(!is_counted("app", Target::Manifest(&digest("b"))).await);
    assert!(!is_counted("other", Target::Manifest(&digest("a"))).await);
    s.collect(rules(30)).await;
    assert!(!is_counted("app", Target::Manifest(&digest("a"))).await);
}

/// Trash and blobs without a lease are removed ahead of time in their scope.
pub async fn scope_is_reclaimed_ahead_of_time(s: &Scene) {
    for of in ["team/app", "other"] {
        for name in ["layer", "loose"] {
            s.push(of, name, 0).await;
        }
        s.put(of, image("a").blob("layer").tag("v1"), 0).await;
        s.delete(of, "a", 1).await;
    }
    let scope = "team/".parse().expect("a scope");
    let reclaim = async |trash| s.store.reclaim_now(&scope, &rules(27), trash, 100).await.expect("reclaimed");
    assert_eq!(reclaim(0).await, Reclaimed { manifests: 0, links: 1 });
    assert_eq!(reclaim(1).await, Reclaimed { manifests: 2, links: 0 });
    assert_eq!(reclaim(1).await, Reclaimed { manifests: 0, links: 1 });
    assert_eq!(reclaim(1).await, Reclaimed::default());
    assert_eq!(s.store.oldest_trash(9).await.expect("an answer"), [(repo("other"), digest("a"))]);
    assert!(s.has_blob("other", "loose").await && !s.has_blob("team/app", "layer").await);
}
