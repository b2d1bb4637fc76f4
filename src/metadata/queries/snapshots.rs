//! Loads whole repositories for the evaluation of retention policies: with one statement for each kind of row, not one
//! for each row. Of the labels, annotations and platforms of a manifest it reads those that the rules use.

use std::collections::HashMap;

use crate::clock::Timestamp;
use crate::metadata::image_details;
use crate::metadata::ops::repo_id;
use crate::metadata::sql::{self, Connection, Row, Snapshot, SqlDigest, params};
use crate::metadata::{
    LoadedSnapshot, MAX_SNAPSHOT_DETAILS, Metadata, Operation, Result, SnapshotQuery, UnreadConfig,
};
use crate::oci::{Annotations, DetailSelection, Digest, ImageDetails, RecordedManifest, RepoName};
use crate::retention::{ManifestFacts, Needs, RepoSnapshot, TagFacts};

impl Metadata {
    /// Returns the tags and live manifests of a repository at one moment and, for each tag, earlier digests as
    /// far as its history goes back. `None` if the repository does not exist. Reads all of the repository.
    pub async fn retention_snapshot(
        &self,
        repo: &RepoName,
        query: &SnapshotQuery,
    ) -> Result<Option<LoadedSnapshot>> {
        let repo = repo.clone();
        let query = query.clone();
        self.query_blocking(Operation::RetentionSnapshot, move |c| {
            // All statements see the same state.
            let _snapshot = Snapshot::begin(c)?;
            match repo_id(c, &repo)? {
                Some(id) => read(c, id, repo, &query).map(Some),
                None => Ok(None),
            }
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
                c.incomplete, c.platforms, CASE WHEN ?3 THEN c.labels END, m.held
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

/// Longest artifact type that rules see. A longer one counts as unknown.
const MAX_ARTIFACT_TYPE_LEN: usize = 16 << 10;

/// Gathers the manifests of a repository, row by row.
pub(in crate::metadata) struct FactsReader<'n> {
    needs: &'n Needs,
    found: Vec<ManifestFacts>,
    unread: HashMap<Digest, Vec<usize>>,
    /// Size of the details read so far, in bytes.
    bytes: usize,
}

/// The details of an image, and the config that must be read for the missing ones.
struct Details {
    image: ImageDetails,
    unread: Option<Digest>,
}

impl<'n> FactsReader<'n> {
    pub(in crate::metadata) fn new(needs: &'n Needs) -> Self {
        Self { needs, found: Vec::new(), unread: HashMap::new(), bytes: 0 }
    }

    pub(in crate::metadata) fn needs(&self) -> &'n Needs {
        self.needs
    }

    /// Reads a row of the statement in [`crate::metadata::queries::snapshots::read_manifests`]. Returns its position.
    pub(in crate::metadata) fn read(&mut self, row: Row<'_>) -> sql::Result<usize> {
        let position = self.found.len();
        let mut facts = self.facts(row)?;
        let Details { image, unread } = self.details(row)?;
        facts.platforms = image.platforms;
        facts.labels = image.labels;
        self.bytes += weight(&facts);
        if self.bytes > MAX_SNAPSHOT_DETAILS {
            clear_details(&mut facts);
        } else if let Some(config) = unread {
            self.unread.entry(config).or_default().push(position);
        }
        self.found.push(facts);
        Ok(position)
    }

    /// Returns the manifests, and the configs that must be read for some of them.
    pub(in crate::metadata) fn finish(self) -> (Vec<ManifestFacts>, Vec<UnreadConfig>) {
        let unread = self.unread.into_iter().map(|(digest, manifests)| UnreadConfig { digest, manifests });
        (self.found, unread.collect())
    }

    fn facts(&self, row: Row<'_>) -> sql::Result<ManifestFacts> {
        let some = |at: Timestamp| Some(at).filter(|at| *at != Timestamp(0));
        let content = row.blob_or_null(9)?;
        let wanted = &self.needs.annotations;
        let annotations = content.filter(|_| !wanted.is_empty());
        let mut facts = ManifestFacts {
            pulled_at: some(row.get(3)?),
            alone_at: some(row.get(4)?),
            size: row.get::<u64>(5)?,
            media_type: row.get(6)?,
            artifact_type: row.get(7)?,
            held: row.get(15)?,
            annotations: annotations.and_then(|content| Annotations::with_keys(content, wanted)),
            ..ManifestFacts::new(row.get::<SqlDigest>(1)?.0, row.get(2)?)
        };
        if let (true, None) = (row.get(8)?, &facts.artifact_type) {
            read_artifact_type(&mut facts, content);
        }
        Ok(facts)
    }

    fn details(&self, row: Row<'_>) -> sql::Result<Details> {
        let selection = DetailSelection::Labels(&self.needs.labels);
        let own = row.text_or_null(10)?;
        let config = row.get::<Option<SqlDigest>>(11)?.map(|config| config.0);
        let Some(config_is_incomplete) = row.get::<Option<bool>>(12)? else {
            let mut image = own.map(|json| image_details::from_json(json, selection)).unwrap_or_default();
            let content = row.blob_or_null(9)?;
            if let (true, None, Some(content)) = (row.get(8)?, &image.platforms, content) {
                image.platforms = ImageDetails::of_index(content, selection).platforms;
            }
            return Ok(Details { image, unread: config });
        };
        let platforms = row.text_or_null(13)?;
        let labels = row.text_or_null(14)?;
        let image = ImageDetails::of_record(platforms, labels, selection);
        if config_is_incomplete && self.lacks(&image) {
            return Ok(Details { image: self.without_partial_labels(image), unread: config });
        }
        Ok(Details { image, unread: None })
    }

    /// Whether something that a rule uses is unknown.
    fn lacks(&self, image: &ImageDetails) -> bool {
        (self.needs.platforms && image.platforms.is_none()) || !self.has_labels(image)
    }

    fn has_labels(&self, image: &ImageDetails) -> bool {
        let has = |key| image.labels.as_ref().is_some_and(|labels| labels.contains_key(key));
        self.needs.labels.iter().all(has)
    }

    /// Removes the labels if only a part of those that rules use is recorded.
    fn without_partial_labels(&self, image: ImageDetails) -> ImageDetails {
        let has_labels = self.has_labels(&image);
        ImageDetails { labels: image.labels.filter(|_| has_labels), ..image }
    }
}

fn read_artifact_type(facts: &mut ManifestFacts, content: Option<&[u8]>) {
    let manifest = content.and_then(RecordedManifest::read).unwrap_or_default();
    facts.artifact_type = manifest.artifact_type.filter(|text| text.len() <= MAX_ARTIFACT_TYPE_LEN);
    facts.has_unknown_artifact_type = facts.artifact_type.is_none();
}

/// Size of the details, in bytes.
fn weight(facts: &ManifestFacts) -> usize {
    let maps = facts.annotations.iter().chain(&facts.labels).flatten();
    let platforms = facts.platforms.iter().flatten().map(String::len);
    maps.map(|(key, value)| key.len() + value.len()).chain(platforms).sum()
}

/// Marks the details as unknown.
fn clear_details(facts: &mut ManifestFacts) {
    facts.annotations = None;
    facts.labels = None;
    facts.platforms = None;
}
