//! Tests quotas after random sequences of operations. The reported usage equals an independent count and never
//! exceeds the quota, and no operation that fits is rejected.

use std::collections::BTreeMap;

use futures_util::future;
use orlop::clock::Timestamp;
use orlop::metadata::{Change, OverQuota, Quota, QuotaUse, Scope, TagExpiry};
use orlop::oci::{Algorithm, Digest, Reference, Tag, UploadId};
use orlop::registry::{
    BlobError, PutManifestError, Repository, RepositoryError, ServiceError, UndoError, UploadError,
};
use proptest::prelude::*;
use rusqlite::Connection;

use crate::kit::{Kit, LEASE, body, digest, image, put};

const REPOS: [&str; 5] = ["team/one", "team/two", "team/new", "other", "other/new"];
const TAGS: [&str; 3] = ["v1", "v2", "v3"];

/// The blob sizes.
const SIZES: [usize; 5] = [0, 100, 1000, 3000, 6000];

#[derive(Debug, Clone)]
enum Step {
    Push { repo: usize, blob: usize },
    PushTogether { repo: usize, blobs: Vec<usize> },
    StartUpload { repo: usize, bytes: usize },
    Append { upload: usize, bytes: usize },
    Cancel { upload: usize },
    Finish { upload: usize },
    Mount { repo: usize, blob: usize },
    Image { repo: usize, blobs: Vec<usize>, tag: Option<usize> },
    PointTag { image: usize, tag: usize },
    DeleteManifest { image: usize },
    DeleteTag { repo: usize, tag: usize },
    DeleteBlob { repo: usize, blob: usize },
    TagExpiry { repo: usize, tag: usize },
    RestoreManifest { image: usize },
    RestoreTag { repo: usize, tag: usize },
    Rollback { repo: usize, tag: usize },
    EmptyTrash { repo: usize },
    Rename { from: usize, to: usize },
    DeleteRepository { repo: usize },
    RestoreRepository { repo: usize },
    Pass { seconds: u64 },
    Checkpoint,
    Collect,
    ForgetRepositories,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let repo = || 0..REPOS.len();
    let blob = || 0..SIZES.len();
    let tag = || 0..TAGS.len();
    let nth = || 0..8_usize;
    let bytes = || prop_oneof![Just(1_usize), Just(500), Just(2000), Just(7000)];
    prop_oneof![
        6 => (repo(), blob()).prop_map(|(repo, blob)| Step::Push { repo, blob }),
        2 => (repo(), proptest::collection::vec(blob(), 2..5))
            .prop_map(|(repo, blobs)| Step::PushTogether { repo, blobs }),
        3 => (repo(), bytes()).prop_map(|(repo, bytes)| Step::StartUpload { repo, bytes }),
        3 => (nth(), bytes()).prop_map(|(upload, bytes)| Step::Append { upload, bytes }),
        1 => nth().prop_map(|upload| Step::Cancel { upload }),
        1 => nth().prop_map(|upload| Step::Finish { upload }),
        2 => (repo(), blob()).prop_map(|(repo, blob)| Step::Mount { repo, blob }),
        8 => (repo(), proptest::collection::vec(blob(), 1..3), proptest::option::of(tag()))
            .prop_map(|(repo, blobs, tag)| Step::Image { repo, blobs, tag }),
        2 => (nth(), tag()).prop_map(|(image, tag)| Step::PointTag { image, tag }),
        3 => nth().prop_map(|image| Step::DeleteManifest { image }),
        2 => (repo(), tag()).prop_map(|(repo, tag)| Step::DeleteTag { repo, tag }),
        1 => (repo(), blob()).prop_map(|(repo, blob)| Step::DeleteBlob { repo, blob }),
        1 => (repo(), tag()).prop_map(|(repo, tag)| Step::TagExpiry { repo, tag }),
        2 => nth().prop_map(|image| Step::RestoreManifest { image }),
        1 => (repo(), tag()).prop_map(|(repo, tag)| Step::RestoreTag { repo, tag }),
        1 => (repo(), tag()).prop_map(|(repo, tag)| Step::Rollback { repo, tag }),
        1 => repo().prop_map(|repo| Step::EmptyTrash { repo }),
        2 => (repo(), repo()).prop_map(|(from, to)| Step::Rename { from, to }),
        1 => repo().prop_map(|repo| Step::DeleteRepository { repo }),
        1 => repo().prop_map(|repo| Step::RestoreRepository { repo }),
        4 => prop_oneof![Just(50_u64), Just(101), Just(601), Just(1001), Just(5001)]
            .prop_map(|seconds| Step::Pass { seconds }),
        2 => Just(Step::Checkpoint),
        2 => Just(Step::Collect),
        1 => Just(Step::ForgetRepositories),
        1 => Just(Step::Restart),
    ]
}

