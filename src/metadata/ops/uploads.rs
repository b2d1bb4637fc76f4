//! Stores uploads in progress and turns them into blobs.

use crate::clock::{Timestamp, millis};
use crate::metadata::ops::{accounting, blobs, ensure_repo, events, quotas};
use crate::metadata::sql::{
    Connection, OptionalExtension, Row, SqlAlgorithm, SqlDigest, algorithm, digest, params,
};
use crate::metadata::{
    BlobSize, Commit, Durability, EventDetails, Growth, Metadata, Operation, OverQuota, Progress, Result,
    UploadCreation, UploadEnd, UploadRecord, UploadStatus, sql,
};
use crate::oci::{Algorithm, BlobKey, Digest, RepoName, UploadId};

impl Metadata {
    /// Records a new upload, lazily, and its repository if that is new.
    pub async fn create_upload(
        &self,
        repo: &RepoName,
        id: UploadId,
        with: Algorithm,
        now: Timestamp,
    ) -> Result<UploadCreation> {
        let repo = repo.clone();
        self.change(Operation::CreateUpload, Durability::Lazy, move |c| {
            if quotas::has_any(c)?
                && let Some(over) = quotas::check(c, &repo, Growth::default())?
            {
                return Ok(UploadCreation::Refused(over));
            }
            let repo = ensure_repo(c, &repo, now)?;
            let mut insert = c.prepare_cached(
                "INSERT INTO uploads (id, repo, algorithm, began_at, touched_at) VALUES (?1, ?2, ?3, ?4, ?4)",
            )?;
            insert.execute(params![id, repo, algorithm(with), now])?;
            accounting::adjust_uploads(c, 1)?;
            Ok(UploadCreation::Created)
        })
        .await
    }

    /// Returns an upload of `repo`.
    pub async fn upload(&self, repo: &RepoName, id: UploadId) -> Result<Option<UploadRecord>> {
        self.query(Operation::Upload, |c| {
            let mut query = c.prepare_cached(
                "SELECT u.id, u.algorithm, u.offset, u.hash_state, u.touched_at, u.intent_digest,
                        u.intent_generation
                 FROM repositories r JOIN uploads u ON u.repo = r.id
                 WHERE r.name = ?1 AND u.id = ?2",
            )?;
            query.query_row(params![repo.as_str(), id], upload_record).optional()
        })
        .await
    }

    /// Records that the bytes up to `offset` are durable, and their hash state. Returns `false` if the upload
    /// no longer exists.
    pub async fn record_progress(&self, id: UploadId, progress: Progress, now: Timestamp) -> Result<bool> {
        self.change(Operation::RecordProgress, Durability::Full, move |c| {
            let mut update = c.prepare_cached(
                r#"UPDATE uploads SET "offset" = ?2, hash_state = ?3, touched_at = ?4 WHERE id = ?1"#,
            )?;
            let changed = update.execute(params![id, progress.offset, progress.hash_state, now])?;
            Ok(changed == 1)
        })
        .await
    }

    /// Returns the repository of an upload, and how many of its bytes are recorded.
    pub async fn upload_status(&self, id: UploadId) -> Result<Option<UploadStatus>> {
        self.query(Operation::UploadStatus, |c| {
            let mut query = c.prepare_cached(
                "SELECT r.name, u.offset FROM uploads u JOIN repositories r ON r.id = u.repo WHERE u.id = ?1",
            )?;
            let place = query.query_row([id], |row| {
                let repo = row.get(0)?;
                Ok(UploadStatus { repo, offset: row.get::<u64>(1)? })
            });
            place.optional()
        })
        .await
    }

    /// Records the blob key that the upload's content is about to be published under, so that recovery after a
    /// crash knows what to finish. The recorded progress does not change: later bytes are not durable yet. An
    /// earlier intent that is replaced becomes a pending deletion. Returns `false` if the upload no longer
    /// exists.
    pub async fn record_intent(&self, id: UploadId, intent: &BlobKey) -> Result<bool> {
        let target = digest(&intent.digest);
        let generation = intent.generation;
        self.change(Operation::RecordIntent, Durability::Full, move |c| {
            // The blob of an earlier intent may exist although nothing else refers to it.
            blobs::doom_selected(
                c,
                "INSERT INTO doomed (generation, digest, size, allocated)
                 SELECT intent_generation, intent_digest, u.offset, (u.offset + 4095) / 4096 * 4096 FROM uploads u
                 WHERE id = ?1 AND intent_generation <> ?2
                 ON CONFLICT DO NOTHING RETURNING size, allocated",
                params![id, generation],
            )?;
            let mut update = c.prepare_cached(
                "UPDATE uploads SET intent_digest = ?2, intent_generation = ?3 WHERE id = ?1",
            )?;
            Ok(update.execute(params![id, target, generation])? == 1)
        })
        .await
    }

