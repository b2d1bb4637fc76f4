//! People who sign in by a provider, as their browser does.

use std::time::Duration;

use orlop::auth::{By, Identities, NewAccount, Provider, ProviderSettings, RuleSettings, SignInSettings};
use orlop::clock::Timestamp;
use orlop::metadata::{Grantee, Role, Team};
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use serde_json::{Value, json};

use crate::issuer::{Change, Issuer, Key};
use crate::kit::*;

const NOW: i64 = 1_000_000;
const NAME: &str = "https://registry.example.com";

/// For how long the access token of somebody is good who signed in.
const TOKEN: Duration = Duration::from_secs(7 * 24 * 3600);

struct House {
    server: Server,
    issuer: Issuer,
    browser: Client,
}

/// Somebody's browser on the way to the provider: where to, and with what cookie.
struct Away {
    address: String,
    cookie: String,
}

impl House {
    /// Where the group `devs` is the team `acme/devs`, which pushes to `acme/`, and staff may come in.
    async fn new() -> Self {
        let issuer = Issuer::start(Key::rsa("1")).await;
        let url = issuer.url.clone();
        let server = Server::with(|setup| {
            setup.http.public_url = Some(NAME.into());
            setup.identities = Box::new(move |clock| {
                let client = orlop::outbound::client(None).expect("a client");
                let provider = Provider::new(&settings(&url), client, clock).expect("a provider");
                Identities::new(vec![provider], None)
            });
        });
        let server = server.await;
        let by = By { name: "admin", now: Timestamp(0) };
        let team: Team = "acme/devs".parse().expect("a team");
        server.access_control.add_organisation("acme", by).await.expect("made");
        server.access_control.add_team(&team).await.expect("made");
        let acme = "acme/".parse().expect("a prefix");
        server.access_control.grant(Grantee::Team(team), acme, Role::Push, by).await.expect("granted");
        let browser = Client::builder().redirect(Policy::none()).build().expect("a browser");
        Self { server, issuer, browser }
    }

    async fn get(&self, path: &str, cookie: &str) -> Response {
        let request = self.browser.get(format!("http://{}{path}", self.server.address));
        request.header("cookie", format!("other=1; {cookie}")).send().await.expect("answer")
    }

    async fn leaves(&self) -> Away {
        let chosen = self.get("/login", "").await;
        assert_eq!(
            (chosen.status().as_u16(), text(chosen.headers(), "location")),
            (303, "/login/id".to_owned())
        );
        let sent = self.get("/login/id", "").await;
        assert_eq!(sent.status(), 303);
        let cookie = text(sent.headers(), "set-cookie");
        assert!(cookie.ends_with("; Path=/login; Max-Age=600; HttpOnly; SameSite=Lax; Secure"), "{cookie}");
        let cookie = cookie.split(';').next().expect("a cookie").to_owned();
        Away { address: text(sent.headers(), "location"), cookie }
    }

    /// The answer to somebody who comes back to where the provider sends them.
    async fn comes_back(&self, to: &str, cookie: &str) -> (u16, String) {
        let path = to.strip_prefix(NAME).expect("this registry's address");
        let answer = self.get(path, cookie).await;
        assert_eq!(text(answer.headers(), "cache-control"), "no-store");
        (answer.status().as_u16(), answer.text().await.expect("a page"))
    }

    async fn signs_in(&self, change: impl FnOnce(&mut Value)) -> (u16, String) {
        let away = self.leaves().await;
        let back = self.issuer.signs_in(&away.address, self.now(), |claims| {
            claims["sub"] = json!("7");
            claims["preferred_username"] = json!("ann");
            claims["groups"] = json!(["staff", "devs"]);
            change(claims);
        });
        self.comes_back(&back, &away.cookie).await
    }

    fn now(&self) -> i64 {
        self.server.registry.clock().now().0 / 1000
    }

    async fn pushes(&self, user: &str, password: &str) -> u16 {
        let request = self.server.post("/v2/acme/app/blobs/uploads/").basic_auth(user, Some(password));
        request.send().await.expect("answer").status().as_u16()
    }
}

