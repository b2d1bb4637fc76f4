//! What happened: changes of tags and repositories, events of the store and the audit log. Also the settings in force.

use std::time::Duration;

use askama::Template;
use http::StatusCode;

use super::chrome::Chrome;
use super::format::{Moment, short};
use super::page::{PageResult, page};
use super::visitor::Visitor;
use crate::clock::Timestamp;
use crate::http::api::{Problem, Time};
use crate::http::query::encode;
use crate::metadata::{
    AuditAction, AuditEntry, AuditOutcome, AuditQuery, ChangeKind, ChangeQuery, EventKind, RecentChange,
    Scope,
};

/// The number of rows on a page.
const PAGE_ITEMS: usize = 50;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The kinds of changes with their names in URLs and for people.
const CHANGE_KINDS: [(ChangeKind, &str, &str); 7] = [
    (ChangeKind::Push, "push", "pushed"),
    (ChangeKind::Move, "move", "moved"),
    (ChangeKind::Delete, "delete", "deleted"),
    (ChangeKind::Expiry, "expiry", "expired"),
    (ChangeKind::Restore, "restore", "restored"),
    (ChangeKind::Rollback, "rollback", "rolled back"),
    (ChangeKind::Rename, "rename", "renamed"),
];

/// The tabs that the visitor may open.
pub(super) struct Tabs {
    current: &'static str,
    background: bool,
    audit: bool,
    settings: bool,
}

impl Tabs {
    pub(super) fn new(visitor: &Visitor, current: &'static str) -> Self {
        let requester = visitor.requester();
        Self {
            current,
            background: requester.registry_reader().is_ok(),
            audit: requester.access_control_for(&Scope::All).is_ok(),
            settings: requester.registry_admin().is_ok(),
        }
    }

    /// The tabs as path and name.
    pub(super) fn list(&self) -> Vec<(&'static str, &'static str)> {
        let tabs = [
            (true, "/activity", "Changes"),
            (true, "/activity/events", "Events"),
            (self.background, "/activity/background", "Background work"),
            (self.audit, "/activity/audit", "Audit log"),
            (self.settings, "/activity/settings", "Settings"),
        ];
        tabs.into_iter().filter(|(shown, ..)| *shown).map(|(_, path, name)| (path, name)).collect()
    }

    pub(super) fn is_current(&self, path: &str) -> bool {
        path == self.current
    }
}

/// A choice of a filter.
struct Choice {
    value: &'static str,
    name: &'static str,
    is_chosen: bool,
}

/// The filters of a list and its pages, as in the URL.
struct Filters {
    path: &'static str,
    /// The parameters that are set, without the position.
    set: Vec<(&'static str, String)>,
    is_continued: bool,
    next: Option<i64>,
}

impl Filters {
    fn new(visitor: &Visitor, path: &'static str, names: &[&'static str], next: Option<i64>) -> Self {
        let set = names.iter().filter_map(|name| Some((*name, visitor.query(name)?.trim().to_owned())));
        Self { path, set: set.collect(), is_continued: visitor.query("after").is_some(), next }
    }

    fn value(&self, name: &str) -> &str {
        self.set.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
    }

    fn link(&self, after: Option<i64>) -> String {
        let after = after.map(|after| ("after", after.to_string()));
        let parameters: Vec<_> =
            self.set.iter().chain(&after).map(|(name, value)| format!("{name}={}", encode(value))).collect();
        if parameters.is_empty() {
            self.path.to_owned()
        } else {
            format!("{}?{}", self.path, parameters.join("&"))
        }
    }

    fn first_link(&self) -> String {
        self.link(None)
    }

    fn next_link(&self) -> Option<String> {
        self.next.map(|next| self.link(Some(next)))
    }
}

/// The position in the list before which the page begins.
fn position(visitor: &Visitor) -> Result<Option<i64>, Problem> {
    let before = visitor.query("after").map(str::parse).transpose();
    before.map_err(|_| Problem::bad("after: not a position in this list"))
}

#[derive(Template)]
#[template(path = "web/activity.html")]
struct ChangesPage<'a> {
    chrome: &'a Chrome,
    tabs: Tabs,
    filters: Filters,
    kinds: Vec<Choice>,
    changes: Vec<ChangeView>,
}

/// A change of a tag or a repository.
struct ChangeView {
    at: Moment,
    what: &'static str,
    class: &'static str,
    /// The tag, or the repository if the change is about all of it.
    name: String,
    /// Where it can be seen now.
    href: String,
    by: Option<String>,
    detail: String,
}

