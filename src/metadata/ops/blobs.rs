//! Stores blobs and the links by which repositories serve them.

use crate::clock::Timestamp;
use crate::metadata::ops::liveness::{self, Review};
use crate::metadata::ops::maintenance::stored_blob;
use crate::metadata::ops::{accounting, ensure_repo, events, quotas, repo_id};
use crate::metadata::sql::{self, Connection, OptionalExtension, Params, Row, SqlDigest, digest, params};
use crate::metadata::{
    BlobRecord, BlobSize, Deletion, Durability, EdgeKind, EventDetails, Integrity, Metadata, Mount,
    Operation, Renewal, Result, StoredBlob, Target,
};
use crate::oci::{BlobKey, Digest, RepoName};

impl Metadata {
    /// Returns a blob that `repo` serves. A quarantined blob is absent.
    pub async fn blob(&self, repo: &RepoName, wanted: &Digest) -> Result<Option<BlobRecord>> {
        self.perform(Operation::Blob, async {
            let query = |c: &dyn Connection| {
                let mut query = c.prepare_cached(
                    "SELECT b.generation, b.size, l.leased_at
                     FROM repositories r
                     JOIN links l ON l.repo = r.id AND l.digest = ?2
                     JOIN blobs b ON b.digest = l.digest
                     WHERE r.name = ?1 AND l.hidden_at IS NULL AND b.damaged = 0",
                )?;
                let row = query.query_row(params![repo.as_str(), digest(wanted)], |row| record(wanted, row));
                row.optional()
            };
            self.sqlite().caches.blobs.get_or_query(repo, wanted, |_| 0, || self.read(query))
        })
        .await
    }

    /// Renews the lease on a link or manifest of `repo` if the lease is stale. Skips the write if a live
    /// manifest or a tag keeps the target alive, unless `renewal` asks for it nevertheless. Returns `false` if
    /// the target no longer exists: the caller, which has just seen it, must look again.
    pub async fn renew_lease(&self, repo: &RepoName, target: Target<'_>, renewal: Renewal) -> Result<bool> {
        self.perform(Operation::RenewLease, async {
            let (kind, wanted) = match target {
                Target::Blob(wanted) => (EdgeKind::Blob, digest(wanted)),
                Target::Manifest(wanted) => (EdgeKind::Child, digest(wanted)),
            };
            match self.read(|c| lease_state(c, repo, kind, &wanted, renewal))? {
                LeaseState::Absent => return Ok(false),
                LeaseState::Safe => return Ok(true),
                LeaseState::Stale(_) => {}
            }
            let repo = repo.clone();
            self.write(Durability::Full, move |c| match lease_state(c, &repo, kind, &wanted, renewal)? {
                LeaseState::Absent => Ok(false),
                LeaseState::Safe => Ok(true),
                LeaseState::Stale(repo) => renew(c, kind, repo, &wanted, renewal.now).map(|()| true),
            })
            .await
        })
        .await
    }

    /// Links a blob to `repo` and leases it, if `from` serves it, or any repository if `from` is `None`.
    pub async fn mount_blob(
        &self,
        repo: &RepoName,
        wanted: &Digest,
        from: Option<&RepoName>,
        now: Timestamp,
    ) -> Result<Mount> {
        let repo = repo.clone();
        let wanted = wanted.clone();
        let from = from.cloned();
        self.change(Operation::MountBlob, Durability::Full, move |c| {
            let target = digest(&wanted);
            let Some(mut blob) = find_mountable(c, &wanted, &target, from.as_ref())? else {
                return Ok(Mount::Missing);
            };
            if quotas::has_any(c)?
                && let Some(over) = quotas::check_link(c, &repo, &target, blob.size)?
            {
                return Ok(Mount::Refused(over));
            }
            let repo = ensure_repo(c, &repo, now)?;
            link(c, repo, &target, now)?;
            blob.leased_at = now;
            Ok(Mount::Done(blob))
        })
        .await
    }

