//! Statements of requests and of garbage collection read only the rows that they need: their query plans contain
//! neither a scan nor a sort.

use rusqlite::Connection;

use super::super::connection::apply_hints;
use super::Folder;
use crate::metadata::SortKey;
use crate::metadata::ops::references::{BlobFilter, LIST_LENGTHS, blob_sizes, insert_edges, manifest_sizes};
use crate::metadata::queries::listings::{
    ALIASES, LAST_CHANGE_BY, NAMES_DOWN, NAMES_UP, numbers, numbers_by_name, tags_page,
};

/// All sources with statements that must be fast. `verify.rs`, `usage.rs` and `summary.rs` are missing: they read all
/// rows of a kind on the blocking pool.
const SOURCES: [(&str, &str); 40] = [
    ("adoption", include_str!("../../ops/adoption.rs")),
    ("adoption figures", include_str!("../../queries/adoption.rs")),
    ("audit", include_str!("../../ops/audit.rs")),
    ("changes", include_str!("../../queries/changes.rs")),
    ("blobs", include_str!("../../ops/blobs.rs")),
    ("change_log", include_str!("../../queries/change_log.rs")),
    ("collection", include_str!("../../ops/gc/collection.rs")),
    ("deletion", include_str!("../../ops/undo/deletion.rs")),
    ("details", include_str!("../../image_details.rs")),
    ("facts", include_str!("../../facts.rs")),
    ("events", include_str!("../../ops/events.rs")),
    ("expiry", include_str!("../../ops/expiry.rs")),
    ("freed", include_str!("../../queries/reclaimable/graph.rs")),
    ("history", include_str!("../../ops/undo/history.rs")),
    ("holds", include_str!("../../ops/liveness.rs")),
    ("leased", include_str!("../../queries/reclaimable/leases.rs")),
    ("maintenance", include_str!("../../ops/maintenance.rs")),
    ("manifests", include_str!("../../ops/manifests.rs")),
    ("ops", include_str!("../../ops/mod.rs")),
    ("namespaces", include_str!("../../queries/listings/namespaces.rs")),
    ("overview", include_str!("../../queries/overview.rs")),
    ("pins", include_str!("../../ops/pins.rs")),
    ("policies", include_str!("../../ops/policies.rs")),
    ("purge", include_str!("../../ops/gc/purge.rs")),
    ("reclaim_now", include_str!("../../ops/gc/reclaim_now.rs")),
    ("recent", include_str!("../../queries/recent.rs")),
    ("repositories", include_str!("../../ops/repositories.rs")),
    ("restore", include_str!("../../ops/undo/restore.rs")),
    ("quotas", include_str!("../../ops/quotas.rs")),
    ("review", include_str!("../../ops/gc/review.rs")),
    ("scrub", include_str!("../../ops/scrub.rs")),
    ("search", include_str!("../../queries/listings/search.rs")),
    ("sharing", include_str!("../../queries/sharing.rs")),
    ("sessions", include_str!("../../ops/sessions.rs")),
    ("sums", include_str!("../../ops/accounting.rs")),
    ("snapshots", include_str!("../../queries/snapshots.rs")),
    ("tags", include_str!("../../ops/tags.rs")),
    ("trash", include_str!("../../ops/undo/trash.rs")),
    ("untagged", include_str!("../../queries/listings/untagged.rs")),
    ("uploads", include_str!("../../ops/uploads.rs")),
];

/// Statements that may read all rows of something, identified by a part of their text.
const ALLOWED_STATEMENTS: [&str; 12] = [
    // Reads all repositories for an overview that is cached.
    "SELECT id, name, own_allocated FROM repositories",
    // At most 20 rows for each user.
    "FROM sessions ORDER BY account, used_at, id",
    // A handful of rows, written by people.
    "FROM policies ORDER BY id",
    // Takes only the first rows.
    "FROM doomed LIMIT",
    // At most one batch of an adoption, read at the start and by `fsck`.
    "FROM adopting LIMIT",
    // One row for each repository that is being deleted or restored.
    "FROM repository_work w JOIN",
    "WHERE intent_digest IS NOT NULL\"",
    // Runs on the copy of a dry run.
    "SELECT count(*), coalesce(sum(size), 0) FROM doomed",
    // One row.
    "FROM totals",
    // Reads only quarantined blobs.
    "INDEXED BY blobs_damaged",
    // A handful of rows, from the settings.
    "quotas",
    // Sums the usage of a new quota once.
    "coalesce(sum(tags), 0), count(*) FROM repositories",
];

/// Scans of few rows: one row, a few of the newest edges, tags up to a limit, or an index of what is being purged or must
/// be measured or filled in.
const ALLOWED_SCANS: [&str; 9] = [
    "CONSTANT",
    "SCAN newest",
    "SCAN counted",
    "INDEX manifests_purging",
    "INDEX blobs_unmeasured",
    "INDEX tags_without_version_key",
    "INDEX blobs_unverified",
    "INDEX blobs_hardlinked",
    "INDEX manifests_held",
];

