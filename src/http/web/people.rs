//! Users: their roles, teams, access tokens and sessions, for administrators.

use std::collections::HashMap;

use askama::Template;
use axum::extract::Path;
use http::StatusCode;

use super::chrome::Chrome;
use super::credentials::{SessionItem, TokenItem};
use super::form::Form;
use super::format::Moment;
use super::listing::ShortList;
use super::notice::Notice;
use super::page::{ActionResult, Done, PageResult, page, redirect};
use super::roles::{GrantItem, user_path};
use super::shown_once::Secret;
use super::state::Action;
use super::teams::require_manager;
use super::visitor::Visitor;
use crate::auth::Directory;
use crate::clock::Timestamp;
use crate::http::api::{self, Account, AccountRequest, Problem, RoleThere};
use crate::metadata::{AccountKind, AuditAction, Grantee, Scope};

#[derive(Template)]
#[template(path = "web/people.html")]
struct PeoplePage<'a> {
    chrome: &'a Chrome,
    listing: ShortList,
    users: Vec<UserItem>,
}

/// A user in the list.
struct UserItem {
    name: String,
    link: String,
    kind: &'static str,
    is_disabled: bool,
    roles: Vec<String>,
    teams: Vec<String>,
    tokens: u64,
    used: Option<Moment>,
}

#[derive(Template)]
#[template(path = "web/user.html")]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about a user")]
struct UserPage<'a> {
    chrome: &'a Chrome,
    listing: ShortList,
    name: &'a str,
    /// The path of this page.
    here: String,
    kind: &'static str,
    is_file_user: bool,
    is_first_administrator: bool,
    is_disabled: bool,
    is_self: bool,
    can_be_removed: bool,
    has_identity: bool,
    created: Option<Moment>,
    by: Option<String>,
    used: Option<Moment>,
    grants: Vec<GrantItem>,
    teams: Vec<String>,
    tokens: Vec<TokenItem>,
    sessions: Vec<SessionItem>,
    secret: Option<Secret>,
    host: String,
}

pub(super) fn actions() -> Vec<Action> {
    vec![
        Action::new("/actions/people/add-user", AuditAction::AccountAdd, add_user),
        Action::new("/actions/people/disable", AuditAction::AccountUpdate, disable),
        Action::new("/actions/people/enable", AuditAction::AccountUpdate, enable),
        Action::new("/actions/people/reset-password", AuditAction::AccountUpdate, reset_password),
        Action::new("/actions/people/remove-user", AuditAction::AccountRemove, remove_user),
    ]
}

fn kind_name(kind: AccountKind) -> &'static str {
    match kind {
        AccountKind::Bootstrap => "first administrator",
        AccountKind::Person => "person",
        AccountKind::Robot => "robot",
    }
}

const FILE_USER: &str = "htpasswd file";

/// When users last used an access token or a session.
struct LastUses(HashMap<String, Timestamp>);

impl LastUses {
    fn of(visitor: &Visitor, directory: &Directory) -> Self {
        let mut last = HashMap::new();
        let tokens = directory.records().tokens.iter();
        let tokens = tokens.filter_map(|token| Some((token.account.clone(), token.used_at?)));
        let sessions = visitor.access_control().sessions();
        let sessions = sessions.into_iter().map(|session| (session.account, session.used_at));
        for (user, at) in tokens.chain(sessions) {
            let known = last.entry(user).or_insert(at);
            *known = at.max(*known);
        }
        Self(last)
    }

    fn get(&self, visitor: &Visitor, user: &str) -> Option<Moment> {
        self.0.get(user).map(|at| visitor.moment(*at))
    }
}

/// All users. Those who manage only a part see its teams instead.
pub(super) async fn show(visitor: Visitor) -> PageResult {
    require_manager(&visitor)?;
    let Ok(access_control) = visitor.requester().access_control_for(&Scope::All) else {
        return Ok(redirect("/people/teams"));
    };
    let directory = access_control.accounts().current();
    let file_users = access_control.htpasswd_users();
    let mut names: Vec<&str> = directory.account_names().collect();
    names.extend(file_users.iter().map(String::as_str));
    let mut listing = ShortList::of(&visitor, "/people");
    names.retain(|name| listing.matches(&[name]));
    let last_uses = LastUses::of(&visitor, &directory);
    let users = listing.cut(names).into_iter().map(|name| user_item(&visitor, &directory, &last_uses, name));
    let users = users.collect();
    Ok(page(StatusCode::OK, &PeoplePage { chrome: visitor.chrome(), listing, users }))
}

fn user_item(visitor: &Visitor, directory: &Directory, last_uses: &LastUses, name: &str) -> UserItem {
    let records = directory.records();
    let account = directory.account(name);
    let own = records.grants.iter().filter(|grant| is_grant_of(&grant.grantee, name));
    let roles = own.map(|grant| match grant.scope.as_str() {
        "" => format!("{} on everything", grant.role),
        scope => format!("{} on {scope}", grant.role),
    });
    let is_first = account.is_some_and(|account| account.kind == AccountKind::Bootstrap);
    let roles = is_first.then(|| "admin on everything".to_owned()).into_iter().chain(roles);
    let tokens = records.tokens.iter().filter(|token| token.account == name && token.bound.is_none());
    UserItem {
        name: name.to_owned(),
        link: user_path(name),
        kind: account.map_or(FILE_USER, |account| kind_name(account.kind)),
        is_disabled: account.is_some_and(|account| account.disabled),
        roles: roles.collect(),
        teams: teams_of(directory, name),
        tokens: tokens.count() as u64,
        used: last_uses.get(visitor, name),
    }
}

