//! Adopts the content of another registry's tree: blobs whose files are linked or copied into the store, manifests, and
//! tags with their history.
//!
//! A blob's file comes before its row, as in a push: [`Metadata::plan_blobs`] records the keys, the caller brings the
//! files, and [`Metadata::adopt_blobs`] replaces the keys by rows. Keys that a crash leaves become pending deletions.
//! Every step can be repeated: what is here already stays as it is.

use crate::clock::Timestamp;
use crate::metadata::facts::{ADOPTION_KEY, write_value};
use crate::metadata::image_details::ManifestDetails;
use crate::metadata::ops::liveness;
use crate::metadata::ops::uploads::{record_repair, replace_generation};
use crate::metadata::ops::{accounting, blobs, ensure_repo, manifests, references, repo_id, tags};
use crate::metadata::sql::{self, Connection, OptionalExtension, SqlDigest, digest, params};
use crate::metadata::{
    AdoptManifest, AdoptTag, Adopted, AdoptedBlob, AdoptedTag, AdoptionRecord, Change, ChangeKind,
    Durability, Edge, EdgeKind, KeptTag, Metadata, Operation, PushedDetails, Result,
};
use crate::oci::{BlobKey, Digest, RepoName};

/// The reason in the history of adopted tags.
const REASON: &str = "adopted";

impl Metadata {
    /// Records that the files of blobs are about to be brought to these keys, and returns the keys to bring: those whose
    /// blobs are not stored. With `verified`, because the caller hashes the content, that includes quarantined blobs.
    pub async fn plan_blobs(&self, keys: Vec<BlobKey>, verified: bool) -> Result<Vec<BlobKey>> {
        self.change(Operation::PlanBlobs, Durability::Full, move |c| {
            let mut planned = Vec::new();
            for key in keys {
                let target = digest(&key.digest);
                if find_damage(c, &target)?.is_none_or(|damaged| damaged && verified) {
                    c.prepare_cached("INSERT INTO adopting (generation, digest) VALUES (?1, ?2)")?
                        .execute(params![key.generation, target])?;
                    planned.push(key);
                }
            }
            Ok(planned)
        })
        .await
    }

    /// Records blobs whose files are at planned keys, and links each to its repository. A verified blob replaces a
    /// quarantined one. Returns the keys that were not needed, because a push was faster or the plan was abandoned: they
    /// become pending deletions.
    pub async fn adopt_blobs(&self, adopted: Vec<AdoptedBlob>, now: Timestamp) -> Result<Vec<BlobKey>> {
        self.unverified.record_adoption();
        let outcome = self.change(Operation::AdoptBlobs, Durability::Full, move |c| {
            let mut superfluous = Vec::new();
            for blob in adopted {
                if !adopt_blob(c, &blob, now)? {
                    superfluous.push(blob.key);
                }
            }
            Ok(superfluous)
        });
        let outcome = outcome.await;
        self.unverified.record_adoption();
        outcome
    }

    /// Makes all planned keys pending deletions: nothing adopts them any more.
    pub async fn abandon_adopting(&self) -> Result<()> {
        self.perform(Operation::AbandonAdopting, async {
            if self.read(adopting_keys)?.is_empty() {
                return Ok(());
            }
            self.write(Durability::Full, |c| {
                for key in adopting_keys(c)? {
                    remove_intent(c, &key)?;
                    doom_key(c, &key)?;
                }
                Ok(())
            })
            .await
        })
        .await
    }

    /// Returns the planned keys, for `fsck`.
    pub async fn adopting_keys(&self) -> Result<Vec<BlobKey>> {
        self.query(Operation::AdoptingKeys, adopting_keys).await
    }

    /// Links blobs to `repo`. Ignores blobs that are not stored, and returns these. A link that exists stays
    /// as it is, also a hidden one.
    pub async fn adopt_links(
        &self,
        repo: &RepoName,
        linked: Vec<Digest>,
        now: Timestamp,
    ) -> Result<Vec<Digest>> {
        let repo = repo.clone();
        self.change(Operation::AdoptLinks, Durability::Full, move |c| {
            let repo = ensure_repo(c, &repo, now)?;
            let mut missing = Vec::new();
            for wanted in linked {
                let target = digest(&wanted);
                if find_damage(c, &target)?.is_some() {
                    add_link(c, repo, &target, now)?;
                } else {
                    missing.push(wanted);
                }
            }
            Ok(missing)
        })
        .await
    }

