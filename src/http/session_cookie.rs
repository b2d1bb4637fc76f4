//! The cookie of the web pages: the session of a user who has signed in, or the mark of an anonymous visitor. The CSRF
//! tokens of forms are bound to it.
//!
//! Browsers send a cookie to all ports of a host, so the name contains the fingerprint of the store: two registries on
//! one machine do not sign each other's users out. A cookie of this name that this server did not set is ignored. Only
//! the pages accept the cookie; `/v2` and the API never do, so that no other site can use a session there.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use http::header::{COOKIE, USER_AGENT};
use http::request::Parts;
use sha2::{Digest as _, Sha256};

use super::forwarded;
use super::listen::Peer;
use super::paths::LIVE_PATH;
use super::reply::value;
use super::state::AppState;
use crate::auth::{Principal, Session};

/// The length of a CSRF token in hexadecimal digits.
const CSRF_TOKEN_LEN: usize = 32;

/// The header of the requests by which an open page refreshes itself after a change.
const REFRESH_HEADER: &str = "orlop-refresh";

/// The cookie as this server sets it in a browser.
pub(super) struct SessionCookie {
    name: String,
    is_secure: bool,
}

impl SessionCookie {
    /// The cookie for the sender of a request. Browsers accept the prefix `__Host-` and `Secure` only over TLS.
    pub(super) fn of(state: &AppState, head: &Parts) -> Self {
        let is_secure = forwarded::is_https(head, state.settings.tls);
        let prefix = if is_secure { "__Host-" } else { "" };
        let store = state.health.store_fingerprint().unwrap_or("pages");
        Self { name: format!("{prefix}orlop-{store}"), is_secure }
    }

    /// The value that the browser sent.
    fn sent(&self, head: &Parts) -> Option<String> {
        cookie(head, &self.name).map(str::to_owned)
    }

    /// The header that sets the cookie in the browser for `lifetime`.
    pub(super) fn set(&self, text: &str, lifetime: Duration) -> HeaderValue {
        let secure = if self.is_secure { "; Secure" } else { "" };
        let seconds = lifetime.as_secs();
        value(format!("{}={text}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}", self.name))
    }

    /// The header that removes the cookie from the browser.
    pub(super) fn remove(&self) -> HeaderValue {
        self.set("", Duration::ZERO)
    }
}

/// Returns the value of the cookie called `name`.
pub(super) fn cookie<'a>(head: &'a Parts, name: &str) -> Option<&'a str> {
    let cookies = head.headers.get_all(COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
    cookies.flat_map(|cookies| cookies.split("; ")).find_map(|cookie| {
        let (found, value) = cookie.split_once('=')?;
        (found == name).then_some(value)
    })
}

/// Where a request comes from, as sessions record it.
#[derive(Debug, Clone)]
pub(super) struct Client {
    /// The address.
    pub(super) address: IpAddr,
    /// What the browser says about itself.
    pub(super) user_agent: String,
}

impl Client {
    /// The sender of a request.
    pub(super) fn of(head: &Parts) -> Self {
        let address = head.extensions.get::<Peer>().and_then(|peer| peer.address());
        let user_agent = head.headers.get(USER_AGENT).and_then(|name| name.to_str().ok());
        Self {
            address: address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            user_agent: user_agent.unwrap_or_default().to_owned(),
        }
    }
}

/// A browser, by its cookie.
#[derive(Debug, Clone, Default)]
pub(super) struct Browser {
    /// The value of the cookie, if this server set it and it is still valid.
    cookie: Option<Arc<str>>,
    /// The session, if its user has signed in.
    session: Option<Session>,
}

impl Browser {
    /// Recognises the browser that sent a request.
    pub(super) fn recognise(state: &AppState, head: &Parts) -> Self {
        let Some(sent) = SessionCookie::of(state, head).sent(head) else { return Self::default() };
        let now = state.registry.clock().now();
        // A page that is only open must not keep its session.
        let is_by_itself = head.uri.path() == LIVE_PATH || head.headers.contains_key(REFRESH_HEADER);
        let session = match is_by_itself {
            true => state.access_control.peek_session(&sent),
            false => state.access_control.session(&sent),
        };
        let is_valid = session.is_some() || state.access_control.is_visitor_mark(&sent, now);
        Self { cookie: is_valid.then(|| sent.into()), session }
    }

    /// The session, if its user has signed in.
    pub(super) fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }

    /// The user who has signed in, or anonymous.
    pub(super) fn principal(&self) -> Principal {
        self.session.as_ref().map_or(Principal::Anonymous, |session| session.principal.clone())
    }

    /// The CSRF token of the forms that this browser is shown, if it has a cookie.
    pub(super) fn csrf_token(&self) -> Option<String> {
        self.cookie.as_deref().map(csrf_token)
    }

    /// Whether `token` came from a form that this browser was shown.
    pub(super) fn accepts(&self, token: &str) -> bool {
        // Comparing digests reveals nothing by the time it takes.
        self.csrf_token().is_some_and(|own| Sha256::digest(own) == Sha256::digest(token))
    }
}

/// The CSRF token that belongs to the value of a cookie. It does not reveal the value.
pub(super) fn csrf_token(cookie: &str) -> String {
    let mut token = hex::encode(Sha256::digest(format!("orlop csrf {cookie}")));
    token.truncate(CSRF_TOKEN_LEN);
    token
}
