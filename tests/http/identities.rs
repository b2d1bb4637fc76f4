//! External identities: CI jobs with a provider's token, and clients with tokens of an external authority.

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

/// The start of the server's clock, in seconds.
const NOW: i64 = 1_000_000;

/// How long a job may get new tokens.
const SESSION_LIFETIME: Duration = Duration::from_secs(3600);

/// A server where jobs of `acme`'s main branches may push to `acme/`, and all jobs of `acme` may pull from there.
struct Fixture {
    server: Server,
    issuer: Issuer,
}

impl Fixture {
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

    /// Sends a request with a token in place of the password.
    async fn send_with_token(&self, method: Method, path: &str, token: &str) -> Response {
        let request = self.server.request(method, path).basic_auth("ci", Some(token));
        request.send().await.expect("answer")
    }

    /// The status of starting an upload with a token.
    async fn push_status(&self, token: &str, repository: &str) -> u16 {
        let path = format!("/v2/{repository}/blobs/uploads/");
        self.send_with_token(Method::POST, &path, token).await.status().as_u16()
    }

    /// The response of `/auth/token` to a query.
    async fn request_token(&self, token: &str, query: &str) -> Value {
        let response = self.send_with_token(Method::GET, &format!("/auth/token?{query}"), token).await;
        assert_eq!(response.status(), 200);
        response.json().await.expect("JSON")
    }

    /// The response to a refresh token.
    async fn refresh(&self, refresh: &str) -> Response {
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
        visit: SESSION_LIFETIME,
        sign_in: None,
        rules: vec![
            rule(&[("repository", "acme/*")], "pull:acme/"),
            rule(&[("repository", "acme/*"), ("ref", "refs/heads/main")], "push:acme/"),
        ],
    }
}

#[tokio::test]
async fn job_has_roles_that_rules_give_to_its_claims() {
    for key in [Key::rsa("1"), Key::ec("1")] {
        let fixture = Fixture::new(key).await;
        let main = fixture.issuer.token(NOW, |_| {});
        assert_eq!(fixture.push_status(&main, "acme/app").await, 202);
        assert_eq!(fixture.push_status(&main, "other/app").await, 403);
        assert_eq!(
            fixture.send_with_token(Method::DELETE, "/v2/acme/app/manifests/1", &main).await.status(),
            403
        );
        let fix = fixture.issuer.token(NOW, |claims| claims["ref"] = json!("refs/heads/fix"));
        assert_eq!(fixture.push_status(&fix, "acme/app").await, 403);
        assert_eq!(fixture.send_with_token(Method::GET, "/v2/acme/app/tags/list", &fix).await.status(), 200);
        let unknown = fixture.issuer.token(NOW, |claims| claims["repository"] = json!("evil/app"));
        assert_eq!(fixture.push_status(&unknown, "acme/app").await, 401);
        let alone = fixture.server.post("/v2/acme/app/blobs/uploads/").bearer_auth(&main).send().await;
        assert_eq!(alone.expect("answer").status(), 202);
        assert_eq!(
            fixture.server.get("/v2/").send().await.expect("answer").status(),
            401,
            "anonymous access is closed"
        );
        assert_eq!(fixture.issuer.key_requests(), 1, "keys are requested once");
    }
}

#[tokio::test]
async fn job_continues_with_refresh_token_after_its_own_token_expires() {
    let fixture = Fixture::new(Key::rsa("1")).await;
    let job_token = fixture.issuer.token(NOW, |_| {});
    let query =
        "service=orlop&offline_token=true&scope=repository:acme/app:pull,push&scope=repository:other:pull";
    let tokens = fixture.request_token(&job_token, query).await;
    let upload = async |token: String| {
        let response = fixture.server.post("/v2/acme/app/blobs/uploads/").bearer_auth(token).send().await;
        response.expect("answer").status().as_u16()
    };
    assert_eq!(upload(tokens["token"].as_str().expect("a token").to_owned()).await, 202);
    let refresh = tokens["refresh_token"].as_str().expect("a refresh token").to_owned();
    assert_eq!(upload(refresh.clone()).await, 401, "a refresh token is no bearer token");
    assert_eq!(fixture.push_status(&refresh, "acme/app").await, 401);
    fixture.server.clock.advance(Duration::from_secs(600));
    assert_eq!(fixture.push_status(&job_token, "acme/app").await, 401, "expired");
    let renewed: Value = fixture.refresh(&refresh).await.json().await.expect("JSON");
    assert_eq!(upload(renewed["access_token"].as_str().expect("a token").to_owned()).await, 202);
    assert_eq!(renewed["refresh_token"], Value::Null, "the session is not extended");
    fixture.server.clock.advance(SESSION_LIFETIME);
    assert_eq!(fixture.refresh(&refresh).await.status(), 401);
}

