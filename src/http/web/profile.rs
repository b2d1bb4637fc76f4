//! What belongs to the user who has signed in: password, access tokens, sessions, and what they may do.

use askama::Template;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::SET_COOKIE;

use super::chrome::Chrome;
use super::credentials::{SessionItem, TokenItem};
use super::form::Form;
use super::listing::ShortList;
use super::notice::Notice;
use super::page::{Done, PageResult, page};
use super::people::teams_of;
use super::shown_once::Secret;
use super::sign_in::{session_problem, sign_in_problem};
use super::state::Action;
use super::visitor::Visitor;
use crate::auth::{AuthError, Principal, RoleReason};
use crate::http::api::{self, Problem};
use crate::metadata::AuditAction;

/// The path of the page.
const PATH: &str = "/profile";

#[derive(Template)]
#[template(path = "web/profile.html")]
struct ProfilePage<'a> {
    chrome: &'a Chrome,
    listing: ShortList,
    name: &'a str,
    roles: Vec<RoleItem>,
    teams: Vec<String>,
    password: PasswordKind,
    password_error: Option<&'a str>,
    tokens: Vec<TokenItem>,
    sessions: Vec<SessionItem>,
    secret: Option<Secret>,
    host: String,
}

/// A role that the user has.
struct RoleItem {
    role: &'static str,
    scope: String,
    reason: String,
}

/// Where the user changes the password.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PasswordKind {
    /// Here.
    Own,
    /// In the htpasswd file.
    InFile,
    /// At the identity provider.
    AtProvider,
}

pub(super) fn actions() -> Vec<Action> {
    vec![Action::new("/actions/profile/password", AuditAction::AccountUpdate, change_password)]
}

/// The profile of the visitor.
pub(super) async fn show(visitor: Visitor) -> PageResult {
    profile_page(&visitor, StatusCode::OK, None)
}

fn profile_page(visitor: &Visitor, status: StatusCode, password_error: Option<&str>) -> PageResult {
    let name = visitor.user()?;
    let access_control = visitor.access_control();
    let directory = access_control.accounts().current();
    let mut listing = ShortList::of(visitor, PATH);
    let mut tokens = api::list_tokens(visitor.requester(), Some(name))?;
    tokens.reverse();
    let tokens = listing.cut(&tokens).into_iter().map(|token| TokenItem::new(visitor, token)).collect();
    let roles = access_control.roles_of(name).into_iter().map(|(scope, role, reason)| RoleItem {
        role: role.name(),
        scope: scope.to_string(),
        reason: match reason {
            RoleReason::FirstAdministrator => "first administrator".to_owned(),
            RoleReason::HtpasswdFile => "auth.htpasswd_role".to_owned(),
            RoleReason::Granted(grantee) => grantee.to_string(),
        },
    });
    let template = ProfilePage {
        chrome: visitor.chrome(),
        listing,
        name,
        roles: roles.collect(),
        teams: teams_of(&directory, name),
        password: password_kind(visitor, name),
        password_error,
        tokens,
        sessions: SessionItem::of_user(visitor, name),
        secret: visitor.shown_once(PATH),
        host: visitor.registry_host(),
    };
    Ok(page(status, &template))
}

fn password_kind(visitor: &Visitor, name: &str) -> PasswordKind {
    match visitor.access_control().accounts().current().account(name) {
        None => PasswordKind::InFile,
        Some(account) if account.password.is_none() => PasswordKind::AtProvider,
        Some(_) => PasswordKind::Own,
    }
}

/// Changes the password of the visitor, which ends all sessions. This browser gets a new one.
async fn change_password(form: Form) -> Result<Response, Problem> {
    let visitor = &form.visitor;
    let name = visitor.user()?;
    form.audit(None, format!("{name} (password)"));
    let new = form.text("new");
    if new != form.text("repeated") {
        return profile_page(visitor, StatusCode::BAD_REQUEST, Some("The new passwords differ."));
    }
    let access_control = visitor.requester().access_control_for_user(name)?;
    let current = form.text("current").as_bytes();
    let client = visitor.client();
    match access_control.log_in(name, current, client.address).await {
        Ok(Principal::User(_)) => {}
        Ok(_) | Err(AuthError::Unauthenticated | AuthError::Forbidden) => {
            return profile_page(visitor, StatusCode::FORBIDDEN, Some("The current password is wrong."));
        }
        Err(error) => return Err(sign_in_problem(error)),
    }
    access_control.set_password(name, Some(new.to_owned())).await?;
    form.mark_done();
    let session = access_control.start_session_for(name, client.address, &client.user_agent).await;
    let session = session.map_err(session_problem)?;
    let cookie = visitor.session_cookie().set(&session.secret, access_control.session_lifetime());
    let mut response = Done::go_to(PATH).saying(Notice::PasswordChanged).into_response();
    response.headers_mut().append(SET_COOKIE, cookie);
    Ok(response)
}
