//! Tests that storage accounting is exact on a real filesystem. After any sequence of operations the reported
//! usage equals the disk usage, and the predicted freed space equals the space that is freed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use orlop::clock::{Clock, ManualClock, Timestamp};
use orlop::jobs::retention::{Retention, RetentionSettings};
use orlop::jobs::{Collector, CollectorSettings};
use orlop::metadata::Scope;
use orlop::metadata::{Access as MetadataAccess, Metadata};
use orlop::oci::{Algorithm, Digest, RepoName};
use orlop::registry::{Access, Registry, Repository, Settings};
use orlop::reports::Reports;
use orlop::store::{self, FilesystemStore};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::kit::{LEASE, TRASH, UNTAGGED, body, digest, image, push, put};

const REPOS: [&str; 3] = ["team/one", "team/two", "other"];

/// The blob sizes: empty, below a block, exactly one block, and above.
const SIZES: [usize; 6] = [0, 1, 4096, 5000, 70_000, 300_000];

#[derive(Debug, Clone)]
enum Step {
    Push(usize, usize),
    Mount(usize, usize),
    Image(usize, Vec<usize>, u8),
    Delete(usize),
    StartUpload(usize, usize),
    Pass(u64),
    Collect,
}

fn step() -> impl Strategy<Value = Step> {
    let repo = || 0..REPOS.len();
    let blob = || 0..SIZES.len();
    prop_oneof![
        4 => (repo(), blob()).prop_map(|(repo, blob)| Step::Push(repo, blob)),
        2 => (repo(), blob()).prop_map(|(repo, blob)| Step::Mount(repo, blob)),
        6 => (repo(), proptest::collection::vec(blob(), 1..4), 0..3_u8)
            .prop_map(|(repo, blobs, tag)| Step::Image(repo, blobs, tag)),
        2 => (0..8_usize).prop_map(Step::Delete),
        1 => (repo(), blob()).prop_map(|(repo, blob)| Step::StartUpload(repo, blob)),
        2 => prop_oneof![Just(50), Just(101), Just(1001)].prop_map(Step::Pass),
        2 => Just(Step::Collect),
    ]
}

struct World {
    data: TempDir,
    clock: Arc<ManualClock>,
    registry: Arc<Registry>,
    collector: Arc<Collector>,
    images: Vec<(usize, Digest)>,
}

impl World {
    fn new() -> Self {
        let data = TempDir::new().expect("temporary folder");
        let clock = Arc::new(ManualClock::at(Timestamp(1_000_000_000)));
        let store = FilesystemStore::open(data.path(), store::Access::ReadWrite).expect("store");
        let metadata =
            Metadata::open(&data.path().join("metadata"), MetadataAccess::ReadWrite).expect("metadata");
        let settings = Settings { lease: LEASE, min_free: 0, warn_free: 0, ..Settings::default() };
        let shared: Arc<dyn Clock> = clock.clone();
        let registry = Registry::new(Arc::new(store), Arc::new(metadata), shared, settings);
        let rules = CollectorSettings {
            trash: TRASH,
            untagged: Some(UNTAGGED),
            upload_expiry: Duration::from_secs(300),
            batch: 7,
        };
        let collector = Arc::new(Collector::new(Arc::clone(&registry), rules));
        Self { data, clock, registry, collector, images: Vec::new() }
    }

    fn repo(&self, repo: usize) -> Repository {
        self.registry.repository(REPOS[repo].parse().expect("a name"), Access { push: true })
    }

    async fn apply(&mut self, step: Step) {
        match step {
            Step::Push(repo, blob) => drop(push(&self.repo(repo), &content(blob)).await),
            Step::Mount(repo, blob) => {
                drop(self.repo(repo).mount(&digest(&content(blob)), None).await.expect("no error"));
            }
            Step::Image(repo, blobs, tag) => self.push_image(repo, &blobs, tag).await,
            Step::Delete(nth) => self.delete_image(nth).await,
            Step::StartUpload(repo, blob) => {
                let id = self.repo(repo).start_upload(Algorithm::Sha256).await.expect("started");
                self.repo(repo).append(id, None, body(&[&content(blob)])).await.expect("appended");
            }
            Step::Pass(seconds) => self.clock.advance(Duration::from_secs(seconds)),
            Step::Collect => drop(self.collector.run_to_end(|_| {}).await.expect("collected")),
        }
    }

