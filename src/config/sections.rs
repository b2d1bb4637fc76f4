//! The sections with their defaults.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::units::{Budget, Count, LogFilter, Percent, Period, Size, Span, Untagged};
use crate::metadata::Scope;
use crate::retention::{Policies, Policy, TagList};

/// The bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Storage {
    /// The data directory.
    pub data: PathBuf,
    /// Below this much free space no new body is taken.
    pub min_free: Size,
    /// Below this much free space the low disk is warned of.
    pub warn_free: Size,
    /// Refuse every change.
    pub read_only: bool,
    /// The most that the registry takes; default: all that is free.
    pub budget: Option<Budget>,
    /// Above this part of the budget room is made.
    pub high_mark: Percent,
    /// Until it is below this part.
    pub low_mark: Percent,
    /// How long writers wait for room at the budget.
    pub budget_wait: Span,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            data: PathBuf::from("./orlop-data"),
            min_free: Size::mib(512),
            warn_free: Size::mib(2048),
            read_only: false,
            budget: None,
            high_mark: Percent(90),
            low_mark: Percent(80),
            budget_wait: Span::seconds(30),
        }
    }
}

impl Storage {
    /// Lets the warning come before the refusals where only these were set.
    pub(super) fn warn_before_full(&mut self) {
        self.warn_free = self.warn_free.max(Size(self.min_free.0.saturating_mul(2)));
    }
}

/// The facts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Metadata {
    /// Where the database is; default: `metadata` in the data directory.
    pub dir: Option<PathBuf>,
}

/// Whether an index may refer to children that are absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sparse {
    /// It is refused, naming what is missing.
    Refuse,
    /// It is accepted.
    Allow,
}

/// What manifests are accepted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Manifests {
    /// The most bytes that a manifest may have.
    pub max_size: Size,
    /// The most descriptors that a manifest may refer to.
    pub max_references: Count,
    /// The most tags that one push may set.
    pub max_tags: Count,
    /// Whether an index may refer to children that are absent.
    pub sparse: Sparse,
}

impl Default for Manifests {
    fn default() -> Self {
        Self {
            max_size: Size::mib(4),
            max_references: Count(10_000),
            max_tags: Count(100),
            sparse: Sparse::Refuse,
        }
    }
}

/// How blobs come in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Uploads {
    /// How long an upload of which nothing is heard is kept.
    pub expire: Span,
    /// The most request bodies that are taken at once.
    pub parallel: Count,
    /// How long a request waits for its turn among them.
    pub queue_timeout: Span,
    /// The most bytes that a blob may have.
    pub max_size: Size,
}

impl Default for Uploads {
    fn default() -> Self {
        Self {
            expire: Span::hours(24),
            parallel: Count(64),
            queue_timeout: Span::seconds(30),
            max_size: Size::mib(1 << 20),
        }
    }
}

/// What is collected, and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gc {
    /// How long the collector rests when nothing is left to do, give or take a tenth.
    pub interval: Span,
    /// How long what a pusher was told to be there is kept for its manifest.
    pub lease: Span,
    /// How long at least, while room is made for the budget; never longer than the lease.
    pub lease_pressure: Span,
    /// How long what was deleted can be brought back.
    pub trash: Span,
    /// How long a manifest that no tag, index or subject holds is kept.
    pub untagged: Untagged,
    /// How many rows one step of the collector takes.
    pub batch: Count,
}

impl Default for Gc {
    fn default() -> Self {
        Self {
            interval: Span::seconds(600),
            lease: Span::hours(24),
            lease_pressure: Span::hours(1),
            trash: Span::hours(24),
            untagged: Untagged::After(Span::hours(14 * 24)),
            batch: Count(500),
        }
    }
}

/// How everything that is stored is read again and checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scrub {
    /// The time in which every byte is read once.
    pub period: Period,
    /// The most bytes that are read for it in a second.
    pub rate: Size,
}

