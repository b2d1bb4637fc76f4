//! Bearer tokens and refresh tokens: who gets them, with which scopes, and what they allow.

use std::fs;
use std::time::Duration;

use orlop::auth::AnonymousModes;
use orlop::http::api::Changes;
use orlop::metadata::Role;
use reqwest::header::HOST;
use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value;
use tempfile::TempDir;

use crate::kit::*;

struct Fixture {
    server: Server,
    dir: TempDir,
}

/// The credentials of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Credential {
    Missing,
    /// Basic authentication with an empty user name and password.
    EmptyBasic,
    AnnsPassword,
    WrongPassword,
    /// A token for everything that was requested without a password.
    AnonymousToken,
    /// Ann's token for this scope.
    AnnsToken(&'static str),
    InvalidToken,
}

impl Fixture {
    /// A server where Ann may do everything, and everybody may pull below `public/`. It has two images.
    async fn new() -> Self {
        let fixture = Self::with(|_| {}).await;
        for repository in ["public/app", "team/app"] {
            fixture.push(repository).await;
        }
        fixture
    }

    async fn with(change: impl FnOnce(&mut Setup)) -> Self {
        let dir = TempDir::new().expect("a folder");
        write_users(&dir, "secret");
        let server = Server::with(|setup| {
            setup.access_control.htpasswd = Some(dir.path().join("users"));
            setup.access_control.htpasswd_role = Some(Role::Delete);
            setup.access_control.modes =
                AnonymousModes::with_default(None).with_public(&["public/**".into()]).expect("globs");
            setup.changes = Changes::Anyone;
            change(setup);
        });
        Self { server: server.await, dir }
    }

    /// Pushes an image with one blob as Ann.
    async fn push(&self, repository: &str) {
        let started = self
            .send(Method::POST, &format!("/v2/{repository}/blobs/uploads/"), Credential::AnnsPassword)
            .await;
        assert_eq!(started.status(), 202);
        let location = text(started.headers(), "location");
        let blob = digest(b"{}");
        let put = self.server.put(&format!("{location}?digest={blob}")).body("{}");
        assert_eq!(as_ann(put).send().await.expect("answer").status(), 201);
        let put = self.server.put(&format!("/v2/{repository}/manifests/1")).header("content-type", IMAGE);
        let put = put.body(image(&blob, &blob, None));
        assert_eq!(as_ann(put).send().await.expect("answer").status(), 201);
    }

    async fn send(&self, method: Method, path: &str, credential: Credential) -> Response {
        let request = self.server.request(method, path);
        let request = match credential {
            Credential::Missing => request,
            Credential::EmptyBasic => request.header("authorization", "Basic Og=="),
            Credential::AnnsPassword => as_ann(request),
            Credential::WrongPassword => request.basic_auth("ann", Some("mistaken")),
            Credential::InvalidToken => request.bearer_auth("e30.e30.e30"),
            Credential::AnonymousToken => {
                let every = "repository:team/app:*&scope=repository:public/app:*&scope=registry:catalog:*";
                request.bearer_auth(self.token(every, false).await)
            }
            Credential::AnnsToken(scope) => request.bearer_auth(self.token(scope, true).await),
        };
        request.send().await.expect("answer")
    }

    /// Requests a token for a scope.
    async fn token(&self, scope: &str, as_user: bool) -> String {
        let request = self.server.get(&format!("/auth/token?service=orlop&scope={scope}"));
        let request = if as_user { as_ann(request) } else { request };
        let response = request.send().await.expect("answer");
        assert_eq!(response.status(), 200);
        assert_eq!(text(response.headers(), "cache-control"), "no-store");
        let body: Value = response.json().await.expect("JSON");
        assert_eq!(body["expires_in"], 300);
        assert_eq!(body["token"], body["access_token"]);
        body["token"].as_str().expect("a token").to_owned()
    }

    async fn status(&self, method: Method, path: &str, credential: Credential) -> u16 {
        self.send(method, path, credential).await.status().as_u16()
    }
}

fn write_users(dir: &TempDir, password: &str) {
    let hash = bcrypt::hash(password, 4).expect("hashed");
    fs::write(dir.path().join("users"), format!("ann:{hash}\n")).expect("written");
}

fn as_ann(request: RequestBuilder) -> RequestBuilder {
    request.basic_auth("ann", Some("secret"))
}

const METHODS: [&str; 7] = ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS"];

