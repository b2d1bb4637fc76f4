//! Background work: the collector, retention and the scrub, with their last and next runs, the disk, and quarantined
//! blobs.

use askama::Template;
use http::StatusCode;

use super::activity::Tabs;
use super::chrome::Chrome;
use super::form::Form;
use super::format::{Moment, bytes, counted, filters};
use super::notice::Notice;
use super::page::{ActionResult, Done, PageResult, page};
use super::state::Action;
use super::visitor::Visitor;
use crate::http::api::Problem;
use crate::jobs::scrub::{ScrubFigures, ScrubState};
use crate::jobs::{BackgroundJob, Collected, JobState};
use crate::metadata::{AuditAction, RetentionRun};

/// The number of quarantined blobs on the page.
const MAX_QUARANTINED: usize = 50;

#[derive(Template)]
#[template(path = "web/background.html")]
struct BackgroundPage<'a> {
    chrome: &'a Chrome,
    tabs: Tabs,
    can_run: bool,
    problem: Option<String>,
    warnings: Vec<String>,
    jobs: Vec<JobView>,
    scrubbed: Progress,
    disk: Vec<Gauge>,
    quarantined: Vec<Quarantined>,
    more_quarantined: bool,
}

/// A job.
struct JobView {
    /// The name in forms.
    key: &'static str,
    name: &'static str,
    purpose: &'static str,
    is_running: bool,
    paused: Option<String>,
    has_failed: bool,
    last: Option<Moment>,
    next: Option<Moment>,
    results: Vec<String>,
}

/// How much of a pass is done.
struct Progress {
    done: u64,
    total: u64,
}

/// How full something is.
struct Gauge {
    name: &'static str,
    used: u64,
    total: u64,
    high: u64,
    text: String,
}

/// A quarantined blob.
struct Quarantined {
    digest: String,
    size: u64,
    repositories: Vec<String>,
}

pub(super) fn actions() -> Vec<Action> {
    vec![Action::new("/actions/background/run", AuditAction::JobRun, run)]
}

/// The state of background work.
pub(super) async fn show(visitor: Visitor) -> PageResult {
    let reader = visitor.requester().registry_reader()?;
    let report = reader.background().await?;
    let quarantined = reader.metadata().quarantined_blobs(None, MAX_QUARANTINED).await?;
    let health = reader.health.recent().await;
    let runs = |key, name, purpose, runs: JobState, paused, results| JobView {
        key,
        name,
        purpose,
        is_running: runs.running,
        paused,
        has_failed: runs.error.is_some(),
        last: runs.finished_at.or(runs.started_at).map(|at| visitor.moment(at)),
        next: runs.next_at.map(|at| visitor.moment(at)),
        results,
    };
    let jobs = vec![
        runs(
            "collector",
            "Collector",
            "removes what nothing needs any more, and frees its space",
            report.collector_runs,
            report.collector.paused,
            collector_results(&report.collector.last, &report.collector.total),
        ),
        runs(
            "retention",
            "Retention",
            "applies the policies",
            report.retention_runs,
            report.retention.paused,
            report.last_retention.iter().map(|run| retention_result(&visitor, run)).collect(),
        ),
        scrub_view(&visitor, &report.scrub),
    ];
    let template = BackgroundPage {
        chrome: visitor.chrome(),
        tabs: Tabs::new(&visitor, "/activity/background"),
        can_run: visitor.requester().registry_admin().is_ok(),
        problem: health.as_ref().err().cloned(),
        warnings: health.unwrap_or_default(),
        jobs,
        scrubbed: Progress { done: report.scrub.progress.blob_bytes, total: report.scrub.total_bytes },
        disk: gauges(&visitor).await?,
        quarantined: quarantined
            .items
            .into_iter()
            .map(|blob| Quarantined {
                digest: blob.key.digest.to_string(),
                size: blob.size,
                repositories: blob.repos.iter().map(ToString::to_string).collect(),
            })
            .collect(),
        more_quarantined: quarantined.more,
    };
    Ok(page(StatusCode::OK, &template))
}

async fn gauges(visitor: &Visitor) -> Result<Vec<Gauge>, Problem> {
    let overview = visitor.requester().overview().await?;
    let Some(store) = &overview.store else { return Ok(Vec::new()) };
    let total = store.disk.total;
    let used = total.saturating_sub(store.disk.free);
    let text = format!("{} of {} used, {} free", bytes(used), bytes(total), bytes(store.disk.free));
    let mut gauges = vec![Gauge { name: "Disk", used, total, high: total / 10 * 9, text }];
    if let Some((budget, _)) = &store.budget {
        let taken = budget.taken();
        let text = format!(
            "{} of {} used; space is reclaimed above {}, down to {}",
            bytes(taken),
            bytes(budget.budget),
            bytes(budget.high),
            bytes(budget.low)
        );
        gauges.push(Gauge { name: "Budget", used: taken, total: budget.budget, high: budget.high, text });
    }
    Ok(gauges)
}

fn collector_results(last: &Collected, total: &Collected) -> Vec<String> {
    let freed = |collected: &Collected| {
        format!("{} freed from {}", bytes(collected.bytes), counted(collected.blobs, "blob"))
    };
    vec![
        format!(
            "last run: {}, {} moved to the trash, {} removed from it",
            freed(last),
            counted(last.manifests_expired, "manifest"),
            counted(last.manifests_purged, "manifest")
        ),
        format!("since the start: {}", freed(total)),
    ]
}

fn retention_result(visitor: &Visitor, run: &RetentionRun) -> String {
    let when = visitor.moment(run.ended_at).text;
    let tags = counted(run.tags, "tag");
    let manifests = counted(run.manifests, "manifest");
    format!("last removal {when}: {tags} and {manifests}, {} skipped", run.skipped)
}

fn scrub_view(visitor: &Visitor, scrub: &ScrubState) -> JobView {
    let found = |figures: &ScrubFigures| {
        format!(
            "{} ({}) and {} read, {} found",
            counted(figures.blobs, "blob"),
            bytes(figures.blob_bytes),
            counted(figures.manifests, "manifest"),
            counted(figures.problems, "problem")
        )
    };
    let began = visitor.moment(scrub.began_at).text;
    let mut results = vec![format!("this pass, which began {began}: {}", found(&scrub.progress))];
    results.extend(scrub.last_pass.iter().map(|pass| format!("last pass: {}", found(pass))));
    if !scrub.scheduled && !scrub.requested {
        results.push("passes run on request only (scrub.period is off)".to_owned());
    }
    JobView {
        key: "scrub",
        name: "Scrub",
        purpose: "reads everything that is stored and compares it with its digest",
        is_running: scrub.requested,
        paused: scrub.paused.clone(),
        has_failed: false,
        last: scrub.finished_at.map(|at| visitor.moment(at)),
        next: None,
        results,
    }
}

/// Runs a job now.
async fn run(form: Form) -> ActionResult {
    form.audit(None, form.text("job").to_owned());
    let admin = form.visitor.requester().registry_admin()?;
    let job = match form.text("job") {
        "collector" => BackgroundJob::Collector,
        "retention" => BackgroundJob::Retention,
        "scrub" => BackgroundJob::Scrub,
        other => return Err(Problem::bad(format_args!("job: there is no job {other:?}"))),
    };
    admin.run_job(job)?;
    Ok(Done::go_to("/activity/background").saying(Notice::JobStarted))
}