    /// Removes an intent after its content was staged again, or was found never to have been published.
    pub async fn forget_intent(&self, id: UploadId) -> Result<()> {
        self.change(Operation::ForgetIntent, Durability::Full, move |c| {
            let mut update = c.prepare_cached(
                "UPDATE uploads SET intent_digest = NULL, intent_generation = NULL WHERE id = ?1",
            )?;
            update.execute([id]).map(drop)
        })
        .await
    }

    /// Turns an upload into a blob: deletes the upload's row, makes `key` the blob's current generation (the
    /// previous generation becomes a pending deletion), and links and leases the blob in the upload's
    /// repository. Records an event if this repairs a quarantined blob. Changes nothing if the upload no longer
    /// exists or a quota would be exceeded.
    pub async fn commit_upload(
        &self,
        id: UploadId,
        key: &BlobKey,
        size: BlobSize,
        end: UploadEnd,
    ) -> Result<Commit> {
        let key = key.clone();
        self.change(Operation::CommitUpload, Durability::Full, move |c| {
            let target = digest(&key.digest);
            if let Some(over) = over_quota(c, id, &target, size)? {
                return Ok(Commit::Refused(over));
            }
            let Some(repo) = end_upload(c, id, None, end)? else {
                return Ok(Commit::Unknown);
            };
            record_repair(c, repo, &key.digest, &target, end.now)?;
            replace_generation(c, &target, &key, size)?;
            blobs::link(c, repo, &target, end.now)?;
            Ok(Commit::Done)
        })
        .await
    }

    /// Ends an upload without a blob. Returns `false` if it no longer exists. With `idle_since`, cancels it
    /// only if it has had no activity since then.
    pub async fn cancel_upload(
        &self,
        id: UploadId,
        idle_since: Option<Timestamp>,
        end: UploadEnd,
    ) -> Result<bool> {
        self.change(Operation::CancelUpload, Durability::Lazy, move |c| {
            // Content that was already moved to its intended place must not be left without a reference.
            blobs::doom_selected(
                c,
                "INSERT INTO doomed (generation, digest, size, allocated)
                 SELECT intent_generation, intent_digest, u.offset, (u.offset + 4095) / 4096 * 4096 FROM uploads u
                 WHERE id = ?1 AND intent_digest IS NOT NULL AND touched_at <= coalesce(?2, touched_at)
                 ON CONFLICT DO NOTHING RETURNING size, allocated",
                params![id, idle_since],
            )?;
            Ok(end_upload(c, id, idle_since, end)?.is_some())
        })
        .await
    }

    /// Returns up to `limit` uploads without activity since `idle_since`.
    pub async fn idle_uploads(&self, idle_since: Timestamp, limit: usize) -> Result<Vec<UploadId>> {
        self.query(Operation::IdleUploads, |c| {
            let mut query = c.prepare_cached(
                "SELECT id FROM uploads WHERE touched_at <= ?1 ORDER BY touched_at LIMIT ?2",
            )?;
            query.query_map(params![idle_since, limit], |row| row.get(0))?.collect()
        })
        .await
    }

    /// Returns every upload that has an intent.
    pub async fn intended_uploads(&self) -> Result<Vec<(UploadId, BlobKey)>> {
        self.query_blocking(Operation::IntendedUploads, |c| {
            let mut query = c.prepare_cached(
                "SELECT id, intent_digest, intent_generation FROM uploads WHERE intent_digest IS NOT NULL",
            )?;
            let rows = query.query_map([], |row| {
                Ok((row.get(0)?, BlobKey { digest: row.get::<SqlDigest>(1)?.0, generation: row.get(2)? }))
            })?;
            rows.collect()
        })
        .await
    }
}

fn upload_record(row: Row<'_>) -> sql::Result<UploadRecord> {
    let intent = match (row.get::<Option<SqlDigest>>(5)?, row.get(6)?) {
        (Some(digest), Some(generation)) => Some(BlobKey { digest: digest.0, generation }),
        _ => None,
    };
    Ok(UploadRecord {
        id: row.get(0)?,
        algorithm: row.get::<SqlAlgorithm>(1)?.0,
        progress: Progress { offset: row.get::<u64>(2)?, hash_state: row.get(3)? },
        touched_at: row.get(4)?,
        intent,
    })
}

/// Deletes an upload's row and returns its repository. The upload keeps extending the leases of that repository.
fn end_upload(
    c: &dyn Connection,
    id: UploadId,
    idle_since: Option<Timestamp>,
    end: UploadEnd,
) -> sql::Result<Option<i64>> {
    let mut delete = c.prepare_cached(
        "DELETE FROM uploads WHERE id = ?1 AND touched_at <= coalesce(?2, touched_at) RETURNING repo, began_at",
    )?;
    let row = delete.query_row(params![id, idle_since], |row| Ok((row.get(0)?, row.get(1)?)));
    let Some((repo, began_at)) = row.optional()? else {
        return Ok(None);
    };
    accounting::adjust_uploads(c, -1)?;
    record_past_upload(c, repo, began_at, end)?;
    Ok(Some(repo))
}

