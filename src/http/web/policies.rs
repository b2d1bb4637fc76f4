//! The retention policies in force, quotas, presets, plans, and what runs have removed.

use std::sync::Arc;

use askama::Template;
use http::StatusCode;
use uuid::Uuid;

use super::form::Form;
use super::format::{Moment, counted, filters};
use super::page::{ActionResult, Done, Notice, PageResult, page, redirect};
use super::policy_editor;
use super::state::Action;
use super::visitor::{Chrome, Visitor};
use crate::http::api::{self, ApplyRequest, PlanItem, Problem, RegistryReader};
use crate::http::query::encode;
use crate::jobs::retention::{PlanReport, Source};
use crate::metadata::{AuditAction, QuotaUse, RetentionRun, RunCause};
use crate::oci::{RepoName, Tag};
use crate::retention::{Action as RuleAction, PRESETS, Policies, Policy, Rule, TagList};

/// The number of rows on a page of a plan or of runs.
const PAGE_ITEMS: usize = 50;

/// The number of runs and of changes on the page of the policies.
const LATEST_ITEMS: usize = 5;

#[derive(Template)]
#[template(path = "web/policies.html")]
struct PoliciesPage<'a> {
    chrome: &'a Chrome,
    can_change: bool,
    policies: Vec<PolicyView>,
    warnings: &'a [String],
    broken: Option<&'a str>,
    fixed_tags: Vec<FixedTags>,
    quotas: Vec<QuotaView>,
    presets: Vec<PresetView>,
    runs: Vec<RunView>,
    changes: Vec<ChangeView>,
    last_run: Option<Moment>,
    paused: Option<String>,
}

/// A policy in force.
struct PolicyView {
    name: String,
    preset: Option<String>,
    group: Option<String>,
    repositories: Vec<String>,
    rules: Vec<RuleView>,
    in_file: bool,
    set_at: Option<Moment>,
    by: Option<String>,
}

/// A rule in words.
pub(super) struct RuleView {
    pub(super) name: String,
    pub(super) keeps: bool,
    pub(super) words: String,
}

/// Protected or immutable tags.
struct FixedTags {
    kind: &'static str,
    tags: String,
    repositories: String,
    except: Vec<String>,
}

/// A quota and its use.
struct QuotaView {
    scope: String,
    limits: Vec<LimitView>,
}

/// A limit of a quota.
struct LimitView {
    what: &'static str,
    used: u64,
    limit: u64,
    /// The use from which on the limit is nearly reached.
    high: u64,
    text: String,
    is_exceeded: bool,
}

struct PresetView {
    name: &'static str,
    toml: &'static str,
    rules: Vec<RuleView>,
}

/// A run of the policies.
struct RunView {
    at: Moment,
    cause: &'static str,
    by: Option<String>,
    tags: u64,
    manifests: u64,
    skipped: u64,
    bytes: Option<u64>,
    stopped: bool,
}

/// A change of a policy.
struct ChangeView {
    at: Moment,
    name: String,
    by: Option<String>,
    is_removed: bool,
}

pub(super) fn actions() -> Vec<Action> {
    let mut actions = vec![
        Action::new("/actions/policies/remove", AuditAction::PolicyRemove, remove),
        Action::new("/actions/policies/apply", AuditAction::RetentionApply, apply),
    ];
    actions.extend(policy_editor::actions());
    actions
}

