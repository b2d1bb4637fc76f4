//! `/login`: users sign in with an OpenID Connect provider. They get an access token for their client, or, if they come
//! from the pages, a session.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY, SET_COOKIE,
};
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode, Uri};

use super::layers::audit::{AuditedOperation, PendingEntry};
use super::listen::Peer;
use super::paths::LOGIN_PATH;
use super::payload::Payload;
use super::query::{Query, encode};
use super::reply::{NO_STORE, Reply, routed, value};
use super::session_cookie::{Browser, Client, SessionCookie, cookie};
use super::state::AppState;
use super::token::peer;
use super::web::{ASSETS, Assets, POLICY, is_local_path, sign_in_path};
use crate::auth::{
    ClaimedIdentity, PersonSignInError, SIGN_IN_TIMEOUT, SessionError, SignInCallback, SignInError,
};
use crate::clock::Timestamp;
use crate::errors::Chain;
use crate::metadata::{AuditAction, Scope, TokenRecord};

/// The cookie that holds the state of a sign-in while the user is at the provider.
const COOKIE_NAME: &str = "orlop-sign-in";

/// The cookie that holds the page to show after a sign-in that was started on the pages.
const NEXT_COOKIE_NAME: &str = "orlop-sign-in-next";

/// The maximum number of characters that are shown of a provider's error.
const MAX_REASON_CHARS: usize = 200;

#[derive(Template)]
#[template(path = "sign_in.html")]
struct ProviderListPage<'a> {
    assets: Option<&'a Assets>,
    providers: Vec<&'a str>,
    /// The query of the links.
    query: String,
}

#[derive(Template)]
#[template(path = "signed_in.html")]
struct SignedInPage<'a> {
    assets: Option<&'a Assets>,
    user: &'a str,
    secret: &'a str,
    until: String,
    host: &'a str,
}

#[derive(Template)]
#[template(path = "sign_in_failed.html")]
struct SignInFailedPage<'a> {
    assets: Option<&'a Assets>,
    retry: &'a str,
    why: &'a str,
}

/// Lists the providers. Redirects to the provider if there is only one.
pub(super) async fn list_providers(State(state): State<Arc<AppState>>, uri: Uri) -> Response<Body> {
    let providers: Vec<_> = state.access_control.sign_in_providers().collect();
    let next = requested_page(&state, uri.query());
    let query = next.map_or_else(String::new, |next| format!("?next={}", encode(&next)));
    routed(match *providers {
        [only] => {
            Reply::new(StatusCode::SEE_OTHER).with(LOCATION, value(format!("{LOGIN_PATH}/{only}{query}")))
        }
        _ => page(StatusCode::OK, &ProviderListPage { assets: assets(&state), providers, query }),
    })
}

/// Starts a sign-in: redirects the browser to a provider.
pub(super) async fn start(
    State(state): State<Arc<AppState>>,
    Path(provider): Path<String>,
    uri: Uri,
) -> Response<Body> {
    let now = state.registry.clock().now();
    let next = requested_page(&state, uri.query());
    // Without a page, the cookie of an abandoned sign-in is removed.
    let next_cookie = next.as_ref().map_or_else(
        || remove(&state, NEXT_COOKIE_NAME),
        |next| set(&state, NEXT_COOKIE_NAME, &encode(next).to_string()),
    );
    routed(match state.access_control.start_sign_in(&provider, &redirect(&state, &provider), now).await {
        Ok((address, cookie_value)) => Reply::new(StatusCode::SEE_OTHER)
            .with(LOCATION, value(address.to_string()))
            .with(SET_COOKIE, set(&state, COOKIE_NAME, &cookie_value))
            .with(SET_COOKIE, next_cookie)
            .with(CACHE_CONTROL, NO_STORE),
        Err(error) => refused(&state, &error, next.as_deref()),
    })
}

