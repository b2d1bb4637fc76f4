//! Lists for people: repositories and tags with what is known of them, sorted, filtered, page by page.

use async_trait::async_trait;

use super::pages::text_weight;
use super::{EdgeKind, Result, Visible, Weigh};
use crate::clock::Timestamp;
use crate::oci::{Digest, RepoName, Tag};

/// What a list is sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SortKey {
    /// The name, in byte order.
    #[default]
    Name,
    /// The bytes.
    Size,
    /// When it was last pushed.
    Pushed,
    /// When it was last pulled; what never was comes before all others.
    Pulled,
}

/// The place of an entry in a list: its sort key, 0 where that is the name, and its name, by which equal
/// ones are sorted. The entry need not exist any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Bytes, or milliseconds since the Unix epoch.
    pub number: i64,
    /// The name.
    pub name: String,
}

/// Which part of a list is asked for, and in what order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListQuery {
    /// Names that begin like this. Only for repositories.
    pub prefix: Option<String>,
    /// Names that have this somewhere in them, in letters of either case.
    pub search: Option<String>,
    /// The order.
    pub sort: SortKey,
    /// Whether it is turned round.
    pub descending: bool,
    /// The place to begin behind.
    pub after: Option<Place>,
    /// The most entries.
    pub limit: usize,
}

/// A page of a sorted list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListPage<T> {
    /// The entries. A page may be short, or empty, though more follow.
    pub items: Vec<T>,
    /// Where the list continues, if more may follow.
    pub next: Option<Continuation>,
}

/// Where a list continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Continuation {
    /// The place behind which it does.
    pub place: Place,
    /// Whether what is there is not shown: then the place must not be shown either.
    pub hidden: bool,
}

/// The most rows that a page looks at where no index finds its entries: then it ends, and the next page continues
/// behind the last row. It takes about 10 ms.
pub const MAX_EXAMINED: usize = 10_000;

/// A repository in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryEntry {
    /// Its name.
    pub name: RepoName,
    /// Its tags.
    pub tags: u64,
    /// Its live manifests.
    pub manifests: u64,
    /// The bytes of the blobs that it serves, each once.
    pub bytes: u64,
    /// When something was last pushed to it, be it gone by now.
    pub pushed_at: Timestamp,
    /// When something was last pulled from it, be it gone by now.
    pub pulled_at: Option<Timestamp>,
}

impl Weigh for RepositoryEntry {
    fn weight(&self) -> usize {
        192 + 2 * self.name.as_str().len()
    }
}

impl RepositoryEntry {
    /// Its place in a list of this order.
    pub fn place(&self, sort: SortKey) -> Place {
        let number = match sort {
            SortKey::Name => 0,
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
    /// What it points at.
    pub manifest: ManifestEntry,
}

impl TagEntry {
    /// Its place in a list of this order.
    pub fn place(&self, sort: SortKey) -> Place {
        let number = match sort {
            SortKey::Name => 0,
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
        512 + self.name.as_str().len() + media_type.len() + text_weight(artifact_type.as_ref()) + platforms
    }
}

/// A live manifest, as lists tell of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestEntry {
    /// Its digest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// What a referrers list shows as its artifact type.
    pub artifact_type: Option<String>,
    /// Its own bytes.
    pub manifest_size: u64,
    /// The bytes of its blobs and of those of its children, each once.
    pub size: u64,
    /// When it was first pushed.
    pub pushed_at: Timestamp,
    /// When it was last pulled.
    pub pulled_at: Option<Timestamp>,
    /// What it runs on, as an image's config or an index says it.
    pub platforms: Vec<String>,
}

/// What is connected with a manifest. Each list ends where it has [`MOST_RELATED`] entries.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Related {
    /// The tags that point at it.
    pub tags: Vec<Tag>,
    /// What it refers to, by digest, and whether that is here.
    pub references: Vec<(Digest, EdgeKind, bool)>,
    /// The live indexes that list it.
    pub indexes: Vec<Digest>,
}

/// The most entries of a list of [`Related`].
pub const MOST_RELATED: usize = 1000;

/// Lists for people.
#[async_trait]
pub trait Listings: Send + Sync {
    /// A page of the repositories that have a live manifest, of those that are `visible`. Looks at no more than
    /// [`MAX_EXAMINED`] others.
    async fn list_repositories(
        &self,
        query: &ListQuery,
        visible: &Visible,
    ) -> Result<ListPage<RepositoryEntry>>;

    /// The names alone, in byte order behind `after`, likewise.
    async fn repository_names(
        &self,
        after: Option<&str>,
        limit: usize,
        visible: &Visible,
    ) -> Result<ListPage<RepoName>>;

    /// A repository that has a live manifest.
    async fn repository_entry(&self, repo: &RepoName) -> Result<Option<RepositoryEntry>>;

    /// A page of a repository's tags. `None` if there is no such repository.
    async fn list_tags(&self, repo: &RepoName, query: &ListQuery) -> Result<Option<ListPage<TagEntry>>>;

    /// A tag.
    async fn tag_entry(&self, repo: &RepoName, tag: &Tag) -> Result<Option<TagEntry>>;

    /// A live manifest, and what is connected with it.
    async fn manifest_entry(
        &self,
        repo: &RepoName,
        digest: &Digest,
    ) -> Result<Option<(ManifestEntry, Related)>>;
}