    /// Stores a manifest live and held. Changes nothing if the repository has it in any state. Targets that are missing
    /// become optional, so children come before their indexes. Checks no quota.
    pub async fn adopt_manifest(&self, manifest: AdoptManifest) -> Result<Adopted> {
        let bytes = manifest.content.len();
        let adopt = self.write_weighed(Durability::Full, bytes, move |c| adopt_manifest(c, manifest));
        self.perform(Operation::AdoptManifest, adopt).await
    }

    /// Points a tag at a manifest and records its history with the times of the other registry, unless the tag was
    /// changed here later. Checks neither quotas nor immutable tags.
    pub async fn adopt_tag(&self, adopted: AdoptTag) -> Result<AdoptedTag> {
        self.change(Operation::AdoptTag, Durability::Full, move |c| adopt_tag(c, &adopted)).await
    }

    /// Records the state of the adoption.
    pub async fn record_adoption(&self, record: &AdoptionRecord) -> Result<()> {
        let text = serde_json::to_string(record).unwrap_or_default();
        self.change(Operation::RecordAdoption, Durability::Full, move |c| write_value(c, ADOPTION_KEY, &text))
            .await
    }

    /// Records, lazily, that the content of a blob matches its digest. Returns `false` if the generation is not the
    /// current one.
    pub async fn mark_verified(&self, key: &BlobKey) -> Result<bool> {
        let key = key.clone();
        self.change(Operation::MarkVerified, Durability::Lazy, move |c| {
            let mut update =
                c.prepare_cached("UPDATE blobs SET unverified = 0 WHERE digest = ?1 AND generation = ?2")?;
            Ok(update.execute(params![digest(&key.digest), key.generation])? == 1)
        })
        .await
    }

    /// Releases up to `limit` adopted manifests: from now on, policies and the collector apply to them. Those that nothing
    /// holds count as untagged from `now` on. Returns whether there are more.
    pub async fn release_held(&self, now: Timestamp, limit: usize) -> Result<bool> {
        self.change_in_background(Operation::ReleaseHeld, Durability::Full, move |c| {
            release_held(c, now, limit)
        })
        .await
    }

    /// Records, lazily, of up to `limit` blobs, or of `key`, that no other tree has their files any more. Returns whether
    /// there may be more.
    pub async fn clear_hardlinked(&self, key: Option<&BlobKey>, limit: usize) -> Result<bool> {
        let generation = key.map(|key| key.generation);
        let target = key.map(|key| digest(&key.digest));
        self.change_in_background(Operation::ClearHardlinked, Durability::Lazy, move |c| {
            if let Some(target) = target {
                let one = "UPDATE blobs SET hardlinked = 0 WHERE digest = ?1 AND generation = ?2";
                c.prepare_cached(one)?.execute(params![target, generation])?;
                return Ok(false);
            }
            let cleared = c
                .prepare_cached(
                    "UPDATE blobs SET hardlinked = 0 WHERE digest IN
                     (SELECT digest FROM blobs /* INDEXED BY blobs_hardlinked */ WHERE hardlinked <> 0 LIMIT ?1)",
                )?
                .execute([limit])?;
            Ok(cleared == limit)
        })
        .await
    }
}

/// Whether a blob is quarantined; `None` if it is not stored.
fn find_damage(c: &dyn Connection, target: &[u8]) -> sql::Result<Option<bool>> {
    c.prepare_cached("SELECT damaged FROM blobs WHERE digest = ?1")?
        .query_row([target], |row| row.get(0))
        .optional()
}

/// Removes the intent to adopt a key. Returns whether there was one.
fn remove_intent(c: &dyn Connection, key: &BlobKey) -> sql::Result<bool> {
    let removed =
        c.prepare_cached("DELETE FROM adopting WHERE generation = ?1")?.execute([key.generation])?;
    Ok(removed > 0)
}

fn adopting_keys(c: &dyn Connection) -> sql::Result<Vec<BlobKey>> {
    let mut query = c.prepare_cached("SELECT digest, generation FROM adopting LIMIT ?1")?;
    let rows = query.query_map([i64::MAX], |row| {
        Ok(BlobKey { digest: row.get::<SqlDigest>(0)?.0, generation: row.get(1)? })
    })?;
    rows.collect()
}

/// Schedules a file for deletion that no row refers to. How much its deletion frees is not known.
fn doom_key(c: &dyn Connection, key: &BlobKey) -> sql::Result<()> {
    blobs::doom_selected(
        c,
        "INSERT INTO doomed (generation, digest, size, allocated) VALUES (?1, ?2, 0, 0)
         ON CONFLICT DO NOTHING RETURNING size, allocated",
        params![key.generation, digest(&key.digest)],
    )
    .map(drop)
}