/// Completes a sign-in when the browser returns from the provider: starts a session if it was started on the pages, or
/// shows an access token.
pub(super) async fn finish(
    State(state): State<Arc<AppState>>,
    Path(provider): Path<String>,
    request: Request,
) -> Response<Body> {
    let (head, _) = request.into_parts();
    let next = cookie(&head, NEXT_COOKIE_NAME)
        .and_then(|next| requested_page(&state, Some(&format!("next={next}"))));
    let next = next.as_deref();
    let cookie_value = cookie(&head, COOKIE_NAME).unwrap_or_default();
    if cookie_value.is_empty() {
        return routed(refused(&state, &PersonSignInError::NotStarted, next));
    }
    let query = Query::new(head.uri.query());
    let parameter = |name: &str| query.get(name).unwrap_or_default();
    if let Some(error) = query.get("error") {
        let description = parameter("error_description");
        let why: String = format!("{error} {description}").chars().take(MAX_REASON_CHARS).collect();
        let why = format!("The provider reports: {why}");
        return routed(failed_page(&state, StatusCode::FORBIDDEN, &why, next));
    }
    let sign_in_state = parameter("state");
    let code = parameter("code");
    let redirect = redirect(&state, &provider);
    let callback = SignInCallback {
        provider: &provider,
        redirect: &redirect,
        state: &sign_in_state,
        code: &code,
        cookie: cookie_value,
        from: Client::of(&head).address,
    };
    let done = match next {
        Some(next) => start_session(&state, &head, callback, next).await,
        None => issue_token(&state, callback).await.map(|issued| {
            record_token(&state, peer(&head), &issued);
            signed_in_page(&state, &issued)
        }),
    };
    done.unwrap_or_else(|error| routed(refused(&state, &error, next)))
}

/// The page to show after a sign-in, by the query of a request.
fn requested_page(state: &AppState, query: Option<&str>) -> Option<String> {
    let next = Query::new(query).get("next")?.into_owned();
    (state.settings.ui && is_local_path(&next)).then_some(next)
}

/// Completes a sign-in, starts a session, and shows the page `next`.
async fn start_session(
    state: &AppState,
    head: &Parts,
    callback: SignInCallback<'_>,
    next: &str,
) -> Result<Response<Body>, PersonSignInError> {
    let access_control = &state.access_control;
    let now = state.registry.clock().now();
    let signed_in = access_control.finish_sign_in(callback, now).await?;
    let client = Client::of(head);
    let session =
        access_control.start_session_for(&signed_in.account, client.address, &client.user_agent).await;
    let session = session.map_err(|error| match error {
        SessionError::NoUser => PersonSignInError::Disabled(signed_in.account.clone()),
        SessionError::Account(error) => PersonSignInError::Account(error),
    })?;
    if let Some(old) = Browser::recognise(state, head).session() {
        // The session of the user who was signed in before ends; it may have ended meanwhile.
        let _ = access_control.end_session(&old.id).await;
    }
    let account = signed_in.is_new.then_some((AuditAction::AccountAdd, signed_in.account.as_str()));
    let started = (AuditAction::SignIn, session.record.id.as_str());
    for (action, subject) in account.into_iter().chain([started]) {
        record(state, peer(head), &signed_in.account, action, subject);
    }
    let cookie = SessionCookie::of(state, head).set(&session.secret, access_control.session_lifetime());
    Ok(routed(
        Reply::new(StatusCode::SEE_OTHER)
            .with(LOCATION, value(next.to_owned()))
            .with(SET_COOKIE, cookie)
            .with(SET_COOKIE, remove(state, COOKIE_NAME))
            .with(SET_COOKIE, remove(state, NEXT_COOKIE_NAME)),
    ))
}

/// The access token of a sign-in.
struct IssuedToken {
    /// The record of the token, which names the account.
    token: TokenRecord,
    /// The token itself.
    secret: String,
    /// Whether the sign-in created the account.
    is_new: bool,
}

/// Completes a sign-in and issues an access token.
async fn issue_token(
    state: &AppState,
    callback: SignInCallback<'_>,
) -> Result<IssuedToken, PersonSignInError> {
    let now = state.registry.clock().now();
    let signed_in = state.access_control.finish_sign_in(callback, now).await?;
    let (token, secret) = state.access_control.add_sign_in_token(&signed_in, now).await?;
    Ok(IssuedToken { token, secret, is_new: signed_in.is_new })
}

/// Records the new account and the new token in the audit log.
fn record_token(state: &AppState, peer: Peer, issued: &IssuedToken) {
    let token = &issued.token;
    let account = issued.is_new.then_some((AuditAction::AccountAdd, token.account.as_str()));
    for (action, subject) in account.into_iter().chain([(AuditAction::TokenAdd, token.id.as_str())]) {
        record(state, peer, &token.account, action, subject);
    }
}

