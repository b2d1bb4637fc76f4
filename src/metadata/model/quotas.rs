//! Quotas: limits on what repositories may use.

use std::fmt;

use super::Scope;

/// The limits that the repositories of a scope share.
///
/// Bytes are those of blobs and manifests as they were pushed. An object counts once in each repository that
/// has it: a layer that two repositories share counts twice. What a push adds therefore does not depend on
/// other repositories. Deleted objects count until they are collected, because until then they can be restored.
/// Open uploads count as well, in the process that receives them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    /// The repositories.
    pub scope: Scope,
    /// The maximum number of bytes.
    pub bytes: Option<u64>,
    /// The maximum number of tags.
    pub tags: Option<u64>,
    /// The maximum number of repository names.
    pub repositories: Option<u64>,
}

impl Quota {
    /// Returns a quota of `scope` without limits.
    pub fn of(scope: Scope) -> Self {
        Self { scope, bytes: None, tags: None, repositories: None }
    }
}

/// A quota and its current usage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaUse {
    /// The quota.
    pub quota: Quota,
    /// Bytes in use.
    pub bytes: u64,
    /// Number of tags.
    pub tags: u64,
    /// Number of repository names.
    pub repositories: u64,
}

/// How much a change adds to the usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Growth {
    /// Bytes.
    pub bytes: u64,
    /// Tags.
    pub tags: u64,
    /// Repository names.
    pub repositories: u64,
}

impl Growth {
    /// Returns a growth of bytes only.
    pub fn of_bytes(bytes: u64) -> Self {
        Self { bytes, ..Self::default() }
    }
}

/// A resource that a quota limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuotaResource {
    /// Bytes.
    Bytes,
    /// Tags.
    Tags,
    /// Repository names.
    Repositories,
}

impl fmt::Display for QuotaResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bytes => "bytes",
            Self::Tags => "tags",
            Self::Repositories => "repositories",
        })
    }
}

/// A quota that a change would exceed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverQuota {
    /// The repositories of the quota.
    pub scope: Scope,
    /// The limited resource.
    pub resource: QuotaResource,
    /// How much is used.
    pub used: u64,
    /// How much more the change needs, as far as known.
    pub requested: u64,
    /// The limit.
    pub limit: u64,
}

impl fmt::Display for OverQuota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scope, resource, used, requested, limit } = self;
        match scope {
            Scope::All => f.write_str("the quota of this registry")?,
            scope => write!(f, "the quota of {scope}")?,
        }
        write!(f, " is {limit} {resource}: {used} are used, and this needs {requested} more; ")?;
        f.write_str("delete unneeded content (it counts until it is collected) or request a larger quota")
    }
}

impl QuotaUse {
    /// Returns the first limit that this growth would exceed.
    pub fn refuses(&self, growth: Growth) -> Option<OverQuota> {
        self.resources().into_iter().find_map(|(resource, limit, used)| {
            let requested = match resource {
                QuotaResource::Bytes => growth.bytes,
                QuotaResource::Tags => growth.tags,
                QuotaResource::Repositories => growth.repositories,
            };
            let limit = limit.filter(|limit| requested > 0 && used.saturating_add(requested) > *limit)?;
            Some(OverQuota { scope: self.quota.scope.clone(), resource, used, requested, limit })
        })
    }

    /// Returns the limits that are exceeded already, for example after an upgrade or because a setting was
    /// lowered.
    pub fn exceeded(&self) -> impl Iterator<Item = ExceededQuota> {
        self.resources().into_iter().filter_map(|(resource, limit, used)| {
            let limit = limit.filter(|limit| used > *limit)?;
            Some(ExceededQuota { scope: self.quota.scope.clone(), resource, used, limit })
        })
    }

    fn resources(&self) -> [(QuotaResource, Option<u64>, u64); 3] {
        [
            (QuotaResource::Bytes, self.quota.bytes, self.bytes),
            (QuotaResource::Tags, self.quota.tags, self.tags),
            (QuotaResource::Repositories, self.quota.repositories, self.repositories),
        ]
    }
}

/// A limit that is exceeded already. Existing content stays; only growth is rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExceededQuota {
    /// The repositories of the quota.
    pub scope: Scope,
    /// The limited resource.
    pub resource: QuotaResource,
    /// How much is used.
    pub used: u64,
    /// The limit.
    pub limit: u64,
}

impl fmt::Display for ExceededQuota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scope, resource, used, limit } = self;
        match scope {
            Scope::All => f.write_str("the quota of this registry")?,
            scope => write!(f, "the quota of {scope}")?,
        }
        write!(f, " is exceeded: {used} of {limit} {resource} are used; ")?;
        f.write_str("nothing is deleted, but pushes that add more are rejected")
    }
}

/// What was removed to free space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reclaimed {
    /// Manifests that left the trash or were purged further.
    pub manifests: u64,
    /// Links to blobs.
    pub links: u64,
}