/// The action that a request on a repository needs. All requests about uploads need push.
fn action(method: &str, path: &str) -> &'static str {
    match method {
        _ if path.contains("/uploads/") => "push",
        "GET" | "HEAD" => "pull",
        "DELETE" => "delete",
        _ => "push",
    }
}

/// Whether a request should be allowed. Independent of the registry's implementation.
fn is_allowed(credential: Credential, method: &str, path: &str) -> bool {
    let reads = matches!(method, "GET" | "HEAD");
    let below = |repository: &str| path.starts_with(&format!("/v2/{repository}/"));
    let is_public = below("public/app") && action(method, path) == "pull";
    match credential {
        Credential::AnnsPassword => true,
        Credential::WrongPassword | Credential::InvalidToken => false,
        Credential::Missing | Credential::EmptyBasic => is_public,
        Credential::AnonymousToken => is_public || (path == "/v2/" && reads),
        Credential::AnnsToken(scope) => {
            let mut parts = scope.splitn(3, ':');
            let kind = parts.next();
            let name = parts.next().expect("a name");
            let actions = parts.next().expect("actions");
            let covers = actions.split(',').any(|named| named == "*" || named == action(method, path));
            match kind {
                _ if path == "/v2/" => reads,
                Some("registry") => path == "/v2/_catalog" && reads,
                _ => below(name) && covers,
            }
        }
    }
}

#[tokio::test]
async fn every_endpoint_checks_credentials() {
    let fixture = Fixture::new().await;
    let digest = digest(b"a");
    let mut paths: Vec<String> = [
        "/v2/",
        "/v2/_catalog",
        "/v2/nothing",
        "/v2/Not/A/Name/manifests/x",
        "/metrics",
        "/api/v1/status",
        "/api/v1/repositories",
        "/nothing",
        "/auth",
        "/auth/token/",
    ]
    .map(str::to_owned)
    .into();
    for repository in ["public/app", "team/app", "team/none", "public"] {
        paths.extend([
            format!("/v2/{repository}/tags/list"),
            format!("/v2/{repository}/manifests/none"),
            format!("/v2/{repository}/manifests/{digest}"),
            format!("/v2/{repository}/blobs/{digest}"),
            format!("/v2/{repository}/referrers/{digest}"),
            format!("/v2/{repository}/blobs/uploads/"),
            format!("/v2/{repository}/blobs/uploads/00000000-0000-0000-0000-000000000000"),
        ]);
    }
    let credentials = [
        Credential::Missing,
        Credential::EmptyBasic,
        Credential::AnnsPassword,
        Credential::WrongPassword,
        Credential::AnonymousToken,
        Credential::InvalidToken,
        Credential::AnnsToken("repository:team/app:pull"),
        Credential::AnnsToken("repository:team/app:push"),
        Credential::AnnsToken("repository:team/app:pull,push,delete"),
        Credential::AnnsToken("repository:public/app:delete"),
        Credential::AnnsToken("repository:team/none:*"),
        Credential::AnnsToken("registry:catalog:*"),
    ];
    for credential in credentials {
        for path in &paths {
            for method in METHODS {
                // Lets the login throttle recover: this test is about permissions.
                fixture.server.clock.advance(Duration::from_secs(30));
                let status = fixture.status(method.parse().expect("a method"), path, credential).await;
                let context = format!("{credential:?} {method} {path}: {status}");
                assert_eq!(status != 401, is_allowed(credential, method, path), "{context}");
            }
        }
    }
}

#[tokio::test]
async fn challenge_names_realm_and_scope() {
    let fixture = Fixture::new().await;
    let address = fixture.server.address;
    let realm = format!("Bearer realm=\"http://{address}/auth/token\",service=\"orlop\"");
    let challenge = async |method: Method, path: &str, credential| {
        let response = fixture.send(method, path, credential).await;
        text(response.headers(), "www-authenticate").clone()
    };
    let of = async |path| challenge(Method::GET, path, Credential::Missing).await;
    assert_eq!(of("/v2/").await, realm);
    assert_eq!(of("/v2/team/app/manifests/1").await, format!("{realm},scope=\"repository:team/app:pull\""));
    assert_eq!(of("/v2/_catalog").await, format!("{realm},scope=\"registry:catalog:*\""));
    let push = format!("{realm},scope=\"repository:public/app:pull,push\"");
    assert_eq!(challenge(Method::POST, "/v2/public/app/blobs/uploads/", Credential::Missing).await, push);
    assert!(
        challenge(Method::GET, "/v2/", Credential::InvalidToken).await.ends_with(",error=\"invalid_token\"")
    );
    assert!(of("/metrics").await.starts_with("Basic "), "browsers and tools use that endpoint");
}

