//! Sorted, filtered and paged lists of repositories and tags with their details, for people.

use super::pages::text_weight;
use super::{EdgeKind, Weigh};
use crate::clock::Timestamp;
use crate::oci::{Digest, RepoName, Tag};

/// What a list is sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SortKey {
    /// The name, in byte order.
    #[default]
    Name,
    /// The size in bytes.
    Size,
    /// The time of the last push.
    Pushed,
    /// The time of the last pull. Entries that were never pulled come first.
    Pulled,
    /// The version that a tag names: 1.9 comes before 1.10. For repositories this is the order of names.
    Version,
}

/// The position of an entry in a list: its sort key (0 when sorted by name or version) and its name, which
/// orders entries with equal keys. The entry need not exist any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Bytes, or milliseconds since the Unix epoch.
    pub number: i64,
    /// The name.
    pub name: String,
}

/// Selects and orders a part of a list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListQuery {
    /// Only names that start with this. For repositories only.
    pub prefix: Option<String>,
    /// Only names that contain this text, ignoring case.
    pub search: Option<String>,
    /// The sort key.
    pub sort: SortKey,
    /// Whether to reverse the order.
    pub descending: bool,
    /// The position after which the page starts.
    pub after: Option<Place>,
    /// The maximum number of entries.
    pub limit: usize,
}

/// A page of a sorted list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListPage<T> {
    /// The entries. A page may be short or empty although more follow.
    pub items: Vec<T>,
    /// Where the list continues, if more may follow.
    pub next: Option<Continuation>,
}

/// Where a list continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Continuation {
    /// The position after which the list continues.
    pub place: Place,
    /// Whether the entry at this position is not visible to the client. Then the position must not be disclosed
    /// either.
    pub hidden: bool,
}

/// The maximum number of rows that a page reads where no index finds its entries. The page then ends, and the
/// next one continues after the last row read. This takes about 10 ms.
pub const MAX_EXAMINED: usize = 10_000;

/// A repository in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryEntry {
    /// Its name.
    pub name: RepoName,
    /// Number of tags.
    pub tags: u64,
    /// Number of live manifests.
    pub manifests: u64,
    /// The bytes of the blobs it serves. A blob counts once.
    pub bytes: u64,
    /// When something was last pushed to it, even if that is gone by now.
    pub pushed_at: Timestamp,
    /// When something was last pulled from it, even if that is gone by now.
    pub pulled_at: Option<Timestamp>,
    /// What users wrote about it, as plain text.
    pub description: Option<String>,
}

impl Weigh for RepositoryEntry {
    fn weight(&self) -> usize {
        192 + 2 * self.name.as_str().len() + 2 * text_weight(self.description.as_ref())
    }
}

impl RepositoryEntry {
    /// Returns its position in a list sorted by `sort`.
    pub fn place(&self, sort: SortKey) -> Place {
        let number = match sort {
            SortKey::Name | SortKey::Version => 0,
            SortKey::Size => self.bytes.cast_signed(),
            SortKey::Pushed => self.pushed_at.0,
            SortKey::Pulled => self.pulled_at.map_or(0, |at| at.0),
        };
        Place { number, name: self.name.as_str().to_owned() }
    }
}

/// A tag in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagEntry {
    /// Its name.
    pub name: Tag,
    /// When it was last pushed or moved.
    pub pushed_at: Timestamp,
    /// The manifest it points at.
    pub manifest: ManifestEntry,
    /// Who made it point at this manifest, if known.
    pub pushed_by: Option<String>,
    /// Other tags that point at the same manifest: up to [`MAX_ALIASES`], sorted.
    pub aliases: Vec<Tag>,
}

/// The maximum number of other tags of the same manifest that are listed with a tag.
pub const MAX_ALIASES: usize = 5;

impl TagEntry {
    /// Returns its position in a list sorted by `sort`.
    pub fn place(&self, sort: SortKey) -> Place {
        let number = match sort {
            SortKey::Name | SortKey::Version => 0,
            SortKey::Size => self.manifest.size.cast_signed(),
            SortKey::Pushed => self.pushed_at.0,
            SortKey::Pulled => self.manifest.pulled_at.map_or(0, |at| at.0),
        };
        Place { number, name: self.name.as_str().to_owned() }
    }
}

