//! Tests that the cost of a page of repositories depends on its entries, not on the number of repositories that the
//! caller may not see.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::Connection;

use super::Folder;
use crate::metadata::queries::listings::{names_page, repositories_page};
use crate::metadata::sql;
use crate::metadata::{ListPage, ListQuery, MAX_EXAMINED, NameRange, RepositoryEntry, SortKey, Visible};

const SORTS: [SortKey; 4] = [SortKey::Name, SortKey::Size, SortKey::Pushed, SortKey::Pulled];

/// Creates `others` repositories `other/N` with an image each, and `team/a`. In every sort order, `team/a` comes in the
/// middle.
fn create_repositories(folder: &Folder, others: usize) -> Connection {
    drop(folder.store());
    let connection = Connection::open(folder.path().join("orlop.db")).expect("opened");
    let fill = format!(
        "BEGIN;
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {others})
         INSERT INTO repositories (name, created_at, bytes) SELECT 'other/' || i, 0, i FROM n;
         INSERT INTO repositories (name, created_at, bytes) VALUES ('team/a', 0, {others} / 2);
         INSERT INTO manifests (repo, digest, pushed_at, leased_at, size, media_type, content)
         SELECT id, CAST(x'01' || randomblob(32) AS BLOB), bytes, 0, 1, 'm', 'x' FROM repositories;
         UPDATE manifests SET pulled_at = pushed_at;
         UPDATE repositories SET live = 1, pushed_at = bytes, pulled_at = bytes;
         COMMIT;"
    );
    connection.execute_batch(&fill).expect("filled");
    connection
}

/// Returns the result of `list`, and how many instructions SQLite executed for it.
fn count_steps<T>(c: &mut Connection, list: impl Fn(&dyn sql::Connection) -> sql::Result<T>) -> (T, u64) {
    // The first call prepares the statements.
    list(c).expect("listed");
    let steps = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&steps);
    let count_step = move || {
        count.fetch_add(1, Ordering::Relaxed);
        false
    };
    c.progress_handler(1, Some(count_step)).expect("handler set");
    let found = list(c).expect("listed");
    c.progress_handler(0, None::<fn() -> bool>).expect("handler removed");
    (found, steps.load(Ordering::Relaxed))
}

fn names(page: &ListPage<RepositoryEntry>) -> Vec<&str> {
    page.items.iter().map(|entry| entry.name.as_str()).collect()
}

#[test]
fn few_visible_repositories_are_found_without_reading_the_others() {
    let folder = Folder::new();
    let mut c = create_repositories(&folder, 5000);
    let team = Visible::from_ranges([NameRange::prefix("team/")]);
    for (sort, descending) in SORTS.into_iter().flat_map(|sort| [(sort, false), (sort, true)]) {
        let query = ListQuery { sort, descending, limit: 1, ..ListQuery::default() };
        let (page, steps) = count_steps(&mut c, |c| repositories_page(c, &query, &team));
        assert_eq!((names(&page), &page.next), (vec!["team/a"], &None), "{sort:?}");
        assert!(steps < 500, "{sort:?}: {steps} steps");
        let (page, steps) = count_steps(&mut c, |c| repositories_page(c, &query, &Visible::all()));
        assert_eq!(page.items.len(), 1);
        assert!(steps < 500, "{sort:?}: {steps} steps");
    }
    let (page, steps) = count_steps(&mut c, |c| names_page(c, None, 1, &team));
    assert_eq!((page.items.len(), page.next), (1, None));
    assert!(steps < 500, "{steps} steps");
}

#[test]
fn page_ends_after_examining_the_maximum_number_of_rows() {
    let folder = Folder::new();
    let mut c = create_repositories(&folder, 2 * MAX_EXAMINED);
    let matches = Visible::default().or_matching([NameRange::prefix("")], Arc::new(|name| name == "team/a"));
    let search = ListQuery { search: Some("team".into()), limit: 1, ..ListQuery::default() };
    for (sort, descending) in SORTS.into_iter().flat_map(|sort| [(sort, false), (sort, true)]) {
        let query = ListQuery { sort, descending, limit: 1, ..ListQuery::default() };
        for (query, visible) in [(query, &matches), (ListQuery { sort, ..search.clone() }, &Visible::all())] {
            let mut query = query;
            let mut found = Vec::new();
            let mut pages = 0;
            loop {
                let (page, steps) = count_steps(&mut c, |c| repositories_page(c, &query, visible));
                assert!(steps < 50 * MAX_EXAMINED as u64, "{sort:?}: {steps} steps");
                found.extend(names(&page).into_iter().map(str::to_owned));
                pages += 1;
                let Some(next) = page.next else { break };
                let is_visible = next.place.name.parse().is_ok_and(|name| visible.shows(&name));
                assert!(next.hidden || is_visible, "{next:?}");
                query.after = Some(next.place);
            }
            assert_eq!(found, ["team/a"], "{sort:?} {descending}");
            assert!((2..=3).contains(&pages), "{pages}");
        }
    }
}

#[test]
fn empty_repositories_are_skipped_without_reading_them() {
    let folder = Folder::new();
    let mut c = create_repositories(&folder, 5000);
    let remove = "UPDATE manifests SET state = 1, removed_at = 0 WHERE repo < 5000;
                  UPDATE repositories SET live = 0 WHERE id < 5000";
    c.execute_batch(remove).expect("removed");
    for sort in SORTS {
        let query = ListQuery { sort, limit: 1, ..ListQuery::default() };
        let (page, steps) = count_steps(&mut c, |c| repositories_page(c, &query, &Visible::all()));
        assert_eq!(page.items.len(), 1);
        assert!(steps < 500, "{sort:?}: {steps} steps");
    }
}
