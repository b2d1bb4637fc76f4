//! The reports of adoptions, for people.

use std::fmt::Write as _;

use super::terminal::{count, size};
use crate::maintenance::adopt::{AdoptReport, FinishReport, FlawKind};
use crate::printable::escape;

/// Formats what was taken over.
pub(super) fn adopted(report: &AdoptReport) -> String {
    let mut text = String::new();
    for flaw in &report.flaws {
        let _ = writeln!(text, "{}: {}", escape(&flaw.subject), escape(&flaw.message));
    }
    if !report.counts.is_empty() {
        let parts: Vec<_> =
            report.counts.iter().map(|(kind, number)| count(*number, flaw_name(*kind))).collect();
        let _ = writeln!(text, "left in the old tree: {}", parts.join(", "));
    }
    let verb = if report.plan { "would be adopted" } else { "adopted" };
    let taken = [count(report.tags, "tag"), count(report.manifests, "manifest"), count(report.blobs, "blob")];
    let repositories = report.repositories;
    let _ = writeln!(
        text,
        "{} ({}) {verb} from {repositories} repositories",
        taken.join(", "),
        size(report.blob_bytes)
    );
    if report.moved_tags > 0 {
        let _ = writeln!(text, "{} moved as in the old registry", count(report.moved_tags, "tag"));
    }
    if report.kept_tags > 0 {
        let _ = writeln!(text, "{} left as they are here", count(report.kept_tags, "tag"));
    }
    text + &after(report)
}

/// What to do next.
fn after(report: &AdoptReport) -> String {
    let mut text = String::new();
    let path = report.path.display();
    if let Some(written) = &report.still_writes {
        let _ = writeln!(
            text,
            "the old registry still writes ({}): stop it and run this again",
            written.display()
        );
    }
    if report.plan {
        let _ = writeln!(text, "Nothing was changed. To adopt: orlop adopt {path}");
        return text;
    }
    if report.unverified > 0 {
        let blobs = count(report.unverified, "blob");
        let _ = writeln!(text, "{blobs} will be verified in the background, or when a push needs them");
    }
    let _ = writeln!(text, "No policy removes anything adopted before: orlop adopt {path} --release");
    if report.shared {
        let bytes = size(report.tree_bytes);
        let _ = writeln!(
            text,
            "The old tree shares its bytes ({bytes}). To remove it: orlop adopt {path} --finish"
        );
    }
    let _ = writeln!(
        text,
        "The data is in {}: orlop serve --data {}",
        report.data.display(),
        report.data.display()
    );
    text
}

fn flaw_name(kind: FlawKind) -> &'static str {
    match kind {
        FlawKind::BrokenManifest => "broken manifest",
        FlawKind::MissingTarget => "missing part",
        FlawKind::DanglingTag => "dangling tag",
        FlawKind::DanglingLink => "dangling link",
        FlawKind::Malformed => "malformed entry",
    }
}

/// Formats what the end of an adoption removed.
pub(super) fn finished(report: &FinishReport) -> String {
    let mut text = String::new();
    for flaw in &report.only_there {
        let _ = writeln!(text, "{}: {}", escape(&flaw.subject), escape(&flaw.message));
    }
    for digest in &report.damaged {
        let _ = writeln!(text, "{digest}: its bytes are damaged or can't be read; push it again");
    }
    if report.is_done() {
        let verified = count(report.verified, "blob");
        let _ = writeln!(text, "{verified} verified; the old tree is removed");
    } else {
        text.push_str("The old tree was not removed, because something would be lost or is damaged.\n");
    }
    text
}
