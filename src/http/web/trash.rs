//! The trash: what can be restored and until when, restoring it, and emptying the trash.

use askama::Template;
use http::StatusCode;

use super::chrome::Chrome;
use super::form::Form;
use super::format::{Moment, filters, short};
use super::notice::Notice;
use super::page::{ActionResult, Done, PageResult, page};
use super::state::Action;
use super::visitor::Visitor;
use crate::auth::Action as AccessAction;
use crate::http::api::{self, Problem, RestoreRequest, TrashCursor};
use crate::http::query::encode;
use crate::metadata::{AuditAction, ChangeKind, EventDetails, EventKind, LostTag, Scope};
use crate::oci::{Digest, RepoName, Tag};
use crate::reports::{TrashEntry, TrashItem};

/// The number of items on a page.
const PAGE_ITEMS: usize = 50;

/// The number of deletions of whole repositories that are looked at.
const MAX_DELETIONS: usize = 100;

/// The number of tags that are named of a removed manifest.
const MAX_NAMED_TAGS: usize = 5;

#[derive(Template)]
#[template(path = "web/trash.html")]
struct TrashPage<'a> {
    chrome: &'a Chrome,
    /// The name that was searched for; empty for all repositories.
    repository: &'a str,
    /// Whether the visitor must name a repository, because not all may be read.
    needs_repository: bool,
    can_empty: bool,
    deletions: Vec<Deletion>,
    work: Option<Work>,
    items: Vec<Item>,
    is_continued: bool,
    next: Option<String>,
}

/// A deletion of a whole repository.
struct Deletion {
    repository: String,
    at: Moment,
    until: Moment,
    by: Option<String>,
    can_restore: bool,
}

/// A deletion or restoration of the repository that has not ended.
struct Work {
    what: &'static str,
    done: u64,
    total: u64,
}

/// Something that can be restored.
struct Item {
    repository: String,
    /// The name of a removed tag whose manifest still exists.
    tag: Option<String>,
    /// The first tags that were removed with a manifest.
    tags: Vec<String>,
    more_tags: usize,
    digest: Digest,
    short: String,
    size: Option<u64>,
    at: Moment,
    until: Moment,
    by: Option<String>,
    why: String,
    can_restore: bool,
}

impl TrashPage<'_> {
    /// The address of another page of the list.
    fn link(&self, after: Option<&str>) -> String {
        let mut link = trash_link(self.repository);
        if let Some(after) = after {
            let separator = if link.contains('?') { '&' } else { '?' };
            link.push_str(&format!("{separator}after={}", encode(after)));
        }
        link
    }

    fn first_link(&self) -> String {
        self.link(None)
    }

    fn next_link(&self) -> Option<String> {
        self.next.as_deref().map(|next| self.link(Some(next)))
    }
}

pub(super) fn actions() -> Vec<Action> {
    vec![
        Action::new("/actions/trash/restore", AuditAction::TrashRestore, restore),
        Action::new("/actions/trash/restore-repository", AuditAction::RepositoryRestore, restore_repository),
        Action::new("/actions/trash/empty", AuditAction::TrashEmpty, empty),
    ]
}

/// The address of the trash of a repository, or of all of them.
fn trash_link(repository: &str) -> String {
    if repository.is_empty() {
        "/trash".to_owned()
    } else {
        format!("/trash?repository={}", encode(repository))
    }
}