/// Replaces an intent by a row. Returns whether the file is needed.
fn adopt_blob(c: &dyn Connection, blob: &AdoptedBlob, now: Timestamp) -> sql::Result<bool> {
    let target = digest(&blob.key.digest);
    if !remove_intent(c, &blob.key)? {
        return Ok(false);
    }
    let repo = ensure_repo(c, &blob.repo, now)?;
    let damaged = find_damage(c, &target)?;
    match damaged {
        None => insert_blob(c, &target, blob)?,
        Some(true) if blob.verified => heal(c, repo, &target, blob, now)?,
        Some(_) => doom_key(c, &blob.key)?,
    }
    add_link(c, repo, &target, now)?;
    Ok(damaged.is_none_or(|damaged| damaged && blob.verified))
}

fn insert_blob(c: &dyn Connection, target: &[u8], blob: &AdoptedBlob) -> sql::Result<()> {
    let AdoptedBlob { key, size, hardlinked, verified, .. } = blob;
    c.prepare_cached(
        "INSERT INTO blobs (digest, size, generation, allocated, measured, unverified, hardlinked)
         VALUES (?1, ?2, ?3, ?4, 1, ?5, ?6)",
    )?
    .execute(params![target, size.logical, key.generation, size.allocated, !verified, hardlinked])?;
    accounting::adjust_blobs(c, *size, 1)
}

/// Replaces a quarantined blob by a verified one.
fn heal(c: &dyn Connection, repo: i64, target: &[u8], blob: &AdoptedBlob, now: Timestamp) -> sql::Result<()> {
    record_repair(c, repo, &blob.key.digest, target, now)?;
    replace_generation(c, target, &blob.key, blob.size)?;
    c.prepare_cached("UPDATE blobs SET hardlinked = ?2 WHERE digest = ?1")?
        .execute(params![target, blob.hardlinked])
        .map(drop)
}

/// Links a blob to a repository unless it is linked. A blob that a user hid stays hidden.
fn add_link(c: &dyn Connection, repo: i64, target: &[u8], now: Timestamp) -> sql::Result<()> {
    if is_linked(c, repo, target)? { Ok(()) } else { blobs::link(c, repo, target, now) }
}

fn is_linked(c: &dyn Connection, repo: i64, target: &[u8]) -> sql::Result<bool> {
    c.prepare_cached("SELECT 1 FROM links WHERE repo = ?1 AND digest = ?2")?.exists(params![repo, target])
}

fn adopt_manifest(c: &dyn Connection, manifest: AdoptManifest) -> sql::Result<Adopted> {
    let repo = ensure_repo(c, &manifest.repo, manifest.now)?;
    let target = digest(&manifest.digest);
    if manifests::find_stored(c, repo, &target)?.is_some() {
        return Ok(Adopted::Known);
    }
    let AdoptManifest { content, media_type, artifact_type, details, mut edges, now, .. } = manifest;
    let own = ManifestDetails::store(c, &without_missing_config(c, details)?)?;
    let id = c
        .prepare_cached(
            "INSERT INTO manifests (repo, digest, pushed_at, leased_at, pulled_at, size, media_type, artifact_type,
                                    content, details, config, incomplete, held)
             VALUES (?1, ?2, ?3, ?3, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 1)",
        )?
        .insert(params![
            repo,
            target,
            now,
            content.len(),
            media_type,
            artifact_type,
            content,
            own.details,
            own.config,
            own.incomplete
        ])?;
    accounting::change_manifests(c, repo, content.len().cast_signed() as i64, 1)?;
    accounting::change_live(c, repo, 1)?;
    accounting::record_push(c, repo, now)?;
    accounting::record_pull(c, repo, now)?;
    for edge in &mut edges {
        edge.required = edge.required && is_there(c, repo, edge)?;
    }
    references::add_edges(c, repo, id, &target, &edges)?;
    blobs::unhide_required(c, repo, id)?;
    Ok(Adopted::New)
}

/// Removes the details from a config that is not stored: they would outlive it.
fn without_missing_config(c: &dyn Connection, details: PushedDetails) -> sql::Result<PushedDetails> {
    Ok(match details {
        PushedDetails::Config { digest: config, .. } if find_damage(c, &digest(&config))?.is_none() => {
            PushedDetails::Config { digest: config, details: None }
        }
        details => details,
    })
}

