//! The steps of retention: what was judged is compared with what is there, and goes if it is the same.

use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};

use super::codec::digest;
use super::holds::{self, Review};
use super::{Durability, SqliteMetadata, manifests, pins, repo_id, tags};
use crate::clock::Timestamp;
use crate::metadata::{
    Change, ChangeKind, CollectionRules, ExpireManifest, ExpireTag, Expired, Expiry, PinHolds, Result,
};
use crate::oci::Digest;

#[async_trait]
impl Expiry for SqliteMetadata {
    async fn expire_tag(&self, expiry: ExpireTag) -> Result<Expired> {
        self.write_behind(Durability::Full, move |c| expire_tag(c, &expiry)).await
    }

    async fn expire_manifest(&self, expiry: ExpireManifest) -> Result<Expired> {
        self.write_behind(Durability::Full, move |c| expire_manifest(c, &expiry)).await
    }
}

fn expire_tag(c: &Connection, expiry: &ExpireTag) -> rusqlite::Result<Expired> {
    let (tag, target, change) = (&expiry.tag, digest(&expiry.digest), &expiry.change);
    let Some(repo) = repo_id(c, &expiry.repo)? else {
        return Ok(Expired::Changed);
    };
    let Some(found) = tags::find(c, repo, tag.as_str())? else {
        return Ok(Expired::Changed);
    };
    let same = found.digest == target && found.updated_at == expiry.updated_at;
    if !same
        || change.fixed.contains(tag)
        || is_attached(c, repo, expiry.attached_to.as_ref())?
        || was_pulled(c, repo, found.manifest, &target, expiry.pulled_before)?
    {
        return Ok(Expired::Changed);
    }
    let held = holds::manifest_is_held_live(c, found.manifest, repo, &target, Some(tag))?;
    if !held && was_promised(c, repo, found.manifest, expiry)? {
        return Ok(Expired::Changed);
    }
    tags::take_away(c, repo, tag.as_str(), &target, ChangeKind::Expiry, change)?;
    if held {
        holds::queue_manifest(c, found.manifest, repo, &target, change.now)?;
        return Ok(Expired::Done { removed_manifest: false });
    }
    remove(c, repo, found.manifest, &target, change)
}

/// Whether a pusher was told, since a manifest was first pushed and the tag was last set, that it is there, and may
/// still come back for it. A restore leases too, and is no promise: what policies say holds for what came back.
fn was_promised(c: &Connection, repo: i64, id: i64, expiry: &ExpireTag) -> rusqlite::Result<bool> {
    let told_at = c
        .prepare_cached("SELECT leased_at FROM manifests WHERE id = ?1 AND leased_at > max(pushed_at, ?2)")?
        .query_row(params![id, expiry.updated_at], |row| row.get(0))
        .optional()?;
    let rules = lease_rules(expiry.change.now, expiry.lease);
    told_at.map_or(Ok(false), |told_at| holds::is_leased(c, repo, told_at, &rules))
}

/// What a lease is judged by.
fn lease_rules(now: Timestamp, lease: Duration) -> CollectionRules {
    CollectionRules { now, lease, trash: Duration::ZERO, untagged: None, leases_recorded_since: None }
}

/// Whether something holds the manifest that a tag is attached to: it was to go first, and has not.
fn is_attached(c: &Connection, repo: i64, subject: Option<&Digest>) -> rusqlite::Result<bool> {
    let Some(subject) = subject.map(digest) else {
        return Ok(false);
    };
    let id = manifests::live_id(c, repo, &subject)?;
    id.map_or(Ok(false), |id| holds::manifest_is_held_live(c, id, repo, &subject, None))
}

fn expire_manifest(c: &Connection, expiry: &ExpireManifest) -> rusqlite::Result<Expired> {
    let (target, change) = (digest(&expiry.digest), &expiry.change);
    let Some(repo) = repo_id(c, &expiry.repo)? else {
        return Ok(Expired::Changed);
    };
    let found = c
        .prepare_cached(
            "SELECT id, alone_at, leased_at FROM manifests WHERE repo = ?1 AND digest = ?2 AND state = 0",
        )?
        .query_row(params![repo, target], |row| {
            Ok((row.get(0)?, row.get::<_, Timestamp>(1)?, row.get::<_, Timestamp>(2)?))
        })
        .optional()?;
    let Some((id, alone_at, leased_at)) = found else {
        return Ok(Expired::Changed);
    };
    let is_held = match expiry.pin {
        PinHolds::Yes => holds::manifest_is_held,
        PinHolds::No => holds::manifest_is_held_beside_pins,
    };
    // Until it was let alone it could be found, and whoever found it by a tag was given no lease.
    let told_at = leased_at.max(alone_at);
    if alone_at != expiry.alone_at
        || was_pulled(c, repo, id, &target, expiry.pulled_before)?
        // What is in the trash holds too: it comes back with what belongs to it.
        || is_held(c, id, repo, &target)?
        || holds::is_leased(c, repo, told_at, &lease_rules(change.now, expiry.lease))?
    {
        return Ok(Expired::Changed);
    }
    pins::remove(c, repo, &target)?;
    remove(c, repo, id, &target, change)
}

/// Moves a manifest that nothing holds to the trash. It need not be reviewed any more; what it holds is, when
/// it is purged.
fn remove(c: &Connection, repo: i64, id: i64, target: &[u8], change: &Change) -> rusqlite::Result<Expired> {
    manifests::remove_manifest(c, repo, (id, target), ChangeKind::Expiry, change, None)?;
    holds::unqueue(c, Review::Manifest, repo, target)?;
    holds::unqueue(c, Review::Orphan, repo, target)?;
    Ok(Expired::Done { removed_manifest: true })
}

/// Whether a manifest, a child of it or an index that lists it was pulled at `since` or later.
fn was_pulled(
    c: &Connection,
    repo: i64,
    id: i64,
    target: &[u8],
    since: Option<Timestamp>,
) -> rusqlite::Result<bool> {
    let Some(since) = since else {
        return Ok(false);
    };
    let itself = c
        .prepare_cached("SELECT 1 FROM manifests WHERE id = ?1 AND pulled_at >= ?2")?
        .exists(params![id, since])?;
    let child = || {
        c.prepare_cached(
            "SELECT 1 FROM edges e JOIN manifests m ON m.repo = e.repo AND m.digest = e.target
             WHERE e.manifest = ?1 AND e.kind = 1 AND m.pulled_at >= ?2 LIMIT 1",
        )?
        .exists(params![id, since])
    };
    let index = || {
        c.prepare_cached(
            "SELECT 1 FROM edges e JOIN manifests m ON m.id = e.manifest
             WHERE e.repo = ?1 AND e.target = ?2 AND e.kind = 1 AND m.state = 0 AND m.pulled_at >= ?3 LIMIT 1",
        )?
        .exists(params![repo, target, since])
    };
    Ok(itself || child()? || index()?)
}