fn quotas() -> Vec<Quota> {
    let of = |scope: &str| Quota::of(scope.parse().expect("a scope"));
    vec![
        Quota { bytes: Some(24_000), ..of("") },
        Quota { bytes: Some(12_000), tags: Some(3), repositories: Some(2), ..of("team/") },
        Quota { bytes: Some(8000), tags: Some(2), ..of("team/one") },
        Quota { tags: Some(2), ..of("other") },
    ]
}

/// The usage of a scope, counted independently of the registry.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counted {
    bytes: u64,
    tags: u64,
    repositories: u64,
}

struct World {
    kit: Option<Kit>,
    /// Open uploads: their repository and content.
    uploads: BTreeMap<UploadId, (usize, Vec<u8>)>,
    images: Vec<(usize, Digest)>,
}

impl World {
    async fn new() -> Self {
        let kit = Kit::with(|settings| settings.quotas = quotas());
        kit.registry.enforce_quotas().await.expect("set");
        Self { kit: Some(kit), uploads: BTreeMap::new(), images: Vec::new() }
    }

    fn kit(&self) -> &Kit {
        self.kit.as_ref().expect("it exists between restarts")
    }

    fn repo(&self, repo: usize) -> Repository {
        self.kit().repo(REPOS[repo])
    }

    fn nth_image(&self, nth: usize) -> Option<(usize, Digest)> {
        let at = nth.checked_rem(self.images.len())?;
        self.images.get(at).cloned()
    }

    fn nth_upload(&self, nth: usize) -> Option<UploadId> {
        let at = nth.checked_rem(self.uploads.len())?;
        self.uploads.keys().nth(at).copied()
    }

