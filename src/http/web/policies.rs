//! The retention policies in force, quotas, presets, and what runs have removed.

use std::sync::Arc;

use askama::Template;
use http::StatusCode;

use super::chrome::Chrome;
use super::form::Form;
use super::format::{Moment, filters};
use super::notice::Notice;
use super::page::{ActionResult, Done, PageResult, page};
use super::policy_text::{RuleView, parse_policies, rules};
use super::state::Action;
use super::visitor::Visitor;
use crate::http::api::Problem;
use crate::http::query::encode;
use crate::jobs::retention::Source;
use crate::metadata::{AuditAction, QuotaUse, RetentionRun, RunCause};
use crate::retention::{PRESETS, Policies, Policy, TagList};

/// The number of runs on a page.
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
    vec![Action::new("/actions/policies/remove", AuditAction::PolicyRemove, remove)]
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
        let policies = parse_policies(preset.toml).unwrap_or_default();
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

async fn remove(form: Form) -> ActionResult {
    let name = form.text("name").to_owned();
    form.audit(None, name.clone());
    let admin = form.visitor.requester().registry_admin()?;
    let policies = Arc::clone(admin.retention().policy_set());
    policies.remove(admin.registry(), &name, Some(admin.by())).await?;
    Ok(Done::go_to("/policies").saying(Notice::PolicyRemoved))
}

/// The address of the editor for a policy.
fn edit_link(name: &str) -> String {
    format!("/policies/edit?name={}", encode(name))
}
