//! Results, for people and for programs.

use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use super::table::{print_json, size, write_out};
use crate::jobs::backup::BackupReport;
use crate::jobs::fsck::FsckReport;
use crate::jobs::scrub::ScrubReport;
use crate::jobs::usage::UsageReport;
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
        Report::Usage(report) => usage(report),
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
        let _ = writeln!(text, "{}: {}{repaired}", problem.subject, problem.message);
    }
    for name in &report.unknown {
        let _ = writeln!(text, "{name}: not the registry's; kept");
    }
    let (blobs, bytes, manifests) = (many(report.blobs, "blob"), size(report.blob_bytes), report.manifests);
    let _ = writeln!(text, "{blobs} ({bytes}) and {} checked", many(manifests, "manifest"));
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
        let _ = writeln!(text, "{}: {}", problem.subject, problem.message);
    }
    let (blobs, bytes) = (many(report.blobs, "blob"), size(report.blob_bytes));
    let so_far = if report.whole { "" } else { " so far in this pass" };
    let _ = writeln!(text, "{blobs} ({bytes}) and {} checked{so_far}", many(report.manifests, "manifest"));
    if !report.whole {
        let last = report.finished_at.and_then(|at| u64::try_from(at).ok()).map(Duration::from_millis);
        let last = last.map(|at| humantime::format_rfc3339_seconds(UNIX_EPOCH + at).to_string());
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

fn usage(report: &UsageReport) -> String {
    let mut text = format!(
        "{}, {}; {}; {} open\n",
        many(report.blobs, "blob"),
        size(report.blob_bytes),
        many(report.manifests, "manifest"),
        many(report.uploads, "upload")
    );
    if report.doomed > 0 {
        let (blobs, bytes) = (many(report.doomed, "blob"), size(report.doomed_bytes));
        let _ = writeln!(text, "{blobs}, {bytes}, about to be removed");
    }
    let (free, disk) = (size(report.free_bytes), size(report.disk_bytes));
    let _ = writeln!(text, "{free} of {disk} free on the disk");
    if report.repositories.is_empty() {
        return text;
    }
    let names = report.repositories.iter().map(|repository| repository.name.len());
    let width = names.max().unwrap_or(0).max("REPOSITORY".len());
    let (tags, manifests, blobs, all, own) = ("TAGS", "MANIFESTS", "BLOBS", "SIZE", "OF ITS OWN");
    let _ = writeln!(
        text,
        "\n{:width$}  {tags:>6}  {manifests:>9}  {blobs:>6}  {all:>10}  {own:>10}",
        "REPOSITORY"
    );
    for row in &report.repositories {
        let (all, own) = (size(row.bytes), size(row.exclusive_bytes));
        let (name, tags, manifests, blobs) = (&row.name, row.tags, row.manifests, row.blobs);
        let _ = writeln!(text, "{name:width$}  {tags:>6}  {manifests:>9}  {blobs:>6}  {all:>10}  {own:>10}");
    }
    text
}

fn backup(report: &BackupReport) -> String {
    let mut text = String::new();
    for problem in &report.problems {
        let _ = writeln!(text, "{problem}");
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
    use crate::jobs::usage::RepositoryUsage;

    #[test]
    fn usage_is_a_table() {
        let repository = RepositoryUsage {
            name: "library/app".into(),
            tags: 2,
            manifests: 3,
            blobs: 4,
            bytes: 5 << 20,
            exclusive_bytes: 1 << 20,
        };
        let report = UsageReport {
            blobs: 4,
            blob_bytes: 5 << 20,
            manifests: 3,
            disk_bytes: 100 << 30,
            free_bytes: 40 << 30,
            repositories: vec![repository],
            ..UsageReport::default()
        };
        assert_eq!(
            usage(&report),
            "4 blobs, 5.0 MiB; 3 manifests; 0 uploads open\n\
             40.0 GiB of 100.0 GiB free on the disk\n\
             \n\
             REPOSITORY     TAGS  MANIFESTS   BLOBS        SIZE  OF ITS OWN\n\
             library/app       2          3       4     5.0 MiB     1.0 MiB\n"
        );
    }

    #[test]
    fn a_sound_store_says_so() {
        let report = FsckReport { blobs: 1, blob_bytes: 1024, manifests: 1, ..FsckReport::default() };
        assert_eq!(fsck(&report), "1 blob (1.0 KiB) and 1 manifest checked\nnothing is wrong\n");
    }
}