#[tokio::test]
async fn rejects_invalid_provider_tokens() {
    let key = Key::rsa("1");
    let fixture = Fixture::new(key.clone()).await;
    let valid = fixture.issuer.claims(NOW, |_| {});
    assert_eq!(fixture.push_status(&key.sign(&valid), "acme/app").await, 202);
    let wrong: [(&str, Change); 13] = [
        ("another audience", |claims| claims["aud"] = json!("another")),
        ("no audience", |claims| drop(claims.as_object_mut().expect("claims").remove("aud"))),
        ("another issuer", |claims| claims["iss"] = json!("https://id.example.com")),
        ("no issuer", |claims| drop(claims.as_object_mut().expect("claims").remove("iss"))),
        ("expired", |claims| claims["exp"] = json!(NOW - 61)),
        ("no expiry", |claims| drop(claims.as_object_mut().expect("claims").remove("exp"))),
        ("not valid yet", |claims| claims["nbf"] = json!(NOW + 61)),
        ("issued tomorrow", |claims| claims["iat"] = json!(NOW + 86_400)),
        ("no subject", |claims| drop(claims.as_object_mut().expect("claims").remove("sub"))),
        ("nbf is text", |claims| claims["nbf"] = json!(NOW.to_string())),
        ("nbf is null", |claims| claims["nbf"] = Value::Null),
        ("iat is a list", |claims| claims["iat"] = json!([NOW])),
        ("exp is text", |claims| claims["exp"] = json!((NOW + 300).to_string())),
    ];
    for (what, change) in wrong {
        let token = fixture.issuer.token(NOW, change);
        assert_eq!(fixture.push_status(&token, "acme/app").await, 401, "{what}");
    }
    let slightly_early = fixture.issuer.token(NOW, |claims| claims["nbf"] = json!(NOW + 30));
    assert_eq!(fixture.push_status(&slightly_early, "acme/app").await, 202);
    assert_eq!(
        fixture.push_status(&Key::rsa("1").sign(&valid), "acme/app").await,
        401,
        "another key with the same id"
    );
    assert_eq!(fixture.push_status(&Key::ec("1").sign(&valid), "acme/app").await, 401, "another kind of key");
    let critical = fixture.issuer.claims(NOW, |claims| claims["run"] = json!("critical"));
    let critical = key.sign_with(&critical, |header| header.crit = Some(vec!["exp".into()]));
    assert_eq!(fixture.push_status(&critical, "acme/app").await, 401, "a critical header parameter");
    let public = key.public().to_string();
    let shared = EncodingKey::from_secret(public.as_bytes());
    let header = Header { kid: Some("1".into()), ..Header::new(Algorithm::HS256) };
    let confused = encode(&header, &valid, &shared).expect("signed");
    assert_eq!(
        fixture.push_status(&confused, "acme/app").await,
        401,
        "the public key used as a shared secret"
    );
    let unsigned = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.";
    let claims = key.sign(&valid);
    let claims = claims.split('.').nth(1).expect("claims");
    assert_eq!(fixture.push_status(&format!("{unsigned}{claims}."), "acme/app").await, 401, "unsigned");
    assert_eq!(fixture.issuer.key_requests(), 1, "invalid tokens cause no further requests");
}

#[tokio::test]
async fn follows_key_rotation_and_survives_provider_outage() {
    let old = Key::rsa("old");
    let new = Key::rsa("new");
    let fixture = Fixture::new(old.clone()).await;
    let token =
        |key: &Key| key.sign(&fixture.issuer.claims(NOW, |claims| claims["exp"] = json!(NOW + 1_000_000)));
    assert_eq!(fixture.push_status(&token(&old), "acme/app").await, 202);
    fixture.issuer.rotate(new.clone());
    fixture.server.clock.advance(Duration::from_secs(31));
    assert_eq!(fixture.push_status(&token(&new), "acme/app").await, 202, "the new key is fetched");
    let another = old.sign(&fixture.issuer.claims(NOW, |claims| claims["run"] = json!(2)));
    assert_eq!(fixture.push_status(&another, "acme/app").await, 401, "the old key is withdrawn");
    let further = old.sign(&fixture.issuer.claims(NOW, |claims| claims["exp"] = json!(NOW + 1_000_003)));
    assert_eq!(fixture.push_status(&further, "acme/app").await, 401);
    fixture.issuer.set_unavailable(true);
    fixture.server.clock.advance(Duration::from_secs(2 * 3600));
    let later = new.sign(&fixture.issuer.claims(NOW, |claims| claims["exp"] = json!(NOW + 1_000_001)));
    assert_eq!(fixture.push_status(&later, "acme/app").await, 202, "keys stay in use for a day");
    fixture.server.clock.advance(Duration::from_secs(25 * 3600));
    let last = new.sign(&fixture.issuer.claims(NOW, |claims| claims["exp"] = json!(NOW + 1_000_002)));
    assert_eq!(fixture.push_status(&last, "acme/app").await, 401, "and no longer");
    fixture.issuer.set_unavailable(false);
    fixture.server.clock.advance(Duration::from_secs(31));
    assert_eq!(fixture.push_status(&last, "acme/app").await, 202);
}