/// Records that an upload extends leases. Its start and end are rounded outwards to sixteenths of the shortest lease,
/// so that a busy repository has only a few rows and most commits change none of them.
fn record_past_upload(c: &dyn Connection, repo: i64, began_at: Timestamp, end: UploadEnd) -> sql::Result<()> {
    let step = millis(end.min_lease.min(end.lease) / 16).max(1);
    let began_at = Timestamp(began_at.0 - began_at.0.rem_euclid(step));
    let ended_at = Timestamp(end.now.0 - end.now.0.rem_euclid(step) + step);
    let is_recorded = c
        .prepare_cached("SELECT 1 FROM past_uploads WHERE repo = ?1 AND began_at = ?2 AND ended_at >= ?3")?
        .exists(params![repo, began_at, ended_at])?;
    if is_recorded {
        return Ok(());
    }
    if end.min_lease < end.lease {
        merge_past_uploads(c, repo, end)?;
    }
    extend_leases(c, repo, began_at, ended_at)
}

/// Records that uploads between these times extend the leases of a repository.
pub(in crate::metadata) fn extend_leases(
    c: &dyn Connection,
    repo: i64,
    began_at: Timestamp,
    ended_at: Timestamp,
) -> sql::Result<()> {
    c.prepare_cached(
        "INSERT INTO past_uploads (repo, began_at, ended_at) VALUES (?1, ?2, ?3)
         ON CONFLICT (repo, began_at) DO UPDATE SET ended_at = excluded.ended_at
         WHERE excluded.ended_at > past_uploads.ended_at",
    )?
    .execute(params![repo, began_at, ended_at])
    .map(drop)
}

/// Merges the past uploads that started in the same sixteenth of a lease and ended more than a shortest lease ago: only
/// leases of the normal length still depend on them.
fn merge_past_uploads(c: &dyn Connection, repo: i64, end: UploadEnd) -> sql::Result<()> {
    let step = millis(end.lease / 16).max(1);
    let mut delete = c.prepare_cached(
        "DELETE FROM past_uploads WHERE repo = ?1 AND ended_at <= ?2 AND began_at % ?3 <> 0
         RETURNING began_at - began_at % ?3, ended_at",
    )?;
    let over = end.now.minus(end.min_lease);
    let rows = delete.query_map(params![repo, over, step], |row| Ok((row.get(0)?, row.get(1)?)))?;
    for (began_at, ended_at) in rows.collect::<sql::Result<Vec<(Timestamp, Timestamp)>>>()? {
        extend_leases(c, repo, began_at, ended_at)?;
    }
    Ok(())
}

/// Finds a quota that the blob of an upload would exceed.
fn over_quota(
    c: &dyn Connection,
    id: UploadId,
    target: &[u8],
    size: BlobSize,
) -> sql::Result<Option<OverQuota>> {
    if !quotas::has_any(c)? {
        return Ok(None);
    }
    let mut query = c.prepare_cached(
        "SELECT r.name FROM uploads u JOIN repositories r ON r.id = u.repo WHERE u.id = ?1",
    )?;
    let repo: Option<RepoName> = query.query_row([id], |row| row.get(0)).optional()?;
    let exceeded = repo.map(|repo| quotas::check_link(c, &repo, target, size.logical));
    Ok(exceeded.transpose()?.flatten())
}

/// Records the event that a push to `repo` repaired the blob, if it is quarantined.
pub(in crate::metadata) fn record_repair(
    c: &dyn Connection,
    repo: i64,
    pushed: &Digest,
    target: &[u8],
    now: Timestamp,
) -> sql::Result<()> {
    let damaged =
        c.prepare_cached("SELECT 1 FROM blobs WHERE digest = ?1 AND damaged <> 0")?.exists([target])?;
    if !damaged {
        return Ok(());
    }
    let repository = c
        .prepare_cached("SELECT name FROM repositories WHERE id = ?1")?
        .query_row([repo], |row| row.get(0))?;
    events::record(c, now, &EventDetails::BlobHealed { digest: pushed.clone(), repository })
}

/// Makes `key` the current generation of the blob. Its content was verified just now, while that of an older generation
/// may have been damaged since its verification. So a repeated push also repairs damage that was not detected yet.
pub(in crate::metadata) fn replace_generation(
    c: &dyn Connection,
    target: &[u8],
    key: &BlobKey,
    size: BlobSize,
) -> sql::Result<()> {
    let before = blobs::doom(c, target)?;
    let sql = match before {
        Some(_) => {
            "UPDATE blobs SET size = ?2, generation = ?3, damaged = 0, unverified = 0, hardlinked = 0, allocated = ?4,
                              measured = 1
             WHERE digest = ?1"
        }
        None => {
            "INSERT INTO blobs (digest, size, generation, allocated, measured) VALUES (?1, ?2, ?3, ?4, 1)"
        }
    };
    c.prepare_cached(sql)?.execute(params![target, size.logical, key.generation, size.allocated])?;
    match before {
        Some(before) => accounting::resize_blob(c, target, before, size),
        None => accounting::adjust_blobs(c, size, 1),
    }
}