    async fn push_image(&mut self, repo: usize, blobs: &[usize], tag: u8) {
        let handle = self.repo(repo);
        let mut layers = Vec::new();
        for blob in blobs {
            layers.push(push(&handle, &content(*blob)).await);
        }
        let text = image(&layers[0], &layers[1..].iter().collect::<Vec<_>>());
        let accepted = put(&handle, &[&format!("v{tag}")], &text).await.expect("accepted");
        if !self.images.contains(&(repo, accepted.clone())) {
            self.images.push((repo, accepted));
        }
    }

    async fn delete_image(&mut self, nth: usize) {
        if !self.images.is_empty() {
            let (repo, digest) = self.images.remove(nth % self.images.len());
            // The manifest may have lost its tag and expired since, so the result doesn't matter.
            let _ = self.repo(repo).delete_manifest(&digest).await;
        }
    }

    /// Checks that the reported sizes equal the disk usage.
    async fn check(&self) {
        let stored = self.registry.stored().await.expect("read");
        let reported = stored.blobs + stored.pending_deletion + stored.directories;
        assert_eq!(reported, disk_usage(&self.data.path().join("blobs")), "{stored:?}");
        let uploads = self.data.path().join("uploads");
        assert_eq!(stored.staged, disk_usage(&uploads) - blocks(&uploads), "{stored:?}");
        assert!(stored.database > 0);
        let problems = self.registry.metadata().verify().await.expect("verified");
        assert!(problems.is_empty(), "{problems:?}");
    }

    async fn expire_everything(&self) {
        for _ in 0..3 {
            self.clock.advance(UNTAGGED + TRASH + LEASE + LEASE);
            self.collector.run_to_end(|_| {}).await.expect("collected");
        }
    }

    async fn allocated(&self) -> u64 {
        self.registry.stored().await.expect("read").blobs
    }

    /// Deletes every second image and checks that the predicted space is freed.
    async fn check_freed_space(&mut self) {
        self.expire_everything().await;
        let deleted: Vec<_> = self.images.iter().step_by(2).cloned().collect();
        let named: Vec<(RepoName, Digest)> = deleted
            .iter()
            .map(|(repo, digest)| (REPOS[*repo].parse().expect("a name"), digest.clone()))
            .collect();
        let predicted = self.registry.metadata().would_free(named).await.expect("read");
        let before = self.allocated().await;
        for (repo, digest) in &deleted {
            let _ = self.repo(*repo).delete_manifest(digest).await;
        }
        self.expire_everything().await;
        assert_eq!(before - self.allocated().await, predicted);
    }

    /// Checks that the exclusive bytes of a scope are what removing only this scope would free.
    async fn check_usage(&self) {
        let metadata = self.registry.metadata();
        let all = metadata.usage(&Scope::All).await.expect("read");
        assert_eq!(all.allocated, self.allocated().await);
        let scope = |text: &str| text.parse::<Scope>().expect("a scope");
        let team = metadata.usage(&scope("team/")).await.expect("read");
        let other = metadata.usage(&scope("other")).await.expect("read");
        assert_eq!(team.exclusive + other.allocated, all.allocated);
        assert_eq!(other.exclusive + team.allocated, all.allocated);
        assert_eq!(team.logical + other.logical, all.logical);
        let settings = RetentionSettings { batch: 7 };
        let retention = Arc::new(Retention::new(Arc::clone(&self.registry), Arc::default(), settings));
        let reports = Reports::new(Arc::clone(&self.registry), Arc::clone(&self.collector), retention);
        let report = reports.usage(&Scope::All, |_| true).await.expect("read");
        assert_eq!(report.usage, all);
        let sum: u64 = report.repositories.iter().map(|repository| repository.usage.bytes).sum();
        assert_eq!(sum, all.logical);
    }
}

fn content(blob: usize) -> Vec<u8> {
    (0..SIZES[blob]).map(|at| (at * 7 + blob) as u8).collect()
}

fn blocks(path: &Path) -> u64 {
    fs::metadata(path).expect("there").blocks() * 512
}

/// The disk usage of a tree, as `du -s --block-size=1` prints it.
fn disk_usage(path: &Path) -> u64 {
    let below = |entry: std::io::Result<fs::DirEntry>| disk_usage(&entry.expect("an entry").path());
    let entries = if path.is_dir() { fs::read_dir(path).expect("listed").map(below).sum() } else { 0 };
    blocks(path) + entries
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn accounting_is_exact(steps in proptest::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        runtime.block_on(async {
            let mut world = World::new();
            for step in steps {
                world.apply(step).await;
                world.check().await;
            }
            world.check_usage().await;
            world.check_freed_space().await;
            world.check().await;
        });
    }
}
