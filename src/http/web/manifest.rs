//! The page of a tag or manifest: what is in it, what is attached to it, its history, and what keeps it.

use std::collections::BTreeMap;

use askama::Template;
use axum::response::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};

use super::chrome::Chrome;
use super::form::Form;
use super::format::{Moment, counted, filters, short};
use super::kinds::{Kind, heading, pull_command};
use super::notice::Notice;
use super::page::{ActionResult, Done, PageResult, page};
use super::reference::{Link, PageReference, repository_path, tag_path};
use super::repositories::{Namespace, namespaces};
use super::repository::Rights;
use super::state::Action;
use super::visitor::Visitor;
use super::why::{self, WhyView};
use crate::auth;
use crate::http::api::{Problem, Reader};
use crate::http::payload::Payload;
use crate::http::reply::{NO_STORE, Reply, routed};
use crate::metadata::{AuditAction, ChangeKind, Count, HistoryEntry, Scope};
use crate::oci::{ArtifactKind, Digest, ImageConfig, Reference, RepoName, Tag};
use crate::registry::ManifestError;
use crate::reports::{
    AttestationReport, ContentReport, LayerReport, ListedTag, MemberReport, ReferrerReport, StepReport,
};

/// The number of events on a page.
const PAGE_EVENTS: usize = 20;

/// The maximum length of a command that is shown without being unfolded, in characters.
const MAX_FOLDED_CHARS: usize = 160;

/// The maximum number of tags of a manifest that are shown.
const MAX_SHOWN_TAGS: usize = 50;

#[derive(Template)]
#[template(path = "web/manifest.html")]
struct ManifestPage<'a> {
    chrome: &'a Chrome,
    name: &'a RepoName,
    namespaces: Vec<Namespace>,
    rights: Rights,
    /// The tag, on the page of a tag.
    tag: Option<TagView<'a>>,
    /// What follows the name in references: `:v1` or `@sha256:…`.
    suffix: String,
    /// The same for the heading, where a digest is shortened.
    short_suffix: String,
    digest: &'a Digest,
    short_digest: String,
    kind: Kind,
    pull: String,
    report: &'a ContentReport,
    pushed: Moment,
    pulled: Option<Moment>,
    tags: Vec<Link>,
    more_tags: usize,
    indexes: Vec<Link>,
    subject: Option<Link>,
    members: Vec<Member>,
    attestations: Vec<Attestation>,
    layers: Vec<LayerRow>,
    files: Vec<File>,
    config: Option<&'a ImageConfig>,
    labels: Vec<Annotation>,
    annotations: Vec<Annotation>,
    referrers: Vec<ReferrerGroup>,
    why: Option<WhyView>,
}

struct TagView<'a> {
    name: &'a Tag,
    protected: bool,
    immutable: bool,
    by: Option<String>,
    history: History,
}

/// A page of the history of a tag.
struct History {
    events: Vec<Event>,
    /// The path of the page with older events.
    older: Option<String>,
}

struct Event {
    what: &'static str,
    at: Moment,
    by: Option<String>,
    reason: Option<String>,
    /// The manifest that the tag points at since the event.
    now: Option<Link>,
    /// The digest to which the tag can be rolled back.
    target: Option<Digest>,
}

/// A member of an index.
struct Member {
    link: Link,
    platform: String,
    size: Option<u64>,
}

struct Attestation {
    link: Link,
    about: Option<String>,
    kinds: Vec<&'static str>,
}

/// A layer, or a step that made none.
struct LayerRow {
    command: String,
    /// The start of a command that is too long to be shown at once.
    start: Option<String>,
    digest: Option<Digest>,
    short_digest: String,
    size: Option<u64>,
    shared: Option<String>,
}

/// A file of an artifact.
struct File {
    name: Option<String>,
    media_type: String,
    short_digest: String,
    digest: Digest,
    size: u64,
    shared: Option<String>,
}

/// An annotation or label.
struct Annotation {
    key: String,
    value: String,
    is_link: bool,
}

