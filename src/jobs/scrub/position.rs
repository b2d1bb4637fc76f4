//! The saved position of the scrub, from which a restart continues.

use serde::{Deserialize, Serialize};

use super::pass::{Pass, Position, Suspect};
use super::reading::{BlobRead, ReadReason};
use crate::clock::Timestamp;
use crate::metadata::Metadata;
use crate::oci::BlobKey;

/// The saved position. Times are in milliseconds since 1970.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct SavedPosition {
    began_at: i64,
    /// When the last complete pass ended; 0 if never.
    pub(super) finished_at: i64,
    done: u64,
    /// The last blob that was read; `None` at the beginning.
    blob: Option<String>,
    /// The last manifest that was read, once all blobs have been.
    manifest: Option<i64>,
    reading: Option<SavedRead>,
    suspects: Vec<SavedSuspect>,
}

/// A blob that was read partially.
#[derive(Debug, Serialize, Deserialize)]
struct SavedRead {
    digest: String,
    generation: String,
    offset: u64,
    hash_state: String,
}

/// A blob that could not be read and is tried again.
#[derive(Debug, Serialize, Deserialize)]
struct SavedSuspect {
    digest: String,
    generation: String,
    failed_at: i64,
}

impl SavedPosition {
    /// Returns the position of `pass`.
    pub(super) fn of(pass: &Pass, finished_at: Option<Timestamp>) -> Self {
        let (blob, manifest) = match &pass.position {
            Position::Blobs(after) => (after.as_ref().map(ToString::to_string), None),
            Position::Manifests(after) => (None, Some(*after)),
        };
        Self {
            began_at: pass.began_at.0,
            finished_at: finished_at.map_or(0, |at| at.0),
            done: pass.done,
            blob,
            manifest,
            reading: pass
                .reading
                .as_ref()
                .filter(|reading| reading.reason == ReadReason::InOrder)
                .map(SavedRead::of),
            suspects: pass.suspects.iter().map(SavedSuspect::of).collect(),
        }
    }

    /// Serializes the position.
    pub(super) fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Parses a saved position; `None` if it is invalid.
    pub(super) fn from_text(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Restores the pass at this position.
    ///
    /// # Errors
    /// Fails if the database can't be read.
    pub(super) async fn into_pass(self, metadata: &Metadata) -> crate::metadata::Result<Pass> {
        let suspects = self.suspects.iter().filter_map(SavedSuspect::to_suspect).collect();
        let mut pass = Pass::start(Timestamp(self.began_at), suspects);
        pass.done = self.done;
        pass.position = match (self.manifest, self.blob) {
            (Some(after), _) => Position::Manifests(after),
            (None, blob) => Position::Blobs(blob.and_then(|digest| digest.parse().ok())),
        };
        if let Some(saved) = self.reading {
            pass.reading = saved.into_read(metadata).await?;
        }
        Ok(pass)
    }
}

impl SavedRead {
    fn of(reading: &BlobRead) -> Self {
        let (offset, state) = reading.state();
        let (digest, generation) = format_key(&reading.blob.key);
        Self { digest, generation, offset, hash_state: hex::encode(state) }
    }

    async fn into_read(self, metadata: &Metadata) -> crate::metadata::Result<Option<BlobRead>> {
        let Some(key) = parse_key(&self.digest, &self.generation) else {
            return Ok(None);
        };
        let blob = metadata.stored_blob(&key.digest).await?.filter(|blob| blob.key == key);
        let state = hex::decode(&self.hash_state).unwrap_or_default();
        Ok(blob.map(|blob| BlobRead::resume(blob, self.offset, &state)))
    }
}

impl SavedSuspect {
    fn of(suspect: &Suspect) -> Self {
        let (digest, generation) = format_key(&suspect.key);
        Self { digest, generation, failed_at: suspect.failed_at.0 }
    }

    fn to_suspect(&self) -> Option<Suspect> {
        let key = parse_key(&self.digest, &self.generation)?;
        Some(Suspect { key, failed_at: Timestamp(self.failed_at) })
    }
}

fn format_key(key: &BlobKey) -> (String, String) {
    (key.digest.to_string(), key.generation.to_string())
}

fn parse_key(digest: &str, generation: &str) -> Option<BlobKey> {
    Some(BlobKey { digest: digest.parse().ok()?, generation: generation.parse().ok()? })
}
