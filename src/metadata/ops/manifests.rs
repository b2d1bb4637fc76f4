//! Stores, reads and deletes manifests, tags and references.

use crate::clock::Timestamp;
use crate::metadata::image_details::{self, ManifestDetails};
use crate::metadata::ops::blobs::{read_digest, unhide_required};
use crate::metadata::ops::liveness::{self, Review};
use crate::metadata::ops::references::{self, BlobFilter, TargetSizes};
use crate::metadata::ops::{accounting, ensure_repo, quotas, repo_id, tags};
use crate::metadata::sql::{Connection, OptionalExtension, Row, SqlDigest, digest, params};
use crate::metadata::{
    Change, ChangeKind, Deletion, Durability, EdgeKind, Growth, MAX_REFERRERS_BYTES, ManifestRecord,
    Metadata, Operation, OverQuota, PutManifest, PutOutcome, ReferrerRecord, Result, WrongSize, sql,
};
use crate::oci::{Annotations, Digest, Reference, RepoName, Tag};

impl Metadata {
    /// Returns a live manifest of `repo` with its content.
    pub async fn manifest(&self, repo: &RepoName, reference: &Reference) -> Result<Option<ManifestRecord>> {
        self.perform(Operation::Manifest, async {
            let query = |c: &dyn Connection| match reference {
                Reference::Tag(tag) => c
                    .prepare_cached(
                        "SELECT m.digest, m.media_type, m.content, m.leased_at, t.updated_at
                         FROM repositories r
                         JOIN tags t ON t.repo = r.id AND t.name = ?2
                         JOIN manifests m ON m.id = t.manifest
                         WHERE r.name = ?1",
                    )?
                    .query_row([repo.as_str(), tag.as_str()], manifest_record)
                    .optional(),
                Reference::Digest(wanted) => c
                    .prepare_cached(
                        "SELECT m.digest, m.media_type, m.content, m.leased_at, NULL
                         FROM repositories r
                         JOIN manifests m ON m.repo = r.id AND m.digest = ?2
                         WHERE r.name = ?1 AND m.state = 0",
                    )?
                    .query_row(params![repo.as_str(), digest(wanted)], manifest_record)
                    .optional(),
            };
            let size = |manifest: &ManifestRecord| manifest.content.len();
            self.sqlite().caches.manifests.get_or_query(repo, reference, size, || self.read(query))
        })
        .await
    }

    /// Stores a manifest, or a removed one again, with its edges and tags. A manifest that returns from the
    /// trash unhides the blobs it requires.
    pub async fn put_manifest(&self, put: PutManifest) -> Result<PutOutcome> {
        let put = self.write_weighed(Durability::Full, estimate_bytes(&put), move |c| {
            let target = digest(&put.digest);
            if let Some(tag) = tags::find_immutable_conflict(c, &put)? {
                return Ok(PutOutcome::Immutable(tag));
            }
            let repo = repo_id(c, &put.repo)?;
            let stored = repo.map_or(Ok(None), |repo| find_stored(c, repo, &target))?;
            if let Some(rejection) = check_targets(c, &put, repo, stored)? {
                return Ok(rejection);
            }
            if let Some(over) = over_quota(c, &put, repo, stored)? {
                return Ok(PutOutcome::Refused(over));
            }
            let now = put.change.now;
            let repo = ensure_repo(c, &put.repo, now)?;
            let id = store_manifest(c, repo, &target, stored, &put)?;
            // This is a new push, so a purged holder no longer takes the manifest with it.
            liveness::dequeue(c, Review::Orphan, repo, &target)?;
            for tag in &put.tags {
                tags::point_tag(c, repo, tag.as_str(), id, &target, None, &put.change)?;
            }
            if put.tags.is_empty() {
                liveness::queue_manifest(c, id, repo, &target, now)?;
            }
            Ok(PutOutcome::Stored)
        });
        self.perform(Operation::PutManifest, put).await
    }

    /// Returns whether the image details of this config are recorded.
    pub async fn has_config_details(&self, config: &Digest) -> Result<bool> {
        self.query(Operation::HasConfigDetails, |c| image_details::is_recorded(c, config)).await
    }

