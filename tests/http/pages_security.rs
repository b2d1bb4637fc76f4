//! The security of the web pages: sessions and their cookies, forged forms, rights, and headers.

use std::collections::BTreeSet;
use std::time::Duration;

use orlop::auth::SessionSettings;
use orlop::http::action_paths;
use orlop::http::api::Changes;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, COOKIE, HOST, ORIGIN, SET_COOKIE};

use crate::browser::*;
use crate::kit::*;

const HOUR: Duration = Duration::from_secs(60 * 60);

/// The name of the cookie over TLS.
const SECURE_COOKIE_NAME: &str = "__Host-orlop-pages";

/// Sends a request to `/v2` or the API with the cookies of a browser.
async fn status_with_cookie(server: &Server, cookie: &str, path: &str) -> u16 {
    let request = server.get(path).header(COOKIE, format!("{COOKIE_NAME}={cookie}"));
    request.send().await.expect("answer").status().as_u16()
}

#[tokio::test]
async fn a_sign_in_always_starts_a_new_session() {
    let server = closed_registry(|_| {}).await;
    let browser = Browser::new(&server);
    browser.set_cookie(COOKIE_NAME, "chosen-by-an-attacker");
    browser.get("/sign-in").await;
    let mark = browser.cookie(COOKIE_NAME).expect("a mark");
    assert_ne!(mark, "chosen-by-an-attacker", "an unknown cookie is replaced");
    assert_eq!(browser.sign_in("reader", PASSWORD).await.status, 303);
    let secret = browser.cookie(COOKIE_NAME).expect("a session");
    assert_ne!(secret, mark);
    let other = Browser::new(&server);
    other.set_cookie(COOKIE_NAME, &mark);
    assert_eq!(other.user().await, None, "the mark of before does not sign in");

    // The session that an attacker plants in a browser ends with the sign-in of its user.
    let planted = Browser::signed_in(&server, "guest").await;
    let victim = Browser::new(&server);
    victim.set_cookie(COOKIE_NAME, &planted.cookie(COOKIE_NAME).expect("a session"));
    assert_eq!(victim.sign_in("reader", PASSWORD).await.status, 303);
    assert_eq!(victim.user().await.as_deref(), Some("reader"));
    assert_eq!(planted.user().await, None);
    let again = victim.cookie(COOKIE_NAME);
    victim.sign_in("reader", PASSWORD).await;
    assert_ne!(victim.cookie(COOKIE_NAME), again, "each sign-in has its own session");
    assert_eq!(server.access_control.sessions_of("reader").len(), 2);
}

#[tokio::test]
async fn cookies_have_strict_attributes() {
    for tls in [false, true] {
        let server = closed_registry(|setup| setup.http.tls = tls).await;
        let name = if tls { SECURE_COOKIE_NAME } else { COOKIE_NAME };
        let secure = if tls { "; Secure" } else { "" };
        let browser = Browser::new(&server);
        let mark = text(&browser.get("/sign-in").await.headers, "set-cookie");
        assert!(mark.starts_with(&format!("{name}=")), "{mark}");
        assert!(
            mark.ends_with(&format!("; Path=/; Max-Age=86400; HttpOnly; SameSite=Lax{secure}")),
            "{mark}"
        );
        let signed_in = browser.sign_in("reader", PASSWORD).await;
        assert_eq!(signed_in.status, 303, "{}", signed_in.html);
        let cookies: Vec<_> = signed_in.headers.get_all(SET_COOKIE).iter().collect();
        let [cookie] = cookies[..] else { panic!("{cookies:?}") };
        let cookie = cookie.to_str().expect("ASCII");
        assert!(cookie.starts_with(&format!("{name}=")), "{cookie}");
        assert!(
            cookie.ends_with(&format!("; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax{secure}")),
            "{cookie}"
        );
        assert!(!cookie.contains("Domain"));
        let secret = browser.cookie(name).expect("a session");
        assert_eq!(browser.user().await.as_deref(), Some("reader"));
        let other = Browser::new(&server);
        other.set_cookie(if tls { COOKIE_NAME } else { SECURE_COOKIE_NAME }, &secret);
        assert_eq!(other.user().await, None, "the name of the other protocol is ignored");
    }
}

