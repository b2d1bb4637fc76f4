//! Tests space reclamation: the store stays within its budget, and nothing is removed unnecessarily.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use orlop::clock::{Clock, ManualClock, Timestamp};
use orlop::jobs::{Collector, CollectorSettings, Evicted, Evictor, SpaceGoal, SpaceReclaimer};
use orlop::metadata::{Access as MetadataAccess, Metadata};
use orlop::metadata::{EventDetails, EventKind};
use orlop::oci::{Algorithm, Digest};
use orlop::registry::{
    Access, BudgetSettings, BudgetSize, BudgetState, Registry, Repository, ServiceError, Settings,
    UploadError,
};
use orlop::store::{self, FilesystemStore};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::events::{events, kinds};
use crate::kit::{LEASE, TRASH, body, digest, has, image, put, read, try_push};

const MIB: u64 = 1 << 20;
const SECOND: Duration = Duration::from_secs(1);

/// The lease while the store is under pressure.
const LEASE_UNDER_PRESSURE: Duration = SECOND;

/// The repository, tag and manifest of an image, and the content of its layer.
type Image = (Repository, String, Digest, Vec<u8>);

/// All pushed images, oldest first. All but the newest `keep` may be evicted.
#[derive(Default)]
struct Pushed {
    images: Mutex<Vec<Image>>,
    keep: usize,
}

#[async_trait]
impl Evictor for Pushed {
    async fn evict(&self, goal: &dyn SpaceGoal) -> Result<Evicted, ServiceError> {
        let mut evicted = Evicted::default();
        while !goal.is_reached(evicted.manifests).await? {
            let oldest = {
                let mut images = self.images.lock().expect("not poisoned");
                if images.len() <= self.keep {
                    break;
                }
                images.remove(0)
            };
            oldest.0.delete_manifest(&oldest.2).await.expect("deleted");
            evicted.manifests += 1;
        }
        Ok(evicted)
    }
}

/// The settings of a registry with a budget of `bytes`, in which pushes wait up to `wait` for space.
pub fn settings_with_budget(bytes: u64, wait: Duration) -> Settings {
    let limit = BudgetSize::Bytes(bytes);
    Settings {
        lease: LEASE,
        lease_pressure: LEASE_UNDER_PRESSURE,
        min_free: 0,
        warn_free: 0,
        budget: Some(BudgetSettings { limit, high: 80, low: 60, wait }),
        ..Settings::default()
    }
}

/// A registry on a real filesystem, with a budget.
struct World {
    data: TempDir,
    clock: Arc<ManualClock>,
    registry: Arc<Registry>,
    collector: Arc<Collector>,
    reclaimer: Arc<SpaceReclaimer>,
    pushed: Arc<Pushed>,
}

impl World {
    /// `keep` is the number of images that the policies keep, or `None` without policies.
    fn new(budget: u64, keep: Option<usize>, wait: Duration) -> Self {
        let data = TempDir::new().expect("temporary folder");
        let clock = Arc::new(ManualClock::at(Timestamp(1_000_000_000)));
        let store = FilesystemStore::open(data.path(), store::Access::ReadWrite).expect("store");
        let metadata =
            Metadata::open(&data.path().join("metadata"), MetadataAccess::ReadWrite).expect("metadata");
        let shared: Arc<dyn Clock> = clock.clone();
        let registry =
            Registry::new(Arc::new(store), Arc::new(metadata), shared, settings_with_budget(budget, wait));
        let rules = CollectorSettings { trash: TRASH, untagged: None, upload_expiry: TRASH, batch: 10 };
        let collector = Arc::new(Collector::new(Arc::clone(&registry), rules));
        let pushed = Arc::new(Pushed { keep: keep.unwrap_or(0), ..Pushed::default() });
        let evictor = keep.map(|_| Arc::clone(&pushed) as Arc<dyn Evictor>);
        let reclaimer = SpaceReclaimer::new(Arc::clone(&registry), Arc::clone(&collector), evictor);
        // Leases given before the start have ended.
        clock.advance(10 * SECOND);
        Self { data, clock, registry, collector, reclaimer: Arc::new(reclaimer), pushed }
    }

    fn repo(&self, name: &str) -> Repository {
        self.registry.repository(name.parse().expect("name"), Access { push: true })
    }

    /// Pushes an image with a layer of `size` bytes and advances the clock.
    async fn try_push(&self, repo: &Repository, number: usize, size: u64) -> Result<Digest, UploadError> {
        let config = try_push(repo, format!("{{\"image\":{number}}}").as_bytes()).await?;
        let mut content = vec![0; size as usize];
        content[..8].copy_from_slice(&(number as u64).to_be_bytes());
        let layer = try_push(repo, &content).await?;
        let tag = format!("v{number}");
        let manifest = put(repo, &[&tag, "latest"], &image(&config, &[&layer])).await.expect("accepted");
        let mut images = self.pushed.images.lock().expect("not poisoned");
        images.push((repo.clone(), tag, manifest.clone(), content));
        self.clock.advance(2 * SECOND);
        Ok(manifest)
    }