/// Podman, Skopeo and Buildah request another token only if the challenge says that theirs lacks a scope.
#[tokio::test]
async fn challenge_reports_insufficient_scope() {
    let fixture = Fixture::new().await;
    let mut token = fixture.token("", true).await;
    for (path, scope) in
        [("/v2/_catalog", "registry:catalog:*"), ("/v2/team/app/tags/list", "repository:team/app:pull")]
    {
        let get =
            async |token: &str| fixture.server.get(path).bearer_auth(token).send().await.expect("answer");
        let rejected = get(&token).await;
        assert_eq!(rejected.status(), 401, "{path}");
        let challenge = text(rejected.headers(), "www-authenticate");
        let parameter = |name: &str| {
            let (_, rest) = challenge.split_once(&format!("{name}=\""))?;
            rest.split('"').next().map(str::to_owned)
        };
        assert_eq!(parameter("error").as_deref(), Some("insufficient_scope"), "{challenge}");
        assert_eq!(parameter("scope").as_deref(), Some(scope));
        token = fixture.token(&parameter("scope").expect("a scope"), true).await;
        assert_eq!(get(&token).await.status(), 200, "{path}");
    }
    let wrong = fixture.send(Method::GET, "/v2/team/app/tags/list", Credential::WrongPassword).await;
    assert!(!text(wrong.headers(), "www-authenticate").contains("error="), "the request had no token");
}

#[tokio::test]
async fn cross_site_requests_get_no_refresh_token() {
    let fixture = Fixture::new().await;
    let get = |site: Option<&'static str>| {
        let request =
            as_ann(fixture.server.get("/auth/token?service=orlop&client_id=docker&offline_token=true"));
        site.map_or_else(
            || request.try_clone().expect("no body"),
            |site| request.try_clone().expect("no body").header("sec-fetch-site", site),
        )
    };
    for (site, expects_token) in [
        (None, true),
        (Some("none"), true),
        (Some("same-origin"), true),
        (Some("same-site"), false),
        (Some("cross-site"), false),
    ] {
        let body: Value = get(site).send().await.expect("answer").json().await.expect("JSON");
        assert!(body["token"].is_string(), "{site:?}");
        assert_eq!(body["refresh_token"].is_string(), expects_token, "{site:?}");
    }
}

/// A shared cache doesn't check passwords, so it may only store what everybody may pull.
#[tokio::test]
async fn shared_caches_keep_only_what_is_public() {
    let fixture = Fixture::new().await;
    let public = "public, max-age=3600";
    let private = "private, max-age=31536000, immutable";
    let manifest = digest(image(&digest(b"{}"), &digest(b"{}"), None).as_bytes());
    for (repository, of_digest, of_tag) in
        [("public/app", public, "no-cache"), ("team/app", private, "private, no-cache")]
    {
        let paths = [
            (format!("blobs/{}", digest(b"{}")), of_digest),
            (format!("manifests/{manifest}"), of_digest),
            ("manifests/1".to_owned(), of_tag),
            ("tags/list".to_owned(), "no-store"),
            (format!("referrers/{manifest}"), "no-store"),
            ("manifests/none".to_owned(), "no-store"),
        ];
        for (path, expected) in paths {
            for method in [Method::GET, Method::HEAD] {
                let path = format!("/v2/{repository}/{path}");
                let answer = fixture.send(method.clone(), &path, Credential::AnnsPassword).await;
                assert_eq!(text(answer.headers(), "cache-control"), expected, "{method} {path}");
            }
        }
    }
    for path in ["/v2/", "/v2/_catalog", "/metrics", "/livez", "/nothing"] {
        let answer = fixture.send(Method::GET, path, Credential::AnnsPassword).await;
        assert_eq!(text(answer.headers(), "cache-control"), "no-store", "{path}");
    }
}

