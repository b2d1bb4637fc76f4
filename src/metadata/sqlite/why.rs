//! Why something is there: what holds it, by name as far as that is short, and counted.

use rusqlite::{Connection, OptionalExtension, Params, Row, params};

use super::codec::{SqlDigest, digest};
use super::freed::Going;
use super::holdings::next_review;
use super::holds::{self, Review};
use super::usage::number;
use super::{name_from, repo_id};
use crate::clock::Timestamp;
use crate::metadata::{
    BlobKept, BlobWhy, CollectionRules, Holder, Lease, ManifestState, ManifestWhy, Sample,
};
use crate::oci::{Digest, Reference, RepoName};

/// What is asked: by which rules, and how many holders are named.
#[derive(Clone, Copy)]
pub(super) struct Question {
    pub(super) rules: CollectionRules,
    pub(super) limit: usize,
}

struct Found {
    id: i64,
    digest: Vec<u8>,
    state: ManifestState,
    leased_at: Timestamp,
    pulled_at: Option<Timestamp>,
}

pub(super) fn manifest(
    c: &Connection,
    repo: &RepoName,
    reference: &Reference,
    asked: Question,
) -> rusqlite::Result<Option<ManifestWhy>> {
    let Some(repo) = repo_id(c, repo)? else {
        return Ok(None);
    };
    let Some(found) = find(c, repo, reference, asked)? else {
        return Ok(None);
    };
    let mut going = Going::new(c);
    going.add((found.id, repo, found.digest.clone()), 1);
    let untagged = asked.rules.untagged.map(|untagged| untagged.max(asked.rules.lease));
    let waits = [(Review::Manifest, untagged), (Review::Orphan, Some(asked.rules.lease))];
    Ok(Some(ManifestWhy {
        digest: super::blobs::read_digest(&found.digest)?,
        state: found.state,
        tags: tags(c, found.id, asked)?,
        indexes: holders(c, repo, &found.digest, 1, asked)?,
        subjects: subjects(c, found.id, asked)?,
        lease: lease(c, repo, found.leased_at, asked)?,
        pulled_at: found.pulled_at,
        review: next_review(c, repo, &found.digest, &waits)?,
        frees: going.frees()?.bytes[0],
    }))
}

fn find(
    c: &Connection,
    repo: i64,
    reference: &Reference,
    asked: Question,
) -> rusqlite::Result<Option<Found>> {
    let read = |row: &Row<'_>| {
        Ok(Found {
            id: row.get(0)?,
            digest: row.get(1)?,
            state: state(row, 2, 3, asked)?,
            leased_at: row.get(4)?,
            pulled_at: row.get(5)?,
        })
    };
    match reference {
        Reference::Tag(tag) => c
            .prepare_cached(
                "SELECT m.id, m.digest, m.state, m.removed_at, m.leased_at, nullif(m.pulled_at, 0)
                 FROM tags t JOIN manifests m ON m.id = t.manifest WHERE t.repo = ?1 AND t.name = ?2",
            )?
            .query_row(params![repo, tag.as_str()], read),
        Reference::Digest(wanted) => c
            .prepare_cached(
                "SELECT id, digest, state, removed_at, leased_at, nullif(pulled_at, 0)
                 FROM manifests WHERE repo = ?1 AND digest = ?2",
            )?
            .query_row(params![repo, digest(wanted)], read),
    }
    .optional()
}

pub(super) fn blob(c: &Connection, wanted: &Digest, asked: Question) -> rusqlite::Result<Option<BlobWhy>> {
    let target = digest(wanted);
    let mut query =
        c.prepare_cached("SELECT size, allocated, damaged, links FROM blobs WHERE digest = ?1")?;
    let found = query.query_row([&target], |row| {
        Ok((number(row, 0)?, number(row, 1)?, row.get::<_, bool>(2)?, number(row, 3)?))
    });
    let Some((bytes, allocated, damaged, count)) = found.optional()? else {
        return Ok(None);
    };
    let mut query = c.prepare_cached(
        "SELECT r.id, r.name, l.leased_at, l.hidden_at FROM links l JOIN repositories r ON r.id = l.repo
         WHERE l.digest = ?1 ORDER BY l.repo LIMIT ?2",
    )?;
    let (mut first, mut rows) = (Vec::new(), query.query(params![target, asked.limit.cast_signed()])?);
    while let Some(row) = rows.next()? {
        first.push(kept(c, row, &target, asked)?);
    }
    let repositories = Sample { first, count };
    Ok(Some(BlobWhy { digest: wanted.clone(), bytes, allocated, damaged, repositories }))
}

