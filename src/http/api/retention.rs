//! Retention plans: previews them, applies them, and lists past runs.

use std::sync::Arc;

use axum::Json;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::extract::{InQuery, WithBody};
use super::page::{PageParameters, newest_first_page, page_size};
use super::problem::{ChangeErrors, Errors};
use super::rights::{RegistryAdmin, RegistryReader, Requester};
use super::routes::{Routes, routes};
use super::{Page, Problem, Time};
use crate::jobs::retention::{AppliedReport, PlanReport, RetentionError, Row, Skip, Totals};
use crate::metadata::{RetentionRun, RunCause, Scope};
use crate::oci::{RepoName, Tag};
use crate::registry::ServiceError;

/// A page of a retention plan, which says what policies would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Plan {
    /// The plan's identifier, to request it again or apply it. It stays valid until several newer plans have
    /// been made.
    pub plan: Uuid,
    /// When it was made.
    pub made_at: Time,
    /// Whether the plan assumes that the store is nearly full.
    pub pressure: bool,
    /// The number of tags that would expire.
    pub tags: u64,
    /// The number of tags that would stay, in the repositories that rules cover.
    pub tags_kept: u64,
    /// The number of manifests that would expire.
    pub manifests: u64,
    /// The bytes that would be freed; `null` if unknown.
    #[schema(required)]
    pub would_free: Option<u64>,
    /// The bytes that would be freed once the tree of an adopted registry is removed, which holds them too.
    pub would_free_later: u64,
    /// Whether the items leave out tags and manifests that stay, because they would take too much memory. A
    /// plan of one repository may include them.
    pub kept_left_out: bool,
    /// Tags and manifests, grouped by repository.
    pub items: Vec<PlanItem>,
    /// The value of `after` for the next page, used together with `plan`; `null` on the last page.
    #[schema(required)]
    pub next: Option<String>,
}

/// The decision on a tag or a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlanItem {
    /// The repository.
    pub repository: String,
    /// The tag; `null` for a manifest without a remaining tag.
    #[schema(required)]
    pub tag: Option<String>,
    /// The digest of the manifest, or of what the tag points at.
    pub digest: String,
    /// Whether it would expire.
    pub expires: bool,
    /// The policy that would expire it.
    #[schema(required)]
    pub policy: Option<String>,
    /// The rule that would expire it.
    #[schema(required)]
    pub rule: Option<String>,
    /// Why it would expire or stay, for people.
    pub reason: String,
}

/// Selects a plan and a page of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PlanParameters {
    /// Only this repository.
    pub repository: Option<String>,
    /// Whether to assume that the store is nearly full.
    pub pressure: Option<bool>,
    /// Whether to show what would happen once the adopted images are released.
    pub released: Option<bool>,
    /// Only items that would expire.
    pub expiring: Option<bool>,
    /// An existing plan to show instead of a new one.
    pub plan: Option<Uuid>,
    /// The `next` of the previous page of the same plan.
    pub after: Option<String>,
    /// The maximum number of items; 100 by default.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}

/// What to apply.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ApplyRequest {
    /// The plan; by default a new one is made.
    pub plan: Option<Uuid>,
    /// The repository of a new plan; all repositories by default.
    pub repository: Option<String>,
    /// Whether to stop at the first tag or manifest that has changed since the plan was made, instead of
    /// skipping it.
    pub strict: bool,
}

/// The result of applying a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Applied {
    /// The plan.
    pub plan: Uuid,
    /// The number of removed tags.
    pub tags: u64,
    /// The number of manifests moved to the trash at once; what belongs to them follows.
    pub manifests: u64,
    /// The number of steps skipped because something had changed.
    pub skipped: u64,
    /// The first of the skipped steps.
    pub skips: Vec<Skipped>,
    /// Whether it stopped at a change.
    pub stopped: bool,
}

/// A tag or manifest that has changed since the plan was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Skipped {
    /// The repository.
    pub repository: String,
    /// The tag; `null` for a manifest.
    #[schema(required)]
    pub tag: Option<String>,
    /// The digest of the manifest, or of what the tag pointed at.
    pub digest: String,
}

