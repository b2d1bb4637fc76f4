//! `orlop usage`.

use std::fmt::Write as _;
use std::process::ExitCode;

use super::connect::fetch;
use super::failure::{Failure, exit_code};
use super::terminal::{count, print_result, size};
use crate::config::Config;
use crate::http::api::{
    BudgetUse, QuotaReport, ReclaimableContent, ReclaimableReport, StoreUsage, Usage, UsageDay,
    UsageParameters, UsageReport,
};
use crate::metadata::Scope;

/// Maximum number of repositories in the text output.
const MAX_LISTED_REPOSITORIES: usize = 100;

/// Prints the disk usage of the repositories in `scope`.
pub(super) fn run(config: &Config, scope: Scope, json: bool) -> Result<ExitCode, Failure> {
    let parameters = UsageParameters { scope: Some(scope.to_string()) };
    let report: UsageReport = fetch(config, &["usage"], &parameters)?;
    print_result(&report, json, usage);
    Ok(exit_code(true))
}

fn usage(report: &UsageReport) -> String {
    let mut text = String::new();
    match &report.store {
        Some(store) => registry(store, &mut text),
        None => scope(&report.usage, &mut text),
    }
    reclaimable(&report.reclaimable, &mut text);
    if let Some(store) = &report.store {
        growth(&store.days, &mut text);
    }
    quotas(report, &mut text);
    repositories(report, &mut text);
    coldest(report, &mut text);
    text
}

fn registry(store: &StoreUsage, text: &mut String) {
    let blobs = count(store.blobs, "blob");
    let bytes = size(store.blob_bytes);
    let manifests = count(store.manifests, "manifest");
    let uploads = count(store.uploads, "open upload");
    let _ = writeln!(text, "{blobs}, {bytes}; {manifests}; {uploads}");
    let stored = &store.stored;
    let all = size(stored.total());
    let used = size(stored.blobs);
    let database = size(stored.database);
    let _ = writeln!(text, "{all} on the disk: {used} in blobs, {database} in the database");
    let free = size(store.free_bytes);
    let disk = size(store.disk_bytes);
    let _ = writeln!(text, "{free} of {disk} free on the disk");
    if let Some(BudgetUse { bytes, taken, high }) = &store.budget {
        let taken = size(*taken);
        let budget = size(*bytes);
        let high = size(*high);
        let _ = writeln!(text, "{taken} of {budget} of the budget used; above {high} space is reclaimed");
    }
}

fn growth(days: &[UsageDay], text: &mut String) {
    if let [first, .., last] = days {
        let before = size(first.allocated);
        let now = size(last.allocated);
        let _ = writeln!(
            text,
            "in {}: from {before} to {now}",
            count((last.day - first.day).unsigned_abs(), "day")
        );
    }
}

fn reclaimable(reclaimable: &ReclaimableReport, text: &mut String) {
    let _ = writeln!(text, "{} reclaimable now", size(reclaimable.now));
    waiting("in the trash", "manifest", &reclaimable.trash, text);
    waiting("untagged", "manifest", &reclaimable.untagged, text);
    waiting("leased", "blob", &reclaimable.leased, text);
}

fn waiting(what: &str, thing: &str, waiting: &ReclaimableContent, text: &mut String) {
    if waiting.count == 0 {
        return;
    }
    let _ = write!(text, "{} {what}, {}", count(waiting.count, thing), size(waiting.allocated));
    if let Some(next) = &waiting.next {
        let _ = write!(text, ", the next due at {next}");
    }
    if let Some(last) = waiting.last.as_ref().filter(|last| waiting.next.as_ref() != Some(*last)) {
        let _ = write!(text, ", the last at {last}");
    }
    text.push('\n');
}

fn scope(usage: &Usage, text: &mut String) {
    let repositories = usage.repositories;
    let tags = count(usage.tags, "tag");
    let noun = if repositories == 1 { "repository" } else { "repositories" };
    let _ = writeln!(text, "{repositories} {noun}, {tags}, {}", count(usage.manifests, "manifest"));
    let all = size(usage.allocated);
    let own = size(usage.exclusive);
    let shared = size(usage.allocated - usage.exclusive);
    let _ = writeln!(text, "{all} on the disk: {own} exclusive, {shared} shared with others");
}

