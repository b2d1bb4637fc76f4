//! Who views a page, and what every page shows.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderValue, Method};
use url::form_urlencoded;

use super::chrome::Chrome;
use super::format::Moment;
use super::notice::Notice;
use super::shown_once::Secret;
use super::state::Web;
use crate::auth::{AccessControl, Action, Permission, Principal, Session};
use crate::clock::Timestamp;
use crate::errors::Chain;
use crate::http::api::{Problem, Requester};
use crate::http::forwarded;
use crate::http::paths::SIGN_IN_PATH;
use crate::http::session_cookie::{Browser, Client, SessionCookie, csrf_token};
use crate::metadata::Scope;

/// How long an anonymous visitor may leave a form open.
const VISITOR_MARK_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// A person who views a page or sends a form, signed in or anonymous.
#[derive(Clone)]
pub(super) struct Visitor(Arc<Visit>);

/// A visit of a page.
struct Visit {
    web: Arc<Web>,
    requester: Requester,
    browser: Browser,
    chrome: Chrome,
    now: Timestamp,
    query: Vec<(String, String)>,
    host: Option<Authority>,
    is_https: bool,
    client: Client,
    session_cookie: SessionCookie,
    set_cookie: Option<HeaderValue>,
}

impl Visitor {
    /// The sender of a request.
    pub(super) fn new(web: &Arc<Web>, parts: &Parts) -> Result<Self, Problem> {
        let requester = Requester::from_parts(parts, &web.api)?;
        let browser = parts.extensions.get::<Browser>().cloned().unwrap_or_default();
        let access_control = &web.state.access_control;
        let principal = browser.principal();
        let is_admin = access_control.allows(&principal, Permission::Scope(&Scope::All, Action::Administer));
        let is_open = access_control.is_open();
        let is_trusted = principal == Principal::Anonymous && requester.trusts_anonymous();
        let session_cookie = SessionCookie::of(&web.state, parts);
        let mut set_cookie = None;
        let csrf = browser.csrf_token().or_else(|| {
            // Only forms need a token. Visitors without any form get no cookie.
            let is_asset = parts.uri.path().starts_with("/assets/");
            let has_forms = is_trusted || !is_open || parts.uri.path() == SIGN_IN_PATH;
            let mark = (has_forms && !is_asset && parts.method == Method::GET)
                .then(|| mark_visitor(web))
                .flatten()?;
            let token = csrf_token(&mark);
            set_cookie = Some(session_cookie.set(&mark, VISITOR_MARK_LIFETIME));
            Some(token)
        });
        let query: Vec<(String, String)> = match parts.uri.query() {
            Some(query) => form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
            None => Vec::new(),
        };
        let notice = query.iter().find(|(name, _)| name == "notice");
        let chrome = Chrome {
            user: principal.name().map(str::to_owned),
            is_admin: is_admin && principal != Principal::Anonymous,
            manages_people: requester.administers_anything(),
            is_open,
            csrf: csrf.unwrap_or_default(),
            notice: notice.and_then(|(_, code)| Notice::text(code)),
            here: parts.uri.path_and_query().map_or_else(String::new, |here| without_notice(here.as_str())),
        };
        let now = web.state.registry.clock().now();
        let host = forwarded::host(parts);
        let is_https = forwarded::is_https(parts, web.state.settings.tls);
        let web = Arc::clone(web);
        Ok(Self(Arc::new(Visit {
            web,
            requester,
            browser,
            chrome,
            now,
            query,
            host,
            is_https,
            client: Client::of(parts),
            session_cookie,
            set_cookie,
        })))
    }

    /// The cookie that the response sets, for a visitor without one.
    pub(super) fn set_cookie(&self) -> Option<&HeaderValue> {
        self.0.set_cookie.as_ref()
    }

    /// The state of the pages.
    pub(super) fn web(&self) -> &Arc<Web> {
        &self.0.web
    }

    /// The visitor as a client of the registry, who asks for rights.
    pub(super) fn requester(&self) -> &Requester {
        &self.0.requester
    }

    /// What the page shows around its content.
    pub(super) fn chrome(&self) -> &Chrome {
        &self.0.chrome
    }

