//! Something that was removed, as the list of the trash tells of it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::access::View;
use super::{ChangeKind, Time};
use crate::clock::Timestamp;
use crate::metadata::LostTag;
use crate::registry::{Recoverable, RecoverableKind, RecoverablePlace};

/// What kind of thing was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RemovedKind {
    /// A manifest, with the tags that pointed at it.
    Manifest,
    /// A tag whose manifest is still there.
    Tag,
}

/// Something that was removed and can be brought back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Removed {
    /// What kind of thing it is.
    pub kind: RemovedKind,
    /// The repository that it was removed from.
    pub repository: String,
    /// The manifest's digest; for a tag, of the manifest that it pointed at.
    pub digest: String,
    /// The manifest's media type; `null` for a tag.
    #[schema(required)]
    pub media_type: Option<String>,
    /// The manifest's own bytes; `null` for a tag.
    #[schema(required)]
    pub manifest_size: Option<u64>,
    /// When it was removed.
    pub removed_at: Time,
    /// Until when it can be brought back; a tag only as long as its manifest is there.
    pub kept_until: Time,
    /// The tag, or the tags that went with the manifest: the first hundred.
    pub tags: Vec<RemovedTag>,
}

/// A tag that was removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RemovedTag {
    /// Its name.
    pub name: String,
    /// How it went: `delete` or `expiry`.
    pub kind: ChangeKind,
    /// By whom, if that is known.
    #[schema(required)]
    pub by: Option<String>,
    /// Why, if that is known: for an expiry the policy and its rule.
    #[schema(required)]
    pub reason: Option<String>,
}

impl From<LostTag> for RemovedTag {
    fn from(lost: LostTag) -> Self {
        let name = lost.tag.as_str().into();
        Self { name, kind: lost.kind.into(), by: lost.by, reason: lost.reason }
    }
}

/// What `item` is on this wire.
pub(super) fn removed(view: &View, item: Recoverable) -> Removed {
    let place = item.place();
    let kept_until = view.kept_until(place.kind, place.removed_at).into();
    match item {
        Recoverable::Manifest(manifest) => Removed {
            kind: RemovedKind::Manifest,
            repository: manifest.repo.to_string(),
            digest: manifest.digest.to_string(),
            media_type: Some(manifest.media_type),
            manifest_size: Some(manifest.size),
            removed_at: manifest.removed_at.into(),
            kept_until,
            tags: manifest.tags.into_iter().map(RemovedTag::from).collect(),
        },
        Recoverable::Tag(tag) => Removed {
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

/// A place as pages tell it.
pub(super) struct Cursor(pub(super) RecoverablePlace);

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RecoverablePlace { removed_at, kind, id } = self.0;
        let kind = if kind == RecoverableKind::Manifest { "manifest" } else { "tag" };
        write!(f, "{}:{kind}:{id}", removed_at.0)
    }
}

impl FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.splitn(3, ':');
        let (at, kind, id) = (parts.next(), parts.next(), parts.next());
        let kind = match kind {
            Some("manifest") => RecoverableKind::Manifest,
            Some("tag") => RecoverableKind::Tag,
            _ => return Err(()),
        };
        let number = |text: Option<&str>| text.and_then(|text| text.parse().ok()).ok_or(());
        Ok(Self(RecoverablePlace { removed_at: Timestamp(number(at)?), kind, id: number(id)? }))
    }
}
