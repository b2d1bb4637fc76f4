//! Whole repositories for the evaluator: a statement for each kind of row, and none for each row.

use std::collections::HashMap;

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};

use super::codec::SqlDigest;
use super::{SqliteMetadata, name_from, repo_id};
use crate::clock::Timestamp;
use crate::metadata::{Result, Snapshots};
use crate::oci::{Annotations, Digest, ImageDetails, RepoName};
use crate::retention::{ManifestFacts, RepoSnapshot, TagFacts};

#[async_trait]
impl Snapshots for SqliteMetadata {
    async fn retention_snapshot(&self, repo: &RepoName, past: usize) -> Result<Option<RepoSnapshot>> {
        let repo = repo.clone();
        self.read_aside(move |c| {
            // All statements see the same moment.
            let moment = c.unchecked_transaction()?;
            let Some(id) = repo_id(&moment, &repo)? else {
                return Ok(None);
            };
            let mut snapshot = read(&moment, id, repo, past)?;
            snapshot.inherit_details();
            Ok(Some(snapshot))
        })
        .await
    }
}

fn read(c: &Connection, id: i64, repo: RepoName, past: usize) -> rusqlite::Result<RepoSnapshot> {
    let (mut manifests, places) = manifests(c, id)?;
    read_edges(c, CHILDREN, id, &places, |place, child| manifests[place].children.push(child))?;
    read_edges(c, SUBJECTS, id, &places, |place, subject| manifests[place].subject = Some(subject))?;
    let mut tags = tags(c, id, &manifests, &places)?;
    if past > 0 {
        read_pasts(c, id, &mut tags, past)?;
    }
    Ok(RepoSnapshot { repo, tags, manifests })
}

/// The live manifests, and the place of each by its row.
fn manifests(c: &Connection, repo: i64) -> rusqlite::Result<(Vec<ManifestFacts>, HashMap<i64, usize>)> {
    let mut query = c.prepare_cached(
        "SELECT id, digest, pushed_at, pulled_at, alone_at, size, media_type, artifact_type, content, details
         FROM manifests WHERE repo = ?1 AND state = 0",
    )?;
    let (mut found, mut places) = (Vec::new(), HashMap::new());
    let mut rows = query.query([repo])?;
    while let Some(row) = rows.next()? {
        places.insert(row.get(0)?, found.len());
        found.push(manifest(row)?);
    }
    Ok((found, places))
}

fn manifest(row: &Row<'_>) -> rusqlite::Result<ManifestFacts> {
    let some = |at: Timestamp| Some(at).filter(|at| *at != Timestamp(0));
    let annotations = Annotations::of_manifest(row.get_ref(8)?.as_blob()?);
    let details = details(row, 9)?;
    Ok(ManifestFacts {
        pulled_at: some(row.get(3)?),
        alone_at: some(row.get(4)?),
        size: row.get::<_, i64>(5)?.cast_unsigned(),
        media_type: row.get(6)?,
        artifact_type: row.get(7)?,
        annotations: annotations.map(|annotations| annotations.to_map()).unwrap_or_default(),
        platforms: details.platforms,
        labels: details.labels,
        ..ManifestFacts::new(row.get::<_, SqlDigest>(1)?.0, row.get(2)?)
    })
}

/// What is known of an image. What cannot be read is not known.
pub(super) fn details(row: &Row<'_>, column: usize) -> rusqlite::Result<ImageDetails> {
    let json = row.get_ref(column)?.as_str_or_null()?;
    Ok(json.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default())
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
