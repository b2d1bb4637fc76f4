//! What policies would do, doing it, and what they did.

use std::sync::Arc;

use axum::Json;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::access::{RegistryAdmin, RegistryReader, Requester};
use super::extract::{InQuery, WithBody};
use super::page::{RecentParameters, items, recent};
use super::problem::{ChangeRefusals, Refusals};
use super::{Api, Page, Problem, Time};
use crate::jobs::retention::{AppliedReport, PlanReport, RetentionError, Row, Skip, Totals};
use crate::metadata::{RetentionRun, RunCause, Scope};
use crate::oci::{RepoName, Tag};

/// What policies would do: a page of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Plan {
    /// What the plan is asked for again by, and applied by, until some more were made.
    pub plan: Uuid,
    /// When it was made.
    pub made_at: Time,
    /// Whether it is for a store that is nearly full.
    pub pressure: bool,
    /// How many tags would go.
    pub tags: u64,
    /// How many tags would stay, in the repositories that rules are for.
    pub tags_kept: u64,
    /// How many manifests would go.
    pub manifests: u64,
    /// The bytes that would come free; `null` where that is not known.
    #[schema(required)]
    pub would_free: Option<u64>,
    /// Whether what stays is not among the items: it would take too much memory. A plan of one repository may have it.
    pub kept_left_out: bool,
    /// Tags and manifests, those of a repository together.
    pub items: Vec<PlanItem>,
    /// What to ask for the next page with, as `after` beside `plan`. `null` on the last one.
    #[schema(required)]
    pub next: Option<String>,
}

/// The decision on a tag or a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlanItem {
    /// Whose.
    pub repository: String,
    /// The tag; `null` for a manifest that no tag is left for.
    #[schema(required)]
    pub tag: Option<String>,
    /// The manifest, or what the tag points at.
    pub digest: String,
    /// Whether it would go.
    pub expires: bool,
    /// The policy by which it would go.
    #[schema(required)]
    pub policy: Option<String>,
    /// The rule by which it would go.
    #[schema(required)]
    pub rule: Option<String>,
    /// Why it would go or stay, for people.
    pub reason: String,
}

/// Which plan, or which part of one.
#[derive(Debug, Clone, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PlanParameters {
    /// Only this repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// As if the store were nearly full.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pressure: Option<bool>,
    /// Only what would go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiring: Option<bool>,
    /// A plan that was made before, in the place of a new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<Uuid>,
    /// The `next` of the page before, of the same plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// How many items, 100 where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}

/// What is to be applied.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ApplyRequest {
    /// The plan; without one, a new one is made.
    pub plan: Option<Uuid>,
    /// The repository that a new plan is for; without one, all.
    pub repository: Option<String>,
    /// Stop at the first tag or manifest that has changed since it was judged, instead of leaving it alone.
    pub strict: bool,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Applied {
    /// The plan.
    pub plan: Uuid,
    /// How many tags went.
    pub tags: u64,
    /// How many manifests went to the trash at once; what belongs to them follows.
    pub manifests: u64,
    /// How many steps were not done, because something had changed.
    pub skipped: u64,
    /// The first of those.
    pub skips: Vec<Skipped>,
    /// Whether it stopped at one.
    pub stopped: bool,
}

/// What has changed since it was judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Skipped {
    /// Whose.
    pub repository: String,
    /// The tag; `null` for a manifest.
    #[schema(required)]
    pub tag: Option<String>,
    /// The manifest, or what the tag pointed at.
    pub digest: String,
}

/// What policies took away in one go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Run {
    /// When it began.
    pub began_at: Time,
    /// When it ended.
    pub ended_at: Time,
    /// What set it off: `interval`, `request` or `pressure`.
    #[schema(value_type = String)]
    pub cause: RunCause,
    /// By whom, if that is known.
    #[schema(required)]
    pub by: Option<String>,
    /// How many tags went.
    pub tags: u64,
    /// How many manifests went to the trash at once.
    pub manifests: u64,
    /// How many steps were not done, because something had changed.
    pub skipped: u64,
    /// The bytes that come free with them, where that is known.
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

pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(plan)).routes(routes!(apply)).routes(routes!(runs))
}

