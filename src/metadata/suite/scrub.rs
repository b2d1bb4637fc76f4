//! What the scrub keeps among the facts.

use super::scene::SIZE;
use super::*;
use crate::metadata::DamagedBlob;

/// In order, by pages, until a push heals it.
pub async fn what_is_set_aside_is_listed_with_who_links_it(s: &Scene) {
    let mut marked = Vec::new();
    for name in ["one", "two", "three"] {
        let key = s.push("app", name, 1).await;
        s.store.mount_blob(&repo("other"), &digest(name), None, at(1)).await.expect("mounted");
        assert!(s.mark(&key, true, 1).await);
        marked.push(key);
    }
    s.push("app", "sound", 1).await;
    marked.sort();
    let found = s.store.damaged(None, 2).await.expect("listed").items;
    let expected =
        DamagedBlob { key: marked[0].clone(), size: SIZE, repos: vec![repo("app"), repo("other")] };
    assert_eq!((found.len(), &found[0]), (2, &expected));
    let rest = s.store.damaged(Some(&found[1].key.digest), 2).await.expect("listed").items;
    assert_eq!(rest.iter().map(|blob| &blob.key).collect::<Vec<_>>(), [&marked[2]]);
    assert_eq!(s.store.count_damaged(10).await.expect("counted"), 3);
    assert_eq!(s.store.count_damaged(2).await.expect("counted"), 2);
    s.push("app", "two", 2).await;
    assert_eq!(s.store.count_damaged(10).await.expect("counted"), 2);
}

/// As it was written down last.
pub async fn the_place_of_the_scrub_is_told(s: &Scene) {
    assert_eq!(s.store.scrub_place().await.expect("read"), None);
    for place in ["here", "there"] {
        s.store.note_scrub_place(place).await.expect("written");
        assert_eq!(s.store.scrub_place().await.expect("read").as_deref(), Some(place));
    }
}