    /// Moves a manifest to the trash and removes its tags.
    pub async fn delete_manifest(
        &self,
        repo: &RepoName,
        wanted: &Digest,
        change: &Change,
    ) -> Result<Deletion> {
        let repo = repo.clone();
        let target = digest(wanted);
        let change = change.clone();
        self.change(Operation::DeleteManifest, Durability::Full, move |c| {
            let Some(repo) = repo_id(c, &repo)? else {
                return Ok(Deletion::Unknown);
            };
            let Some(id) = live_id(c, repo, &target)? else {
                return Ok(Deletion::Unknown);
            };
            if let Some(holder) = liveness::live_holder(c, repo, &target, EdgeKind::Child)? {
                return read_digest(&holder).map(Deletion::HeldBy);
            }
            if let Some(tag) = tags::immutable_tag_of(c, id, &change.immutable_tags)? {
                return Ok(Deletion::Immutable(tag));
            }
            remove_manifest(c, repo, id, &target, ChangeKind::Delete, &change, None)?;
            Ok(Deletion::Done)
        })
        .await
    }

    /// Removes a tag and leaves its manifest.
    pub async fn delete_tag(&self, repo: &RepoName, tag: &Tag, change: &Change) -> Result<Deletion> {
        let repo = repo.clone();
        let tag = tag.clone();
        let change = change.clone();
        self.change(Operation::DeleteTag, Durability::Full, move |c| {
            let Some(repo) = repo_id(c, &repo)? else {
                return Ok(Deletion::Unknown);
            };
            let Some(found) = tags::find(c, repo, tag.as_str())? else {
                return Ok(Deletion::Unknown);
            };
            if change.immutable_tags.contains(&tag) {
                return Ok(Deletion::Immutable(tag));
            }
            tags::remove_tag(c, repo, tag.as_str(), &found.digest, ChangeKind::Delete, &change)?;
            liveness::queue_manifest(c, found.manifest, repo, &found.digest, change.now)?;
            Ok(Deletion::Done)
        })
        .await
    }

    /// Returns up to `limit` tags of `repo` after `after`, in byte order. `None` if the repository does not
    /// exist.
    pub async fn tags(&self, repo: &RepoName, after: Option<&str>, limit: usize) -> Result<Option<Vec<Tag>>> {
        self.query(Operation::Tags, |c| {
            let Some(repo) = repo_id(c, repo)? else {
                return Ok(None);
            };
            let mut query = c.prepare_cached(
                "SELECT name FROM tags WHERE repo = ?1 AND name > ?2 ORDER BY name LIMIT ?3",
            )?;
            let rows = query.query_map(params![repo, after.unwrap_or(""), limit], |row| row.get(0))?;
            rows.collect::<sql::Result<_>>().map(Some)
        })
        .await
    }

