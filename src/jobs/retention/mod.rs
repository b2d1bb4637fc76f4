//! Retention: plans what the policies would remove, and applies plans.
//!
//! [`crate::retention::evaluate()`] evaluates a snapshot of a repository, and the result becomes a [`PlanReport`]. The
//! dry run shows the plan. A real run executes its steps and compares each with the current state first. Before the
//! first step, manifests that rules keep without a tag are *pinned*, so that neither a step nor the collector
//! removes them.

mod apply;
mod collect;
mod errors;
mod plan;
mod policy_preview;
mod policy_set;
mod repo_evaluation;
mod stored_plans;

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard};
use uuid::Uuid;

use super::eviction::{Evicted, Evictor, SpaceGoal};
use super::{Job, JobSchedule};
use crate::clock::Timestamp;
use crate::metadata::{EvaluationRecord, RetentionRun, RunCause};
use crate::oci::{Digest, RepoName};
use crate::registry::{ClockState, Registry, ServiceError};
use crate::retention::CompiledPolicies;
use crate::traces;

use collect::{Collected, PLAN_SHARE, TooLarge};
use repo_evaluation::{Assumptions, RepoEvaluation};
use stored_plans::StoredPlans;

pub use apply::{AppliedReport, Skip};
pub use errors::{PolicyChangeError, RetentionError};
pub use plan::{PlanReport, RepoRows, Row, Totals};
pub use policy_preview::Preview;
pub use policy_set::{InForce, PolicySet, Source};

/// The number of repository names fetched at once.
const REPOSITORY_PAGE: usize = 100;

/// The maximum number of tags for which a repository is evaluated outside a plan: so many take about a third of
/// a second.
const MAX_EVALUATED_TAGS: u64 = 20_000;

/// The settings of retention runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetentionSettings {
    /// The number of steps in a batch.
    pub batch: usize,
}

/// The state of retention since the program started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RetentionStatus {
    /// The number of tags removed.
    pub tags: u64,
    /// The number of manifests moved to the trash with them.
    pub manifests: u64,
    /// The number of steps skipped because something had changed.
    pub skipped: u64,
    /// When a pass over all repositories last ended.
    pub last_run: Option<Timestamp>,
    /// Why nothing expires, if expiry is paused.
    pub paused: Option<String>,
}

/// Plans and applies retention. As a job, it processes one repository after another.
pub struct Retention {
    registry: Arc<Registry>,
    policies: Arc<PolicySet>,
    settings: RetentionSettings,
    status: Mutex<RetentionStatus>,
    stored_plans: Mutex<StoredPlans>,
    /// Only one plan is made at a time.
    planning: tokio::sync::Mutex<()>,
    /// Only one repository is evaluated at a time, across all requests and jobs.
    evaluating: Arc<tokio::sync::Mutex<()>>,
    pass: tokio::sync::Mutex<Option<Pass>>,
    schedule: JobSchedule,
}

impl Retention {
    /// Creates retention by the policies of `policies`.
    pub fn new(registry: Arc<Registry>, policies: Arc<PolicySet>, settings: RetentionSettings) -> Self {
        let schedule = JobSchedule::new(Arc::clone(registry.clock()));
        Self {
            registry,
            policies,
            settings,
            schedule,
            status: Mutex::default(),
            stored_plans: Mutex::default(),
            planning: tokio::sync::Mutex::default(),
            evaluating: Arc::default(),
            pass: tokio::sync::Mutex::default(),
        }
    }

    /// Returns the policies.
    pub fn policy_set(&self) -> &Arc<PolicySet> {
        &self.policies
    }

    /// Returns when it runs.
    pub fn schedule(&self) -> &JobSchedule {
        &self.schedule
    }

    /// Returns the state since the program started.
    pub fn status(&self) -> RetentionStatus {
        self.lock().clone()
    }

    /// Plans what the policies would do now to one repository or to all; with `pressure`, as if the store were nearly
    /// full. Changes nothing. The plan is stored until some newer plans replace it, so that it can be fetched again or
    /// applied.
    ///
    /// # Errors
    /// Fails if the repository does not exist, the policies are broken, the plan is too large, or a store fails.
    pub async fn plan(
        &self,
        repo: Option<&RepoName>,
        pressure: bool,
    ) -> Result<Arc<PlanReport>, RetentionError> {
        let in_force = self.usable_policies()?;
        self.plan_by(&in_force, repo, Assumptions { pressure, released: false }, |_| true).await
    }

