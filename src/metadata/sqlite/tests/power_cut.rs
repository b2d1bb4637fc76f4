//! A power cut loses what was not synced: after the last sync the log may be cut off, torn or full of holes.

use std::fs;
use std::path::PathBuf;

use super::Folder;
use crate::metadata::Durability;
use crate::metadata::Metadata;
use crate::metadata::sql;
use crate::metadata::suite::{Fixture, Scene, at, image};

const FRAME: usize = 4096 + 24;

/// A store whose log only grows, so that each prefix of the log is an earlier state.
struct Machine {
    folder: Folder,
    scene: Scene,
}

impl Machine {
    async fn new() -> Self {
        let folder = Folder::new();
        let store = folder.store();
        disable_checkpoints(&store).await;
        let scene = Scene::new(std::sync::Arc::new(store));
        Self { folder, scene }
    }

    fn database(&self) -> PathBuf {
        self.folder.path().join("orlop.db")
    }

    fn log(&self) -> Vec<u8> {
        fs::read(self.folder.path().join("orlop.db-wal")).expect("read")
    }

    /// Opens the store as a power cut that left `log` would leave it.
    fn reopen_with(&self, log: &[u8]) -> Reopened {
        let left = Folder::new();
        fs::copy(self.database(), left.path().join("orlop.db")).expect("copied");
        fs::write(left.path().join("orlop.db-wal"), log).expect("written");
        Reopened { scene: Scene::new(left.open()), _folder: left }
    }
}

async fn disable_checkpoints(store: &Metadata) {
    let set = |c: &dyn sql::Connection| c.query_row("PRAGMA wal_autocheckpoint = 0", [], |_| Ok(()));
    store.write(Durability::Lazy, set).await.expect("set");
}

struct Reopened {
    scene: Scene,
    _folder: Folder,
}

impl Reopened {
    /// Counts the images. Each must be complete, and no image may exist after a missing one.
    async fn count_images(&self) -> usize {
        self.scene.assert_consistent().await;
        let mut count = 0;
        while self.scene.has("app", &format!("m{count}")).await {
            assert!(self.scene.has_blob("app", &format!("b{count}")).await);
            count += 1;
        }
        assert_eq!(self.scene.store.totals().await.expect("totals").manifests, count as u64);
        count
    }
}

async fn push(scene: &Scene, number: usize) {
    let blob = format!("b{number}");
    scene.push("app", &blob, 0).await;
    scene.put("app", image(&format!("m{number}")).blob(&blob).tag("latest"), 0).await;
}

/// Pushes images with lazy changes after each. Returns the length of the log right after each image.
async fn push_images(machine: &Machine, count: usize) -> Vec<usize> {
    let mut synced = Vec::new();
    for number in 0..count {
        push(&machine.scene, number).await;
        synced.push(machine.log().len());
        machine.scene.store.record_time(at(number as i64)).await.expect("recorded");
        machine.scene.start_upload("app", 1).await;
    }
    synced
}

#[tokio::test]
async fn completed_changes_survive() {
    let machine = Machine::new().await;
    let synced = push_images(&machine, 6).await;
    let log = machine.log();
    for (number, length) in synced.into_iter().enumerate() {
        let reopened = machine.reopen_with(&log[..length]);
        assert_eq!(reopened.count_images().await, number + 1);
        push(&reopened.scene, number + 1).await;
        assert_eq!(reopened.count_images().await, number + 2);
    }
}

#[tokio::test]
async fn every_prefix_of_the_log_is_an_earlier_state() {
    let machine = Machine::new().await;
    let before = machine.log().len();
    push_images(&machine, 2).await;
    let log = machine.log();
    let mut last = 0;
    for length in (before..log.len()).step_by(FRAME / 2) {
        let images = machine.reopen_with(&log[..length]).count_images().await;
        assert!(images >= last);
        last = images;
    }
    for length in [before + 1, before + FRAME - 1, before + FRAME + 1, before + FRAME + 23, log.len() - 1] {
        machine.reopen_with(&log[..length]).count_images().await;
    }
}

#[tokio::test]
async fn hole_after_the_last_sync_hides_what_follows_it() {
    let machine = Machine::new().await;
    let synced = push_images(&machine, 3).await;
    let log = machine.log();
    for at in (synced[0]..log.len() - 512).step_by(2 * FRAME + 512) {
        let mut holed = log.clone();
        holed[at..at + 512].fill(0xa5);
        let kept = synced.iter().filter(|length| **length <= at).count();
        assert_eq!(machine.reopen_with(&holed).count_images().await, kept, "a hole at {at}");
    }
}

#[tokio::test]
async fn durability_sets_the_synchronous_level() {
    let folder = Folder::new();
    let store = folder.store();
    for (durability, level) in [(Durability::Full, 2), (Durability::Lazy, 1), (Durability::Full, 2)] {
        let found =
            store.write(durability, |c| c.query_row("PRAGMA synchronous", [], |row| row.get::<i64>(0)));
        assert_eq!(found.await.expect("read"), level);
    }
    store.check().await.expect("checked");
}
