//! Where the scrub is, as it is written down: what a restart goes on from.

use serde::{Deserialize, Serialize};

use super::pass::{At, Pass, Suspect};
use super::reading::Reading;
use crate::clock::Timestamp;
use crate::metadata::MetadataStore;
use crate::oci::BlobKey;

/// What is written down. Times in milliseconds since 1970.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Place {
    began_at: i64,
    /// When the last whole pass ended; 0 for never.
    pub(super) finished_at: i64,
    done: u64,
    /// The last blob that was read; none at the beginning.
    blob: Option<String>,
    /// The last manifest that was read, once the blobs are through.
    manifest: Option<i64>,
    reading: Option<Half>,
    suspects: Vec<Doubt>,
}

/// A blob that was read in part.
#[derive(Debug, Serialize, Deserialize)]
struct Half {
    digest: String,
    generation: String,
    offset: u64,
    hash_state: String,
}

/// A blob that could not be read.
#[derive(Debug, Serialize, Deserialize)]
struct Doubt {
    digest: String,
    generation: String,
    failed_at: i64,
}

impl Place {
    /// The place of `pass`.
    pub(super) fn of(pass: &Pass, finished_at: Option<Timestamp>) -> Self {
        let (blob, manifest) = match &pass.at {
            At::Blobs(after) => (after.as_ref().map(ToString::to_string), None),
            At::Manifests(after) => (None, Some(*after)),
        };
        Self {
            began_at: pass.began_at.0,
            finished_at: finished_at.map_or(0, |at| at.0),
            done: pass.done,
            blob,
            manifest,
            reading: pass.reading.as_ref().filter(|reading| !reading.again).map(Half::of),
            suspects: pass.suspects.iter().map(Doubt::of).collect(),
        }
    }

    /// As text.
    pub(super) fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// What was written; nothing of what makes no sense here.
    pub(super) fn from_text(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The pass that was here.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn into_pass(self, metadata: &dyn MetadataStore) -> crate::metadata::Result<Pass> {
        let suspects = self.suspects.iter().filter_map(Doubt::to_suspect).collect();
        let mut pass = Pass::begin(Timestamp(self.began_at), suspects);
        pass.done = self.done;
        pass.at = match (self.manifest, self.blob) {
            (Some(after), _) => At::Manifests(after),
            (None, blob) => At::Blobs(blob.and_then(|digest| digest.parse().ok())),
        };
        if let Some(half) = self.reading {
            pass.reading = half.into_reading(metadata).await?;
        }
        Ok(pass)
    }
}

impl Half {
    fn of(reading: &Reading) -> Self {
        let ((offset, state), key) = (reading.state(), &reading.blob.key);
        let (digest, generation) = written(key);
        Self { digest, generation, offset, hash_state: hex::encode(state) }
    }

    async fn into_reading(self, metadata: &dyn MetadataStore) -> crate::metadata::Result<Option<Reading>> {
        let Some(key) = read(&self.digest, &self.generation) else {
            return Ok(None);
        };
        let blob = metadata.stored_blob(&key.digest).await?.filter(|blob| blob.key == key);
        let state = hex::decode(&self.hash_state).unwrap_or_default();
        Ok(blob.map(|blob| Reading::resume(blob, self.offset, &state)))
    }
}

impl Doubt {
    fn of(suspect: &Suspect) -> Self {
        let (digest, generation) = written(&suspect.key);
        Self { digest, generation, failed_at: suspect.failed_at.0 }
    }

    fn to_suspect(&self) -> Option<Suspect> {
        let key = read(&self.digest, &self.generation)?;
        Some(Suspect { key, failed_at: Timestamp(self.failed_at) })
    }
}

fn written(key: &BlobKey) -> (String, String) {
    (key.digest.to_string(), key.generation.to_string())
}

fn read(digest: &str, generation: &str) -> Option<BlobKey> {
    Some(BlobKey { digest: digest.parse().ok()?, generation: generation.parse().ok()? })
}