/// The policies in force and everything around them.
pub(super) async fn show(visitor: Visitor) -> PageResult {
    let requester = visitor.requester();
    let reader = requester.registry_reader()?;
    let policies = reader.retention.policy_set();
    let in_force = policies.in_force();
    let runs = reader.metadata().retention_runs(None, LATEST_ITEMS).await?;
    let changes = reader.metadata().policy_history(None, LATEST_ITEMS).await?;
    let status = reader.retention.status();
    let template = PoliciesPage {
        chrome: visitor.chrome(),
        can_change: requester.registry_admin().is_ok(),
        policies: in_force.policies.iter().map(|(policy, source)| view(&visitor, policy, source)).collect(),
        warnings: &in_force.warnings,
        broken: in_force.broken.as_deref(),
        fixed_tags: fixed_tags(policies.file()),
        quotas: reader.registry.quota_use(None).await?.into_iter().map(QuotaView::from).collect(),
        presets: presets(),
        runs: runs.items.into_iter().map(|run| run_view(&visitor, run)).collect(),
        changes: changes
            .items
            .into_iter()
            .map(|change| ChangeView {
                at: visitor.moment(change.at),
                name: change.name,
                by: change.by,
                is_removed: change.policy.is_none(),
            })
            .collect(),
        last_run: status.last_run.map(|at| visitor.moment(at)),
        paused: status.paused,
    };
    Ok(page(StatusCode::OK, &template))
}

fn view(visitor: &Visitor, policy: &Policy, source: &Source) -> PolicyView {
    let (set_at, by) = match source {
        Source::File => (None, None),
        Source::Record { set_at, by } => (Some(visitor.moment(*set_at)), by.clone()),
    };
    PolicyView {
        name: policy.name_or_preset().to_owned(),
        preset: policy.preset.clone(),
        group: policy.group.clone(),
        repositories: policy.repositories.clone(),
        rules: rules(&policy.rules),
        in_file: *source == Source::File,
        set_at,
        by,
    }
}

/// Describes rules in words.
pub(super) fn rules(rules: &[Rule]) -> Vec<RuleView> {
    let view = |rule: &Rule| RuleView {
        name: rule.name.clone(),
        keeps: rule.action == RuleAction::Keep,
        words: rule.describe(),
    };
    rules.iter().map(view).collect()
}

fn fixed_tags(file: &Policies) -> Vec<FixedTags> {
    let listed = |list: &[String], all: &str| {
        if list.is_empty() { all.to_owned() } else { list.join(", ") }
    };
    let view = |kind: &'static str, list: &TagList| FixedTags {
        kind,
        tags: listed(&list.tags, "all tags"),
        repositories: listed(&list.repositories, "all repositories"),
        except: list.except.clone(),
    };
    let protected = file.protected.iter().map(|list| view("protected", list));
    protected.chain(file.immutable.iter().map(|list| view("immutable", list))).collect()
}

fn presets() -> Vec<PresetView> {
    let view = |preset: &crate::retention::Preset| {
        let policies = policy_editor::parse_policies(preset.toml).unwrap_or_default();
        let own = policies.first().map(|policy| rules(&policy.rules)).unwrap_or_default();
        PresetView { name: preset.name, toml: preset.toml, rules: own }
    };
    PRESETS.iter().map(view).collect()
}

impl From<QuotaUse> for QuotaView {
    fn from(found: QuotaUse) -> Self {
        let QuotaUse { quota, bytes, tags, repositories } = found;
        let limit = |what, used: u64, limit: Option<u64>, text: &dyn Fn(u64) -> String| {
            let limit = limit?;
            let text = format!("{} of {}", text(used), text(limit));
            let high = limit.saturating_mul(9) / 10;
            Some(LimitView { what, used, limit, high, text, is_exceeded: used > limit })
        };
        let limits = [
            limit("Storage", bytes, quota.bytes, &super::format::bytes),
            limit("Tags", tags, quota.tags, &super::format::grouped),
            limit("Repositories", repositories, quota.repositories, &super::format::grouped),
        ];
        let scope = quota.scope.as_str();
        let scope = if scope.is_empty() { "all repositories" } else { scope };
        Self { scope: scope.to_owned(), limits: limits.into_iter().flatten().collect() }
    }
}

fn run_view(visitor: &Visitor, run: RetentionRun) -> RunView {
    RunView {
        at: visitor.moment(run.began_at),
        cause: match run.cause {
            RunCause::Interval => "schedule",
            RunCause::Request => "request",
            RunCause::Pressure => "disk nearly full",
        },
        by: run.by,
        tags: run.tags,
        manifests: run.manifests,
        skipped: run.skipped,
        bytes: run.bytes,
        stopped: run.stopped,
    }
}

