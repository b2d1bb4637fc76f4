//! A browser without scripts, for the tests of the web pages: it keeps its cookies and sends forms.

use std::collections::BTreeMap;
use std::sync::Mutex;

use orlop::auth::{ChangeAuthor, NewAccount};
use orlop::clock::{Clock, Timestamp};
use orlop::metadata::{Role, Scope};
use reqwest::header::{COOKIE, HeaderMap, SET_COOKIE, USER_AGENT};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, RequestBuilder, StatusCode};

use crate::kit::*;

/// Markup as a client may choose it, and as pages show it.
pub const HOSTILE: &str = "<script>alert(1)</script>";
pub const ESCAPED: &str = "&#60;script&#62;alert(1)&#60;/script&#62;";

pub const PASSWORD: &str = "correct horse";

/// The name of the cookie without TLS, for a store without a fingerprint.
pub const COOKIE_NAME: &str = "orlop-pages";

const USER_AGENT_TEXT: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

/// A page: its status, its text, and the path to which it redirects.
pub struct Shown {
    pub status: StatusCode,
    pub text: String,
    pub location: String,
}

impl Shown {
    pub async fn of(response: reqwest::Response) -> Self {
        let status = response.status();
        let location = text(response.headers(), "location");
        Self { status, location, text: response.text().await.expect("text") }
    }

    #[track_caller]
    pub fn is(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    #[track_caller]
    pub fn shows(&self, wanted: &str) -> &Self {
        assert!(self.text.contains(wanted), "{wanted:?} is missing: {}", self.text);
        self
    }

    #[track_caller]
    pub fn hides(&self, unwanted: &str) -> &Self {
        assert!(!self.text.contains(unwanted), "{unwanted:?} is shown: {}", self.text);
        self
    }
}

/// A browser that views the pages of a server.
pub struct Browser<'a> {
    server: &'a Server,
    client: Client,
    cookies: Mutex<BTreeMap<String, String>>,
}

/// A response.
#[derive(Debug)]
pub struct Page {
    pub status: u16,
    pub headers: HeaderMap,
    pub html: String,
}

impl Page {
    /// The address that the browser is redirected to.
    pub fn location(&self) -> String {
        text(&self.headers, "location")
    }

    /// The CSRF token of the page's forms.
    pub fn csrf(&self) -> Option<String> {
        let (_, rest) = self.html.split_once(r#"name="csrf" value=""#)?;
        Some(rest.split('"').next()?.to_owned()).filter(|token| !token.is_empty())
    }

    /// The text after `before`, up to the next tag or quote.
    pub fn after(&self, before: &str) -> String {
        let (_, rest) = self.html.split_once(before).unwrap_or_else(|| panic!("no {before}: {}", self.html));
        rest.split(['<', '"']).next().expect("its end").to_owned()
    }
}

impl<'a> Browser<'a> {
    pub fn new(server: &'a Server) -> Self {
        let client = Client::builder().redirect(Policy::none()).build().expect("a client");
        Self { server, client, cookies: Mutex::default() }
    }

    /// A browser in which a user has signed in with the password.
    pub async fn signed_in(server: &'a Server, user: &str) -> Self {
        let browser = Self::new(server);
        let page = browser.sign_in(user, PASSWORD).await;
        assert_eq!(page.status, 303, "{}", page.html);
        browser
    }

    /// A browser with a new session of a user, without a sign-in.
    pub async fn with_session(server: &'a Server, user: &str) -> Self {
        let browser = Self::new(server);
        let here = [127, 0, 0, 1].into();
        let session = server.access_control.start_session_for(user, here, USER_AGENT_TEXT).await;
        browser.set_cookie(COOKIE_NAME, &session.expect("started").secret);
        browser
    }

    pub fn set_cookie(&self, name: &str, value: &str) {
        self.cookies.lock().expect("cookies").insert(name.to_owned(), value.to_owned());
    }

    pub fn cookie(&self, name: &str) -> Option<String> {
        self.cookies.lock().expect("cookies").get(name).cloned()
    }

