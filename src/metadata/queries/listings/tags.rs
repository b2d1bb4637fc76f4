//! Finds the tags of a page.
//!
//! In the orders of name, push and pull they come from an index. In the order of size all tags of the repository are
//! read.

use crate::metadata::queries::listings::entries::{self, SIZE};
use crate::metadata::queries::listings::walk::{Walk, direction};
use crate::metadata::sql::{Connection, params};
use crate::metadata::{ListPage, ListQuery, Place, SortKey, TagEntry, Weigh, sql};

/// Divisor for the weight of the bytes that were parsed for an entry: parsing takes time, not memory.
const PARSED_BYTES_DIVISOR: usize = 8;

/// Reads a page of the tags of a repository.
pub(in crate::metadata) fn entries(
    c: &dyn Connection,
    repo: i64,
    query: &ListQuery,
) -> sql::Result<ListPage<TagEntry>> {
    let text = query.search.as_ref().map(|text| text.to_lowercase());
    let mut walk = Walk::new(query.limit);
    let start = start(query);
    let rows = if text.is_some() { walk.rows_left() } else { query.limit.saturating_add(1) };
    let mut page = c.prepare_cached(&tags_page(query.sort, query.descending))?;
    let mut rows = page.query(params![start.number, start.name, rows, repo])?;
    while !walk.has_ended()
        && let Some(row) = rows.next()?
    {
        let place = Place { name: row.get(0)?, number: row.get(1)? };
        if text.as_ref().is_some_and(|text| !place.name.to_lowercase().contains(text)) {
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
    }
    Ok(walk.finish())
}

/// The place after which the page starts; before all tags if the query has none.
fn start(query: &ListQuery) -> Place {
    match (&query.after, query.descending) {
        (Some(place), _) => place.clone(),
        (None, false) => Place { number: i64::MIN, name: String::new() },
        (None, true) => Place { number: i64::MAX, name: "\u{10ffff}".into() },
    }
}

/// Query for the names of the tags of the repository `?4`, each with its value in the order, after `?1` and `?2`.
pub(in crate::metadata) fn tags_page(sort: SortKey, descending: bool) -> String {
    let (comparison, order) = direction(descending);
    match sort {
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
