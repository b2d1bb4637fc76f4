//! A database that an older version has filled is brought up to this one's.

use super::Folder;
use crate::metadata::sqlite::open;
use crate::metadata::suite::Scene;
use crate::metadata::{Accounting, Maintenance, Usage};

/// Two repositories: one blob of each alone, one of both; an image, and bytes about to be removed.
const FILL: &str = "
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
async fn accounts_are_opened_for_what_is_there() {
    let folder = Folder::new();
    open::make_old(folder.path(), 1).execute_batch(FILL).expect("filled");
    let store = folder.store();
    let app = store.usage(&"team/app".parse().expect("a scope")).await.expect("told");
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
    let totals = store.totals().await.expect("told");
    assert_eq!((totals.blob_allocated, totals.doomed_allocated), (4 * 4096, 2 * 4096));
    let guessed = store.unmeasured(10).await.expect("told");
    assert_eq!(guessed.len(), 3);
    assert!(guessed.iter().all(|blob| blob.allocated.is_none()));
    let measured = guessed.into_iter().map(|blob| (blob.key, 512)).collect();
    store.note_allocated(measured).await.expect("noted");
    assert_eq!(store.unmeasured(10).await.expect("told"), []);
    assert_eq!(store.totals().await.expect("told").blob_allocated, 3 * 512);
    Scene::new(std::sync::Arc::new(store)).verifies().await;
}