#[derive(Template)]
#[template(path = "web/policy_runs.html")]
struct RunsPage<'a> {
    chrome: &'a Chrome,
    runs: Vec<RunView>,
    is_continued: bool,
    next: Option<i64>,
}

/// The runs that removed something, newest first.
pub(super) async fn show_runs(visitor: Visitor) -> PageResult {
    let reader = visitor.requester().registry_reader()?;
    let before = visitor.query("after").map(str::parse).transpose();
    let before = before.map_err(|_| Problem::bad("after: not a position in this list"))?;
    let found = reader.metadata().retention_runs(before, PAGE_ITEMS).await?;
    let next = found.items.last().map(|run| run.id).filter(|_| found.more);
    let runs = found.items.into_iter().map(|run| run_view(&visitor, run)).collect();
    let template = RunsPage { chrome: visitor.chrome(), runs, is_continued: before.is_some(), next };
    Ok(page(StatusCode::OK, &template))
}

/// A page of a plan.
pub(super) struct PlanView {
    id: Uuid,
    made_at: Moment,
    tags: u64,
    tags_kept: u64,
    manifests: u64,
    would_free: Option<u64>,
    pub(super) kept_left_out: bool,
    /// Whether the rows leave out what stays.
    pub(super) only_expiring: bool,
    pub(super) rows: Vec<PlanRow>,
    /// The number of the first row of the next page.
    pub(super) next: Option<String>,
    pub(super) is_continued: bool,
}

/// The decision on a tag or a manifest.
pub(super) struct PlanRow {
    pub(super) item: PlanItem,
    /// The address of the tag or the manifest.
    pub(super) href: String,
    pub(super) short: String,
    pub(super) bytes: Option<u64>,
}

impl PlanView {
    /// The rows of a plan from number `from` on.
    pub(super) async fn of(
        visitor: &Visitor,
        reader: &RegistryReader,
        plan: &PlanReport,
        from: usize,
        only_expiring: bool,
    ) -> Result<Self, Problem> {
        let shown = api::plan_page(plan, from, PAGE_ITEMS, only_expiring);
        let mut rows = Vec::with_capacity(shown.items.len());
        for item in shown.items {
            rows.push(plan_row(reader, item).await?);
        }
        Ok(Self {
            id: shown.plan,
            made_at: visitor.moment(shown.made_at.0),
            tags: shown.tags,
            tags_kept: shown.tags_kept,
            manifests: shown.manifests,
            would_free: shown.would_free,
            kept_left_out: shown.kept_left_out,
            only_expiring,
            rows,
            next: shown.next,
            is_continued: from > 0,
        })
    }

    /// The address of a page of the plan.
    fn link(&self, only_expiring: bool, from: Option<&str>) -> String {
        let all = if only_expiring { "" } else { "&show=all" };
        let after = from.map_or_else(String::new, |from| format!("&after={from}"));
        format!("/policies/plan?plan={}{all}{after}", self.id)
    }

    /// The address of the first page of the same rows.
    pub(super) fn first_link(&self) -> String {
        self.link(self.only_expiring, None)
    }

    /// The address of the next page.
    pub(super) fn next_link(&self) -> Option<String> {
        let next = self.next.as_deref()?;
        Some(self.link(self.only_expiring, Some(next)))
    }

    /// The address of the plan with what stays.
    pub(super) fn whole_link(&self) -> String {
        self.link(false, None)
    }

    /// The address of the plan without what stays.
    pub(super) fn expiring_link(&self) -> String {
        self.link(true, None)
    }

