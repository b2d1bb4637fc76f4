//! Those who come by others' word: jobs by what a provider signed, and clients by another authority's tokens.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use orlop::auth::{
    Authority, AuthoritySettings, Identities, KeySource, Provider, ProviderSettings, RuleSettings,
};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::issuer::{Change, Issuer, Key};
use crate::kit::*;

/// The second at which a server's clock begins.
const NOW: i64 = 1_000_000;

/// For how long a job may go on.
const VISIT: Duration = Duration::from_secs(3600);

/// Where jobs of `acme`'s main branches push to `acme/`, and all of its jobs pull.
struct House {
    server: Server,
    issuer: Issuer,
}

impl House {
    async fn new(key: Key) -> Self {
        let issuer = Issuer::start(key).await;
        let url = issuer.url.clone();
        let server = Server::with(|setup| {
            setup.identities = Box::new(move |clock| {
                let client = orlop::outbound::client(None).expect("a client");
                let provider = Provider::new(&settings(&url), client, clock).expect("a provider");
                Identities::new(vec![provider], None)
            });
        });
        Self { server: server.await, issuer }
    }

    /// The answer to somebody who shows a token in the place of a password.
    async fn show(&self, method: Method, path: &str, token: &str) -> Response {
        let request = self.server.request(method, path).basic_auth("ci", Some(token));
        request.send().await.expect("answer")
    }

    /// Whether somebody with a token may begin an upload there.
    async fn pushes(&self, token: &str, repository: &str) -> u16 {
        let path = format!("/v2/{repository}/blobs/uploads/");
        self.show(Method::POST, &path, token).await.status().as_u16()
    }

    /// What `/auth/token` answers to a query.
    async fn told(&self, token: &str, query: &str) -> Value {
        let response = self.show(Method::GET, &format!("/auth/token?{query}"), token).await;
        assert_eq!(response.status(), 200);
        response.json().await.expect("JSON")
    }

    /// What a refresh token is answered with.
    async fn renewed(&self, refresh: &str) -> Response {
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh),
            ("service", "orlop"),
            ("scope", "repository:acme/app:pull,push"),
        ];
        self.server.post("/auth/token").form(&form).send().await.expect("answer")
    }
}

fn settings(issuer: &str) -> ProviderSettings {
    let rule = |claims: &[(&str, &str)], may: &str| RuleSettings {
        claims: claims.iter().map(|(name, glob)| ((*name).to_owned(), vec![(*glob).to_owned()])).collect(),
        may: vec![may.parse().expect("a role")],
        teams: Vec::new(),
    };
    ProviderSettings {
        name: "ci".into(),
        issuer: issuer.parse().expect("a URL"),
        audience: Some("registry".into()),
        keys: None,
        visit: VISIT,
        sign_in: None,
        rules: vec![
            rule(&[("repository", "acme/*")], "pull:acme/"),
            rule(&[("repository", "acme/*"), ("ref", "refs/heads/main")], "push:acme/"),
        ],
    }
}

#[tokio::test]
async fn a_job_may_what_the_rules_give_to_its_claims() {
    for key in [Key::rsa("1"), Key::ec("1")] {
        let house = House::new(key).await;
        let main = house.issuer.token(NOW, |_| {});
        assert_eq!(house.pushes(&main, "acme/app").await, 202);
        assert_eq!(house.pushes(&main, "other/app").await, 403);
        assert_eq!(house.show(Method::DELETE, "/v2/acme/app/manifests/1", &main).await.status(), 403);
        let fix = house.issuer.token(NOW, |claims| claims["ref"] = json!("refs/heads/fix"));
        assert_eq!(house.pushes(&fix, "acme/app").await, 403);
        assert_eq!(house.show(Method::GET, "/v2/acme/app/tags/list", &fix).await.status(), 200);
        let stranger = house.issuer.token(NOW, |claims| claims["repository"] = json!("evil/app"));
        assert_eq!(house.pushes(&stranger, "acme/app").await, 401);
        let alone = house.server.post("/v2/acme/app/blobs/uploads/").bearer_auth(&main).send().await;
        assert_eq!(alone.expect("answer").status(), 202);
        assert_eq!(house.server.get("/v2/").send().await.expect("answer").status(), 401, "it is closed");
        assert_eq!(house.issuer.asked(), 1, "keys are asked for once");
    }
}

