//! Access tokens and sessions: those of all users, for administrators. The pages of a user list them too.

use std::sync::Arc;

use askama::Template;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::SET_COOKIE;

use super::browser_name::browser_name;
use super::chrome::Chrome;
use super::form::Form;
use super::format::Moment;
use super::listing::ShortList;
use super::notice::Notice;
use super::page::{ActionResult, Done, PageResult, page};
use super::roles::user_path;
use super::shown_once::Secret;
use super::state::Action;
use super::visitor::Visitor;
use crate::auth::AccessControl;
use crate::http::api::{self, Problem, TokenRequest};
use crate::metadata::{AuditAction, Role, Scope, SessionRecord, TokenRecord};

/// The maximum lifetime of an access token that a form asks for, in days.
const MAX_TOKEN_DAYS: u64 = 36_500;

const SECONDS_OF_A_DAY: u64 = 24 * 60 * 60;

/// An access token in a list.
pub(super) struct TokenItem {
    pub(super) id: String,
    pub(super) account: String,
    pub(super) name: String,
    pub(super) role: &'static str,
    pub(super) scope: String,
    /// Whether a client stores it after a login, and renews it by itself.
    pub(super) is_refresh_token: bool,
    pub(super) created: Moment,
    pub(super) expires: Option<Moment>,
    pub(super) is_expired: bool,
    pub(super) used: Option<Moment>,
}

impl TokenItem {
    pub(super) fn new(visitor: &Visitor, token: &TokenRecord) -> Self {
        Self {
            id: token.id.clone(),
            account: token.account.clone(),
            name: token.name.clone(),
            role: token.role.name(),
            scope: token.scope.to_string(),
            is_refresh_token: token.bound.is_some(),
            created: visitor.moment(token.created_at),
            expires: token.expires_at.map(|at| visitor.moment(at)),
            is_expired: token.expires_at.is_some_and(|at| at <= visitor.now()),
            used: token.used_at.map(|at| visitor.moment(at)),
        }
    }
}

/// A session in a list.
pub(super) struct SessionItem {
    pub(super) id: String,
    pub(super) account: String,
    pub(super) browser: String,
    pub(super) user_agent: String,
    pub(super) address: String,
    pub(super) started: Moment,
    pub(super) used: Moment,
    /// Whether it is the one of the visitor.
    pub(super) is_own: bool,
}

impl SessionItem {
    pub(super) fn new(visitor: &Visitor, session: &SessionRecord) -> Self {
        Self {
            id: session.id.clone(),
            account: session.account.clone(),
            browser: browser_name(&session.client),
            user_agent: session.client.clone(),
            address: session.address.to_string(),
            started: visitor.moment(session.created_at),
            used: visitor.moment(session.used_at),
            is_own: visitor.session().is_some_and(|own| own.id == session.id),
        }
    }

    /// The sessions of a user, the last used one first.
    pub(super) fn of_user(visitor: &Visitor, user: &str) -> Vec<Self> {
        let sessions = sort_by_use(visitor.access_control().sessions_of(user));
        sessions.iter().map(|session| Self::new(visitor, session)).collect()
    }
}

fn sort_by_use(mut sessions: Vec<SessionRecord>) -> Vec<SessionRecord> {
    sessions.sort_by_key(|session| std::cmp::Reverse(session.used_at));
    sessions
}

#[derive(Template)]
#[template(path = "web/tokens.html")]
struct TokensPage<'a> {
    chrome: &'a Chrome,
    listing: ShortList,
    tokens: Vec<TokenItem>,
    next: &'static str,
}

#[derive(Template)]
#[template(path = "web/sessions.html")]
struct SessionsPage<'a> {
    chrome: &'a Chrome,
    listing: ShortList,
    sessions: Vec<SessionItem>,
    next: &'static str,
}

pub(super) fn actions() -> Vec<Action> {
    vec![
        Action::new("/actions/tokens/add", AuditAction::TokenAdd, add_token),
        Action::new("/actions/tokens/revoke", AuditAction::TokenRevoke, revoke_token),
        Action::new("/actions/sessions/end", AuditAction::SignOut, end_session),
        Action::new("/actions/sessions/end-all", AuditAction::SignOut, end_sessions),
    ]
}

/// The access tokens of all users.
pub(super) async fn show_tokens(visitor: Visitor) -> PageResult {
    let mut tokens = api::list_tokens(visitor.requester(), None)?;
    tokens.sort_by_key(|token| std::cmp::Reverse(token.created_at));
    let mut listing = ShortList::of(&visitor, "/people/tokens");
    let found = tokens.iter().filter(|token| listing.matches(&[&token.account, &token.name, &token.id]));
    let found: Vec<_> = found.collect();
    let tokens = listing.cut(found).into_iter().map(|token| TokenItem::new(&visitor, token)).collect();
    let chrome = visitor.chrome();
    Ok(page(StatusCode::OK, &TokensPage { chrome, listing, tokens, next: "/people/tokens" }))
}

