//! The page of a repository: its use and its tags, and the actions on several tags.

use askama::Template;
use axum::response::IntoResponse;
use http::StatusCode;

use super::chrome::Chrome;
use super::form::Form;
use super::format::{Moment, filters};
use super::kinds::{Kind, kind_of, pull_command};
use super::listing::Listing;
use super::notice::Notice;
use super::page::{ActionResult, Done, PageResult, page};
use super::reference::{Link, repository_path, tag_path};
use super::repositories::{Namespace, namespaces};
use super::state::Action;
use super::visitor::Visitor;
use crate::auth;
use crate::http::api::{self, Problem, Reader, Sort};
use crate::metadata::{
    AuditAction, ChangeKind, ListQuery, RepositoryEntry, RepositoryStep, Scope, SortKey, Usage,
};
use crate::oci::{Digest, Reference, RepoName, Tag};
use crate::registry::{MAX_DESCRIPTION_CHARS, ManifestError};
use crate::reports::ListedTag;

/// The order of tags unless the visitor chooses another.
const DEFAULT_SORT: Sort = Sort::Version;

/// The maximum number of platforms that the list shows of a tag.
const MAX_SHOWN_PLATFORMS: usize = 4;

#[derive(Template)]
#[template(path = "web/repository.html")]
struct RepositoryPage<'a> {
    chrome: &'a Chrome,
    name: &'a RepoName,
    namespaces: Vec<Namespace>,
    entry: Option<RepositoryEntry>,
    usage: Usage,
    pulled: Option<Moment>,
    pushed: Option<Moment>,
    rights: Rights,
    work: Option<RepositoryStep>,
    /// The command that pulls the most likely tag.
    pull: Option<String>,
    listing: Listing,
    items: Vec<Item>,
}

/// What the visitor may do in a repository.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rights {
    pub(super) push: bool,
    pub(super) delete: bool,
    pub(super) administer: bool,
}

impl Rights {
    /// The rights of a visitor.
    pub(super) fn of(visitor: &Visitor, name: &RepoName) -> Self {
        let may = |action| visitor.requester().repository_to_change(name.clone(), action).is_ok();
        Self {
            push: may(auth::Action::Push),
            delete: may(auth::Action::Delete),
            administer: may(auth::Action::Administer),
        }
    }
}

/// A tag in the list.
struct Item {
    name: Tag,
    path: String,
    kind: Kind,
    manifest: Link,
    platforms: Vec<String>,
    more_platforms: usize,
    size: u64,
    pushed: Moment,
    by: Option<String>,
    /// Other tags of the same manifest.
    aliases: Vec<Link>,
    pulled: Option<Moment>,
    protected: bool,
    immutable: bool,
}

/// The page of a repository. It exists as long as the repository has something to pull, or its deletion can be undone.
pub(super) async fn show(visitor: Visitor, name: RepoName) -> PageResult {
    let reader = visitor.requester().reader(name.clone())?;
    let entry = reader.repository().await?;
    let work = reader.work().await?;
    if entry.is_none() && work.is_none() && reader.history(None, None, 1).await?.items.is_empty() {
        return Err(Problem::unknown("repository unknown to the registry"));
    }
    let mut listing = Listing::of(&visitor, repository_path(&name), DEFAULT_SORT)?;
    let mut items = Vec::new();
    let mut pull = None;
    if entry.is_some() {
        let found = reader.tags(&listing.query()?).await?;
        let found = api::page(found, listing.sort_key(), |tag| tag)?;
        listing.next = found.next;
        items = found.items.into_iter().map(|tag| item(&visitor, &name, tag)).collect();
        pull = likely_tag(&reader).await?.map(|found| {
            let kind = kind_of(&found.entry.manifest);
            pull_command(&visitor, kind, &name, &Reference::Tag(found.entry.name))
        });
    }
    let template = RepositoryPage {
        usage: reader.usage().await?,
        chrome: visitor.chrome(),
        namespaces: namespaces(name.as_str()),
        pushed: entry.as_ref().map(|entry| visitor.moment(entry.pushed_at)),
        pulled: entry.as_ref().and_then(|entry| entry.pulled_at).map(|at| visitor.moment(at)),
        rights: Rights::of(&visitor, &name),
        work: work.filter(|work| !work.finished),
        name: &name,
        entry,
        pull,
        listing,
        items,
    };
    Ok(page(StatusCode::OK, &template))
}