#[tokio::test]
async fn a_job_gets_tokens_and_goes_on_with_them_after_its_own_has_ended() {
    let house = House::new(Key::rsa("1")).await;
    let shown = house.issuer.token(NOW, |_| {});
    let query =
        "service=orlop&offline_token=true&scope=repository:acme/app:pull,push&scope=repository:other:pull";
    let told = house.told(&shown, query).await;
    let upload = async |token: String| {
        let begun = house.server.post("/v2/acme/app/blobs/uploads/").bearer_auth(token).send().await;
        begun.expect("answer").status().as_u16()
    };
    assert_eq!(upload(told["token"].as_str().expect("a token").to_owned()).await, 202);
    let refresh = told["refresh_token"].as_str().expect("a refresh token").to_owned();
    assert_eq!(upload(refresh.clone()).await, 401, "it is good for nothing else");
    assert_eq!(house.pushes(&refresh, "acme/app").await, 401);
    house.server.clock.advance(Duration::from_secs(600));
    assert_eq!(house.pushes(&shown, "acme/app").await, 401, "it has ended");
    let renewed: Value = house.renewed(&refresh).await.json().await.expect("JSON");
    assert_eq!(upload(renewed["access_token"].as_str().expect("a token").to_owned()).await, 202);
    assert_eq!(renewed["refresh_token"], Value::Null, "a visit is not made longer");
    house.server.clock.advance(VISIT);
    assert_eq!(house.renewed(&refresh).await.status(), 401);
}

#[tokio::test]
async fn only_what_the_provider_signed_for_this_registry_and_now_counts() {
    let key = Key::rsa("1");
    let house = House::new(key.clone()).await;
    let honest = house.issuer.claims(NOW, |_| {});
    assert_eq!(house.pushes(&key.sign(&honest), "acme/app").await, 202);
    let wrong: [(&str, Change); 13] = [
        ("for somebody else", |claims| claims["aud"] = json!("another")),
        ("for nobody", |claims| drop(claims.as_object_mut().expect("claims").remove("aud"))),
        ("by somebody else", |claims| claims["iss"] = json!("https://id.example.com")),
        ("by nobody", |claims| drop(claims.as_object_mut().expect("claims").remove("iss"))),
        ("ended", |claims| claims["exp"] = json!(NOW - 61)),
        ("for ever", |claims| drop(claims.as_object_mut().expect("claims").remove("exp"))),
        ("not begun", |claims| claims["nbf"] = json!(NOW + 61)),
        ("of tomorrow", |claims| claims["iat"] = json!(NOW + 86_400)),
        ("of nobody", |claims| drop(claims.as_object_mut().expect("claims").remove("sub"))),
        ("from a time that is text on", |claims| claims["nbf"] = json!(NOW.to_string())),
        ("from no time on", |claims| claims["nbf"] = Value::Null),
        ("of a time that is a list", |claims| claims["iat"] = json!([NOW])),
        ("until a time that is text", |claims| claims["exp"] = json!((NOW + 300).to_string())),
    ];
    for (what, change) in wrong {
        let token = house.issuer.token(NOW, change);
        assert_eq!(house.pushes(&token, "acme/app").await, 401, "{what}");
    }
    let clocks_differ = house.issuer.token(NOW, |claims| claims["nbf"] = json!(NOW + 30));
    assert_eq!(house.pushes(&clocks_differ, "acme/app").await, 202);
    assert_eq!(
        house.pushes(&Key::rsa("1").sign(&honest), "acme/app").await,
        401,
        "another's key of this name"
    );
    assert_eq!(house.pushes(&Key::ec("1").sign(&honest), "acme/app").await, 401, "another kind of key");
    let critical = house.issuer.claims(NOW, |claims| claims["run"] = json!("critical"));
    let critical = key.sign_with(&critical, |header| header.crit = Some(vec!["exp".into()]));
    assert_eq!(house.pushes(&critical, "acme/app").await, 401, "it has a critical parameter");
    let public = key.public().to_string();
    let shared = EncodingKey::from_secret(public.as_bytes());
    let header = Header { kid: Some("1".into()), ..Header::new(Algorithm::HS256) };
    let confused = encode(&header, &honest, &shared).expect("signed");
    assert_eq!(house.pushes(&confused, "acme/app").await, 401, "a public key is no secret");
    let unsigned = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.";
    let claims = key.sign(&honest);
    let claims = claims.split('.').nth(1).expect("claims");
    assert_eq!(house.pushes(&format!("{unsigned}{claims}."), "acme/app").await, 401, "nobody signed it");
    assert_eq!(house.issuer.asked(), 1, "nobody makes this server ask again and again");
}

