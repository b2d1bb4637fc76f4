//! What repositories may use.

use std::fmt;

use async_trait::async_trait;

use super::{Result, Scope};
use crate::oci::RepoName;

/// What the repositories of a scope may use together.
///
/// Bytes are those that were pushed, each blob once in each repository that has it: a layer that two of them
/// share counts twice, as if each were alone. So what a push adds does not depend on its neighbours. What was
/// deleted counts until it is collected, for until then it can be brought back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    /// Which repositories.
    pub scope: Scope,
    /// The most bytes.
    pub bytes: Option<u64>,
    /// The most tags.
    pub tags: Option<u64>,
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
}

/// What a quota is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metered {
    /// Bytes.
    Bytes,
    /// Tags.
    Tags,
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
        let unit = match of {
            Metered::Bytes => "bytes",
            Metered::Tags => "tags",
        };
        match scope {
            Scope::All => f.write_str("the quota of this registry")?,
            scope => write!(f, "the quota of {scope}")?,
        }
        write!(f, " is {limit} {unit}: {used} are used, and this needs {wanted} more; ")?;
        f.write_str(
            "delete what is not needed (its space counts until it is collected) or ask for a larger one",
        )
    }
}

impl QuotaUse {
    /// What stands in the way of so much more.
    pub fn refuses(&self, bytes: u64, tags: u64) -> Option<OverQuota> {
        let over = |of, limit: Option<u64>, used: u64, wanted: u64| {
            let limit = limit.filter(|limit| wanted > 0 && used.saturating_add(wanted) > *limit)?;
            Some(OverQuota { scope: self.quota.scope.clone(), of, used, wanted, limit })
        };
        over(Metered::Bytes, self.quota.bytes, self.bytes, bytes)
            .or_else(|| over(Metered::Tags, self.quota.tags, self.tags, tags))
    }
}

/// Quotas. They are checked in the transactions that would pass them.
#[async_trait]
pub trait Quotas: Send + Sync {
    /// Makes these the quotas that hold. What is used of a new one is added up.
    async fn set_quotas(&self, quotas: &[Quota]) -> Result<()>;

    /// The quotas that hold for `repo`, or with `None` all, and what is used of them.
    async fn quotas(&self, repo: Option<&RepoName>) -> Result<Vec<QuotaUse>>;
}
