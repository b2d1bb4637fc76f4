//! A power cut loses what was not synced: the log is cut, torn or full of holes behind the last sync.

use std::fs;
use std::path::PathBuf;

use super::Folder;
use crate::metadata::sqlite::SqliteMetadata;
use crate::metadata::sqlite::writer::Durability;
use crate::metadata::suite::{Fixture, Scene, at, image};
use crate::metadata::{Maintenance, MetadataStore};

const FRAME: usize = 4096 + 24;

/// A store whose log only grows, so that a prefix of it is a moment of its past.
struct Machine {
    folder: Folder,
    scene: Scene,
}

impl Machine {
    async fn new() -> Self {
        let folder = Folder::new();
        let store = folder.store();
        grows(&store).await;
        let scene = Scene::new(std::sync::Arc::new(store));
        Self { folder, scene }
    }

    fn database(&self) -> PathBuf {
        self.folder.path().join("orlop.db")
    }

    fn log(&self) -> Vec<u8> {
        fs::read(self.folder.path().join("orlop.db-wal")).expect("read")
    }

    /// What is found after a cut that left this of the log.
    fn after(&self, log: &[u8]) -> Found {
        let left = Folder::new();
        fs::copy(self.database(), left.path().join("orlop.db")).expect("copied");
        fs::write(left.path().join("orlop.db-wal"), log).expect("written");
        Found { scene: Scene::new(left.open()), _folder: left }
    }
}

async fn grows(store: &SqliteMetadata) {
    let set = |c: &rusqlite::Connection| c.pragma_update(None, "wal_autocheckpoint", 0);
    store.write(Durability::Lazy, set).await.expect("set");
}

struct Found {
    scene: Scene,
    _folder: Folder,
}

impl Found {
    /// How many of `images` are there, each whole; and none behind one that is not.
    async fn images(&self) -> usize {
        self.scene.verifies().await;
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

/// The log right after each of some images, with lazy changes behind each.
async fn images(machine: &Machine, count: usize) -> Vec<usize> {
    let mut synced = Vec::new();
    for number in 0..count {
        push(&machine.scene, number).await;
        synced.push(machine.log().len());
        machine.scene.store.record_time(at(number as i64)).await.expect("recorded");
        machine.scene.begin("app", 1).await;
    }
    synced
}

#[tokio::test]
async fn what_was_answered_is_there() {
    let machine = Machine::new().await;
    let synced = images(&machine, 6).await;
    let log = machine.log();
    for (number, length) in synced.into_iter().enumerate() {
        let found = machine.after(&log[..length]);
        assert_eq!(found.images().await, number + 1);
        push(&found.scene, number + 1).await;
        assert_eq!(found.images().await, number + 2);
    }
}

#[tokio::test]
async fn whatever_is_left_of_the_log_is_a_moment_of_the_past() {
    let machine = Machine::new().await;
    let before = machine.log().len();
    images(&machine, 2).await;
    let log = machine.log();
    let mut last = 0;
    for length in (before..log.len()).step_by(FRAME / 2) {
        let images = machine.after(&log[..length]).images().await;
        assert!(images >= last);
        last = images;
    }
    for length in [before + 1, before + FRAME - 1, before + FRAME + 1, before + FRAME + 23, log.len() - 1] {
        machine.after(&log[..length]).images().await;
    }
}

#[tokio::test]
async fn a_hole_behind_the_last_sync_hides_what_follows_it() {
    let machine = Machine::new().await;
    let synced = images(&machine, 3).await;
    let log = machine.log();
    for at in (synced[0]..log.len() - 512).step_by(2 * FRAME + 512) {
        let mut holed = log.clone();
        holed[at..at + 512].fill(0xa5);
        let kept = synced.iter().filter(|length| **length <= at).count();
        assert_eq!(machine.after(&holed).images().await, kept, "a hole at {at}");
    }
}

#[tokio::test]
async fn durable_and_lazy_changes_are_synced_as_they_say() {
    let folder = Folder::new();
    let store = folder.store();
    for (durability, level) in [(Durability::Full, 2), (Durability::Lazy, 1), (Durability::Full, 2)] {
        let found =
            store.write(durability, |c| c.query_row("PRAGMA synchronous", [], |row| row.get::<_, i64>(0)));
        assert_eq!(found.await.expect("read"), level);
    }
    let store: &dyn MetadataStore = &store;
    Maintenance::check(store).await.expect("checked");
}
