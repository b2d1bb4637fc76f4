//! Shortens oversized image details after a migration: before version 13 of the schema, labels, platforms and
//! annotations of any length were stored in each manifest's row. Shortened details are marked as incomplete.
//!
//! SQL alone can't do that, and a large database must not be rewritten in one transaction. So the migration only
//! records that the work is due, and this module does it in batches, each in its own transaction. If it is interrupted,
//! it continues at the next start.

use rusqlite::TransactionBehavior;

use crate::metadata::PushedDetails;
use crate::metadata::facts::{read_value, write_value};
use crate::metadata::image_details::{self, ManifestDetails};
use crate::metadata::sql::{self, Connection, OptionalExtension, Row, params};
use crate::oci::{DetailSelection, ImageDetails, MAX_MEDIA_TYPE_LEN, RecordedManifest};

/// Key of the last manifest that was examined. It is deleted when all manifests are examined.
const PROGRESS_KEY: &str = "details_bounded_to";

/// Bytes of rows to rewrite in a transaction; the last row may exceed it.
const BATCH_BYTES: usize = 4 << 20;

/// Number of rows to examine for a transaction.
const BATCH_ROWS: u64 = 10_000;

/// Details of up to this many bytes stay in a manifest's row.
const MAX_ROW_DETAILS: usize = 512;

/// Continues until all rows are within the bounds. Returns whether there was anything to do.
pub(super) fn finish(connection: &mut rusqlite::Connection) -> sql::Result<bool> {
    let mut found = false;
    while let Some(after) = read_value(connection, PROGRESS_KEY)? {
        let batch = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        match shorten_batch(&*batch, after.parse().unwrap_or(0))? {
            Some(last) => write_value(&*batch, PROGRESS_KEY, &last.to_string())?,
            None => batch.execute("DELETE FROM facts WHERE key = ?1", [PROGRESS_KEY]).map(drop)?,
        }
        batch.commit()?;
        found = true;
    }
    Ok(found)
}

/// A row that exceeds the bounds.
struct OversizedRow {
    id: i64,
    artifact_type: Option<String>,
    details: Option<String>,
    content: Vec<u8>,
}

/// Bounds rows after the manifest `after`. Returns the last manifest examined; `None` at the end.
fn shorten_batch(c: &dyn Connection, after: i64) -> sql::Result<Option<i64>> {
    let last: Option<i64> = c.query_row(
        "SELECT max(id) FROM (SELECT id FROM manifests WHERE id > ?1 ORDER BY id LIMIT ?2) batch",
        params![after, BATCH_ROWS],
        |row| row.get(0),
    )?;
    let Some(last) = last else {
        return Ok(None);
    };
    let mut after = after;
    let mut bytes = 0;
    while bytes < BATCH_BYTES {
        let Some(row) = next_oversized(c, after, last)? else {
            return Ok(Some(last));
        };
        after = row.id;
        bytes += row.content.len() + row.details.as_ref().map_or(0, String::len);
        shorten_row(c, &row)?;
    }
    Ok(Some(after))
}

fn next_oversized(c: &dyn Connection, after: i64, last: i64) -> sql::Result<Option<OversizedRow>> {
    let mut query = c.prepare_cached(
        "SELECT id, artifact_type, details, content FROM manifests
         WHERE id > ?1 AND id <= ?2
           AND (annotations IS NOT NULL OR octet_length(artifact_type) > ?3 OR octet_length(details) > ?4)
         ORDER BY id LIMIT 1",
    )?;
    let limits = params![after, last, MAX_MEDIA_TYPE_LEN, MAX_ROW_DETAILS];
    let row = |row: Row<'_>| {
        Ok(OversizedRow {
            id: row.get(0)?,
            artifact_type: row.get(1)?,
            details: row.get(2)?,
            content: row.get(3)?,
        })
    };
    query.query_row(limits, row).optional()
}

fn shorten_row(c: &dyn Connection, row: &OversizedRow) -> sql::Result<()> {
    let manifest = RecordedManifest::read(&row.content).unwrap_or_default();
    let mut own = match &row.details {
        Some(json) if json.len() > MAX_ROW_DETAILS => shorten_details(c, json, &manifest, &row.content)?,
        json => ManifestDetails { details: json.clone(), ..ManifestDetails::default() },
    };
    let artifact_type = row.artifact_type.as_deref().filter(|text| text.len() <= MAX_MEDIA_TYPE_LEN);
    own.incomplete |= artifact_type.is_none() && row.artifact_type.is_some();
    c.prepare_cached(
        "UPDATE manifests SET annotations = NULL, artifact_type = ?2, details = ?3,
                              config = coalesce(?4, config), incomplete = ?5
         WHERE id = ?1",
    )?
    .execute(params![row.id, artifact_type, own.details, own.config, own.incomplete])
    .map(drop)
}

/// Moves the details of an image to its config, and shortens those of an index.
fn shorten_details(
    c: &dyn Connection,
    json: &str,
    manifest: &RecordedManifest,
    content: &[u8],
) -> sql::Result<ManifestDetails> {
    if let Some(config) = &manifest.config {
        let pushed = PushedDetails::Config {
            digest: config.clone(),
            details: Some(image_details::from_json(json, DetailSelection::Stored)),
        };
        return ManifestDetails::store(c, &pushed);
    }
    let index = ImageDetails::of_index(content, DetailSelection::Stored);
    let details = (!index.is_unknown()).then(|| image_details::to_json(&index));
    Ok(ManifestDetails { config: None, details, incomplete: index.incomplete })
}
