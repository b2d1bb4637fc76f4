//! Finds the tags of a page.
//!
//! In the orders of name, version, push and pull they come from an index. In the order of size all tags of the
//! repository are read, and in the order of versions too while tags of an older version have no key.

use crate::metadata::queries::listings::entries::{self, SIZE};
use crate::metadata::queries::listings::walk::{Walk, direction};
use crate::metadata::sql::{Connection, params};
use crate::metadata::{ListPage, ListQuery, Place, SortKey, TagEntry, Weigh, sql};
use crate::oci::version_key;

/// Divisor for the weight of the bytes that were parsed for an entry: parsing takes time, not memory.
const PARSED_BYTES_DIVISOR: usize = 8;

/// Tags are sorted in memory only if there are more than this.
const MIN_SORTED: usize = 1000;

/// Reads a page of the tags of a repository.
pub(in crate::metadata) fn entries(
    c: &dyn Connection,
    repo: i64,
    query: &ListQuery,
) -> sql::Result<ListPage<TagEntry>> {
    let text = query.search.as_ref().map(|text| text.to_lowercase());
    let mut walk = Walk::new(query.limit);
    let rows = if text.is_some() { walk.rows_left() } else { query.limit.saturating_add(1) };
    if query.sort == SortKey::Version && has_unfilled_version_keys(c, repo)? {
        for name in sort_by_version(c, repo, query, rows)? {
            if walk.has_ended() {
                break;
            }
            examine(c, repo, Place { number: 0, name }, text.as_deref(), &mut walk)?;
        }
        return Ok(walk.finish());
    }
    let start = start(query);
    let mut page = c.prepare_cached(&tags_page(query.sort, query.descending))?;
    let mut rows = match query.sort {
        SortKey::Version => page.query(params![start_key(query), start.name, rows, repo])?,
        _ => page.query(params![start.number, start.name, rows, repo])?,
    };
    while !walk.has_ended()
        && let Some(row) = rows.next()?
    {
        examine(c, repo, Place { name: row.get(0)?, number: row.get(1)? }, text.as_deref(), &mut walk)?;
    }
    Ok(walk.finish())
}

/// Adds a tag whose name contains the text, and skips any other.
fn examine(
    c: &dyn Connection,
    repo: i64,
    place: Place,
    text: Option<&str>,
    walk: &mut Walk<TagEntry>,
) -> sql::Result<()> {
    if text.is_some_and(|text| !place.name.to_lowercase().contains(text)) {
        walk.skip(place);
    } else if walk.is_full() {
        walk.end_after_last();
    } else {
        // It may have been removed in the meantime.
        match entries::tag(c, repo, &place.name)? {
            Some(found) => {
                let weight = found.entry.weight() + found.read / PARSED_BYTES_DIVISOR;
                walk.add(place, found.entry, weight);
            }
            None => walk.skip(place),
        }
    }
    Ok(())
}

/// The place after which the page starts; before all tags if the query has none.
fn start(query: &ListQuery) -> Place {
    match (&query.after, query.descending) {
        (Some(place), _) => place.clone(),
        (None, false) => Place { number: i64::MIN, name: String::new() },
        (None, true) => Place { number: i64::MAX, name: "\u{10ffff}".into() },
    }
}

/// The version key after which the page starts; before all tags if the query has none.
fn start_key(query: &ListQuery) -> Vec<u8> {
    match (&query.after, query.descending) {
        (Some(place), _) => version_key(&place.name),
        (None, false) => Vec::new(),
        (None, true) => vec![u8::MAX],
    }
}

/// Whether the repository has tags of an older version whose keys are not filled in yet.
fn has_unfilled_version_keys(c: &dyn Connection, repo: i64) -> sql::Result<bool> {
    let mut query = c.prepare_cached(
        "SELECT 1 FROM tags /* INDEXED BY tags_without_version_key */
         WHERE repo = ?1 AND version_key IS NULL LIMIT 1",
    )?;
    query.exists([repo])
}

/// Reads all tags of the repository. Returns the first `limit` names of the page in the order of versions.
fn sort_by_version(
    c: &dyn Connection,
    repo: i64,
    query: &ListQuery,
    limit: usize,
) -> sql::Result<Vec<String>> {
    type Keyed = (Vec<u8>, String);
    let after = query.after.as_ref().map(|place| (version_key(&place.name), place.name.clone()));
    let in_order = |one: &Keyed, other: &Keyed| {
        if query.descending { other.cmp(one) } else { one.cmp(other) }
    };
    let sort = |found: &mut Vec<Keyed>| {
        found.sort_by(in_order);
        found.truncate(limit);
    };
    let mut found: Vec<Keyed> = Vec::new();
    let mut names = c.prepare_cached("SELECT name FROM tags WHERE repo = ?1")?;
    for name in names.query_map([repo], |row| row.get::<String>(0))? {
        let name = name?;
        let keyed = (version_key(&name), name);
        if after.as_ref().is_none_or(|after| in_order(after, &keyed).is_lt()) {
            found.push(keyed);
        }
        if found.len() > 2 * limit + MIN_SORTED {
            sort(&mut found);
        }
    }
    sort(&mut found);
    Ok(found.into_iter().map(|(_, name)| name).collect())
}

/// Query for the names of the tags of the repository `?4`, each with its value in the order, after `?1` and `?2`. In
/// the order of versions `?1` is a key, and the value is 0.
pub(in crate::metadata) fn tags_page(sort: SortKey, descending: bool) -> String {
    let (comparison, order) = direction(descending);
    match sort {
        SortKey::Version => format!(
            "SELECT t.name, 0 FROM tags t /* INDEXED BY tags_by_version */
             WHERE t.repo = ?4 AND (t.version_key, t.name) {comparison} (?1, ?2)
             ORDER BY t.version_key {order}, t.name {order} LIMIT ?3"
        ),
        SortKey::Name => format!(
            "SELECT t.name, 0 FROM tags t WHERE t.repo = ?4 AND t.name {comparison} ?2 AND CAST(?1 AS BIGINT) IS NOT NULL
             ORDER BY t.name {order} LIMIT ?3"
        ),
        SortKey::Pushed => format!(
            "SELECT t.name, t.updated_at FROM tags t /* INDEXED BY tags_by_push */
             WHERE t.repo = ?4 AND (t.updated_at, t.name) {comparison} (?1, ?2)
             ORDER BY t.updated_at {order}, t.name {order} LIMIT ?3"
        ),
        SortKey::Pulled => format!(
            "SELECT t.name, m.pulled_at
             FROM manifests m /* INDEXED BY manifests_by_pull */ CROSS JOIN tags t
             WHERE t.manifest = m.id AND m.repo = ?4 AND m.state = 0 AND m.pulled_at {comparison}= ?1
               AND (m.pulled_at, t.name) {comparison} (?1, ?2)
             ORDER BY m.pulled_at {order}, t.name {order} LIMIT ?3"
        ),
        SortKey::Size => format!(
            "SELECT name, size FROM (SELECT t.name, ({SIZE}) AS size
                                     FROM tags t JOIN manifests m ON m.id = t.manifest WHERE t.repo = ?4) sized
             WHERE (size, name) {comparison} (?1, ?2) ORDER BY size {order}, name {order} LIMIT ?3"
        ),
    }
}
