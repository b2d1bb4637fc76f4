//! Finds the visible repositories of a page in a sort order.
//!
//! In the order of names, each visible range is a range of the index. The other orders have an index too, but the
//! visible repositories may lie anywhere in it: if they are few, they are found by name and sorted; if they are many,
//! the index of the order is scanned.

use std::cmp::Ordering;

use crate::clock::Timestamp;
use crate::metadata::queries::listings::entries;
use crate::metadata::queries::listings::walk::{Walk, direction};
use crate::metadata::sql::{Connection, Row, params};
use crate::metadata::{ListPage, ListQuery, NameRange, Place, RepositoryEntry, SortKey, Visible, sql};
use crate::oci::RepoName;

/// Up to this many repositories are sorted in memory for a page.
const MAX_SORTED: usize = 2000;

/// A repository that may belong to the page.
struct Candidate {
    id: i64,
    name: RepoName,
    number: i64,
}

/// A repository and when it was last pushed to.
pub(in crate::metadata) struct RecentRepository {
    pub(in crate::metadata) id: i64,
    pub(in crate::metadata) name: RepoName,
    pub(in crate::metadata) pushed_at: Timestamp,
}

impl Candidate {
    fn place(&self) -> Place {
        Place { number: self.number, name: self.name.as_str().to_owned() }
    }
}

/// Reads a page of names after `after`.
pub(in crate::metadata) fn names_page(
    c: &dyn Connection,
    after: Option<&str>,
    limit: usize,
    visible: &Visible,
) -> sql::Result<ListPage<RepoName>> {
    let after = after.map(|name| Place { number: 0, name: name.to_owned() });
    let query = ListQuery { after, limit, ..ListQuery::default() };
    let mut walk = Walk::new(limit);
    let mut add = |walk: &mut Walk<RepoName>, found: Candidate| {
        let weight = 16 + found.name.as_str().len();
        walk.add(found.place(), found.name, weight);
        Ok(())
    };
    by_name(c, &Search::new(&query, visible), &mut walk, &mut add)?;
    Ok(walk.finish())
}

/// Reads a page of repositories.
pub(in crate::metadata) fn repositories_page(
    c: &dyn Connection,
    query: &ListQuery,
    visible: &Visible,
) -> sql::Result<ListPage<RepositoryEntry>> {
    walk(c, query, visible).map(Walk::finish)
}

fn walk(c: &dyn Connection, query: &ListQuery, visible: &Visible) -> sql::Result<Walk<RepositoryEntry>> {
    let search = Search::new(query, visible);
    let mut walk = Walk::new(query.limit);
    let mut add = |walk: &mut Walk<RepositoryEntry>, found: Candidate| {
        if walk.is_full() {
            walk.end_after_last();
            return Ok(());
        }
        // It may have been removed in the meantime.
        match entries::repository(c, found.id)? {
            Some(entry) => walk.add_weighed(found.place(), entry),
            None => walk.skip_hidden(found.place()),
        }
        Ok(())
    };
    match query.sort {
        SortKey::Name | SortKey::Version => by_name(c, &search, &mut walk, &mut add)?,
        sort => by_number(c, sort, &search, &mut walk, &mut add)?,
    }
    Ok(walk)
}

/// Returns the `limit` visible repositories that were pushed to last, newest first: the id, name and time of each.
pub(in crate::metadata) fn recently_pushed(
    c: &dyn Connection,
    visible: &Visible,
    limit: usize,
) -> sql::Result<Vec<RecentRepository>> {
    let query = ListQuery { sort: SortKey::Pushed, descending: true, limit, ..ListQuery::default() };
    let mut walk = Walk::new(limit);
    let mut add = |walk: &mut Walk<RecentRepository>, found: Candidate| {
        let place = found.place();
        let Candidate { id, name, number } = found;
        walk.add(place, RecentRepository { id, name, pushed_at: Timestamp(number) }, 1);
        Ok(())
    };
    by_number(c, SortKey::Pushed, &Search::new(&query, visible), &mut walk, &mut add)?;
    Ok(walk.finish().items)
}

