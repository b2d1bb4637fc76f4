//! Explains why a manifest or blob is kept: counts what holds it and names the first holders.

use crate::clock::Timestamp;
use crate::metadata::ops::blobs::read_digest;
use crate::metadata::ops::liveness::{self, Review};
use crate::metadata::ops::repo_id;
use crate::metadata::queries::reclaimable::graph::{ManifestRow, ReclaimableGraph};
use crate::metadata::queries::reclaimable::summary::next_review;
use crate::metadata::sql::{
    self, Connection, OptionalExtension, Params, Row, Snapshot, SqlDigest, digest, params,
};
use crate::metadata::{
    BlobWhy, CollectionRules, Holder, Lease, LinkWhy, ManifestState, ManifestWhy, Metadata, Operation,
    Result, Sample,
};
use crate::oci::{Digest, Reference, RepoName};

impl Metadata {
    /// Returns what keeps a manifest alive, with up to `limit` names for each reason.
    pub async fn why_manifest(
        &self,
        repo: &RepoName,
        reference: &Reference,
        rules: &CollectionRules,
        limit: usize,
    ) -> Result<Option<ManifestWhy>> {
        let repo = repo.clone();
        let reference = reference.clone();
        let options = WhyOptions { rules: *rules, limit };
        self.query_blocking(Operation::WhyManifest, move |c| {
            let _snapshot = Snapshot::begin(c)?;
            manifest(c, &repo, &reference, options)
        })
        .await
    }

    /// Returns what keeps a blob alive: up to `limit` repositories that link it, with up to `limit` manifests
    /// in each.
    pub async fn why_blob(
        &self,
        wanted: &Digest,
        rules: &CollectionRules,
        limit: usize,
    ) -> Result<Option<BlobWhy>> {
        let wanted = wanted.clone();
        let options = WhyOptions { rules: *rules, limit };
        self.query_blocking(Operation::WhyBlob, move |c| {
            let _snapshot = Snapshot::begin(c)?;
            blob(c, &wanted, options)
        })
        .await
    }
}

/// The rules to apply, and how many holders to name.
#[derive(Clone, Copy)]
struct WhyOptions {
    rules: CollectionRules,
    limit: usize,
}

struct Found {
    id: i64,
    digest: Vec<u8>,
    state: ManifestState,
    leased_at: Timestamp,
    pulled_at: Option<Timestamp>,
}

fn manifest(
    c: &dyn Connection,
    repo: &RepoName,
    reference: &Reference,
    options: WhyOptions,
) -> sql::Result<Option<ManifestWhy>> {
    let Some(repo) = repo_id(c, repo)? else {
        return Ok(None);
    };
    let Some(found) = find(c, repo, reference, options)? else {
        return Ok(None);
    };
    let mut graph = ReclaimableGraph::new(c);
    graph.add(ManifestRow { id: found.id, repo, digest: found.digest.clone() }, 1);
    let untagged = options.rules.untagged.map(|untagged| untagged.max(options.rules.lease));
    let waits = [(Review::Manifest, untagged), (Review::Orphan, Some(options.rules.lease))];
    Ok(Some(ManifestWhy {
        digest: read_digest(&found.digest)?,
        state: found.state,
        tags: tags(c, found.id, options)?,
        indexes: holders(c, repo, &found.digest, 1, options)?,
        subjects: subjects(c, found.id, options)?,
        unreleased: liveness::is_unreleased(c, found.id)?,
        lease: lease(c, repo, found.leased_at, options)?,
        pulled_at: found.pulled_at,
        review: next_review(c, repo, &found.digest, &waits)?,
        frees: graph.freed_space()?.bytes[0],
    }))
}

fn find(
    c: &dyn Connection,
    repo: i64,
    reference: &Reference,
    options: WhyOptions,
) -> sql::Result<Option<Found>> {
    let read = |row: Row<'_>| {
        Ok(Found {
            id: row.get(0)?,
            digest: row.get(1)?,
            state: state(row, 2, 3, options)?,
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

fn blob(c: &dyn Connection, wanted: &Digest, options: WhyOptions) -> sql::Result<Option<BlobWhy>> {
    let target = digest(wanted);
    let mut query =
        c.prepare_cached("SELECT size, allocated, damaged, links, hardlinked FROM blobs WHERE digest = ?1")?;
    let found = query.query_row([&target], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get::<bool>(2)?, row.get(3)?, row.get::<bool>(4)?))
    });
    let Some((bytes, allocated, damaged, count, hardlinked)) = found.optional()? else {
        return Ok(None);
    };
    let mut query = c.prepare_cached(
        "SELECT r.id, r.name, l.leased_at, l.hidden_at FROM links l JOIN repositories r ON r.id = l.repo
         WHERE l.digest = ?1 ORDER BY l.repo LIMIT ?2",
    )?;
    let mut first = Vec::new();
    let mut rows = query.query(params![target, options.limit])?;
    while let Some(row) = rows.next()? {
        first.push(read_link(c, row, &target, options)?);
    }
    let repositories = Sample { first, count };
    Ok(Some(BlobWhy { digest: wanted.clone(), bytes, allocated, hardlinked, damaged, repositories }))
}