    #[expect(clippy::too_many_lines, reason = "one arm for each kind of step")]
    async fn apply(&mut self, step: Step) {
        match step {
            Step::Push { repo, blob } => {
                let before = self.count_all();
                let pushed = push(self.repo(repo), content(blob)).await;
                self.check_rejection(repo, &before, SIZES[blob] as u64, pushed);
            }
            Step::PushTogether { repo, blobs } => {
                let pushes = blobs.into_iter().map(|blob| push(self.repo(repo), content(blob)));
                future::join_all(pushes).await;
            }
            Step::StartUpload { repo, bytes } => {
                let Ok(id) = self.repo(repo).start_upload(Algorithm::Sha256).await else { return };
                self.uploads.insert(id, (repo, Vec::new()));
                self.append(id, bytes).await;
            }
            Step::Append { upload, bytes } => {
                if let Some(id) = self.nth_upload(upload) {
                    self.append(id, bytes).await;
                }
            }
            Step::Cancel { upload } => {
                if let Some(id) = self.nth_upload(upload) {
                    let (repo, _) = self.uploads.remove(&id).expect("known");
                    self.repo(repo).cancel_upload(id).await.expect("it was open");
                }
            }
            Step::Finish { upload } => {
                if let Some(id) = self.nth_upload(upload) {
                    let (repo, bytes) = self.uploads.remove(&id).expect("known");
                    let finished = self.repo(repo).finish(id, None, body(&[]), digest(&bytes)).await;
                    finished.expect("all of it fitted");
                }
            }
            Step::Mount { repo, blob } => {
                let before = self.count_all();
                match self.repo(repo).mount(&digest(&content(blob)), None).await {
                    Ok(_) => {}
                    Err(BlobError::Service(ServiceError::OverQuota(over))) => {
                        self.check_rejection(repo, &before, SIZES[blob] as u64, Err(over));
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            Step::Image { repo, blobs, tag } => self.push_image(repo, &blobs, tag).await,
            Step::PointTag { image, tag: name } => {
                if let Some((repo, digest)) = self.nth_image(image) {
                    let _ = self.repo(repo).point_tag(tag(name), &digest).await;
                }
            }
            Step::DeleteManifest { image } => {
                if let Some((repo, digest)) = self.nth_image(image) {
                    let _ = self.repo(repo).delete_manifest(&digest).await;
                }
            }
            Step::DeleteTag { repo, tag: name } => drop(self.repo(repo).delete_tag(&tag(name)).await),
            Step::DeleteBlob { repo, blob } => {
                let _ = self.repo(repo).delete_blob(&digest(&content(blob))).await;
            }
            Step::TagExpiry { repo, tag } => self.expire_tag(repo, tag).await,
            Step::RestoreManifest { image } => {
                if let Some((repo, digest)) = self.nth_image(image) {
                    assert_no_service_error(self.repo(repo).restore_manifest(&digest).await);
                }
            }
            Step::RestoreTag { repo, tag: name } => {
                assert_no_service_error(self.repo(repo).restore_tag(&tag(name)).await);
            }
            Step::Rollback { repo, tag: name } => {
                assert_no_service_error(self.repo(repo).rollback(&tag(name), None).await);
            }
            Step::EmptyTrash { repo } => {
                let name = REPOS[repo].parse().expect("a name");
                self.kit().registry.empty_whole_trash(Some(&name)).await.expect("emptied");
            }
            Step::Rename { from, to } => match self.repo(from).rename(self.repo(to).name()).await {
                Ok(()) => {
                    for (repo, _) in &mut self.images {
                        *repo = if *repo == from {
                            to
                        } else if *repo == to {
                            from
                        } else {
                            *repo
                        };
                    }
                }
                Err(RepositoryError::Service(ServiceError::OverQuota(_)) | RepositoryError::Unknown) => {}
                Err(RepositoryError::Service(error)) => panic!("{error}"),
                Err(_) => {}
            },
            Step::DeleteRepository { repo } => {
                let _ = self.repo(repo).delete().await;
                self.advance_repository_work().await;
            }
            Step::RestoreRepository { repo } => {
                let _ = self.repo(repo).restore(None).await;
                self.advance_repository_work().await;
            }
            Step::Pass { seconds } => self.kit().clock.advance(std::time::Duration::from_secs(seconds)),
            Step::Checkpoint => self.kit().registry.checkpoint_uploads(true).await,
            Step::Collect => drop(self.kit().collector.run_to_end(|_| {}).await.expect("collected")),
            Step::ForgetRepositories => {
                let _ = self.kit().registry.forget_empty_repositories(0).await.expect("swept");
            }
            Step::Restart => self.restart().await,
        }
    }

    async fn restart(&mut self) {
        let kit = self.kit.take().expect("it exists");
        kit.registry.checkpoint_uploads(true).await;
        let kit = kit.restarted().await;
        kit.registry.enforce_quotas().await.expect("set");
        self.kit = Some(kit);
    }

    async fn advance_repository_work(&self) {
        while self.kit().registry.advance_repository_work(2).await.expect("metadata").is_some() {}
    }

    async fn append(&mut self, id: UploadId, bytes: usize) {
        let before = self.count_all();
        let (repo, _) = self.uploads[&id];
        let more = vec![7; bytes];
        let outcome = match self.repo(repo).append(id, None, body(&[&more])).await {
            Ok(_) => {
                self.uploads.get_mut(&id).expect("known").1.extend(more);
                Ok(())
            }
            Err(UploadError::Service(ServiceError::OverQuota(over))) => Err(over),
            Err(error) => panic!("{error}"),
        };
        self.check_rejection(repo, &before, bytes as u64, outcome);
    }

    async fn push_image(&mut self, repo: usize, blobs: &[usize], tag: Option<usize>) {
        for blob in blobs {
            if push(self.repo(repo), content(*blob)).await.is_err() {
                return;
            }
        }
        let digests: Vec<Digest> = blobs.iter().map(|blob| digest(&content(*blob))).collect();
        let text = image(&digests[0], &digests[1..].iter().collect::<Vec<_>>());
        let tags: Vec<&str> = tag.iter().map(|tag| TAGS[*tag]).collect();
        match put(&self.repo(repo), &tags, &text).await {
            Ok(accepted) if !self.images.contains(&(repo, accepted.clone())) => {
                self.images.push((repo, accepted));
            }
            Ok(_) | Err(PutManifestError::Service(ServiceError::OverQuota(_))) => {}
            Err(error) => panic!("{error}"),
        }
    }

    async fn expire_tag(&self, repo: usize, name: usize) {
        let handle = self.repo(repo);
        let now: Timestamp = orlop::clock::Clock::now(&*self.kit().clock);
        let Ok(found) = handle.without_push().manifest(&Reference::Tag(tag(name))).await else { return };
        let expiry = TagExpiry {
            repo: handle.name().clone(),
            tag: tag(name),
            digest: found.digest.clone(),
            updated_at: found.tagged_at.expect("by its tag"),
            pulled_before: None,
            attached_to: None,
            lease: LEASE,
            change: Change::from(now).because("a policy"),
        };
        self.kit().registry.expire_tag(expiry).await.expect("metadata");
    }

    /// Checks that a rejected operation really exceeded a quota, given the usage before it.
    fn check_rejection(
        &self,
        repo: usize,
        before: &[(QuotaUse, Counted)],
        wanted: u64,
        outcome: Result<(), OverQuota>,
    ) {
        let Err(over) = outcome else { return };
        let name = REPOS[repo].parse().expect("a name");
        let is_exceeded = |(found, counted): &(QuotaUse, Counted)| {
            let over_bytes = found.quota.bytes.is_some_and(|limit| counted.bytes + wanted > limit);
            let over_names = found.quota.repositories.is_some_and(|limit| counted.repositories + 1 > limit);
            found.quota.scope.includes(&name) && (over_bytes || over_names)
        };
        assert!(before.iter().any(is_exceeded), "{over}: {before:?}");
    }

    /// The reported usage of each quota, with the independent count.
    fn count_all(&self) -> Vec<(QuotaUse, Counted)> {
        let reported = futures_util::FutureExt::now_or_never(self.kit().registry.quota_use(None));
        let reported = reported.expect("it does not wait").expect("read");
        reported.into_iter().map(|found| (found.clone(), self.count(&found.quota.scope))).collect()
    }

    fn count(&self, scope: &Scope) -> Counted {
        let database = Connection::open(self.kit().metadata_dir.path().join("orlop.db")).expect("opened");
        let number = |sql: &str, repo: i64| -> u64 {
            database.query_row(sql, [repo], |row| row.get::<_, i64>(0)).expect(sql).cast_unsigned()
        };
        let mut names = database.prepare("SELECT id, name FROM repositories").expect("prepared");
        let names = names.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)));
        let mut counted = Counted::default();
        for row in names.expect("rows") {
            let (repo, name) = row.expect("a row");
            if !scope.includes(&name.parse().expect("a name")) {
                continue;
            }
            counted.repositories += 1;
            counted.tags += number("SELECT count(*) FROM tags WHERE repo = ?1", repo);
            counted.bytes += number(
                "SELECT coalesce(sum(b.size), 0) FROM links l JOIN blobs b ON b.digest = l.digest
                 WHERE l.repo = ?1",
                repo,
            );
            counted.bytes +=
                number("SELECT coalesce(sum(length(content)), 0) FROM manifests WHERE repo = ?1", repo);
        }
        let uploads =
            self.uploads.values().filter(|(repo, _)| scope.includes(&REPOS[*repo].parse().expect("a name")));
        counted.bytes += uploads.map(|(_, bytes)| bytes.len() as u64).sum::<u64>();
        counted
    }