    /// Returns up to `limit` live manifests whose subject is `subject`, sorted by digest, after `after`,
    /// filtered by artifact type if one is given. Returns fewer if they are large: see [`MAX_REFERRERS_BYTES`].
    pub async fn referrers(
        &self,
        repo: &RepoName,
        subject: &Digest,
        artifact_type: Option<&str>,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Vec<ReferrerRecord>> {
        self.query(Operation::Referrers, |c| {
            let Some(repo) = repo_id(c, repo)? else {
                return Ok(Vec::new());
            };
            let mut query = c.prepare_cached(REFERRERS)?;
            let after = after.map(digest).unwrap_or_default();
            let values = params![repo, digest(subject), after, artifact_type, limit];
            limit_bytes(query.query_map(values, referrer_record)?)
        })
        .await
    }

    /// Returns up to `limit` repositories with a live manifest after `after`, in byte order. Reads no other
    /// repositories.
    pub async fn repositories(&self, after: Option<&str>, limit: usize) -> Result<Vec<RepoName>> {
        self.query(Operation::Repositories, |c| {
            let mut query = c.prepare_cached(
                "SELECT name FROM repositories WHERE name > ?1 AND live > 0 ORDER BY name LIMIT ?2",
            )?;
            let rows = query.query_map(params![after.unwrap_or(""), limit], |row| row.get(0))?;
            rows.collect()
        })
        .await
    }

    /// Returns whether a repository of this name has ever been pushed to.
    pub async fn repository_exists(&self, repo: &RepoName) -> Result<bool> {
        self.query(Operation::RepositoryExists, |c| Ok(repo_id(c, repo)?.is_some())).await
    }

    /// Records, lazily, when manifests were last pulled.
    pub async fn record_pulls(&self, pulls: Vec<(RepoName, Digest, Timestamp)>) -> Result<()> {
        self.change(Operation::RecordPulls, Durability::Lazy, move |c| {
            let mut update = c.prepare_cached(
                "UPDATE manifests SET pulled_at = ?3
                 WHERE repo = (SELECT id FROM repositories WHERE name = ?1) AND digest = ?2 AND pulled_at < ?3
                 RETURNING repo",
            )?;
            for (repo, pulled, at) in pulls {
                let values = params![repo.as_str(), digest(&pulled), at];
                if let Some(repo) = update.query_row(values, |row| row.get(0)).optional()? {
                    accounting::record_pull(c, repo, at)?;
                }
            }
            Ok(())
        })
        .await
    }
}

/// Estimates how many bytes a push writes: its content, and rows with index entries for each reference and tag. A tag
/// also adds a history row, and the manifest that it pointed at before is read and its usage updated.
fn estimate_bytes(put: &PutManifest) -> usize {
    const EDGE_BYTES: usize = 256;
    const TAG_BYTES: usize = 4096;
    put.content.len() + put.edges.len() * EDGE_BYTES + put.tags.len() * TAG_BYTES
}

fn manifest_record(row: Row<'_>) -> sql::Result<ManifestRecord> {
    Ok(ManifestRecord {
        digest: row.get::<SqlDigest>(0)?.0,
        media_type: row.get(1)?,
        content: row.get::<Vec<u8>>(2)?.into(),
        leased_at: row.get(3)?,
        tagged_at: row.get(4)?,
    })
}

fn referrer_record(row: Row<'_>) -> sql::Result<ReferrerRecord> {
    Ok(ReferrerRecord {
        digest: row.get::<SqlDigest>(0)?.0,
        media_type: row.get(1)?,
        size: row.get::<u64>(2)?,
        artifact_type: row.get(3)?,
        annotations: Annotations::of_manifest(row.blob(4)?),
    })
}

/// Reads records up to the one with which their manifests exceed the byte limit.
fn limit_bytes(
    records: impl Iterator<Item = sql::Result<ReferrerRecord>>,
) -> sql::Result<Vec<ReferrerRecord>> {
    let mut found = Vec::new();
    let mut bytes = 0;
    for record in records {
        let record = record?;
        bytes += record.size;
        found.push(record);
        if bytes > MAX_REFERRERS_BYTES && found.len() > 1 {
            break;
        }
    }
    Ok(found)
}

pub(in crate::metadata) const REFERRERS: &str = "
    SELECT m.digest, m.media_type, m.size, m.artifact_type, m.content
    FROM edges e JOIN manifests m ON m.id = e.manifest
    WHERE e.repo = ?1 AND e.target = ?2 AND e.kind = 2 AND e.source > ?3
      AND m.state = 0 AND (m.artifact_type = ?4 OR ?4 IS NULL)
    ORDER BY e.source LIMIT ?5";

/// The row of a manifest.
#[derive(Clone, Copy)]
pub(in crate::metadata) struct Stored {
    id: i64,
    state: i64,
}

const LIVE: i64 = 0;
const IN_TRASH: i64 = 1;

/// Finds a manifest in any state.
pub(in crate::metadata) fn find_stored(
    c: &dyn Connection,
    repo: i64,
    target: &[u8],
) -> sql::Result<Option<Stored>> {
    c.prepare_cached("SELECT id, state FROM manifests WHERE repo = ?1 AND digest = ?2")?
        .query_row(params![repo, target], |row| Ok(Stored { id: row.get(0)?, state: row.get(1)? }))
        .optional()
}

/// Checks what a manifest refers to. Rejects it if targets are missing, or else for the first target of another size. A
/// manifest that is restored from the trash also finds a blob that was hidden in the meantime.
fn check_targets(
    c: &dyn Connection,
    put: &PutManifest,
    repo: Option<i64>,
    stored: Option<Stored>,
) -> sql::Result<Option<PutOutcome>> {
    let restores = stored.is_some_and(|stored| stored.state == IN_TRASH);
    let sizes = match repo {
        Some(repo) => {
            let among = BlobFilter { hidden: restores, unverified: !put.requires_verified };
            TargetSizes::find(c, repo, &put.edges, among)?
        }
        None => TargetSizes::default(),
    };
    let mut missing = Vec::new();
    let mut wrong = None;
    for edge in &put.edges {
        match (sizes.get(edge), edge.size) {
            (None, _) if edge.required => missing.push((edge.target.clone(), edge.kind)),
            (Some(actual), Some(claimed)) if actual != claimed && wrong.is_none() => {
                wrong = Some(WrongSize { digest: edge.target.clone(), claimed, actual });
            }
            _ => {}
        }
    }
    if !missing.is_empty() {
        return Ok(Some(PutOutcome::Missing(missing)));
    }
    // Older versions did not compare sizes. What they accepted can be pushed again, also from the trash.
    let was_accepted = stored.is_some_and(|stored| [LIVE, IN_TRASH].contains(&stored.state));
    Ok(wrong.filter(|_| !was_accepted).map(PutOutcome::WrongSize))
}

/// Finds a quota that a manifest would exceed, by its bytes if its row is new or by its tags.
fn over_quota(
    c: &dyn Connection,
    put: &PutManifest,
    repo: Option<i64>,
    stored: Option<Stored>,
) -> sql::Result<Option<OverQuota>> {
    if !quotas::has_any(c)? {
        return Ok(None);
    }
    let mut tag_query = c.prepare_cached("SELECT 1 FROM tags WHERE repo = ?1 AND name = ?2")?;
    let mut new = std::collections::BTreeSet::new();
    for tag in &put.tags {
        if !tag_query.exists(params![repo, tag.as_str()])? {
            new.insert(tag.as_str());
        }
    }
    let bytes = if stored.is_some() { 0 } else { put.content.len() as u64 };
    quotas::check(c, &put.repo, Growth { bytes, tags: new.len() as u64, ..Growth::default() })
}

/// Records a manifest and its edges, and makes it live in any case. Returns its row id.
fn store_manifest(
    c: &dyn Connection,
    repo: i64,
    target: &[u8],
    stored: Option<Stored>,
    put: &PutManifest,
) -> sql::Result<i64> {
    let own = ManifestDetails::store(c, &put.details)?;
    let Some(Stored { id, state }) = stored else {
        let id = insert_manifest(c, repo, target, put, &own)?;
        accounting::change_manifests(c, repo, put.content.len().cast_signed() as i64, 1)?;
        accounting::change_live(c, repo, 1)?;
        accounting::record_push(c, repo, put.change.now)?;
        references::add_edges(c, repo, id, target, &put.edges)?;
        return Ok(id);
    };
    c.prepare_cached(
        "UPDATE manifests SET state = 0, removed_at = NULL, removal = NULL, purged_to = 0,
                              media_type = ?3, content = ?4,
                              leased_at = CASE WHEN leased_at < ?2 THEN ?2 ELSE leased_at END,
                              details = coalesce(?5, details), config = coalesce(?6, config)
         WHERE id = ?1",
    )?
    // The content is the same unless the stored content is damaged: then this repairs it.
    .execute(params![id, put.change.now, put.media_type, put.content, own.details, own.config])?;
    if state != LIVE {
        accounting::change_live(c, repo, 1)?;
        // A purge may have started to delete the edges.
        references::add_edges(c, repo, id, target, &put.edges)?;
        unhide_required(c, repo, id)?;
    }
    Ok(id)
}

fn insert_manifest(
    c: &dyn Connection,
    repo: i64,
    target: &[u8],
    put: &PutManifest,
    own: &ManifestDetails,
) -> sql::Result<i64> {
    c.prepare_cached(
        "INSERT INTO manifests (repo, digest, pushed_at, leased_at, size, media_type, artifact_type, content, details,
                                config, incomplete)
         VALUES (?1, ?2, ?3, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?
    .insert(params![
        repo,
        target,
        put.change.now,
        put.content.len(),
        put.media_type,
        put.artifact_type,
        put.content,
        own.details,
        own.config,
        own.incomplete
    ])
}

/// Finds the row id of a live manifest.
pub(in crate::metadata) fn live_id(c: &dyn Connection, repo: i64, target: &[u8]) -> sql::Result<Option<i64>> {
    c.prepare_cached("SELECT id FROM manifests WHERE repo = ?1 AND digest = ?2 AND state = 0")?
        .query_row(params![repo, target], |row| row.get(0))
        .optional()
}

/// Moves a live manifest to the trash and removes its tags. `removal` is set if this is part of the deletion of its
/// repository.
pub(in crate::metadata) fn remove_manifest(
    c: &dyn Connection,
    repo: i64,
    id: i64,
    target: &[u8],
    kind: ChangeKind,
    change: &Change,
    removal: Option<i64>,
) -> sql::Result<()> {
    c.prepare_cached("UPDATE manifests SET state = 1, removed_at = ?2, removal = ?3 WHERE id = ?1")?
        .execute(params![id, change.now, removal])?;
    accounting::change_live(c, repo, -1)?;
    for tag in tags::list_names(c, id)? {
        tags::remove_tag(c, repo, tag.as_str(), target, kind, change)?;
    }
    Ok(())
}