fn read_link(c: &dyn Connection, row: Row<'_>, target: &[u8], options: WhyOptions) -> sql::Result<LinkWhy> {
    let repo: i64 = row.get(0)?;
    let hidden_at: Option<Timestamp> = row.get(3)?;
    let waits = [(Review::Link, Some(options.rules.lease)), (Review::HiddenLink, Some(options.rules.trash))];
    Ok(LinkWhy {
        repo: row.get(1)?,
        manifests: holders(c, repo, target, 0, options)?,
        lease: lease(c, repo, row.get(2)?, options)?,
        hidden_until: hidden_at.map(|hidden_at| hidden_at.plus(options.rules.trash)),
        review: next_review(c, repo, target, &waits)?,
    })
}

/// Lists the manifests that refer to a target as `kind`, the newest first.
fn holders(
    c: &dyn Connection,
    repo: i64,
    target: &[u8],
    kind: i64,
    options: WhyOptions,
) -> sql::Result<Sample<Holder>> {
    let count = "SELECT count(*) FROM edges WHERE repo = ?1 AND target = ?2 AND kind = ?3";
    let count = c.prepare_cached(count)?.query_row(params![repo, target, kind], |row| row.get(0))?;
    let sql =
        "SELECT m.digest, m.state, m.removed_at, m.id FROM edges e JOIN manifests m ON m.id = e.manifest
               WHERE e.repo = ?1 AND e.target = ?2 AND e.kind = ?3 ORDER BY e.manifest DESC LIMIT ?4";
    let first = read_holders(c, sql, params![repo, target, kind, options.limit], options)?;
    Ok(Sample { first, count })
}

fn subjects(c: &dyn Connection, id: i64, options: WhyOptions) -> sql::Result<Vec<Holder>> {
    let sql = "SELECT s.digest, s.state, s.removed_at, s.id
               FROM edges e JOIN manifests s ON s.repo = e.repo AND s.digest = e.target
               WHERE e.manifest = ?1 AND e.kind = 2";
    read_holders(c, sql, [id], options)
}

fn read_holders(
    c: &dyn Connection,
    sql: &str,
    values: impl Params,
    options: WhyOptions,
) -> sql::Result<Vec<Holder>> {
    let mut query = c.prepare_cached(sql)?;
    let rows = query.query_map(values, |row| {
        Ok(Holder {
            digest: row.get::<SqlDigest>(0)?.0,
            state: state(row, 1, 2, options)?,
            tags: tags(c, row.get(3)?, options)?,
        })
    })?;
    rows.collect()
}

fn state(row: Row<'_>, state: usize, removed_at: usize, options: WhyOptions) -> sql::Result<ManifestState> {
    Ok(match row.get::<i64>(state)? {
        0 => ManifestState::Live,
        1 => ManifestState::Trash(row.get::<Timestamp>(removed_at)?.plus(options.rules.trash)),
        _ => ManifestState::Purging,
    })
}

fn tags(c: &dyn Connection, id: i64, options: WhyOptions) -> sql::Result<Sample<crate::oci::Tag>> {
    let count = "SELECT count(*) FROM tags WHERE manifest = ?1";
    let count = c.prepare_cached(count)?.query_row([id], |row| row.get(0))?;
    let mut query = c.prepare_cached("SELECT name FROM tags WHERE manifest = ?1 ORDER BY name LIMIT ?2")?;
    let rows = query.query_map(params![id, options.limit], |row| row.get(0))?;
    Ok(Sample { first: rows.collect::<sql::Result<_>>()?, count })
}

fn lease(c: &dyn Connection, repo: i64, leased_at: Timestamp, options: WhyOptions) -> sql::Result<Lease> {
    let until = leased_at.plus(options.rules.lease);
    let extended = until <= options.rules.now && liveness::is_leased(c, repo, leased_at, &options.rules)?;
    Ok(Lease { until, extended })
}
