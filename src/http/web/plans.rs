//! Plans: what the policies in force, or those of a preview, would remove. Plans can be applied.

use askama::Template;
use http::StatusCode;
use uuid::Uuid;

use super::chrome::Chrome;
use super::form::Form;
use super::format::{Moment, counted, filters};
use super::notice::Notice;
use super::page::{ActionResult, Done, PageResult, page, redirect};
use super::state::Action;
use super::visitor::Visitor;
use crate::http::api::{self, ApplyRequest, PlanItem, Problem, RegistryReader};
use crate::jobs::retention::PlanReport;
use crate::metadata::AuditAction;
use crate::oci::{RepoName, Tag};

/// The number of rows on a page.
const PAGE_ITEMS: usize = 50;

pub(super) fn actions() -> Vec<Action> {
    vec![Action::new("/actions/policies/apply", AuditAction::RetentionApply, apply)]
}

/// A page of a plan.
pub(super) struct PlanView {
    id: Uuid,
    made_at: Moment,
    tags: u64,
    tags_kept: u64,
    manifests: u64,
    would_free: Option<u64>,
    would_free_later: u64,
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
            would_free_later: shown.would_free_later,
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
        let mut freed = self.would_free.map_or_else(String::new, |bytes| {
            format!(", which frees {} once the trash is emptied", super::format::bytes(bytes))
        });
        if self.would_free_later > 0 {
            let later = super::format::bytes(self.would_free_later);
            freed += &format!(", and {later} once the old tree is removed");
        }
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
pub(super) async fn show(visitor: Visitor) -> PageResult {
    let reader = visitor.requester().registry_reader()?;
    let Some(id) = visitor.query("plan") else {
        let repo = visitor.query("repository").map(str::trim).map(str::parse::<RepoName>).transpose();
        let repo = repo.map_err(|error| Problem::bad(format_args!("repository: {error}")))?;
        let plan = match visitor.query("released") {
            Some(_) => reader.retention.plan_after_release(repo.as_ref()).await?,
            None => reader.retention.plan(repo.as_ref(), false).await?,
        };
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
