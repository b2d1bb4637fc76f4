//! Sign-ins through an OpenID Connect provider, from the browser's point of view.

use std::time::Duration;

use orlop::auth::{
    ChangeAuthor, Identities, NewAccount, Provider, ProviderSettings, RuleSettings, SignInSettings,
};
use orlop::clock::Timestamp;
use orlop::metadata::{Grantee, Role, Team};
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use serde_json::{Value, json};

use crate::issuer::{Change, Issuer, Key};
use crate::kit::*;

const NOW: i64 = 1_000_000;
const PUBLIC_URL: &str = "https://registry.example.com";

/// How long the access token of a sign-in is valid.
const SIGN_IN_TOKEN_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);

struct Fixture {
    server: Server,
    issuer: Issuer,
    browser: Client,
}

/// A sign-in that a browser started: the provider's address, and the cookie.
struct PendingSignIn {
    address: String,
    cookie: String,
}

impl Fixture {
    /// A server where members of the group `devs` join the team `acme/devs`, which may push to `acme/`, and where staff
    /// may sign in.
    async fn new() -> Self {
        let issuer = Issuer::start(Key::rsa("1")).await;
        let url = issuer.url.clone();
        let server = Server::with(|setup| {
            setup.http.public_url = Some(PUBLIC_URL.into());
            setup.identities = Box::new(move |clock| {
                let client = orlop::outbound::client(None).expect("a client");
                let provider = Provider::new(&settings(&url), client, clock).expect("a provider");
                Identities::new(vec![provider], None)
            });
        });
        let server = server.await;
        let by = ChangeAuthor { name: "admin", now: Timestamp(0) };
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

    async fn start_sign_in(&self) -> PendingSignIn {
        let only_provider = self.get("/login", "").await;
        assert_eq!(
            (only_provider.status().as_u16(), text(only_provider.headers(), "location")),
            (303, "/login/id".to_owned())
        );
        let redirect = self.get("/login/id", "").await;
        assert_eq!(redirect.status(), 303);
        let cookie = text(redirect.headers(), "set-cookie");
        assert!(cookie.ends_with("; Path=/login; Max-Age=600; HttpOnly; SameSite=Lax; Secure"), "{cookie}");
        let cookie = cookie.split(';').next().expect("a cookie").to_owned();
        PendingSignIn { address: text(redirect.headers(), "location"), cookie }
    }

    /// The response when the browser comes back to the address that the provider redirects to.
    async fn finish_sign_in(&self, address: &str, cookie: &str) -> (u16, String) {
        let path = address.strip_prefix(PUBLIC_URL).expect("this registry's address");
        let answer = self.get(path, cookie).await;
        assert_eq!(text(answer.headers(), "cache-control"), "no-store");
        (answer.status().as_u16(), answer.text().await.expect("a page"))
    }

    async fn sign_in(&self, change: impl FnOnce(&mut Value)) -> (u16, String) {
        let pending = self.start_sign_in().await;
        let back = self.issuer.sign_in(&pending.address, self.now(), |claims| {
            claims["sub"] = json!("7");
            claims["preferred_username"] = json!("ann");
            claims["groups"] = json!(["staff", "devs"]);
            change(claims);
        });
        self.finish_sign_in(&back, &pending.cookie).await
    }

    fn now(&self) -> i64 {
        self.server.registry.clock().now().0 / 1000
    }

    async fn push_status(&self, user: &str, password: &str) -> u16 {
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
            token_lifetime: SIGN_IN_TOKEN_LIFETIME,
        }),
        rules: vec![rule("staff", &[]), rule("devs", &["acme/devs", "acme/gone"])],
    }
}

/// Finds the access token on a page.
fn token_on(page: &str) -> String {
    let at = page.find("orlop_").expect("a token");
    page[at..].split('<').next().expect("its end").to_owned()
}