fn quotas(report: &UsageReport, text: &mut String) {
    for quota in &report.quotas {
        let QuotaReport { scope, bytes, most_bytes, tags, most_tags, repositories, most_repositories } =
            quota;
        let name = if *scope == Scope::All { "all" } else { scope.as_str() };
        let bytes = most_bytes.map(|most| format!("{} of {}", size(*bytes), size(most)));
        let tags = most_tags.map(|most| format!("{tags} of {}", count(most, "tag")));
        let repositories = most_repositories.map(|most| format!("{repositories} of {most} repositories"));
        let used: Vec<String> = bytes.into_iter().chain(tags).chain(repositories).collect();
        let _ = writeln!(text, "quota of {name}: {}", used.join(", "));
    }
}

fn repositories(report: &UsageReport, text: &mut String) {
    if report.repositories.is_empty() {
        return;
    }
    let listed = &report.repositories[..report.repositories.len().min(MAX_LISTED_REPOSITORIES)];
    let names = listed.iter().map(|repository| repository.name.len());
    let width = names.max().unwrap_or(0).max("REPOSITORY".len());
    let _ = writeln!(
        text,
        "\n{:width$}  {:>6}  {:>9}  {:>6}  {:>10}  {:>10}",
        "REPOSITORY", "TAGS", "MANIFESTS", "BLOBS", "SIZE", "EXCLUSIVE"
    );
    for row in listed {
        let all = size(row.allocated);
        let own = size(row.exclusive);
        let _ = writeln!(
            text,
            "{:width$}  {:>6}  {:>9}  {:>6}  {all:>10}  {own:>10}",
            row.name, row.tags, row.manifests, row.blobs
        );
    }
    let left = report.usage.repositories.saturating_sub(listed.len() as u64);
    if left > 0 {
        let _ = writeln!(text, "and {left} more");
    }
}

fn coldest(report: &UsageReport, text: &mut String) {
    if report.coldest_tags.is_empty() {
        return;
    }
    let _ = writeln!(text, "\nLEAST RECENTLY PULLED");
    for cold in &report.coldest_tags {
        let pulled = cold.pulled.as_deref().unwrap_or("never");
        let _ = writeln!(text, "{}:{}  pulled {pulled}, pushed {}", cold.repository, cold.tag, cold.pushed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::api::{RepositoryUsage, Stored};

    #[test]
    fn reports_reclaimable_space_with_due_times() {
        let usage = Usage { repositories: 1, tags: 1, manifests: 3, ..Usage::default() };
        let at = |hour: u32| Some(format!("2026-01-31T{hour:02}:00:00Z"));
        let waiting =
            |count, next, last| ReclaimableContent { count, allocated: 3 << 20, due: 0, next, last };
        let reclaimable = ReclaimableReport {
            now: 1 << 20,
            trash: waiting(2, at(9), at(12)),
            untagged: waiting(1, at(9), at(9)),
            leased: waiting(1, None, None),
        };
        let scope = "team/app".parse().expect("a scope");
        let usage_of = UsageReport { scope, usage, reclaimable, ..UsageReport::default() };
        assert_eq!(
            super::usage(&usage_of),
            "1 repository, 1 tag, 3 manifests\n\
             0 B on the disk: 0 B exclusive, 0 B shared with others\n\
             1.0 MiB reclaimable now\n\
             2 manifests in the trash, 3.0 MiB, the next due at 2026-01-31T09:00:00Z, the last at 2026-01-31T12:00:00Z\n\
             1 manifest untagged, 3.0 MiB, the next due at 2026-01-31T09:00:00Z\n\
             1 blob leased, 3.0 MiB\n"
        );
    }

    #[test]
    fn prints_usage_as_table() {
        let repository = RepositoryUsage {
            name: "library/app".into(),
            tags: 2,
            manifests: 3,
            blobs: 4,
            bytes: 4 << 20,
            allocated: 5 << 20,
            shared: 4 << 20,
            exclusive: 1 << 20,
        };
        let store = StoreUsage {
            blobs: 4,
            blob_bytes: 4 << 20,
            manifests: 3,
            stored: Stored { blobs: 5 << 20, database: 1 << 20, ..Stored::default() },
            disk_bytes: 100 << 30,
            free_bytes: 40 << 30,
            ..StoreUsage::default()
        };
        let repositories = vec![repository];
        let report = UsageReport { store: Some(store), repositories, ..UsageReport::default() };
        assert_eq!(
            usage(&report),
            "4 blobs, 4.0 MiB; 3 manifests; 0 open uploads\n\
             6.0 MiB on the disk: 5.0 MiB in blobs, 1.0 MiB in the database\n\
             40.0 GiB of 100.0 GiB free on the disk\n\
             0 B reclaimable now\n\
             \n\
             REPOSITORY     TAGS  MANIFESTS   BLOBS        SIZE   EXCLUSIVE\n\
             library/app       2          3       4     5.0 MiB     1.0 MiB\n"
        );
    }
}
