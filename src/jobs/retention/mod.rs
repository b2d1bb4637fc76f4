//! Retention: does what policies say, and tells before what that would be.
//!
//! There is one way: a snapshot of a repository is judged by [`crate::retention::evaluate()`], and what comes of
//! it is a [`PlanReport`]; the dry run shows it, and every real run does its steps, each compared with what
//! is there by then. Before the first step what rules keep without a tag is *pinned*, so that neither a
//! step nor the collector takes it.

mod apply;
mod collect;
mod details;
mod errors;
mod held;
mod judging;
mod pass;
mod plan;
mod policy_preview;
mod policy_set;
mod relief;

use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

use crate::clock::Timestamp;
use crate::metadata::{RetentionRun, RunCause};
use crate::oci::{Digest, RepoName};
use crate::registry::{ClockState, Registry, ServiceError};
use crate::retention::Compiled;

use collect::{Collected, PLAN_SHARE, TooLarge};
use held::HeldPlans;
use judging::Judging;

pub use apply::{AppliedReport, Skip};
pub use errors::{PolicyChangeError, RetentionError};
pub use plan::{PlanReport, RepoRows, Row, Totals};
pub use policy_set::{InForce, PolicySet, Source};

/// How many repositories are named at once.
const PAGE: usize = 100;

/// Of how many tags a repository is judged only for a plan: so many take about a third of a second.
const MOST_JUDGED: u64 = 20_000;

/// How things are done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetentionSettings {
    /// How many steps a batch has.
    pub batch: usize,
}

/// How it is doing, since the start of the program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RetentionStatus {
    /// Tags that went.
    pub tags: u64,
    /// Manifests that went to the trash with them.
    pub manifests: u64,
    /// Steps that were skipped, because something had changed.
    pub skipped: u64,
    /// When all repositories had last been judged.
    pub last_run: Option<Timestamp>,
    /// Why nothing expires, if that is so.
    pub paused: Option<String>,
}

/// Plans and applies; as a job, a repository after the other.
pub struct Retention {
    registry: Arc<Registry>,
    book: Arc<PolicySet>,
    settings: RetentionSettings,
    status: Mutex<RetentionStatus>,
    held: Mutex<HeldPlans>,
    /// One plan is made at a time.
    planning: tokio::sync::Mutex<()>,
    /// One repository is judged at a time, whoever asks.
    judging: Arc<tokio::sync::Mutex<()>>,
    pass: tokio::sync::Mutex<Option<pass::Pass>>,
}

impl Retention {
    /// Retention by what `book` has.
    pub fn new(registry: Arc<Registry>, book: Arc<PolicySet>, settings: RetentionSettings) -> Self {
        Self {
            registry,
            book,
            settings,
            status: Mutex::default(),
            held: Mutex::default(),
            planning: tokio::sync::Mutex::default(),
            judging: Arc::default(),
            pass: tokio::sync::Mutex::default(),
        }
    }

    /// The policies.
    pub fn book(&self) -> &Arc<PolicySet> {
        &self.book
    }

    /// How it is doing.
    pub fn status(&self) -> RetentionStatus {
        self.lock().clone()
    }

    /// What policies would do now, to one repository or all; under `pressure`, if the store were nearly full.
    /// Changes nothing. The plan is held until some more have been made, to be asked for again or applied.
    ///
    /// # Errors
    /// [`RetentionError`].
    pub async fn plan(
        &self,
        repo: Option<&RepoName>,
        pressure: bool,
    ) -> Result<Arc<PlanReport>, RetentionError> {
        if let Some(repo) = repo {
            self.expect(repo).await?;
        }
        let _one = self.planning.lock().await;
        let mut plan = self.make(repo, Collected::new(self.plan_limit(), false), pressure).await?;
        let free = self.registry.metadata().would_free(plan.going()).await.map_err(ServiceError::from)?;
        plan.would_free = Some(free);
        let plan = Arc::new(plan);
        self.held.lock().unwrap_or_else(PoisonError::into_inner).hold(Arc::clone(&plan), self.plan_limit());
        Ok(plan)
    }

