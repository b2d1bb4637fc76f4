//! A reference model of the registry: what a user was promised, and until when. It is simple enough to be verified
//! by reading.

use std::collections::BTreeMap;
use std::time::Duration;

use orlop::clock::Timestamp;
use orlop::oci::Digest;

use crate::kit::{LEASE, TRASH, UNTAGGED};

/// The minimum time that a lease promises.
pub const MIN_LEASE: Duration = Duration::from_millis(LEASE.as_millis() as u64 * 7 / 8);

/// A manifest that was accepted.
#[derive(Debug, Clone)]
pub struct Accepted {
    pub content: String,
    pub blobs: Vec<Digest>,
    pub children: Vec<Digest>,
    pub subject: Option<Digest>,
    /// When it was pushed for the first time.
    pub first: Timestamp,
    /// When it was last pushed or lost a tag.
    pub touched: Timestamp,
    /// When it was deleted, if it is in the trash.
    pub removed: Option<Timestamp>,
}

/// One repository as its users see it.
#[derive(Debug, Default)]
pub struct Reference {
    pub manifests: BTreeMap<Digest, Accepted>,
    pub tags: BTreeMap<String, Digest>,
    /// Until when a client was promised that a blob stays available for its manifest.
    pub promised: BTreeMap<Digest, Timestamp>,
    /// The manifests that the last deletion of the whole repository removed, and when.
    pub deleted: BTreeMap<Digest, Timestamp>,
}

impl Reference {
    /// Whether the registry must serve this manifest and everything it refers to.
    pub fn must_serve(&self, digest: &Digest, now: Timestamp) -> bool {
        let Some(manifest) = self.manifests.get(digest) else {
            return false;
        };
        manifest.removed.is_none() && self.is_kept(digest, manifest, now)
    }

    fn is_kept(&self, digest: &Digest, manifest: &Accepted, now: Timestamp) -> bool {
        if self.tags.values().any(|tagged| tagged == digest) {
            return true;
        }
        let has_holder = manifest.subject.is_some() || self.parents(digest).next().is_some();
        // A manifest that had a holder may be purged with its last holder, even if its own lease would last longer.
        let alone = if has_holder { MIN_LEASE } else { UNTAGGED };
        now < manifest.touched.plus(alone)
            || self.holders(digest, manifest).any(|holder| self.keeps_targets(holder, now))
    }

    fn holders<'a>(&'a self, digest: &'a Digest, manifest: &'a Accepted) -> impl Iterator<Item = &'a Digest> {
        let subject = manifest.subject.iter().filter(|subject| self.manifests.contains_key(*subject));
        self.parents(digest).chain(subject)
    }

    fn parents<'a>(&'a self, digest: &'a Digest) -> impl Iterator<Item = &'a Digest> {
        let lists = |(parent, accepted): (&'a Digest, &'a Accepted)| {
            accepted.children.contains(digest).then_some(parent)
        };
        self.manifests.iter().filter_map(lists)
    }

    /// Whether the targets of this manifest must stay, because it is served or can still be restored.
    fn keeps_targets(&self, digest: &Digest, now: Timestamp) -> bool {
        match self.manifests[digest].removed {
            Some(removed) => now < removed.plus(TRASH),
            None => self.must_serve(digest, now),
        }
    }

    /// Whether an index that lists `digest` must be served.
    pub fn has_live_parent(&self, digest: &Digest, now: Timestamp) -> bool {
        self.parents(digest).any(|parent| self.must_serve(parent, now))
    }

    /// Whether a manifest that refers to the blob must be served.
    pub fn has_live_user(&self, blob: &Digest, now: Timestamp) -> bool {
        self.manifests
            .iter()
            .any(|(digest, manifest)| manifest.blobs.contains(blob) && self.must_serve(digest, now))
    }

    pub fn promise(&mut self, blob: &Digest, now: Timestamp) {
        let until = now.plus(MIN_LEASE);
        let promised = self.promised.entry(blob.clone()).or_insert(until);
        *promised = until.max(*promised);
    }

    pub fn is_promised(&self, blob: &Digest, now: Timestamp) -> bool {
        self.promised.get(blob).is_some_and(|until| now < *until)
    }
}