/// Attached manifests of one kind.
struct ReferrerGroup {
    heading: &'static str,
    items: Vec<ReferrerRow>,
}

struct ReferrerRow {
    link: Link,
    kind: Kind,
    artifact_type: Option<String>,
    tag: Option<Tag>,
    size: u64,
}

/// The page of a tag or manifest.
pub(super) async fn show(visitor: Visitor, name: RepoName, reference: Reference) -> PageResult {
    let reader = visitor.requester().reader(name.clone())?;
    let found = match &reference {
        Reference::Digest(_) => None,
        Reference::Tag(tag) => match reader.tag(tag).await {
            Ok(found) => Some(found),
            Err(ManifestError::Unknown | ManifestError::NameUnknown) => {
                return show_removed_tag(&visitor, &reader, tag).await;
            }
            Err(error) => return Err(error.into()),
        },
    };
    let digest = match (&found, &reference) {
        (Some(found), _) => found.entry.manifest.digest.clone(),
        (None, Reference::Digest(digest)) => digest.clone(),
        (None, Reference::Tag(_)) => return Err(ManifestError::Unknown.into()),
    };
    let report = reader.contents(&digest).await?;
    let kept_by = match visitor.query("show") {
        Some("why") => reader.why(&Reference::Digest(digest.clone())).await?,
        _ => None,
    };
    let tag = match &found {
        Some(found) => Some(tag_view(&visitor, &reader, found, &digest).await?),
        None => None,
    };
    let (suffix, short_suffix) = match &reference {
        Reference::Tag(tag) => (format!(":{tag}"), format!(":{tag}")),
        Reference::Digest(digest) => (format!("@{digest}"), format!("@{}", short(digest))),
    };
    let manifest_link = |digest: &Digest| Link::to_manifest(&name, digest);
    let own = found.as_ref().map(|found| &found.entry.name);
    let other_tags = report.related.tags.iter().filter(|tag| Some(*tag) != own);
    let other_tags: Vec<_> = other_tags.map(|tag| Link::to_tag(&name, tag)).collect();
    let is_image = report.config.is_some() || matches!(report.kind, ArtifactKind::Image);
    let template = ManifestPage {
        chrome: visitor.chrome(),
        namespaces: namespaces(name.as_str()),
        rights: Rights::of(&visitor, &name),
        tag,
        suffix,
        short_suffix,
        short_digest: short(&digest),
        kind: report.kind.into(),
        pull: pull_command(&visitor, report.kind, &name, &reference),
        pushed: visitor.moment(found.as_ref().map_or(report.entry.pushed_at, |found| found.entry.pushed_at)),
        pulled: report.entry.pulled_at.map(|at| visitor.moment(at)),
        more_tags: other_tags.len().saturating_sub(MAX_SHOWN_TAGS),
        tags: other_tags.into_iter().take(MAX_SHOWN_TAGS).collect(),
        indexes: report.related.indexes.iter().map(manifest_link).collect(),
        subject: report.subject.as_ref().map(manifest_link),
        members: report.members.iter().map(|found| member(&name, found)).collect(),
        attestations: report.attestations.iter().map(|found| attestation(&name, found, &report)).collect(),
        layers: if is_image { layer_rows(&report.layers, &report.steps) } else { Vec::new() },
        files: if is_image { Vec::new() } else { report.layers.iter().map(file).collect() },
        config: report.config.as_ref(),
        labels: report.config.iter().flat_map(|config| annotations(&config.labels)).collect(),
        annotations: annotations(&report.annotations.pairs).collect(),
        referrers: referrer_groups(&name, &report.referrers),
        why: kept_by.map(|found| why::why(&visitor, &name, found)),
        digest: &digest,
        name: &name,
        report: &report,
    };
    Ok(page(StatusCode::OK, &template))
}

