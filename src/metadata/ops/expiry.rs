//! Steps of retention: compares an evaluated tag or manifest with its current state, and removes it if it is unchanged.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::metadata::ops::liveness::{self, Review};
use crate::metadata::ops::{manifests, pins, repo_id, tags};
use crate::metadata::sql::{Connection, OptionalExtension, digest, params};
use crate::metadata::{
    Change, ChangeKind, CollectionRules, Durability, ExpiryOutcome, ManifestExpiry, Metadata, Operation,
    PinEffect, Result, TagExpiry, sql,
};
use crate::oci::Digest;

impl Metadata {
    /// Removes a tag, and its manifest unless a tag, a live index, a pin or a live subject keeps that alive. A
    /// lease keeps both.
    pub async fn expire_tag(&self, expiry: TagExpiry) -> Result<ExpiryOutcome> {
        self.change_in_background(Operation::ExpireTag, Durability::Full, move |c| expire_tag(c, &expiry))
            .await
    }

    /// Removes a manifest that nothing keeps alive.
    pub async fn expire_manifest(&self, expiry: ManifestExpiry) -> Result<ExpiryOutcome> {
        self.change_in_background(Operation::ExpireManifest, Durability::Full, move |c| {
            expire_manifest(c, &expiry)
        })
        .await
    }
}

fn expire_tag(c: &dyn Connection, expiry: &TagExpiry) -> sql::Result<ExpiryOutcome> {
    let tag = &expiry.tag;
    let target = digest(&expiry.digest);
    let change = &expiry.change;
    let Some(repo) = repo_id(c, &expiry.repo)? else {
        return Ok(ExpiryOutcome::Skipped);
    };
    let Some(found) = tags::find(c, repo, tag.as_str())? else {
        return Ok(ExpiryOutcome::Skipped);
    };
    let is_same = found.digest == target && found.updated_at == expiry.updated_at;
    if !is_same
        || change.immutable_tags.contains(tag)
        || liveness::is_unreleased(c, found.manifest)?
        || is_attached(c, repo, expiry.attached_to.as_ref())?
        || was_pulled(c, repo, found.manifest, &target, expiry.pulled_before)?
    {
        return Ok(ExpiryOutcome::Skipped);
    }
    let is_held = liveness::is_manifest_held_by_live(c, found.manifest, repo, &target, Some(tag))?;
    if !is_held && was_promised(c, repo, found.manifest, expiry)? {
        return Ok(ExpiryOutcome::Skipped);
    }
    tags::remove_tag(c, repo, tag.as_str(), &target, ChangeKind::Expiry, change)?;
    if is_held {
        liveness::queue_manifest(c, found.manifest, repo, &target, change.now)?;
        return Ok(ExpiryOutcome::Removed { removed_manifest: false });
    }
    remove(c, repo, found.manifest, &target, change)
}

/// Whether a pushing client learned, after the manifest was first pushed and the tag was last set, that the manifest
/// exists, and may still rely on it. A restore also sets a lease, but is no such promise: policies apply to restored
/// manifests.
fn was_promised(c: &dyn Connection, repo: i64, id: i64, expiry: &TagExpiry) -> sql::Result<bool> {
    let promised_at = c
        .prepare_cached(
            "SELECT leased_at FROM manifests WHERE id = ?1 AND leased_at > pushed_at AND leased_at > ?2",
        )?
        .query_row(params![id, expiry.updated_at], |row| row.get(0))
        .optional()?;
    let rules = lease_rules(expiry.change.now, expiry.lease);
    promised_at.map_or(Ok(false), |promised_at| liveness::is_leased(c, repo, promised_at, &rules))
}

/// The rules that decide whether a lease is in force.
fn lease_rules(now: Timestamp, lease: Duration) -> CollectionRules {
    CollectionRules { now, lease, trash: Duration::ZERO, untagged: None, leases_recorded_since: None }
}

