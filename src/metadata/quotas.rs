//! What repositories may use.

use std::fmt;

use async_trait::async_trait;

use super::{CollectionRules, Result, Scope, Target};
use crate::oci::RepoName;

/// What the repositories of a scope may use together.
///
/// Bytes are those of blobs and manifests as they were pushed, each once in each repository that has it: a layer that
/// two of them share counts twice, as if each were alone. So what a push adds does not depend on its neighbours. What
/// was deleted counts until it is collected, for until then it can be brought back. Open uploads count as well, in the
/// process that takes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    /// Which repositories.
    pub scope: Scope,
    /// The most bytes.
    pub bytes: Option<u64>,
    /// The most tags.
    pub tags: Option<u64>,
    /// The most names of repositories.
    pub repositories: Option<u64>,
}

impl Quota {
    /// A quota of `scope` without any limit.
    pub fn of(scope: Scope) -> Self {
        Self { scope, bytes: None, tags: None, repositories: None }
    }
}

/// A quota, and what is used of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaUse {
    /// The quota.
    pub quota: Quota,
    /// Bytes used.
    pub bytes: u64,
    /// Tags there are.
    pub tags: u64,
    /// Names of repositories there are.
    pub repositories: u64,
}

/// How much a change adds to what is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Growth {
    /// Bytes.
    pub bytes: u64,
    /// Tags.
    pub tags: u64,
    /// Names of repositories.
    pub repositories: u64,
}

impl Growth {
    /// Bytes alone.
    pub fn of_bytes(bytes: u64) -> Self {
        Self { bytes, ..Self::default() }
    }
}

/// What a quota is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metered {
    /// Bytes.
    Bytes,
    /// Tags.
    Tags,
    /// Names of repositories.
    Repositories,
}

impl fmt::Display for Metered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bytes => "bytes",
            Self::Tags => "tags",
            Self::Repositories => "repositories",
        })
    }
}

/// A quota that a change would pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverQuota {
    /// Whose it is.
    pub scope: Scope,
    /// Of what.
    pub of: Metered,
    /// How much is used.
    pub used: u64,
    /// How much more was wanted, as far as is known.
    pub wanted: u64,
    /// The quota.
    pub limit: u64,
}

impl fmt::Display for OverQuota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scope, of, used, wanted, limit } = self;
        match scope {
            Scope::All => f.write_str("the quota of this registry")?,
            scope => write!(f, "the quota of {scope}")?,
        }
        write!(f, " is {limit} {of}: {used} are used, and this needs {wanted} more; ")?;
        f.write_str(
            "delete what is not needed (its space counts until it is collected) or ask for a larger one",
        )
    }
}

impl QuotaUse {
    /// What stands in the way of so much more.
    pub fn refuses(&self, growth: Growth) -> Option<OverQuota> {
        self.metered().into_iter().find_map(|(of, limit, used)| {
            let wanted = match of {
                Metered::Bytes => growth.bytes,
                Metered::Tags => growth.tags,
                Metered::Repositories => growth.repositories,
            };
            let limit = limit.filter(|limit| wanted > 0 && used.saturating_add(wanted) > *limit)?;
            Some(OverQuota { scope: self.quota.scope.clone(), of, used, wanted, limit })
        })
    }

    /// The limits that are passed already, after an upgrade or since a setting was lowered.
    pub fn exceeded(&self) -> impl Iterator<Item = ExceededQuota> {
        self.metered().into_iter().filter_map(|(of, limit, used)| {
            let limit = limit.filter(|limit| used > *limit)?;
            Some(ExceededQuota { scope: self.quota.scope.clone(), of, used, limit })
        })
    }

    fn metered(&self) -> [(Metered, Option<u64>, u64); 3] {
        [
            (Metered::Bytes, self.quota.bytes, self.bytes),
            (Metered::Tags, self.quota.tags, self.tags),
            (Metered::Repositories, self.quota.repositories, self.repositories),
        ]
    }
}

/// A limit of a quota that is passed already: what is there stays, and only growth is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExceededQuota {
    /// Whose it is.
    pub scope: Scope,
    /// Of what.
    pub of: Metered,
    /// How much is used.
    pub used: u64,
    /// The limit.
    pub limit: u64,
}

impl fmt::Display for ExceededQuota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scope, of, used, limit } = self;
        match scope {
            Scope::All => f.write_str("the quota of this registry")?,
            scope => write!(f, "the quota of {scope}")?,
        }
        write!(f, " is exceeded: {used} {of} are used of {limit}; what is there stays, and growth is refused")
    }
}

/// What was removed to make room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Relieved {
    /// Manifests that left the trash or were purged further.
    pub manifests: u64,
    /// Links to blobs.
    pub links: u64,
}

/// Quotas. They are checked in the transactions that would pass them.
#[async_trait]
pub trait Quotas: Send + Sync {
    /// Makes these the quotas that hold. What is used of a new one is added up.
    async fn set_quotas(&self, quotas: &[Quota]) -> Result<()>;

    /// The quotas that hold for `repo`, or with `None` all, and what is used of them.
    async fn quotas(&self, repo: Option<&RepoName>) -> Result<Vec<QuotaUse>>;

    /// What is used of these quotas, whether they hold or not. Looks at every repository of each.
    async fn measure_quotas(&self, quotas: &[Quota]) -> Result<Vec<QuotaUse>>;

    /// Whether `repo` has this manifest in whatever state, or a link to this blob: storing it again adds nothing.
    async fn is_counted(&self, repo: &RepoName, target: Target<'_>) -> Result<bool>;

    /// Removes, before its turn, what may go of the repositories of `scope`: up to `trash` manifests of the trash,
    /// oldest first, what is being purged, and links and orphans that nothing holds and whose leases are over by
    /// `rules`. With `trash` also blobs that were deleted. Removes about `rows` rows.
    async fn relieve(
        &self,
        scope: &Scope,
        rules: &CollectionRules,
        trash: usize,
        rows: usize,
    ) -> Result<Relieved>;
}