    /// Plans what the policies would do once adopted content is released. Changes nothing, and expires nothing adopted if
    /// it is applied before the release.
    ///
    /// # Errors
    /// See [`Retention::plan`].
    pub async fn plan_after_release(
        &self,
        repo: Option<&RepoName>,
    ) -> Result<Arc<PlanReport>, RetentionError> {
        let in_force = self.usable_policies()?;
        self.plan_by(&in_force, repo, Assumptions { pressure: false, released: true }, |_| true).await
    }

    /// Plans what these policies would do to the repositories that `concerns` accepts, and stores the plan.
    async fn plan_by(
        &self,
        policies: &InForce,
        repo: Option<&RepoName>,
        assumed: Assumptions,
        concerns: impl Fn(&RepoName) -> bool + Send + Sync,
    ) -> Result<Arc<PlanReport>, RetentionError> {
        if let Some(repo) = repo {
            self.require_repository(repo).await?;
        }
        let _one = self.planning.lock().await;
        let collected = Collected::new(self.plan_limit(), false);
        let (mut plan, _) = self.collect(policies, repo, collected, assumed, concerns).await?;
        let removed = plan.removed_manifests();
        let effect = self.registry.metadata().removal_effect(removed).await?;
        plan.would_free = Some(effect.freed);
        plan.would_free_later = effect.hardlinked;
        let plan = Arc::new(plan);
        self.lock_stored_plans().store(Arc::clone(&plan), self.plan_limit());
        Ok(plan)
    }

    /// Returns the stored plan with this id.
    ///
    /// # Errors
    /// [`RetentionError::NoPlan`] if it is not stored any more.
    pub fn stored_plan(&self, id: Uuid) -> Result<Arc<PlanReport>, RetentionError> {
        self.lock_stored_plans().get(id).ok_or(RetentionError::NoPlan(id))
    }

    /// Whether a plan was made by the policies that are in force now, so that it may be applied.
    pub fn is_current(&self, plan: &PlanReport) -> bool {
        !plan.pressure && plan.is_by(&self.policies.in_force())
    }