#[tokio::test]
async fn sign_in_creates_account_and_temporary_token() {
    let fixture = Fixture::new().await;
    let (status, page) = fixture.sign_in(|_| {}).await;
    assert_eq!(status, 200, "{page}");
    assert!(page.contains("docker login registry.example.com --username ann"), "{page}");
    let token = token_on(&page);
    assert_eq!(fixture.push_status("ann", &token).await, 202, "through the team of the group");
    assert_eq!(fixture.push_status("ann", "").await, 401, "there is no password");
    fixture.server.clock.advance(SIGN_IN_TOKEN_LIFETIME);
    assert_eq!(fixture.push_status("ann", &token).await, 401, "expired");

    let (status, page) = fixture.sign_in(|claims| claims["preferred_username"] = json!("anna")).await;
    assert_eq!(status, 200);
    let again = token_on(&page);
    assert_eq!(fixture.push_status("ann", &again).await, 202, "the account keeps its name");
    let (status, page) = fixture.sign_in(|claims| claims["groups"] = json!(["staff"])).await;
    assert_eq!(status, 200);
    assert_eq!(fixture.push_status("ann", &token_on(&page)).await, 403, "they left the team");
    assert_eq!(fixture.push_status("ann", &again).await, 403, "earlier tokens lose the role too");

    fixture.server.registry.flush_audit(true).await.expect("recorded");
    let all = orlop::metadata::AuditQuery::default();
    let rows =
        format!("{:?}", fixture.server.registry.metadata().audit(&all, 100).await.expect("rows").items);
    let made = rows.matches("action: TokenAdd").count() + rows.matches("action: AccountAdd").count();
    assert_eq!(made, 4, "an account and three tokens: {rows}");
    assert!(!rows.contains(&again) && !rows.contains("code-"), "{rows}");
}

/// GitLab, for example, signs neither names nor groups.
#[tokio::test]
async fn unsigned_claims_come_from_user_info_of_same_subject() {
    let fixture = Fixture::new().await;
    let with_user_info = |sub: &str, groups: &[&str]| {
        let user_info = json!({ "sub": sub, "preferred_username": "ann", "groups": groups });
        move |claims: &mut Value| {
            let signed = claims.as_object_mut().expect("claims");
            signed.remove("preferred_username");
            signed.remove("groups");
            signed.insert("besides".into(), user_info);
        }
    };
    let (status, page) = fixture.sign_in(with_user_info("7", &["devs"])).await;
    assert_eq!(status, 200, "{page}");
    assert_eq!(fixture.push_status("ann", &token_on(&page)).await, 202);
    assert_eq!(fixture.sign_in(with_user_info("8", &["devs"])).await.0, 403, "another subject");
    let signed = |claims: &mut Value| {
        claims["groups"] = json!(["guests"]);
        claims["besides"] = json!({ "sub": "7", "groups": ["devs"] });
    };
    assert_eq!(fixture.sign_in(signed).await.0, 403, "signed claims take precedence");
}

#[tokio::test]
async fn sign_in_is_bound_to_browser_and_code_works_once() {
    let fixture = Fixture::new().await;
    let pending = fixture.start_sign_in().await;
    let valid = |claims: &mut Value| {
        claims["preferred_username"] = json!("ann");
        claims["groups"] = json!("staff");
    };
    let back = || fixture.issuer.sign_in(&pending.address, fixture.now(), valid);
    let other = fixture.start_sign_in().await;
    assert_eq!(fixture.finish_sign_in(&back(), "").await.0, 400, "without the cookie");
    assert_eq!(fixture.finish_sign_in(&back(), &other.cookie).await.0, 400, "another browser");
    assert_eq!(fixture.finish_sign_in(&back(), "orlop-sign-in=e30.e30.e30").await.0, 400);
    let swapped = back().replace("/login/id/", "/login/other/");
    assert_eq!(fixture.finish_sign_in(&swapped, &pending.cookie).await.0, 400, "another provider");
    let wrong_code = back().replace("code=", "code=x");
    assert_eq!(fixture.finish_sign_in(&wrong_code, &pending.cookie).await.0, 502, "a wrong code");
    let once = back();
    assert_eq!(fixture.finish_sign_in(&once, &pending.cookie).await.0, 200);
    assert_eq!(fixture.finish_sign_in(&once, &pending.cookie).await.0, 502, "a code works once");
    for _ in 0..8 {
        fixture.finish_sign_in(&wrong_code, &pending.cookie).await;
    }
    assert_eq!(
        fixture.finish_sign_in(&wrong_code, &pending.cookie).await.0,
        429,
        "guessing of codes is throttled"
    );
    fixture.server.clock.advance(Duration::from_secs(601));
    assert_eq!(fixture.finish_sign_in(&back(), &pending.cookie).await.0, 400, "too late");
    assert_eq!(fixture.get("/login/unknown", "").await.status(), 404);
    fixture.issuer.set_unavailable(true);
    assert_eq!(fixture.get("/login/id", "").await.status(), 502);
}