impl Weigh for TagEntry {
    fn weight(&self) -> usize {
        let ManifestEntry { media_type, artifact_type, platforms, .. } = &self.manifest;
        let platforms: usize = platforms.iter().map(|platform| platform.len() + 32).sum();
        let aliases: usize = self.aliases.iter().map(|alias| alias.as_str().len() + 32).sum();
        let texts = text_weight(artifact_type.as_ref()) + text_weight(self.pushed_by.as_ref());
        512 + self.name.as_str().len() + media_type.len() + texts + platforms + aliases
    }
}

/// A live manifest in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestEntry {
    /// Its digest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// The artifact type that a referrers list shows.
    pub artifact_type: Option<String>,
    /// The size of the manifest itself in bytes.
    pub manifest_size: u64,
    /// The bytes of its blobs and of the blobs of its children. A blob counts once.
    pub size: u64,
    /// When it was first pushed.
    pub pushed_at: Timestamp,
    /// When it was last pulled.
    pub pulled_at: Option<Timestamp>,
    /// The platforms it runs on, according to the image's config or the index.
    pub platforms: Vec<String>,
}

/// The tags, references and indexes of a manifest. Each list has at most [`MAX_RELATED`] entries.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Related {
    /// The tags that point at it.
    pub tags: Vec<Tag>,
    /// The digests it refers to, how, and whether each target exists here.
    pub references: Vec<(Digest, EdgeKind, bool)>,
    /// The live indexes that list it.
    pub indexes: Vec<Digest>,
}

/// The maximum number of entries in each list of [`Related`].
pub const MAX_RELATED: usize = 1000;

/// A number that was counted up to a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// What was counted.
    pub number: u64,
    /// Whether there may be more.
    pub more: bool,
}

/// The number up to which tags that share a blob are counted.
pub const MAX_COUNTED_TAGS: u64 = 100;

/// A live manifest that no tag, index or subject holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UntaggedManifest {
    /// The manifest.
    pub manifest: ManifestEntry,
    /// The rule of a policy that keeps it.
    pub pinned_by: Option<String>,
    /// When it moves to the trash at the earliest, unless it is pulled or held until then. `None` if it is kept.
    pub expires_at: Option<Timestamp>,
}

impl Weigh for UntaggedManifest {
    fn weight(&self) -> usize {
        let ManifestEntry { media_type, artifact_type, platforms, .. } = &self.manifest;
        let platforms: usize = platforms.iter().map(|platform| platform.len() + 32).sum();
        let texts = text_weight(artifact_type.as_ref()) + text_weight(self.pinned_by.as_ref());
        512 + media_type.len() + texts + platforms
    }
}

/// A page of untagged manifests, in the order of their digests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UntaggedPage {
    /// The manifests. A page may be short or empty although more follow.
    pub items: Vec<UntaggedManifest>,
    /// The digest after which more may follow.
    pub next: Option<Digest>,
}

/// A name directly below another one, in a tree of repositories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceEntry {
    /// The whole name.
    pub name: RepoName,
    /// Whether it is a repository itself.
    pub is_repository: bool,
    /// The number of repositories below it, which have a longer name.
    pub below: Count,
}

/// A tag that a search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundTag {
    /// Its repository.
    pub repo: RepoName,
    /// The tag.
    pub tag: Tag,
    /// When it was last pushed or moved.
    pub pushed_at: Timestamp,
    /// The manifest that it points at.
    pub digest: Digest,
}

/// A manifest or blob that a search found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundDigest {
    /// A repository that has it.
    pub repo: RepoName,
    /// Its digest.
    pub digest: Digest,
}

/// What a search found in the repositories that a client may read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SearchResults {
    /// Repositories whose names contain the text, in the order of names.
    pub repositories: Vec<RepositoryEntry>,
    /// Whether more repositories match.
    pub more_repositories: bool,
    /// Tags that start with the text; those of the repositories that were pushed to last come first.
    pub tags: Vec<FoundTag>,
    /// Whether more tags match.
    pub more_tags: bool,
    /// Manifests whose digests start with the text.
    pub manifests: Vec<FoundDigest>,
    /// Blobs whose digests start with the text.
    pub blobs: Vec<FoundDigest>,
    /// Whether there are so many repositories that tags and manifests were searched only in those that were pushed to
    /// last.
    pub incomplete: bool,
}
