//! `orlop why`.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::str::FromStr;

use super::connect::fetch;
use super::failure::{Failure, exit_code};
use super::terminal::{print_result, size, when};
use crate::config::Config;
use crate::http::api::{BlobReasons, HeldBy, KeptBlob, ManifestReasons, Stage, Time, Why, WhyParameters};
use crate::oci::{Reference, RepoName, Tag};
use crate::printable::escape;

/// The tag, manifest or blob to explain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WhyTarget {
    repository: Option<RepoName>,
    reference: Reference,
}

impl FromStr for WhyTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (repository, reference) = match text.split_once('@') {
            Some((name, digest)) => (Some(name), digest.parse().map(Reference::Digest).map_err(to_message)?),
            None if text.starts_with("sha256:") || text.starts_with("sha512:") => {
                (None, text.parse().map(Reference::Digest).map_err(to_message)?)
            }
            None => {
                let expected = "expected a digest, REPO:TAG or REPO@DIGEST";
                let (name, tag) = text.rsplit_once(':').ok_or(expected)?;
                (Some(name), tag.parse::<Tag>().map(Reference::Tag).map_err(to_message)?)
            }
        };
        let repository = repository.map(str::parse).transpose().map_err(to_message)?;
        Ok(Self { repository, reference })
    }
}

fn to_message(error: impl ToString) -> String {
    error.to_string()
}

/// Prints why `subject` is kept.
pub(super) fn run(config: &Config, subject: &WhyTarget, json: bool) -> Result<ExitCode, Failure> {
    let parameters = WhyParameters {
        repository: subject.repository.as_ref().map(ToString::to_string),
        reference: subject.reference.to_string(),
    };
    let why: Why = fetch(config, &["why"], &parameters)?;
    print_result(&why, json, text);
    Ok(exit_code(true))
}

fn text(why: &Why) -> String {
    let mut text = String::new();
    for found in &why.manifests {
        let _ = writeln!(text, "manifest {} in {}", why.digest, found.repository);
        manifest(found, &mut text);
    }
    if let Some(found) = &why.blob {
        let _ = writeln!(text, "blob {}, {}", why.digest, size(found.bytes));
        blob(found, &mut text);
    }
    text
}

fn manifest(found: &ManifestReasons, text: &mut String) {
    match found.state {
        Stage::Live => {}
        Stage::Trash => line(text, format_args!("in the trash until {}", when(found.trash_until))),
        Stage::Purging => line(text, format_args!("being purged")),
    }
    if found.tag_count > 0 {
        line(text, format_args!("tagged {}", names(&tags(found), found.tag_count)));
    }
    holders("listed by the index", &found.indexes, found.index_count, text);
    holders("kept as a referrer of", &found.subjects, found.subjects.len() as u64, text);
    if found.adopted {
        line(text, format_args!("adopted, not released yet"));
    }
    if let Some(rule) = &found.pinned_by {
        line(text, format_args!("pinned: {}", escape(rule)));
    }
    for ruled in &found.rules {
        line(
            text,
            format_args!("{}: {}", ruled.tag.as_deref().unwrap_or("the manifest"), escape(&ruled.reason)),
        );
    }
    if !found.judged {
        line(
            text,
            format_args!(
                "policies were not evaluated: the repository has too many tags; run orlop retention plan {}",
                found.repository
            ),
        );
    }
    leases(found.leased_until, found.kept_by_upload, text);
    if is_unreferenced(found) {
        line(text, format_args!("nothing references it: the garbage collector removes it at its next check"));
    }
    review(found.review_at, text);
    if found.state == Stage::Live {
        line(text, format_args!("last pulled (UTC): {}", when(found.pulled_at)));
    }
    line(text, format_args!("{} would be freed {}", size(found.frees), removal_condition(found)));
}

/// Lists the tags, marked if they are immutable or protected.
fn tags(found: &ManifestReasons) -> Vec<String> {
    let describe = |tag: &String| match (found.immutable.contains(tag), found.protected.contains(tag)) {
        (true, _) => format!("{tag} (immutable)"),
        (false, true) => format!("{tag} (protected)"),
        (false, false) => tag.clone(),
    };
    found.tags.iter().map(describe).collect()
}

fn is_unreferenced(found: &ManifestReasons) -> bool {
    let references = found.tag_count
        + found.index_count
        + (found.subjects.len() + usize::from(found.pinned_by.is_some()) + usize::from(found.adopted)) as u64;
    found.state == Stage::Live && references == 0 && found.leased_until.is_none() && !found.kept_by_upload
}

/// Describes when a manifest's space is freed.
fn removal_condition(found: &ManifestReasons) -> &'static str {
    match found.state {
        Stage::Purging => "by the next garbage collection",
        Stage::Trash => "when its trash time is over, or by `orlop trash empty`",
        Stage::Live if !found.immutable.is_empty() => {
            "when its tags are no longer immutable and it is deleted"
        }
        Stage::Live if found.index_count > 0 => "when the indexes that list it are deleted",
        Stage::Live if !found.subjects.is_empty() => "when it or its subject is deleted",
        Stage::Live => "when it is deleted, or loses its tags, and the trash time is over",
    }
}