async fn tag_view<'a>(
    visitor: &Visitor,
    reader: &Reader,
    found: &'a ListedTag,
    digest: &Digest,
) -> Result<TagView<'a>, Problem> {
    Ok(TagView {
        name: &found.entry.name,
        protected: found.protected,
        immutable: found.immutable,
        by: found.entry.pushed_by.clone(),
        history: history(visitor, reader, &found.entry.name, Some(digest)).await?,
    })
}

/// Reads the history of a tag that points at `current` now.
async fn history(
    visitor: &Visitor,
    reader: &Reader,
    tag: &Tag,
    current: Option<&Digest>,
) -> Result<History, Problem> {
    let before = visitor.query("before").map(str::parse).transpose();
    let before = before.map_err(|_| Problem::bad("before: not an event of this history"))?;
    let found = reader.history(Some(tag), before, PAGE_EVENTS).await?;
    let last = found.items.last().filter(|_| found.more).map(|entry| entry.id);
    let older = last.map(|id| format!("{}?before={id}", tag_path(reader.name(), tag)));
    let events = found.items.into_iter().map(|entry| event(visitor, reader.name(), entry, current));
    Ok(History { events: events.collect(), older })
}

fn event(visitor: &Visitor, name: &RepoName, entry: HistoryEntry, current: Option<&Digest>) -> Event {
    let HistoryEntry { at, kind, digest, by, reason, .. } = entry;
    Event {
        what: match kind {
            ChangeKind::Push => "Created",
            ChangeKind::Move => "Moved",
            ChangeKind::Delete => "Deleted",
            ChangeKind::Expiry => "Expired",
            ChangeKind::Restore => "Restored",
            ChangeKind::Rollback => "Rolled back",
            ChangeKind::Rename => "Renamed",
        },
        at: visitor.moment(at),
        by,
        reason,
        now: digest.as_ref().map(|digest| Link::to_manifest(name, digest)),
        target: digest.filter(|digest| Some(digest) != current),
    }
}

#[derive(Template)]
#[template(path = "web/removed_tag.html")]
struct RemovedTagPage<'a> {
    chrome: &'a Chrome,
    name: &'a RepoName,
    namespaces: Vec<Namespace>,
    rights: Rights,
    tag: &'a Tag,
    history: History,
}

/// The page of a tag that no longer exists, as long as it has a history: it can be rolled back.
async fn show_removed_tag(visitor: &Visitor, reader: &Reader, tag: &Tag) -> PageResult {
    let history = history(visitor, reader, tag, None).await?;
    if history.events.is_empty() {
        return Err(ManifestError::Unknown.into());
    }
    let name = reader.name();
    let template = RemovedTagPage {
        chrome: visitor.chrome(),
        name,
        namespaces: namespaces(name.as_str()),
        rights: Rights::of(visitor, name),
        tag,
        history,
    };
    Ok(page(StatusCode::NOT_FOUND, &template))
}

fn member(name: &RepoName, found: &MemberReport) -> Member {
    let descriptor = &found.descriptor;
    Member {
        link: Link::to_manifest(name, &descriptor.digest),
        platform: match (&descriptor.platform, &descriptor.artifact_type) {
            (Some(platform), _) => platform.clone(),
            (None, Some(artifact_type)) => artifact_type.clone(),
            (None, None) => descriptor.media_type.clone(),
        },
        size: found.size,
    }
}

fn attestation(name: &RepoName, found: &AttestationReport, report: &ContentReport) -> Attestation {
    let digest = &found.descriptor.digest;
    let about = found.attested.as_ref().map(|attested| {
        let member = report.members.iter().find(|member| member.descriptor.digest == *attested);
        member.and_then(|member| member.descriptor.platform.clone()).unwrap_or_else(|| short(attested))
    });
    let kinds = found.predicates.iter().map(|predicate| ArtifactKind::of_predicate(predicate));
    let mut kinds: Vec<_> = kinds.map(|kind| Kind::from(kind).name).collect();
    if kinds.is_empty() {
        kinds.push(Kind::from(ArtifactKind::Attestation).name);
    }
    Attestation { link: Link::to_manifest(name, digest), about, kinds }
}