/// Whether the manifest that a tag is attached to, such as a signed image, is still held. If so, the tag stays.
fn is_attached(c: &dyn Connection, repo: i64, subject: Option<&Digest>) -> sql::Result<bool> {
    let Some(subject) = subject.map(digest) else {
        return Ok(false);
    };
    let id = manifests::live_id(c, repo, &subject)?;
    id.map_or(Ok(false), |id| liveness::is_manifest_held_by_live(c, id, repo, &subject, None))
}

fn expire_manifest(c: &dyn Connection, expiry: &ManifestExpiry) -> sql::Result<ExpiryOutcome> {
    let target = digest(&expiry.digest);
    let change = &expiry.change;
    let Some(repo) = repo_id(c, &expiry.repo)? else {
        return Ok(ExpiryOutcome::Skipped);
    };
    let found = c
        .prepare_cached(
            "SELECT id, alone_at, leased_at FROM manifests WHERE repo = ?1 AND digest = ?2 AND state = 0",
        )?
        .query_row(params![repo, target], |row| {
            Ok((row.get(0)?, row.get::<Timestamp>(1)?, row.get::<Timestamp>(2)?))
        })
        .optional()?;
    let Some((id, alone_at, leased_at)) = found else {
        return Ok(ExpiryOutcome::Skipped);
    };
    let is_held = match expiry.pin {
        PinEffect::Protects => liveness::is_manifest_held,
        PinEffect::Ignored => liveness::is_manifest_held_without_pins,
    };
    // Until then clients could find the manifest by its tag, which sets no lease. So the lease counts from the later
    // time.
    let promised_at = leased_at.max(alone_at);
    if alone_at != expiry.alone_at
        || was_pulled(c, repo, id, &target, expiry.pulled_before)?
        // Holders in the trash count too: they are restored together with what they hold.
        || is_held(c, id, repo, &target)?
        || liveness::is_leased(c, repo, promised_at, &lease_rules(change.now, expiry.lease))?
    {
        return Ok(ExpiryOutcome::Skipped);
    }
    pins::remove(c, repo, &target)?;
    remove(c, repo, id, &target, change)
}

/// Moves a manifest that nothing holds to the trash. It no longer needs a review; its targets are reviewed when it is
/// purged.
fn remove(
    c: &dyn Connection,
    repo: i64,
    id: i64,
    target: &[u8],
    change: &Change,
) -> sql::Result<ExpiryOutcome> {
    manifests::remove_manifest(c, repo, id, target, ChangeKind::Expiry, change, None)?;
    liveness::dequeue(c, Review::Manifest, repo, target)?;
    liveness::dequeue(c, Review::Orphan, repo, target)?;
    Ok(ExpiryOutcome::Removed { removed_manifest: true })
}

/// Whether a manifest, one of its children or an index that lists it was pulled at `pulled_before` or later.
fn was_pulled(
    c: &dyn Connection,
    repo: i64,
    id: i64,
    target: &[u8],
    pulled_before: Option<Timestamp>,
) -> sql::Result<bool> {
    let Some(pulled_before) = pulled_before else {
        return Ok(false);
    };
    let itself = c
        .prepare_cached("SELECT 1 FROM manifests WHERE id = ?1 AND pulled_at >= ?2")?
        .exists(params![id, pulled_before])?;
    let child = || {
        c.prepare_cached(
            "SELECT 1 FROM edges e JOIN manifests m ON m.repo = e.repo AND m.digest = e.target
             WHERE e.manifest = ?1 AND e.kind = 1 AND m.pulled_at >= ?2 LIMIT 1",
        )?
        .exists(params![id, pulled_before])
    };
    let index = || {
        c.prepare_cached(
            "SELECT 1 FROM edges e JOIN manifests m ON m.id = e.manifest
             WHERE e.repo = ?1 AND e.target = ?2 AND e.kind = 1 AND m.state = 0 AND m.pulled_at >= ?3 LIMIT 1",
        )?
        .exists(params![repo, target, pulled_before])
    };
    Ok(itself || child()? || index()?)
}