/// Changes of tags and repositories that the visitor may read, newest first.
pub(super) async fn show(visitor: Visitor) -> PageResult {
    let kind = visitor.query("kind");
    let kind = match kind {
        None => None,
        Some(name) => {
            let known = CHANGE_KINDS.iter().find(|(_, known, _)| *known == name);
            Some(known.ok_or_else(|| Problem::bad(format_args!("kind: there is no kind {name:?}")))?.0)
        }
    };
    let repository = visitor.query("repository").map(|name| name.trim().parse()).transpose();
    let repository = repository.map_err(|error| Problem::bad(format_args!("repository: {error}")))?;
    let query = ChangeQuery { repository, kind, before: position(&visitor)? };
    let found = visitor.requester().recent_changes(&query, PAGE_ITEMS).await?;
    let choice = |(own, value, name): (ChangeKind, &'static str, &'static str)| Choice {
        value,
        name,
        is_chosen: kind == Some(own),
    };
    let template = ChangesPage {
        chrome: visitor.chrome(),
        tabs: Tabs::new(&visitor, "/activity"),
        filters: Filters::new(&visitor, "/activity", &["repository", "kind"], found.next),
        kinds: CHANGE_KINDS.map(choice).into(),
        changes: found.items.into_iter().map(|change| change_view(&visitor, change)).collect(),
    };
    Ok(page(StatusCode::OK, &template))
}

fn change_view(visitor: &Visitor, RecentChange { repo, tag, entry }: RecentChange) -> ChangeView {
    let what = CHANGE_KINDS.iter().find(|(kind, ..)| *kind == entry.kind).map_or("", |(.., name)| name);
    let class = match entry.kind {
        ChangeKind::Delete | ChangeKind::Expiry => "warn",
        ChangeKind::Push | ChangeKind::Restore => "good",
        ChangeKind::Move | ChangeKind::Rollback | ChangeKind::Rename => "",
    };
    let detail = match (&entry.reason, &entry.was, &entry.digest) {
        (Some(reason), ..) => reason.clone(),
        (None, Some(was), Some(now)) => format!("from {} to {}", short(was), short(now)),
        (None, None, Some(now)) => short(now),
        (None, Some(was), None) => format!("was {}", short(was)),
        (None, None, None) => String::new(),
    };
    let name = tag.as_ref().map_or_else(|| repo.to_string(), |tag| format!("{repo}:{tag}"));
    let is_gone = tag.is_some() && entry.digest.is_none();
    let href = if is_gone { format!("/r/{repo}") } else { format!("/r/{name}") };
    ChangeView { at: visitor.moment(entry.at), what, class, name, href, by: entry.by, detail }
}

#[derive(Template)]
#[template(path = "web/activity_events.html")]
struct EventsPage<'a> {
    chrome: &'a Chrome,
    tabs: Tabs,
    filters: Filters,
    kinds: Vec<Choice>,
    events: Vec<EventView>,
}

struct EventView {
    at: Moment,
    kind: &'static str,
    class: &'static str,
    message: String,
}

/// Events of the store, newest first: all of them, or those about repositories that the visitor may read.
pub(super) async fn show_events(visitor: Visitor) -> PageResult {
    let kind = visitor.query("kind").map(str::parse::<EventKind>).transpose();
    let kind = kind.map_err(|error| Problem::bad(format_args!("kind: {error}")))?;
    let requester = visitor.requester();
    let found = requester.events(kind, position(&visitor)?, PAGE_ITEMS).await?;
    let view = |event: crate::metadata::Event| EventView {
        at: visitor.moment(event.at),
        kind: event.details.kind().name(),
        class: event_class(event.details.kind()),
        message: event.details.to_string(),
    };
    let choice =
        |own: EventKind| Choice { value: own.name(), name: own.name(), is_chosen: kind == Some(own) };
    let template = EventsPage {
        chrome: visitor.chrome(),
        tabs: Tabs::new(&visitor, "/activity/events"),
        filters: Filters::new(&visitor, "/activity/events", &["kind"], found.next),
        kinds: if requester.sees_all() { EventKind::all().map(choice).collect() } else { Vec::new() },
        events: found.items.into_iter().map(view).collect(),
    };
    Ok(page(StatusCode::OK, &template))
}

fn event_class(kind: EventKind) -> &'static str {
    match kind {
        EventKind::BlobDamaged | EventKind::BudgetFull | EventKind::DiskFull => "bad",
        EventKind::BudgetHigh | EventKind::ClockSuspect | EventKind::RepositoryDeleted => "warn",
        EventKind::BlobHealed
        | EventKind::BlobSound
        | EventKind::BudgetAmple
        | EventKind::DiskAmple
        | EventKind::ClockTrusted
        | EventKind::RepositoryRestored => "good",
        EventKind::RetentionRun
        | EventKind::PolicySet
        | EventKind::PolicyRemoved
        | EventKind::RepositoryRenamed => "",
    }
}

#[derive(Template)]
#[template(path = "web/activity_audit.html")]
struct AuditPage<'a> {
    chrome: &'a Chrome,
    tabs: Tabs,
    filters: Filters,
    actions: Vec<Choice>,
    outcomes: Vec<Choice>,
    entries: Vec<AuditView>,
}