/// Lists the steps that built an image with their layers, and then the layers that no step made.
fn layer_rows(layers: &[LayerReport], steps: &[StepReport]) -> Vec<LayerRow> {
    let of_step = |step: &StepReport| {
        let text = if step.step.command.is_empty() { &step.step.comment } else { &step.step.command };
        layer_row(text.clone(), step.layer.and_then(|position| layers.get(position)))
    };
    let made: Vec<_> = steps.iter().filter_map(|step| step.layer).collect();
    let others = layers.iter().enumerate().filter(|(position, _)| !made.contains(position));
    let others = others.map(|(_, layer)| layer_row(layer.command.clone().unwrap_or_default(), Some(layer)));
    steps.iter().map(of_step).chain(others).collect()
}

fn layer_row(command: String, layer: Option<&LayerReport>) -> LayerRow {
    let end = command.char_indices().nth(MAX_FOLDED_CHARS).map(|(end, _)| end);
    let digest = layer.map(|layer| layer.descriptor.digest.clone());
    LayerRow {
        start: end.map(|end| command[..end].to_owned()),
        command,
        short_digest: digest.as_ref().map(short).unwrap_or_default(),
        digest,
        size: layer.map(|layer| layer.descriptor.size),
        shared: layer.and_then(|layer| layer.other_tags).map(shared),
    }
}

fn file(layer: &LayerReport) -> File {
    let descriptor = &layer.descriptor;
    File {
        name: descriptor.file_name().map(str::to_owned),
        media_type: descriptor.media_type.clone(),
        short_digest: short(&descriptor.digest),
        digest: descriptor.digest.clone(),
        size: descriptor.size,
        shared: layer.other_tags.map(shared),
    }
}

/// In how many other tags a blob is.
fn shared(count: Count) -> String {
    match (count.number, count.more) {
        (0, false) => "only here".to_owned(),
        (0, true) => "not counted".to_owned(),
        (number, false) => format!("also in {}", counted(number, "other tag")),
        (number, true) => format!("also in {number}+ other tags"),
    }
}

fn annotations(pairs: &BTreeMap<String, String>) -> impl Iterator<Item = Annotation> {
    pairs.iter().map(|(key, value)| Annotation {
        is_link: is_web_link(value),
        key: key.clone(),
        value: value.clone(),
    })
}

/// Whether text from an image may become a link.
fn is_web_link(text: &str) -> bool {
    let is_plain = |letter: char| letter.is_ascii_graphic();
    (text.starts_with("https://") || text.starts_with("http://"))
        && text.chars().all(is_plain)
        && url::Url::parse(text).is_ok_and(|url| url.has_host())
}

fn referrer_groups(name: &RepoName, referrers: &[ReferrerReport]) -> Vec<ReferrerGroup> {
    let mut referrers: Vec<_> = referrers.iter().collect();
    referrers.sort_by_key(|referrer| referrer.kind);
    let mut groups: Vec<ReferrerGroup> = Vec::new();
    for referrer in referrers {
        let heading = heading(referrer.kind);
        let row = ReferrerRow {
            link: Link::to_manifest(name, &referrer.digest),
            kind: referrer.kind.into(),
            artifact_type: referrer.artifact_type.clone(),
            tag: referrer.tag.clone(),
            size: referrer.size,
        };
        match groups.iter_mut().find(|group| group.heading == heading) {
            Some(group) => group.items.push(row),
            None => groups.push(ReferrerGroup { heading, items: vec![row] }),
        }
    }
    groups
}