impl Default for Scrub {
    fn default() -> Self {
        Self { period: Period::Every(Span::hours(30 * 24)), rate: Size::mib(32) }
    }
}

/// What is remembered of tags.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct History {
    /// How many changes of each tag are kept.
    pub keep: Count,
    /// How many changes of all tags of a repository are kept together. The oldest go first.
    pub max_rows: Count,
    /// How long the history of a tag that was taken away is kept.
    pub removed: Span,
}

impl Default for History {
    fn default() -> Self {
        Self { keep: Count(100), max_rows: Count(100_000), removed: Span::hours(90 * 24) }
    }
}

/// What is remembered of what happened to the store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Events {
    /// How long an event is kept.
    pub keep: Span,
    /// How many events of each kind are kept.
    pub most: Count,
}

impl Default for Events {
    fn default() -> Self {
        Self { keep: Span::hours(90 * 24), most: Count(1000) }
    }
}

/// What is remembered of who did what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Audit {
    /// How long an entry is kept.
    pub keep: Span,
    /// How many entries of each outcome are kept.
    pub most: Count,
    /// A file that they are appended to as well, as JSON lines.
    pub file: Option<PathBuf>,
}

impl Default for Audit {
    fn default() -> Self {
        Self { keep: Span::hours(90 * 24), most: Count(100_000), file: None }
    }
}

/// What the repositories of a scope may use together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuotaSetting {
    /// A repository, or a prefix with a slash at its end; nothing for all of them.
    pub prefix: Scope,
    /// The most bytes of blobs, manifests and open uploads, each once in each repository that has it.
    pub bytes: Option<Size>,
    /// The most tags.
    pub tags: Option<Count>,
    /// The most names of repositories.
    pub repositories: Option<Count>,
}

/// What stays and what goes by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// How often all repositories are judged, give or take a tenth.
    pub interval: Span,
    /// The policies.
    pub policies: Vec<Policy>,
    /// Tags that no rule may expire.
    pub protected: Vec<TagList>,
    /// Tags that no rule may expire, and that nobody may move or delete.
    pub immutable: Vec<TagList>,
}

impl Default for Retention {
    fn default() -> Self {
        let (policies, protected, immutable) = Default::default();
        Self { interval: Span::hours(1), policies, protected, immutable }
    }
}

impl Retention {
    /// What it says of repositories.
    pub fn policies(&self) -> Policies {
        let Self { policies, protected, immutable, .. } = self.clone();
        Policies { policies, protected, immutable }
    }
}

/// Tag lists, the catalog and referrers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lists {
    /// How many items a page has when the client does not say.
    pub page: Count,
    /// The most items that a client may ask for in one page.
    pub max_page: Count,
}

impl Default for Lists {
    fn default() -> Self {
        Self { page: Count(1000), max_page: Count(10_000) }
    }
}

/// Who may change something through the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Changes {
    /// Whoever may use the admin socket.
    Socket,
    /// Whoever reaches the port.
    Anyone,
}

/// The API for people and programs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Api {
    /// Who may change something through it.
    pub changes: Changes,
}

impl Default for Api {
    fn default() -> Self {
        Self { changes: Changes::Socket }
    }
}

/// Requests that the registry makes to others.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Outbound {
    /// A PEM file with the certificates of authorities that are trusted besides those that the machine trusts.
    pub ca_file: Option<PathBuf>,
}

/// What `/metrics` tells by name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// How many of the largest, by the first segment of repositories' names.
    pub repositories: Count,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { repositories: Count(50) }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text, with colours on a terminal.
    Auto,
    /// Text without colours.
    Text,
    /// One JSON object a line.
    Json,
}

/// What the server tells its operator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// How lines look.
    pub format: LogFormat,
    /// What is worth a line.
    pub level: LogFilter,
    /// Whether each request gets a line.
    pub access: bool,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Auto, level: LogFilter::default(), access: true }
    }
}