struct AuditView {
    at: Moment,
    count: u64,
    user: Option<String>,
    from: String,
    action: &'static str,
    scope: String,
    subject: Option<String>,
    outcome: &'static str,
    class: &'static str,
    status: Option<u16>,
}

/// The audit log, newest first, for administrators of the scope that the visitor asks for.
pub(super) async fn show_audit(visitor: Visitor) -> PageResult {
    let text = |name| visitor.query(name).map(str::trim);
    let scope = text("scope").unwrap_or_default().parse::<Scope>();
    let scope = scope.map_err(|error| Problem::bad(format_args!("scope: {error}")))?;
    let requester = visitor.requester();
    requester.access_control_for(&scope)?;
    let action = text("action").map(str::parse::<AuditAction>).transpose();
    let action = action.map_err(|error| Problem::bad(format_args!("action: {error}")))?;
    let outcome = text("outcome").map(str::parse::<AuditOutcome>).transpose();
    let outcome = outcome.map_err(|error| Problem::bad(format_args!("outcome: {error}")))?;
    let query = AuditQuery {
        user: text("user").map(str::to_owned),
        scope,
        action,
        outcome,
        since: text("since").map(|since| day("since", since)).transpose()?,
        // The whole day counts.
        until: text("until").map(|until| day("until", until)).transpose()?.map(|day| day.plus(DAY)),
        before: position(&visitor)?,
    };
    let found = requester.metadata().audit(&query, PAGE_ITEMS).await?;
    let names = ["user", "action", "scope", "outcome", "since", "until"];
    let outcomes = [AuditOutcome::Allowed, AuditOutcome::Denied, AuditOutcome::Failed];
    let template = AuditPage {
        chrome: visitor.chrome(),
        tabs: Tabs::new(&visitor, "/activity/audit"),
        filters: Filters::new(&visitor, "/activity/audit", &names, found.next),
        actions: AuditAction::all()
            .map(|own| Choice { value: own.name(), name: own.name(), is_chosen: action == Some(own) })
            .collect(),
        outcomes: outcomes
            .map(|own| Choice { value: own.name(), name: own.name(), is_chosen: outcome == Some(own) })
            .into(),
        entries: found.items.into_iter().map(|entry| audit_view(&visitor, entry)).collect(),
    };
    Ok(page(StatusCode::OK, &template))
}

fn audit_view(visitor: &Visitor, AuditEntry { audited, times, .. }: AuditEntry) -> AuditView {
    AuditView {
        at: visitor.moment(times.last),
        count: times.count,
        user: audited.user,
        from: audited.from.to_string(),
        action: audited.action.name(),
        scope: audited.scope.as_str().to_owned(),
        subject: audited.subject,
        outcome: audited.outcome.name(),
        class: match audited.outcome {
            AuditOutcome::Allowed => "good",
            AuditOutcome::Denied => "bad",
            AuditOutcome::Failed => "warn",
        },
        status: audited.status,
    }
}

/// The beginning of a day (UTC), as browsers write it: `2026-01-31`.
fn day(name: &str, text: &str) -> Result<Timestamp, Problem> {
    let time = serde_json::from_value::<Time>(format!("{text}T00:00:00Z").into());
    let time =
        time.map_err(|_| Problem::bad(format_args!("{name}: {text:?} is not a date such as 2026-01-31")))?;
    Ok(time.0)
}

#[derive(Template)]
#[template(path = "web/activity_settings.html")]
struct SettingsPage<'a> {
    chrome: &'a Chrome,
    tabs: Tabs,
    started: Moment,
    settings: &'a str,
}

/// The version and the settings in force, without secrets.
pub(super) async fn show_settings(visitor: Visitor) -> PageResult {
    visitor.requester().registry_admin()?;
    let view = visitor.requester().require_any_access()?;
    let template = SettingsPage {
        chrome: visitor.chrome(),
        tabs: Tabs::new(&visitor, "/activity/settings"),
        started: visitor.moment(view.started_at),
        settings: &visitor.web().state.settings.settings_text,
    };
    Ok(page(StatusCode::OK, &template))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_read() {
        assert_eq!(day("since", "1970-01-02").ok(), Some(Timestamp(24 * 3_600_000)));
        for invalid in ["", "1970", "1970-01-02T00:00:00Z", "31.1.2026"] {
            assert!(day("since", invalid).is_err(), "{invalid}");
        }
    }

    #[test]
    fn pages_keep_their_filters() {
        let filters = Filters {
            path: "/activity",
            set: vec![("repository", "team/app".into()), ("kind", "push".into())],
            is_continued: false,
            next: Some(7),
        };
        assert_eq!(filters.next_link().as_deref(), Some("/activity?repository=team%2Fapp&kind=push&after=7"));
        assert_eq!(filters.value("kind"), "push");
        let none = Filters { path: "/activity", set: Vec::new(), is_continued: true, next: None };
        assert_eq!((none.first_link().as_str(), none.next_link()), ("/activity", None));
    }
}