/// The sessions of all users.
pub(super) async fn show_sessions(visitor: Visitor) -> PageResult {
    let access_control = visitor.requester().access_control_for(&Scope::All)?;
    let sessions = sort_by_use(access_control.sessions());
    let mut listing = ShortList::of(&visitor, "/people/sessions");
    let found = sessions.iter().filter(|session| {
        listing.matches(&[&session.account, &session.client, &session.address.to_string()])
    });
    let found: Vec<_> = found.collect();
    let sessions = listing.cut(found).into_iter();
    let sessions = sessions.map(|session| SessionItem::new(&visitor, session)).collect();
    let chrome = visitor.chrome();
    Ok(page(StatusCode::OK, &SessionsPage { chrome, listing, sessions, next: "/people/sessions" }))
}

/// Creates an access token, for the visitor unless the form names another user.
async fn add_token(form: Form) -> ActionResult {
    let visitor = &form.visitor;
    let own = visitor.user()?;
    let account = form.optional("account").unwrap_or(own).to_owned();
    let role: Role = form.parse("role")?;
    let scope: Scope = form.parse("scope")?;
    let name = form.text("name").trim().to_owned();
    let subject = format!("{account} {role} {name}");
    form.audit(Some(scope.clone()), subject.trim_end().to_owned());
    let seconds = form.parse_optional("days")?.map(seconds_of_days).transpose()?;
    let request = TokenRequest { account: account.clone(), name, role, scope, seconds };
    let (_, text) = api::add_token(visitor.requester(), request).await?;
    form.mark_done();
    let page = Some(user_path(&account)).filter(|page| form.text("next") == page);
    let page = page.unwrap_or_else(|| "/profile".to_owned());
    visitor.show_once(&page, Secret::Token { account, text });
    Ok(Done::go_to(page))
}

fn seconds_of_days(days: u64) -> Result<u64, Problem> {
    if days > MAX_TOKEN_DAYS {
        return Err(Problem::bad(format_args!("days: must be at most {MAX_TOKEN_DAYS}")));
    }
    Ok(days * SECONDS_OF_A_DAY)
}

async fn revoke_token(form: Form) -> ActionResult {
    let id = form.text("id");
    form.audit(None, id.to_owned());
    api::revoke_token(form.visitor.requester(), id).await?;
    Ok(Done::go_to(form.next_or("/profile")).saying(Notice::TokenRevoked))
}

/// The access control to end the sessions of a user: the visitor, or any for an administrator.
fn access_control_for_sessions<'a>(
    visitor: &'a Visitor,
    account: Option<&str>,
) -> Result<&'a Arc<AccessControl>, Problem> {
    match account {
        Some(account) => visitor.requester().access_control_for_user(account),
        None => visitor.requester().access_control_for(&Scope::All),
    }
}

/// Ends a session. If it is the visitor's own, they sign out.
async fn end_session(form: Form) -> Result<Response, Problem> {
    let id = form.text("id");
    form.audit(None, id.to_owned());
    let visitor = &form.visitor;
    let sessions = visitor.access_control().sessions();
    let found = sessions.iter().find(|session| session.id == id);
    // Fails in the same way for a session of another user and for one that does not exist.
    let access_control = access_control_for_sessions(visitor, found.map(|found| found.account.as_str()))?;
    access_control.end_session(id).await?;
    if visitor.session().is_some_and(|own| own.id == id) {
        let mut response = Done::go_to("/").saying(Notice::SignedOut).into_response();
        response.headers_mut().append(SET_COOKIE, visitor.session_cookie().remove());
        return Ok(response);
    }
    Ok(Done::go_to(form.next_or("/profile")).saying(Notice::SessionEnded).into_response())
}

/// Ends all sessions of a user, except that of the visitor.
async fn end_sessions(form: Form) -> ActionResult {
    let visitor = &form.visitor;
    let account = form.optional("account").map_or_else(|| visitor.user(), Ok)?;
    form.audit(None, account.to_owned());
    let own = visitor.session().map(|session| session.id.as_str());
    access_control_for_sessions(visitor, Some(account))?.end_sessions_of(account, own).await?;
    let notice = if visitor.chrome().user.as_deref() == Some(account) {
        Notice::SignedOutEverywhere
    } else {
        Notice::SessionsEnded
    };
    Ok(Done::go_to(form.next_or("/profile")).saying(notice))
}
