//! The references in a manifest.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::InvalidManifest;
use super::descriptor::PushedDescriptor;
use super::object::Object;
use crate::oci::Digest;
use crate::oci::media_type::{ManifestKind, is_nondistributable, manifest_kind};

/// The role of a target in the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// An image's config.
    Config,
    /// An image's layer, or an artifact's blob.
    Layer,
    /// A member of an index.
    Child,
    /// The subject of the manifest.
    Subject,
}

/// The kind of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TargetKind {
    /// A blob.
    Blob,
    /// A manifest.
    Manifest,
}

/// A reference in a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestReference {
    /// The digest of the target.
    pub digest: Digest,
    /// The target's size in bytes, as stated in the manifest.
    pub size: u64,
    /// The target's media type, as stated in the manifest.
    pub media_type: String,
    /// The role of the target; the first one if there are several.
    pub role: Role,
    /// The kind of the target.
    pub kind: TargetKind,
    /// Whether the manifest is complete without the target.
    pub may_be_absent: bool,
    /// Whether the manifest lists other locations of the target.
    pub has_urls: bool,
}

impl ManifestReference {
    fn new(target: PushedDescriptor, role: Role) -> Self {
        let kind = match role {
            Role::Subject => TargetKind::Manifest,
            // BuildKit's cache indexes list layers.
            Role::Child if manifest_kind(&target.media_type).is_some() => TargetKind::Manifest,
            Role::Config | Role::Layer | Role::Child => TargetKind::Blob,
        };
        let may_be_absent = match role {
            Role::Subject => true,
            // Without another location, the layer could never be pulled.
            Role::Layer => target.has_urls && is_nondistributable(&target.media_type),
            Role::Config | Role::Child => false,
        };
        let PushedDescriptor { digest, size, media_type, has_urls } = target;
        Self { digest, size, media_type, role, kind, may_be_absent, has_urls }
    }
}

/// Parses the subject of the manifest `top`. It may also be a child of the same manifest.
pub(super) fn subject(top: &Object<'_>) -> Result<Option<PushedDescriptor>, InvalidManifest> {
    top.get("subject")?.map(|json| PushedDescriptor::parse(json, "subject")).transpose()
}

/// Parses all references of the manifest `top` in order, each target once.
pub(super) fn read(
    top: &Object<'_>,
    kind: ManifestKind,
    subject: Option<PushedDescriptor>,
    limit: usize,
) -> Result<Vec<ManifestReference>, InvalidManifest> {
    let mut references = References::new(limit);
    match kind {
        ManifestKind::Image => {
            references.add(PushedDescriptor::parse(top.require("config")?, "config")?, Role::Config)?;
            references.add_list(top, "layers", Role::Layer)?;
        }
        ManifestKind::Index => references.add_list(top, "manifests", Role::Child)?,
        ManifestKind::Artifact => references.add_list(top, "blobs", Role::Layer)?,
    }
    if let Some(subject) = subject {
        references.add(subject, Role::Subject)?;
    }
    Ok(references.list)
}

/// The references so far, and the index of each target.
struct References {
    limit: usize,
    list: Vec<ManifestReference>,
    indexes: HashMap<(Digest, TargetKind), usize>,
}

impl References {
    fn new(limit: usize) -> Self {
        Self { limit, list: Vec::new(), indexes: HashMap::new() }
    }

    /// Adds the descriptors of a list. A missing list is empty: Go's clients write null for an empty one.
    fn add_list(&mut self, top: &Object<'_>, field: &'static str, role: Role) -> Result<(), InvalidManifest> {
        top.for_each(field, |index, json| {
            self.add(PushedDescriptor::parse(json, &format!("{field}[{index}]"))?, role)
        })
    }

    fn add(&mut self, target: PushedDescriptor, role: Role) -> Result<(), InvalidManifest> {
        let new = ManifestReference::new(target, role);
        let index = match self.indexes.entry((new.digest.clone(), new.kind)) {
            Entry::Vacant(_) if self.list.len() == self.limit => {
                return Err(InvalidManifest::TooManyReferences { limit: self.limit });
            }
            Entry::Vacant(entry) => {
                entry.insert(self.list.len());
                self.list.push(new);
                return Ok(());
            }
            Entry::Occupied(entry) => *entry.get(),
        };
        merge(&mut self.list[index], new)
    }
}

/// Merges two references to the same target. The stricter requirement applies.
fn merge(old: &mut ManifestReference, new: ManifestReference) -> Result<(), InvalidManifest> {
    if old.size != new.size {
        return Err(InvalidManifest::TwoSizes { digest: new.digest, first: old.size, second: new.size });
    }
    old.may_be_absent &= new.may_be_absent;
    old.has_urls &= new.has_urls;
    Ok(())
}