    fn lock_stored_plans(&self) -> MutexGuard<'_, StoredPlans> {
        self.stored_plans.lock()
    }

    /// Returns what the policies would do now to a manifest and to the tags that point at it. The list is empty if no
    /// rule applies to the repository. Returns `None` if the repository has too many tags to evaluate them for one
    /// manifest; a plan answers the question then.
    ///
    /// # Errors
    /// Fails if the policies are broken or a store can't be read.
    pub async fn verdicts(
        &self,
        repo: &RepoName,
        digest: &Digest,
    ) -> Result<Option<Vec<Row>>, RetentionError> {
        let in_force = self.usable_policies()?;
        let entry = self.registry.metadata().repository_entry(repo).await?;
        if entry.is_some_and(|entry| entry.tags > MAX_EVALUATED_TAGS) {
            return Ok(None);
        }
        self.registry.flush_pulls().await?;
        let evaluated = self.evaluate(&in_force.compiled, repo, self.now(), Assumptions::default()).await?;
        let rows = evaluated.into_iter().flat_map(|evaluated| evaluated.rows);
        Ok(Some(rows.filter(|row| row.digest == *digest).collect()))
    }

    /// Executes a plan for `by`. Steps whose target has changed since are skipped and reported; with `strict`, the
    /// first of them stops the run. The run also stops if the policies change, because the new ones may keep what
    /// the plan removes.
    ///
    /// # Errors
    /// Fails if the plan can't be applied or a store fails; steps done before the failure stay done.
    pub async fn apply(
        &self,
        plan: &PlanReport,
        strict: bool,
        by: Option<&str>,
    ) -> Result<AppliedReport, RetentionError> {
        if plan.pressure {
            return Err(RetentionError::UnderPressure(plan.id));
        }
        if !plan.is_by(self.usable_policies()?.as_ref()) {
            return Err(RetentionError::OtherPolicies(plan.id));
        }
        self.trust_clock().await?;
        self.pin(&plan.repositories).await?;
        let steps = self.steps(plan, by);
        let mut report = AppliedReport { began_at: self.now(), ..AppliedReport::default() };
        let mut next = Some(0);
        while let Some(from) = next {
            if !plan.is_by(&self.policies.in_force()) {
                report.stopped = true;
                break;
            }
            next = steps.run(from, self.settings.batch, strict, &mut report).await?;
            tokio::task::yield_now().await;
        }
        let bytes = if report.skipped == 0 { plan.would_free } else { None };
        self.record_run(&report, RunCause::Request, by, bytes).await?;
        Ok(report)
    }

    /// Executes what policies allow while the store is nearly full, step by step in the operator's order, until
    /// `enough` returns `true`; it is called before each step. Steps are left out whose bytes another registry's tree
    /// would keep on the disk. Manifests only move to the trash, which frees nothing
    /// yet. If all steps together are not enough, manifests kept only by rules that do not apply under pressure are
    /// left to the collector.
    ///
    /// # Errors
    /// Fails if the policies or the clock can't be used or a store fails; steps done before the failure stay done.
    pub async fn apply_under_pressure<F, E>(&self, mut enough: E) -> Result<AppliedReport, RetentionError>
    where
        F: Future<Output = Result<bool, ServiceError>> + Send,
        E: FnMut(&AppliedReport) -> F + Send,
    {
        self.trust_clock().await?;
        let collected = Collected::new(self.plan_limit(), true);
        let in_force = self.usable_policies()?;
        let (plan, steps_left_out) = self
            .collect(&in_force, None, collected, Assumptions { pressure: true, released: false }, |_| true)
            .await?;
        self.pin(&plan.repositories).await?;
        let lease = self.registry.settings().shortest_lease();
        let steps = apply::Steps { lease, ..self.steps(&plan, None) };
        let mut report = AppliedReport { began_at: self.now(), ..AppliedReport::default() };
        let mut next = (plan.steps() > 0).then_some(0);
        let has_hardlinked = self.registry.metadata().has_hardlinked().await?;
        while let Some(from) = next {
            if has_hardlinked && self.is_futile(&plan, from).await? {
                report.futile += 1;
                next = (from + 1 < plan.steps()).then_some(from + 1);
                continue;
            }
            // If the policies change, the caller makes a new plan by the new ones.
            if enough(&report).await? || !plan.is_by(&self.policies.in_force()) {
                break;
            }
            next = steps.run(from, 1, false, &mut report).await?;
        }
        // While another registry's tree shares files, the collector might remove images for bytes that stay on the disk.
        if next.is_none() && !steps_left_out && !has_hardlinked && !enough(&report).await? {
            self.remove_other_pins(&plan).await?;
        }
        self.record_run(&report, RunCause::Pressure, None, None).await?;
        Ok(report)
    }

    /// Whether a step of a plan would remove an image for bytes that stay on the disk, because another registry's tree
    /// has the files too.
    async fn is_futile(&self, plan: &PlanReport, number: usize) -> Result<bool, ServiceError> {
        let Some((repo, row, _)) = plan.step(number) else {
            return Ok(false);
        };
        let removed = vec![(repo.clone(), row.digest.clone())];
        Ok(self.registry.metadata().removal_effect(removed).await?.is_futile())
    }

    /// Makes a plan. Also returns whether steps were left out of it.
    async fn collect(
        &self,
        policies: &InForce,
        repo: Option<&RepoName>,
        mut collected: Collected,
        assumed: Assumptions,
        concerns: impl Fn(&RepoName) -> bool + Send + Sync,
    ) -> Result<(PlanReport, bool), RetentionError> {
        // Pulls that are not recorded yet must count.
        self.registry.flush_pulls().await?;
        let now = self.now();
        let mut after = None;
        let mut named = repo.map(|repo| vec![repo.clone()]);
        while let Some(names) =
            if repo.is_some() { named.take() } else { self.repositories(&mut after).await? }
        {
            for repo in names.iter().filter(|repo| concerns(repo)) {
                if let Some(rows) = self.evaluate(&policies.compiled, repo, now, assumed).await? {
                    collected.add(rows).map_err(|TooLarge| RetentionError::TooLarge)?;
                }
            }
        }
        let Collected { repositories, kept_left_out, steps_left_out, .. } = collected;
        let mut plan = PlanReport::new(policies, now, assumed.pressure, repositories);
        plan.kept_left_out = kept_left_out;
        Ok((plan, steps_left_out))
    }

    /// Returns the maximum size of one plan in bytes.
    fn plan_limit(&self) -> usize {
        self.registry.memory().limit() / PLAN_SHARE
    }

    /// Returns the next repositories after `after`, and sets `after` to the last of them; `None` at the end.
    async fn repositories(
        &self,
        after: &mut Option<RepoName>,
    ) -> Result<Option<Vec<RepoName>>, ServiceError> {
        let from = after.as_ref().map(RepoName::as_str);
        let names = self.registry.metadata().repositories(from, REPOSITORY_PAGE).await?;
        *after = names.last().cloned();
        Ok(after.is_some().then_some(names))
    }

    /// Evaluates a repository. Returns `None` if no rule could affect it.
    async fn evaluate(
        &self,
        policies: &Arc<CompiledPolicies>,
        repo: &RepoName,
        now: Timestamp,
        assumed: Assumptions,
    ) -> Result<Option<RepoRows>, ServiceError> {
        let pressure = assumed.pressure;
        if !policies.may_expire(repo, pressure) && !policies.may_pin(repo, pressure) {
            return Ok(None);
        }
        let evaluation = RepoEvaluation {
            registry: Arc::clone(&self.registry),
            policies: Arc::clone(policies),
            repo: repo.clone(),
            now,
            assumed,
        };
        let turn = Arc::clone(&self.evaluating).lock_owned().await;
        // The task continues if the client disconnects, and keeps its turn and its memory until it ends.
        let evaluated = tokio::spawn(async move {
            let evaluated = evaluation.run().await;
            drop(turn);
            evaluated
        });
        evaluated.await?
    }

    /// Pins what a plan keeps. Other pins stay until the next pass, because this plan does not cover them: a plan under
    /// pressure ignores the rules for normal operation, and a stored plan does not know later pushes.
    async fn pin(&self, repositories: &[RepoRows]) -> Result<(), ServiceError> {
        for rows in repositories {
            self.registry.metadata().add_pins(&rows.repo, rows.pins.clone()).await?;
        }
        Ok(())
    }

    /// Removes all pins the plan does not have, so that the collector gets manifests that only rules for normal
    /// operation keep.
    async fn remove_other_pins(&self, plan: &PlanReport) -> Result<(), ServiceError> {
        for rows in &plan.repositories {
            self.registry.metadata().set_pins(&rows.repo, rows.pins.clone()).await?;
        }
        Ok(())
    }

    fn steps<'a>(&'a self, plan: &'a PlanReport, by: Option<&'a str>) -> apply::Steps<'a> {
        apply::Steps { registry: &self.registry, plan, lease: self.registry.settings().lease, by }
    }

    /// Adds a run to the status, and records and logs it unless it did nothing.
    async fn record_run(
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
        tracing::info!(tags, manifests, skipped, stopped, ?cause, "retention run finished");
        let by = by.map(str::to_owned);
        let ended_at = self.now();
        let run =
            RetentionRun { id: 0, began_at, ended_at, by, cause, tags, manifests, skipped, bytes, stopped };
        Ok(self.registry.metadata().record_retention_run(run).await?)
    }

    /// Fails if the repository does not exist: a misspelt name must not look like an empty plan.
    async fn require_repository(&self, repo: &RepoName) -> Result<(), RetentionError> {
        let exists = self.registry.metadata().repository_exists(repo).await?;
        exists.then_some(()).ok_or_else(|| RetentionError::UnknownRepository(repo.clone()))
    }

    /// Returns the policies in force; fails if they are broken.
    fn usable_policies(&self) -> Result<Arc<InForce>, RetentionError> {
        let in_force = self.policies.in_force();
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

    fn lock(&self) -> MutexGuard<'_, RetentionStatus> {
        self.status.lock()
    }
}

