//! Tests the migration of databases that an older version has filled.

use super::{Folder, RECOUNT};
use crate::metadata::Metadata;
use crate::metadata::sqlite::open;
use crate::metadata::suite::{Scene, repo};
use crate::metadata::{ListQuery, SnapshotQuery, SortKey, Usage};
use crate::retention::{ManifestFacts, Needs};

/// Creates two repositories that have one blob of their own each and share a third, an image with two tags, and a blob
/// that is scheduled for deletion.
const OLD_ROWS: &str = "
    INSERT INTO repositories (id, name, created_at) VALUES (1, 'team/app', 0), (2, 'other', 0);
    INSERT INTO blobs (digest, size, generation) VALUES
        (CAST(x'01' || randomblob(32) AS BLOB), 1, randomblob(16)),
        (CAST(x'01' || randomblob(32) AS BLOB), 4096, randomblob(16)),
        (CAST(x'01' || randomblob(32) AS BLOB), 5000, randomblob(16));
    INSERT INTO links (repo, digest, leased_at) SELECT 1, digest, 0 FROM blobs WHERE size <> 4096;
    INSERT INTO links (repo, digest, leased_at) SELECT 2, digest, 0 FROM blobs WHERE size <> 1;
    INSERT INTO review (kind, repo, digest, since) SELECT 0, repo, digest, 0 FROM links;
    INSERT INTO manifests (id, repo, digest, pushed_at, leased_at, size, media_type, content)
    VALUES (1, 1, CAST(x'01' || randomblob(32) AS BLOB), 0, 0, 1, 'm', 'x');
    INSERT INTO tags (repo, name, manifest, updated_at) VALUES (1, 'v1', 1, 0), (1, 'v2', 1, 0);
    INSERT INTO tag_history (repo, name, digest, at) SELECT repo, name, x'01', 0 FROM tags;
    INSERT INTO doomed (generation, digest, size)
    VALUES (randomblob(16), CAST(x'01' || randomblob(32) AS BLOB), 4097);";

#[tokio::test]
async fn usage_counters_are_initialised_from_existing_rows() {
    let folder = Folder::new();
    open::create_old_database(folder.path(), 1).execute_batch(OLD_ROWS).expect("filled");
    let store = folder.store();
    let app = store.usage(&"team/app".parse().expect("a scope")).await.expect("read");
    let expected = Usage {
        repositories: 1,
        tags: 2,
        manifests: 1,
        links: 2,
        logical: 5001,
        bytes: 5001,
        allocated: 4096 + 8192,
        exclusive: 4096,
    };
    assert_eq!(app, expected);
    let totals = store.totals().await.expect("read");
    assert_eq!((totals.blob_allocated, totals.pending_deletion_allocated), (4 * 4096, 2 * 4096));
    let unmeasured = store.unmeasured(10).await.expect("read");
    assert_eq!(unmeasured.len(), 3);
    assert!(unmeasured.iter().all(|blob| blob.allocated.is_none()));
    let measured = unmeasured.into_iter().map(|blob| (blob.key, 512)).collect();
    store.record_allocated(measured).await.expect("recorded");
    assert_eq!(store.unmeasured(10).await.expect("read"), []);
    assert_eq!(store.totals().await.expect("read").blob_allocated, 3 * 512);
    Scene::new(std::sync::Arc::new(store)).assert_consistent().await;
}

/// Tags of an older version are listed in the order of versions before and after their keys are filled in.
#[tokio::test]
async fn old_tags_are_sorted_by_version() {
    let folder = Folder::new();
    let connection = open::create_old_database(folder.path(), 16);
    let rows = format!(
        "{OLD_ROWS}
         UPDATE tags SET name = CASE name WHEN 'v1' THEN '1.10' ELSE '1.9' END;
         {RECOUNT}"
    );
    connection.execute_batch(&rows).expect("filled");
    drop(connection);
    let store = folder.store();
    let query = ListQuery { sort: SortKey::Version, limit: 10, ..ListQuery::default() };
    let app = "team/app".parse().expect("name");
    for _ in 0..2 {
        let page = store.list_tags(&app, &query).await.expect("read").expect("there");
        let names: Vec<_> = page.items.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["1.9", "1.10"]);
        assert!(!store.fill_version_keys(10).await.expect("filled"));
    }
}