#[tokio::test]
async fn realm_uses_host_header_or_public_url() {
    let fixture = Fixture::new().await;
    let realm = async |host: &str| {
        let response = fixture.server.get("/v2/").header(HOST, host).send().await.expect("answer");
        text(response.headers(), "www-authenticate").clone()
    };
    assert!(
        realm("registry.lan:5000").await.starts_with("Bearer realm=\"http://registry.lan:5000/auth/token\"")
    );
    assert!(realm("[::1]:5000").await.starts_with("Bearer realm=\"http://[::1]:5000/auth/token\""));
    for host in ["a\",realm=\"b", "ann@evil", "a/b", "a b", "a\\b"] {
        let realm = realm(host).await;
        assert!(
            realm.is_empty() || realm.starts_with("Bearer realm=\"http://localhost/auth/token\""),
            "{realm}"
        );
    }
    let named =
        Fixture::with(|setup| setup.http.public_url = Some("https://example.org/registry/".into())).await;
    let response = named.send(Method::GET, "/v2/", Credential::Missing).await;
    let challenge = text(response.headers(), "www-authenticate");
    assert!(challenge.starts_with("Bearer realm=\"https://example.org/registry/auth/token\""), "{challenge}");
}

#[tokio::test]
async fn token_expires_and_ends_with_password_change() {
    let fixture = Fixture::new().await;
    let pull = "repository:team/app:pull";
    let with = async |token: &str| {
        let request = fixture.server.get("/v2/team/app/manifests/1").bearer_auth(token);
        request.send().await.expect("answer").status().as_u16()
    };
    let token = fixture.token(pull, true).await;
    assert_eq!(with(&token).await, 200);
    fixture.server.clock.advance(TOKEN_LIFETIME - Duration::from_secs(1));
    assert_eq!(with(&token).await, 200);
    fixture.server.clock.advance(Duration::from_secs(1));
    assert_eq!(with(&token).await, 401);

    let token = fixture.token(pull, true).await;
    assert_eq!(with(&token).await, 200);
    write_users(&fixture.dir, "another");
    fixture.server.clock.advance(Duration::from_secs(1));
    assert_eq!(with(&token).await, 401, "the password has changed");
    fs::write(fixture.dir.path().join("users"), "").expect("written");
    fixture.server.clock.advance(Duration::from_secs(1));
    assert_eq!(with(&token).await, 401, "the user was removed");
}

#[tokio::test]
async fn token_requires_correct_or_no_credentials() {
    let fixture = Fixture::new().await;
    let token = "/auth/token?scope=repository:team/app:pull";
    assert_eq!(fixture.status(Method::GET, token, Credential::Missing).await, 200);
    assert_eq!(fixture.status(Method::GET, token, Credential::EmptyBasic).await, 200);
    let denied = fixture.send(Method::GET, token, Credential::WrongPassword).await;
    assert_eq!(denied.status(), 401);
    assert!(text(denied.headers(), "www-authenticate").starts_with("Basic "));
    let bearer = Credential::AnnsToken("repository:team/app:pull");
    assert_eq!(fixture.status(Method::GET, token, bearer).await, 401, "a token can't be used to get another");
    for _ in 0..20 {
        fixture.status(Method::GET, token, Credential::WrongPassword).await;
    }
    assert_eq!(
        fixture.status(Method::GET, token, Credential::WrongPassword).await,
        429,
        "failed logins are throttled"
    );
}

#[tokio::test]
async fn mount_requires_pull_on_source() {
    let fixture = Fixture::new().await;
    let blob = digest(b"{}");
    let mount = async |to: &str, from: &str, scope: &'static str| {
        let path = format!("/v2/{to}/blobs/uploads/?mount={blob}{from}");
        fixture.status(Method::POST, &path, Credential::AnnsToken(scope)).await
    };
    let push = "repository:other/one:pull,push";
    let path = format!("/v2/other/one/blobs/uploads/?mount={blob}&from=team/app");
    let denied = fixture.send(Method::POST, &path, Credential::AnnsToken(push)).await;
    assert_eq!(denied.status(), 401);
    let scope = "scope=\"repository:other/one:pull,push repository:team/app:pull\"";
    assert!(
        text(denied.headers(), "www-authenticate").contains(scope),
        "the challenge names a sufficient token"
    );
    let pull = "repository:other/one:pull&scope=repository:team/app:pull";
    assert_eq!(mount("other/one", "&from=team/app", pull).await, 401, "pull is not enough on the target");
    assert_eq!(
        fixture.status(Method::HEAD, &format!("/v2/other/one/blobs/{blob}"), Credential::AnnsPassword).await,
        404
    );
    let both = "repository:other/one:pull,push&scope=repository:team/app:pull";
    assert_eq!(mount("other/one", "&from=team/app", both).await, 201);
    let joined = "repository:other/two:pull,push%20repository:team/app:pull";
    assert_eq!(mount("other/two", "&from=team/app", joined).await, 201);
    let as_form = "repository:other/five:pull,push+repository:team/app:pull";
    assert_eq!(mount("other/five", "&from=team/app", as_form).await, 201);
    assert_eq!(mount("other/three", "", "repository:other/three:push").await, 201, "Ann may pull everything");
    assert_eq!(mount("other/four", "", "repository:other/three:push").await, 401);
}