/// The trash of one repository, or of all for visitors who may read everything.
pub(super) async fn show(visitor: Visitor) -> PageResult {
    let requester = visitor.requester();
    requester.require_any_access()?;
    let repository = visitor.query("repository").map(str::trim).unwrap_or_default();
    let after = visitor.query("after").map(str::parse).transpose();
    let after = after.map_err(|()| Problem::bad("after: not a position in this list"))?;
    let mut template = TrashPage {
        chrome: visitor.chrome(),
        repository,
        needs_repository: false,
        can_empty: requester.registry_admin().is_ok(),
        deletions: Vec::new(),
        work: None,
        items: Vec::new(),
        is_continued: after.is_some(),
        next: None,
    };
    let position = after.map(|TrashCursor(position)| position);
    let found = if repository.is_empty() {
        let Ok(reader) = requester.registry_reader() else {
            template.needs_repository = true;
            return Ok(page(StatusCode::OK, &template));
        };
        template.deletions = deletions_of_all(&visitor).await?;
        reader.reports().trash(None, position, PAGE_ITEMS).await?
    } else {
        let name: RepoName =
            repository.parse().map_err(|error| Problem::bad(format_args!("repository: {error}")))?;
        let reader = requester.reader(name)?;
        template.deletions = deletion_of(&visitor, &reader).await?.into_iter().collect();
        template.work = reader.work().await?.filter(|step| !step.finished).map(|step| Work {
            what: if step.work.kind == ChangeKind::Delete { "deleted" } else { "restored" },
            done: step.work.done,
            total: step.work.total,
        });
        reader.trash(position, PAGE_ITEMS).await?
    };
    for found in found.items {
        template.items.push(item(&visitor, found).await?);
    }
    template.next = found.next.map(|position| TrashCursor(position).to_string());
    Ok(page(StatusCode::OK, &template))
}

/// The repositories that were deleted as a whole and not restored since.
async fn deletions_of_all(visitor: &Visitor) -> Result<Vec<Deletion>, Problem> {
    let reader = visitor.requester().registry_reader()?;
    let oldest = visitor.now().minus(reader.reports().trash_retention());
    let deleted = reader.metadata().events(Some(EventKind::RepositoryDeleted), None, MAX_DELETIONS).await?;
    let restored = reader.metadata().events(Some(EventKind::RepositoryRestored), None, MAX_DELETIONS).await?;
    let mut deletions: Vec<Deletion> = Vec::new();
    for event in deleted.items.into_iter().take_while(|event| event.at >= oldest) {
        let EventDetails::RepositoryDeleted { repository, by, .. } = event.details else { continue };
        let is_restored = restored.items.iter().any(|later| {
            let EventDetails::RepositoryRestored { repository: name, .. } = &later.details else {
                return false;
            };
            later.id > event.id && *name == repository
        });
        let is_listed = deletions.iter().any(|listed| listed.repository == repository.as_str());
        if !is_restored && !is_listed {
            deletions.push(Deletion {
                can_restore: can_restore(visitor, &repository),
                repository: repository.to_string(),
                at: visitor.moment(event.at),
                until: visitor.moment(event.at.plus(reader.reports().trash_retention())),
                by,
            });
        }
    }
    Ok(deletions)
}

/// The last deletion of a repository, if it can be restored.
async fn deletion_of(visitor: &Visitor, reader: &api::Reader) -> Result<Option<Deletion>, Problem> {
    let trash = reader.trash_retention();
    let history = reader.history(None, None, MAX_DELETIONS).await?;
    let last = history
        .items
        .into_iter()
        .find(|entry| matches!(entry.kind, ChangeKind::Delete | ChangeKind::Restore));
    let is_in_trash = |at| visitor.now().since(at) < trash;
    let deleted = last.filter(|entry| entry.kind == ChangeKind::Delete && is_in_trash(entry.at));
    Ok(deleted.map(|entry| Deletion {
        repository: reader.name().to_string(),
        at: visitor.moment(entry.at),
        until: visitor.moment(entry.at.plus(trash)),
        by: entry.by,
        can_restore: can_restore(visitor, reader.name()),
    }))
}

fn can_restore(visitor: &Visitor, name: &RepoName) -> bool {
    visitor.requester().repository_to_change(name.clone(), AccessAction::Administer).is_ok()
}

