//! The page on the management of a repository: its name, its deletion and restoration, its history, and who may do what
//! with it.

use askama::Template;
use http::StatusCode;

use super::chrome::Chrome;
use super::form::Form;
use super::format::{Moment, filters};
use super::notice::Notice;
use super::page::{ActionResult, Done, PageResult, page};
use super::reference::{RepositoryInPath, manage_path, repository_path};
use super::repositories::{Namespace, namespaces};
use super::repository::Rights;
use super::state::Action;
use super::visitor::Visitor;
use crate::auth;
use crate::http::api::{self, Problem};
use crate::metadata::{AuditAction, ChangeKind, HistoryEntry, RepositoryStep, Role, Scope};
use crate::oci::RepoName;

/// The number of events on a page.
const PAGE_EVENTS: usize = 50;

#[derive(Template)]
#[template(path = "web/manage.html")]
struct ManagePage<'a> {
    chrome: &'a Chrome,
    name: &'a RepoName,
    namespaces: Vec<Namespace>,
    rights: Rights,
    /// Whether there is something to pull.
    exists: bool,
    work: Option<RepositoryStep>,
    access: Access,
    events: Vec<Event>,
    /// The event after which the history continues.
    older: Option<i64>,
}

/// Who may do what with a repository.
#[derive(Default)]
struct Access {
    /// The visitor's own role, with the reasons, if the visitor has signed in.
    own: Option<RoleReasons>,
    /// The role of anonymous users, with the reasons. Only for administrators of the repository.
    everybody: Option<RoleReasons>,
    /// The grants that include the repository, in scopes that the visitor administers.
    grants: Vec<Grant>,
}

/// A role, and what gives it.
struct RoleReasons {
    role: Option<&'static str>,
    reasons: Vec<String>,
}

struct Grant {
    grantee: String,
    role: &'static str,
    scope: String,
    set: Moment,
    by: Option<String>,
}

/// An event in the history of the repository.
struct Event {
    kind: &'static str,
    at: Moment,
    by: Option<String>,
    reason: Option<String>,
    /// The number of a deletion, by which it can be undone.
    removal: Option<i64>,
}

/// The page on the management of a repository.
pub(super) async fn show(visitor: Visitor, RepositoryInPath(name): RepositoryInPath) -> PageResult {
    let reader = visitor.requester().reader(name.clone())?;
    let before = visitor.query("before").map(str::parse).transpose();
    let before = before.map_err(|_| Problem::bad("before: not an event of this history"))?;
    let exists = reader.repository().await?.is_some();
    let work = reader.work().await?;
    let history = reader.history(None, before, PAGE_EVENTS).await?;
    if !exists && work.is_none() && history.items.is_empty() {
        return Err(Problem::unknown("repository unknown to the registry"));
    }
    let template = ManagePage {
        chrome: visitor.chrome(),
        namespaces: namespaces(name.as_str()),
        rights: Rights::of(&visitor, &name),
        exists,
        work,
        access: access(&visitor, &name),
        older: history.items.last().filter(|_| history.more).map(|entry| entry.id),
        events: history.items.into_iter().map(|entry| event(&visitor, entry)).collect(),
        name: &name,
    };
    Ok(page(StatusCode::OK, &template))
}

fn event(visitor: &Visitor, entry: HistoryEntry) -> Event {
    Event {
        kind: match entry.kind {
            ChangeKind::Delete => "Deleted",
            ChangeKind::Restore => "Restored",
            ChangeKind::Rename => "Renamed",
            ChangeKind::Expiry => "Expired",
            ChangeKind::Push | ChangeKind::Move | ChangeKind::Rollback => "Changed",
        },
        at: visitor.moment(entry.at),
        by: entry.by,
        reason: entry.reason,
        removal: (entry.kind == ChangeKind::Delete).then_some(entry.id),
    }
}

fn access(visitor: &Visitor, name: &RepoName) -> Access {
    let requester = visitor.requester();
    let explain = |access_control: &auth::AccessControl, user: Option<&str>| {
        let (role, reasons) = access_control.explain(user, name);
        RoleReasons { role: role.map(Role::name), reasons }
    };
    let user = visitor.chrome().user.as_deref();
    let own = user.and_then(|user| {
        let access_control = requester.access_control_for_user(user).ok()?;
        Some(explain(access_control, Some(user)))
    });
    let everybody = requester.access_control_for(&Scope::One(name.clone())).ok();
    let everybody = everybody.map(|access_control| explain(access_control, None));
    let mut grants = api::administered_grants(requester).unwrap_or_default();
    grants.retain(|grant| grant.scope.includes(name));
    let grants = grants.into_iter().map(|grant| Grant {
        grantee: grant.grantee.to_string(),
        role: grant.role.name(),
        scope: match grant.scope {
            Scope::All => "all repositories".to_owned(),
            scope => scope.as_str().to_owned(),
        },
        set: visitor.moment(grant.set_at),
        by: grant.by,
    });
    Access { own, everybody, grants: grants.collect() }
}

pub(super) fn actions() -> Vec<Action> {
    vec![
        Action::new("/actions/repositories/delete", AuditAction::RepositoryDelete, delete),
        Action::new("/actions/repositories/restore", AuditAction::RepositoryRestore, restore),
        Action::new("/actions/repositories/rename", AuditAction::RepositoryRename, rename),
    ]
}

/// Starts to delete a repository, if its name was typed to confirm that.
async fn delete(form: Form) -> ActionResult {
    let name: RepoName = form.parse("repository")?;
    form.audit(Some(Scope::One(name.clone())), None);
    let repository = form.visitor.requester().repository_to_change(name.clone(), auth::Action::Administer)?;
    if form.text("confirmation").trim() != name.as_str() {
        return Err(Problem::bad(format_args!("to delete the repository, type its name: {name}")));
    }
    repository.delete().await?;
    Ok(Done::go_to(manage_path(&name)).saying(Notice::RepositoryDeleted))
}

/// Starts to undo a deletion of a repository, by default the last one.
async fn restore(form: Form) -> ActionResult {
    let name: RepoName = form.parse("repository")?;
    form.audit(Some(Scope::One(name.clone())), None);
    let repository = form.visitor.requester().repository_to_change(name.clone(), auth::Action::Administer)?;
    repository.restore(form.parse_optional("removal")?).await?;
    Ok(Done::go_to(manage_path(&name)).saying(Notice::RepositoryRestored))
}

/// Renames a repository.
async fn rename(form: Form) -> ActionResult {
    let name: RepoName = form.parse("repository")?;
    let to: RepoName = form.parse("to")?;
    form.audit(Some(Scope::One(name.clone())), to.to_string());
    let requester = form.visitor.requester();
    let repository = requester.repository_to_change(name, auth::Action::Administer)?;
    requester.repository_to_change(to.clone(), auth::Action::Administer)?;
    repository.rename(&to).await?;
    Ok(Done::go_to(repository_path(&to)).saying(Notice::RepositoryRenamed))
}