/// The tag that a visitor most likely wants to pull: `latest`, or else the one that was pushed last.
async fn likely_tag(reader: &Reader) -> Result<Option<ListedTag>, Problem> {
    let latest: Tag = "latest".parse().map_err(Problem::bad)?;
    match reader.tag(&latest).await {
        Ok(found) => return Ok(Some(found)),
        Err(ManifestError::Service(error)) => return Err(error.into()),
        Err(ManifestError::Unknown | ManifestError::NameUnknown) => {}
    }
    let query = ListQuery { sort: SortKey::Pushed, descending: true, limit: 1, ..ListQuery::default() };
    Ok(reader.tags(&query).await?.items.pop())
}

fn item(visitor: &Visitor, repository: &RepoName, tag: ListedTag) -> Item {
    let ListedTag { entry, protected, immutable } = tag;
    let mut manifest = entry.manifest;
    let mut platforms = std::mem::take(&mut manifest.platforms);
    let more_platforms = platforms.len().saturating_sub(MAX_SHOWN_PLATFORMS);
    platforms.truncate(MAX_SHOWN_PLATFORMS);
    Item {
        path: tag_path(repository, &entry.name),
        kind: Kind::of(&manifest),
        manifest: Link::to_manifest(repository, &manifest.digest),
        name: entry.name,
        platforms,
        more_platforms,
        size: manifest.size,
        pushed: visitor.moment(entry.pushed_at),
        by: entry.pushed_by,
        pulled: manifest.pulled_at.map(|at| visitor.moment(at)),
        aliases: entry.aliases.iter().map(|tag| Link::to_tag(repository, tag)).collect(),
        protected,
        immutable,
    }
}

pub(super) fn actions() -> Vec<Action> {
    vec![
        Action::new("/actions/tags/delete", AuditAction::TagDelete, delete_tags),
        Action::new("/actions/tags/add", AuditAction::TagPoint, add_tag),
        Action::new("/actions/repositories/describe", AuditAction::RepositoryUpdate, describe),
    ]
}

#[derive(Template)]
#[template(path = "web/tags_deleted.html")]
struct DeletedTagsPage<'a> {
    chrome: &'a Chrome,
    name: &'a RepoName,
    deleted: Vec<Tag>,
    failed: Vec<(Tag, String)>,
}

/// Deletes the tags that are checked. If one of several can't be deleted, the others are, and a page says which.
async fn delete_tags(form: Form) -> PageResult {
    let name: RepoName = form.parse("repository")?;
    let mut tags: Vec<Tag> = form.parse_all("tag")?;
    tags.sort_unstable();
    tags.dedup();
    form.audit(Some(Scope::One(name.clone())), join(&tags));
    let repository = form.visitor.requester().repository_to_change(name.clone(), auth::Action::Delete)?;
    if tags.is_empty() {
        return Err(Problem::bad("no tag is selected"));
    }
    let is_single = tags.len() == 1;
    let mut deleted = Vec::new();
    let mut failed = Vec::new();
    for tag in tags {
        match repository.delete_tag(&tag).await {
            Ok(()) => {
                form.mark_done();
                deleted.push(tag);
            }
            Err(error) if is_single => return Err(error.into()),
            Err(error) => failed.push((tag, Problem::from(error).detail)),
        }
    }
    if failed.is_empty() {
        let next = form.next_or(repository_path(&name));
        return Ok(Done::go_to(next).saying(Notice::TagsDeleted).into_response());
    }
    let template = DeletedTagsPage { chrome: form.visitor.chrome(), name: &name, deleted, failed };
    Ok(page(StatusCode::CONFLICT, &template))
}

/// Lists tags for the audit log.
fn join(tags: &[Tag]) -> Option<String> {
    let names: Vec<_> = tags.iter().map(Tag::as_str).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// Points a tag, new or existing, at a manifest of the repository.
async fn add_tag(form: Form) -> ActionResult {
    let name: RepoName = form.parse("repository")?;
    let tag: Tag = form.parse("tag")?;
    let digest: Digest = form.parse("digest")?;
    form.audit(Some(Scope::One(name.clone())), format!("{tag} {digest}"));
    let repository = form.visitor.requester().repository_to_change(name.clone(), auth::Action::Push)?;
    repository.point_tag(tag.clone(), &digest).await?;
    Ok(Done::go_to(tag_path(&name, &tag)).saying(Notice::TagAdded))
}

/// Sets the description of a repository; an empty one removes it.
async fn describe(form: Form) -> ActionResult {
    let name: RepoName = form.parse("repository")?;
    form.audit(Some(Scope::One(name.clone())), None);
    let repository = form.visitor.requester().repository_to_change(name.clone(), auth::Action::Administer)?;
    repository.set_description(form.text("description")).await?;
    Ok(Done::go_to(repository_path(&name)).saying(Notice::DescriptionSaved))
}