/// Returns the ids of the first `limit` visible repositories, in the order of their names.
pub(in crate::metadata) fn first_visible(
    c: &dyn Connection,
    visible: &Visible,
    limit: usize,
) -> sql::Result<Vec<i64>> {
    let query = ListQuery { limit, ..ListQuery::default() };
    let mut walk = Walk::new(limit);
    let mut add = |walk: &mut Walk<i64>, found: Candidate| {
        walk.add(found.place(), found.id, 1);
        Ok(())
    };
    by_name(c, &Search::new(&query, visible), &mut walk, &mut add)?;
    Ok(walk.finish().items)
}

/// The repositories to find.
struct Search<'q> {
    /// The visible repositories whose names have the prefix.
    visible: Visible,
    /// Text that their names must contain.
    text: Option<String>,
    after: Option<&'q Place>,
    descending: bool,
}

impl<'q> Search<'q> {
    fn new(query: &'q ListQuery, visible: &Visible) -> Self {
        let prefix = query.prefix.as_deref().unwrap_or("");
        Self {
            visible: visible.within(&NameRange::prefix(prefix)),
            text: query.search.as_ref().map(|text| text.to_lowercase()),
            after: query.after.as_ref(),
            descending: query.descending,
        }
    }

    fn matches(&self, name: &RepoName) -> bool {
        self.text.as_ref().is_none_or(|text| name.as_str().contains(text))
    }

    /// Whether a repository comes after the previous page.
    fn is_after_previous_page(&self, found: &Candidate) -> bool {
        let Some(after) = self.after else { return true };
        let place = (found.number, found.name.as_str()).cmp(&(after.number, &after.name));
        place == if self.descending { Ordering::Less } else { Ordering::Greater }
    }
}

type Add<'a, T> = dyn FnMut(&mut Walk<T>, Candidate) -> sql::Result<()> + 'a;

/// Adds a repository that matches the search, and skips any other.
fn examine<T>(
    search: &Search<'_>,
    found: Candidate,
    walk: &mut Walk<T>,
    add: &mut Add<'_, T>,
) -> sql::Result<()> {
    if !search.visible.shows(&found.name) {
        walk.skip_hidden(found.place());
    } else if search.matches(&found.name) {
        return add(walk, found);
    } else {
        walk.skip(found.place());
    }
    Ok(())
}

/// Scans the names in the visible ranges.
fn by_name<T>(
    c: &dyn Connection,
    search: &Search<'_>,
    walk: &mut Walk<T>,
    add: &mut Add<'_, T>,
) -> sql::Result<()> {
    let mut query = c.prepare_cached(if search.descending { NAMES_DOWN } else { NAMES_UP })?;
    let mut ranges = search.visible.search_ranges();
    if search.descending {
        ranges.reverse();
    }
    for range in ranges {
        let Some((from, to)) = remaining_range(&range, search) else { continue };
        let mut rows = query.query(params![from, to, walk.rows_left()])?;
        while !walk.has_ended()
            && let Some(row) = rows.next()?
        {
            let name = row.get(1)?;
            examine(search, Candidate { id: row.get(0)?, name, number: 0 }, walk, add)?;
        }
        if walk.has_ended() {
            return Ok(());
        }
        // Even an empty range costs a lookup.
        let end = if search.descending { range.start() } else { range.end() };
        walk.skip_hidden(Place { number: 0, name: end.to_owned() });
        if walk.has_ended() {
            return Ok(());
        }
    }
    Ok(())
}

/// The part of a range that comes after the previous page.
fn remaining_range(range: &NameRange, search: &Search<'_>) -> Option<(String, String)> {
    let mut from = range.start().to_owned();
    let mut to = range.end().to_owned();
    match search.after {
        Some(after) if search.descending => to = to.min(after.name.clone()),
        // The next text in byte order.
        Some(after) => from = from.max(format!("{}\0", after.name)),
        None => {}
    }
    (from < to).then_some((from, to))
}