#[tokio::test]
async fn cached_tokens_are_verified_again_when_keys_change() {
    let old = Key::rsa("old");
    let new = Key::rsa("new");
    let fixture = Fixture::new(old.clone()).await;
    let cached = old.sign(&fixture.issuer.claims(NOW, |claims| claims["exp"] = json!(NOW + 1_000_000)));
    assert_eq!(fixture.push_status(&cached, "acme/app").await, 202);
    fixture.issuer.rotate(new);
    fixture.server.clock.advance(Duration::from_secs(3599));
    assert_eq!(fixture.push_status(&cached, "acme/app").await, 202, "keys are fetched once an hour");
    fixture.server.clock.advance(Duration::from_secs(2));
    // A request with a key that fits doesn't wait for the fetch.
    let until = std::time::Instant::now() + Duration::from_secs(10);
    while fixture.push_status(&cached, "acme/app").await != 401 {
        assert!(std::time::Instant::now() < until, "the old key is withdrawn");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn audit_log_names_job_without_account() {
    let fixture = Fixture::new(Key::ec("1")).await;
    let token = fixture.issuer.token(NOW, |_| {});
    let refused = fixture.send_with_token(Method::DELETE, "/v2/acme/app/manifests/1", &token).await;
    assert_eq!(refused.status(), 403);
    let own = fixture.send_with_token(Method::GET, "/api/v1/access-tokens", &token).await;
    assert!(own.status().is_client_error(), "{}", own.status());
    fixture.server.registry.flush_audit(true).await.expect("recorded");
    let all = orlop::metadata::AuditQuery::default();
    let page = fixture.server.registry.metadata().audit(&all, 100).await.expect("rows").items;
    let text = format!("{page:?}");
    assert!(text.contains("ci:repo:acme/app:ref:refs/heads/main"), "{text}");
    assert!(!text.contains(&token), "the log contains no token");
}

/// A server that trusts an external authority.
async fn server_with_authority(keys: KeySource) -> Server {
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

fn authority_claims(change: impl FnOnce(&mut Value)) -> Value {
    let mut claims = json!({
        "iss": "auth.example.com", "aud": "registry.example.com", "sub": "ann",
        "iat": NOW, "nbf": NOW, "exp": NOW + 300,
        "access": [{ "type": "repository", "name": "team/app", "actions": ["pull", "push"] }],
    });
    change(&mut claims);
    claims
}

#[tokio::test]
async fn authority_tokens_allow_what_they_name() {
    let dir = TempDir::new().expect("a folder");
    let file = dir.path().join("keys.json");
    let key = Key::rsa("1");
    fs::write(&file, json!({ "keys": [key.public()] }).to_string()).expect("written");
    let server = server_with_authority(KeySource::File(file.clone())).await;
    let answer = server.get("/v2/team/app/tags/list").send().await.expect("answer");
    assert_eq!(answer.status(), 401);
    let challenge = text(answer.headers(), "www-authenticate");
    let expected = r#"Bearer realm="https://auth.example.com/token",service="registry.example.com",scope="repository:team/app:pull""#;
    assert_eq!(challenge, expected);
    let push_status = async |token: String, repository: &str| {
        let path = format!("/v2/{repository}/blobs/uploads/");
        server.post(&path).bearer_auth(token).send().await.expect("answer").status().as_u16()
    };
    let token = key.sign(&authority_claims(|_| {}));
    assert_eq!(push_status(token.clone(), "team/app").await, 202);
    assert_eq!(push_status(token.clone(), "team/web").await, 401, "another token could be sufficient");
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
        assert_eq!(push_status(key.sign(&authority_claims(change)), "team/app").await, 401);
    }
    assert_eq!(push_status(Key::rsa("1").sign(&authority_claims(|_| {})), "team/app").await, 401);
    // The key is replaced, which invalidates its tokens.
    let other = Key::ec("2");
    fs::write(&file, json!({ "keys": [other.public()] }).to_string()).expect("written");
    assert_eq!(push_status(other.sign(&authority_claims(|_| {})), "team/app").await, 202);
    assert_eq!(push_status(token, "team/app").await, 401, "cached verifications are dropped too");
    for withdrawn in ["{\"keys\":[]}", "nonsense"] {
        fs::write(&file, json!({ "keys": [other.public()] }).to_string()).expect("written");
        let good = other.sign(&authority_claims(|claims| claims["jti"] = json!(withdrawn)));
        assert_eq!(push_status(good.clone(), "team/app").await, 202);
        fs::write(&file, withdrawn).expect("written");
        assert_eq!(push_status(good, "team/app").await, 401, "{withdrawn}");
    }
}

#[tokio::test]
async fn rejects_provider_with_invalid_rule() {
    let settings = ProviderSettings {
        rules: vec![RuleSettings { claims: BTreeMap::new(), ..RuleSettings::default() }],
        ..settings("https://id.example.com")
    };
    let clock = Arc::new(orlop::clock::SystemClock);
    let result = Provider::new(&settings, orlop::outbound::client(None).expect("a client"), clock);
    assert!(result.is_err_and(|(at, error)| at == 0 && error.to_string().contains("everybody")));
}
