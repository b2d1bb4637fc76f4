//! Making room: the store stays within its budget, and no more goes than has to.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use orlop::clock::{Clock, ManualClock, Timestamp};
use orlop::jobs::{Collector, CollectorSettings, Need, Relief, Relieved, RoomMaking};
use orlop::metadata::sqlite::{Access as FactsAccess, SqliteMetadata};
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
use crate::kit::{LEASE, TRASH, body, digest, has, image, put, read};

const MIB: u64 = 1 << 20;
const SECOND: Duration = Duration::from_secs(1);

/// How long a lease is under pressure.
const SHORT: Duration = SECOND;

/// Its repository, tag, manifest, and the bytes of its layer.
type Image = (Repository, String, Digest, Vec<u8>);

/// Everything that was pushed, the oldest first; all but the newest may go.
#[derive(Default)]
struct Pushed {
    images: Mutex<Vec<Image>>,
    keep: usize,
}

#[async_trait]
impl Relief for Pushed {
    async fn relieve(&self, need: &dyn Need) -> Result<Relieved, ServiceError> {
        let mut relieved = Relieved::default();
        while !need.is_met(relieved.manifests).await? {
            let oldest = {
                let mut images = self.images.lock().expect("not poisoned");
                if images.len() <= self.keep {
                    break;
                }
                images.remove(0)
            };
            oldest.0.delete_manifest(&oldest.2).await.expect("deleted");
            relieved.manifests += 1;
        }
        Ok(relieved)
    }
}

/// A registry on a real filesystem, with a budget.
struct World {
    data: TempDir,
    clock: Arc<ManualClock>,
    registry: Arc<Registry>,
    collector: Arc<Collector>,
    room: Arc<RoomMaking>,
    pushed: Arc<Pushed>,
}

impl World {
    /// A budget of so much; so many images are kept by the policies, `None` for a world without.
    fn new(budget: u64, keep: Option<usize>, wait: Duration) -> Self {
        let data = TempDir::new().expect("a folder");
        let clock = Arc::new(ManualClock::at(Timestamp(1_000_000_000)));
        let bytes = FilesystemStore::open(data.path(), store::Access::ReadWrite).expect("bytes");
        let facts =
            SqliteMetadata::open(&data.path().join("metadata"), FactsAccess::ReadWrite).expect("facts");
        let most = BudgetSize::Bytes(budget);
        let settings = Settings {
            lease: LEASE,
            lease_pressure: SHORT,
            min_free: 0,
            warn_free: 0,
            budget: Some(BudgetSettings { most, high: 80, low: 60, wait }),
            ..Settings::default()
        };
        let shared: Arc<dyn Clock> = clock.clone();
        let registry = Registry::new(Arc::new(bytes), Arc::new(facts), shared, settings);
        let rules = CollectorSettings { trash: TRASH, untagged: None, upload_expiry: TRASH, batch: 10 };
        let collector = Arc::new(Collector::new(Arc::clone(&registry), rules));
        let pushed = Arc::new(Pushed { keep: keep.unwrap_or(0), ..Pushed::default() });
        let relief = keep.map(|_| Arc::clone(&pushed) as Arc<dyn Relief>);
        let room = RoomMaking::new(Arc::clone(&registry), Arc::clone(&collector), relief);
        // What was told before the start is nobody's lease any more.
        clock.advance(10 * SECOND);
        Self { data, clock, registry, collector, room: Arc::new(room), pushed }
    }

    fn repo(&self, name: &str) -> Repository {
        self.registry.repository(name.parse().expect("name"), Access { push: true })
    }

    async fn try_blob(&self, repo: &Repository, content: &[u8]) -> Result<Digest, UploadError> {
        let id = repo.begin_upload(Algorithm::Sha256).await?;
        let pushed = repo.finish(id, None, body(&[content]), digest(content)).await;
        if pushed.is_err() {
            repo.cancel_upload(id).await.expect("cancelled");
        }
        pushed.map(|()| digest(content))
    }