    /// The browser of the visitor.
    pub(super) fn browser(&self) -> &Browser {
        &self.0.browser
    }

    /// Where the request comes from.
    pub(super) fn client(&self) -> &Client {
        &self.0.client
    }

    /// The name of a visitor who has signed in.
    pub(super) fn user(&self) -> Result<&str, Problem> {
        self.requester().access_control_if_signed_in()?;
        let user = self.chrome().user.as_deref();
        user.ok_or_else(|| Problem::unknown("the admin socket has no profile"))
    }

    /// The access control, for what the rights of the visitor are checked separately.
    pub(super) fn access_control(&self) -> &AccessControl {
        &self.web().state.access_control
    }

    /// Keeps a secret until this browser loads `page`, which shows it once.
    pub(super) fn show_once(&self, page: &str, secret: Secret) {
        self.web().secrets.keep(&self.chrome().csrf, page, secret, self.now());
    }

    /// The secret that this browser shows on `page`. It is then forgotten.
    pub(super) fn shown_once(&self, page: &str) -> Option<Secret> {
        self.web().secrets.take(&self.chrome().csrf, page, self.now())
    }

    /// The session of a visitor who has signed in.
    pub(super) fn session(&self) -> Option<&Session> {
        self.0.browser.session()
    }

    /// The cookie that holds the session.
    pub(super) fn session_cookie(&self) -> &SessionCookie {
        &self.0.session_cookie
    }

    /// Whether the visitor may use the registry at all.
    pub(super) fn has_access(&self) -> bool {
        self.requester().require_any_access().is_ok()
    }

    /// The time of the visit.
    pub(super) fn now(&self) -> Timestamp {
        self.0.now
    }

    /// A moment, relative to the time of the visit.
    pub(super) fn moment(&self, at: Timestamp) -> Moment {
        Moment::new(at, self.0.now)
    }

    /// A parameter of the page's query that is not empty.
    pub(super) fn query(&self, name: &str) -> Option<&str> {
        let found = self.0.query.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// The host and port by which clients reach the registry, for commands that people copy.
    pub(super) fn registry_host(&self) -> String {
        if let Some(url) = &self.0.web.state.settings.public_url {
            let host = url.split_once("://").map_or(url.as_str(), |(_, host)| host);
            return host.trim_end_matches('/').to_owned();
        }
        let host = self.0.host.as_ref().map(Authority::as_str);
        host.filter(|host| !host.contains(['@', '"', '\'', '\\', '$', '`']))
            .unwrap_or("localhost:5000")
            .to_owned()
    }

    /// Whether clients reach the registry over TLS.
    pub(super) fn is_https(&self) -> bool {
        match &self.0.web.state.settings.public_url {
            Some(url) => url.starts_with("https://"),
            None => self.0.is_https,
        }
    }
}

/// Removes the notice of the previous action from a path and query, because the page may become that of the next action.
fn without_notice(here: &str) -> String {
    let Some((path, query)) = here.split_once('?') else { return here.to_owned() };
    let kept: Vec<_> = query.split('&').filter(|pair| !pair.starts_with("notice=")).collect();
    if kept.is_empty() { path.to_owned() } else { format!("{path}?{}", kept.join("&")) }
}

/// Marks an anonymous visitor, so that forms can be bound to a browser.
fn mark_visitor(web: &Web) -> Option<String> {
    let now = web.state.registry.clock().now();
    match web.state.access_control.visitor_mark(VISITOR_MARK_LIFETIME, now) {
        Ok(mark) => Some(mark),
        Err(error) => {
            tracing::error!(error = %Chain(&error), "failed to create the cookie of a visitor");
            None
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Visitor {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        // `router::complete` has added it.
        Ok(parts.extensions.get::<Self>().cloned().expect("every page has a visitor"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_page_has_no_notice() {
        assert_eq!(without_notice("/r/app?sort=size&notice=tags-deleted"), "/r/app?sort=size");
        assert_eq!(without_notice("/r/app?notice=tags-deleted"), "/r/app");
        assert_eq!(without_notice("/r/app"), "/r/app");
    }
}
