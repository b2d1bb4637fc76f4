//! Opens databases after a crash, read-only, and from a newer version.

use std::fs;

use super::Folder;
use crate::metadata::MetadataError;
use crate::metadata::engine::Engine;
use crate::metadata::sqlite::open::{self, OpenError};
use crate::metadata::suite::{Fixture, Scene, at, image, rules};
use crate::metadata::{Access, Metadata};
use crate::metadata::{ChangeKind, HistoryEntry, TagRestoration};

/// Copies the files as a killed process would leave them now.
fn copy_as_killed(folder: &Folder) -> Folder {
    let left = Folder::new();
    for suffix in ["", "-wal"] {
        let name = format!("orlop.db{suffix}");
        fs::copy(folder.path().join(&name), left.path().join(&name)).expect("copied");
    }
    left
}

async fn filled_scene(folder: &Folder) -> Scene {
    let scene = Scene::new(folder.open());
    scene.push("app", "layer", 0).await;
    scene.put("app", image("a").blob("layer").tag("v1"), 0).await;
    scene
}

#[tokio::test]
async fn new_database_has_an_empty_log() {
    let folder = Folder::new();
    let store = folder.store();
    let log = fs::metadata(folder.path().join("orlop.db-wal")).expect("there");
    assert_eq!(log.len(), 0);
    Scene::new(std::sync::Arc::new(store)).assert_consistent().await;
}

#[tokio::test]
async fn nothing_is_lost_when_the_process_is_killed() {
    let folder = Folder::new();
    let running = filled_scene(&folder).await;
    running.store.record_time(at(7)).await.expect("recorded");
    let left = copy_as_killed(&folder);
    let reopened = Scene::new(left.open());
    assert!(reopened.tagged("app", "v1").await.is_some() && reopened.has_blob("app", "layer").await);
    assert_eq!(reopened.store.recorded_time().await.expect("an answer"), Some(at(7)));
    reopened.assert_consistent().await;
}

/// A database of the first release is migrated, and its history can be read.
#[tokio::test]
async fn database_of_the_first_version_is_migrated() {
    let folder = Folder::new();
    let connection = rusqlite::Connection::open(folder.path().join("orlop.db")).expect("opened");
    let history = "CREATE TABLE refinery_schema_history
                   (version INT4 PRIMARY KEY, name VARCHAR(255), applied_on VARCHAR(255), checksum VARCHAR(255))";
    connection.execute_batch(include_str!("../migrations/V1__first.sql")).expect("made");
    connection.execute_batch(history).expect("made");
    connection.execute_batch(&first_migration()).expect("noted");
    let a = format!("x'01{}'", "aa".repeat(32));
    let b = format!("x'01{}'", "bb".repeat(32));
    let facts = format!(
        "INSERT INTO repositories VALUES (1, 'app', 0);
         INSERT INTO manifests (id, repo, digest, pushed_at, leased_at, size, media_type, content) VALUES
             (1, 1, {a}, 0, 0, 1, 'm', x'61'), (2, 1, {b}, 0, 0, 1, 'm', x'62');
         INSERT INTO tags VALUES (1, 'v1', 2, 5);
         INSERT INTO review VALUES (1, 1, {a}, 5);
         INSERT INTO tag_history (repo, name, digest, at) VALUES
             (1, 'v1', {a}, 1), (1, 'v2', {a}, 2), (1, 'v1', {b}, 3), (1, 'v2', NULL, 4);"
    );
    connection.execute_batch(&facts).expect("filled");
    drop(connection);
    let scene = Scene::new(folder.open());
    assert!(folder.path().join("orlop.db.before-v2").exists());
    let app = "app".parse().expect("name");
    let v1 = "v1".parse().expect("tag");
    let v2 = "v2".parse().expect("tag");
    let kinds = |rows: Vec<HistoryEntry>| rows.into_iter().map(|row| row.kind).collect::<Vec<_>>();
    let rows = scene.store.tag_history(&app, Some(&v1), None, 9).await.expect("read").items;
    assert_eq!(rows[0].was, rows[1].digest);
    assert_eq!(kinds(rows), [ChangeKind::Move, ChangeKind::Push]);
    let rows = scene.store.tag_history(&app, Some(&v2), None, 9).await.expect("read").items;
    assert_eq!(kinds(rows), [ChangeKind::Delete, ChangeKind::Push]);
    let back = scene.store.restore_tag(&app, &v2, &at(1).into()).await.expect("an answer");
    assert!(matches!(back, TagRestoration::Done { .. }), "{back:?}");
    scene.assert_consistent().await;
}

