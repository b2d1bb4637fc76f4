//! Reads what retention rules need to know about each manifest: its row and those of its labels, annotations and
//! platforms that the rules use.

use std::collections::HashMap;

use crate::clock::Timestamp;
use crate::metadata::ops::details;
use crate::metadata::sql::Row;
use crate::metadata::sql::SqlDigest;
use crate::metadata::{MAX_SNAPSHOT_DETAILS, UnreadConfig, sql};
use crate::oci::{Annotations, DetailSelection, Digest, ImageDetails, RecordedManifest};
use crate::retention::{ManifestFacts, Needs};

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
            let mut image = own.map(|json| details::from_json(json, selection)).unwrap_or_default();
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