/// Sends the exact bytes of a manifest, as data: a browser shows them as text. This does not count as a pull.
pub(super) async fn raw(visitor: Visitor, reference: PageReference) -> Result<Response, Problem> {
    let PageReference::Manifest(name, reference) = reference else {
        return Err(Problem::unknown("there is no such page"));
    };
    let content = visitor.requester().reader(name)?.manifest_content(&reference).await?;
    Ok(routed(
        Reply::new(StatusCode::OK)
            .with(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .with(CACHE_CONTROL, NO_STORE)
            .body(Payload::Whole(content)),
    ))
}

pub(super) fn actions() -> Vec<Action> {
    vec![
        Action::new("/actions/tags/rollback", AuditAction::TagRollback, roll_back),
        Action::new("/actions/manifests/delete", AuditAction::ManifestDelete, delete_manifest),
    ]
}

/// Rolls a tag back, by default to the manifest before its last change.
async fn roll_back(form: Form) -> ActionResult {
    let name: RepoName = form.parse("repository")?;
    let tag: Tag = form.parse("tag")?;
    let to: Option<Digest> = form.parse_optional("to")?;
    let subject = to.as_ref().map_or_else(|| tag.to_string(), |to| format!("{tag} {to}"));
    form.audit(Some(Scope::One(name.clone())), subject);
    let repository = form.visitor.requester().repository_to_change(name.clone(), auth::Action::Push)?;
    repository.rollback(&tag, to.as_ref()).await?;
    Ok(Done::go_to(tag_path(&name, &tag)).saying(Notice::RolledBack))
}

/// Deletes a manifest and the tags that point at it.
async fn delete_manifest(form: Form) -> ActionResult {
    let name: RepoName = form.parse("repository")?;
    let digest: Digest = form.parse("digest")?;
    form.audit(Some(Scope::One(name.clone())), digest.to_string());
    let repository = form.visitor.requester().repository_to_change(name.clone(), auth::Action::Delete)?;
    repository.delete_manifest(&digest).await?;
    Ok(Done::go_to(form.next_or(repository_path(&name))).saying(Notice::TagsDeleted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::BuildStep;

    fn layer(name: &str) -> LayerReport {
        let content = format!(
            r#"{{"layers":[{{"mediaType":"a/b","size":7,
                 "digest":"sha256:{}","annotations":{{"org.opencontainers.image.title":"{name}"}}}}]}}"#,
            "0".repeat(64)
        );
        let descriptor = crate::oci::ManifestContents::read(content.as_bytes()).layers.remove(0);
        LayerReport { descriptor, command: None, other_tags: Some(Count { number: 3, more: false }) }
    }

    fn step(command: &str, layer: Option<usize>) -> StepReport {
        let step = BuildStep { command: command.to_owned(), ..BuildStep::default() };
        StepReport { step, layer }
    }

    #[test]
    fn layers_are_listed_with_the_steps_that_made_them() {
        let layers = [layer("a"), layer("b")];
        let long = format!("RUN {}", "ä".repeat(MAX_FOLDED_CHARS));
        let steps = [step("FROM scratch", None), step(&long, Some(0))];
        let rows = layer_rows(&layers, &steps);
        let rows: Vec<_> = rows.iter().map(|row| (row.command.as_str(), row.size, &row.start)).collect();
        let start = Some(format!("RUN {}", "ä".repeat(MAX_FOLDED_CHARS - 4)));
        assert_eq!(rows, [("FROM scratch", None, &None), (&long, Some(7), &start), ("", Some(7), &None)]);
        assert_eq!(layer_rows(&layers, &[]).len(), 2);
    }

    #[test]
    fn counts_of_other_tags_say_if_there_are_more() {
        let text = |number, more| shared(Count { number, more });
        assert_eq!(text(0, false), "only here");
        assert_eq!(text(0, true), "not counted");
        assert_eq!(text(1, false), "also in 1 other tag");
        assert_eq!(text(100, true), "also in 100+ other tags");
    }

    #[test]
    fn only_web_addresses_become_links() {
        for good in ["https://example.com/a?b=c#d", "http://nas:8080"] {
            assert!(is_web_link(good), "{good}");
        }
        for bad in [
            "javascript:alert(1)",
            "data:text/html,x",
            "//example.com",
            "https://",
            "https://a b",
            " https://example.com",
            "https://example.com/\u{202e}",
            "HTTPS",
        ] {
            assert!(!is_web_link(bad), "{bad}");
        }
    }
}
