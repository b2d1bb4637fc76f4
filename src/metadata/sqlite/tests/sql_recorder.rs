//! Records the SQL that tests prepare, for `tests/postgres/check.py`, which prepares it on PostgreSQL.

use std::collections::HashSet;
use std::fs::File;
use std::io::Write;
use std::sync::{LazyLock, Mutex, PoisonError};

/// Names the file to which each text is appended as a line of JSON.
const FILE_VARIABLE: &str = "ORLOP_RECORD_SQL";

/// Statements that only SQLite has.
const OWN_STATEMENTS: [&str; 2] = ["PRAGMA", "VACUUM"];

static RECORDING: LazyLock<Option<Mutex<Recording>>> = LazyLock::new(|| {
    let path = std::env::var_os(FILE_VARIABLE)?;
    let file = File::options().create(true).append(true).open(path).expect("opened");
    Some(Mutex::new(Recording { file, texts: HashSet::new() }))
});

struct Recording {
    file: File,
    texts: HashSet<String>,
}

/// Records a text, once.
pub(in crate::metadata::sqlite) fn record(sql: &str) {
    let Some(recording) = &*RECORDING else { return };
    let mut recording = recording.lock().unwrap_or_else(PoisonError::into_inner);
    let is_own = OWN_STATEMENTS.iter().any(|statement| sql.starts_with(statement));
    if !is_own && recording.texts.insert(sql.to_owned()) {
        let line = format!("{}\n", serde_json::json!(sql));
        recording.file.write_all(line.as_bytes()).expect("recorded");
    }
}
