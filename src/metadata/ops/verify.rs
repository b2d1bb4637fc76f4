//! Checks that the metadata is consistent.

use crate::metadata::sql::{self, Connection};

/// Queries that find nothing in a consistent store, each after the problem that a found row means. The
/// description of the problem ends with the values of the row, joined.
///
/// A manifest of state 0 is live. An edge of kind 0 refers to a blob, 1 to a child, 2 to the subject. The
/// review queue has leased links (0), manifests that nothing keeps (1), hidden links (2) and orphans (3).
const RULES: [(&str, &str); 17] = [
    (
        "a live manifest refers to a missing blob",
        "SELECT r.name, ' ', m.digest, ' -> ', e.target
         FROM manifests m JOIN edges e ON e.manifest = m.id JOIN repositories r ON r.id = m.repo
         LEFT JOIN links l ON l.repo = m.repo AND l.digest = e.target AND l.hidden_at IS NULL
         WHERE m.state = 0 AND e.kind = 0 AND e.required = 1 AND l.digest IS NULL",
    ),
    (
        "a live index refers to a missing child",
        "SELECT r.name, ' ', m.digest, ' -> ', e.target
         FROM manifests m JOIN edges e ON e.manifest = m.id JOIN repositories r ON r.id = m.repo
         LEFT JOIN manifests t ON t.repo = m.repo AND t.digest = e.target AND t.state = 0
         WHERE m.state = 0 AND e.kind = 1 AND e.required = 1 AND t.id IS NULL",
    ),
    (
        "a tag points at a manifest that is not live",
        "SELECT r.name, ':', t.name FROM tags t JOIN manifests m ON m.id = t.manifest
         JOIN repositories r ON r.id = t.repo WHERE m.state <> 0 OR m.repo <> t.repo",
    ),
    (
        "a blob has no link",
        "SELECT digest FROM blobs b WHERE NOT EXISTS (SELECT 1 FROM links l WHERE l.digest = b.digest)",
    ),
    (
        "a blob in use is scheduled for deletion",
        "SELECT b.digest FROM blobs b JOIN doomed d ON d.generation = b.generation",
    ),
    (
        "the totals are wrong",
        "SELECT 'recorded ', blobs, ' blobs, ', bytes, ' bytes, ', allocated, ' allocated, ',
                doomed, ' doomed, ', manifests, ' manifests, ', uploads, ' uploads'
         FROM totals
         WHERE (blobs, bytes, allocated)
               <> (SELECT count(*), coalesce(sum(size), 0), coalesce(sum(allocated), 0) FROM blobs)
            OR (doomed, doomed_bytes, doomed_allocated)
               <> (SELECT count(*), coalesce(sum(size), 0), coalesce(sum(allocated), 0) FROM doomed)
            OR manifests <> (SELECT count(*) FROM manifests) OR uploads <> (SELECT count(*) FROM uploads)",
    ),
    (
        "a blob's number of links is wrong",
        "SELECT digest FROM blobs b
         WHERE links <> (SELECT count(*) FROM links l WHERE l.digest = b.digest)",
    ),
    (
        "a repository's usage counters are wrong",
        "SELECT name FROM repositories r
         WHERE (blobs, bytes, allocated, own_bytes, own_allocated)
               <> (SELECT count(*), coalesce(sum(b.size), 0), coalesce(sum(b.allocated), 0),
                          coalesce(sum(CASE WHEN b.links = 1 THEN b.size ELSE 0 END), 0),
                          coalesce(sum(CASE WHEN b.links = 1 THEN b.allocated ELSE 0 END), 0)
                   FROM links l JOIN blobs b ON b.digest = l.digest WHERE l.repo = r.id)
            OR tags <> (SELECT count(*) FROM tags t WHERE t.repo = r.id)
            OR (manifests, manifest_bytes)
               <> (SELECT count(*), coalesce(sum(m.size), 0) FROM manifests m WHERE m.repo = r.id)
            OR live <> (SELECT count(*) FROM manifests m WHERE m.repo = r.id AND m.state = 0)
            OR history <> (SELECT count(*) FROM tag_history h WHERE h.repo = r.id)",
    ),
    (
        "a quota's usage counters are wrong",
        "SELECT prefix FROM quotas q
         WHERE (used_bytes, used_tags, used_repositories)
               <> (SELECT coalesce(sum(r.bytes + r.manifest_bytes), 0), coalesce(sum(r.tags), 0), count(*)
                   FROM repositories r
                   WHERE q.prefix IN ('', r.name)
                      OR (q.prefix LIKE '%/' AND substr(r.name, 1, length(q.prefix)) = q.prefix))",
    ),
    (
        "a live manifest has a removal time, or a removed manifest has none",
        "SELECT digest FROM manifests WHERE (state = 0) <> (removed_at IS NULL)",
    ),
    (
        "an edge does not match its manifest",
        "SELECT m.digest FROM edges e JOIN manifests m ON m.id = e.manifest
         WHERE e.repo <> m.repo OR e.source IS DISTINCT FROM CASE WHEN e.kind = 2 THEN m.digest END",
    ),
    (
        "an unreferenced link is not in the review queue",
        "SELECT r.name, ' ', l.digest FROM links l JOIN repositories r ON r.id = l.repo
         WHERE NOT EXISTS (SELECT 1 FROM edges e WHERE e.repo = l.repo AND e.target = l.digest AND e.kind = 0)
           AND NOT EXISTS (SELECT 1 FROM review v
                           WHERE v.kind IN (0, 2) AND v.repo = l.repo AND v.digest = l.digest)",
    ),
    (
        "an unreferenced manifest is not in the review queue",
        "SELECT r.name, ' ', m.digest FROM manifests m JOIN repositories r ON r.id = m.repo
         WHERE m.state = 0 AND m.held = 0 AND NOT EXISTS (SELECT 1 FROM tags t WHERE t.manifest = m.id)
           AND NOT EXISTS (SELECT 1 FROM edges e WHERE e.repo = m.repo AND e.target = m.digest AND e.kind = 1)
           AND NOT EXISTS (SELECT 1 FROM edges e JOIN manifests s ON s.repo = e.repo AND s.digest = e.target
                           WHERE e.manifest = m.id AND e.kind = 2)
           AND NOT EXISTS (SELECT 1 FROM pins p WHERE p.repo = m.repo AND p.digest = m.digest)
           AND NOT EXISTS (SELECT 1 FROM review v
                           WHERE v.kind IN (1, 3) AND v.repo = m.repo AND v.digest = m.digest)",
    ),
    (
        "details are recorded for a config that is not stored",
        "SELECT digest FROM configs c WHERE NOT EXISTS (SELECT 1 FROM blobs b WHERE b.digest = c.digest)",
    ),
    (
        "an upload would become a blob that is scheduled for deletion",
        "SELECT u.id FROM uploads u JOIN doomed d ON d.generation = u.intent_generation",
    ),
    (
        "an adopted file is scheduled for deletion",
        "SELECT a.digest FROM adopting a JOIN doomed d ON d.generation = a.generation",
    ),
    (
        "a blob in use is still to be adopted",
        "SELECT a.digest FROM adopting a JOIN blobs b ON b.generation = a.generation",
    ),
];

pub(in crate::metadata) fn verify(c: &dyn Connection) -> sql::Result<Vec<String>> {
    let mut problems = Vec::new();
    for (meaning, sql) in RULES {
        let mut query = c.prepare_cached(sql)?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            problems.push(format!("{meaning}: {}", row.describe()?));
        }
    }
    Ok(problems)
}