fn statements(source: &str) -> Vec<&str> {
    let mut rest = source;
    // Only raw strings have quotes.
    let literals = std::iter::from_fn(move || {
        let (before, literal) = rest.split_once('"')?;
        let end = if before.ends_with("r#") { "\"#" } else { "\"" };
        let (literal, after) = literal.split_once(end)?;
        rest = after;
        Some(literal)
    });
    let is_statement = |text: &&str| {
        let start = text.trim_start();
        ["SELECT", "INSERT", "UPDATE", "DELETE"].iter().any(|verb| start.starts_with(verb))
    };
    literals.filter(is_statement).collect()
}

/// Opens the database of a new store. Statements are explained without values for their parameters, which the store's
/// own connections do not allow.
fn connect(folder: &Folder) -> Connection {
    drop(folder.store());
    let connection = Connection::open(folder.path().join("orlop.db")).expect("opened");
    super::super::connection::keep_plans(&connection).expect("set");
    connection
}

fn plan(c: &Connection, sql: &str) -> rusqlite::Result<Vec<String>> {
    let mut query = c.prepare(&format!("EXPLAIN QUERY PLAN {}", apply_hints(sql)))?;
    let mut rows = query.raw_query();
    let mut plan = Vec::new();
    while let Some(row) = rows.next()? {
        plan.push(row.get(3)?);
    }
    Ok(plan)
}

#[test]
fn no_statement_scans_or_sorts() {
    let folder = Folder::new();
    let c = connect(&folder);
    let mut seen = 0;
    let mut bad = Vec::new();
    for (file, source) in SOURCES {
        for sql in statements(source) {
            seen += 1;
            let plan = plan(&c, sql);
            let plan = plan.unwrap_or_else(|error| panic!("{file}: {sql}: {error}"));
            let is_slow = |step: &String| {
                let is_allowed = ALLOWED_SCANS.iter().any(|part| step.contains(part));
                (step.starts_with("SCAN") && !is_allowed) || step.contains("TEMP B-TREE")
            };
            let is_allowed = ALLOWED_STATEMENTS.iter().any(|part| format!("{sql}\"").contains(part));
            if !is_allowed && plan.iter().any(is_slow) {
                bad.push(format!("{file}: {sql}\n    {plan:?}"));
            }
        }
    }
    for sql in [ALIASES, LAST_CHANGE_BY] {
        assert!(!plan(&c, sql).expect("a plan").iter().any(|step| step.contains("TEMP B-TREE")), "{sql}");
    }
    assert!(seen > 70, "only {seen} statements were found");
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

/// References of a manifest are looked up by their keys, however many there are.
#[test]
fn references_are_found_by_key() {
    let folder = Folder::new();
    let c = connect(&folder);
    for len in LIST_LENGTHS {
        let among = |hidden, unverified| blob_sizes(len, BlobFilter { hidden, unverified });
        let blobs = [among(false, false), among(true, false), among(false, true), among(true, true)];
        for sql in blobs.into_iter().chain([manifest_sizes(len)]) {
            let plan = plan(&c, &sql).expect("a plan");
            let is_by_key = |step: &String| step.starts_with("SEARCH") && step.contains("digest=?");
            assert!(plan.iter().all(is_by_key), "{plan:?}");
        }
        assert!(c.prepare(&insert_edges(len)).is_ok());
    }
}

/// Tags come from an index in the orders that matter for large repositories. In the order of the last pull, tags of the
/// same time are sorted by name.
#[test]
fn page_of_tags_uses_the_index_of_its_order() {
    let folder = Folder::new();
    let c = connect(&folder);
    for (sort, descending) in [SortKey::Name, SortKey::Version, SortKey::Pushed, SortKey::Pulled]
        .into_iter()
        .flat_map(|sort| [(sort, false), (sort, true)])
    {
        let plan = plan(&c, &tags_page(sort, descending)).expect("a plan");
        let slow = |step: &String| {
            let sorts = step.contains("TEMP B-TREE") && !step.contains("LAST TERM");
            step.starts_with("SCAN") || sorts
        };
        assert!(!plan.iter().any(slow), "{sort:?}: {plan:?}");
    }
}

/// Repositories come from an index in every order, also within a range of names.
#[test]
fn page_of_repositories_uses_the_index_of_its_order() {
    let folder = Folder::new();
    let c = connect(&folder);
    let mut statements = vec![NAMES_UP.to_owned(), NAMES_DOWN.to_owned()];
    for sort in [SortKey::Size, SortKey::Pushed, SortKey::Pulled] {
        statements.extend([numbers(sort, false), numbers(sort, true), numbers_by_name(sort)]);
    }
    for sql in statements {
        let plan = plan(&c, &sql).expect("a plan");
        assert!(
            !plan.iter().any(|step| step.starts_with("SCAN") || step.contains("TEMP B-TREE")),
            "{plan:?}"
        );
        assert!(
            plan.iter().any(|step| step.contains("INDEX repositories_by_")),
            "the plan also reads repositories without live manifests: {plan:?}"
        );
    }
}
