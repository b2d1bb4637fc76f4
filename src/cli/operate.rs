//! `orlop gc`, `fsck`, `scrub`, `backup`, `restore` and `export`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;

use super::adoption_report;
use super::connect::{connect, connect_or_create, start_runtime};
use super::failure::{Failure, exit_code};
use super::progress::Bar;
use super::terminal::{count, print_result, size};
use crate::clock::Timestamp;
use crate::config::Config;
use crate::jobs::scrub::ScrubReport;
use crate::maintenance::backup::BackupReport;
use crate::maintenance::export::ExportReport;
use crate::maintenance::fsck::FsckReport;
use crate::printable::escape;
use crate::server::operations::{GcReport, Operation, Report};
use crate::server::{Restored, restore};

/// Runs `operation` and prints its report.
pub(super) fn run(config: &Config, operation: Operation, json: bool) -> Result<ExitCode, Failure> {
    let report = start_runtime()?.block_on(operate(config, &operation))?;
    print_result(&report, json, to_text);
    Ok(exit_code(report.is_ok()))
}

/// Makes `path` absolute, because a running server may have another working directory.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    let absolute = std::path::absolute(path);
    absolute.map_err(|error| Failure::of(path.display(), error))
}

async fn operate(config: &Config, operation: &Operation) -> Result<Report, Failure> {
    let bar = Bar::new();
    let mut client = match operation {
        Operation::Adopt { .. } => connect_or_create(config).await?,
        _ => connect(config, operation.may_change()).await?,
    };
    Ok(client.run(operation, &|step| bar.show(&step)).await?)
}

/// The result of a restore as JSON.
#[derive(Serialize)]
struct RestoreOutcome {
    copied: Report,
    verified: Report,
}

/// Restores the backup in `dir`, and prints what was copied and verified.
pub(super) fn run_restore(config: &Config, dir: &Path, json: bool) -> Result<ExitCode, Failure> {
    let runtime = start_runtime()?;
    let dir = absolute(dir)?;
    let bar = Bar::new();
    let progress = |step| bar.show(&step);
    let Restored { copied, verified } = runtime.block_on(restore(config, &dir, &progress))?;
    drop(bar);
    let outcome = RestoreOutcome { copied: Report::Backup(copied), verified: Report::Fsck(verified) };
    print_result(&outcome, json, |RestoreOutcome { copied, verified }| to_text(copied) + &to_text(verified));
    Ok(exit_code(outcome.copied.is_ok() && outcome.verified.is_ok()))
}

pub(super) fn to_text(report: &Report) -> String {
    match report {
        Report::Gc(report) => gc(report),
        Report::Fsck(report) => fsck(report),
        Report::Scrub(report) => scrub(report),
        Report::Adopt(report) => adoption_report::adopted(report),
        Report::FinishAdoption(report) => adoption_report::finished(report),
        Report::Backup(report) => backup(report),
        Report::Export(report) => export(report),
    }
}

fn gc(report: &GcReport) -> String {
    let verb = if report.dry_run { "would be " } else { "" };
    let mut text = format!(
        "{} ({}) {verb}removed; {} {verb}moved to the trash, {} purged from it\n",
        count(report.blobs, "blob"),
        size(report.bytes),
        count(report.manifests_expired, "manifest"),
        report.manifests_purged
    );
    if report.uploads > 0 {
        let _ = writeln!(text, "{} {verb}cancelled for being idle", count(report.uploads, "upload"));
    }
    if let Some(reason) = &report.paused {
        let _ = writeln!(text, "expiry is paused: {reason}");
    }
    text
}