/// Scans the index of the order, unless so few repositories are visible that they are found by name.
fn by_number<T>(
    c: &dyn Connection,
    sort: SortKey,
    search: &Search<'_>,
    walk: &mut Walk<T>,
    add: &mut Add<'_, T>,
) -> sql::Result<()> {
    if !search.visible.is_all()
        && let Some(candidates) = sorted_candidates(c, sort, search)?
    {
        for found in candidates {
            if walk.has_ended() {
                break;
            }
            examine(search, found, walk, add)?;
        }
        return Ok(());
    }
    // No name comes before the empty string or after `~`.
    let (number, name) = match (search.after, search.descending) {
        (Some(after), _) => (after.number, after.name.as_str()),
        (None, false) => (i64::MIN, ""),
        (None, true) => (i64::MAX, "~"),
    };
    let mut query = c.prepare_cached(&numbers(sort, search.descending))?;
    let mut rows = query.query(params![number, name, walk.rows_left()])?;
    while !walk.has_ended()
        && let Some(row) = rows.next()?
    {
        examine(search, read_candidate(row)?, walk, add)?;
    }
    Ok(())
}

/// Finds and sorts all visible repositories after the previous page. Returns `None` if there are too many.
fn sorted_candidates(
    c: &dyn Connection,
    sort: SortKey,
    search: &Search<'_>,
) -> sql::Result<Option<Vec<Candidate>>> {
    let mut query = c.prepare_cached(&numbers_by_name(sort))?;
    let mut found = Vec::new();
    let mut examined = 0;
    for range in search.visible.search_ranges() {
        let left = MAX_SORTED + 1 - examined;
        let mut rows = query.query(params![range.start(), range.end(), left])?;
        while let Some(row) = rows.next()? {
            examined += 1;
            if examined > MAX_SORTED {
                return Ok(None);
            }
            let candidate = read_candidate(row)?;
            if search.is_after_previous_page(&candidate) {
                found.push(candidate);
            }
        }
        // An empty range is not counted: its lookup costs less than scanning all invisible repositories.
    }
    found.sort_by(|one, other| (one.number, &one.name).cmp(&(other.number, &other.name)));
    if search.descending {
        found.reverse();
    }
    Ok(Some(found))
}

fn read_candidate(row: Row<'_>) -> sql::Result<Candidate> {
    let name = row.get(1)?;
    Ok(Candidate { id: row.get(0)?, name, number: row.get(2)? })
}

pub(in crate::metadata) const NAMES_UP: &str = "
    SELECT id, name FROM repositories WHERE name >= ?1 AND name < ?2 AND live > 0 ORDER BY name LIMIT ?3";

pub(in crate::metadata) const NAMES_DOWN: &str = "
    SELECT id, name FROM repositories WHERE name >= ?1 AND name < ?2 AND live > 0 ORDER BY name DESC LIMIT ?3";

fn column(sort: SortKey) -> &'static str {
    match sort {
        SortKey::Name | SortKey::Version => "0",
        SortKey::Size => "bytes",
        SortKey::Pushed => "pushed_at",
        SortKey::Pulled => "pulled_at",
    }
}

/// Query for the repositories after a number and a name.
pub(in crate::metadata) fn numbers(sort: SortKey, descending: bool) -> String {
    let (comparison, order) = direction(descending);
    let column = column(sort);
    format!(
        "SELECT id, name, {column} FROM repositories WHERE ({column}, name) {comparison} (?1, ?2) AND live > 0
         ORDER BY {column} {order}, name {order} LIMIT ?3"
    )
}

/// Query for the repositories in a range of names.
pub(in crate::metadata) fn numbers_by_name(sort: SortKey) -> String {
    let column = column(sort);
    format!(
        "SELECT id, name, {column} FROM repositories WHERE name >= ?1 AND name < ?2 AND live > 0
         ORDER BY name LIMIT ?3"
    )
}