/// Records what a sign-in did in the audit log.
fn record(state: &AppState, peer: Peer, account: &str, action: AuditAction, subject: &str) {
    let who = ClaimedIdentity { user: Some(account.to_owned()), token: None };
    let operation = AuditedOperation { action, scope: Scope::All, subject: Some(subject.to_owned()) };
    PendingEntry::new(&state.registry, peer, who, operation).finish(StatusCode::OK);
}

fn signed_in_page(state: &AppState, IssuedToken { token, secret, .. }: &IssuedToken) -> Response<Body> {
    let url = state.settings.public_url.as_deref().unwrap_or_default();
    let host = url.split_once("://").map_or(url, |(_, host)| host);
    let until = token.expires_at.map_or_else(|| "it is revoked".to_owned(), Timestamp::rfc3339);
    let template = SignedInPage { assets: assets(state), user: &token.account, secret, until, host };
    let reply = page(StatusCode::OK, &template).with(SET_COOKIE, remove(state, COOKIE_NAME));
    let mut response = routed(reply);
    // For the audit log.
    response.extensions_mut().insert(ClaimedIdentity::from_form(Some(&token.account), Some(secret)));
    response
}

fn refused(state: &AppState, error: &PersonSignInError, next: Option<&str>) -> Reply {
    let status = match error {
        PersonSignInError::NoProvider | PersonSignInError::Provider(SignInError::None) => {
            StatusCode::NOT_FOUND
        }
        PersonSignInError::NotStarted => StatusCode::BAD_REQUEST,
        PersonSignInError::RateLimited(_) => StatusCode::TOO_MANY_REQUESTS,
        PersonSignInError::Provider(SignInError::Provider(_)) => StatusCode::BAD_GATEWAY,
        PersonSignInError::Provider(SignInError::Flaw(_))
        | PersonSignInError::Name(_)
        | PersonSignInError::Taken(_)
        | PersonSignInError::Disabled(_) => StatusCode::FORBIDDEN,
        PersonSignInError::Account(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    tracing::warn!(error = %Chain(error), "sign-in failed");
    // Details of the network and the disk are only for the operator.
    let why = match error {
        PersonSignInError::Provider(SignInError::Provider(_)) => {
            "The provider could not be reached, or rejected the code.".into()
        }
        PersonSignInError::Account(_) => "An internal error occurred; see the server's log.".into(),
        error => Chain(error).to_string(),
    };
    failed_page(state, status, &why, next)
}

fn failed_page(state: &AppState, status: StatusCode, why: &str, next: Option<&str>) -> Reply {
    let retry = next.map_or_else(|| LOGIN_PATH.to_owned(), sign_in_path);
    page(status, &SignInFailedPage { assets: assets(state), retry: &retry, why })
}

/// The files of the look of the pages, which are there only if the pages are.
fn assets(state: &AppState) -> Option<&'static Assets> {
    state.settings.ui.then(|| &*ASSETS)
}

/// The callback URL of a provider. The settings require a public URL where users can sign in.
fn redirect(state: &AppState, provider: &str) -> String {
    state.settings.locate(format!("{LOGIN_PATH}/{provider}/callback"))
}

/// The header that sets a cookie for the duration of a sign-in.
fn set(state: &AppState, name: &str, text: &str) -> HeaderValue {
    sign_in_cookie(state, name, text, SIGN_IN_TIMEOUT)
}

/// The header that removes a cookie of a sign-in.
fn remove(state: &AppState, name: &str) -> HeaderValue {
    sign_in_cookie(state, name, "", Duration::ZERO)
}

fn sign_in_cookie(state: &AppState, name: &str, text: &str, lifetime: Duration) -> HeaderValue {
    let https = state.settings.public_url.as_ref().is_some_and(|url| url.starts_with("https://"));
    let secure = if https { "; Secure" } else { "" };
    let seconds = lifetime.as_secs();
    value(format!("{name}={text}; Path={LOGIN_PATH}; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}"))
}

fn page(status: StatusCode, template: &impl Template) -> Reply {
    // Templates are checked at compile time and render into memory, so this cannot fail.
    let text = template.render().unwrap_or_default();
    Reply::new(status)
        .with(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"))
        .with(CACHE_CONTROL, NO_STORE)
        .with(CONTENT_SECURITY_POLICY, POLICY)
        .with(REFERRER_POLICY, HeaderValue::from_static("no-referrer"))
        .body(Payload::Whole(text.into()))
}