/// A run of the retention policies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Run {
    /// When it started.
    pub began_at: Time,
    /// When it ended.
    pub ended_at: Time,
    /// The trigger: `interval`, `request` or `pressure`.
    #[schema(value_type = String)]
    pub cause: RunCause,
    /// Who requested it, if known.
    #[schema(required)]
    pub by: Option<String>,
    /// The number of removed tags.
    pub tags: u64,
    /// The number of manifests moved to the trash at once.
    pub manifests: u64,
    /// The number of steps skipped because something had changed.
    pub skipped: u64,
    /// The bytes freed, if known.
    #[schema(required)]
    pub bytes: Option<u64>,
    /// Whether it stopped at a change.
    pub stopped: bool,
}

impl From<RetentionError> for Problem {
    fn from(error: RetentionError) -> Self {
        match error {
            RetentionError::Policies(_)
            | RetentionError::Clock(_)
            | RetentionError::OtherPolicies(_)
            | RetentionError::UnderPressure(_)
            | RetentionError::TooLarge => Self::new(StatusCode::CONFLICT, error),
            RetentionError::NoPlan(_) | RetentionError::UnknownRepository(_) => Self::unknown(error),
            RetentionError::Service(fault) => fault.into(),
        }
    }
}

impl From<Skip> for Skipped {
    fn from(skip: Skip) -> Self {
        let tag = skip.tag.as_ref().map(|tag| tag.as_str().to_owned());
        Self { repository: skip.repo.to_string(), tag, digest: skip.digest.to_string() }
    }
}

pub(super) fn routes() -> Routes {
    Routes::new().routes(routes!(plan)).routes(routes!(apply)).routes(routes!(runs))
}

/// Returns what policies would do now. Nothing changes. The plan is kept until several newer ones have been
/// made.
#[utoipa::path(
    get, path = "/retention/plan", operation_id = "getPlan", tag = "retention",
    params(PlanParameters),
    responses(
        (status = OK, description = "A page of the plan.", body = Plan),
        (status = CONFLICT, description = "The policies cannot be used.", body = Problem,
         content_type = "application/problem+json"),
        Errors
    )
)]
async fn plan(
    requester: Requester,
    InQuery(parameters): InQuery<PlanParameters>,
) -> Result<Json<Plan>, Problem> {
    let limit = page_size(parameters.limit)?;
    let from = match (parameters.after.as_deref().filter(|after| !after.is_empty()), parameters.plan) {
        (Some(after), Some(_)) => {
            after.parse().map_err(|_| Problem::bad("after: not the next value of a page"))?
        }
        (Some(_), None) => return Err(Problem::bad("after: requires the plan that it belongs to")),
        (None, _) => 0,
    };
    let plan = match parameters.plan {
        Some(_) if parameters.repository.is_some() || parameters.pressure.is_some() => {
            return Err(Problem::bad("plan: cannot be combined with repository or pressure"));
        }
        Some(id) => requester.registry_reader()?.retention.stored_plan(id)?,
        None => {
            let repo = parse_repository(parameters.repository.as_deref())?;
            let scope = repo.clone().map_or(Scope::All, Scope::One);
            let retention = Arc::clone(&requester.registry_reader_for(&scope)?.retention);
            match parameters.released.unwrap_or(false) {
                true => retention.plan_after_release(repo.as_ref()).await?,
                false => retention.plan(repo.as_ref(), parameters.pressure.unwrap_or(false)).await?,
            }
        }
    };
    Ok(Json(plan_page(&plan, from, limit, parameters.expiring.unwrap_or(false))))
}

pub(super) fn parse_repository(name: Option<&str>) -> Result<Option<RepoName>, Problem> {
    let parse = |name: &str| name.parse().map_err(|error| Problem::bad(format_args!("repository: {error}")));
    name.map(parse).transpose()
}