    /// Pushes an image with a layer of so many bytes, and lets some time pass.
    async fn try_push(&self, repo: &Repository, number: usize, size: u64) -> Result<Digest, UploadError> {
        let config = self.try_blob(repo, format!("{{\"image\":{number}}}").as_bytes()).await?;
        let mut content = vec![0; size as usize];
        content[..8].copy_from_slice(&(number as u64).to_be_bytes());
        let layer = self.try_blob(repo, &content).await?;
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
                let (status, left) =
                    (self.room.status(), self.pushed.images.lock().expect("not poisoned").len());
                panic!("image {number}: {error}; {stored:?}, {status:?}, {left} images")
            }
        }
    }

    async fn state(&self) -> BudgetState {
        self.registry.budget().await.expect("told").expect("set")
    }

    async fn is_within(&self) {
        let (state, stored) = (self.state().await, self.registry.stored().await.expect("told"));
        let spent = spent(self.data.path());
        assert!(stored.total() <= state.budget, "{stored:?} {state:?}");
        assert!(spent <= state.budget, "du tells {spent} {state:?} {stored:?}");
    }

    /// What was pushed last, and is to be kept, pulls whole.
    async fn newest_pull(&self) {
        let images: Vec<_> = self.pushed.images.lock().expect("not poisoned").clone();
        for (repo, tag, manifest, content) in images.iter().rev().take(self.pushed.keep) {
            assert!(has(repo, tag).await && has(repo, manifest.as_str()).await, "{tag}");
            assert_eq!(read(repo, &digest(content)).await.as_ref(), Some(content), "{tag}");
        }
    }

    async fn in_trash(&self) -> usize {
        self.registry.removed_manifests(None, None, 1000).await.expect("a page").items.len()
    }

    /// Makes room in the background while `work` is done.
    async fn while_making_room<T>(&self, work: impl Future<Output = T>) -> T {
        let (room, stop) = (Arc::clone(&self.room), CancellationToken::new());
        let token = stop.clone();
        let running = tokio::spawn(async move { room.run(token).await });
        let done = work.await;
        stop.cancel();
        running.await.expect("ended");
        done
    }
}

/// What the filesystem spends on a tree.
fn spent(path: &Path) -> u64 {
    let Ok(file) = fs::symlink_metadata(path) else {
        return 0;
    };
    let below = fs::read_dir(path).into_iter().flatten().flatten();
    file.blocks() * 512 + below.map(|entry| spent(&entry.path())).sum::<u64>()
}

#[tokio::test(flavor = "multi_thread")]
async fn much_more_than_the_budget_goes_through_it() {
    const IMAGES: usize = 120;
    let world = World::new(40 * MIB, Some(3), 20 * SECOND);
    let work = async {
        let repos = [world.repo("app"), world.repo("other")];
        for number in 0..IMAGES {
            world.push(&repos[number % 7 / 6], number, MIB).await;
            world.is_within().await;
        }
    };
    world.while_making_room(work).await;
    world.newest_pull().await;
    let left = world.pushed.images.lock().expect("not poisoned").len();
    assert!((3..IMAGES / 3).contains(&left), "{left} images are left");
    assert!(world.room.status().bytes > 70 * MIB, "{:?}", world.room.status());
}

#[tokio::test(flavor = "multi_thread")]
async fn with_nothing_to_let_go_pushes_are_refused_in_time() {
    let world = World::new(8 * MIB, None, SECOND / 10);
    let repo = world.repo("app");
    let work = async {
        let mut accepted = Vec::new();
        let refusal = loop {
            match world.try_push(&repo, accepted.len(), MIB).await {
                Ok(manifest) => accepted.push(manifest),
                Err(error) => break error,
            }
            world.is_within().await;
        };
        let told = matches!(&refusal, UploadError::Service(ServiceError::Full(why)) if why.contains("storage.budget"));
        assert!(told, "{refusal}");
        assert!(accepted.len() >= 4, "{} images fit", accepted.len());
        for manifest in &accepted {
            assert!(has(&repo, manifest.as_str()).await);
        }
        for manifest in &accepted {
            repo.delete_manifest(manifest).await.expect("deletes go on");
        }
        world.clock.advance(2 * SECOND);
        world.room.look().await.expect("room is made");
        world.push(&repo, 100, MIB).await;
    };
    world.while_making_room(work).await;
}

