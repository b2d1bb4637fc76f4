//! Signs users in with their name and password, and out.

use askama::Template;
use axum::response::{IntoResponse, Response};
use http::header::SET_COOKIE;
use http::{HeaderValue, StatusCode};

use super::chrome::Chrome;
use super::form::Form;
use super::notice::Notice;
use super::page::{Done, PageResult, is_local_path, page, redirect};
use super::state::Action;
use super::visitor::Visitor;
use crate::auth::{AuthError, ClaimedIdentity, Principal, SessionError};
use crate::http::api::Problem;
use crate::http::query::encode;
use crate::memory::OutOfMemory;
use crate::metadata::AuditAction;

#[derive(Template)]
#[template(path = "web/sign_in.html")]
struct SignInPage<'a> {
    chrome: &'a Chrome,
    providers: Vec<String>,
    name: &'a str,
    next: &'a str,
    encoded_next: String,
    error: Option<&'a str>,
}

pub(super) fn actions() -> Vec<Action> {
    vec![
        Action::new("/actions/sign-in", AuditAction::SignIn, sign_in),
        Action::new("/actions/sign-out", AuditAction::SignOut, sign_out),
    ]
}

/// The sign-in page. Visitors who have signed in see the page that they wanted.
pub(super) async fn show(visitor: Visitor) -> PageResult {
    let next = visitor.query("next").filter(|next| is_local_path(next)).unwrap_or("/");
    if visitor.session().is_some() {
        return Ok(redirect(next));
    }
    Ok(form_page(&visitor, StatusCode::OK, "", next, None))
}

/// The page with the form, for anonymous visitors.
pub(super) fn form_page(
    visitor: &Visitor,
    status: StatusCode,
    name: &str,
    next: &str,
    error: Option<&str>,
) -> Response {
    let providers = visitor.web().state.access_control.sign_in_providers().map(str::to_owned).collect();
    let encoded_next = encode(next).to_string();
    page(status, &SignInPage { chrome: visitor.chrome(), providers, name, next, encoded_next, error })
}

/// Signs in with a name and a password. Each session gets a new random id, which prevents session fixation.
async fn sign_in(form: Form) -> Response {
    let name = form.text("name");
    let next = form.next_or("/");
    let claimed = ClaimedIdentity { user: Some(name.to_owned()), token: None };
    let mut response = match try_sign_in(&form).await {
        Ok(cookie) => {
            let mut response = redirect(&next);
            response.headers_mut().append(SET_COOKIE, cookie);
            response
        }
        Err(problem) => {
            let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::UNAUTHORIZED);
            form_page(&form.visitor, status, name, &next, Some(&problem.detail))
        }
    };
    // For the audit log.
    response.extensions_mut().insert(claimed);
    response
}

/// Checks name and password, and returns the cookie of the new session.
async fn try_sign_in(form: &Form) -> Result<HeaderValue, Problem> {
    let state = &form.visitor.web().state;
    let access_control = &state.access_control;
    let client = form.visitor.client();
    let password = form.text("password").as_bytes();
    let principal = access_control.log_in(form.text("name"), password, client.address).await;
    let principal = principal.map_err(sign_in_problem)?;
    if principal == Principal::Anonymous {
        // An open registry accepts any name and password of clients that send them with each request.
        return Err(sign_in_problem(AuthError::Unauthenticated));
    }
    let session = access_control.start_session(&principal, client.address, &client.user_agent).await;
    let session = session.map_err(session_problem)?;
    form.audit(None, session.record.id.clone());
    if let Some(old) = form.visitor.session() {
        // The session of the user who was signed in before ends; it may have ended meanwhile.
        let _ = access_control.end_session(&old.id).await;
    }
    Ok(form.visitor.session_cookie().set(&session.secret, access_control.session_lifetime()))
}

pub(super) fn sign_in_problem(error: AuthError) -> Problem {
    match error {
        AuthError::Unauthenticated | AuthError::Forbidden => {
            Problem::new(StatusCode::UNAUTHORIZED, "The name or the password is wrong.")
        }
        AuthError::RateLimited(wait) => {
            let seconds = wait.as_secs() + 1;
            let detail = format!("Too many failed sign-ins from your address. Try again in {seconds} s.");
            Problem::new(StatusCode::TOO_MANY_REQUESTS, detail)
        }
        AuthError::OutOfMemory => OutOfMemory.into(),
    }
}

pub(super) fn session_problem(error: SessionError) -> Problem {
    match error {
        SessionError::NoUser => {
            Problem::new(StatusCode::UNAUTHORIZED, "Sign in with the password, not with an access token.")
        }
        SessionError::Account(error) => error.into(),
    }
}

/// Ends the session.
async fn sign_out(form: Form) -> Result<Response, Problem> {
    let access_control = &form.visitor.web().state.access_control;
    if let Some(session) = form.visitor.session() {
        form.audit(None, session.id.clone());
        access_control.end_session(&session.id).await?;
    }
    let mut response = Done::go_to("/").saying(Notice::SignedOut).into_response();
    response.headers_mut().append(SET_COOKIE, form.visitor.session_cookie().remove());
    Ok(response)
}