/// Inserts rows whose details have no size limit, as schema versions before the thirteenth did: an image with a
/// megabyte of labels, two more images that share its config, an index with many platforms, and a referrer with long
/// annotations and a long artifact type.
fn insert_oversized_details(connection: &rusqlite::Connection) {
    let config = format!("sha256:{}", "ab".repeat(32));
    let image = format!(r#"{{"config":{{"mediaType":"a/b","digest":"{config}"}},"layers":[]}}"#);
    let long = "x".repeat(1 << 20);
    let details = format!(r#"{{"platforms":["linux/arm64"],"labels":{{"a":"1","long":"{long}"}}}}"#);
    let child = |n: u32| format!(r#"{{"platform":{{"os":"linux","architecture":"a{n}"}}}}"#);
    let index = format!(r#"{{"manifests":[{}]}}"#, (0..100).map(child).collect::<Vec<_>>().join(","));
    let platforms = (0..100).map(|n| format!(r#""linux/a{n}""#)).collect::<Vec<_>>().join(",");
    let platforms = format!(r#"{{"platforms":[{platforms}]}}"#);
    let annotations = format!(r#"{{"k":"v","long":"{long}"}}"#);
    let referrer = format!(r#"{{"artifactType":"a/{}","annotations":{annotations}}}"#, "b".repeat(300));
    let small = r#"{"platforms":["linux/amd64"],"labels":{"a":"1"}}"#;
    let artifact_type = format!("a/{}", "b".repeat(300));
    let rows = [
        (1, &image, None, None, Some(details.as_str())),
        (2, &image, None, None, Some(details.as_str())),
        (3, &index, None, None, Some(platforms.as_str())),
        (4, &referrer, Some(artifact_type.as_str()), Some(annotations.as_str()), None),
        (5, &image, None, None, Some(small)),
    ];
    connection
        .execute_batch("INSERT INTO repositories (id, name, created_at) VALUES (1, 'app', 0)")
        .expect("filled");
    for (id, content, artifact_type, annotations, details) in rows {
        connection
            .execute(
                "INSERT INTO manifests (id, repo, digest, pushed_at, leased_at, size, media_type, artifact_type,
                                        annotations, content, details)
                 VALUES (?1, 1, ?2, 0, 0, 1, 'm/m', ?3, ?4, ?5, ?6)",
                rusqlite::params![
                    id,
                    digest(&id.to_string()),
                    artifact_type,
                    annotations,
                    content.as_bytes(),
                    details
                ],
            )
            .expect("filled");
    }
    let links = format!(
        "INSERT INTO blobs (digest, size, generation) VALUES (x'01{0}', 1, randomblob(16));
         INSERT INTO links (repo, digest, leased_at) VALUES (1, x'01{0}', 0);
         INSERT INTO review (kind, repo, digest, since) SELECT 0, repo, digest, 0 FROM links;
         INSERT INTO review (kind, repo, digest, since) SELECT 1, repo, digest, 0 FROM manifests;",
        "ab".repeat(32)
    );
    connection.execute_batch(&links).expect("filled");
}

fn digest(name: &str) -> Vec<u8> {
    crate::metadata::sql::digest(&crate::metadata::suite::digest(name))
}

async fn manifest_facts(store: &Metadata, name: &str) -> ManifestFacts {
    let needs =
        Needs { labels: ["a".to_owned()].into(), annotations: ["k".to_owned()].into(), platforms: true };
    let query = SnapshotQuery { past: 0, needs };
    let loaded = store.retention_snapshot(&repo("app"), &query).await.expect("read").expect("there");
    assert_eq!(loaded.unread, []);
    let digest = crate::metadata::suite::digest(name);
    loaded.snapshot.manifests.into_iter().find(|facts| facts.digest == digest).expect("there")
}

async fn assert_details_are_bounded(store: Metadata) {
    let count_oversized = "SELECT count(*) FROM manifests
                     WHERE annotations IS NOT NULL OR length(details) > 2000 OR length(artifact_type) > 255";
    let count =
        |sql: &'static str| store.read(move |c| c.query_row(sql, [], |row| row.get::<i64>(0))).expect("read");
    assert_eq!(count(count_oversized), 0);
    assert_eq!(
        (count("SELECT count(*) FROM configs"), count("SELECT sum(length(labels)) FROM configs")),
        (1, 9)
    );
    assert_eq!(count("SELECT count(*) FROM facts WHERE key = 'details_bounded_to'"), 0);
    let labels = std::collections::BTreeMap::from([("a".to_owned(), "1".to_owned())]);
    for (name, platform) in [("1", "linux/arm64"), ("2", "linux/arm64"), ("5", "linux/amd64")] {
        let found = manifest_facts(&store, name).await;
        assert_eq!(
            (found.platforms.expect("known"), found.labels.as_ref()),
            (vec![platform.to_owned()], Some(&labels))
        );
    }
    assert_eq!(manifest_facts(&store, "3").await.platforms.expect("known").len(), 100);
    let referrer = manifest_facts(&store, "4").await;
    assert_eq!(referrer.annotations.expect("known")["k"], "v");
    assert_eq!(referrer.artifact_type.expect("known").len(), 302);
    Scene::new(std::sync::Arc::new(store)).assert_consistent().await;
}

#[tokio::test]
async fn oversized_details_are_bounded() {
    let folder = Folder::new();
    insert_oversized_details(&open::create_old_database(folder.path(), 11));
    assert_details_are_bounded(folder.store()).await;
}

/// The start was interrupted after the schema migration, before the last batch of rows was bounded.
#[tokio::test]
async fn interrupted_migration_continues() {
    let folder = Folder::new();
    let connection = open::create_old_database(folder.path(), open::SCHEMA_VERSION.cast_signed());
    insert_oversized_details(&connection);
    // The first row is already bounded.
    let first_batch = "UPDATE facts SET value = '1' WHERE key = 'details_bounded_to';
                UPDATE manifests SET details = NULL, config = (SELECT digest FROM blobs) WHERE id = 1;";
    connection.execute_batch(first_batch).expect("changed");
    connection.execute_batch(RECOUNT).expect("counted");
    drop(connection);
    assert_details_are_bounded(folder.store()).await;
}

/// What was pushed before adoptions existed is verified, released and not hardlinked.
#[tokio::test]
async fn old_content_was_not_adopted() {
    let folder = Folder::new();
    let connection = open::create_old_database(folder.path(), 17);
    connection.execute_batch(&format!("{OLD_ROWS} DELETE FROM doomed; {RECOUNT}")).expect("filled");
    drop(connection);
    let store = folder.store();
    assert_eq!(store.adoption_figures().await.expect("read"), crate::metadata::AdoptionFigures::default());
    assert_eq!(store.adopting_keys().await.expect("read"), []);
    Scene::new(std::sync::Arc::new(store)).assert_consistent().await;
}