/// What policies would do now. Nothing changes; the plan is held until some more were made.
#[utoipa::path(
    get, path = "/retention/plan", operation_id = "getPlan", tag = "retention",
    params(PlanParameters),
    responses(
        (status = OK, description = "A page of it.", body = Plan),
        (status = CONFLICT, description = "Policies cannot be used.", body = Problem,
         content_type = "application/problem+json"),
        Refusals
    )
)]
async fn plan(asker: Requester, InQuery(parameters): InQuery<PlanParameters>) -> Result<Json<Plan>, Problem> {
    let limit = items(parameters.limit)?;
    let from = match (parameters.after.as_deref().filter(|after| !after.is_empty()), parameters.plan) {
        (Some(after), Some(_)) => {
            after.parse().map_err(|_| Problem::bad("after: is not the next of a page"))?
        }
        (Some(_), None) => return Err(Problem::bad("after: goes with the plan that it is from")),
        (None, _) => 0,
    };
    let plan = match parameters.plan {
        Some(_) if parameters.repository.is_some() || parameters.pressure.is_some() => {
            return Err(Problem::bad("plan: was made already, so repository and pressure cannot be chosen"));
        }
        Some(id) => asker.overseer()?.retention().held(id)?,
        None => {
            let repo = repository(parameters.repository.as_deref())?;
            let scope = repo.clone().map_or(Scope::All, Scope::One);
            let retention = Arc::clone(asker.overseer_of(&scope)?.retention());
            retention.plan(repo.as_ref(), parameters.pressure.unwrap_or(false)).await?
        }
    };
    Ok(Json(page(&plan, from, limit, parameters.expiring.unwrap_or(false))))
}

fn repository(name: Option<&str>) -> Result<Option<RepoName>, Problem> {
    let read = |name: &str| name.parse().map_err(|error| Problem::bad(format_args!("repository: {error}")));
    name.map(read).transpose()
}

fn page(plan: &PlanReport, from: usize, limit: usize, expiring: bool) -> Plan {
    let Totals { tags, tags_kept, manifests } = plan.totals;
    let (mut items, mut next) = (Vec::new(), None);
    for (number, repo, row) in plan.rows_from(from) {
        if expiring && row.decision.expiry().is_none() {
            continue;
        }
        if items.len() == limit {
            next = Some(number.to_string());
            break;
        }
        items.push(item(plan, repo, row));
    }
    let PlanReport { id, now, pressure, would_free, kept_left_out, .. } = *plan;
    let made_at = now.into();
    Plan { plan: id, made_at, pressure, tags, tags_kept, manifests, would_free, kept_left_out, items, next }
}

fn item(plan: &PlanReport, repo: &RepoName, row: &Row) -> PlanItem {
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

/// Does what a plan says, compared step by step with what is there.
#[utoipa::path(
    post, path = "/retention/apply", operation_id = "applyPlan", tag = "retention",
    request_body = ApplyRequest,
    responses((status = OK, description = "What was done.", body = Applied), Refusals, ChangeRefusals)
)]
async fn apply(
    WithBody { right: may, body: request, .. }: WithBody<RegistryAdmin, ApplyRequest>,
) -> Result<Json<Applied>, Problem> {
    let repo = repository(request.repository.as_deref())?;
    if repo.is_some() && request.plan.is_some() {
        return Err(Problem::bad(
            "repository: a plan is done as a whole; for a repository alone name no plan",
        ));
    }
    let (retention, by) = (Arc::clone(may.retention()), may.by().to_owned());
    // It goes on where the client goes away.
    let work = tokio::spawn(async move {
        let plan = match request.plan {
            Some(id) => retention.held(id)?,
            None => retention.plan(repo.as_ref(), false).await?,
        };
        let done = retention.apply(&plan, request.strict, Some(&by)).await?;
        Ok::<_, RetentionError>((plan.id, done))
    });
    let (plan, done) = work.await.map_err(|_| Problem::failed())??;
    let AppliedReport { tags, manifests, skipped, skips, stopped, .. } = done;
    let skips = skips.into_iter().map(Skipped::from).collect();
    Ok(Json(Applied { plan, tags, manifests, skipped, skips, stopped }))
}

/// What policies took away, newest first. Runs that found nothing to do are not among them.
#[utoipa::path(
    get, path = "/retention/runs", operation_id = "listRuns", tag = "retention",
    params(RecentParameters),
    responses((status = OK, description = "A page of runs.", body = Page<Run>), Refusals)
)]
async fn runs(
    overseer: RegistryReader,
    InQuery(parameters): InQuery<RecentParameters>,
) -> Result<Json<Page<Run>>, Problem> {
    let (before, limit) = parameters.read()?;
    let found = overseer
        .metadata()
        .retention_runs(before, limit)
        .await
        .map_err(crate::registry::ServiceError::from)?;
    Ok(Json(recent(found, |run: RetentionRun| {
        let RetentionRun { id, began_at, ended_at, by, cause, tags, manifests, skipped, bytes, stopped } =
            run;
        let (began_at, ended_at) = (began_at.into(), ended_at.into());
        (id, Run { began_at, ended_at, cause, by, tags, manifests, skipped, bytes, stopped })
    })))
}
