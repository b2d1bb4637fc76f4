//! Results, for people and for programs.

use std::fmt::Write as _;

use super::table::{print_json, size, write_out};
use crate::clock::Timestamp;
use crate::jobs::backup::BackupReport;
use crate::jobs::fsck::FsckReport;
use crate::jobs::scrub::ScrubReport;
use crate::printable::escape;
use crate::server::operations::{GcReport, Report};

/// Prints `report` to standard output.
pub(super) fn print(report: &Report, json: bool) {
    if json { print_json(report) } else { write_out(&to_text(report)) }
}

fn to_text(report: &Report) -> String {
    match report {
        Report::Gc(report) => gc(report),
        Report::Fsck(report) => fsck(report),
        Report::Scrub(report) => scrub(report),
        Report::Backup(report) => backup(report),
    }
}

/// `number` of something, which has an s at its end where there are several.
pub(super) fn many(number: u64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

fn gc(report: &GcReport) -> String {
    let verb = if report.dry_run { "would be " } else { "" };
    let mut text = format!(
        "{} ({}) {verb}removed; {} {verb}moved to the trash, {} purged from it\n",
        many(report.blobs, "blob"),
        size(report.bytes),
        many(report.manifests_expired, "manifest"),
        report.manifests_purged
    );
    if report.uploads > 0 {
        let _ = writeln!(text, "{} {verb}ended for being idle", many(report.uploads, "upload"));
    }
    if let Some(reason) = &report.paused {
        let _ = writeln!(text, "nothing expires at the moment: {reason}");
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
        let _ = writeln!(text, "{name}: not the registry's; kept");
    }
    for warning in &report.warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    let (blobs, bytes, manifests) = (many(report.blobs, "blob"), size(report.blob_bytes), report.manifests);
    let _ = writeln!(text, "{blobs} ({bytes}) and {} checked", many(manifests, "manifest"));
    if report.misjudged > 0 {
        let blobs = many(report.misjudged, "blob");
        let _ =
            writeln!(text, "{blobs} take more or less of the disk than was recorded; --repair records it");
    }
    let found: u64 = report.counts.values().sum();
    let problems = many(found, "problem");
    let _ = match (found, report.unrepaired) {
        (0, _) => writeln!(text, "nothing is wrong"),
        (_, 0) => writeln!(text, "{problems} found and repaired"),
        (_, left) if left == found => writeln!(text, "{problems} found"),
        (_, left) => writeln!(text, "{problems} found, {left} left"),
    };
    text
}

fn scrub(report: &ScrubReport) -> String {
    let mut text = String::new();
    for problem in &report.problems {
        let _ = writeln!(text, "{}: {}", escape(&problem.subject), escape(&problem.message));
    }
    let (blobs, bytes) = (many(report.blobs, "blob"), size(report.blob_bytes));
    let so_far = if report.whole { "" } else { " so far in this pass" };
    let _ = writeln!(text, "{blobs} ({bytes}) and {} checked{so_far}", many(report.manifests, "manifest"));
    if !report.whole {
        let last = report.finished_at.map(|at| Timestamp(at).rfc3339());
        let _ = writeln!(text, "everything was last read through: {}", last.as_deref().unwrap_or("never"));
    }
    if let Some(reason) = &report.paused {
        let _ = writeln!(text, "the scrub pauses: {reason}");
    }
    if report.damaged > 0 {
        let _ = writeln!(text, "set aside, until pushed again: {}", many(report.damaged, "blob"));
    }
    for blob in &report.set_aside {
        let repositories = blob.repositories.join(", ");
        let _ = writeln!(text, "  {} ({}) of {repositories}", blob.digest, size(blob.size));
    }
    if report.is_sound() {
        text.push_str("nothing is wrong\n");
    }
    text
}

fn backup(report: &BackupReport) -> String {
    let mut text = String::new();
    for problem in &report.problems {
        let _ = writeln!(text, "{}", escape(&problem.to_string()));
    }
    let (blobs, bytes) = (many(report.blobs, "blob"), size(report.blob_bytes));
    let (copied, copied_bytes) = (report.copied, size(report.copied_bytes));
    let _ = write!(text, "{blobs} ({bytes}), of which {copied} ({copied_bytes}) copied now");
    if report.removed > 0 {
        let _ = write!(text, "; {} removed that nothing names any more", report.removed);
    }
    text.push('\n');
    if !report.problems.is_empty() {
        let _ = writeln!(text, "{} not copied: run `orlop fsck`", many(report.problems.len() as u64, "blob"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sound_store_says_so() {
        let report = FsckReport { blobs: 1, blob_bytes: 1024, manifests: 1, ..FsckReport::default() };
        assert_eq!(fsck(&report), "1 blob (1.0 KiB) and 1 manifest checked\nnothing is wrong\n");
    }
}
