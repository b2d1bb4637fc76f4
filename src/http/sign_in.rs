//! `/login`: users sign in with an OpenID Connect provider and get an access token for their client.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use askama::Template;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, COOKIE, LOCATION, REFERRER_POLICY, SET_COOKIE};
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};

use super::layers::audit::{AuditedOperation, PendingEntry};
use super::listen::Peer;
use super::paths::LOGIN_PATH;
use super::payload::Payload;
use super::query::Query;
use super::reply::{Reply, routed, value};
use super::state::AppState;
use super::token::peer;
use crate::auth::{ClaimedIdentity, PersonSignInError, SIGN_IN_TIMEOUT, SignInCallback, SignInError};
use crate::clock::Timestamp;
use crate::errors::Chain;
use crate::metadata::{AuditAction, Scope, TokenRecord};

/// The cookie that holds the state of a sign-in while the user is at the provider.
const COOKIE_NAME: &str = "orlop-sign-in";

/// The maximum number of characters that are shown of a provider's error.
const MAX_REASON_CHARS: usize = 200;

#[derive(Template)]
#[template(path = "sign_in.html")]
struct ProviderListPage<'a> {
    providers: Vec<&'a str>,
}

#[derive(Template)]
#[template(path = "signed_in.html")]
struct SignedInPage<'a> {
    user: &'a str,
    secret: &'a str,
    until: String,
    host: &'a str,
}

#[derive(Template)]
#[template(path = "sign_in_failed.html")]
struct SignInFailedPage<'a> {
    why: &'a str,
}

/// Lists the providers. Redirects to the provider if there is only one.
pub(super) async fn list_providers(State(state): State<Arc<AppState>>) -> Response<Body> {
    let providers: Vec<_> = state.access_control.sign_in_providers().collect();
    routed(match *providers {
        [only] => Reply::new(StatusCode::SEE_OTHER).with(LOCATION, value(format!("{LOGIN_PATH}/{only}"))),
        _ => page(StatusCode::OK, &ProviderListPage { providers }),
    })
}

/// Starts a sign-in: redirects the browser to a provider.
pub(super) async fn start(
    State(state): State<Arc<AppState>>,
    Path(provider): Path<String>,
) -> Response<Body> {
    let now = state.registry.clock().now();
    routed(match state.access_control.start_sign_in(&provider, &redirect(&state, &provider), now).await {
        Ok((address, cookie_value)) => Reply::new(StatusCode::SEE_OTHER)
            .with(LOCATION, value(address.to_string()))
            .with(SET_COOKIE, cookie(&state, &cookie_value, SIGN_IN_TIMEOUT.as_secs()))
            .with(CACHE_CONTROL, HeaderValue::from_static("no-store")),
        Err(error) => refused(&error),
    })
}

/// Completes a sign-in when the browser returns from the provider, and shows an access token.
pub(super) async fn finish(
    State(state): State<Arc<AppState>>,
    Path(provider): Path<String>,
    request: Request,
) -> Response<Body> {
    let (head, _) = request.into_parts();
    let peer = peer(&head);
    let cookie_value = cookie_value(&head).unwrap_or_default();
    if cookie_value.is_empty() {
        return routed(refused(&PersonSignInError::NotStarted));
    }
    let query = Query::new(head.uri.query());
    let parameter = |name: &str| query.get(name).unwrap_or_default();
    if let Some(error) = query.get("error") {
        let description = parameter("error_description");
        let why: String = format!("{error} {description}").chars().take(MAX_REASON_CHARS).collect();
        return routed(page(
            StatusCode::FORBIDDEN,
            &SignInFailedPage { why: &format!("The provider reports: {why}") },
        ));
    }
    let sign_in_state = parameter("state");
    let code = parameter("code");
    let redirect = redirect(&state, &provider);
    let from = peer.address().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let callback = SignInCallback {
        provider: &provider,
        redirect: &redirect,
        state: &sign_in_state,
        code: &code,
        cookie: cookie_value,
        from,
    };
    match issue_token(&state, callback).await {
        Ok(issued) => {
            record(&state, peer, &issued);
            signed_in_page(&state, &issued)
        }
        Err(error) => routed(refused(&error)),
    }
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
fn record(state: &AppState, peer: Peer, issued: &IssuedToken) {
    let token = &issued.token;
    let account = issued.is_new.then_some((AuditAction::AccountAdd, token.account.as_str()));
    for (action, subject) in account.into_iter().chain([(AuditAction::TokenAdd, token.id.as_str())]) {
        let who = ClaimedIdentity { user: Some(token.account.clone()), token: None };
        let operation = AuditedOperation { action, scope: Scope::All, subject: Some(subject.to_owned()) };
        PendingEntry::new(&state.registry, peer, who, operation).finish(StatusCode::OK);
    }
}

fn signed_in_page(state: &AppState, IssuedToken { token, secret, .. }: &IssuedToken) -> Response<Body> {
    let url = state.settings.public_url.as_deref().unwrap_or_default();
    let host = url.split_once("://").map_or(url, |(_, host)| host);
    let until = token.expires_at.map_or_else(|| "it is revoked".to_owned(), Timestamp::rfc3339);
    let reply = page(StatusCode::OK, &SignedInPage { user: &token.account, secret, until, host })
        .with(SET_COOKIE, cookie(state, "", 0));
    let mut response = routed(reply);
    // For the audit log.
    response.extensions_mut().insert(ClaimedIdentity::from_form(Some(&token.account), Some(secret)));
    response
}

fn refused(error: &PersonSignInError) -> Reply {
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
    page(status, &SignInFailedPage { why: &why })
}

/// The callback URL of a provider. The settings require a public URL where users can sign in.
fn redirect(state: &AppState, provider: &str) -> String {
    state.settings.locate(format!("{LOGIN_PATH}/{provider}/callback"))
}

/// The value of the sign-in cookie.
fn cookie_value(head: &Parts) -> Option<&str> {
    let cookies = head.headers.get_all(COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
    cookies.flat_map(|cookies| cookies.split("; ")).find_map(|cookie| {
        let (name, value) = cookie.split_once('=')?;
        (name == COOKIE_NAME).then_some(value)
    })
}

fn cookie(state: &AppState, cookie_value: &str, seconds: u64) -> HeaderValue {
    let https = state.settings.public_url.as_ref().is_some_and(|url| url.starts_with("https://"));
    let secure = if https { "; Secure" } else { "" };
    value(format!(
        "{COOKIE_NAME}={cookie_value}; Path={LOGIN_PATH}; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}"
    ))
}

fn page(status: StatusCode, template: &impl Template) -> Reply {
    // Templates are checked at compile time and render into memory, so this cannot fail.
    let text = template.render().unwrap_or_default();
    Reply::new(status)
        .with(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"))
        .with(CACHE_CONTROL, HeaderValue::from_static("no-store"))
        .with(REFERRER_POLICY, HeaderValue::from_static("no-referrer"))
        .body(Payload::Whole(text.into()))
}