    async fn push(&self, repo: &Repository, number: usize, size: u64) -> Digest {
        match self.try_push(repo, number, size).await {
            Ok(manifest) => manifest,
            Err(error) => {
                let stored = self.registry.stored().await;
                let status = self.reclaimer.status();
                let left = self.pushed.images.lock().expect("not poisoned").len();
                panic!("image {number}: {error}; {stored:?}, {status:?}, {left} images")
            }
        }
    }

    async fn state(&self) -> BudgetState {
        self.registry.budget().await.expect("read").expect("set")
    }

    async fn assert_within_budget(&self) {
        let state = self.state().await;
        let stored = self.registry.stored().await.expect("read");
        let spent = disk_usage(self.data.path());
        assert!(stored.total() <= state.budget, "{stored:?} {state:?}");
        assert!(spent <= state.budget, "du reports {spent} {state:?} {stored:?}");
    }

    /// Checks that the newest images, which the policies keep, can be pulled completely.
    async fn assert_newest_can_be_pulled(&self) {
        let images: Vec<_> = self.pushed.images.lock().expect("not poisoned").clone();
        for (repo, tag, manifest, content) in images.iter().rev().take(self.pushed.keep) {
            assert!(has(repo, tag).await && has(repo, manifest.as_str()).await, "{tag}");
            assert_eq!(read(repo, &digest(content)).await.as_ref(), Some(content), "{tag}");
        }
    }

    async fn in_trash(&self) -> usize {
        self.registry.metadata().removed_manifests(None, None, 1000).await.expect("a page").items.len()
    }

    /// Reclaims space in the background while `work` runs.
    async fn while_reclaiming<T>(&self, work: impl Future<Output = T>) -> T {
        let reclaimer = Arc::clone(&self.reclaimer);
        let stop = CancellationToken::new();
        let token = stop.clone();
        let running = tokio::spawn(async move { reclaimer.run(token).await });
        let done = work.await;
        stop.cancel();
        running.await.expect("ended");
        done
    }
}

/// The disk usage of a tree.
fn disk_usage(path: &Path) -> u64 {
    let Ok(file) = fs::symlink_metadata(path) else {
        return 0;
    };
    let below = fs::read_dir(path).into_iter().flatten().flatten();
    file.blocks() * 512 + below.map(|entry| disk_usage(&entry.path())).sum::<u64>()
}

