//! What reports cost over a million blobs. Not part of every run:
//! `cargo test --release --lib large -- --ignored --nocapture`.

use std::time::Instant;

use super::Folder;
use crate::metadata::sqlite::SqliteMetadata;
use crate::metadata::sqlite::writer::Durability;
use crate::metadata::suite::{at, repo, rules};
use crate::metadata::{Accounting, Scope};
use crate::oci::{Digest, Reference};

/// Repositories with `?2` images each, of ten blobs: eight of its own, one that its neighbour in the repository has
/// too, and a base of the whole registry. A tenth are in the trash, a tenth untagged.
const FILL: &str = "
    CREATE TEMP TABLE n (i INTEGER PRIMARY KEY);
    INSERT INTO n WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 1000000) SELECT i FROM c;
    CREATE TEMP TABLE made (i INTEGER PRIMARY KEY, digest BLOB);
    INSERT INTO made SELECT i, CAST(x'01' || randomblob(32) AS BLOB) FROM n;
    INSERT INTO repositories (id, name, created_at)
    SELECT i, CASE WHEN i <= 50 THEN 'team/app' ELSE 'other/app' END || i, 0 FROM n WHERE i <= 100000 / ?2;
    INSERT INTO blobs (digest, size, generation, allocated, measured)
    SELECT digest, 1000 + i, randomblob(16), 4096, 1 FROM made ORDER BY digest;
    INSERT INTO manifests (id, repo, digest, pushed_at, leased_at, size, media_type, content)
    SELECT i, (i - 1) / ?2 + 1, CAST(x'01' || randomblob(32) AS BLOB), ?1, ?1, 900, 'm', zeroblob(900) FROM n WHERE i <= 100000;
    CREATE TEMP TABLE e (manifest INTEGER, blob INTEGER);
    INSERT INTO e SELECT (i - 1) / 10 + 1, i FROM n WHERE i % 10 <> 0;
    INSERT INTO e SELECT (i - 1) / 10 + 1, i - 11 FROM n WHERE i % 10 = 0 AND (i / 10 - 1) % ?2 <> 0;
    INSERT INTO e SELECT i, 10 * (1 + i % 5) FROM n WHERE i <= 100000;
    INSERT OR IGNORE INTO links (repo, digest, leased_at)
    SELECT (e.manifest - 1) / ?2 + 1 AS repo, m.digest, ?1 FROM e JOIN made m ON m.i = e.blob ORDER BY 1, 2;
    INSERT OR IGNORE INTO edges (manifest, target, kind, repo, required)
    SELECT e.manifest, m.digest, 0, (e.manifest - 1) / ?2 + 1, 1 FROM e JOIN made m ON m.i = e.blob ORDER BY 1, 2;
    INSERT INTO tags (repo, name, manifest, updated_at)
    SELECT repo, 't' || id, id, pushed_at FROM manifests WHERE id % 10 > 1 ORDER BY repo, 't' || id;
    UPDATE manifests SET state = 1, removed_at = ?1 WHERE id % 10 = 0;
    INSERT INTO review (kind, repo, digest, since) SELECT 1, repo, digest, ?1 FROM manifests WHERE id % 10 = 1;";

async fn filled(folder: &Folder, images: u32) -> SqliteMetadata {
    let store = folder.store();
    let fill = FILL.replace("?1", &at(0).0.to_string()).replace("?2", &images.to_string());
    store.write(Durability::Lazy, move |c| c.execute_batch(&fill)).await.expect("filled");
    // The last to close it folds the log in: no server's log is ever as long as that of the filling.
    drop(store);
    folder.store()
}

async fn timed<T>(what: &str, work: impl Future<Output = T>) -> T {
    let start = Instant::now();
    let outcome = work.await;
    println!("{what}: {} ms", start.elapsed().as_millis());
    outcome
}

fn manifests(store: &SqliteMetadata, wanted: &str) -> Vec<(crate::oci::RepoName, Digest)> {
    let sql = format!(
        "SELECT r.name, m.digest FROM manifests m JOIN repositories r ON r.id = m.repo WHERE {wanted}"
    );
    let read = store.read(|c| {
        let mut query = c.prepare(&sql)?;
        let rows = query.query_map([], |row| {
            let name: String = row.get(0)?;
            Ok((repo(&name), crate::metadata::sqlite::blobs::read_digest(&row.get::<_, Vec<u8>>(1)?)?))
        })?;
        rows.collect::<rusqlite::Result<Vec<_>>>()
    });
    read.expect("read")
}

