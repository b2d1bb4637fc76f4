//! The items in listings of the trash, and the cursors of its pages.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ChangeKind, Time};
use crate::clock::Timestamp;
use crate::metadata::LostTag;
use crate::reports::{TrashEntry, TrashEntryKind, TrashItem, TrashListingPosition};

/// The kind of a removed item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RemovedKind {
    /// A manifest and the tags that pointed at it.
    Manifest,
    /// A tag whose manifest still exists.
    Tag,
}

/// A removed item that can be restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Removed {
    /// The kind of item.
    pub kind: RemovedKind,
    /// The repository that it was removed from.
    pub repository: String,
    /// The manifest's digest; for a tag, the digest of the manifest that it pointed at.
    pub digest: String,
    /// The manifest's media type; `null` for a tag.
    #[schema(required)]
    pub media_type: Option<String>,
    /// The size of the manifest itself in bytes; `null` for a tag.
    #[schema(required)]
    pub manifest_size: Option<u64>,
    /// When it was removed.
    pub removed_at: Time,
    /// The time until which it can be restored; a tag only while its manifest exists.
    pub kept_until: Time,
    /// The tag, or the first hundred of the tags removed with the manifest.
    pub tags: Vec<RemovedTag>,
}

/// A tag that was removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RemovedTag {
    /// Its name.
    pub name: String,
    /// How it was removed: `delete` or `expiry`.
    pub kind: ChangeKind,
    /// Who removed it, if known.
    #[schema(required)]
    pub by: Option<String>,
    /// The reason, if known: for an expiry, the policy and its rule.
    #[schema(required)]
    pub reason: Option<String>,
}

impl From<LostTag> for RemovedTag {
    fn from(lost: LostTag) -> Self {
        let name = lost.tag.as_str().into();
        Self { name, kind: lost.kind.into(), by: lost.by, reason: lost.reason }
    }
}

impl From<TrashItem> for Removed {
    fn from(TrashItem { entry, kept_until }: TrashItem) -> Self {
        let kept_until = kept_until.into();
        match entry {
            TrashEntry::Manifest(manifest) => Self {
                kind: RemovedKind::Manifest,
                repository: manifest.repo.to_string(),
                digest: manifest.digest.to_string(),
                media_type: Some(manifest.media_type),
                manifest_size: Some(manifest.size),
                removed_at: manifest.removed_at.into(),
                kept_until,
                tags: manifest.tags.into_iter().map(RemovedTag::from).collect(),
            },
            TrashEntry::Tag(tag) => Self {
                kind: RemovedKind::Tag,
                repository: tag.repo.to_string(),
                digest: tag.digest.to_string(),
                media_type: None,
                manifest_size: None,
                removed_at: tag.removed_at.into(),
                kept_until,
                tags: vec![tag.lost.into()],
            },
        }
    }
}

/// A position in the trash, as the cursor of a page.
pub(in crate::http) struct Cursor(pub(in crate::http) TrashListingPosition);

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TrashListingPosition { removed_at, kind, id } = self.0;
        let kind = if kind == TrashEntryKind::Manifest { "manifest" } else { "tag" };
        write!(f, "{}:{kind}:{id}", removed_at.0)
    }
}

impl FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.splitn(3, ':');
        let at = parts.next();
        let kind = match parts.next() {
            Some("manifest") => TrashEntryKind::Manifest,
            Some("tag") => TrashEntryKind::Tag,
            _ => return Err(()),
        };
        let number = |text: Option<&str>| text.and_then(|text| text.parse().ok()).ok_or(());
        Ok(Self(TrashListingPosition { removed_at: Timestamp(number(at)?), kind, id: number(parts.next())? }))
    }
}