/// Docker stores a refresh token, if it gets one, in place of the password.
#[tokio::test]
async fn refresh_token_replaces_password_until_it_changes() {
    let fixture = Fixture::new().await;
    let path = "/auth/token?service=orlop&client_id=docker&offline_token=true";
    let body: Value =
        fixture.send(Method::GET, path, Credential::AnnsPassword).await.json().await.expect("JSON");
    let refresh = body["refresh_token"].as_str().expect("a refresh token").to_owned();
    let anonymous: Value =
        fixture.send(Method::GET, path, Credential::Missing).await.json().await.expect("JSON");
    assert!(anonymous["refresh_token"].is_null(), "none for anonymous clients");
    let plain: Value =
        fixture.send(Method::GET, "/auth/token", Credential::AnnsPassword).await.json().await.expect("JSON");
    assert!(plain["refresh_token"].is_null(), "none if not requested");
    let exchange = async |form: &[(&str, &str)]| {
        let mut body = String::new();
        for (key, value) in form {
            body += &format!("{key}={}&", value.replace('%', "%25").replace(' ', "+"));
        }
        let post =
            fixture.server.post("/auth/token").header("content-type", "application/x-www-form-urlencoded");
        post.body(body).send().await.expect("answer")
    };
    let scope = ("scope", "repository:team/app:pull repository:public/app:pull");
    let renewed = exchange(&[("grant_type", "refresh_token"), ("refresh_token", &refresh), scope]).await;
    assert_eq!(renewed.status(), 200);
    let body: Value = renewed.json().await.expect("JSON");
    assert!(body["refresh_token"].is_null(), "the refresh token stays the same");
    let bearer = body["access_token"].as_str().expect("a token").to_owned();
    let pull = async |bearer: &str| {
        fixture
            .server
            .get("/v2/team/app/manifests/1")
            .bearer_auth(bearer)
            .send()
            .await
            .expect("answer")
            .status()
    };
    assert_eq!(pull(&bearer).await, 200);
    let form = [
        ("grant_type", "password"),
        ("username", "ann"),
        ("password", "secret"),
        ("access_type", "offline"),
        scope,
    ];
    let body: Value = exchange(&form).await.json().await.expect("JSON");
    assert!(body["refresh_token"].is_string() && body["access_token"].is_string());
    // A refresh token is accepted neither as a password nor as a bearer token.
    let basic = fixture.server.get("/v2/").basic_auth("ann", Some(&refresh)).send().await.expect("answer");
    assert_eq!(
        (basic.status(), pull(&refresh).await),
        (401.try_into().expect("a status"), 401.try_into().expect("a status"))
    );
    for (wrong, status) in [
        (vec![("grant_type", "refresh_token"), ("refresh_token", "orlop_000000000000_00")], 401),
        (vec![("grant_type", "refresh_token"), ("refresh_token", &*bearer)], 401),
        (vec![("grant_type", "password"), ("username", "ann"), ("password", "mistaken")], 401),
        (vec![("grant_type", "client_credentials")], 400),
        (vec![], 400),
    ] {
        assert_eq!(exchange(&wrong).await.status(), status, "{wrong:?}");
    }
    let long = "x".repeat(20_000);
    assert_eq!(exchange(&[("grant_type", "password"), ("password", &long)]).await.status(), 400);
    write_users(&fixture.dir, "other");
    fixture.server.clock.advance(Duration::from_secs(1));
    let renewed = exchange(&[("grant_type", "refresh_token"), ("refresh_token", &refresh)]).await;
    assert_eq!(
        (renewed.status(), pull(&bearer).await),
        (401.try_into().expect("a status"), 401.try_into().expect("a status"))
    );
}
