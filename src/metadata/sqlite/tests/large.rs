//! Measures the cost of reports over a million blobs. Not part of every run:
//! `cargo test --release --lib large -- --ignored --nocapture`.

use std::time::Instant;

use super::{Folder, RECOUNT};
use crate::metadata::Durability;
use crate::metadata::Metadata;
use crate::metadata::Scope;
use crate::metadata::suite::{at, repo, rules};
use crate::oci::{Digest, Reference};

/// Repositories with `?2` images of ten blobs each: eight of the image alone, one shared with its neighbour in the
/// repository, and a base shared by the whole registry. A tenth of the images are in the trash, a tenth are untagged.
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

async fn filled_store(folder: &Folder, images: u32) -> Metadata {
    let store = folder.store();
    let fill = FILL.replace("?1", &at(0).0.to_string()).replace("?2", &images.to_string()) + RECOUNT;
    store.write(Durability::Lazy, move |c| c.execute_batch(&fill)).await.expect("filled");
    // Closing the last connection checkpoints the log: a server's log is never as long as the log of this filling.
    drop(store);
    folder.store()
}

async fn timed<T>(what: &str, work: impl Future<Output = T>) -> T {
    let start = Instant::now();
    let outcome = work.await;
    println!("{what}: {} ms", start.elapsed().as_millis());
    outcome
}

fn manifests(store: &Metadata, wanted: &str) -> Vec<(crate::oci::RepoName, Digest)> {
    let sql = format!(
        "SELECT r.name, m.digest FROM manifests m JOIN repositories r ON r.id = m.repo WHERE {wanted}"
    );
    let read = store.read(|c| {
        let mut query = c.prepare_cached(&sql)?;
        let rows = query.query_map([], |row| {
            let name: String = row.get(0)?;
            Ok((repo(&name), crate::metadata::ops::blobs::read_digest(&row.get::<Vec<u8>>(1)?)?))
        })?;
        rows.collect::<crate::metadata::sql::Result<Vec<_>>>()
    });
    read.expect("read")
}

#[tokio::test]
#[ignore = "a million blobs: run it in release"]
async fn reports_over_a_million_blobs() {
    let folder = Folder::new();
    let store = filled_store(&folder, 1000).await;
    let all = Scope::All;
    let prefix = "team/".parse().expect("a scope");
    let one = "team/app7".parse().expect("a scope");
    for round in ["cold", "warm"] {
        println!("-- {round}");
        let whole = Instant::now();
        timed("usage of all", store.usage(&all)).await.expect("read");
        let summary =
            timed("reclaimable summary", store.reclaimable_summary(&all, &rules(1))).await.expect("read");
        timed("biggest repositories", store.biggest_repositories(&all, 10_000)).await.expect("read");
        timed("biggest blobs", store.biggest_blobs(&Scope::All, 10)).await.expect("read");
        timed("coldest tags", store.coldest_tags(&all, 10)).await.expect("read");
        println!("whole report: {} ms, {summary:?}", whole.elapsed().as_millis());
        timed("usage of a repository", store.usage(&one)).await.expect("read");
        timed("reclaimable summary of a repository", store.reclaimable_summary(&one, &rules(1)))
            .await
            .expect("read");
        timed("reclaimable summary of a prefix", store.reclaimable_summary(&prefix, &rules(1)))
            .await
            .expect("read");
        let usage = timed("usage of a prefix", store.usage(&prefix)).await.expect("read");
        println!("{usage:?}");
    }
    let image = &manifests(&store, "m.id = 5005")[0];
    let reference = Reference::Digest(image.1.clone());
    let why = timed("why a manifest", store.why_manifest(&image.0, &reference, &rules(1), 10)).await;
    println!("frees {}", why.expect("read").expect("there").frees);
    let base = store.biggest_blobs(&Scope::All, 1).await.expect("read");
    timed("why a blob", store.why_blob(&base[0].digest, &rules(1), 10)).await.expect("read");
    let shared = store.read(|c| {
        c.query_row("SELECT digest FROM blobs WHERE links > 50 LIMIT 1", [], |row| row.get::<Vec<u8>>(0))
    });
    let shared = crate::metadata::ops::blobs::read_digest(&shared.expect("there")).expect("a digest");
    timed("why a base", store.why_blob(&shared, &rules(1), 10)).await.expect("read");
    for (what, wanted) in [("10,000", "m.id % 10 = 5"), ("50,000", "m.id <= 50000"), ("100,000", "1")] {
        let going = manifests(&store, wanted);
        let freed = timed(&format!("would free: {what} manifests"), store.would_free(going)).await;
        println!("frees {}", freed.expect("read"));
    }
}

/// Everything in one repository; then with a lease on all of it, as if everything had been pushed within a day; then
/// also without manifests, as if they had not been pushed yet.
#[tokio::test]
#[ignore = "a million blobs: run it in release"]
async fn reports_over_a_million_blobs_in_one_repository() {
    let folder = Folder::new();
    let store = filled_store(&folder, 100_000).await;
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
        timed("usage", store.usage(&one)).await.expect("read");
        let summary =
            timed("reclaimable summary", store.reclaimable_summary(&one, &rules(1))).await.expect("read");
        timed("biggest repositories", store.biggest_repositories(&one, 10_000)).await.expect("read");
        timed("biggest blobs", store.biggest_blobs(&Scope::All, 10)).await.expect("read");
        timed("coldest tags", store.coldest_tags(&one, 10)).await.expect("read");
        println!("whole report: {} ms, {summary:?}", whole.elapsed().as_millis());
    }
}

/// The report that a scrape of the metrics runs on the blocking pool, with many repositories.
#[tokio::test]
#[ignore = "many repositories: run it in release"]
async fn reports_large_registries_by_prefix() {
    let folder = Folder::new();
    let store = folder.store();
    let fill = "INSERT INTO repositories (name, created_at, own_allocated, allocated)
        WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < ?1)
        SELECT 'team' || (i % (?1 / 2)) || '/app' || i, 0, i, 2 * i FROM c";
    store.write(Durability::Lazy, |c| c.execute(fill, [10_000_i64])).await.expect("filled");
    for round in ["cold", "warm"] {
        let prefixes = timed(round, store.biggest_prefixes(50)).await.expect("read");
        assert_eq!((prefixes.len(), prefixes[50].repositories), (51, 10_000 - 100));
    }
}