#[tokio::test]
#[ignore = "a million blobs: run it in release"]
async fn reports_over_a_million_blobs() {
    let folder = Folder::new();
    let store = filled(&folder, 1000).await;
    let (all, prefix, one) =
        (Scope::All, "team/".parse().expect("a scope"), "team/app7".parse().expect("a scope"));
    for round in ["cold", "warm"] {
        println!("-- {round}");
        let whole = Instant::now();
        timed("usage of all", store.usage(&all)).await.expect("told");
        let holdings = timed("holdings", store.holdings(&all, &rules(1))).await.expect("told");
        timed("biggest repositories", store.biggest_repositories(&all, 10_000)).await.expect("told");
        timed("biggest blobs", store.biggest_blobs(&Scope::All, 10)).await.expect("told");
        timed("coldest tags", store.coldest_tags(&all, 10)).await.expect("told");
        println!("whole report: {} ms, {holdings:?}", whole.elapsed().as_millis());
        timed("usage of a repository", store.usage(&one)).await.expect("told");
        timed("holdings of a repository", store.holdings(&one, &rules(1))).await.expect("told");
        timed("holdings of a prefix", store.holdings(&prefix, &rules(1))).await.expect("told");
        let usage = timed("usage of a prefix", store.usage(&prefix)).await.expect("told");
        println!("{usage:?}");
    }
    let image = &manifests(&store, "m.id = 5005")[0];
    let reference = Reference::Digest(image.1.clone());
    let why = timed("why a manifest", store.why_manifest(&image.0, &reference, &rules(1), 10)).await;
    println!("frees {}", why.expect("told").expect("there").frees);
    let base = store.biggest_blobs(&Scope::All, 1).await.expect("told");
    timed("why a blob", store.why_blob(&base[0].digest, &rules(1), 10)).await.expect("told");
    let shared = store.read(|c| {
        c.query_row("SELECT digest FROM blobs WHERE links > 50 LIMIT 1", [], |row| row.get::<_, Vec<u8>>(0))
    });
    let shared = crate::metadata::sqlite::blobs::read_digest(&shared.expect("there")).expect("a digest");
    timed("why a base", store.why_blob(&shared, &rules(1), 10)).await.expect("told");
    for (what, wanted) in [("10,000", "m.id % 10 = 5"), ("50,000", "m.id <= 50000"), ("100,000", "1")] {
        let going = manifests(&store, wanted);
        let freed = timed(&format!("would free: {what} manifests"), store.would_free(going)).await;
        println!("frees {}", freed.expect("told"));
    }
}

/// All of it in one repository; then also all of it leased, as after a push of everything within a day; then as
/// before the manifests of that.
#[tokio::test]
#[ignore = "a million blobs: run it in release"]
async fn reports_over_a_million_blobs_in_one_repository() {
    let folder = Folder::new();
    let store = filled(&folder, 100_000).await;
    let one: Scope = "team/app1".parse().expect("a scope");
    let lease = "INSERT INTO review (kind, repo, digest, since) SELECT 0, repo, digest, 0 FROM links";
    let bare =
        "DELETE FROM tags; DELETE FROM edges; DELETE FROM manifests; DELETE FROM review WHERE kind = 1";
    for round in ["cold", "warm", "leased", "leased, warm", "without manifests", "without manifests, warm"] {
        let change =
            [("leased", lease), ("without manifests", bare)].into_iter().find(|(of, _)| *of == round);
        if let Some((_, change)) = change {
            store.write(Durability::Lazy, move |c| c.execute_batch(change)).await.expect("changed");
        }
        println!("-- {round}");
        let whole = Instant::now();
        timed("usage", store.usage(&one)).await.expect("told");
        let holdings = timed("holdings", store.holdings(&one, &rules(1))).await.expect("told");
        timed("biggest repositories", store.biggest_repositories(&one, 10_000)).await.expect("told");
        timed("biggest blobs", store.biggest_blobs(&Scope::All, 10)).await.expect("told");
        timed("coldest tags", store.coldest_tags(&one, 10)).await.expect("told");
        println!("whole report: {} ms, {holdings:?}", whole.elapsed().as_millis());
    }
}

/// What a scrape has looked up aside, where there are many repositories.
#[tokio::test]
#[ignore = "many repositories: run it in release"]
async fn large_registries_are_told_by_prefix() {
    let folder = Folder::new();
    let store = folder.store();
    let fill = "INSERT INTO repositories (name, created_at, own_allocated, allocated)
        WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < ?1)
        SELECT 'team' || (i % (?1 / 2)) || '/app' || i, 0, i, 2 * i FROM c";
    store.write(Durability::Lazy, |c| c.execute(fill, [10_000])).await.expect("filled");
    for round in ["cold", "warm"] {
        let told = timed(round, store.biggest_prefixes(50)).await.expect("told");
        assert_eq!((told.len(), told[50].repositories), (51, 10_000 - 100));
    }
}