    /// What the plan does, in a sentence.
    pub(super) fn summary(&self) -> String {
        if self.tags == 0 && self.manifests == 0 {
            return format!("Nothing would be removed. {} stay.", counted(self.tags_kept, "tag"));
        }
        let freed = self.would_free.map_or_else(String::new, |bytes| {
            format!(", which frees {} once the trash is emptied", super::format::bytes(bytes))
        });
        format!(
            "{} and {} would move to the trash{freed}. {} stay.",
            counted(self.tags, "tag"),
            counted(self.manifests, "manifest"),
            counted(self.tags_kept, "tag")
        )
    }
}

async fn plan_row(reader: &RegistryReader, item: PlanItem) -> Result<PlanRow, Problem> {
    let unreadable = |_| Problem::failed();
    let repo: RepoName = item.repository.parse().map_err(|_| Problem::failed())?;
    let digest = item.digest.parse().map_err(unreadable)?;
    let (href, bytes) = if let Some(tag) = &item.tag {
        let tag: Tag = tag.parse().map_err(|_| Problem::failed())?;
        let entry = reader.metadata().tag_entry(&repo, &tag).await?;
        (format!("/r/{repo}:{tag}"), entry.map(|entry| entry.manifest.size))
    } else {
        let entry = reader.metadata().manifest_entry(&repo, &digest).await?;
        (format!("/r/{repo}@{digest}"), entry.map(|(entry, _)| entry.size))
    };
    Ok(PlanRow { href, short: super::format::short(&digest), bytes, item })
}

#[derive(Template)]
#[template(path = "web/plan.html")]
struct PlanPage<'a> {
    chrome: &'a Chrome,
    plan: PlanView,
    /// Whether the visitor may apply it now.
    can_apply: bool,
    is_current: bool,
}

/// A plan: what the policies in force, or those of a preview, would do. Without an id a new one is made.
pub(super) async fn show_plan(visitor: Visitor) -> PageResult {
    let reader = visitor.requester().registry_reader()?;
    let Some(id) = visitor.query("plan") else {
        let repo = visitor.query("repository").map(str::trim).map(str::parse::<RepoName>).transpose();
        let repo = repo.map_err(|error| Problem::bad(format_args!("repository: {error}")))?;
        let plan = reader.retention.plan(repo.as_ref(), false).await?;
        return Ok(redirect(&format!("/policies/plan?plan={}", plan.id)));
    };
    let id = id.parse().map_err(|_| Problem::bad("plan: not the id of a plan"))?;
    let plan = reader.retention.stored_plan(id)?;
    let from = visitor.query("after").map(str::parse).transpose();
    let from = from.map_err(|_| Problem::bad("after: not a position in this list"))?.unwrap_or(0);
    let only_expiring = visitor.query("show") != Some("all");
    let is_current = reader.retention.is_current(&plan);
    let template = PlanPage {
        chrome: visitor.chrome(),
        plan: PlanView::of(&visitor, &reader, &plan, from, only_expiring).await?,
        can_apply: is_current && plan.steps() > 0 && visitor.requester().registry_admin().is_ok(),
        is_current,
    };
    Ok(page(StatusCode::OK, &template))
}

async fn apply(form: Form) -> ActionResult {
    let plan: Uuid = form.parse("plan")?;
    form.audit(None, plan.to_string());
    let admin = form.visitor.requester().registry_admin()?;
    let request = ApplyRequest { plan: Some(plan), ..ApplyRequest::default() };
    api::apply_plan(&admin, request).await?;
    Ok(Done::go_to("/policies").saying(Notice::PolicyApplied))
}

async fn remove(form: Form) -> ActionResult {
    let name = form.text("name").to_owned();
    form.audit(None, name.clone());
    let admin = form.visitor.requester().registry_admin()?;
    let policies = Arc::clone(admin.retention().policy_set());
    policies.remove(admin.registry(), &name, Some(admin.by())).await?;
    Ok(Done::go_to("/policies").saying(Notice::PolicyRemoved))
}

/// The address of the editor for a policy.
pub(super) fn edit_link(name: &str) -> String {
    format!("/policies/edit?name={}", encode(name))
}