/// A page of a plan from row number `from` on.
pub(in crate::http) fn plan_page(plan: &PlanReport, from: usize, limit: usize, expiring: bool) -> Plan {
    let Totals { tags, tags_kept, manifests } = plan.totals;
    let mut items = Vec::new();
    let mut next = None;
    for (number, repo, row) in plan.rows_from(from) {
        if expiring && row.decision.expiry().is_none() {
            continue;
        }
        if items.len() == limit {
            next = Some(number.to_string());
            break;
        }
        items.push(plan_item(plan, repo, row));
    }
    let PlanReport { id, now, pressure, would_free, would_free_later, kept_left_out, .. } = *plan;
    let made_at = now.into();
    Plan {
        plan: id,
        made_at,
        pressure,
        tags,
        tags_kept,
        manifests,
        would_free,
        would_free_later,
        kept_left_out,
        items,
        next,
    }
}

fn plan_item(plan: &PlanReport, repo: &RepoName, row: &Row) -> PlanItem {
    let rule = row.decision.expiry().map(|expiry| &expiry.rule);
    PlanItem {
        repository: repo.to_string(),
        tag: row.tag.as_ref().map(|tag: &Tag| tag.as_str().to_owned()),
        digest: row.digest.to_string(),
        expires: rule.is_some(),
        policy: rule.map(|rule| rule.policy.clone()),
        rule: rule.map(|rule| rule.rule.clone()),
        reason: row.decision.explain(plan.now).to_string(),
    }
}

/// Applies a plan. Each step is skipped if its tag or manifest has changed since the plan was made.
#[utoipa::path(
    post, path = "/retention/apply", operation_id = "applyPlan", tag = "retention",
    request_body = ApplyRequest,
    responses(
        (status = OK, description = "What was removed and skipped.", body = Applied),
        Errors, ChangeErrors
    )
)]
async fn apply(
    WithBody { right: admin, body: request, .. }: WithBody<RegistryAdmin, ApplyRequest>,
) -> Result<Json<Applied>, Problem> {
    apply_plan(&admin, request).await.map(Json)
}

/// Applies a stored plan, or makes one and applies it.
pub(in crate::http) async fn apply_plan(
    admin: &RegistryAdmin,
    request: ApplyRequest,
) -> Result<Applied, Problem> {
    let repo = parse_repository(request.repository.as_deref())?;
    if repo.is_some() && request.plan.is_some() {
        return Err(Problem::bad(
            "repository: cannot be combined with plan; omit plan to apply a new one to the repository",
        ));
    }
    let retention = Arc::clone(admin.retention());
    let by = admin.by().to_owned();
    // A task of its own, so that it continues if the client disconnects.
    let work = tokio::spawn(async move {
        let plan = match request.plan {
            Some(id) => retention.stored_plan(id)?,
            None => retention.plan(repo.as_ref(), false).await?,
        };
        let done = retention.apply(&plan, request.strict, Some(&by)).await?;
        Ok::<_, RetentionError>((plan.id, done))
    });
    let (plan, done) = work.await.map_err(ServiceError::from)??;
    let AppliedReport { tags, manifests, skipped, skips, stopped, .. } = done;
    let skips = skips.into_iter().map(Skipped::from).collect();
    Ok(Applied { plan, tags, manifests, skipped, skips, stopped })
}

/// Lists past runs of the policies, newest first. Runs that found nothing to do are left out.
#[utoipa::path(
    get, path = "/retention/runs", operation_id = "listRuns", tag = "retention",
    params(PageParameters),
    responses((status = OK, description = "A page of runs.", body = Page<Run>), Errors)
)]
async fn runs(
    registry_reader: RegistryReader,
    InQuery(parameters): InQuery<PageParameters>,
) -> Result<Json<Page<Run>>, Problem> {
    let (before, limit) = parameters.read()?;
    let found = registry_reader.metadata().retention_runs(before, limit).await?;
    Ok(Json(newest_first_page(found, |run: RetentionRun| {
        let RetentionRun { id, began_at, ended_at, by, cause, tags, manifests, skipped, bytes, stopped } =
            run;
        let began_at = began_at.into();
        let ended_at = ended_at.into();
        (id, Run { began_at, ended_at, cause, by, tags, manifests, skipped, bytes, stopped })
    })))
}