    /// Returns up to `limit` repositories that serve a blob, in no particular order.
    pub async fn blob_repositories(&self, wanted: &Digest, limit: usize) -> Result<Vec<RepoName>> {
        self.query(Operation::BlobRepositories, |c| {
            let mut query = c.prepare_cached(
                "SELECT r.name FROM links l JOIN repositories r ON r.id = l.repo
                 WHERE l.digest = ?1 AND l.hidden_at IS NULL LIMIT ?2",
            )?;
            query.query_map(params![digest(wanted), limit], |row| row.get(0))?.collect()
        })
        .await
    }

    /// Hides a blob from `repo`. It is collected after the trash time unless something unhides it.
    pub async fn delete_blob(&self, repo: &RepoName, wanted: &Digest, now: Timestamp) -> Result<Deletion> {
        let repo = repo.clone();
        let target = digest(wanted);
        self.change(Operation::DeleteBlob, Durability::Full, move |c| {
            let Some(repo) = repo_id(c, &repo)? else {
                return Ok(Deletion::Unknown);
            };
            if !is_visible(c, repo, &target)? {
                return Ok(Deletion::Unknown);
            }
            if let Some(holder) = liveness::live_holder(c, repo, &target, EdgeKind::Blob)? {
                return read_digest(&holder).map(Deletion::HeldBy);
            }
            c.prepare_cached("UPDATE links SET hidden_at = ?3 WHERE repo = ?1 AND digest = ?2")?
                .execute(params![repo, target, now])?;
            liveness::queue(c, Review::HiddenLink, repo, &target, now)?;
            Ok(Deletion::Done)
        })
        .await
    }

    /// Quarantines a generation of a blob, or releases it from quarantine. A quarantined blob is absent to all
    /// clients, but its links and edges remain. A change of its state is recorded as an event. Returns `false`
    /// if the generation is not the current one.
    pub async fn mark_blob(&self, key: &BlobKey, condition: Integrity, now: Timestamp) -> Result<bool> {
        let key = key.clone();
        self.change(Operation::MarkBlob, Durability::Full, move |c| mark(c, key, condition, now)).await
    }

    /// Returns some blobs whose allocated size is only an estimate that a migration made.
    pub async fn unmeasured(&self, limit: usize) -> Result<Vec<StoredBlob>> {
        self.query(Operation::Unmeasured, |c| {
            let mut query = c.prepare_cached(
                "SELECT digest, generation, size, damaged, CASE WHEN measured <> 0 THEN allocated END, unverified, hardlinked
                 FROM blobs WHERE measured = 0
                 ORDER BY digest LIMIT ?1",
            )?;
            query.query_map([limit], stored_blob)?.collect()
        }).await
    }

    /// Records, lazily, the allocated sizes of blobs. Skips generations that are no longer current.
    pub async fn record_allocated(&self, measured: Vec<(BlobKey, u64)>) -> Result<()> {
        self.change_in_background(Operation::RecordAllocated, Durability::Lazy, move |c| {
            measured.iter().try_for_each(|(key, allocated)| record_allocated(c, key, *allocated))
        })
        .await
    }
}

fn mark(c: &dyn Connection, key: BlobKey, condition: Integrity, now: Timestamp) -> sql::Result<bool> {
    let target = digest(&key.digest);
    let damaged = condition != Integrity::Intact;
    let mut current = c.prepare_cached("SELECT damaged FROM blobs WHERE digest = ?1 AND generation = ?2")?;
    let was = current.query_row(params![target, key.generation], |row| row.get::<bool>(0)).optional()?;
    if was.is_none_or(|was| was == damaged) {
        return Ok(was.is_some());
    }
    c.prepare_cached("UPDATE blobs SET damaged = ?2, unverified = 0 WHERE digest = ?1")?
        .execute(params![target, damaged])?;
    let event = match condition {
        Integrity::Intact => EventDetails::BlobSound { digest: key.digest },
        Integrity::Damaged(reason) => EventDetails::BlobDamaged { digest: key.digest, reason },
    };
    events::record(c, now, &event).map(|()| true)
}

