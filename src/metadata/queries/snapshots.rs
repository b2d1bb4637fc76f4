//! Loads whole repositories for the evaluation of retention policies: with one statement for each kind of row, not one
//! for each row.

mod manifest_facts;

use std::collections::HashMap;

use crate::metadata::ops::repo_id;
use crate::metadata::queries::snapshots::manifest_facts::FactsReader;
use crate::metadata::sql::{Connection, Snapshot, SqlDigest, params};
use crate::metadata::{LoadedSnapshot, Metadata, Operation, Result, SnapshotQuery, sql};
use crate::oci::{Digest, RepoName};
use crate::retention::{ManifestFacts, RepoSnapshot, TagFacts};

impl Metadata {
    /// Returns the tags and live manifests of a repository at one moment and, for each tag, earlier digests as
    /// far as its history goes back. `None` if the repository does not exist. Reads all of the repository.
    pub async fn retention_snapshot(
        &self,
        repo: &RepoName,
        query: &SnapshotQuery,
    ) -> Result<Option<LoadedSnapshot>> {
        self.perform(Operation::RetentionSnapshot, async {
            let repo = repo.clone();
            let query = query.clone();
            self.read_blocking(move |c| {
                // All statements see the same state.
                let _snapshot = Snapshot::begin(c)?;
                match repo_id(c, &repo)? {
                    Some(id) => read(c, id, repo, &query).map(Some),
                    None => Ok(None),
                }
            })
            .await
        })
        .await
    }
}

fn read(c: &dyn Connection, id: i64, repo: RepoName, query: &SnapshotQuery) -> sql::Result<LoadedSnapshot> {
    let mut facts = FactsReader::new(&query.needs);
    let positions = read_manifests(c, id, &mut facts)?;
    let (mut manifests, unread) = facts.finish();
    read_edges(c, CHILDREN, id, &positions, |at, child| manifests[at].children.push(child))?;
    read_edges(c, SUBJECTS, id, &positions, |at, subject| manifests[at].subject = Some(subject))?;
    let mut tags = read_tags(c, id, &manifests, &positions)?;
    if query.past > 0 {
        read_past_digests(c, id, &mut tags, query.past)?;
    }
    Ok(LoadedSnapshot { snapshot: RepoSnapshot { repo, tags, manifests }, unread })
}

/// Reads the live manifests. Returns the position of each by its row id.
fn read_manifests(
    c: &dyn Connection,
    repo: i64,
    facts: &mut FactsReader<'_>,
) -> sql::Result<HashMap<i64, usize>> {
    let needs = facts.needs();
    let labels = !needs.labels.is_empty();
    let details = labels || needs.platforms;
    let annotations = !needs.annotations.is_empty();
    // Columns that no rule needs are not read: a CASE does not load a column that it does not select.
    let mut query = c.prepare_cached(
        "SELECT m.id, m.digest, m.pushed_at, m.pulled_at, m.alone_at, m.size, m.media_type, m.artifact_type,
                CASE WHEN ?2 OR m.artifact_type IS NULL THEN m.incomplete ELSE 0 END,
                CASE WHEN ?4 OR ((?2 OR m.artifact_type IS NULL) AND m.incomplete <> 0) THEN m.content END,
                CASE WHEN ?2 THEN m.details END, CASE WHEN ?2 THEN m.config END,
                c.incomplete, c.platforms, CASE WHEN ?3 THEN c.labels END
         FROM manifests m LEFT JOIN configs c ON c.digest = CASE WHEN ?2 THEN m.config END
         WHERE m.repo = ?1 AND m.state = 0",
    )?;
    let mut positions = HashMap::new();
    let mut rows = query.query(params![repo, details, labels, annotations])?;
    while let Some(row) = rows.next()? {
        positions.insert(row.get(0)?, facts.read(row)?);
    }
    Ok(positions)
}

const CHILDREN: &str =
    "SELECT manifest, target FROM edges /* INDEXED BY edges_of_children */ WHERE repo = ?1 AND kind = 1";

const SUBJECTS: &str =
    "SELECT manifest, target FROM edges /* INDEXED BY edges_of_referrers */ WHERE repo = ?1 AND kind = 2";

/// Calls `add` with the source position and the target of each edge from a live manifest.
fn read_edges(
    c: &dyn Connection,
    sql: &str,
    repo: i64,
    positions: &HashMap<i64, usize>,
    mut add: impl FnMut(usize, Digest),
) -> sql::Result<()> {
    let mut query = c.prepare_cached(sql)?;
    let mut rows = query.query([repo])?;
    while let Some(row) = rows.next()? {
        if let Some(position) = positions.get(&row.get(0)?) {
            add(*position, row.get::<SqlDigest>(1)?.0);
        }
    }
    Ok(())
}

fn read_tags(
    c: &dyn Connection,
    repo: i64,
    manifests: &[ManifestFacts],
    positions: &HashMap<i64, usize>,
) -> sql::Result<Vec<TagFacts>> {
    let mut query =
        c.prepare_cached("SELECT name, manifest, updated_at FROM tags WHERE repo = ?1 ORDER BY name")?;
    let mut found = Vec::new();
    let mut rows = query.query([repo])?;
    while let Some(row) = rows.next()? {
        // A tag always points at a live manifest.
        if let Some(position) = positions.get(&row.get(1)?) {
            found.push(TagFacts {
                name: row.get(0)?,
                digest: manifests[*position].digest.clone(),
                pushed_at: row.get(2)?,
                past: Vec::new(),
            });
        }
    }
    Ok(found)
}

/// Reads what the tags pointed at before. `tags` are sorted by name.
fn read_past_digests(c: &dyn Connection, repo: i64, tags: &mut [TagFacts], limit: usize) -> sql::Result<()> {
    let mut query = c.prepare_cached(
        "SELECT name, digest, was FROM tag_history WHERE repo = ?1 AND name > '' ORDER BY name DESC, id DESC",
    )?;
    let mut rows = query.query(params![repo])?;
    let mut waiting = tags.iter_mut().rev().peekable();
    while let Some(row) = rows.next()? {
        let name = row.text(0)?;
        while waiting.next_if(|tag| tag.name.as_str() > name).is_some() {}
        let Some(tag) = waiting.peek_mut().filter(|tag| tag.name.as_str() == name) else {
            continue;
        };
        for column in [1, 2] {
            if tag.past.len() < limit
                && let Some(SqlDigest(digest)) = row.get(column)?
            {
                add_past(tag, digest);
            }
        }
    }
    Ok(())
}

fn add_past(tag: &mut TagFacts, digest: Digest) {
    if digest != tag.digest && !tag.past.contains(&digest) {
        tag.past.push(digest);
    }
}
