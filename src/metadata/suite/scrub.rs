//! The scrub's records.

use super::scene::SIZE;
use super::*;
use crate::metadata::QuarantinedBlob;

/// In order, by pages, until a push repairs them.
pub async fn quarantined_blobs_are_listed_with_their_repositories(s: &Scene) {
    let mut marked = Vec::new();
    for name in ["one", "two", "three"] {
        let key = s.push("app", name, 1).await;
        s.store.mount_blob(&repo("other"), &digest(name), None, at(1)).await.expect("mounted");
        assert!(s.mark(&key, true, 1).await);
        marked.push(key);
    }
    s.push("app", "sound", 1).await;
    marked.sort();
    let found = s.store.quarantined_blobs(None, 2).await.expect("listed").items;
    let expected =
        QuarantinedBlob { key: marked[0].clone(), size: SIZE, repos: vec![repo("app"), repo("other")] };
    assert_eq!((found.len(), &found[0]), (2, &expected));
    let rest = s.store.quarantined_blobs(Some(&found[1].key.digest), 2).await.expect("listed").items;
    assert_eq!(rest.iter().map(|blob| &blob.key).collect::<Vec<_>>(), [&marked[2]]);
    assert_eq!(s.store.count_quarantined(10).await.expect("counted"), 3);
    assert_eq!(s.store.count_quarantined(2).await.expect("counted"), 2);
    s.push("app", "two", 2).await;
    assert_eq!(s.store.count_quarantined(10).await.expect("counted"), 2);
}

/// The last recorded position is returned.
pub async fn scrub_position_is_recorded(s: &Scene) {
    assert_eq!(s.store.scrub_position().await.expect("read"), None);
    for position in ["here", "there"] {
        s.store.record_scrub_position(position).await.expect("recorded");
        assert_eq!(s.store.scrub_position().await.expect("read").as_deref(), Some(position));
    }
}
