//! `/login`: people sign in by a provider of OpenID Connect, and are shown an access token for their client.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use askama::Template;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, COOKIE, LOCATION, REFERRER_POLICY, SET_COOKIE};
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};

use super::AppState;
use super::audit::{Pending, What};
use super::listen::Peer;
use super::operations::response;
use super::payload::Payload;
use super::query::Query;
use super::reply::{Reply, value};
use super::token::peer;
use crate::auth::{AWAY, Claimed, PersonError, SignInError, SignedIn};
use crate::metadata::{AuditAction, Scope};

/// Where people begin.
pub(super) const LOGIN: &str = "/login";

/// What the browser keeps while somebody is at the provider.
const KEPT: &str = "orlop-sign-in";

/// The most letters of a provider's reason that are shown.
const MOST: usize = 200;

/// Whether a path is of this.
pub(super) fn is_below(path: &str) -> bool {
    path.strip_prefix(LOGIN).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether somebody comes back there from a provider.
pub(super) fn is_return(path: &str) -> bool {
    is_below(path) && path.ends_with("/callback")
}

#[derive(Template)]
#[template(
    ext = "html",
    source = "<!doctype html>
<html lang=\"en\">
<title>Sign in</title>
<h1>Sign in</h1>
{% for provider in providers %}
<p><a href=\"/login/{{ provider }}\">by {{ provider }}</a></p>
{% else %}
<p>Nobody signs in here: this registry has no provider of identities for people.</p>
{% endfor %}
</html>
"
)]
struct Choice<'a> {
    providers: Vec<&'a str>,
}

#[derive(Template)]
#[template(
    ext = "html",
    source = "<!doctype html>
<html lang=\"en\">
<title>Signed in</title>
<h1>Signed in as {{ user }}</h1>
<p>Your access token. It is shown this once, and is good until {{ until }}:</p>
<pre>{{ secret }}</pre>
<p>It takes the place of a password:</p>
<pre>docker login {{ host }} --username {{ user }}</pre>
</html>
"
)]
struct Shown<'a> {
    user: &'a str,
    secret: &'a str,
    until: String,
    host: &'a str,
}

#[derive(Template)]
#[template(
    ext = "html",
    source = "<!doctype html>
<html lang=\"en\">
<title>Not signed in</title>
<h1>Not signed in</h1>
<p>{{ why }}</p>
<p><a href=\"/login\">Try again</a></p>
</html>
"
)]
struct NotShown<'a> {
    why: &'a str,
}

/// The providers; where there is one, people are sent to it.
pub(super) async fn choose(State(state): State<Arc<AppState>>) -> Response<Body> {
    let providers: Vec<_> = state.access_control.sign_ins().collect();
    response(match *providers {
        [only] => Reply::new(StatusCode::SEE_OTHER).with(LOCATION, value(format!("{LOGIN}/{only}"))),
        _ => page(StatusCode::OK, &Choice { providers }),
    })
}

/// Sends somebody to a provider.
pub(super) async fn begin(
    State(state): State<Arc<AppState>>,
    Path(provider): Path<String>,
) -> Response<Body> {
    let now = state.registry.clock().now();
    response(match state.access_control.begin_sign_in(&provider, &redirect(&state, &provider), now).await {
        Ok((address, kept)) => Reply::new(StatusCode::SEE_OTHER)
            .with(LOCATION, value(address.to_string()))
            .with(SET_COOKIE, cookie(&state, &kept, AWAY.as_secs()))
            .with(CACHE_CONTROL, HeaderValue::from_static("no-store")),
        Err(error) => refused(&error),
    })
}

/// Lets somebody in who comes back.
pub(super) async fn end(
    State(state): State<Arc<AppState>>,
    Path(provider): Path<String>,
    request: Request,
) -> Response<Body> {
    let (head, _) = request.into_parts();
    let peer = peer(&head);
    let kept = kept(&head).unwrap_or_default();
    if kept.is_empty() {
        return response(refused(&PersonError::NotBegun));
    }
    let query = Query::new(head.uri.query());
    let told = |name: &str| query.get(name).unwrap_or_default();
    if let Some(error) = query.get("error") {
        let why: String = format!("{error} {}", told("error_description")).chars().take(MOST).collect();
        return response(page(
            StatusCode::FORBIDDEN,
            &NotShown { why: &format!("The provider says: {why}") },
        ));
    }
    let (state_told, code) = (told("state"), told("code"));
    let (redirect, now) = (redirect(&state, &provider), state.registry.clock().now());
    let from = peer.address().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let ended = state
        .access_control
        .end_sign_in((&provider, &redirect), (&state_told, &code), (kept, from), now)
        .await;
    match ended {
        Ok(signed_in) => {
            record(&state, peer, &signed_in);
            shown(&state, &signed_in)
        }
        Err(error) => response(refused(&error)),
    }
}