    /// The plan of this id, if it is held.
    ///
    /// # Errors
    /// [`RetentionError::NoPlan`].
    pub fn held(&self, id: Uuid) -> Result<Arc<PlanReport>, RetentionError> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner).get(id);
        held.ok_or(RetentionError::NoPlan(id))
    }

    /// What policies would do now to a manifest and to the tags that point at it; nothing where no rule is for the
    /// repository. `None` where that has too many tags to judge them for one: a plan tells then.
    ///
    /// # Errors
    /// [`RetentionError`].
    pub async fn verdicts(
        &self,
        repo: &RepoName,
        digest: &Digest,
    ) -> Result<Option<Vec<Row>>, RetentionError> {
        let in_force = self.usable()?;
        let entry = self.registry.metadata().repository_entry(repo).await.map_err(ServiceError::from)?;
        if entry.is_some_and(|entry| entry.tags > MOST_JUDGED) {
            return Ok(None);
        }
        self.registry.flush_pulls().await?;
        let judged = self.judge(&in_force.compiled, repo, self.now(), false).await?;
        let rows = judged.into_iter().flat_map(|judged| judged.rows);
        Ok(Some(rows.filter(|row| row.digest == *digest).collect()))
    }

    /// Does exactly what a plan says, for `by`. What has changed since is skipped and told; if it is `strict`,
    /// the first such stops it. So do other policies: they may keep what those of the plan let go.
    ///
    /// # Errors
    /// [`RetentionError`]; what was done until then is done.
    pub async fn apply(
        &self,
        plan: &PlanReport,
        strict: bool,
        by: Option<&str>,
    ) -> Result<AppliedReport, RetentionError> {
        if plan.pressure {
            return Err(RetentionError::UnderPressure(plan.id));
        }
        if !plan.is_by(self.usable()?.as_ref()) {
            return Err(RetentionError::OtherPolicies(plan.id));
        }
        self.trust_clock().await?;
        self.pin(&plan.repositories).await?;
        let steps = self.steps(plan, by);
        let mut report = AppliedReport { began_at: self.now(), ..AppliedReport::default() };
        let mut next = Some(0);
        while let Some(from) = next {
            if !plan.is_by(&self.book.in_force()) {
                report.stopped = true;
                break;
            }
            next = steps.run(from, self.settings.batch, strict, &mut report).await?;
            tokio::task::yield_now().await;
        }
        let bytes = if report.skipped == 0 { plan.would_free } else { None };
        self.conclude(&report, RunCause::Request, by, bytes).await?;
        Ok(report)
    }

    /// Does what policies allow while the store is nearly full, step by step in the operator's order, until
    /// `enough` says so, which is asked before each step. What goes is in the trash, and not yet free. If all that
    /// rules name was not enough, the collector gets what only rules for a store at rest keep.
    ///
    /// # Errors
    /// [`RetentionError`]; what was done until then is done.
    pub async fn apply_under_pressure<F, E>(&self, mut enough: E) -> Result<AppliedReport, RetentionError>
    where
        F: Future<Output = Result<bool, ServiceError>> + Send,
        E: FnMut(&AppliedReport) -> F + Send,
    {
        self.trust_clock().await?;
        let collected = Collected::new(self.plan_limit(), true);
        let (plan, steps_left_out) = self.collect(None, collected, true).await?;
        self.pin(&plan.repositories).await?;
        let lease = self.registry.settings().shortest_lease();
        let steps = apply::Steps { lease, ..self.steps(&plan, None) };
        let mut report = AppliedReport { began_at: self.now(), ..AppliedReport::default() };
        let mut next = (plan.steps() > 0).then_some(0);
        while let Some(from) = next {
            // Whoever makes room plans anew by what the operator says then.
            if enough(&report).await? || !plan.is_by(&self.book.in_force()) {
                break;
            }
            next = steps.run(from, 1, false, &mut report).await?;
        }
        if next.is_none() && !steps_left_out && !enough(&report).await? {
            self.unpin_the_rest(&plan).await?;
        }
        self.conclude(&report, RunCause::Pressure, None, None).await?;
        Ok(report)
    }

    async fn make(
        &self,
        repo: Option<&RepoName>,
        collected: Collected,
        pressure: bool,
    ) -> Result<PlanReport, RetentionError> {
        let (plan, _) = self.collect(repo, collected, pressure).await?;
        Ok(plan)
    }

    /// A plan, and whether steps are left out of it.
    async fn collect(
        &self,
        repo: Option<&RepoName>,
        mut collected: Collected,
        pressure: bool,
    ) -> Result<(PlanReport, bool), RetentionError> {
        let in_force = self.usable()?;
        // A pull that was not written down yet must count.
        self.registry.flush_pulls().await?;
        let now = self.now();
        let mut after = None;
        let mut named = repo.map(|repo| vec![repo.clone()]);
        while let Some(names) =
            if repo.is_some() { named.take() } else { self.repositories(&mut after).await? }
        {
            for repo in &names {
                if let Some(rows) = self.judge(&in_force.compiled, repo, now, pressure).await? {
                    collected.add(rows).map_err(|TooLarge| RetentionError::TooLarge)?;
                }
            }
        }
        let Collected { repositories, kept_left_out, steps_left_out, .. } = collected;
        let mut plan = PlanReport::new(&in_force, now, pressure, repositories);
        plan.kept_left_out = kept_left_out;
        Ok((plan, steps_left_out))
    }

    /// The bytes that one plan may take.
    fn plan_limit(&self) -> usize {
        self.registry.memory().limit() / PLAN_SHARE
    }

    /// The repositories behind `after`, which is the last of them then; `None` behind the last of all.
    async fn repositories(
        &self,
        after: &mut Option<RepoName>,
    ) -> Result<Option<Vec<RepoName>>, ServiceError> {
        let from = after.as_ref().map(RepoName::as_str);
        let names = self.registry.metadata().repositories(from, PAGE).await?;
        *after = names.last().cloned();
        Ok(after.is_some().then_some(names))
    }

    /// Judges a repository, unless no rule could do anything with it.
    async fn judge(
        &self,
        policies: &Arc<Compiled>,
        repo: &RepoName,
        now: Timestamp,
        pressure: bool,
    ) -> Result<Option<RepoRows>, ServiceError> {
        if !policies.may_expire(repo, pressure) && !policies.may_pin(repo, pressure) {
            return Ok(None);
        }
        let judging = Judging {
            registry: Arc::clone(&self.registry),
            policies: Arc::clone(policies),
            repo: repo.clone(),
            now,
            pressure,
        };
        let turn = Arc::clone(&self.judging).lock_owned().await;
        // It goes on where the client goes away, and holds its turn and its memory until then.
        let judged = tokio::spawn(async move {
            let judged = judging.run().await;
            drop(turn);
            judged
        });
        judged.await.map_err(|error| ServiceError::Failed(error.to_string()))?
    }

    /// Pins what a plan keeps. What else is pinned stays so until the next pass: a plan for a store that is nearly
    /// full knows nothing of the rules that are in force at rest, and one that was held nothing of what came since.
    async fn pin(&self, repositories: &[RepoRows]) -> Result<(), ServiceError> {
        for rows in repositories {
            self.registry.metadata().add_pins(&rows.repo, rows.pins.clone()).await?;
        }
        Ok(())
    }

    /// Leaves to the collector what no rule names and only those keep that are in force at rest.
    async fn unpin_the_rest(&self, plan: &PlanReport) -> Result<(), ServiceError> {
        for rows in &plan.repositories {
            self.registry.metadata().set_pins(&rows.repo, rows.pins.clone()).await?;
        }
        Ok(())
    }

    fn steps<'a>(&'a self, plan: &'a PlanReport, by: Option<&'a str>) -> apply::Steps<'a> {
        apply::Steps { registry: &self.registry, plan, lease: self.registry.settings().lease, by }
    }

    /// Writes down what was done.
    async fn conclude(
        &self,
        report: &AppliedReport,
        cause: RunCause,
        by: Option<&str>,
        bytes: Option<u64>,
    ) -> Result<(), ServiceError> {
        let AppliedReport { began_at, tags, manifests, skipped, stopped, .. } = *report;
        {
            let mut status = self.lock();
            status.tags += tags;
            status.manifests += manifests;
            status.skipped += skipped;
        }
        if tags + manifests + skipped == 0 {
            return Ok(());
        }
        tracing::info!(tags, manifests, skipped, stopped, ?cause, "policies let go");
        let (by, ended_at) = (by.map(str::to_owned), self.now());
        let run =
            RetentionRun { id: 0, began_at, ended_at, by, cause, tags, manifests, skipped, bytes, stopped };
        Ok(self.registry.metadata().note_run(run).await?)
    }

    /// Refuses a repository that there is not: that nothing would go is not the answer to a misspelt name.
    async fn expect(&self, repo: &RepoName) -> Result<(), RetentionError> {
        let there = self.registry.metadata().repository_exists(repo).await.map_err(ServiceError::from)?;
        there.then_some(()).ok_or_else(|| RetentionError::UnknownRepository(repo.clone()))
    }

    /// The policies, if they may be used.
    fn usable(&self) -> Result<Arc<InForce>, RetentionError> {
        let in_force = self.book.in_force();
        match &in_force.broken {
            Some(broken) => Err(RetentionError::Policies(broken.clone())),
            None => Ok(in_force),
        }
    }

    async fn trust_clock(&self) -> Result<(), RetentionError> {
        match self.registry.clock_state().await? {
            ClockState::Trusted => Ok(()),
            ClockState::Suspect(reason) => Err(RetentionError::Clock(reason)),
        }
    }

    fn now(&self) -> Timestamp {
        self.registry.clock().now()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, RetentionStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
