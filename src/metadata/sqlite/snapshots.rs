//! Whole repositories for the evaluator: a statement for each kind of row, and none for each row.

mod facts;

use std::collections::HashMap;

use async_trait::async_trait;
use rusqlite::{Connection, params};

use self::facts::FactsReader;
use super::codec::SqlDigest;
use super::{SqliteMetadata, name_from, repo_id};
use crate::metadata::{LoadedSnapshot, Result, SnapshotQuery, Snapshots};
use crate::oci::{Digest, RepoName};
use crate::retention::{ManifestFacts, RepoSnapshot, TagFacts};

#[async_trait]
impl Snapshots for SqliteMetadata {
    async fn retention_snapshot(
        &self,
        repo: &RepoName,
        query: &SnapshotQuery,
    ) -> Result<Option<LoadedSnapshot>> {
        let (repo, query) = (repo.clone(), query.clone());
        self.read_blocking(move |c| {
            // All statements see the same moment.
            let moment = c.unchecked_transaction()?;
            match repo_id(&moment, &repo)? {
                Some(id) => read(&moment, id, repo, &query).map(Some),
                None => Ok(None),
            }
        })
        .await
    }
}

fn read(c: &Connection, id: i64, repo: RepoName, query: &SnapshotQuery) -> rusqlite::Result<LoadedSnapshot> {
    let mut facts = FactsReader::new(&query.needs);
    let places = manifests(c, id, &mut facts)?;
    let (mut manifests, unread) = facts.finish();
    read_edges(c, CHILDREN, id, &places, |place, child| manifests[place].children.push(child))?;
    read_edges(c, SUBJECTS, id, &places, |place, subject| manifests[place].subject = Some(subject))?;
    let mut tags = tags(c, id, &manifests, &places)?;
    if query.past > 0 {
        read_pasts(c, id, &mut tags, query.past)?;
    }
    Ok(LoadedSnapshot { snapshot: RepoSnapshot { repo, tags, manifests }, unread })
}

/// Reads the live manifests; returns the place of each by its row.
fn manifests(
    c: &Connection,
    repo: i64,
    facts: &mut FactsReader<'_>,
) -> rusqlite::Result<HashMap<i64, usize>> {
    let needs = facts.needs();
    let labels = !needs.labels.is_empty();
    let details = labels || needs.platforms;
    let annotations = !needs.annotations.is_empty();
    // What no rule asks for is not read: a CASE that does not choose a column does not load it.
    let mut query = c.prepare_cached(
        "SELECT m.id, m.digest, m.pushed_at, m.pulled_at, m.alone_at, m.size, m.media_type, m.artifact_type,
                CASE WHEN ?2 OR m.artifact_type IS NULL THEN m.incomplete ELSE 0 END,
                CASE WHEN ?4 OR ((?2 OR m.artifact_type IS NULL) AND m.incomplete) THEN m.content END,
                CASE WHEN ?2 THEN m.details END, CASE WHEN ?2 THEN m.config END,
                c.incomplete, c.platforms, CASE WHEN ?3 THEN c.labels END
         FROM manifests m LEFT JOIN configs c ON c.digest = CASE WHEN ?2 THEN m.config END
         WHERE m.repo = ?1 AND m.state = 0",
    )?;
    let mut places = HashMap::new();
    let mut rows = query.query(params![repo, details, labels, annotations])?;
    while let Some(row) = rows.next()? {
        places.insert(row.get(0)?, facts.read(row)?);
    }
    Ok(places)
}

const CHILDREN: &str =
    "SELECT manifest, target FROM edges INDEXED BY edges_of_children WHERE repo = ?1 AND kind = 1";

const SUBJECTS: &str =
    "SELECT manifest, target FROM edges INDEXED BY edges_of_referrers WHERE repo = ?1 AND kind = 2";

/// Tells `note` of each edge from a live manifest to a digest.
fn read_edges(
    c: &Connection,
    sql: &str,
    repo: i64,
    places: &HashMap<i64, usize>,
    mut note: impl FnMut(usize, Digest),
) -> rusqlite::Result<()> {
    let mut query = c.prepare_cached(sql)?;
    let mut rows = query.query([repo])?;
    while let Some(row) = rows.next()? {
        if let Some(place) = places.get(&row.get(0)?) {
            note(*place, row.get::<_, SqlDigest>(1)?.0);
        }
    }
    Ok(())
}

fn tags(
    c: &Connection,
    repo: i64,
    manifests: &[ManifestFacts],
    places: &HashMap<i64, usize>,
) -> rusqlite::Result<Vec<TagFacts>> {
    let mut query =
        c.prepare_cached("SELECT name, manifest, updated_at FROM tags WHERE repo = ?1 ORDER BY name")?;
    let mut found = Vec::new();
    let mut rows = query.query([repo])?;
    while let Some(row) = rows.next()? {
        // A tag never points at what is not live.
        if let Some(place) = places.get(&row.get(1)?) {
            found.push(TagFacts {
                name: name_from(row.get_ref(0)?.as_str()?, 0)?,
                digest: manifests[*place].digest.clone(),
                pushed_at: row.get(2)?,
                past: Vec::new(),
            });
        }
    }
    Ok(found)
}

/// What the tags, which are in the order of their names, pointed at before.
fn read_pasts(c: &Connection, repo: i64, tags: &mut [TagFacts], most: usize) -> rusqlite::Result<()> {
    let mut query = c.prepare_cached(
        "SELECT name, digest, was FROM tag_history WHERE repo = ?1 AND name > '' ORDER BY name DESC, id DESC",
    )?;
    let mut rows = query.query(params![repo])?;
    let mut waiting = tags.iter_mut().rev().peekable();
    while let Some(row) = rows.next()? {
        let name = row.get_ref(0)?.as_str()?;
        while waiting.next_if(|tag| tag.name.as_str() > name).is_some() {}
        let Some(tag) = waiting.peek_mut().filter(|tag| tag.name.as_str() == name) else {
            continue;
        };
        for column in [1, 2] {
            if tag.past.len() < most
                && let Some(SqlDigest(digest)) = row.get(column)?
            {
                remember(tag, digest);
            }
        }
    }
    Ok(())
}

fn remember(tag: &mut TagFacts, digest: Digest) {
    if digest != tag.digest && !tag.past.contains(&digest) {
        tag.past.push(digest);
    }
}