#[tokio::test]
async fn cookies_of_other_servers_are_ignored() {
    let server = closed_registry(|_| {}).await;
    let other_server = closed_registry(|_| {}).await;
    let there = Browser::signed_in(&other_server, "admin").await;
    let mark_there = Browser::new(&other_server);
    mark_there.get("/sign-in").await;
    for foreign in [
        there.cookie(COOKIE_NAME).expect("a session"),
        mark_there.cookie(COOKIE_NAME).expect("a mark"),
        "x".repeat(3000),
        "a.b.c".into(),
        String::new(),
    ] {
        let browser = Browser::new(&server);
        browser.set_cookie(COOKIE_NAME, &foreign);
        assert_eq!(browser.user().await, None, "{foreign}");
        assert_eq!(browser.sign_in("reader", PASSWORD).await.status, 303, "it is replaced: {foreign}");
    }
}

#[tokio::test]
async fn only_the_pages_accept_a_session() {
    let server = closed_registry(|_| {}).await;
    let admin = Browser::signed_in(&server, "admin").await;
    let secret = admin.cookie(COOKIE_NAME).expect("a session");
    for path in [
        "/v2/",
        "/v2/_catalog",
        "/v2/team/app/manifests/v1",
        "/api/v1/status",
        "/api/v1/accounts",
        "/api/v1/repositories",
        "/metrics",
    ] {
        assert_eq!(status_with_cookie(&server, &secret, path).await, 401, "{path}");
        let as_password = server.get(path).basic_auth("admin", Some(&secret)).send().await.expect("answer");
        assert_eq!(as_password.status(), 401, "{path}: the secret is no password");
        let as_token = server.get(path).bearer_auth(&secret).send().await.expect("answer");
        assert_eq!(as_token.status(), 401, "{path}: the secret is no token");
    }
    let token = server.get("/auth/token?service=x&scope=repository:team/app:pull");
    let token = token.header(COOKIE, format!("{COOKIE_NAME}={secret}")).send().await.expect("answer");
    let token: serde_json::Value = token.json().await.expect("JSON");
    let pull =
        server.get("/v2/team/app/manifests/v1").bearer_auth(token["token"].as_str().unwrap_or_default());
    assert_eq!(pull.send().await.expect("answer").status(), 401, "the token is anonymous");
    // And the pages accept no password.
    let page =
        server.client.get(format!("http://{}/people", server.address)).basic_auth("admin", Some(PASSWORD));
    let page = page.send().await.expect("answer");
    assert!(page.url().path().starts_with("/sign-in"), "{}", page.url());
}

#[tokio::test]
async fn a_session_ends_with_its_sign_out() {
    let server = closed_registry(|_| {}).await;
    let here = Browser::signed_in(&server, "reader").await;
    let there = Browser::signed_in(&server, "reader").await;
    let replayed = Browser::new(&server);
    replayed.set_cookie(COOKIE_NAME, &here.cookie(COOKIE_NAME).expect("a session"));
    let out = here.submit("/actions/sign-out", &[]).await;
    assert_eq!((out.status, out.location().as_str()), (303, "/?notice=signed-out"));
    assert!(text(&out.headers, "set-cookie").contains("; Max-Age=0;"));
    assert_eq!(replayed.user().await, None, "the secret is void, not only forgotten");
    assert_eq!(there.user().await.as_deref(), Some("reader"));

    let other = Browser::signed_in(&server, "reader").await;
    let done = there.submit("/actions/sessions/end-all", &[]).await;
    assert_eq!(done.location(), "/profile?notice=signed-out-everywhere");
    assert_eq!((other.user().await, there.user().await.as_deref()), (None, Some("reader")));
}

