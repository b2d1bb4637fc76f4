//! No statement of a request or a collector's step looks at more than it needs: SQLite's plan of each shows
//! neither a scan nor a sort.

use super::Folder;

/// Every source with statements that must be quick; not `verify.rs`, which looks at everything.
const SOURCES: [(&str, &str); 17] = [
    ("blobs", include_str!("../blobs.rs")),
    ("collection", include_str!("../collection.rs")),
    ("deletion", include_str!("../deletion.rs")),
    ("expiry", include_str!("../expiry.rs")),
    ("history", include_str!("../history.rs")),
    ("holds", include_str!("../holds.rs")),
    ("links", include_str!("../links.rs")),
    ("maintenance", include_str!("../maintenance.rs")),
    ("manifests", include_str!("../manifests.rs")),
    ("mod", include_str!("../mod.rs")),
    ("purge", include_str!("../purge.rs")),
    ("repositories", include_str!("../repositories.rs")),
    ("restore", include_str!("../restore.rs")),
    ("review", include_str!("../review.rs")),
    ("tags", include_str!("../tags.rs")),
    ("trash", include_str!("../trash.rs")),
    ("uploads", include_str!("../uploads.rs")),
];

/// Statements that may look at all of something, by a part of them.
const WHOLE: [&str; 6] = [
    // A short list, taken from its beginning.
    "FROM doomed LIMIT",
    // One for each repository that is being deleted or restored.
    "FROM repository_work w JOIN",
    "WHERE intent_digest IS NOT NULL\"",
    // On the copy that a dry run made.
    "SELECT count(*), coalesce(sum(size), 0) FROM doomed",
    // One row.
    "FROM totals",
    // A report, aside.
    "coalesce(sum(CASE WHEN",
];

/// Scans of what is short: one row, a few of the newest edges, an index of what is being purged.
const HARMLESS: [&str; 3] = ["CONSTANT", "SCAN newest", "INDEX manifests_purging"];

fn statements(source: &str) -> Vec<&str> {
    let literals = source.split('"').skip(1).step_by(2);
    let is_statement = |text: &&str| {
        let start = text.trim_start();
        ["SELECT", "INSERT", "UPDATE", "DELETE"].iter().any(|verb| start.starts_with(verb))
    };
    literals.filter(is_statement).collect()
}

#[tokio::test]
async fn no_statement_scans_or_sorts() {
    let folder = Folder::new();
    let store = folder.store();
    let (mut seen, mut bad) = (0, Vec::new());
    for (file, source) in SOURCES {
        for sql in statements(source) {
            seen += 1;
            let plan = store.read(|c| {
                let mut query = c.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
                let mut rows = query.raw_query();
                let mut plan = Vec::new();
                while let Some(row) = rows.next()? {
                    plan.push(row.get::<_, String>(3)?);
                }
                Ok(plan)
            });
            let plan = plan.unwrap_or_else(|error| panic!("{file}: {sql}: {error}"));
            let slow = |step: &String| {
                let harmless = HARMLESS.iter().any(|part| step.contains(part));
                (step.starts_with("SCAN") && !harmless) || step.contains("TEMP B-TREE")
            };
            let excused = WHOLE.iter().any(|part| format!("{sql}\"").contains(part));
            if !excused && plan.iter().any(slow) {
                bad.push(format!("{file}: {sql}\n    {plan:?}"));
            }
        }
    }
    assert!(seen > 70, "only {seen} statements were found");
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}