/// Records the allocated size of a generation of a blob, if it is the current one.
fn record_allocated(c: &dyn Connection, key: &BlobKey, allocated: u64) -> sql::Result<()> {
    let target = digest(&key.digest);
    let before = c
        .prepare_cached("SELECT size, allocated FROM blobs WHERE digest = ?1 AND generation = ?2")?
        .query_row(params![target, key.generation], accounting::read_size)
        .optional()?;
    let Some(before) = before else {
        return Ok(());
    };
    c.prepare_cached("UPDATE blobs SET allocated = ?2, measured = 1 WHERE digest = ?1")?
        .execute(params![target, allocated])?;
    accounting::resize_blob(c, &target, before, BlobSize { allocated, ..before })
}

fn record(wanted: &Digest, row: Row<'_>) -> sql::Result<BlobRecord> {
    Ok(BlobRecord {
        key: BlobKey { digest: wanted.clone(), generation: row.get(0)? },
        size: row.get::<u64>(1)?,
        leased_at: row.get(2)?,
    })
}

/// Links a blob to a repository, or makes its link visible again, and leases it.
pub(in crate::metadata) fn link(
    c: &dyn Connection,
    repo: i64,
    target: &[u8],
    now: Timestamp,
) -> sql::Result<()> {
    let renewed = c
        .prepare_cached(
            "UPDATE links SET leased_at = CASE WHEN leased_at < ?3 THEN ?3 ELSE leased_at END, hidden_at = NULL
             WHERE repo = ?1 AND digest = ?2",
        )?
        .execute(params![repo, target, now])?;
    if renewed == 0 {
        c.prepare_cached("INSERT INTO links (repo, digest, leased_at) VALUES (?1, ?2, ?3)")?
            .execute(params![repo, target, now])?;
        accounting::adjust_links(c, repo, target, 1)?;
    }
    liveness::queue(c, Review::Link, repo, target, now)
}

/// Schedules the current generation of a blob for deletion. Returns its size, or `None` if there is no such blob. The
/// deletion of a file that another registry's tree has too frees nothing.
pub(in crate::metadata) fn doom(c: &dyn Connection, target: &[u8]) -> sql::Result<Option<BlobSize>> {
    let size = c
        .prepare_cached("SELECT size, allocated FROM blobs WHERE digest = ?1")?
        .query_row([target], accounting::read_size)
        .optional()?;
    doom_selected(
        c,
        "INSERT INTO doomed (generation, digest, size, allocated)
         SELECT generation, digest, CASE WHEN hardlinked <> 0 THEN 0 ELSE size END,
                CASE WHEN hardlinked <> 0 THEN 0 ELSE allocated END
         FROM blobs WHERE digest = ?1 RETURNING size, allocated",
        [target],
    )?;
    Ok(size)
}

/// Schedules the content for deletion that `insert` selects, if any, and counts it. Returns its size.
pub(in crate::metadata) fn doom_selected(
    c: &dyn Connection,
    insert: &str,
    values: impl Params,
) -> sql::Result<Option<BlobSize>> {
    let doomed = c.prepare_cached(insert)?.query_row(values, accounting::read_size).optional()?;
    accounting::adjust_pending_deletions(c, doomed, 1)?;
    Ok(doomed)
}

/// Makes the hidden blobs that a manifest requires visible again, because it now holds them.
pub(in crate::metadata) fn unhide_required(c: &dyn Connection, repo: i64, manifest: i64) -> sql::Result<()> {
    c.prepare_cached(
        "UPDATE links SET hidden_at = NULL WHERE repo = ?1 AND hidden_at IS NOT NULL AND digest IN
         (SELECT target FROM edges WHERE manifest = ?2 AND kind = 0 AND required = 1)",
    )?
    .execute([repo, manifest])
    .map(drop)
}

/// Whether `repo` serves the blob: it is linked, not hidden and not quarantined.
fn is_visible(c: &dyn Connection, repo: i64, target: &[u8]) -> sql::Result<bool> {
    c.prepare_cached(
        "SELECT 1 FROM links l JOIN blobs b ON b.digest = l.digest
         WHERE l.repo = ?1 AND l.digest = ?2 AND l.hidden_at IS NULL AND b.damaged = 0",
    )?
    .exists(params![repo, target])
}