#[tokio::test(flavor = "multi_thread")]
async fn pushes_of_many_times_the_budget_succeed_with_eviction() {
    const IMAGES: usize = 120;
    let world = World::new(40 * MIB, Some(3), 20 * SECOND);
    let work = async {
        let repos = [world.repo("app"), world.repo("other")];
        for number in 0..IMAGES {
            world.push(&repos[number % 7 / 6], number, MIB).await;
            world.assert_within_budget().await;
        }
    };
    world.while_reclaiming(work).await;
    world.assert_newest_can_be_pulled().await;
    let left = world.pushed.images.lock().expect("not poisoned").len();
    assert!((3..IMAGES / 3).contains(&left), "{left} images are left");
    assert!(world.reclaimer.status().bytes > 70 * MIB, "{:?}", world.reclaimer.status());
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_pushes_in_time_if_nothing_can_be_evicted() {
    let world = World::new(8 * MIB, None, SECOND / 10);
    let repo = world.repo("app");
    let work = async {
        let mut accepted = Vec::new();
        let rejection = loop {
            match world.try_push(&repo, accepted.len(), MIB).await {
                Ok(manifest) => accepted.push(manifest),
                Err(error) => break error,
            }
            world.assert_within_budget().await;
        };
        let names_the_setting = matches!(&rejection, UploadError::Service(ServiceError::Full(why)) if why.contains("storage.budget"));
        assert!(names_the_setting, "{rejection}");
        assert!(accepted.len() >= 4, "{} images fit", accepted.len());
        for manifest in &accepted {
            assert!(has(&repo, manifest.as_str()).await);
        }
        for manifest in &accepted {
            repo.delete_manifest(manifest).await.expect("deletes still work");
        }
        world.clock.advance(2 * SECOND);
        world.reclaimer.reclaim_if_needed().await.expect("space is reclaimed");
        world.push(&repo, 100, MIB).await;
    };
    world.while_reclaiming(work).await;
}

#[tokio::test]
async fn records_events_when_the_budget_is_full_and_when_it_no_longer_is() {
    use EventKind::{BudgetAmple, BudgetFull, BudgetHigh};
    let world = World::new(16 * MIB, None, Duration::ZERO);
    let repo = world.repo("app");
    let check = async || world.reclaimer.reclaim_if_needed().await.expect("checked");
    let mut accepted = Vec::new();
    while !world.state().await.is_above_high() {
        accepted.push(world.push(&repo, accepted.len(), MIB / 2).await);
        check().await;
    }
    check().await;
    assert_eq!(kinds(&world.registry).await, [BudgetHigh]);
    while let Ok(manifest) = world.try_push(&repo, accepted.len(), MIB / 2).await {
        accepted.push(manifest);
    }
    check().await;
    check().await;
    assert_eq!(kinds(&world.registry).await, [BudgetHigh, BudgetFull]);
    for manifest in &accepted {
        repo.delete_manifest(manifest).await.expect("deletes still work");
    }
    world.clock.advance(2 * SECOND);
    assert_eq!(check().await, None, "there is space");
    assert_eq!(kinds(&world.registry).await.len(), 2, "it may not last");
    world.clock.advance(60 * SECOND);
    check().await;
    assert_eq!(kinds(&world.registry).await, [BudgetHigh, BudgetFull, BudgetAmple]);
    let found = events(&world.registry).await;
    let EventDetails::BudgetFull { budget, used, .. } = found[1].details else { panic!("{found:?}") };
    assert!(budget == 16 * MIB && used > 12 * MIB, "{found:?}");
}

#[tokio::test]
async fn empties_the_trash_oldest_first_and_only_as_far_as_needed() {
    let world = World::new(16 * MIB, None, Duration::ZERO);
    let repo = world.repo("app");
    let mut images = Vec::new();
    while !world.state().await.is_above_high() {
        images.push(world.push(&repo, images.len(), MIB).await);
        // The images are deleted in another order than they were pushed.
        let at = images.len() - 1;
        if at % 2 == 1 {
            repo.delete_manifest(&images[at]).await.expect("deleted");
            world.clock.advance(SECOND);
            repo.delete_manifest(&images[at - 1]).await.expect("deleted");
            world.clock.advance(SECOND);
        }
    }
    world.clock.advance(2 * SECOND);
    let before = world.in_trash().await;
    assert_eq!(world.reclaimer.reclaim_if_needed().await.expect("space is reclaimed"), None);
    let state = world.state().await;
    assert!(!state.is_above_low() && state.taken() + 2 * MIB > state.low, "{state:?}");
    let page = world.registry.metadata().removed_manifests(None, None, 1000).await.expect("a page");
    let left: Vec<_> = page.items.into_iter().rev().map(|item| item.digest).collect();
    let order: Vec<_> = (0..before).map(|at| images[at ^ 1].clone()).collect();
    assert_eq!(left, order[before - left.len()..], "the newest are left");
    assert!((1..before).contains(&left.len()));
    // Below the low mark nothing more is removed, and leases have their normal length again.
    assert!(!world.collector.is_under_pressure());
    assert_eq!(world.reclaimer.reclaim_if_needed().await.expect("nothing to do"), None);
    assert_eq!(world.in_trash().await, left.len());
}

#[tokio::test]
async fn keeps_blobs_that_a_running_push_has_found() {
    let world = World::new(16 * MIB, None, Duration::ZERO);
    let repo = world.repo("app");
    let mut old = Vec::new();
    while !world.state().await.is_above_high() {
        old.push(world.push(&repo, old.len(), MIB / 2).await);
    }
    let layer = |number: usize| {
        let images = world.pushed.images.lock().expect("not poisoned");
        digest(&images[number].3)
    };
    let found = layer(0);
    let unseen = layer(1);
    // A manifest needs the blob, but the lease is recorded all the same.
    repo.blob(&found).await.expect("there");
    world.clock.advance(SECOND / 2);
    let open = repo.start_upload(Algorithm::Sha256).await.expect("started");
    for manifest in &old {
        repo.delete_manifest(manifest).await.expect("deleted");
    }
    world.clock.advance(20 * SECOND);
    world.reclaimer.reclaim_if_needed().await.expect("space is reclaimed");
    assert!(
        repo.without_push().blob(&unseen).await.is_err(),
        "an open upload keeps only what its client has found"
    );
    repo.without_push().blob(&found).await.expect("kept for the push");
    repo.finish(open, None, body(&[b"{}"]), digest(b"{}")).await.expect("pushed");
    put(&repo, &["new"], &image(&digest(b"{}"), &[&found])).await.expect("the push succeeds");
}

#[tokio::test]
async fn removes_nothing_while_the_clock_is_suspect() {
    let world = World::new(16 * MIB, Some(0), Duration::ZERO);
    let repo = world.repo("app");
    let first = world.push(&repo, 0, MIB).await;
    repo.delete_manifest(&first).await.expect("deleted");
    world.collector.run_to_end(|_| {}).await.expect("the time is recorded");
    let mut number = 1;
    while !world.state().await.is_above_high() {
        world.push(&repo, number, MIB / 2).await;
        number += 1;
    }
    world.clock.jump_to(Timestamp(1_000_000_000_000));
    let images = world.pushed.images.lock().expect("not poisoned").len();
    assert!(world.reclaimer.reclaim_if_needed().await.expect("checked").is_some(), "it tries again later");
    assert_eq!(world.in_trash().await, 1);
    assert_eq!(world.pushed.images.lock().expect("not poisoned").len(), images);
}