/// What was made for somebody, in the audit log.
fn record(state: &AppState, peer: Peer, signed_in: &SignedIn) {
    let token = &signed_in.token;
    let account = signed_in.is_new.then_some((AuditAction::AccountAdd, token.account.as_str()));
    for (action, subject) in account.into_iter().chain([(AuditAction::TokenAdd, token.id.as_str())]) {
        let who = Claimed { user: Some(token.account.clone()), token: None };
        let what = What { action, scope: Scope::All, subject: Some(subject.to_owned()) };
        Pending::new(&state.registry, peer, who, what).end(StatusCode::OK);
    }
}

fn shown(state: &AppState, SignedIn { token, secret, .. }: &SignedIn) -> Response<Body> {
    let url = state.settings.public_url.as_deref().unwrap_or_default();
    let host = url.split_once("://").map_or(url, |(_, host)| host);
    let until = token.expires_at.map_or_else(|| "it is revoked".to_owned(), |end| end.rfc3339());
    let reply = page(StatusCode::OK, &Shown { user: &token.account, secret, until, host })
        .with(SET_COOKIE, cookie(state, "", 0));
    let mut response = response(reply);
    // For the audit log.
    response.extensions_mut().insert(Claimed::by(Some(&token.account), Some(secret)));
    response
}

fn refused(error: &PersonError) -> Reply {
    let status = match error {
        PersonError::NoProvider | PersonError::Provider(SignInError::None) => StatusCode::NOT_FOUND,
        PersonError::NotBegun => StatusCode::BAD_REQUEST,
        PersonError::Wait(_) => StatusCode::TOO_MANY_REQUESTS,
        PersonError::Provider(SignInError::Provider(_)) => StatusCode::BAD_GATEWAY,
        PersonError::Provider(SignInError::Flaw(_))
        | PersonError::Name(_)
        | PersonError::Taken(_)
        | PersonError::Disabled(_) => StatusCode::FORBIDDEN,
        PersonError::Account(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    tracing::warn!(%error, "somebody could not sign in");
    // How this server reaches others, and what its disk says, is for its operator.
    let why = match error {
        PersonError::Provider(SignInError::Provider(_)) => {
            "The provider could not be asked, or did not know the code.".into()
        }
        PersonError::Account(_) => "Something went wrong here, and the log of this server says what.".into(),
        error => error.to_string(),
    };
    page(status, &NotShown { why: &why })
}

/// Where somebody comes back to. The settings see to it that there is a public URL.
fn redirect(state: &AppState, provider: &str) -> String {
    state.settings.locate(format!("{LOGIN}/{provider}/callback"))
}

/// What the browser kept.
fn kept(head: &Parts) -> Option<&str> {
    let cookies = head.headers.get_all(COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
    cookies.flat_map(|cookies| cookies.split("; ")).find_map(|cookie| {
        let (name, value) = cookie.split_once('=')?;
        (name == KEPT).then_some(value)
    })
}

fn cookie(state: &AppState, kept: &str, seconds: u64) -> HeaderValue {
    let https = state.settings.public_url.as_ref().is_some_and(|url| url.starts_with("https://"));
    let secure = if https { "; Secure" } else { "" };
    value(format!("{KEPT}={kept}; Path={LOGIN}; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}"))
}

fn page(status: StatusCode, template: &impl Template) -> Reply {
    // Templates are checked when this is compiled, and write into memory.
    let text = template.render().unwrap_or_default();
    Reply::new(status)
        .with(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"))
        .with(CACHE_CONTROL, HeaderValue::from_static("no-store"))
        .with(REFERRER_POLICY, HeaderValue::from_static("no-referrer"))
        .body(Payload::Whole(text.into()))
}