#[tokio::test]
async fn a_budget_without_room_is_an_event_and_so_is_the_end_of_it() {
    use EventKind::{BudgetAmple, BudgetFull, BudgetHigh};
    let world = World::new(16 * MIB, None, Duration::ZERO);
    let repo = world.repo("app");
    let look = async || world.room.look().await.expect("looked");
    let mut accepted = Vec::new();
    while !world.state().await.is_above_high() {
        accepted.push(world.push(&repo, accepted.len(), MIB / 2).await);
        look().await;
    }
    look().await;
    assert_eq!(kinds(&world.registry).await, [BudgetHigh]);
    while let Ok(manifest) = world.try_push(&repo, accepted.len(), MIB / 2).await {
        accepted.push(manifest);
    }
    look().await;
    look().await;
    assert_eq!(kinds(&world.registry).await, [BudgetHigh, BudgetFull]);
    for manifest in &accepted {
        repo.delete_manifest(manifest).await.expect("deletes go on");
    }
    world.clock.advance(2 * SECOND);
    assert_eq!(look().await, None, "there is room");
    assert_eq!(kinds(&world.registry).await.len(), 2, "it may not last");
    world.clock.advance(60 * SECOND);
    look().await;
    assert_eq!(kinds(&world.registry).await, [BudgetHigh, BudgetFull, BudgetAmple]);
    let found = events(&world.registry).await;
    let EventDetails::BudgetFull { budget, used, .. } = found[1].details else { panic!("{found:?}") };
    assert!(budget == 16 * MIB && used > 12 * MIB, "{found:?}");
}

#[tokio::test]
async fn the_trash_goes_oldest_first_and_no_more_than_needed() {
    let world = World::new(16 * MIB, None, Duration::ZERO);
    let repo = world.repo("app");
    let mut images = Vec::new();
    while !world.state().await.is_above_high() {
        images.push(world.push(&repo, images.len(), MIB).await);
        // They are deleted in another order than they were pushed.
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
    assert_eq!(world.room.look().await.expect("room is made"), None);
    let state = world.state().await;
    assert!(!state.is_above_low() && state.taken() + 2 * MIB > state.low, "{state:?}");
    let page = world.registry.removed_manifests(None, None, 1000).await.expect("a page");
    let left: Vec<_> = page.items.into_iter().rev().map(|item| item.digest).collect();
    let order: Vec<_> = (0..before).map(|at| images[at ^ 1].clone()).collect();
    assert_eq!(left, order[before - left.len()..], "the newest are left");
    assert!((1..before).contains(&left.len()));
    // Below the low mark nothing more goes, and leases are long again.
    assert!(!world.collector.is_pressed());
    assert_eq!(world.room.look().await.expect("nothing to do"), None);
    assert_eq!(world.in_trash().await, left.len());
}

#[tokio::test]
async fn what_a_running_push_was_told_of_stays() {
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
    let (told, untold) = (layer(0), layer(1));
    // It is held, and yet the lease is written down.
    repo.blob(&told).await.expect("there");
    world.clock.advance(SECOND / 2);
    let open = repo.begin_upload(Algorithm::Sha256).await.expect("begun");
    for manifest in &old {
        repo.delete_manifest(manifest).await.expect("deleted");
    }
    world.clock.advance(20 * SECOND);
    world.room.look().await.expect("room is made");
    assert!(repo.viewed().blob(&untold).await.is_err(), "an open upload keeps what its client was told of");
    repo.viewed().blob(&told).await.expect("kept for the push");
    repo.finish(open, None, body(&[b"{}"]), digest(b"{}")).await.expect("pushed");
    put(&repo, &["new"], &image(&digest(b"{}"), &[&told])).await.expect("the push ends well");
}

#[tokio::test]
async fn nothing_goes_by_a_clock_that_jumped() {
    let world = World::new(8 * MIB, Some(0), Duration::ZERO);
    let repo = world.repo("app");
    let first = world.push(&repo, 0, MIB).await;
    repo.delete_manifest(&first).await.expect("deleted");
    world.collector.run_to_end(|_| {}).await.expect("the clock was seen");
    let mut number = 1;
    while !world.state().await.is_above_high() {
        world.push(&repo, number, MIB / 2).await;
        number += 1;
    }
    world.clock.jump_to(Timestamp(1_000_000_000_000));
    let images = world.pushed.images.lock().expect("not poisoned").len();
    assert!(world.room.look().await.expect("looked").is_some(), "it is tried again");
    assert_eq!(world.in_trash().await, 1);
    assert_eq!(world.pushed.images.lock().expect("not poisoned").len(), images);
}