    /// A request with the cookies.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let cookies = self.cookies.lock().expect("cookies");
        let cookies: Vec<_> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = self.client.request(method, format!("http://{}{path}", self.server.address));
        let request = request.header(USER_AGENT, USER_AGENT_TEXT);
        if cookies.is_empty() { request } else { request.header(COOKIE, cookies.join("; ")) }
    }

    /// Sends a request and keeps the cookies of its response.
    pub async fn send(&self, request: RequestBuilder) -> Page {
        let response = request.send().await.expect("answer");
        for cookie in response.headers().get_all(SET_COOKIE) {
            let cookie = cookie.to_str().expect("ASCII");
            let (name, value) =
                cookie.split(';').next().and_then(|cookie| cookie.split_once('=')).expect("a cookie");
            if cookie.contains("Max-Age=0;") {
                self.cookies.lock().expect("cookies").remove(name);
            } else {
                self.set_cookie(name, value);
            }
        }
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        Page { status, headers, html: response.text().await.expect("a page") }
    }

    pub async fn get(&self, path: &str) -> Page {
        self.send(self.request(Method::GET, path)).await
    }

    /// The CSRF token of the forms that this browser is shown.
    pub async fn csrf(&self) -> String {
        self.get("/sign-in").await.csrf().unwrap_or_default()
            + &self.get("/profile").await.csrf().unwrap_or_default()
    }

    /// A form that is ready to be sent, with this CSRF token.
    pub fn form(&self, action: &str, csrf: &str, fields: &[(&str, &str)]) -> RequestBuilder {
        let mut fields = fields.to_vec();
        fields.push(("csrf", csrf));
        self.request(Method::POST, action).form(&fields)
    }

    /// Sends a form as the page with it would.
    pub async fn submit(&self, action: &str, fields: &[(&str, &str)]) -> Page {
        let csrf = self.csrf().await;
        self.send(self.form(action, &csrf, fields)).await
    }

    /// Sends a form, and shows the page that it leads to.
    pub async fn submit_and_follow(&self, action: &str, fields: &[(&str, &str)]) -> Page {
        let done = self.submit(action, fields).await;
        assert_eq!(done.status, 303, "{action}: {}", done.html);
        self.get(&done.location()).await
    }

    pub async fn sign_in(&self, user: &str, password: &str) -> Page {
        self.submit("/actions/sign-in", &[("name", user), ("password", password)]).await
    }

    /// The user who has signed in.
    pub async fn user(&self) -> Option<String> {
        let page = self.get("/repositories").await;
        page.html.contains(r#"<a class="user" href="/profile""#).then(|| {
            let rest = page.html.split_once(r#"<a class="user" href="/profile""#).expect("the user").1;
            rest.split_once('>').and_then(|(_, rest)| rest.split('<').next()).expect("the name").to_owned()
        })
    }
}

/// Adds a user with [`PASSWORD`].
pub async fn add_user(server: &Server, name: &str, grants: &[(&str, Role)]) {
    let grants = grants.iter().map(|(scope, role)| (scope.parse::<Scope>().expect("a scope"), *role));
    let new = NewAccount {
        name: name.to_owned(),
        robot: false,
        password: Some(PASSWORD.to_owned()),
        grants: grants.collect(),
    };
    let by = ChangeAuthor { name: "test", now: server.clock.now() };
    server.access_control.add_account(new, by).await.expect("added");
}

/// A closed registry with the users `admin`, `keeper` (administers `team/`), `pusher`, `reader` (both of `team/`) and
/// `guest`, who has no role, and with an image in `team/app` and `other/app`.
pub async fn closed_registry(change: impl FnOnce(&mut Setup)) -> Server {
    let server = Server::with(change).await;
    // The registry is open until it has a user.
    for repository in ["team/app", "other/app"] {
        server.push_image(repository, "v1", repository.as_bytes()).await;
    }
    let first = server.access_control.ensure_first_administrator(Some(PASSWORD.into()), Timestamp(0));
    first.await.expect("made");
    add_user(&server, "keeper", &[("team/", Role::Admin)]).await;
    add_user(&server, "pusher", &[("team/", Role::Push)]).await;
    add_user(&server, "reader", &[("team/", Role::Pull)]).await;
    add_user(&server, "guest", &[]).await;
    server
}