#[tokio::test]
async fn keys_change_and_providers_are_away() {
    let (old, new) = (Key::rsa("old"), Key::rsa("new"));
    let house = House::new(old.clone()).await;
    let token =
        |key: &Key| key.sign(&house.issuer.claims(NOW, |claims| claims["exp"] = json!(NOW + 1_000_000)));
    assert_eq!(house.pushes(&token(&old), "acme/app").await, 202);
    house.issuer.rotate(new.clone());
    house.server.clock.advance(Duration::from_secs(31));
    assert_eq!(house.pushes(&token(&new), "acme/app").await, 202, "its key was asked for");
    let another = old.sign(&house.issuer.claims(NOW, |claims| claims["run"] = json!(2)));
    assert_eq!(house.pushes(&another, "acme/app").await, 401, "it is withdrawn");
    let held = old.sign(&house.issuer.claims(NOW, |claims| claims["exp"] = json!(NOW + 1_000_003)));
    assert_eq!(house.pushes(&held, "acme/app").await, 401);
    house.issuer.set_away(true);
    house.server.clock.advance(Duration::from_secs(2 * 3600));
    let later = new.sign(&house.issuer.claims(NOW, |claims| claims["exp"] = json!(NOW + 1_000_001)));
    assert_eq!(house.pushes(&later, "acme/app").await, 202, "what was known counts for a day");
    house.server.clock.advance(Duration::from_secs(25 * 3600));
    let last = new.sign(&house.issuer.claims(NOW, |claims| claims["exp"] = json!(NOW + 1_000_002)));
    assert_eq!(house.pushes(&last, "acme/app").await, 401, "and no longer");
    house.issuer.set_away(false);
    house.server.clock.advance(Duration::from_secs(31));
    assert_eq!(house.pushes(&last, "acme/app").await, 202);
}