/// Whether the target of an edge exists. A quarantined blob does, because a push repairs it.
fn is_there(c: &dyn Connection, repo: i64, edge: &Edge) -> sql::Result<bool> {
    let target = digest(&edge.target);
    match edge.kind {
        EdgeKind::Blob => is_linked(c, repo, &target),
        EdgeKind::Child | EdgeKind::Subject => Ok(manifests::live_id(c, repo, &target)?.is_some()),
    }
}

fn adopt_tag(c: &dyn Connection, adopted: &AdoptTag) -> sql::Result<AdoptedTag> {
    let AdoptTag { tag, tagged_at, change, .. } = adopted;
    let target = digest(&adopted.digest);
    let found = repo_id(c, &adopted.repo)?
        .map(|repo| Ok::<_, sql::Error>(manifests::live_id(c, repo, &target)?.map(|id| (repo, id))));
    let Some((repo, manifest)) = found.transpose()?.flatten() else {
        return Ok(AdoptedTag::Kept(KeptTag::NoManifest));
    };
    let before = tags::find(c, repo, tag.as_str())?;
    if before.as_ref().is_some_and(|before| before.digest == target) {
        return Ok(AdoptedTag::Kept(KeptTag::Unchanged));
    }
    let changed_at = last_change(c, repo, tag.as_str())?;
    let changed_at = changed_at.or(before.as_ref().map(|before| before.updated_at));
    if changed_at.is_some_and(|changed_at| changed_at >= *tagged_at) {
        return Ok(AdoptedTag::Kept(KeptTag::ChangedHere));
    }
    tags::set_target(c, repo, tag.as_str(), before.as_ref(), manifest, change.now)?;
    record_history(c, repo, adopted, before.as_ref().map(|before| before.digest.clone()), changed_at)?;
    match before {
        Some(before) => {
            liveness::queue_manifest(c, before.manifest, repo, &before.digest, change.now)?;
            Ok(AdoptedTag::Moved)
        }
        None => Ok(AdoptedTag::New),
    }
}

/// Returns when a tag was last changed, by its history. Adopted changes have the times of the other registry.
fn last_change(c: &dyn Connection, repo: i64, tag: &str) -> sql::Result<Option<Timestamp>> {
    c.prepare_cached("SELECT max(at) FROM tag_history WHERE repo = ?1 AND name = ?2")?
        .query_row(params![repo, tag], |row| row.get(0))
}

/// Records what a tag pointed at since `after`. `was` is what it pointed at then.
fn record_history(
    c: &dyn Connection,
    repo: i64,
    adopted: &AdoptTag,
    mut was: Option<Vec<u8>>,
    after: Option<Timestamp>,
) -> sql::Result<()> {
    let earlier = adopted
        .history
        .iter()
        .filter(|(_, at)| *at < adopted.tagged_at && after.is_none_or(|after| *at > after));
    let mut changes: Vec<_> = earlier.map(|(target, at)| (target, *at)).collect();
    changes.push((&adopted.digest, adopted.tagged_at));
    changes.dedup_by(|later, earlier| later.0 == earlier.0);
    // Older rows would be removed again.
    let excess = changes.len().saturating_sub(adopted.change.keep.max(1));
    for (target, at) in changes.into_iter().skip(excess) {
        let target = digest(target);
        let change = Change { now: at, by: None, ..adopted.change.clone() }.because(REASON);
        let kind = if was.is_some() { ChangeKind::Move } else { ChangeKind::Push };
        let tag = adopted.tag.as_str();
        tags::record_change(c, repo, tag, was.as_deref(), Some(&target), kind, &change)?;
        was = Some(target);
    }
    Ok(())
}

/// A held manifest.
struct Held {
    id: i64,
    repo: i64,
    digest: Vec<u8>,
    is_live: bool,
}

fn release_held(c: &dyn Connection, now: Timestamp, limit: usize) -> sql::Result<bool> {
    let mut query = c.prepare_cached(
        "SELECT id, repo, digest, state = 0 FROM manifests /* INDEXED BY manifests_held */ WHERE held <> 0
         ORDER BY id LIMIT ?1",
    )?;
    let held = query
        .query_map([limit], |row| {
            Ok(Held { id: row.get(0)?, repo: row.get(1)?, digest: row.get(2)?, is_live: row.get(3)? })
        })?
        .collect::<sql::Result<Vec<_>>>()?;
    for Held { id, repo, digest, is_live } in &held {
        liveness::release(c, *id)?;
        if *is_live && !liveness::is_manifest_held(c, *id, *repo, digest)? {
            liveness::queue_manifest(c, *id, *repo, digest, now)?;
        }
    }
    Ok(held.len() == limit)
}