#[tokio::test]
async fn a_session_ends_when_idle_and_at_its_lifetime() {
    let sessions = SessionSettings { idle_timeout: HOUR, lifetime: 8 * HOUR };
    let server = closed_registry(|setup| setup.access_control.sessions = sessions).await;
    let idle = Browser::signed_in(&server, "reader").await;
    let busy = Browser::signed_in(&server, "reader").await;
    server.clock.advance(HOUR - Duration::from_secs(1));
    assert_eq!(busy.user().await.as_deref(), Some("reader"));
    // An open page refreshes itself after a push, which is no use of the session.
    let refresh = idle.request(Method::GET, "/profile").header("orlop-refresh", "1");
    assert_eq!(idle.send(refresh).await.status, 200);
    server.clock.advance(Duration::from_secs(1));
    assert_eq!(idle.get("/profile").await.location(), "/sign-in?next=%2Fprofile");
    for _ in 0..13 {
        server.clock.advance(HOUR / 2);
        assert_eq!(busy.user().await.as_deref(), Some("reader"));
    }
    server.clock.advance(HOUR / 2);
    assert_eq!(busy.user().await, None, "after eight hours");
}

#[tokio::test]
async fn wrong_passwords_are_throttled() {
    let server = closed_registry(|_| {}).await;
    let browser = Browser::new(&server);
    let mut statuses = Vec::new();
    for _ in 0..11 {
        let page = browser.sign_in("reader", "wrong").await;
        assert!(
            page.html.contains(r#"role="alert""#) && page.html.contains(r#"value="reader""#),
            "{}",
            page.html
        );
        statuses.push(page.status);
    }
    assert_eq!(statuses, [[401; 10].as_slice(), &[429]].concat());
    assert_eq!(browser.sign_in("reader", PASSWORD).await.status, 429, "the right password waits too");
    server.clock.advance(Duration::from_secs(60));
    assert_eq!(browser.sign_in("reader", PASSWORD).await.status, 303);
    let token = server.access_control.add_token(
        orlop::auth::NewAccessToken {
            account: "reader".into(),
            name: String::new(),
            role: orlop::metadata::Role::Pull,
            scope: orlop::metadata::Scope::All,
            lifetime: None,
        },
        orlop::auth::ChangeAuthor { name: "test", now: orlop::clock::Timestamp(0) },
    );
    let (_, token) = token.await.expect("made");
    let page = Browser::new(&server).sign_in("reader", &token).await;
    assert!(page.status == 401 && page.html.contains("not with an access token"), "{}", page.html);
}

/// Everything that the forms below could change.
async fn state(server: &Server) -> String {
    let directory = server.access_control.accounts().current();
    let mut records = directory.records().clone();
    for session in &mut records.sessions {
        session.used_at = session.created_at;
    }
    let admin = |path: &str| server.get(path).basic_auth("admin", Some(PASSWORD));
    let mut state = format!("{records:?}");
    for path in [
        "/api/v1/repositories",
        "/api/v1/repositories/team%2Fapp/tags",
        "/api/v1/trash",
        "/api/v1/retention/policies",
    ] {
        state += &admin(path).send().await.expect("answer").text().await.expect("text");
    }
    state
}

/// Fields for all actions: with the right token, each would change something.
fn fields() -> Vec<(&'static str, &'static str)> {
    vec![
        ("name", "reader"),
        ("account", "reader"),
        ("user", "reader"),
        ("grantee", "reader"),
        ("role", "admin"),
        ("scope", "other/"),
        ("organisation", "team"),
        ("team", "devs"),
        ("password", PASSWORD),
        ("current", PASSWORD),
        ("new", "another horse"),
        ("repeated", "another horse"),
        ("days", "7"),
        ("repository", "team/app"),
        ("tag", "v1"),
        ("to", "team/moved"),
        ("description", "text"),
        ("kind", "person"),
    ]
}

#[tokio::test]
async fn forms_of_other_sites_are_refused_by_every_action() {
    let server = closed_registry(|_| {}).await;
    let other = Browser::signed_in(&server, "admin").await;
    let foreign_token = other.csrf().await;
    let own_host = server.address.to_string();
    let own_origin = format!("http://{own_host}");
    let victim = Browser::with_session(&server, "admin").await;
    let token = victim.csrf().await;
    assert!(!token.is_empty() && token != foreign_token);
    let fields = fields();
    let before = state(&server).await;
    for action in action_paths() {
        let form = |token: &str| victim.form(action, token, &fields);
        let without_token = victim.request(Method::POST, action).form(&fields);
        for (what, request) in [
            ("no token", without_token),
            ("an empty token", form("")),
            ("another browser's token", form(&foreign_token)),
            ("another browser's token from its own origin", form(&foreign_token).header(ORIGIN, &own_origin)),
            ("a foreign origin", form(&token).header(ORIGIN, "https://evil.example")),
            ("the origin of another port", form(&token).header(ORIGIN, "http://127.0.0.1:1")),
            ("a cross-site request", form(&token).header("sec-fetch-site", "cross-site")),
            ("a request of a sibling domain", form(&token).header("sec-fetch-site", "same-site")),
            ("a null origin without a token", form("").header(ORIGIN, "null")),
        ] {
            let page = victim.send(request).await;
            assert_eq!(page.status, 403, "{action}: {what}: {}", page.html);
        }
        let json = victim.request(Method::POST, action).header(CONTENT_TYPE, "text/plain");
        let json = victim.send(json.body(format!("csrf={token}"))).await;
        assert_eq!(json.status, 415, "{action}: only forms are accepted");
        assert_eq!(victim.get(action).await.status, 405, "{action}");
    }
    assert_eq!(state(&server).await, before, "nothing has changed");

    let foreign = form_from(&victim, &token, "https://registry.example.com").await;
    assert!(foreign.html.contains("server.public_url"), "the error names the setting: {}", foreign.html);
}

async fn form_from(browser: &Browser<'_>, token: &str, origin: &str) -> Page {
    let request = browser.form("/actions/sessions/end", token, &[("id", "0")]).header(ORIGIN, origin);
    browser.send(request).await
}

#[tokio::test]
async fn forms_of_this_server_are_accepted_by_every_action() {
    let server = closed_registry(|_| {}).await;
    for action in action_paths() {
        for origin in
            ["null".to_owned(), format!("http://{}", server.address), format!("https://{}", server.address)]
        {
            let browser = Browser::with_session(&server, "admin").await;
            let token = browser.csrf().await;
            // Without other fields, nothing is changed.
            let request = browser.form(action, &token, &[]).header(ORIGIN, origin.as_str());
            let page = browser.send(request).await;
            let is_refused = page.html.contains("another site") || page.html.contains("sent this form");
            assert!(!is_refused, "{action} from {origin}: {}", page.html);
        }
    }
    let proxied =
        closed_registry(|setup| setup.http.public_url = Some("https://registry.example.com".into())).await;
    let browser = Browser::with_session(&proxied, "admin").await;
    let token = browser.csrf().await;
    assert_eq!(form_from(&browser, &token, "https://registry.example.com").await.status, 404);
    assert_eq!(form_from(&browser, &token, "https://evil.example").await.status, 403);
}

#[tokio::test]
async fn the_token_of_a_form_belongs_to_the_session() {
    let server = closed_registry(|_| {}).await;
    let browser = Browser::new(&server);
    let before = browser.csrf().await;
    assert_eq!(browser.sign_in("reader", PASSWORD).await.status, 303);
    let after = browser.csrf().await;
    assert_ne!(before, after);
    let stale = browser.send(browser.form("/actions/sessions/end-all", &before, &[])).await;
    assert!(stale.status == 403 && stale.html.contains("reload the page"), "{}", stale.html);
    let secret = browser.cookie(COOKIE_NAME).expect("a session");
    assert!(!browser.get("/profile").await.html.contains(&secret), "pages do not contain the secret");
    assert!(!secret.contains(&after));
}

/// The callers of a closed registry. The first is anonymous.
const CALLERS: [Option<&str>; 5] = [None, Some("reader"), Some("pusher"), Some("keeper"), Some("admin")];

/// The status of each page for each caller. 303 leads to the sign-in page, or to a page that the caller may see.
const PAGES: [(&str, &str, [u16; 5]); 37] = [
    ("/", "/", [200, 200, 200, 200, 200]),
    ("/repositories", "/repositories", [303, 200, 200, 200, 200]),
    ("/sign-in", "/sign-in", [200, 303, 303, 303, 303]),
    ("/search", "/search?q=app", [303, 200, 200, 200, 200]),
    ("/profile", "/profile", [303, 200, 200, 200, 200]),
    ("/people", "/people", [303, 403, 403, 303, 200]),
    ("/people/users/{name}", "/people/users/reader", [303, 403, 403, 403, 200]),
    ("/people/users/{name}", "/people/users/none", [303, 403, 403, 403, 404]),
    ("/people/roles", "/people/roles", [303, 403, 403, 200, 200]),
    ("/people/teams", "/people/teams", [303, 403, 403, 200, 200]),
    ("/people/tokens", "/people/tokens", [303, 403, 403, 403, 200]),
    ("/people/sessions", "/people/sessions", [303, 403, 403, 403, 200]),
    ("/r/{*reference}", "/r/team/app", [303, 200, 200, 200, 200]),
    ("/r/{*reference}", "/r/team/app:v1", [303, 200, 200, 200, 200]),
    ("/r/{*reference}", "/r/other/app", [303, 403, 403, 403, 200]),
    ("/r/{*reference}", "/r/other/none", [303, 403, 403, 403, 404]),
    ("/r/{*reference}", "/r/other/app:v1", [303, 403, 403, 403, 200]),
    ("/manage/{*name}", "/manage/team/app", [303, 200, 200, 200, 200]),
    ("/manage/{*name}", "/manage/other/app", [303, 403, 403, 403, 200]),
    ("/untagged/{*name}", "/untagged/team/app", [303, 200, 200, 200, 200]),
    ("/untagged/{*name}", "/untagged/other/app", [303, 403, 403, 403, 200]),
    ("/raw/{*reference}", "/raw/other/none:v1", [303, 403, 403, 403, 404]),
    ("/policies", "/policies", [303, 403, 403, 403, 200]),
    ("/policies/edit", "/policies/edit", [303, 403, 403, 403, 200]),
    ("/policies/plan", "/policies/plan", [303, 403, 403, 403, 303]),
    ("/policies/runs", "/policies/runs", [303, 403, 403, 403, 200]),
    ("/trash", "/trash", [303, 200, 200, 200, 200]),
    ("/trash", "/trash?repository=other/app", [303, 403, 403, 403, 200]),
    ("/activity", "/activity", [303, 200, 200, 200, 200]),
    ("/activity/events", "/activity/events", [303, 200, 200, 200, 200]),
    ("/activity/audit", "/activity/audit", [303, 403, 403, 403, 200]),
    ("/activity/background", "/activity/background", [303, 403, 403, 403, 200]),
    ("/adoption", "/adoption", [303, 403, 403, 403, 200]),
    ("/activity/settings", "/activity/settings", [303, 403, 403, 403, 200]),
    ("/assets/{file}", "/assets/none.css", [404, 404, 404, 404, 404]),
    ("", "/people/none", [404, 404, 404, 404, 404]),
    ("", "/r/../people/none", [404, 404, 404, 404, 404]),
];

const APP: (&str, &str) = ("repository", "team/app");
const NOTHING: (&str, &str) = ("repository", "team/none");
const DIGEST: (&str, &str) =
    ("digest", "sha256:0000000000000000000000000000000000000000000000000000000000000000");

type ActionRow = (&'static str, &'static [(&'static str, &'static str)], [u16; 5]);

/// The status of each action for each caller. The fields name what does not exist, so that nothing is changed.
const ACTIONS: &[ActionRow] = &[
    ("/actions/sign-in", &[("name", "none"), ("password", "x")], [401, 401, 401, 401, 401]),
    ("/actions/sign-out", &[], [303, 303, 303, 303, 303]),
    ("/actions/profile/password", &[("new", "a"), ("repeated", "b")], [401, 400, 400, 400, 400]),
    ("/actions/tokens/add", &[("role", "pull"), ("account", "none")], [401, 403, 403, 403, 404]),
    ("/actions/tokens/add", &[("role", "pull"), ("name", "own")], [401, 303, 303, 303, 303]),
    ("/actions/tokens/revoke", &[("id", "0")], [401, 403, 403, 403, 404]),
    ("/actions/sessions/end", &[("id", "0")], [401, 403, 403, 403, 404]),
    ("/actions/sessions/end-all", &[("account", "none")], [401, 403, 403, 403, 303]),
    ("/actions/sessions/end-all", &[], [401, 303, 303, 303, 303]),
    ("/actions/people/add-user", &[("name", "-")], [401, 403, 403, 403, 400]),
    ("/actions/people/disable", &[("name", "none")], [401, 403, 403, 403, 404]),
    ("/actions/people/enable", &[("name", "none")], [401, 403, 403, 403, 404]),
    ("/actions/people/reset-password", &[("name", "none")], [401, 403, 403, 403, 404]),
    ("/actions/people/remove-user", &[("name", "none")], [401, 403, 403, 403, 404]),
    (
        "/actions/people/set-role",
        &[("grantee", "none"), ("role", "pull"), ("scope", "team/")],
        [401, 403, 403, 404, 404],
    ),
    ("/actions/people/set-role", &[("grantee", "none"), ("role", "pull")], [401, 403, 403, 403, 404]),
    ("/actions/people/remove-role", &[("grantee", "none"), ("scope", "team/")], [401, 403, 403, 404, 404]),
    ("/actions/people/remove-role", &[("grantee", "none")], [401, 403, 403, 403, 404]),
    ("/actions/people/add-organisation", &[("organisation", "-")], [401, 403, 403, 403, 400]),
    ("/actions/people/remove-organisation", &[("organisation", "team")], [401, 403, 403, 403, 404]),
    ("/actions/people/add-team", &[("organisation", "team"), ("team", "a")], [401, 403, 403, 404, 404]),
    ("/actions/people/remove-team", &[("organisation", "team"), ("team", "a")], [401, 403, 403, 404, 404]),
    (
        "/actions/people/add-member",
        &[("organisation", "team"), ("team", "a"), ("user", "reader")],
        [401, 403, 403, 404, 404],
    ),
    (
        "/actions/people/remove-member",
        &[("organisation", "team"), ("team", "a"), ("user", "reader")],
        [401, 403, 403, 404, 404],
    ),
    ("/actions/people/add-team", &[("organisation", "other"), ("team", "a")], [401, 403, 403, 403, 404]),
    ("/actions/tags/delete", &[APP, ("tag", "none")], [401, 403, 403, 404, 404]),
    ("/actions/tags/add", &[APP, ("tag", "new"), DIGEST], [401, 403, 404, 404, 404]),
    ("/actions/tags/rollback", &[APP, ("tag", "none")], [401, 403, 404, 404, 404]),
    ("/actions/manifests/delete", &[APP, DIGEST], [401, 403, 403, 404, 404]),
    ("/actions/repositories/describe", &[NOTHING, ("description", "x")], [401, 403, 403, 404, 404]),
    ("/actions/repositories/delete", &[NOTHING, ("confirmation", "team/none")], [401, 403, 403, 404, 404]),
    ("/actions/repositories/restore", &[NOTHING], [401, 403, 403, 404, 404]),
    ("/actions/repositories/rename", &[NOTHING, ("to", "team/other")], [401, 403, 403, 404, 404]),
    ("/actions/trash/restore", &[APP, ("tag", "none")], [401, 403, 403, 404, 404]),
    ("/actions/trash/restore-repository", &[NOTHING], [401, 403, 403, 404, 404]),
    ("/actions/trash/empty", &[NOTHING], [401, 403, 403, 403, 303]),
    ("/actions/policies/preview", &[("policy", "wrong")], [401, 403, 403, 403, 400]),
    ("/actions/policies/save", &[("policy", "wrong")], [401, 403, 403, 403, 400]),
    ("/actions/policies/remove", &[("name", "none")], [401, 403, 403, 403, 404]),
    ("/actions/policies/import", &[("from", "ecr"), ("document", "wrong")], [401, 403, 403, 403, 400]),
    (
        "/actions/policies/apply",
        &[("plan", "00000000-0000-4000-8000-000000000000")],
        [401, 403, 403, 403, 404],
    ),
    ("/actions/background/run", &[("job", "none")], [401, 403, 403, 403, 400]),
    ("/actions/adoption/release", &[], [401, 403, 403, 403, 404]),
    ("/actions/adoption/finish", &[], [401, 403, 403, 403, 404]),
];

async fn browser_of<'a>(server: &'a Server, caller: Option<&str>) -> Browser<'a> {
    match caller {
        Some(user) => Browser::with_session(server, user).await,
        None => Browser::new(server),
    }
}

