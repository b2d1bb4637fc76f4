//! Finds the repositories of a page, in an order and among those that are visible.
//!
//! By name each visible range is an index range. By a number there is an index too, but what few may see lies anywhere
//! in it: a few visible repositories are found by name and sorted, many by walking along the order's index.

use std::cmp::Ordering;

use rusqlite::{Connection, params};

use super::entries;
use super::walk::Walk;
use crate::metadata::sqlite::name_from;
use crate::metadata::{ListPage, ListQuery, NameRange, Place, RepositoryEntry, SortKey, Visible};
use crate::oci::RepoName;

/// Up to this many repositories are sorted in memory for a page.
const MAX_SORTED: usize = 2000;

/// What a row says.
struct Candidate {
    id: i64,
    name: RepoName,
    number: i64,
}

impl Candidate {
    fn place(&self) -> Place {
        Place { number: self.number, name: self.name.as_str().to_owned() }
    }
}

/// A page of names behind `after`.
pub(in crate::metadata::sqlite) fn names_page(
    c: &Connection,
    after: Option<&str>,
    limit: usize,
    visible: &Visible,
) -> rusqlite::Result<ListPage<RepoName>> {
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

/// A page of repositories.
pub(in crate::metadata::sqlite) fn repositories_page(
    c: &Connection,
    query: &ListQuery,
    visible: &Visible,
) -> rusqlite::Result<ListPage<RepositoryEntry>> {
    walk(c, query, visible).map(Walk::finish)
}

fn walk(c: &Connection, query: &ListQuery, visible: &Visible) -> rusqlite::Result<Walk<RepositoryEntry>> {
    let search = Search::new(query, visible);
    let mut walk = Walk::new(query.limit);
    let mut add = |walk: &mut Walk<RepositoryEntry>, found: Candidate| {
        if walk.is_full() {
            walk.end_behind_last();
            return Ok(());
        }
        // It may have gone meanwhile.
        match entries::repository(c, found.id)? {
            Some(entry) => walk.add_weighed(found.place(), entry),
            None => walk.pass(found.place(), true),
        }
        Ok(())
    };
    match query.sort {
        SortKey::Name => by_name(c, &search, &mut walk, &mut add)?,
        sort => by_number(c, sort, &search, &mut walk, &mut add)?,
    }
    Ok(walk)
}

/// What is looked for.
struct Search<'q> {
    /// Those of the visible ones whose names have the prefix.
    visible: Visible,
    /// What is in their names.
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

    fn finds(&self, name: &RepoName) -> bool {
        self.text.as_ref().is_none_or(|text| name.as_str().contains(text))
    }

    /// Whether a place is behind the page before.
    fn is_behind(&self, found: &Candidate) -> bool {
        let Some(after) = self.after else { return true };
        let place = (found.number, found.name.as_str()).cmp(&(after.number, &after.name));
        place == if self.descending { Ordering::Less } else { Ordering::Greater }
    }
}

type Add<'a, T> = dyn FnMut(&mut Walk<T>, Candidate) -> rusqlite::Result<()> + 'a;

/// Adds what is found, and passes over the rest.
fn look_at<T>(
    search: &Search<'_>,
    found: Candidate,
    walk: &mut Walk<T>,
    add: &mut Add<'_, T>,
) -> rusqlite::Result<()> {
    let shown = search.visible.shows(&found.name);
    if shown && search.finds(&found.name) {
        return add(walk, found);
    }
    walk.pass(found.place(), !shown);
    Ok(())
}

/// Walks along the names in the visible ranges.
fn by_name<T>(
    c: &Connection,
    search: &Search<'_>,
    walk: &mut Walk<T>,
    add: &mut Add<'_, T>,
) -> rusqlite::Result<()> {
    let mut query = c.prepare_cached(if search.descending { NAMES_DOWN } else { NAMES_UP })?;
    let mut ranges = search.visible.search_ranges();
    if search.descending {
        ranges.reverse();
    }
    for range in ranges {
        let Some((from, to)) = left_of(&range, search) else { continue };
        let mut rows = query.query(params![from, to, walk.rows_left().cast_signed()])?;
        while !walk.has_ended()
            && let Some(row) = rows.next()?
        {
            let name = name_from(row.get_ref(1)?.as_str()?, 1)?;
            look_at(search, Candidate { id: row.get(0)?, name, number: 0 }, walk, add)?;
        }
        if walk.has_ended() {
            return Ok(());
        }
        // A range costs a look even if nothing is in it.
        let end = if search.descending { range.start() } else { range.end() };
        walk.pass(Place { number: 0, name: end.to_owned() }, true);
        if walk.has_ended() {
            return Ok(());
        }
    }
    Ok(())
}