/// The statement that records the first migration as applied, built from a migrated database.
fn first_migration() -> String {
    let folder = Folder::new();
    drop(folder.store());
    let connection = rusqlite::Connection::open(folder.path().join("orlop.db")).expect("opened");
    let row =
        "SELECT 'INSERT INTO refinery_schema_history VALUES (1, ' || quote(name) || ', ' || quote(applied_on)
               || ', ' || quote(checksum) || ')' FROM refinery_schema_history WHERE version = 1";
    connection.query_row(row, [], |row| row.get(0)).expect("applied")
}

#[tokio::test]
async fn newer_database_is_rejected_and_not_changed() {
    let folder = Folder::new();
    drop(folder.store());
    let change = "INSERT INTO refinery_schema_history (version, name, applied_on, checksum)
                  VALUES (99, 'later', '', '')";
    let connection = rusqlite::Connection::open(folder.path().join("orlop.db")).expect("opened");
    connection.execute_batch(change).expect("changed");
    drop(connection);
    for access in [Access::ReadWrite, Access::ReadOnly] {
        let rejected = Metadata::open(folder.path(), access);
        assert!(matches!(rejected, Err(OpenError::Newer { found: 99, .. })));
    }
}

#[tokio::test]
async fn file_that_is_not_a_database_is_rejected() {
    let folder = Folder::new();
    fs::write(folder.path().join("orlop.db"), [b'x'; 8192]).expect("written");
    for access in [Access::ReadWrite, Access::ReadOnly] {
        assert!(matches!(Metadata::open(folder.path(), access), Err(OpenError::Sqlite { .. })));
    }
}

#[tokio::test]
async fn read_only_store_reads_and_rejects_changes() {
    let folder = Folder::new();
    let absent = Metadata::open(folder.path(), Access::ReadOnly);
    assert!(matches!(absent, Err(OpenError::NotReady(_))));
    drop(filled_scene(&folder).await);
    let store = Metadata::open(folder.path(), Access::ReadOnly).expect("opened");
    let scene = Scene::new(std::sync::Arc::new(store));
    assert!(scene.tagged("app", "v1").await.is_some());
    assert!(matches!(scene.store.record_time(at(1)).await, Err(MetadataError::ReadOnly)));
    scene.store.check().await.expect("reads work");
    assert_eq!(scene.store.dry_run(&rules(9000)).await.expect("a dry run").links, 0);
    scene.assert_consistent().await;
}

#[tokio::test]
async fn database_in_a_read_only_folder_can_be_read() {
    let folder = Folder::new();
    drop(filled_scene(&folder).await);
    let _ = fs::remove_file(folder.path().join("orlop.db-wal"));
    let _ = fs::remove_file(folder.path().join("orlop.db-shm"));
    let store = open::open_for_reading(folder.path().join("orlop.db"), false).expect("opened");
    let store = Metadata {
        engine: Engine::Sqlite(store),
        unverified: crate::metadata::unverified_hint::UnverifiedHint::default(),
        faults: None,
    };
    let scene = Scene::new(std::sync::Arc::new(store));
    assert!(scene.tagged("app", "v1").await.is_some());
    scene.assert_consistent().await;
    assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 1, "no file was created");
}

#[tokio::test]
async fn unreadable_log_is_not_treated_as_empty() {
    let folder = Folder::new();
    let running = filled_scene(&folder).await;
    let left = copy_as_killed(&folder);
    let rejected = open::open_for_reading(left.path().join("orlop.db"), false);
    assert!(matches!(rejected, Err(OpenError::Unclean(_))));
    drop(running);
}

#[tokio::test]
async fn copy_is_complete_and_does_not_overwrite() {
    let folder = Folder::new();
    let scene = filled_scene(&folder).await;
    let copy = Folder::new();
    let path = copy.path().join("orlop.db");
    scene.store.copy_to(&path).await.expect("copied");
    assert!(scene.store.copy_to(&path).await.is_err());
    let copied = Scene::new(copy.open());
    assert!(copied.tagged("app", "v1").await.is_some());
    copied.assert_consistent().await;
}

#[tokio::test]
async fn folder_of_a_killed_dry_run_is_removed() {
    let folder = Folder::new();
    let left = folder.path().join("orlop.dry-run-x");
    fs::create_dir(&left).expect("made");
    drop(folder.store());
    assert!(!left.exists());
}

/// SQLite would continue to write to the unlinked file, and these changes would be lost when the process ends.
#[tokio::test]
async fn moved_database_rejects_changes() {
    let folder = Folder::new();
    let scene = filled_scene(&folder).await;
    let path = folder.path().join("orlop.db");
    let elsewhere = folder.path().join("elsewhere");
    fs::rename(&path, &elsewhere).expect("moved");
    let rejected = scene.store.record_time(at(7)).await;
    assert!(matches!(rejected, Err(MetadataError::Vanished(_))), "{rejected:?}");
    fs::rename(&elsewhere, &path).expect("moved back");
    scene.store.record_time(at(7)).await.expect("recorded");
}