#[tokio::test]
async fn every_page_and_action_decides_by_the_rights_of_its_caller() {
    let server = closed_registry(|_| {}).await;
    let mut wrong = Vec::new();
    let mut check = |path: &str, caller: Option<&str>, found: u16, expected: u16| {
        if found != expected {
            wrong.push(format!("{path} as {caller:?}: {found} instead of {expected}"));
        }
    };
    for (at, caller) in CALLERS.into_iter().enumerate() {
        let browser = browser_of(&server, caller).await;
        for (_, path, statuses) in PAGES {
            let page = browser.get(path).await;
            check(path, caller, page.status, statuses[at]);
            if page.status == 303 && caller.is_none() {
                assert!(page.location().starts_with("/sign-in"), "{path}: {}", page.location());
            }
        }
        for (action, fields, statuses) in ACTIONS {
            let browser = browser_of(&server, caller).await;
            let page = browser.submit(action, fields).await;
            check(action, caller, page.status, statuses[at]);
            server.clock.advance(Duration::from_secs(60));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn the_matrix_has_every_page_and_action() {
    let source = include_str!("../../src/http/web/router.rs");
    let routes = source.split(".route(\"").skip(1).map(|rest| rest.split('"').next().expect("a path"));
    let routes: BTreeSet<&str> = routes.collect();
    let tested: BTreeSet<&str> =
        PAGES.iter().map(|(route, ..)| *route).filter(|route| !route.is_empty()).collect();
    assert_eq!(routes.difference(&tested).collect::<Vec<_>>(), Vec::<&&str>::new());
    let tested: BTreeSet<&str> = ACTIONS.iter().map(|(action, ..)| *action).collect();
    let actions: BTreeSet<&str> = action_paths().into_iter().collect();
    assert_eq!(actions, tested);
}

#[tokio::test]
async fn anonymous_users_of_an_open_registry_change_only_what_is_trusted() {
    for changes in [Changes::Socket, Changes::Anyone] {
        let server = Server::with(|setup| setup.changes = changes).await;
        server.push_image("team/app", "v1", b"layer").await;
        let browser = Browser::new(&server);
        for path in ["/", "/repositories", "/search?q=app"] {
            let page = browser.get(path).await;
            assert_eq!(page.status, 200, "{path}");
            assert!(page.html.contains("This registry is open"), "{path}");
        }
        for path in ["/profile", "/people", "/people/roles", "/people/tokens", "/people/sessions"] {
            assert_eq!(browser.get(path).await.status, 303, "{path}");
        }
        let has_cookie = browser.cookie(COOKIE_NAME).is_some();
        assert_eq!(has_cookie, changes == Changes::Anyone, "only forms need a cookie");
        for (action, fields, statuses) in ACTIONS {
            let token = browser.csrf().await;
            assert!(!token.is_empty(), "the sign-in page has a form");
            let page = browser.send(browser.form(action, &token, fields)).await;
            // Accounts are excluded from the trust.
            let accounts = ["people", "profile", "sessions", "sign-in", "tokens"];
            let is_trusted = changes == Changes::Anyone && !accounts.iter().any(|part| action.contains(part));
            let expected = match *action {
                "/actions/sign-out" => 303,
                _ if is_trusted => statuses[4],
                _ => 401,
            };
            assert_eq!(page.status, expected, "{action}: {}", page.html);
        }
        assert!(server.access_control.accounts().current().records().accounts.is_empty());
    }
}

#[tokio::test]
async fn every_page_has_the_headers_that_protect_it() {
    let server = closed_registry(|_| {}).await;
    let policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                  connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
    for caller in CALLERS {
        let browser = browser_of(&server, caller).await;
        for (_, path, _) in PAGES {
            let page = browser.get(path).await;
            let header = |name| text(&page.headers, name);
            assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
            assert_eq!(header("cache-control"), "no-store", "{path}");
            if page.status == 303 {
                continue;
            }
            assert_eq!(header("content-security-policy"), policy, "{path}");
            assert_eq!(header("referrer-policy"), "same-origin", "{path}");
            assert_eq!(header("content-type"), "text/html; charset=utf-8", "{path}");
            for inline in ["style=", "<style", "onclick", "javascript:", "<script>"] {
                assert!(!page.html.contains(inline), "{path}: {inline}");
            }
        }
    }
    let refused = Browser::with_session(&server, "admin").await;
    let refused = refused.send(refused.request(Method::POST, "/actions/sign-out")).await;
    assert_eq!(text(&refused.headers, "content-security-policy"), policy);
}

#[tokio::test]
async fn sign_in_leads_only_to_pages_of_this_server() {
    let server = closed_registry(|_| {}).await;
    let evil = [
        "//evil.example",
        "https://evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "javascript:alert(1)",
        "evil.example",
        "/a\r\nset-cookie: x=1",
        "/\t/evil.example",
        " //evil.example",
    ];
    for next in evil {
        let browser = Browser::new(&server);
        let token = browser.csrf().await;
        let fields = [("name", "reader"), ("password", PASSWORD), ("next", next)];
        let page = browser.send(browser.form("/actions/sign-in", &token, &fields)).await;
        assert_eq!((page.status, page.location().as_str()), (303, "/"), "{next:?}");
        let query: String = url::form_urlencoded::byte_serialize(next.as_bytes()).collect();
        let page = browser.get(&format!("/sign-in?next={query}")).await;
        assert_eq!((page.status, page.location().as_str()), (303, "/"), "{next:?}");
        let shown = Browser::new(&server).get(&format!("/sign-in?next={query}")).await;
        assert!(shown.html.contains(r#"name="next" value="/""#), "{next:?}: {}", shown.html);
        let fields = [("id", "0"), ("name", "x"), ("role", "pull"), ("next", next)];
        let page = browser.submit("/actions/tokens/add", &fields).await;
        assert_eq!(page.location(), "/profile", "{next:?}");
    }
    let browser = Browser::new(&server);
    let wanted = browser.get("/people?search=a%26b").await.location();
    assert_eq!(wanted, "/sign-in?next=%2Fpeople%3Fsearch%3Da%2526b");
    let next = browser.get(&wanted).await.after(r#"name="next" value=""#);
    assert_eq!(next, "/people?search=a%26b");
    let fields = [("name", "admin"), ("password", PASSWORD), ("next", next.as_str())];
    assert_eq!(browser.submit("/actions/sign-in", &fields).await.location(), next);
}

#[tokio::test]
async fn the_host_of_a_trusted_proxy_decides_on_the_origin() {
    let server = closed_registry(|_| {}).await;
    let browser = Browser::with_session(&server, "admin").await;
    let token = browser.csrf().await;
    let form = |host: &str, origin: &str| {
        let form = browser.form("/actions/sessions/end", &token, &[("id", "0")]);
        form.header(HOST, host).header(ORIGIN, origin)
    };
    assert_eq!(browser.send(form("nas:5000", "http://nas:5000")).await.status, 404);
    assert_eq!(browser.send(form("nas:5000", "http://nas:5001")).await.status, 403);
    assert_eq!(browser.send(form("nas:5000", "http://evil.example")).await.status, 403);
    let forged = form("nas:5000", "http://evil.example").header("x-forwarded-host", "evil.example");
    assert_eq!(browser.send(forged).await.status, 403, "the proxy is not trusted");
}