async fn item(visitor: &Visitor, TrashItem { entry, kept_until }: TrashItem) -> Result<Item, Problem> {
    let (repo, digest, removed_at, tag, lost) = match entry {
        TrashEntry::Manifest(manifest) => {
            (manifest.repo, manifest.digest, manifest.removed_at, None, manifest.tags)
        }
        TrashEntry::Tag(tag) => {
            let name = tag.lost.tag.to_string();
            (tag.repo, tag.digest, tag.removed_at, Some(name), vec![tag.lost])
        }
    };
    let size = visitor.requester().metadata().content_size(&repo, &digest).await?;
    let names = if tag.is_some() { &[] } else { lost.as_slice() };
    Ok(Item {
        tags: names.iter().take(MAX_NAMED_TAGS).map(|lost| lost.tag.to_string()).collect(),
        more_tags: names.len().saturating_sub(MAX_NAMED_TAGS),
        by: lost.first().and_then(|lost| lost.by.clone()),
        why: why(&lost),
        can_restore: can_restore(visitor, &repo),
        repository: repo.to_string(),
        tag,
        short: short(&digest),
        digest,
        size,
        at: visitor.moment(removed_at),
        until: visitor.moment(kept_until),
    })
}

/// Why something was removed, by the tags that went with it.
fn why(lost: &[LostTag]) -> String {
    match lost.first() {
        None => "nothing referred to it".to_owned(),
        Some(LostTag { kind: ChangeKind::Expiry, reason: Some(reason), .. }) => {
            format!("expired by {reason}")
        }
        Some(LostTag { kind: ChangeKind::Expiry, .. }) => "expired".to_owned(),
        Some(LostTag { reason: Some(reason), .. }) => reason.clone(),
        Some(_) => "deleted".to_owned(),
    }
}

/// Restores a manifest or a tag.
async fn restore(form: Form) -> ActionResult {
    let repository: RepoName = form.parse("repository")?;
    let digest: Option<Digest> = form.parse_optional("digest")?;
    let tag: Option<Tag> = form.parse_optional("tag")?;
    let digest = digest.map(|digest| digest.to_string());
    let tag = tag.map(|tag| tag.to_string());
    form.audit(Some(Scope::One(repository.clone())), digest.clone().or_else(|| tag.clone()));
    let request = RestoreRequest { repository: repository.to_string(), digest, tag };
    api::restore_removed(form.visitor.requester(), request).await?;
    Ok(Done::go_to(form.next_or(trash_link(repository.as_str()))).saying(Notice::Restored))
}

/// Starts to restore what the last deletion of a repository removed.
async fn restore_repository(form: Form) -> ActionResult {
    let name: RepoName = form.parse("repository")?;
    form.audit(Some(Scope::One(name.clone())), None);
    let repository = form.visitor.requester().repository_to_change(name.clone(), AccessAction::Administer)?;
    repository.restore(None).await?;
    Ok(Done::go_to(form.next_or(trash_link(name.as_str()))).saying(Notice::RepositoryRestored))
}

/// Empties the trash of a repository, or of all.
async fn empty(form: Form) -> ActionResult {
    let repository: Option<RepoName> = form.parse_optional("repository")?;
    form.audit(repository.clone().map(Scope::One), None);
    let admin = form.visitor.requester().registry_admin()?;
    admin.empty_trash(repository.as_ref()).await?;
    let repository = repository.as_ref().map_or("", RepoName::as_str);
    Ok(Done::go_to(trash_link(repository)).saying(Notice::TrashEmptied))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removals_are_explained() {
        let lost = |kind, reason: Option<&str>| LostTag {
            tag: "v1".parse().expect("a tag"),
            kind,
            by: None,
            reason: reason.map(str::to_owned),
        };
        assert_eq!(why(&[]), "nothing referred to it");
        assert_eq!(why(&[lost(ChangeKind::Delete, None)]), "deleted");
        let expired = lost(ChangeKind::Expiry, Some("rule `old` of policy `builds`"));
        assert_eq!(why(&[expired]), "expired by rule `old` of policy `builds`");
    }
}