#[tokio::test]
async fn rejects_provider_tokens_of_other_sign_ins() {
    let fixture = Fixture::new().await;
    let wrong: [(&str, Change); 8] = [
        ("another nonce", |claims| claims["nonce"] = json!("x")),
        ("no nonce", |claims| drop(claims.as_object_mut().expect("claims").remove("nonce"))),
        ("for another client", |claims| claims["aud"] = json!("another")),
        ("for others too", |claims| claims["aud"] = json!(["orlop", "another"])),
        ("another authorized party", |claims| claims["azp"] = json!("another")),
        ("expired", |claims| claims["exp"] = json!(NOW - 3600)),
        ("no matching rule", |claims| claims["groups"] = json!(["guests"])),
        ("without a name", |claims| {
            drop(claims.as_object_mut().expect("claims").remove("preferred_username"));
        }),
    ];
    for (what, change) in wrong {
        let (status, page) = fixture.sign_in(change).await;
        assert_eq!(status, 403, "{what}: {page}");
        assert!(!page.contains("orlop_"), "{what}");
    }
    let evil = "<script>alert(1)</script>";
    let (status, page) = fixture.sign_in(|claims| claims["preferred_username"] = json!(evil)).await;
    assert!(status == 403 && !page.contains("<script>"), "{page}");
    let pending = fixture.start_sign_in().await;
    let denied = "/login/id/callback?error=access_denied&error_description=%3Cscript%3E&state=x";
    let (status, page) = fixture.finish_sign_in(&format!("{PUBLIC_URL}{denied}"), &pending.cookie).await;
    assert!(status == 403 && page.contains("access_denied") && !page.contains("<script>"), "{page}");
}

#[tokio::test]
async fn sign_in_never_takes_over_another_account() {
    let fixture = Fixture::new().await;
    let by = ChangeAuthor { name: "admin", now: Timestamp(0) };
    for name in ["bob", "admin"] {
        let password = Some("correct horse".to_owned());
        let new = NewAccount { name: name.into(), robot: false, password, grants: Vec::new() };
        fixture.server.access_control.add_account(new, by).await.expect("made");
        let (status, page) = fixture.sign_in(|claims| claims["preferred_username"] = json!(name)).await;
        assert!(status == 403 && page.contains("another user&#39;s"), "{page}");
    }
    for name in ["Bob", "ADMIN"] {
        let (status, page) = fixture.sign_in(|claims| claims["preferred_username"] = json!(name)).await;
        assert!(status == 403 && page.contains(name), "{page}");
        assert!(!page.contains("bob"), "the other user is not named: {page}");
        assert!(!fixture.server.access_control.has_user(name));
    }
    let (status, page) = fixture.sign_in(|_| {}).await;
    assert_eq!(status, 200);
    let token = token_on(&page);
    let (status, _) = fixture.sign_in(|claims| claims["sub"] = json!("8")).await;
    assert_eq!(status, 403, "another person of the same name");
    fixture.server.access_control.set_disabled("ann", true).await.expect("disabled");
    assert_eq!(fixture.push_status("ann", &token).await, 401);
    let (status, page) = fixture.sign_in(|_| {}).await;
    assert!(status == 403 && page.contains("disabled"), "{page}");
}