/// A pass in progress.
pub(super) struct Pass {
    in_force: Arc<InForce>,
    /// The start of the pass. It covers everything that became unreferenced before.
    began_at: Timestamp,
    /// The repository that was evaluated last.
    after: Option<RepoName>,
    /// The plan of the current repository, and its next step.
    current: Option<(PlanReport, usize)>,
    done: AppliedReport,
}

impl Pass {
    fn new(in_force: Arc<InForce>, began_at: Timestamp) -> Self {
        let done = AppliedReport { began_at, ..AppliedReport::default() };
        Self { in_force, began_at, after: None, current: None, done }
    }
}

impl Retention {
    /// Runs one pass to its end: what a server does every interval.
    ///
    /// # Errors
    /// Fails with the error of the first batch that failed.
    pub async fn run_to_end(&self) -> Result<(), ServiceError> {
        while traces::start_root("retention").run(self.batch()).await? {}
        Ok(())
    }

    /// Does one batch. Returns `true` if the pass has not ended.
    async fn batch(&self) -> Result<bool, ServiceError> {
        let Some(in_force) = self.unless_paused().await? else {
            return Ok(false);
        };
        let mut slot = self.pass.lock().await;
        // A pass starts over if the policies have changed.
        let current = slot.take().filter(|pass| Arc::ptr_eq(&pass.in_force, &in_force));
        let mut pass = current.unwrap_or_else(|| Pass::new(in_force, self.now()));
        let more = match pass.current.take() {
            Some((plan, from)) => {
                let steps = self.steps(&plan, None);
                let next = steps.run(from, self.settings.batch, false, &mut pass.done).await?;
                pass.current = next.map(|next| (plan, next));
                true
            }
            None => self.evaluate_next(&mut pass).await?,
        };
        if more {
            *slot = Some(pass);
        } else {
            self.finish(&pass).await?;
        }
        Ok(more)
    }

