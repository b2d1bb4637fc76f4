//! Tests what policies and the budget do with adopted images, on a real filesystem: nothing before the release, nothing
//! for bytes that stay on the disk, and after it what the plan says.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use orlop::clock::{Clock, ManualClock, Timestamp};
use orlop::jobs::retention::{PolicySet, Retention, RetentionSettings};
use orlop::jobs::{Collector, CollectorSettings, Evictor, SpaceReclaimer};
use orlop::maintenance::adopt::{adopt, finish, release};
use orlop::maintenance::progress::Silent;
use orlop::metadata::{Access as MetadataAccess, Metadata};
use orlop::registry::{Access, Registry, Repository, ServiceError, UploadError};
use orlop::store::{self, Adoption, FilesystemStore};

use crate::kit::{LEASE, TRASH, digest, has, image, put, try_push};
use crate::old_registry::OldRegistry;
use crate::pressure::settings_with_budget;
use crate::retention::{DAY, policies, tags};

/// The size of an adopted layer in bytes.
const LAYER: usize = 4 << 20;
const BUILDS: usize = 14;
/// The tree and some manifests fit, but not a layer that is three times as large as those.
const BUDGET: u64 = 17 * LAYER as u64;

/// A registry beside the tree that it has adopted, with the preset `ci` and a budget that this tree fills.
struct World {
    old: OldRegistry,
    clock: Arc<ManualClock>,
    registry: Arc<Registry>,
    retention: Arc<Retention>,
    collector: Arc<Collector>,
    reclaimer: SpaceReclaimer,
}

impl World {
    async fn new() -> Self {
        let old = OldRegistry::new();
        for build in 0..BUILDS {
            let manifest = old.image("app", &layer(build));
            old.tag("app", &format!("main-{build}"), &manifest, &[]);
        }
        let released = old.image("app", &layer(BUILDS));
        old.tag("app", "v1.0", &released, &[]);

        let data = old.path().join("orlop");
        // After the times of the tree's files.
        let clock = Arc::new(ManualClock::at(Timestamp(4_000_000_000_000)));
        let store = FilesystemStore::open(&data, store::Access::ReadWrite).expect("store");
        let metadata = Metadata::open(&data.join("metadata"), MetadataAccess::ReadWrite).expect("metadata");
        let settings = settings_with_budget(BUDGET, Duration::from_millis(100));
        let shared: Arc<dyn Clock> = clock.clone();
        let registry = Registry::new(Arc::new(store), Arc::new(metadata), shared, settings);
        let set = PolicySet::from_file(policies("[[policies]]\nrepositories = [\"**\"]\npreset = \"ci\""));
        let set = Arc::new(set.expect("sound policies"));
        set.load(registry.metadata().as_ref()).await.expect("loaded");
        registry.guard_tags(Arc::clone(&set) as _);
        let rules = CollectorSettings { trash: TRASH, untagged: None, upload_expiry: TRASH, batch: 10 };
        let collector =
            Arc::new(Collector::new(Arc::clone(&registry), rules).with_policies(Arc::clone(&set)));
        let settings = RetentionSettings { batch: 3 };
        let retention = Arc::new(Retention::new(Arc::clone(&registry), set, settings));
        let evictor = Arc::clone(&retention) as Arc<dyn Evictor>;
        let reclaimer = SpaceReclaimer::new(Arc::clone(&registry), Arc::clone(&collector), Some(evictor));

        adopt(&registry, &old.tree(), Adoption::Hardlink, &Silent).await.expect("adopted");
        Self { old, clock, registry, retention, collector, reclaimer }
    }

    fn repo(&self, name: &str) -> Repository {
        self.registry.repository(name.parse().expect("name"), Access { push: true })
    }

    /// Lets time pass, with everything that a server does meanwhile.
    async fn pass(&self, span: Duration) {
        self.clock.advance(span);
        self.retention.run_to_end().await.expect("run");
        self.clock.advance(TRASH + LEASE);
        self.collector.run_to_end(|_| {}).await.expect("collection");
        self.reclaimer.reclaim_if_needed().await.expect("reclaimed");
    }

    /// The disk usage of the stored blobs, by inode.
    fn blobs(&self) -> HashMap<u64, u64> {
        let mut found = HashMap::new();
        collect_files(&self.old.path().join("orlop/blobs"), &mut found);
        found
    }

    /// The disk usage of all files in and below the old tree, by inode.
    fn files(&self) -> HashMap<u64, u64> {
        let mut found = HashMap::new();
        collect_files(&self.old.path(), &mut found);
        found
    }
}

/// The layer of a build.
fn layer(build: usize) -> Vec<u8> {
    vec![build as u8 + 1; LAYER]
}

fn collect_files(path: &Path, found: &mut HashMap<u64, u64>) {
    for entry in fs::read_dir(path).expect("a directory").map(|entry| entry.expect("an entry")) {
        let metadata = entry.metadata().expect("there");
        if metadata.is_dir() {
            collect_files(&entry.path(), found);
        } else {
            found.insert(metadata.ino(), metadata.blocks() * 512);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_removed_in_vain_before_the_release_and_the_plan_is_kept_after_it() {
    let world = World::new().await;
    let (repo, builds) = (world.repo("app"), BUILDS + 1);
    assert_eq!(tags(&repo).await.len(), builds);

    // Images whose bytes the old tree has too: their removal would free almost nothing.
    let new = world.repo("new");
    let config = digest(b"{}");
    new.mount(&config, Some(repo.name())).await.expect("no error").expect("mounted");
    let layer_of_release = digest(&layer(BUILDS));
    new.mount(&layer_of_release, Some(repo.name())).await.expect("no error").expect("mounted");
    for number in 1..7 {
        let layers = vec![&layer_of_release; number];
        put(&new, &[&format!("feature-{number}")], &image(&config, &layers)).await.expect("accepted");
    }
    let before = tags(&new).await;
    world.pass(DAY / 4).await;
    let refused = try_push(&new, &vec![0xff; 3 * LAYER]).await;
    assert!(matches!(refused, Err(UploadError::Service(ServiceError::Full(_)))), "{refused:?}");
    world.pass(DAY / 4).await;
    assert_eq!(tags(&new).await, before, "their removal frees nothing");
    world.pass(7 * DAY).await;
    assert_eq!(tags(&repo).await.len(), builds, "held");

    let stored = world.blobs();
    let plan = world.retention.plan_after_release(None).await.expect("planned");
    assert_eq!(plan.would_free, Some(0), "while the old tree has the same files");
    assert_eq!(plan.would_free_later, ((BUILDS - 10) * LAYER) as u64);
    assert!(release(&world.registry).await.expect("released"));
    for _ in 0..3 {
        world.pass(Duration::ZERO).await;
    }
    assert_eq!(stored.len() - world.blobs().len(), BUILDS - 10, "purged here");
    let kept = tags(&repo).await;
    assert_eq!((kept.len(), has(&repo, "v1.0").await), (11, true), "{kept:?}");
    let files = world.files();
    assert!(stored.keys().all(|inode| files.contains_key(inode)), "the old tree still has all");

    let finished = finish(&world.registry, world.old.path(), &Silent).await.expect("finished");
    assert!(finished.is_done(), "{finished:?}");
    let files = world.files();
    let freed: u64 =
        stored.iter().filter(|(inode, _)| !files.contains_key(inode)).map(|(_, bytes)| bytes).sum();
    assert_eq!(freed, plan.would_free_later);
    world.reclaimer.reclaim_if_needed().await.expect("reclaimed");
    try_push(&new, &vec![0xff; 3 * LAYER]).await.expect("there is space");
}
