//! What is odd about a policy before it is set: in itself, and by what it would do at once.

use super::errors::PolicyChangeError;
use super::plan::RepoRows;
use super::policy_set::Proposed;
use super::{MOST_JUDGED, Retention};
use crate::memory::{Holder, Purpose, Reservation};
use crate::oci::RepoName;
use crate::registry::ServiceError;
use crate::retention::{Expiry, MAX_COMPILED_BYTES, Oddity, Place, Policy, Warning};

/// Of how many repositories it is found out what a policy would do. If it is for more, a plan tells.
const MOST_REPOSITORIES: usize = 100;

/// How many repositories are named.
const NAMED: usize = 10;

impl Retention {
    /// What is odd about a policy, that it would leave repositories without a tag among it. Changes nothing.
    ///
    /// # Errors
    /// [`PolicyChangeError`]: a mistake, or it is the file's.
    pub async fn check(&self, policy: &Policy) -> Result<Vec<String>, PolicyChangeError> {
        let proposed = {
            let _room = self.room_to_compile().await?;
            self.book.propose(policy).await?
        };
        let name = policy.called().to_owned();
        let emptied = self.emptied(&name, &proposed).await?;
        let emptied = (!emptied.is_empty())
            .then(|| Warning { place: Place::Policy(name), oddity: Oddity::Empties(named(&emptied)) });
        Ok(proposed.warnings.iter().chain(&emptied).map(Warning::to_string).collect())
    }

    /// Sets a policy, in force from now on, for `by`. Tells what is odd about it.
    ///
    /// # Errors
    /// [`PolicyChangeError`]; then nothing changed.
    pub async fn set(&self, policy: &Policy, by: Option<&str>) -> Result<Vec<String>, PolicyChangeError> {
        let warnings = self.check(policy).await?;
        let _room = self.room_to_compile().await?;
        self.book.put(&self.registry, policy, by).await?;
        Ok(warnings)
    }

    /// Does work that compiles policies, within the memory budget and on no thread of the runtime.
    ///
    /// # Errors
    /// [`ServiceError`]: there is no room in memory.
    pub async fn compile<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ServiceError> {
        let _room = self.room_to_compile().await?;
        self.book.compile_aside(work).await
    }

    async fn room_to_compile(&self) -> Result<Reservation, ServiceError> {
        Ok(self.registry.memory().reserve(Holder::Authenticated, Purpose::Forms, MAX_COMPILED_BYTES).await?)
    }

    /// The repositories in which every tag would go now, and not without this policy. None if it is for too many,
    /// or for too large ones, to find that out while somebody waits.
    async fn emptied(&self, name: &str, proposed: &Proposed) -> Result<Vec<RepoName>, ServiceError> {
        let _one = self.planning.lock().await;
        let Some(concerned) = self.concerned(proposed).await? else {
            return Ok(Vec::new());
        };
        self.registry.flush_pulls().await?;
        let (now, mut emptied) = (self.now(), Vec::new());
        for repo in concerned {
            let judged = self.judge(&proposed.with_it, &repo, now, false).await?;
            if judged.is_some_and(|rows| is_emptied(&rows, name)) {
                emptied.push(repo);
            }
        }
        Ok(emptied)
    }

    /// The repositories that the policy is for. `None` if they are too many or too large.
    async fn concerned(&self, proposed: &Proposed) -> Result<Option<Vec<RepoName>>, ServiceError> {
        let metadata = self.registry.metadata();
        let (mut concerned, mut size) = (Vec::new(), 0);
        let mut after = None;
        while let Some(names) = self.repositories(&mut after).await? {
            for repo in names.iter().filter(|repo| proposed.alone.may_expire(repo, false)) {
                let entry = metadata.repository_entry(repo).await?;
                size += entry.map_or(0, |entry| entry.tags.max(entry.manifests));
                concerned.push(repo.clone());
                if concerned.len() > MOST_REPOSITORIES || size > MOST_JUDGED {
                    return Ok(None);
                }
            }
        }
        Ok(Some(concerned))
    }
}

/// Whether no tag stays, and this policy has a part in it.
fn is_emptied(judged: &RepoRows, policy: &str) -> bool {
    let tags = || judged.rows.iter().filter(|row| row.tag.is_some()).map(|row| row.decision.expiry());
    let by_it = |expiry: Option<&Expiry>| expiry.is_some_and(|expiry| expiry.rule.policy == policy);
    tags().all(|expiry| expiry.is_some()) && tags().any(by_it)
}

/// The first of them.
fn named(repositories: &[RepoName]) -> String {
    let first: Vec<&str> = repositories.iter().take(NAMED).map(RepoName::as_str).collect();
    let more = repositories.len().saturating_sub(NAMED);
    let first = first.join(", ");
    if more > 0 { format!("{first} and {more} more") } else { first }
}