#[tokio::test]
async fn what_was_known_to_be_good_is_looked_at_again_when_its_keys_are() {
    let (old, new) = (Key::rsa("old"), Key::rsa("new"));
    let house = House::new(old.clone()).await;
    let kept = old.sign(&house.issuer.claims(NOW, |claims| claims["exp"] = json!(NOW + 1_000_000)));
    assert_eq!(house.pushes(&kept, "acme/app").await, 202);
    house.issuer.rotate(new);
    house.server.clock.advance(Duration::from_secs(3599));
    assert_eq!(house.pushes(&kept, "acme/app").await, 202, "keys are asked for once an hour");
    house.server.clock.advance(Duration::from_secs(2));
    // Who has a key that fits does not wait for the answer.
    let until = std::time::Instant::now() + Duration::from_secs(10);
    while house.pushes(&kept, "acme/app").await != 401 {
        assert!(std::time::Instant::now() < until, "it is withdrawn");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_job_is_named_in_the_audit_log_and_has_no_account() {
    let house = House::new(Key::ec("1")).await;
    let token = house.issuer.token(NOW, |_| {});
    let refused = house.show(Method::DELETE, "/v2/acme/app/manifests/1", &token).await;
    assert_eq!(refused.status(), 403);
    let own = house.show(Method::GET, "/api/v1/access-tokens", &token).await;
    assert!(own.status().is_client_error(), "{}", own.status());
    house.server.registry.flush_audit(true).await.expect("recorded");
    let all = orlop::metadata::AuditQuery::default();
    let page = house.server.registry.metadata().audit(&all, 100).await.expect("rows").items;
    let text = format!("{page:?}");
    assert!(text.contains("ci:repo:acme/app:ref:refs/heads/main"), "{text}");
    assert!(!text.contains(&token), "no secret is in it");
}

/// Where another authority lets clients in.
async fn governed(keys: KeySource) -> Server {
    Server::with(|setup| {
        setup.identities = Box::new(move |clock| {
            let settings = AuthoritySettings {
                realm: "https://auth.example.com/token".into(),
                service: "registry.example.com".into(),
                issuer: "auth.example.com".into(),
                keys,
            };
            let client = orlop::outbound::client(None).expect("a client");
            Identities::new(Vec::new(), Some(Authority::new(settings, client, clock)))
        });
    })
    .await
}

fn access(change: impl FnOnce(&mut Value)) -> Value {
    let mut claims = json!({
        "iss": "auth.example.com", "aud": "registry.example.com", "sub": "ann",
        "iat": NOW, "nbf": NOW, "exp": NOW + 300,
        "access": [{ "type": "repository", "name": "team/app", "actions": ["pull", "push"] }],
    });
    change(&mut claims);
    claims
}

#[tokio::test]
async fn another_authority_s_tokens_are_good_for_what_they_name() {
    let dir = TempDir::new().expect("a folder");
    let (file, key) = (dir.path().join("keys.json"), Key::rsa("1"));
    fs::write(&file, json!({ "keys": [key.public()] }).to_string()).expect("written");
    let server = governed(KeySource::File(file.clone())).await;
    let answer = server.get("/v2/team/app/tags/list").send().await.expect("answer");
    assert_eq!(answer.status(), 401);
    let challenge = text(answer.headers(), "www-authenticate");
    let permission = r#"Bearer realm="https://auth.example.com/token",service="registry.example.com",scope="repository:team/app:pull""#;
    assert_eq!(challenge, permission);
    let begin = async |token: String, repository: &str| {
        let path = format!("/v2/{repository}/blobs/uploads/");
        server.post(&path).bearer_auth(token).send().await.expect("answer").status().as_u16()
    };
    let token = key.sign(&access(|_| {}));
    assert_eq!(begin(token.clone(), "team/app").await, 202);
    assert_eq!(begin(token.clone(), "team/web").await, 401, "another token could do");
    let deleted = server.delete("/v2/team/app/manifests/1").bearer_auth(&token).send().await.expect("answer");
    assert_eq!(deleted.status(), 401);
    let api = server.get("/api/v1/users").bearer_auth(&token).send().await.expect("answer");
    assert!(api.status().is_client_error());
    let wrong: [Change; 4] = [
        |claims| claims["aud"] = json!("another.example.com"),
        |claims| claims["iss"] = json!("another.example.com"),
        |claims| claims["exp"] = json!(NOW - 61),
        |claims| drop(claims.as_object_mut().expect("claims").remove("access")),
    ];
    for change in wrong {
        assert_eq!(begin(key.sign(&access(change)), "team/app").await, 401);
    }
    assert_eq!(begin(Key::rsa("1").sign(&access(|_| {})), "team/app").await, 401);
    // Its key is changed, and its tokens count no more from then on.
    let other = Key::ec("2");
    fs::write(&file, json!({ "keys": [other.public()] }).to_string()).expect("written");
    assert_eq!(begin(other.sign(&access(|_| {})), "team/app").await, 202);
    assert_eq!(begin(token, "team/app").await, 401, "also what was known to be good");
    for withdrawn in ["{\"keys\":[]}", "nonsense"] {
        fs::write(&file, json!({ "keys": [other.public()] }).to_string()).expect("written");
        let good = other.sign(&access(|claims| claims["jti"] = json!(withdrawn)));
        assert_eq!(begin(good.clone(), "team/app").await, 202);
        fs::write(&file, withdrawn).expect("written");
        assert_eq!(begin(good, "team/app").await, 401, "{withdrawn}");
    }
}

#[tokio::test]
async fn rules_and_settings_name_what_they_are_made_of() {
    let unfit = ProviderSettings {
        rules: vec![RuleSettings { claims: BTreeMap::new(), ..RuleSettings::default() }],
        ..settings("https://id.example.com")
    };
    let clock = Arc::new(orlop::clock::SystemClock);
    let made = Provider::new(&unfit, orlop::outbound::client(None).expect("a client"), clock);
    assert!(made.is_err_and(|(at, error)| at == 0 && error.to_string().contains("everybody")));
}