fn is_grant_of(grantee: &Grantee, name: &str) -> bool {
    matches!(grantee, Grantee::User(user) if user == name)
}

pub(super) fn teams_of(directory: &Directory, name: &str) -> Vec<String> {
    let members = directory.records().members.iter().filter(|(_, member)| member == name);
    members.map(|(team, _)| team.to_string()).collect()
}

/// A user.
pub(super) async fn show_user(visitor: Visitor, Path(name): Path<String>) -> PageResult {
    let access_control = visitor.requester().access_control_for(&Scope::All)?;
    let directory = access_control.accounts().current();
    if !access_control.has_user(&name) {
        return Err(Problem::unknown(format_args!("there is no user {name}")));
    }
    let record = directory.account(&name);
    let account = record.map(|record| Account::new(record, &directory));
    let here = user_path(&name);
    let mut listing = ShortList::of(&visitor, here.clone());
    let mut tokens = api::list_tokens(visitor.requester(), Some(&name))?;
    tokens.reverse();
    let tokens = listing.cut(&tokens).into_iter().map(|token| TokenItem::new(&visitor, token)).collect();
    let grants = directory.records().grants.iter().filter(|grant| is_grant_of(&grant.grantee, &name));
    let kind = record.map(|record| record.kind);
    let template = UserPage {
        chrome: visitor.chrome(),
        listing,
        name: &name,
        kind: kind.map_or(FILE_USER, kind_name),
        is_file_user: record.is_none(),
        is_first_administrator: kind == Some(AccountKind::Bootstrap),
        is_disabled: record.is_some_and(|record| record.disabled),
        is_self: visitor.chrome().user.as_deref() == Some(&*name),
        can_be_removed: matches!(kind, Some(AccountKind::Person | AccountKind::Robot)),
        has_identity: record.is_some_and(|record| record.identity.is_some()),
        created: record.map(|record| visitor.moment(record.created_at)),
        by: account.and_then(|account| account.by),
        used: LastUses::of(&visitor, &directory).get(&visitor, &name),
        grants: grants.map(|grant| GrantItem::new(&visitor, grant)).collect(),
        teams: teams_of(&directory, &name),
        tokens,
        sessions: SessionItem::of_user(&visitor, &name),
        secret: visitor.shown_once(&here),
        host: visitor.registry_host(),
        here,
    };
    Ok(page(StatusCode::OK, &template))
}

/// Adds a user. Without a password, one is generated and shown once.
async fn add_user(form: Form) -> ActionResult {
    let name = form.text("name").trim().to_owned();
    let role = form.parse_optional("role")?;
    let scope: Scope = form.parse("scope")?;
    let subject =
        role.map_or_else(|| name.clone(), |role| format!("{name} with {role} on {:?}", scope.as_str()));
    form.audit(None, subject);
    let request = AccountRequest {
        password: form.optional("password").map(str::to_owned),
        robot: form.text("kind") == "robot",
        roles: role.map(|role| RoleThere { role, scope }).into_iter().collect(),
    };
    let generated = api::add_account(form.visitor.requester(), name.clone(), request).await?;
    form.mark_done();
    let next = user_path(&name);
    if let Some(password) = generated {
        form.visitor.show_once(&next, Secret::Password(password));
    }
    Ok(Done::go_to(next).saying(Notice::UserSaved))
}

/// The user that a form is about.
fn subject(form: &Form, what: &str) -> String {
    let name = form.text("name").to_owned();
    form.audit(None, format!("{name} {what}").trim_end().to_owned());
    name
}

async fn disable(form: Form) -> ActionResult {
    set_disabled(&form, true).await
}

async fn enable(form: Form) -> ActionResult {
    set_disabled(&form, false).await
}

async fn set_disabled(form: &Form, disabled: bool) -> ActionResult {
    let name = subject(form, if disabled { "(disabled)" } else { "(enabled)" });
    form.visitor.requester().access_control_for(&Scope::All)?.set_disabled(&name, disabled).await?;
    Ok(Done::go_to(user_path(&name)).saying(Notice::UserSaved))
}

/// Sets a new password of another user. Without one, it is generated and shown once.
async fn reset_password(form: Form) -> ActionResult {
    let name = subject(&form, "(password)");
    let visitor = &form.visitor;
    let access_control = visitor.requester().access_control_for(&Scope::All)?;
    if visitor.chrome().user.as_deref() == Some(&*name) {
        let detail = "change your own password on your profile page, which asks for the current one";
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    }
    let password = form.optional("password").map(str::to_owned);
    let generated = access_control.set_password(&name, password).await?;
    form.mark_done();
    let next = user_path(&name);
    if let Some(password) = generated {
        visitor.show_once(&next, Secret::Password(password));
    }
    Ok(Done::go_to(next).saying(Notice::UserSaved))
}

async fn remove_user(form: Form) -> ActionResult {
    let name = subject(&form, "");
    form.visitor.requester().access_control_for(&Scope::All)?.remove_account(&name).await?;
    Ok(Done::go_to("/people").saying(Notice::UserRemoved))
}