#[tokio::test]
async fn sign_in_from_the_pages_starts_a_session() {
    let fixture = Fixture::new().await;
    let next = "/search?q=a%26b";
    let start = fixture.get(&format!("/login?next={}", "%2Fsearch%3Fq%3Da%2526b"), "").await;
    assert_eq!(text(start.headers(), "location"), "/login/id?next=%2Fsearch%3Fq%3Da%2526b");
    let redirect = fixture.get("/login/id?next=%2Fsearch%3Fq%3Da%2526b", "").await;
    let cookies: Vec<_> = redirect.headers().get_all("set-cookie").iter().collect();
    assert_eq!(cookies.len(), 2);
    let pairs: Vec<_> = cookies
        .iter()
        .map(|cookie| {
            let cookie = cookie.to_str().expect("ASCII");
            assert!(
                cookie.ends_with("; Path=/login; Max-Age=600; HttpOnly; SameSite=Lax; Secure"),
                "{cookie}"
            );
            cookie.split(';').next().expect("a cookie").to_owned()
        })
        .collect();
    let address = text(redirect.headers(), "location");
    let valid = |claims: &mut Value| {
        claims["sub"] = json!("7");
        claims["preferred_username"] = json!("ann");
        claims["groups"] = json!(["staff"]);
    };
    let back = fixture.issuer.sign_in(&address, fixture.now(), valid);
    let path = back.strip_prefix(PUBLIC_URL).expect("this registry's address");
    let done = fixture.get(path, &pairs.join("; ")).await;
    assert_eq!((done.status().as_u16(), text(done.headers(), "location").as_str()), (303, next));
    let cookies: Vec<String> = done
        .headers()
        .get_all("set-cookie")
        .iter()
        .map(|cookie| cookie.to_str().expect("ASCII").to_owned())
        .collect();
    assert!(cookies[0].starts_with("orlop-pages=") && cookies[0].contains("; Path=/; "), "{cookies:?}");
    assert!(cookies[1..].iter().all(|cookie| cookie.contains("; Path=/login; Max-Age=0;")), "{cookies:?}");
    let session = cookies[0].split(';').next().expect("a cookie");
    let profile = fixture.get("/profile", session).await.text().await.expect("a page");
    assert!(profile.contains("Change your password there.") && profile.contains("ann"), "{profile}");
    assert!(
        fixture.server.access_control.accounts().current().records().tokens.is_empty(),
        "no access token"
    );
    fixture.server.access_control.set_disabled("ann", true).await.expect("disabled");
    assert_eq!(fixture.get("/profile", session).await.status(), 303, "the session has ended");
}

#[tokio::test]
async fn sign_in_leads_only_to_pages_of_this_server() {
    let fixture = Fixture::new().await;
    for next in ["%2F%2Fevil.example", "https%3A%2F%2Fevil.example", "%2F%5Cevil.example", "%2Fa%0D%0Ab", ""]
    {
        let redirect = fixture.get(&format!("/login/id?next={next}"), "").await;
        let cookies: Vec<_> = redirect.headers().get_all("set-cookie").iter().collect();
        let removed = cookies[1].to_str().expect("ASCII");
        assert!(
            removed.starts_with("orlop-sign-in-next=; ") && removed.contains("Max-Age=0"),
            "{next}: {removed}"
        );
        let pending = fixture.start_sign_in().await;
        let back = fixture.issuer.sign_in(&pending.address, fixture.now(), |claims| {
            claims["preferred_username"] = json!("ann");
            claims["groups"] = json!("staff");
        });
        let forged = format!("{}; orlop-sign-in-next={next}", pending.cookie);
        let (status, page) = fixture.finish_sign_in(&back, &forged).await;
        assert!(status == 200 && page.contains("orlop_"), "the cookie is checked again: {next}: {page}");
    }
}