fn fsck(report: &FsckReport) -> String {
    let mut text = String::new();
    for problem in &report.problems {
        let repaired = if problem.repaired { " (repaired)" } else { "" };
        let _ = writeln!(text, "{}: {}{repaired}", escape(&problem.subject), escape(&problem.message));
    }
    for name in &report.unknown {
        let name = escape(name);
        let _ = writeln!(text, "{name}: unknown file; kept");
    }
    for warning in &report.warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    let blobs = count(report.blobs, "blob");
    let bytes = size(report.blob_bytes);
    let _ = writeln!(text, "{blobs} ({bytes}) and {} checked", count(report.manifests, "manifest"));
    if report.misjudged > 0 {
        let blobs = count(report.misjudged, "blob");
        let _ = writeln!(text, "recorded disk usage of {blobs} is wrong; --repair corrects it");
    }
    let found: u64 = report.counts.values().sum();
    let problems = count(found, "problem");
    let _ = match (found, report.unrepaired) {
        (0, _) => writeln!(text, "no problems found"),
        (_, 0) => writeln!(text, "{problems} found and repaired"),
        (_, left) if left == found => writeln!(text, "{problems} found"),
        (_, left) => writeln!(text, "{problems} found, {left} not repaired"),
    };
    text
}

fn scrub(report: &ScrubReport) -> String {
    let mut text = String::new();
    for problem in &report.problems {
        let _ = writeln!(text, "{}: {}", escape(&problem.subject), escape(&problem.message));
    }
    let blobs = count(report.blobs, "blob");
    let bytes = size(report.blob_bytes);
    let so_far = if report.whole { "" } else { " so far in this pass" };
    let _ = writeln!(text, "{blobs} ({bytes}) and {} checked{so_far}", count(report.manifests, "manifest"));
    if !report.whole {
        let last = report.finished_at.map(|at| Timestamp(at).rfc3339());
        let _ = writeln!(text, "last complete pass: {}", last.as_deref().unwrap_or("never"));
    }
    if let Some(reason) = &report.paused {
        let _ = writeln!(text, "the scrub is paused: {reason}");
    }
    if report.damaged > 0 {
        let _ = writeln!(text, "quarantined until pushed again: {}", count(report.damaged, "blob"));
    }
    for blob in &report.set_aside {
        let repositories = blob.repositories.join(", ");
        let _ = writeln!(text, "  {} ({}) in {repositories}", blob.digest, size(blob.size));
    }
    if report.is_sound() {
        text.push_str("no problems found\n");
    }
    text
}

fn backup(report: &BackupReport) -> String {
    let mut text = String::new();
    for problem in &report.problems {
        let _ = writeln!(text, "{}", escape(problem));
    }
    let blobs = count(report.blobs, "blob");
    let bytes = size(report.blob_bytes);
    let copied = report.copied;
    let copied_bytes = size(report.copied_bytes);
    let _ = write!(text, "{blobs} ({bytes}), {copied} ({copied_bytes}) of them copied now");
    if report.removed > 0 {
        let _ = write!(text, "; {} removed that nothing references", report.removed);
    }
    text.push('\n');
    if !report.problems.is_empty() {
        let failed = report.problems.len() as u64;
        let _ = writeln!(text, "{} not copied: run `orlop fsck`", count(failed, "blob"));
    }
    text
}

fn export(report: &ExportReport) -> String {
    let mut text = String::new();
    for problem in &report.problems {
        let _ = writeln!(text, "{}", escape(problem));
    }
    let repositories = match report.repositories {
        1 => "1 repository".to_owned(),
        number => format!("{number} repositories"),
    };
    let manifests = count(report.manifests, "manifest");
    let _ = writeln!(text, "{repositories}, {manifests} and {} exported", count(report.tags, "tag"));
    let linked = count(report.linked, "blob");
    let linked_bytes = size(report.linked_bytes);
    let copied = report.copied;
    let copied_bytes = size(report.copied_bytes);
    let _ = writeln!(text, "{linked} ({linked_bytes}) linked now, {copied} ({copied_bytes}) copied now");
    if !report.is_whole() {
        let problems = report.problems.len() as u64 + report.more_problems;
        let _ = writeln!(text, "{}: the export is not complete", count(problems, "problem"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_no_problems_for_sound_store() {
        let report = FsckReport { blobs: 1, blob_bytes: 1024, manifests: 1, ..FsckReport::default() };
        assert_eq!(fsck(&report), "1 blob (1.0 KiB) and 1 manifest checked\nno problems found\n");
    }
}
