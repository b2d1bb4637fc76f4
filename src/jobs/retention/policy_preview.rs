//! Checks a policy before it is set: warns about oddities in it, and about repositories it would leave without tags.

use super::errors::PolicyChangeError;
use super::plan::RepoRows;
use super::policy_set::Proposed;
use super::{MAX_EVALUATED_TAGS, Retention};
use crate::memory::{Holder, Purpose, Reservation};
use crate::oci::RepoName;
use crate::registry::ServiceError;
use crate::retention::{Expiry, MAX_COMPILED_BYTES, Place, Policy, Warning, WarningKind};

/// The maximum number of repositories for which the effect of a policy is computed. For more, the user makes a plan.
const MAX_REPOSITORIES: usize = 100;

/// The maximum number of repositories named in a warning.
const MAX_NAMED: usize = 10;

impl Retention {
    /// Returns warnings about a policy, for example that it would leave repositories without a tag. Changes nothing.
    ///
    /// # Errors
    /// Fails if the policy has a mistake or belongs to the configuration file, or if a store fails.
    pub async fn check(&self, policy: &Policy) -> Result<Vec<String>, PolicyChangeError> {
        let proposed = {
            let _memory = self.reserve_compile_memory().await?;
            self.policies.propose(policy).await?
        };
        let name = policy.name_or_preset().to_owned();
        let emptied = self.emptied_repositories(&name, &proposed).await?;
        let emptied = (!emptied.is_empty()).then(|| Warning {
            place: Place::Policy(name),
            kind: WarningKind::Empties(format_names(&emptied)),
        });
        Ok(proposed.warnings.iter().chain(&emptied).map(Warning::to_string).collect())
    }

    /// Sets a policy for `by`, in force from now on. Returns warnings about it.
    ///
    /// # Errors
    /// Fails if the policy has a mistake or belongs to the configuration file, or if a store fails. Nothing has changed
    /// then.
    pub async fn set(&self, policy: &Policy, by: Option<&str>) -> Result<Vec<String>, PolicyChangeError> {
        let warnings = self.check(policy).await?;
        let _memory = self.reserve_compile_memory().await?;
        self.policies.put(&self.registry, policy, by).await?;
        Ok(warnings)
    }

    /// Runs `work`, which compiles policies, within the memory budget and on a thread for blocking work.
    ///
    /// # Errors
    /// Fails if the memory budget is exhausted.
    pub async fn compile<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ServiceError> {
        let _memory = self.reserve_compile_memory().await?;
        self.policies.compile_blocking(work).await
    }

    async fn reserve_compile_memory(&self) -> Result<Reservation, ServiceError> {
        Ok(self
            .registry
            .memory()
            .reserve(Holder::Authenticated, Purpose::ParsedBodies, MAX_COMPILED_BYTES)
            .await?)
    }

    /// Returns the repositories in which every tag would be removed now because of this policy. The list is empty if
    /// the policy applies to too many or too large repositories to find out while a client waits.
    async fn emptied_repositories(
        &self,
        name: &str,
        proposed: &Proposed,
    ) -> Result<Vec<RepoName>, ServiceError> {
        let _one = self.planning.lock().await;
        let Some(affected) = self.affected_repositories(proposed).await? else {
            return Ok(Vec::new());
        };
        self.registry.flush_pulls().await?;
        let now = self.now();
        let mut emptied = Vec::new();
        for repo in affected {
            let evaluated = self.evaluate(&proposed.combined, &repo, now, false).await?;
            if evaluated.is_some_and(|rows| is_emptied(&rows, name)) {
                emptied.push(repo);
            }
        }
        Ok(emptied)
    }

    /// Returns the repositories the policy applies to; `None` if they are too many or too large.
    async fn affected_repositories(
        &self,
        proposed: &Proposed,
    ) -> Result<Option<Vec<RepoName>>, ServiceError> {
        let metadata = self.registry.metadata();
        let mut affected = Vec::new();
        let mut size = 0;
        let mut after = None;
        while let Some(names) = self.repositories(&mut after).await? {
            for repo in names.iter().filter(|repo| proposed.alone.may_expire(repo, false)) {
                let entry = metadata.repository_entry(repo).await?;
                size += entry.map_or(0, |entry| entry.tags.max(entry.manifests));
                affected.push(repo.clone());
                if affected.len() > MAX_REPOSITORIES || size > MAX_EVALUATED_TAGS {
                    return Ok(None);
                }
            }
        }
        Ok(Some(affected))
    }
}

/// Whether all tags are removed, at least one of them by this policy.
fn is_emptied(evaluated: &RepoRows, policy: &str) -> bool {
    let tags = || evaluated.rows.iter().filter(|row| row.tag.is_some()).map(|row| row.decision.expiry());
    let by_it = |expiry: Option<&Expiry>| expiry.is_some_and(|expiry| expiry.rule.policy == policy);
    tags().all(|expiry| expiry.is_some()) && tags().any(by_it)
}

/// Lists the first names, and how many more there are.
fn format_names(repositories: &[RepoName]) -> String {
    let first: Vec<&str> = repositories.iter().take(MAX_NAMED).map(RepoName::as_str).collect();
    let more = repositories.len().saturating_sub(MAX_NAMED);
    let first = first.join(", ");
    if more > 0 { format!("{first} and {more} more") } else { first }
}