    /// Forgets uploads that have ended because they were idle or because of a quota.
    async fn forget_ended_uploads(&mut self) {
        let metadata = self.kit().registry.metadata();
        let mut ended = Vec::new();
        for id in self.uploads.keys() {
            if metadata.upload_status(*id).await.expect("metadata").is_none() {
                ended.push(*id);
            }
        }
        self.uploads.retain(|id, _| !ended.contains(id));
    }

    async fn check(&mut self) {
        self.forget_ended_uploads().await;
        for (reported, counted) in self.count_all() {
            let used =
                Counted { bytes: reported.bytes, tags: reported.tags, repositories: reported.repositories };
            assert_eq!(used, counted, "{reported:?}");
            assert_eq!(reported.exceeded().next(), None);
        }
        let problems = self.kit().registry.metadata().verify().await.expect("verified");
        assert!(problems.is_empty(), "{problems:?}");
    }
}

fn tag(name: usize) -> Tag {
    TAGS[name].parse().expect("a tag")
}

fn content(blob: usize) -> Vec<u8> {
    (0..SIZES[blob]).map(|at| (at * 7 + blob) as u8).collect()
}

async fn push(repo: Repository, content: Vec<u8>) -> Result<(), OverQuota> {
    let pushed = async {
        let id = repo.start_upload(Algorithm::Sha256).await?;
        repo.finish(id, None, body(&[&content]), digest(&content)).await
    };
    match pushed.await {
        Ok(()) => Ok(()),
        Err(UploadError::Service(ServiceError::OverQuota(over))) => Err(over),
        Err(error) => panic!("{error}"),
    }
}

/// Panics if the operation failed with a service error other than a quota.
fn assert_no_service_error<T>(outcome: Result<T, UndoError>) {
    match outcome {
        Err(UndoError::Service(ServiceError::OverQuota(_))) => {}
        Err(UndoError::Service(error)) => panic!("{error}"),
        Ok(_) | Err(_) => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn quotas_hold_after_any_sequence(steps in proptest::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        runtime.block_on(async {
            let mut world = World::new().await;
            for step in steps {
                world.apply(step).await;
                world.check().await;
            }
        });
    }
}