fn settings(issuer: &str) -> ProviderSettings {
    let rule = |group: &str, teams: &[&str]| RuleSettings {
        claims: [("groups".to_owned(), vec![group.to_owned()])].into(),
        may: Vec::new(),
        teams: teams.iter().map(|team| team.parse().expect("a team")).collect(),
    };
    ProviderSettings {
        name: "id".into(),
        issuer: issuer.parse().expect("a URL"),
        audience: None,
        keys: None,
        visit: Duration::from_secs(3600),
        sign_in: Some(SignInSettings {
            client_id: "orlop".into(),
            client_secret: Some("s3cret&more".into()),
            scopes: vec!["openid".into(), "profile".into()],
            user_claim: "preferred_username".into(),
            token_lifetime: TOKEN,
        }),
        rules: vec![rule("staff", &[]), rule("devs", &["acme/devs", "acme/gone"])],
    }
}

/// The access token on a page.
fn shown(page: &str) -> String {
    let at = page.find("orlop_").expect("a token");
    page[at..].split('<').next().expect("its end").to_owned()
}

#[tokio::test]
async fn somebody_who_signs_in_gets_an_account_and_a_token_for_a_time() {
    let house = House::new().await;
    let (status, page) = house.signs_in(|_| {}).await;
    assert_eq!(status, 200, "{page}");
    assert!(page.contains("docker login registry.example.com --username ann"), "{page}");
    let token = shown(&page);
    assert_eq!(house.pushes("ann", &token).await, 202, "by the team of a group");
    assert_eq!(house.pushes("ann", "").await, 401, "there is no password");
    house.server.clock.advance(TOKEN);
    assert_eq!(house.pushes("ann", &token).await, 401, "it has ended");

    let (status, page) = house.signs_in(|claims| claims["preferred_username"] = json!("anna")).await;
    assert_eq!(status, 200);
    let again = shown(&page);
    assert_eq!(house.pushes("ann", &again).await, 202, "whatever they are called by now");
    let (status, page) = house.signs_in(|claims| claims["groups"] = json!(["staff"])).await;
    assert_eq!(status, 200);
    assert_eq!(house.pushes("ann", &shown(&page)).await, 403, "they left the team");
    assert_eq!(house.pushes("ann", &again).await, 403, "also by what they got before");

    house.server.registry.flush_audit(true).await.expect("recorded");
    let all = orlop::metadata::AuditQuery::default();
    let rows = format!("{:?}", house.server.registry.metadata().audit(&all, 100).await.expect("rows").items);
    let made = rows.matches("action: TokenAdd").count() + rows.matches("action: AccountAdd").count();
    assert_eq!(made, 4, "an account and three tokens: {rows}");
    assert!(!rows.contains(&again) && !rows.contains("code-"), "{rows}");
}

/// As GitLab does, which signs neither names nor groups.
#[tokio::test]
async fn what_is_not_signed_is_asked_for_and_is_of_the_same_person() {
    let house = House::new().await;
    let besides = |sub: &str, groups: &[&str]| {
        let told = json!({ "sub": sub, "preferred_username": "ann", "groups": groups });
        move |claims: &mut Value| {
            let signed = claims.as_object_mut().expect("claims");
            signed.remove("preferred_username");
            signed.remove("groups");
            signed.insert("besides".into(), told);
        }
    };
    let (status, page) = house.signs_in(besides("7", &["devs"])).await;
    assert_eq!(status, 200, "{page}");
    assert_eq!(house.pushes("ann", &shown(&page)).await, 202);
    assert_eq!(house.signs_in(besides("8", &["devs"])).await.0, 403, "it is of somebody else");
    let signed = |claims: &mut Value| {
        claims["groups"] = json!(["guests"]);
        claims["besides"] = json!({ "sub": "7", "groups": ["devs"] });
    };
    assert_eq!(house.signs_in(signed).await.0, 403, "what is signed counts");
}