/// What of a range is behind the page before.
fn left_of(range: &NameRange, search: &Search<'_>) -> Option<(String, String)> {
    let (mut from, mut to) = (range.start().to_owned(), range.end().to_owned());
    match search.after {
        Some(after) if search.descending => to = to.min(after.name.clone()),
        // The next text in byte order.
        Some(after) => from = from.max(format!("{}\0", after.name)),
        None => {}
    }
    (from < to).then_some((from, to))
}

/// Walks along the order's index, unless what is visible is so little that it is found by name.
fn by_number<T>(
    c: &Connection,
    sort: SortKey,
    search: &Search<'_>,
    walk: &mut Walk<T>,
    add: &mut Add<'_, T>,
) -> rusqlite::Result<()> {
    if !search.visible.is_all()
        && let Some(few) = few(c, sort, search)?
    {
        for found in few {
            if walk.has_ended() {
                break;
            }
            look_at(search, found, walk, add)?;
        }
        return Ok(());
    }
    let (number, name) = match (search.after, search.descending) {
        (Some(after), _) => (after.number, after.name.as_str()),
        (None, false) => (i64::MIN, ""),
        (None, true) => (i64::MAX, "~"),
    };
    let mut query = c.prepare_cached(&numbers(sort, search.descending))?;
    let mut rows = query.query(params![number, name, walk.rows_left().cast_signed()])?;
    while !walk.has_ended()
        && let Some(row) = rows.next()?
    {
        look_at(search, candidate(row)?, walk, add)?;
    }
    Ok(())
}

/// All repositories in the visible ranges that are behind the page before, sorted, if they are few.
fn few(c: &Connection, sort: SortKey, search: &Search<'_>) -> rusqlite::Result<Option<Vec<Candidate>>> {
    let mut query = c.prepare_cached(&numbers_by_name(sort))?;
    let (mut found, mut examined) = (Vec::new(), 0);
    for range in search.visible.search_ranges() {
        let left = (MAX_SORTED + 1 - examined).cast_signed();
        let mut rows = query.query(params![range.start(), range.end(), left])?;
        while let Some(row) = rows.next()? {
            examined += 1;
            if examined > MAX_SORTED {
                return Ok(None);
            }
            let candidate = candidate(row)?;
            if search.is_behind(&candidate) {
                found.push(candidate);
            }
        }
        // Ranges with nothing in them cost a look too, but walking past everybody else's costs more.
    }
    found.sort_by(|one, other| (one.number, &one.name).cmp(&(other.number, &other.name)));
    if search.descending {
        found.reverse();
    }
    Ok(Some(found))
}

fn candidate(row: &rusqlite::Row<'_>) -> rusqlite::Result<Candidate> {
    let name = name_from(row.get_ref(1)?.as_str()?, 1)?;
    Ok(Candidate { id: row.get(0)?, name, number: row.get(2)? })
}

pub(in crate::metadata::sqlite) const NAMES_UP: &str = "
    SELECT id, name FROM repositories WHERE name >= ?1 AND name < ?2 AND live > 0 ORDER BY name LIMIT ?3";

pub(in crate::metadata::sqlite) const NAMES_DOWN: &str = "
    SELECT id, name FROM repositories WHERE name >= ?1 AND name < ?2 AND live > 0 ORDER BY name DESC LIMIT ?3";

fn column(sort: SortKey) -> &'static str {
    match sort {
        SortKey::Name => "0",
        SortKey::Size => "bytes",
        SortKey::Pushed => "pushed_at",
        SortKey::Pulled => "pulled_at",
    }
}

/// The repositories behind a number and a name.
pub(in crate::metadata::sqlite) fn numbers(sort: SortKey, descending: bool) -> String {
    let (behind, way) = super::direction(descending);
    let column = column(sort);
    format!(
        "SELECT id, name, {column} FROM repositories WHERE ({column}, name) {behind} (?1, ?2) AND live > 0
         ORDER BY {column} {way}, name {way} LIMIT ?3"
    )
}

/// The repositories in a range of names.
pub(in crate::metadata::sqlite) fn numbers_by_name(sort: SortKey) -> String {
    let column = column(sort);
    format!(
        "SELECT id, name, {column} FROM repositories WHERE name >= ?1 AND name < ?2 AND live > 0
         ORDER BY name LIMIT ?3"
    )
}
