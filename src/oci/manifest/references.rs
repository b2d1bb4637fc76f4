//! What a manifest refers to.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::descriptor::PushedDescriptor;
use super::object::Object;
use super::{InvalidManifest, ManifestKind};
use crate::oci::Digest;
use crate::oci::media_type::{is_nondistributable, manifest_kind};

/// What a target is to the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// An image's config.
    Config,
    /// An image's layer, or an artifact's blob.
    Layer,
    /// A member of an index.
    Child,
    /// What the manifest is about.
    Subject,
}

/// Where a target is to be looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TargetKind {
    /// Among the blobs.
    Blob,
    /// Among the manifests.
    Manifest,
}

/// Something that a manifest refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestReference {
    /// What it refers to.
    pub digest: Digest,
    /// The target's length in bytes, as the manifest has it.
    pub size: u64,
    /// The target's type, as the manifest has it.
    pub media_type: String,
    /// What the target is to the manifest: the first role, if there are several.
    pub role: Role,
    /// Where to look for it.
    pub kind: TargetKind,
    /// Whether the manifest is whole without it.
    pub may_be_absent: bool,
    /// Whether the manifest says from where else it can be had.
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
            // Without a place to fetch it from, nobody could ever pull it.
            Role::Layer => target.has_urls && is_nondistributable(&target.media_type),
            Role::Config | Role::Child => false,
        };
        let PushedDescriptor { digest, size, media_type, has_urls } = target;
        Self { digest, size, media_type, role, kind, may_be_absent, has_urls }
    }
}

/// Reads what the manifest `top` is about. It may be a child of the same manifest as well.
pub(super) fn subject(top: &Object<'_>) -> Result<Option<PushedDescriptor>, InvalidManifest> {
    top.get("subject")?.map(|json| PushedDescriptor::parse(json, "subject")).transpose()
}

/// Reads everything that the manifest `top` refers to, in its order, each target once.
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

/// The references so far, and where each target is among them.
struct References {
    limit: usize,
    list: Vec<ManifestReference>,
    places: HashMap<(Digest, TargetKind), usize>,
}

impl References {
    fn new(limit: usize) -> Self {
        Self { limit, list: Vec::new(), places: HashMap::new() }
    }

    /// Adds a list's descriptors. A list that is not there is empty: Go's clients write null for that.
    fn add_list(&mut self, top: &Object<'_>, field: &'static str, role: Role) -> Result<(), InvalidManifest> {
        top.for_each(field, |index, json| {
            self.add(PushedDescriptor::parse(json, &format!("{field}[{index}]"))?, role)
        })
    }

    fn add(&mut self, target: PushedDescriptor, role: Role) -> Result<(), InvalidManifest> {
        let new = ManifestReference::new(target, role);
        let place = match self.places.entry((new.digest.clone(), new.kind)) {
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
        merge(&mut self.list[place], new)
    }
}

/// One target that is referred to twice: the stricter demand holds.
fn merge(old: &mut ManifestReference, new: ManifestReference) -> Result<(), InvalidManifest> {
    if old.size != new.size {
        return Err(InvalidManifest::TwoSizes { digest: new.digest, first: old.size, second: new.size });
    }
    old.may_be_absent &= new.may_be_absent;
    old.has_urls &= new.has_urls;
    Ok(())
}
