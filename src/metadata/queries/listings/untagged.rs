//! Lists the manifests of a repository that no tag, index or subject holds.
//!
//! All of them are in the review queue or pinned by a policy: so they are found without reading the others.

use std::collections::BTreeMap;

use crate::clock::Timestamp;
use crate::metadata::ops::liveness::{self, Review};
use crate::metadata::queries::listings::entries;
use crate::metadata::sql::{Connection, Row, params};
use crate::metadata::{CollectionRules, ManifestEntry, UntaggedManifest, UntaggedPage, Weigh, sql};

/// The maximum number of entries of the review queue, and of pins, that a page examines.
const MAX_CANDIDATES: usize = 1_000;

/// What is known of a manifest that may be untagged.
#[derive(Default)]
struct Candidate {
    pinned_by: Option<String>,
    /// Since when it has had no holder.
    alone_since: Option<Timestamp>,
    /// Since when it has been without the index or subject that it came with.
    orphan_since: Option<Timestamp>,
}

/// Candidates in the order of their digests.
struct Candidates {
    found: BTreeMap<Vec<u8>, Candidate>,
    /// The digest up to which all candidates were found; `None` if there are no others.
    reach: Option<Vec<u8>>,
}

impl Candidates {
    /// Adds the rows of a query for a digest and a value, up to the limit.
    fn add<T>(
        &mut self,
        c: &dyn Connection,
        sql: &str,
        params: &[&dyn sql::ToSql],
        read: impl Fn(Row<'_>) -> sql::Result<T>,
        set: impl Fn(&mut Candidate, T),
    ) -> sql::Result<()> {
        let mut query = c.prepare_cached(sql)?;
        let mut rows = query.query(params)?;
        let mut examined = 0;
        while let Some(row) = rows.next()? {
            let digest = row.get::<Vec<u8>>(0)?;
            examined += 1;
            if examined == MAX_CANDIDATES {
                let is_nearer = self.reach.as_ref().is_none_or(|reach| digest < *reach);
                if is_nearer {
                    self.reach = Some(digest.clone());
                }
            }
            set(self.found.entry(digest).or_default(), read(row)?);
        }
        Ok(())
    }
}

/// Reads a page of untagged manifests after the digest `after`.
pub(in crate::metadata) fn untagged_page(
    c: &dyn Connection,
    repo: i64,
    rules: &CollectionRules,
    after: Option<&[u8]>,
    limit: usize,
) -> sql::Result<UntaggedPage> {
    let candidates = candidates(c, repo, after.unwrap_or_default())?;
    let mut items = Vec::new();
    let mut bytes = 0;
    for (digest, candidate) in candidates.found {
        if candidates.reach.as_ref().is_some_and(|reach| digest > *reach) {
            break;
        }
        if items.len() == limit || bytes > crate::metadata::MAX_PAGE_BYTES {
            let next = items.last().map(|last: &UntaggedManifest| last.manifest.digest.clone());
            return Ok(UntaggedPage { items, next });
        }
        let Some((id, manifest)) = entries::live_manifest(c, repo, &digest)? else {
            continue;
        };
        if !liveness::is_manifest_held_without_pins(c, id, repo, &digest)? {
            let untagged = entry(manifest, candidate, rules);
            bytes += untagged.weight();
            items.push(untagged);
        }
    }
    let next = candidates.reach.map(|reach| crate::metadata::ops::blobs::read_digest(&reach)).transpose()?;
    Ok(UntaggedPage { items, next })
}

fn candidates(c: &dyn Connection, repo: i64, after: &[u8]) -> sql::Result<Candidates> {
    let mut candidates = Candidates { found: BTreeMap::new(), reach: None };
    let queued = "SELECT digest, since FROM review WHERE kind = ?1 AND repo = ?2 AND digest > ?3
                  ORDER BY digest LIMIT ?4";
    let since = |row: Row<'_>| row.get::<Timestamp>(1);
    let manifests = Review::Manifest as i64;
    candidates.add(c, queued, params![manifests, repo, after, MAX_CANDIDATES], since, |found, since| {
        found.alone_since = Some(since);
    })?;
    let orphans = Review::Orphan as i64;
    candidates.add(c, queued, params![orphans, repo, after, MAX_CANDIDATES], since, |found, since| {
        found.orphan_since = Some(since);
    })?;
    let pinned = "SELECT digest, reason FROM pins WHERE repo = ?1 AND digest > ?2 ORDER BY digest LIMIT ?3";
    let reason = |row: Row<'_>| row.get::<String>(1);
    candidates.add(c, pinned, params![repo, after, MAX_CANDIDATES], reason, |found, reason| {
        found.pinned_by = Some(reason);
    })?;
    Ok(candidates)
}

fn entry(manifest: ManifestEntry, candidate: Candidate, rules: &CollectionRules) -> UntaggedManifest {
    let Candidate { pinned_by, alone_since, orphan_since } = candidate;
    let pulled_at = manifest.pulled_at.unwrap_or_default();
    let untagged = rules.untagged.map(|untagged| untagged.max(rules.lease));
    let alone = alone_since.zip(untagged).map(|(since, untagged)| since.max(pulled_at).plus(untagged));
    let orphan = orphan_since.map(|since| since.plus(rules.lease));
    let expires_at = if pinned_by.is_some() { None } else { [alone, orphan].into_iter().flatten().min() };
    UntaggedManifest { manifest, pinned_by, expires_at }
}