fn find_mountable(
    c: &dyn Connection,
    wanted: &Digest,
    target: &[u8],
    from: Option<&RepoName>,
) -> sql::Result<Option<BlobRecord>> {
    let Some(from) = from else {
        let mut query = c.prepare_cached(
            "SELECT b.generation, b.size, l.leased_at FROM blobs b JOIN links l ON l.digest = b.digest
             WHERE b.digest = ?1 AND b.damaged = 0 AND b.unverified = 0 AND l.hidden_at IS NULL LIMIT 1",
        )?;
        return query.query_row([target], |row| record(wanted, row)).optional();
    };
    let Some(from) = repo_id(c, from)? else {
        return Ok(None);
    };
    let mut query = c.prepare_cached(
        "SELECT b.generation, b.size, l.leased_at FROM links l JOIN blobs b ON b.digest = l.digest
         WHERE l.repo = ?1 AND l.digest = ?2 AND l.hidden_at IS NULL AND b.damaged = 0 AND b.unverified = 0",
    )?;
    query.query_row(params![from, target], |row| record(wanted, row)).optional()
}

/// Whether a target needs a new lease.
enum LeaseState {
    /// The target does not exist.
    Absent,
    /// It was leased recently, or a live manifest holds it: then it gets a lease when the manifest releases it.
    Safe,
    /// It needs a new lease in the repository with this id.
    Stale(i64),
}

fn lease_state(
    c: &dyn Connection,
    repo: &RepoName,
    kind: EdgeKind,
    target: &[u8],
    renewal: Renewal,
) -> sql::Result<LeaseState> {
    let sql = match kind {
        EdgeKind::Blob => {
            "SELECT r.id, l.leased_at, 0 FROM repositories r JOIN links l ON l.repo = r.id AND l.digest = ?2
             JOIN blobs b ON b.digest = l.digest
             WHERE r.name = ?1 AND l.hidden_at IS NULL AND b.damaged = 0"
        }
        EdgeKind::Child | EdgeKind::Subject => {
            "SELECT r.id, m.leased_at, EXISTS (SELECT 1 FROM tags t WHERE t.manifest = m.id)
             FROM repositories r JOIN manifests m ON m.repo = r.id AND m.digest = ?2
             WHERE r.name = ?1 AND m.state = 0"
        }
    };
    let mut query = c.prepare_cached(sql)?;
    let found = query.query_row(params![repo.as_str(), target], |row| {
        Ok((row.get::<i64>(0)?, row.get::<Timestamp>(1)?, row.get::<bool>(2)?))
    });
    let Some((repo, leased_at, tagged)) = found.optional()? else {
        return Ok(LeaseState::Absent);
    };
    let is_held = || Ok::<_, sql::Error>(!renewal.held && liveness::is_held_recently(c, repo, target, kind)?);
    if leased_at > renewal.stale || (tagged && !renewal.tagged) || is_held()? {
        return Ok(LeaseState::Safe);
    }
    Ok(LeaseState::Stale(repo))
}

fn renew(c: &dyn Connection, kind: EdgeKind, repo: i64, target: &[u8], now: Timestamp) -> sql::Result<()> {
    let sql = match kind {
        EdgeKind::Blob => "UPDATE links SET leased_at = ?3 WHERE repo = ?1 AND digest = ?2",
        EdgeKind::Child | EdgeKind::Subject => {
            "UPDATE manifests SET leased_at = ?3 WHERE repo = ?1 AND digest = ?2"
        }
    };
    // A target that only the trash holds is not in the review queue. The purge adds it again.
    c.prepare_cached(sql)?.execute(params![repo, target, now]).map(drop)
}

pub(in crate::metadata) fn read_digest(bytes: &[u8]) -> sql::Result<Digest> {
    use crate::metadata::sql::{FromSql, ValueRef};

    SqlDigest::column_result(ValueRef::Blob(bytes))
        .map(|digest| digest.0)
        .map_err(|error| sql::Error::InvalidColumn { column: 0, source: Box::new(error) })
}
