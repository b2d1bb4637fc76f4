//! Finds the tags of a page.
//!
//! By name, push and pull they come from an index. By size all tags of the repository are looked at.

use rusqlite::{Connection, params};

use super::entries::{self, SIZE};
use super::walk::Walk;
use crate::metadata::{ListPage, ListQuery, Place, SortKey, TagEntry, Weigh};

/// What of the bytes that an entry is read from counts as its weight: parsing them takes time, not memory.
const READING_WEIGHT: usize = 8;

/// A page of the tags of a repository.
pub(super) fn entries(c: &Connection, repo: i64, query: &ListQuery) -> rusqlite::Result<ListPage<TagEntry>> {
    let text = query.search.as_ref().map(|text| text.to_lowercase());
    let mut walk = Walk::new(query.limit);
    let start = start(query);
    let rows = if text.is_some() { walk.rows_left() } else { query.limit.saturating_add(1) };
    let mut page = c.prepare_cached(&tags_page(query.sort, query.descending))?;
    let mut rows = page.query(params![start.number, start.name, rows.cast_signed(), repo])?;
    while !walk.has_ended()
        && let Some(row) = rows.next()?
    {
        let place = Place { name: row.get(0)?, number: row.get(1)? };
        if text.as_ref().is_some_and(|text| !place.name.to_lowercase().contains(text)) {
            walk.pass(place, false);
        } else if walk.is_full() {
            walk.end_behind_last();
        } else {
            // It may have gone meanwhile.
            match entries::tag(c, repo, &place.name)? {
                Some(found) => {
                    let weight = found.entry.weight() + found.read / READING_WEIGHT;
                    walk.add(place, found.entry, weight);
                }
                None => walk.pass(place, false),
            }
        }
    }
    Ok(walk.finish())
}

/// The place that a page begins behind: before all that there is, where the query does not say.
fn start(query: &ListQuery) -> Place {
    match (&query.after, query.descending) {
        (Some(place), _) => place.clone(),
        (None, false) => Place { number: i64::MIN, name: String::new() },
        (None, true) => Place { number: i64::MAX, name: "\u{10ffff}".into() },
    }
}

/// The names of the tags of the repository `?4`, each with what the order goes by, behind `?1` and `?2`.
pub(in crate::metadata::sqlite) fn tags_page(sort: SortKey, descending: bool) -> String {
    let (behind, way) = super::direction(descending);
    match sort {
        SortKey::Name => format!(
            "SELECT t.name, 0 FROM tags t WHERE t.repo = ?4 AND t.name {behind} ?2 AND ?1 IS NOT NULL
             ORDER BY t.name {way} LIMIT ?3"
        ),
        SortKey::Pushed => format!(
            "SELECT t.name, t.updated_at FROM tags t INDEXED BY tags_by_push
             WHERE t.repo = ?4 AND (t.updated_at, t.name) {behind} (?1, ?2)
             ORDER BY t.updated_at {way}, t.name {way} LIMIT ?3"
        ),
        SortKey::Pulled => format!(
            "SELECT t.name, m.pulled_at
             FROM manifests m INDEXED BY manifests_by_pull CROSS JOIN tags t ON t.manifest = m.id
             WHERE m.repo = ?4 AND m.state = 0 AND m.pulled_at {behind}= ?1
               AND (m.pulled_at, t.name) {behind} (?1, ?2)
             ORDER BY m.pulled_at {way}, t.name {way} LIMIT ?3"
        ),
        SortKey::Size => format!(
            "SELECT name, size FROM (SELECT t.name, ({SIZE}) AS size
                                     FROM tags t JOIN manifests m ON m.id = t.manifest WHERE t.repo = ?4)
             WHERE (size, name) {behind} (?1, ?2) ORDER BY size {way}, name {way} LIMIT ?3"
        ),
    }
}