#[tokio::test]
async fn only_the_browser_that_left_comes_back_and_once() {
    let house = House::new().await;
    let away = house.leaves().await;
    let honest = |claims: &mut Value| {
        claims["preferred_username"] = json!("ann");
        claims["groups"] = json!("staff");
    };
    let back = || house.issuer.signs_in(&away.address, house.now(), honest);
    let other = house.leaves().await;
    assert_eq!(house.comes_back(&back(), "").await.0, 400, "without what it kept");
    assert_eq!(house.comes_back(&back(), &other.cookie).await.0, 400, "another browser");
    assert_eq!(house.comes_back(&back(), "orlop-sign-in=e30.e30.e30").await.0, 400);
    let swapped = back().replace("/login/id/", "/login/other/");
    assert_eq!(house.comes_back(&swapped, &away.cookie).await.0, 400, "another provider");
    let guessed = back().replace("code=", "code=x");
    assert_eq!(house.comes_back(&guessed, &away.cookie).await.0, 502, "a code that is none");
    let once = back();
    assert_eq!(house.comes_back(&once, &away.cookie).await.0, 200);
    assert_eq!(house.comes_back(&once, &away.cookie).await.0, 502, "a code is good once");
    for _ in 0..8 {
        house.comes_back(&guessed, &away.cookie).await;
    }
    assert_eq!(
        house.comes_back(&guessed, &away.cookie).await.0,
        429,
        "nobody guesses codes by way of this server"
    );
    house.server.clock.advance(Duration::from_secs(601));
    assert_eq!(house.comes_back(&back(), &away.cookie).await.0, 400, "too late");
    assert_eq!(house.get("/login/nobody", "").await.status(), 404);
    house.issuer.set_away(true);
    assert_eq!(house.get("/login/id", "").await.status(), 502);
}

#[tokio::test]
async fn a_provider_s_word_is_for_this_sign_in_or_nothing() {
    let house = House::new().await;
    let wrong: [(&str, Change); 8] = [
        ("another's nonce", |claims| claims["nonce"] = json!("x")),
        ("no nonce", |claims| drop(claims.as_object_mut().expect("claims").remove("nonce"))),
        ("for another client", |claims| claims["aud"] = json!("another")),
        ("for others too", |claims| claims["aud"] = json!(["orlop", "another"])),
        ("by another's wish", |claims| claims["azp"] = json!("another")),
        ("ended", |claims| claims["exp"] = json!(NOW - 3600)),
        ("of nobody whom a rule is for", |claims| claims["groups"] = json!(["guests"])),
        ("without a name", |claims| {
            drop(claims.as_object_mut().expect("claims").remove("preferred_username"))
        }),
    ];
    for (what, change) in wrong {
        let (status, page) = house.signs_in(change).await;
        assert_eq!(status, 403, "{what}: {page}");
        assert!(!page.contains("orlop_"), "{what}");
    }
    let evil = "<script>alert(1)</script>";
    let (status, page) = house.signs_in(|claims| claims["preferred_username"] = json!(evil)).await;
    assert!(status == 403 && !page.contains("<script>"), "{page}");
    let away = house.leaves().await;
    let denied = "/login/id/callback?error=access_denied&error_description=%3Cscript%3E&state=x";
    let (status, page) = house.comes_back(&format!("{NAME}{denied}"), &away.cookie).await;
    assert!(status == 403 && page.contains("access_denied") && !page.contains("<script>"), "{page}");
}

#[tokio::test]
async fn nobody_becomes_somebody_else_by_a_name() {
    let house = House::new().await;
    let by = By { name: "admin", now: Timestamp(0) };
    for name in ["bob", "admin"] {
        let password = Some("correct horse".to_owned());
        let new = NewAccount { name: name.into(), robot: false, password, grants: Vec::new() };
        house.server.access_control.add_account(new, by).await.expect("made");
        let (status, page) = house.signs_in(|claims| claims["preferred_username"] = json!(name)).await;
        assert!(status == 403 && page.contains("another user&#39;s"), "{page}");
    }
    for name in ["Bob", "ADMIN"] {
        let (status, page) = house.signs_in(|claims| claims["preferred_username"] = json!(name)).await;
        assert!(status == 403 && page.contains(name), "{page}");
        assert!(!page.contains("bob"), "the other user is not named: {page}");
        assert!(!house.server.access_control.knows(name));
    }
    let (status, page) = house.signs_in(|_| {}).await;
    assert_eq!(status, 200);
    let token = shown(&page);
    let (status, _) = house.signs_in(|claims| claims["sub"] = json!("8")).await;
    assert_eq!(status, 403, "another person of the same name");
    house.server.access_control.set_disabled("ann", true).await.expect("disabled");
    assert_eq!(house.pushes("ann", &token).await, 401);
    let (status, page) = house.signs_in(|_| {}).await;
    assert!(status == 403 && page.contains("disabled"), "{page}");
}
