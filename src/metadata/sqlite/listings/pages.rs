//! The statements that find what is on a page, one for each order. All take the place to begin behind as
//! `?1` and `?2`, what to search for in small letters as `?3`, and the most entries as `?4`.
//!
//! Tags by name, push and pull come from an index. By size, and repositories by anything but their name,
//! all of the list is looked at.

use super::entries::{REPOSITORY_BYTES, REPOSITORY_PULLED, REPOSITORY_PUSHED, SIZE};
use crate::metadata::SortKey;

/// How a list runs: what is behind a place, and which way it is sorted.
fn direction(descending: bool) -> (&'static str, &'static str) {
    if descending { ("<", "DESC") } else { (">", "ASC") }
}

/// The names of the tags of the repository `?5` that are on a page.
pub(in crate::metadata::sqlite) fn tags_page(sort: SortKey, descending: bool) -> String {
    let (behind, way) = direction(descending);
    let found = "(?3 IS NULL OR instr(lower(t.name), ?3) > 0)";
    match sort {
        SortKey::Name => format!(
            "SELECT t.name FROM tags t WHERE t.repo = ?5 AND t.name {behind} ?2 AND {found}
             ORDER BY t.name {way} LIMIT ?4"
        ),
        SortKey::Pushed => format!(
            "SELECT t.name FROM tags t INDEXED BY tags_by_push
             WHERE t.repo = ?5 AND (t.updated_at, t.name) {behind} (?1, ?2) AND {found}
             ORDER BY t.updated_at {way}, t.name {way} LIMIT ?4"
        ),
        SortKey::Pulled => format!(
            "SELECT t.name
             FROM manifests m INDEXED BY manifests_by_pull CROSS JOIN tags t ON t.manifest = m.id
             WHERE m.repo = ?5 AND m.state = 0 AND m.pulled_at {behind}= ?1
               AND (m.pulled_at, t.name) {behind} (?1, ?2) AND {found}
             ORDER BY m.pulled_at {way}, t.name {way} LIMIT ?4"
        ),
        SortKey::Size => format!(
            "SELECT name FROM (SELECT t.name, ({SIZE}) AS size
                               FROM tags t JOIN manifests m ON m.id = t.manifest
                               WHERE t.repo = ?5 AND {found})
             WHERE (size, name) {behind} (?1, ?2) ORDER BY size {way}, name {way} LIMIT ?4"
        ),
    }
}

/// The ids of the repositories from name `?5` to `?6` that are on a page.
pub(in crate::metadata::sqlite) fn repositories_page(sort: SortKey, descending: bool) -> String {
    let (behind, way) = direction(descending);
    let listed = "r.name >= ?5 AND r.name < ?6 AND (?3 IS NULL OR instr(r.name, ?3) > 0)
                  AND EXISTS (SELECT 1 FROM manifests m WHERE m.repo = r.id AND m.state = 0)";
    let number = match sort {
        SortKey::Name => {
            return format!(
                "SELECT r.id FROM repositories r WHERE r.name {behind} ?2 AND {listed}
                 ORDER BY r.name {way} LIMIT ?4"
            );
        }
        SortKey::Size => REPOSITORY_BYTES,
        SortKey::Pushed => REPOSITORY_PUSHED,
        SortKey::Pulled => REPOSITORY_PULLED,
    };
    format!(
        "SELECT id FROM (SELECT r.id, r.name, ({number}) AS number FROM repositories r WHERE {listed})
         WHERE (number, name) {behind} (?1, ?2) ORDER BY number {way}, name {way} LIMIT ?4"
    )
}
