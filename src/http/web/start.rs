//! The start page: what fills the disk, the latest pushes, and warnings. An empty registry shows how to push to it.

use std::cmp::Reverse;

use askama::Template;
use http::StatusCode;

use super::chart::{Area, AreaKind, Gauge, Growth, TreemapPicture};
use super::chrome::Chrome;
use super::format::{Moment, filters};
use super::page::{PageResult, page};
use super::sign_in;
use super::visitor::Visitor;
use crate::http::api::Problem;
use crate::metadata::{ChangeKind, RecentPush};
use crate::reports::{Overview, StoreOverview};

/// The number of pushes that the page lists.
const MAX_PUSHES: usize = 12;

/// The number of repositories that the table lists.
const MAX_ROWS: usize = 10;

#[derive(Template)]
#[template(path = "web/start.html")]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about the registry")]
struct StartPage<'a> {
    chrome: &'a Chrome,
    host: String,
    is_https: bool,
    /// Whether the host is this machine, for which Docker accepts HTTP.
    is_loopback: bool,
    /// Whether there is nothing to pull.
    is_empty: bool,
    warnings: Vec<Warning>,
    /// Whether adopted images wait for their release.
    holds_adopted: bool,
    disk: Option<DiskView>,
    /// The same treemap for wide and for narrow screens.
    pictures: [TreemapPicture; 2],
    areas: Vec<Area>,
    /// The repositories that the table leaves out.
    others: bool,
    pushes: Vec<PushView>,
}

/// A warning, and whether pushes fail because of it.
struct Warning {
    text: String,
    is_bad: bool,
}

/// The disk and its usage.
struct DiskView {
    used: u64,
    gauge: Gauge,
    budget: Option<BudgetView>,
    growth: Option<Growth>,
    reclaimable: u64,
}

/// The budget and its marks.
struct BudgetView {
    limit: u64,
    taken: u64,
    high: u64,
    low: u64,
    gauge: Gauge,
}

/// A push in the list.
struct PushView {
    repository: String,
    tag: String,
    at: Moment,
    by: Option<String>,
    what: &'static str,
}

/// The start page, or the sign-in page with status 200 for visitors without access: probes request this path without
/// a password.
pub(super) async fn show(visitor: Visitor) -> PageResult {
    if !visitor.has_access() && visitor.session().is_none() {
        return Ok(sign_in::form_page(&visitor, StatusCode::OK, "", "/", None));
    }
    let requester = visitor.requester();
    let overview = requester.overview().await?;
    let pushes = requester.recent_pushes(MAX_PUSHES).await?;
    let warnings = if requester.sees_all() { warnings(&visitor).await } else { Vec::new() };
    let holds_adopted = requester.sees_all() && holds_adopted(&visitor).await?;
    let areas = areas(&overview);
    let host = visitor.registry_host();
    Ok(page(
        StatusCode::OK,
        &StartPage {
            chrome: visitor.chrome(),
            is_https: visitor.is_https(),
            is_loopback: is_loopback(&host),
            host,
            is_empty: pushes.is_empty() && overview.repositories.is_empty(),
            warnings,
            holds_adopted,
            disk: overview.store.as_ref().map(disk),
            pictures: [
                TreemapPicture::new(&areas, "only-wide", 1000, 340),
                TreemapPicture::new(&areas, "only-narrow", 360, 420),
            ],
            others: overview.others || overview.repositories.len() > MAX_ROWS,
            areas: table(areas),
            pushes: pushes.into_iter().map(|push| push_view(&visitor, push)).collect(),
        },
    ))
}

/// The warnings of the health check.
async fn warnings(visitor: &Visitor) -> Vec<Warning> {
    match visitor.web().state.health.recent().await {
        Ok(warnings) => warnings.into_iter().map(|text| Warning { text, is_bad: false }).collect(),
        Err(problem) => vec![Warning { text: format!("pushes fail: {problem}"), is_bad: true }],
    }
}

/// Whether no policy may remove what was adopted yet.
async fn holds_adopted(visitor: &Visitor) -> Result<bool, Problem> {
    let adoption = visitor.web().state.registry.metadata().adoption().await?;
    Ok(adoption.is_some_and(|adoption| adoption.released_at.is_none()))
}

/// The areas of the disk usage, repositories first.
fn areas(overview: &Overview) -> Vec<Area> {
    let repositories = overview.repositories.iter().filter(|repository| repository.bytes > 0);
    let mut areas: Vec<Area> = repositories
        .enumerate()
        .map(|(at, repository)| Area::repository(at, repository.repo.as_str(), repository.bytes))
        .collect();
    if let Some(store) = &overview.store {
        let found = &store.areas;
        let parts = [
            ("Other repositories", AreaKind::Other, found.other_repositories),
            ("Shared by repositories", AreaKind::Shared, found.shared),
            ("Trash", AreaKind::Removed, found.trash),
            ("Untagged", AreaKind::Removed, found.untagged),
            ("Pushed without a manifest", AreaKind::Removed, found.leased),
            ("Being removed", AreaKind::Removed, found.pending_deletion),
            ("Uploads in progress", AreaKind::Other, found.uploads),
            ("Database and its log", AreaKind::Other, found.database),
            ("Directories", AreaKind::Other, found.directories),
        ];
        let parts = parts.into_iter().filter(|(_, _, size)| *size > 0);
        areas.extend(parts.map(|(name, kind, size)| Area::part(name, kind, size)));
    }
    areas
}

/// The largest repositories, and all other areas, by size.
fn table(mut areas: Vec<Area>) -> Vec<Area> {
    areas.sort_by_key(|area| Reverse(area.size));
    let mut repositories = 0;
    areas
        .into_iter()
        .filter(|area| {
            repositories += usize::from(area.is_repository());
            !area.is_repository() || repositories <= MAX_ROWS
        })
        .collect()
}

fn disk(store: &StoreOverview) -> DiskView {
    let used = store.stored.total();
    let foreign = store.disk.total.saturating_sub(store.disk.free).saturating_sub(used);
    let gauge = Gauge::new(
        store.disk.total,
        &[("Registry", "repository-0", used), ("Other files", "shared", foreign)],
    );
    let budget = store.budget.map(|(state, _)| BudgetView {
        limit: state.budget,
        taken: state.taken(),
        high: state.high,
        low: state.low,
        gauge: Gauge::new(
            state.budget,
            &[("Used", "repository-0", state.used), ("Uploads", "shared", state.reserved)],
        )
        .with_marks(&[state.low, state.high]),
    });
    let found = &store.areas;
    DiskView {
        used,
        gauge,
        budget,
        growth: Growth::new(&store.days),
        reclaimable: found.trash + found.untagged + found.leased + found.pending_deletion,
    }
}

fn push_view(visitor: &Visitor, push: RecentPush) -> PushView {
    PushView {
        repository: push.repo.to_string(),
        tag: push.tag.to_string(),
        at: visitor.moment(push.at),
        by: push.by,
        what: match push.kind {
            Some(ChangeKind::Move) => "moved",
            Some(ChangeKind::Restore | ChangeKind::Rollback) => "restored",
            _ => "pushed",
        },
    }
}

/// Whether Docker accepts HTTP for a host by default.
fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host.starts_with("localhost:")
        || host.starts_with("127.")
        || host.starts_with("[::1]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_accepts_http_only_for_this_machine() {
        for host in ["localhost", "localhost:5000", "127.0.0.1:5000", "[::1]:5000"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["nas:5000", "localhost.example.org", "192.168.1.2:5000"] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