    /// Evaluates the next repository that a rule applies to. Returns `false` after the last one.
    async fn evaluate_next(&self, pass: &mut Pass) -> Result<bool, ServiceError> {
        let metadata = self.registry.metadata();
        let from = pass.after.as_ref().map(RepoName::as_str);
        let names = metadata.repositories(from, REPOSITORY_PAGE).await?;
        if names.is_empty() {
            return Ok(false);
        }
        self.registry.flush_pulls().await?;
        for repo in names {
            let now = self.now();
            let evaluated =
                self.evaluate(&pass.in_force.compiled, &repo, now, Assumptions::default()).await?;
            pass.after = Some(repo.clone());
            let Some(mut rows) = evaluated else {
                metadata.set_pins(&repo, Vec::new()).await?;
                continue;
            };
            metadata.set_pins(&repo, rows.pins.clone()).await?;
            rows.leave_out_kept();
            let plan = PlanReport::new(&pass.in_force, now, false, vec![rows]);
            pass.current = (plan.steps() > 0).then_some((plan, 0));
            return Ok(true);
        }
        Ok(true)
    }

    async fn finish(&self, pass: &Pass) -> Result<(), ServiceError> {
        let record = EvaluationRecord { at: pass.began_at, policies: pass.in_force.fingerprint.clone() };
        self.registry.metadata().record_evaluation(&record).await?;
        self.lock().last_run = Some(self.now());
        self.record_run(&pass.done, RunCause::Interval, None, None).await
    }

    async fn unless_paused(&self) -> Result<Option<Arc<InForce>>, ServiceError> {
        let usable = match self.usable_policies() {
            Ok(in_force) => self.trust_clock().await.map(|()| in_force),
            Err(error) => Err(error),
        };
        let (in_force, paused) = match usable {
            Ok(in_force) => (Some(in_force), None),
            Err(RetentionError::Service(error)) => return Err(error),
            Err(error) => (None, Some(error.to_string())),
        };
        let mut status = self.lock();
        if let Some(reason) = &paused
            && status.paused.is_none()
        {
            tracing::warn!(reason, "retention paused");
        }
        status.paused = paused;
        Ok(in_force)
    }
}

#[async_trait]
impl Job for Retention {
    fn name(&self) -> &'static str {
        "retention"
    }

    async fn tick(&self) -> Result<bool, ServiceError> {
        traces::start_root("retention").run(self.batch()).await
    }

    fn schedule(&self) -> Option<&JobSchedule> {
        Some(&self.schedule)
    }
}

#[async_trait]
impl Evictor for Retention {
    async fn evict(&self, goal: &dyn SpaceGoal) -> Result<Evicted, ServiceError> {
        let applied = self.apply_under_pressure(|done| {
            let evicted = done.manifests;
            async move { goal.is_reached(evicted).await }
        });
        match applied.await {
            Ok(done) => Ok(Evicted { tags: done.tags, manifests: done.manifests, futile: done.futile }),
            Err(RetentionError::Service(error)) => Err(error),
            // The policies are broken or the clock is not trusted: the log and the metrics report that.
            Err(_) => Ok(Evicted::default()),
        }
    }

    fn policies(&self) -> Vec<String> {
        let in_force = self.policies.in_force();
        in_force.policies.iter().map(|(policy, _)| policy.name_or_preset().to_owned()).collect()
    }
}
