//! A repository of 100,000 tags is loaded and evaluated within two seconds.

use std::time::Instant;

use super::{Folder, RECOUNT};
use crate::clock::Timestamp;
use crate::metadata::Durability;
use crate::metadata::SnapshotQuery;
use crate::metadata::suite::repo;
use crate::retention::{Policies, evaluate};

const FILL: &str = "
    INSERT INTO repositories (id, name, created_at) VALUES (1, 'app', 0);
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
    INSERT INTO manifests (id, repo, digest, pushed_at, leased_at, size, media_type, content, details)
    SELECT i, 1, CAST(x'01' || randomblob(32) AS BLOB), i * 60000, 0, 1500, 'application/vnd.oci.image.manifest.v1+json',
           zeroblob(1500), '{\"platforms\":[\"linux/amd64\"],\"labels\":{\"team\":\"a\",\"commit\":\"b\"}}' FROM n;
    INSERT INTO edges (manifest, target, kind, repo, required)
    SELECT m.id, CAST(x'01' || randomblob(32) AS BLOB), 0, 1, 1 FROM manifests m, (VALUES (1), (2), (3), (4), (5));
    INSERT INTO tags (repo, name, manifest, updated_at) SELECT 1, printf('main-%07x', id), id, pushed_at FROM manifests;
    INSERT INTO tag_history (repo, name, digest, at)
    SELECT 1, printf('main-%07x', id), digest, pushed_at FROM manifests;";

/// Run with `cargo test --release --lib plans_retention_for_100_000_tags -- --ignored --nocapture`.
#[tokio::test]
#[ignore = "measures time: run it by hand in release"]
async fn plans_retention_for_100_000_tags() {
    let folder = Folder::new();
    let store = folder.store();
    let fill = [FILL, RECOUNT].concat();
    store.write(Durability::Lazy, move |c| c.execute_batch(&fill)).await.expect("filled");
    let text = "[[policies]]\npreset = \"ci\"\n[[policies]]\npreset = \"home\"\nrepositories = [\"app\"]";
    let (policies, _) = toml::from_str::<Policies>(text).expect("read").compile().expect("sound");
    let started = Instant::now();
    let depth = policies.history_depth(&repo("app"), false);
    let query = SnapshotQuery { past: depth, needs: policies.needs(&repo("app"), false) };
    let loaded = store.retention_snapshot(&repo("app"), &query).await.expect("read").expect("there");
    let mut snapshot = loaded.snapshot;
    snapshot.inherit_details();
    let read = started.elapsed();
    let plan = evaluate(&snapshot, &policies, Timestamp(100_000 * 60_000), false);
    println!("read in {read:?}, evaluated after {:?}: {} steps", started.elapsed(), plan.steps().len());
    assert!(started.elapsed().as_secs() < 2);
}
