//! Checks the facts against each other.

use rusqlite::Connection;

/// Queries that find nothing in a sound store, each with what a row of it means.
const RULES: [(&str, &str); 6] = [
    (
        "a live manifest's blob is absent",
        "SELECT r.name || ' ' || lower(hex(m.digest)) || ' -> ' || lower(hex(e.target))
         FROM manifests m JOIN edges e ON e.manifest = m.id JOIN repositories r ON r.id = m.repo
         LEFT JOIN links l ON l.repo = m.repo AND l.digest = e.target AND l.hidden_at IS NULL
         WHERE m.state = 0 AND e.kind = 0 AND e.required = 1 AND l.digest IS NULL",
    ),
    (
        "a live index's child is absent",
        "SELECT r.name || ' ' || lower(hex(m.digest)) || ' -> ' || lower(hex(e.target))
         FROM manifests m JOIN edges e ON e.manifest = m.id JOIN repositories r ON r.id = m.repo
         LEFT JOIN manifests t ON t.repo = m.repo AND t.digest = e.target AND t.state = 0
         WHERE m.state = 0 AND e.kind = 1 AND e.required = 1 AND t.id IS NULL",
    ),
    (
        "a tag points at a manifest that is not live",
        "SELECT r.name || ':' || t.name FROM tags t JOIN manifests m ON m.id = t.manifest
         JOIN repositories r ON r.id = t.repo WHERE m.state <> 0 OR m.repo <> t.repo",
    ),
    (
        "a blob has no link",
        "SELECT lower(hex(digest)) FROM blobs b WHERE NOT EXISTS (SELECT 1 FROM links l WHERE l.digest = b.digest)",
    ),
    (
        "a blob's bytes are on the doomed list",
        "SELECT lower(hex(b.digest)) FROM blobs b JOIN doomed d ON d.generation = b.generation",
    ),
    (
        "the totals are wrong",
        "SELECT 'recorded ' || blobs || ' blobs, ' || bytes || ' bytes, ' || manifests || ' manifests' FROM totals
         WHERE blobs <> (SELECT count(*) FROM blobs) OR bytes <> (SELECT coalesce(sum(size), 0) FROM blobs)
            OR manifests <> (SELECT count(*) FROM manifests)",
    ),
];

pub(super) fn verify(c: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut problems = Vec::new();
    let mut integrity = c.prepare("PRAGMA integrity_check(20)")?;
    for row in integrity.query_map([], |row| row.get::<_, String>(0))? {
        let row = row?;
        if row != "ok" {
            problems.push(format!("the database is damaged: {row}"));
        }
    }
    let mut foreign = c.prepare("PRAGMA foreign_key_check")?;
    for row in foreign.query_map([], |row| row.get::<_, String>(0))? {
        problems.push(format!("a row of {} refers to one that is absent", row?));
    }
    for (meaning, sql) in RULES {
        let mut query = c.prepare(sql)?;
        for row in query.query_map([], |row| row.get::<_, String>(0))? {
            problems.push(format!("{meaning}: {}", row?));
        }
    }
    Ok(problems)
}