fn kept(c: &Connection, row: &Row<'_>, target: &[u8], asked: Question) -> rusqlite::Result<BlobKept> {
    let (repo, hidden_at): (i64, Option<Timestamp>) = (row.get(0)?, row.get(3)?);
    let waits = [(Review::Link, Some(asked.rules.lease)), (Review::HiddenLink, Some(asked.rules.trash))];
    Ok(BlobKept {
        repo: name_from(row.get_ref(1)?.as_str()?, 1)?,
        manifests: holders(c, repo, target, 0, asked)?,
        lease: lease(c, repo, row.get(2)?, asked)?,
        hidden_until: hidden_at.map(|hidden_at| hidden_at.plus(asked.rules.trash)),
        review: next_review(c, repo, target, &waits)?,
    })
}

/// The manifests that refer to a target as `kind`, the newest first.
fn holders(
    c: &Connection,
    repo: i64,
    target: &[u8],
    kind: i64,
    asked: Question,
) -> rusqlite::Result<Sample<Holder>> {
    let count = "SELECT count(*) FROM edges WHERE repo = ?1 AND target = ?2 AND kind = ?3";
    let count = c.prepare_cached(count)?.query_row(params![repo, target, kind], |row| number(row, 0))?;
    let sql =
        "SELECT m.digest, m.state, m.removed_at, m.id FROM edges e JOIN manifests m ON m.id = e.manifest
               WHERE e.repo = ?1 AND e.target = ?2 AND e.kind = ?3 ORDER BY e.manifest DESC LIMIT ?4";
    let first = read_holders(c, sql, params![repo, target, kind, asked.limit.cast_signed()], asked)?;
    Ok(Sample { first, count })
}

fn subjects(c: &Connection, id: i64, asked: Question) -> rusqlite::Result<Vec<Holder>> {
    let sql = "SELECT s.digest, s.state, s.removed_at, s.id
               FROM edges e JOIN manifests s ON s.repo = e.repo AND s.digest = e.target
               WHERE e.manifest = ?1 AND e.kind = 2";
    read_holders(c, sql, [id], asked)
}

fn read_holders(
    c: &Connection,
    sql: &str,
    values: impl Params,
    asked: Question,
) -> rusqlite::Result<Vec<Holder>> {
    let mut query = c.prepare_cached(sql)?;
    let rows = query.query_map(values, |row| {
        Ok(Holder {
            digest: row.get::<_, SqlDigest>(0)?.0,
            state: state(row, 1, 2, asked)?,
            tags: tags(c, row.get(3)?, asked)?,
        })
    })?;
    rows.collect()
}

fn state(row: &Row<'_>, state: usize, removed_at: usize, asked: Question) -> rusqlite::Result<ManifestState> {
    Ok(match row.get::<_, i64>(state)? {
        0 => ManifestState::Live,
        1 => ManifestState::Trash(row.get::<_, Timestamp>(removed_at)?.plus(asked.rules.trash)),
        _ => ManifestState::Purging,
    })
}

fn tags(c: &Connection, id: i64, asked: Question) -> rusqlite::Result<Sample<crate::oci::Tag>> {
    let count = "SELECT count(*) FROM tags WHERE manifest = ?1";
    let count = c.prepare_cached(count)?.query_row([id], |row| number(row, 0))?;
    let mut query = c.prepare_cached("SELECT name FROM tags WHERE manifest = ?1 ORDER BY name LIMIT ?2")?;
    let rows = query
        .query_map(params![id, asked.limit.cast_signed()], |row| name_from(row.get_ref(0)?.as_str()?, 0))?;
    Ok(Sample { first: rows.collect::<rusqlite::Result<_>>()?, count })
}

fn lease(c: &Connection, repo: i64, leased_at: Timestamp, asked: Question) -> rusqlite::Result<Lease> {
    let until = leased_at.plus(asked.rules.lease);
    let extended = until <= asked.rules.now && holds::is_leased(c, repo, leased_at, &asked.rules)?;
    Ok(Lease { until, extended })
}