fn blob(found: &BlobReasons, text: &mut String) {
    if found.damaged {
        line(text, format_args!("quarantined because of damage, until it is pushed again"));
    }
    for kept in &found.repositories {
        kept_blob(kept, text);
    }
    let more = found.repository_count.saturating_sub(found.repositories.len() as u64);
    if more > 0 {
        line(text, format_args!("and {more} more repositories"));
    }
    let frees = size(found.frees);
    line(text, format_args!("{frees} would be freed when no repository's manifests reference it"));
}

fn kept_blob(kept: &KeptBlob, text: &mut String) {
    line(text, format_args!("in {}:", kept.repository));
    let mut inner = String::new();
    holders("referenced by the manifest", &kept.manifests, kept.manifest_count, &mut inner);
    leases(kept.leased_until, kept.kept_by_upload, &mut inner);
    if kept.trash_until.is_some() {
        line(&mut inner, format_args!("deleted, and in the trash until {}", when(kept.trash_until)));
    }
    review(kept.review_at, &mut inner);
    inner.lines().for_each(|inner| line(text, format_args!("{inner}")));
}

fn holders(how: &str, found: &[HeldBy], count: u64, text: &mut String) {
    for holder in found {
        let state = match holder.state {
            Stage::Live => String::new(),
            Stage::Trash => format!(", in the trash until {}", when(holder.trash_until)),
            Stage::Purging => ", being purged".into(),
        };
        let tags = match holder.tag_count {
            0 => String::new(),
            count => format!(" ({})", names(&holder.tags, count)),
        };
        line(text, format_args!("{how} {}{tags}{state}", holder.digest));
    }
    let more = count.saturating_sub(found.len() as u64);
    if more > 0 {
        line(text, format_args!("and {more} more"));
    }
}

fn leases(until: Option<Time>, upload: bool, text: &mut String) {
    if until.is_some() {
        line(
            text,
            format_args!(
                "protected from the garbage collector until {} (UTC), because a push may still use it",
                when(until)
            ),
        );
    }
    if upload {
        line(text, format_args!("kept by an upload that is open or has just finished"));
    }
}

fn review(at: Option<Time>, text: &mut String) {
    if at.is_some() {
        line(text, format_args!("next check by the garbage collector after {} (UTC)", when(at)));
    }
}

/// Joins names and appends how many more there are.
fn names(some: &[String], count: u64) -> String {
    let more = count.saturating_sub(some.len() as u64);
    let some = some.join(", ");
    if more > 0 { format!("{some} and {more} more") } else { some }
}

fn line(text: &mut String, what: std::fmt::Arguments<'_>) {
    let _ = writeln!(text, "  {what}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::api::PolicyDecision;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn parses_subjects() {
        let read = |text: &str| text.parse::<WhyTarget>();
        let alone = read(DIGEST).expect("a subject");
        assert_eq!((alone.repository, alone.reference.to_string().as_str()), (None, DIGEST));
        for (text, reference) in [("team/app:v1", "v1"), (&*format!("team/app@{DIGEST}"), DIGEST)] {
            let subject = read(text).expect("a subject");
            assert_eq!(subject.repository.expect("a name").as_str(), "team/app");
            assert_eq!(subject.reference.to_string(), reference);
        }
        for wrong in ["app", "sha256:12", "APP:v1", "app@v1", "app:", ""] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn explains_what_keeps_a_manifest() {
        let found = ManifestReasons {
            repository: "app".into(),
            state: Stage::Live,
            trash_until: None,
            tags: vec!["v1".into()],
            tag_count: 3,
            protected: Vec::new(),
            immutable: Vec::new(),
            indexes: Vec::new(),
            index_count: 0,
            subjects: Vec::new(),
            adopted: false,
            pinned_by: None,
            rules: vec![PolicyDecision {
                tag: Some("v1".into()),
                goes: false,
                reason: "kept: by rule `r`".into(),
            }],
            judged: true,
            leased_until: None,
            kept_by_upload: false,
            pulled_at: None,
            review_at: None,
            frees: 5 << 20,
        };
        let tags = vec!["v1".into(), "v2".into(), "v3".into()];
        let safe = ManifestReasons { tags, protected: vec!["v2".into(), "v3".into()], ..found.clone() };
        assert_eq!(super::tags(&safe), ["v1", "v2 (protected)", "v3 (protected)"]);
        let safe = ManifestReasons { immutable: vec!["v3".into()], ..safe };
        assert_eq!(super::tags(&safe)[1..], ["v2 (protected)", "v3 (immutable)"]);
        assert!(removal_condition(&safe).contains("immutable"));
        let why = Why { digest: DIGEST.into(), manifests: vec![found], blob: None };
        let expected = format!(
            "manifest {DIGEST} in app\n  tagged v1 and 2 more\n  v1: kept: by rule `r`\n  last pulled (UTC): never\n  \
             5.0 MiB would be freed when it is deleted, or loses its tags, and the trash time is over\n"
        );
        assert_eq!(text(&why), expected);
    }
}
