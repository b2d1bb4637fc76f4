//! Checks policies before they are set: warns about oddities in them, and about repositories they would leave without
//! tags, and plans what they would do.

use std::sync::Arc;

use super::errors::{PolicyChangeError, RetentionError};
use super::plan::{PlanReport, RepoRows};
use super::policy_set::Proposed;
use super::repo_evaluation::Assumptions;
use super::{MAX_EVALUATED_TAGS, Retention};
use crate::memory::{Holder, Purpose, Reservation};
use crate::oci::RepoName;
use crate::registry::ServiceError;
use crate::retention::{Expiry, MAX_COMPILED_BYTES, Place, Policy, Warning, WarningKind};

/// The maximum number of repositories for which the effect of a policy is computed. For more, the user makes a plan.
const MAX_REPOSITORIES: usize = 100;

/// The maximum number of repositories named in a warning.
const MAX_NAMED: usize = 10;

/// What setting some policies would do.
#[derive(Debug)]
pub struct Preview {
    /// Warnings about the policies.
    pub warnings: Vec<String>,
    /// What all policies would then do now to the repositories that these policies, or those of the same names that
    /// they replace, apply to. The plan is stored; it can be applied once the policies are set.
    pub plan: Result<Arc<PlanReport>, RetentionError>,
}

impl Retention {
    /// Returns warnings about a policy, for example that it would leave repositories without a tag. Changes nothing.
    ///
    /// # Errors
    /// Fails if the policy has a mistake or belongs to the configuration file, or if a store fails.
    pub async fn check(&self, policy: &Policy) -> Result<Vec<String>, PolicyChangeError> {
        let policies = std::slice::from_ref(policy);
        let proposed = self.propose(policies).await?;
        self.warnings(policies, &proposed).await
    }

    /// Returns what setting these policies would do, with warnings about them. If `repo` is given, the plan is about
    /// that repository. Changes nothing.
    ///
    /// # Errors
    /// Fails if a policy has a mistake or belongs to the configuration file, or if a store fails.
    pub async fn preview(
        &self,
        policies: &[Policy],
        repo: Option<&RepoName>,
    ) -> Result<Preview, PolicyChangeError> {
        let proposed = self.propose(policies).await?;
        let warnings = self.warnings(policies, &proposed).await?;
        let plan = match self.plan_proposed(&proposed, repo).await {
            Err(RetentionError::Service(error)) => return Err(error.into()),
            plan => plan,
        };
        Ok(Preview { warnings, plan })
    }

    async fn propose(&self, policies: &[Policy]) -> Result<Proposed, PolicyChangeError> {
        let _memory = self.reserve_compile_memory().await?;
        self.policies.propose(policies).await
    }

    async fn warnings(
        &self,
        policies: &[Policy],
        proposed: &Proposed,
    ) -> Result<Vec<String>, PolicyChangeError> {
        let names: Vec<&str> = policies.iter().map(Policy::name_or_preset).collect();
        let emptied = self.emptied_repositories(&names, proposed).await?;
        let emptied = (!emptied.is_empty()).then(|| Warning {
            place: Place::Policy(names.join("`, `")),
            kind: WarningKind::Empties(format_names(&emptied)),
        });
        Ok(proposed.warnings.iter().chain(&emptied).map(Warning::to_string).collect())
    }

    /// Plans what the policies would do if they were set.
    async fn plan_proposed(
        &self,
        proposed: &Proposed,
        repo: Option<&RepoName>,
    ) -> Result<Arc<PlanReport>, RetentionError> {
        self.usable_policies()?;
        let concerns =
            |repo: &RepoName| proposed.alone.applies_to(repo) || proposed.replaced.applies_to(repo);
        self.plan_by(&proposed.combined, repo, Assumptions::default(), concerns).await
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

    /// Returns the repositories in which every tag would be removed now because of these policies. The list is empty if
    /// they apply to too many or too large repositories to find out while a client waits.
    async fn emptied_repositories(
        &self,
        names: &[&str],
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
            let evaluated =
                self.evaluate(&proposed.combined.compiled, &repo, now, Assumptions::default()).await?;
            if evaluated.is_some_and(|rows| is_emptied(&rows, names)) {
                emptied.push(repo);
            }
        }
        Ok(emptied)
    }

    /// Returns the repositories the policies apply to; `None` if they are too many or too large.
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

/// Whether all tags are removed, at least one of them by one of these policies.
fn is_emptied(evaluated: &RepoRows, policies: &[&str]) -> bool {
    let tags = || evaluated.rows.iter().filter(|row| row.tag.is_some()).map(|row| row.decision.expiry());
    let by_it =
        |expiry: Option<&Expiry>| expiry.is_some_and(|expiry| policies.contains(&&*expiry.rule.policy));
    tags().all(|expiry| expiry.is_some()) && tags().any(by_it)
}

/// Lists the first names, and how many more there are.
fn format_names(repositories: &[RepoName]) -> String {
    let first: Vec<&str> = repositories.iter().take(MAX_NAMED).map(RepoName::as_str).collect();
    let more = repositories.len().saturating_sub(MAX_NAMED);
    let first = first.join(", ");
    if more > 0 { format!("{first} and {more} more") } else { first }
}
