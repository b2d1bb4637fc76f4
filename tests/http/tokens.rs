//! Tokens: who gets one, for what, and what it opens.

use std::fs;
use std::time::Duration;

use orlop::auth::Modes;
use orlop::http::api::Changes;
use orlop::metadata::Role;
use reqwest::header::HOST;
use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value;
use tempfile::TempDir;

use crate::kit::*;

struct House {
    server: Server,
    dir: TempDir,
}

/// How somebody comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comes {
    Alone,
    AsNobody,
    AsAnn,
    WithWrongPassword,
    /// With a token that nobody asked for, for everything.
    WithAnonymousToken,
    /// With Ann's token for this scope.
    With(&'static str),
    WithNonsense,
}

impl House {
    /// Where Ann does everything, and everybody pulls what is below `public/`. Two images are there.
    async fn new() -> Self {
        let house = Self::with(|_| {}).await;
        for repository in ["public/app", "team/app"] {
            house.push(repository).await;
        }
        house
    }

    async fn with(change: impl FnOnce(&mut Setup)) -> Self {
        let dir = TempDir::new().expect("a folder");
        write_users(&dir, "secret");
        let server = Server::with(|setup| {
            setup.access_control.htpasswd = Some(dir.path().join("users"));
            setup.access_control.htpasswd_role = Some(Role::Delete);
            setup.access_control.modes = Modes::of(None).with_public(&["public/**".into()]).expect("globs");
            setup.changes = Changes::Anyone;
            change(setup);
        });
        Self { server: server.await, dir }
    }

    /// An image of one blob, by Ann.
    async fn push(&self, repository: &str) {
        let begun = self.send(Method::POST, &format!("/v2/{repository}/blobs/uploads/"), Comes::AsAnn).await;
        assert_eq!(begun.status(), 202);
        let location = text(begun.headers(), "location");
        let blob = digest(b"{}");
        let put = self.server.put(&format!("{location}?digest={blob}")).body("{}");
        assert_eq!(as_ann(put).send().await.expect("answer").status(), 201);
        let put = self.server.put(&format!("/v2/{repository}/manifests/1")).header("content-type", IMAGE);
        let put = put.body(image(&blob, &blob, None));
        assert_eq!(as_ann(put).send().await.expect("answer").status(), 201);
    }

    async fn send(&self, method: Method, path: &str, comes: Comes) -> Response {
        let request = self.server.request(method, path);
        let request = match comes {
            Comes::Alone => request,
            Comes::AsNobody => request.header("authorization", "Basic Og=="),
            Comes::AsAnn => as_ann(request),
            Comes::WithWrongPassword => request.basic_auth("ann", Some("mistaken")),
            Comes::WithNonsense => request.bearer_auth("e30.e30.e30"),
            Comes::WithAnonymousToken => {
                let every = "repository:team/app:*&scope=repository:public/app:*&scope=registry:catalog:*";
                request.bearer_auth(self.token(every, false).await)
            }
            Comes::With(scope) => request.bearer_auth(self.token(scope, true).await),
        };
        request.send().await.expect("answer")
    }

    /// A token for a scope.
    async fn token(&self, scope: &str, as_user: bool) -> String {
        let request = self.server.get(&format!("/auth/token?service=orlop&scope={scope}"));
        let request = if as_user { as_ann(request) } else { request };
        let response = request.send().await.expect("answer");
        assert_eq!(response.status(), 200);
        assert_eq!(text(response.headers(), "cache-control"), "no-store");
        let told: Value = response.json().await.expect("JSON");
        assert_eq!(told["expires_in"], 300);
        assert_eq!(told["token"], told["access_token"]);
        told["token"].as_str().expect("a token").to_owned()
    }

    async fn status(&self, method: Method, path: &str, comes: Comes) -> u16 {
        self.send(method, path, comes).await.status().as_u16()
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

/// What is done by a method to what is below a repository; uploads are a pusher's as a whole.
fn action(method: &str, path: &str) -> &'static str {
    match method {
        _ if path.contains("/uploads/") => "push",
        "GET" | "HEAD" => "pull",
        "DELETE" => "delete",
        _ => "push",
    }
}

/// Whether somebody may: written without a look at how the registry decides it.
fn may(comes: Comes, method: &str, path: &str) -> bool {
    let reads = matches!(method, "GET" | "HEAD");
    let below = |repository: &str| path.starts_with(&format!("/v2/{repository}/"));
    let is_public = below("public/app") && action(method, path) == "pull";
    match comes {
        Comes::AsAnn => true,
        Comes::WithWrongPassword | Comes::WithNonsense => false,
        Comes::Alone | Comes::AsNobody => is_public,
        Comes::WithAnonymousToken => is_public || (path == "/v2/" && reads),
        Comes::With(scope) => {
            let mut parts = scope.splitn(3, ':');
            let (kind, name, actions) = (parts.next(), parts.next(), parts.next());
            let (name, actions) = (name.expect("a name"), actions.expect("actions"));
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
async fn every_endpoint_is_for_whom_it_is_for() {
    let house = House::new().await;
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
    let callers = [
        Comes::Alone,
        Comes::AsNobody,
        Comes::AsAnn,
        Comes::WithWrongPassword,
        Comes::WithAnonymousToken,
        Comes::WithNonsense,
        Comes::With("repository:team/app:pull"),
        Comes::With("repository:team/app:push"),
        Comes::With("repository:team/app:pull,push,delete"),
        Comes::With("repository:public/app:delete"),
        Comes::With("repository:team/none:*"),
        Comes::With("registry:catalog:*"),
    ];
    for comes in callers {
        for path in &paths {
            for method in METHODS {
                // LoginThrottle are slowed down; this one is about what a guess opens.
                house.server.clock.advance(Duration::from_secs(30));
                let status = house.status(method.parse().expect("a method"), path, comes).await;
                let told = format!("{comes:?} {method} {path}: {status}");
                assert_eq!(status != 401, may(comes, method, path), "{told}");
            }
        }
    }
}

#[tokio::test]
async fn docker_is_told_where_to_get_a_token_and_for_what() {
    let house = House::new().await;
    let address = house.server.address;
    let realm = format!("Bearer realm=\"http://{address}/auth/token\",service=\"orlop\"");
    let challenge = async |method: Method, path: &str, comes| {
        let response = house.send(method, path, comes).await;
        text(response.headers(), "www-authenticate").to_owned()
    };
    let of = async |path| challenge(Method::GET, path, Comes::Alone).await;
    assert_eq!(of("/v2/").await, realm);
    assert_eq!(of("/v2/team/app/manifests/1").await, format!("{realm},scope=\"repository:team/app:pull\""));
    assert_eq!(of("/v2/_catalog").await, format!("{realm},scope=\"registry:catalog:*\""));
    let push = format!("{realm},scope=\"repository:public/app:pull,push\"");
    assert_eq!(challenge(Method::POST, "/v2/public/app/blobs/uploads/", Comes::Alone).await, push);
    assert!(challenge(Method::GET, "/v2/", Comes::WithNonsense).await.ends_with(",error=\"invalid_token\""));
    assert!(of("/metrics").await.starts_with("Basic "), "people ask for that");
}

/// What Podman, Skopeo and Buildah do: they get another token only if theirs is said to lack a scope.
#[tokio::test]
async fn a_client_whose_token_lacks_a_scope_gets_another() {
    let house = House::new().await;
    let mut token = house.token("", true).await;
    for (path, scope) in
        [("/v2/_catalog", "registry:catalog:*"), ("/v2/team/app/tags/list", "repository:team/app:pull")]
    {
        let get = async |token: &str| house.server.get(path).bearer_auth(token).send().await.expect("answer");
        let refused = get(&token).await;
        assert_eq!(refused.status(), 401, "{path}");
        let challenge = text(refused.headers(), "www-authenticate");
        let parameter = |name: &str| {
            let (_, rest) = challenge.split_once(&format!("{name}=\""))?;
            rest.split('"').next().map(str::to_owned)
        };
        assert_eq!(parameter("error").as_deref(), Some("insufficient_scope"), "{challenge}");
        assert_eq!(parameter("scope").as_deref(), Some(scope));
        token = house.token(&parameter("scope").expect("a scope"), true).await;
        assert_eq!(get(&token).await.status(), 200, "{path}");
    }
    let wrong = house.send(Method::GET, "/v2/team/app/tags/list", Comes::WithWrongPassword).await;
    assert!(!text(wrong.headers(), "www-authenticate").contains("error="), "no token was shown");
}

#[tokio::test]
async fn a_page_of_another_site_makes_no_refresh_token() {
    let house = House::new().await;
    let get = |site: Option<&'static str>| {
        let request =
            as_ann(house.server.get("/auth/token?service=orlop&client_id=docker&offline_token=true"));
        site.map_or_else(
            || request.try_clone().expect("no body"),
            |site| request.try_clone().expect("no body").header("sec-fetch-site", site),
        )
    };
    for (site, makes_one) in [
        (None, true),
        (Some("none"), true),
        (Some("same-origin"), true),
        (Some("same-site"), false),
        (Some("cross-site"), false),
    ] {
        let told: Value = get(site).send().await.expect("answer").json().await.expect("JSON");
        assert!(told["token"].is_string(), "{site:?}");
        assert_eq!(told["refresh_token"].is_string(), makes_one, "{site:?}");
    }
}

/// A cache in front that asks no one for a password may keep what everyone may pull, and nothing else.
#[tokio::test]
async fn shared_caches_keep_only_what_is_public() {
    let house = House::new().await;
    let (public, private) = ("public, max-age=3600", "private, max-age=31536000, immutable");
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
                let answer = house.send(method.clone(), &path, Comes::AsAnn).await;
                assert_eq!(text(answer.headers(), "cache-control"), expected, "{method} {path}");
            }
        }
    }
    for path in ["/v2/", "/v2/_catalog", "/metrics", "/livez", "/nothing"] {
        let answer = house.send(Method::GET, path, Comes::AsAnn).await;
        assert_eq!(text(answer.headers(), "cache-control"), "no-store", "{path}");
    }
}

#[tokio::test]
async fn a_realm_is_what_the_client_called_the_server_and_no_more() {
    let house = House::new().await;
    let realm = async |host: &str| {
        let response = house.server.get("/v2/").header(HOST, host).send().await.expect("answer");
        text(response.headers(), "www-authenticate").to_owned()
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
        House::with(|setup| setup.http.public_url = Some("https://example.org/registry/".into())).await;
    let response = named.send(Method::GET, "/v2/", Comes::Alone).await;
    let told = text(response.headers(), "www-authenticate");
    assert!(told.starts_with("Bearer realm=\"https://example.org/registry/auth/token\""), "{told}");
}

#[tokio::test]
async fn a_token_ends_with_its_time_and_with_its_user_s_password() {
    let house = House::new().await;
    let pull = "repository:team/app:pull";
    let with = async |token: &str| {
        let request = house.server.get("/v2/team/app/manifests/1").bearer_auth(token);
        request.send().await.expect("answer").status().as_u16()
    };
    let token = house.token(pull, true).await;
    assert_eq!(with(&token).await, 200);
    house.server.clock.advance(TOKEN_LIFETIME - Duration::from_secs(1));
    assert_eq!(with(&token).await, 200);
    house.server.clock.advance(Duration::from_secs(1));
    assert_eq!(with(&token).await, 401);

    let token = house.token(pull, true).await;
    assert_eq!(with(&token).await, 200);
    write_users(&house.dir, "another");
    house.server.clock.advance(Duration::from_secs(1));
    assert_eq!(with(&token).await, 401, "it was asked for with another password");
    fs::write(house.dir.path().join("users"), "").expect("written");
    house.server.clock.advance(Duration::from_secs(1));
    assert_eq!(with(&token).await, 401, "there is no such user");
}

#[tokio::test]
async fn a_token_is_got_with_a_password_or_for_nobody() {
    let house = House::new().await;
    let token = "/auth/token?scope=repository:team/app:pull";
    assert_eq!(house.status(Method::GET, token, Comes::Alone).await, 200);
    assert_eq!(house.status(Method::GET, token, Comes::AsNobody).await, 200);
    let denied = house.send(Method::GET, token, Comes::WithWrongPassword).await;
    assert_eq!(denied.status(), 401);
    assert!(text(denied.headers(), "www-authenticate").starts_with("Basic "));
    let shown = Comes::With("repository:team/app:pull");
    assert_eq!(house.status(Method::GET, token, shown).await, 401, "a token gets no other");
    for _ in 0..20 {
        house.status(Method::GET, token, Comes::WithWrongPassword).await;
    }
    assert_eq!(house.status(Method::GET, token, Comes::WithWrongPassword).await, 429, "guesses are slowed");
}

#[tokio::test]
async fn a_mount_takes_nothing_from_where_its_token_is_not_for() {
    let house = House::new().await;
    let blob = digest(b"{}");
    let mount = async |to: &str, from: &str, scope: &'static str| {
        let path = format!("/v2/{to}/blobs/uploads/?mount={blob}{from}");
        house.status(Method::POST, &path, Comes::With(scope)).await
    };
    let push = "repository:other/one:pull,push";
    let path = format!("/v2/other/one/blobs/uploads/?mount={blob}&from=team/app");
    let denied = house.send(Method::POST, &path, Comes::With(push)).await;
    assert_eq!(denied.status(), 401);
    let scope = "scope=\"repository:other/one:pull,push repository:team/app:pull\"";
    assert!(text(denied.headers(), "www-authenticate").contains(scope), "it is told which token would do");
    let pull = "repository:other/one:pull&scope=repository:team/app:pull";
    assert_eq!(mount("other/one", "&from=team/app", pull).await, 401, "nor does it push what it may pull");
    assert_eq!(house.status(Method::HEAD, &format!("/v2/other/one/blobs/{blob}"), Comes::AsAnn).await, 404);
    let both = "repository:other/one:pull,push&scope=repository:team/app:pull";
    assert_eq!(mount("other/one", "&from=team/app", both).await, 201);
    let joined = "repository:other/two:pull,push%20repository:team/app:pull";
    assert_eq!(mount("other/two", "&from=team/app", joined).await, 201);
    let as_form = "repository:other/five:pull,push+repository:team/app:pull";
    assert_eq!(mount("other/five", "&from=team/app", as_form).await, 201);
    assert_eq!(mount("other/three", "", "repository:other/three:push").await, 201, "Ann may pull everything");
    assert_eq!(mount("other/four", "", "repository:other/three:push").await, 401);
}

/// Docker keeps a refresh token in the place of the password where it gets one.
#[tokio::test]
async fn a_refresh_token_does_for_the_password_until_that_changes() {
    let house = House::new().await;
    let path = "/auth/token?service=orlop&client_id=docker&offline_token=true";
    let told: Value = house.send(Method::GET, path, Comes::AsAnn).await.json().await.expect("JSON");
    let refresh = told["refresh_token"].as_str().expect("a refresh token").to_owned();
    let alone: Value = house.send(Method::GET, path, Comes::Alone).await.json().await.expect("JSON");
    assert!(alone["refresh_token"].is_null(), "nobody gets none");
    let plain: Value = house.send(Method::GET, "/auth/token", Comes::AsAnn).await.json().await.expect("JSON");
    assert!(plain["refresh_token"].is_null(), "nor who does not ask");
    let exchange = async |form: &[(&str, &str)]| {
        let mut body = String::new();
        for (key, value) in form {
            body += &format!("{key}={}&", value.replace('%', "%25").replace(' ', "+"));
        }
        let post =
            house.server.post("/auth/token").header("content-type", "application/x-www-form-urlencoded");
        post.body(body).send().await.expect("answer")
    };
    let scope = ("scope", "repository:team/app:pull repository:public/app:pull");
    let renewed = exchange(&[("grant_type", "refresh_token"), ("refresh_token", &refresh), scope]).await;
    assert_eq!(renewed.status(), 200);
    let told: Value = renewed.json().await.expect("JSON");
    assert!(told["refresh_token"].is_null(), "the same goes on");
    let bearer = told["access_token"].as_str().expect("a token").to_owned();
    let pull = async |bearer: &str| {
        house
            .server
            .get("/v2/team/app/manifests/1")
            .bearer_auth(bearer)
            .send()
            .await
            .expect("answer")
            .status()
    };
    assert_eq!(pull(&bearer).await, 200);
    let (name, password) = (("username", "ann"), ("password", "secret"));
    let form = [("grant_type", "password"), name, password, ("access_type", "offline"), scope];
    let told: Value = exchange(&form).await.json().await.expect("JSON");
    assert!(told["refresh_token"].is_string() && told["access_token"].is_string());
    // It opens nothing by itself, neither as a password nor as a token.
    let basic = house.server.get("/v2/").basic_auth("ann", Some(&refresh)).send().await.expect("answer");
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
    write_users(&house.dir, "other");
    house.server.clock.advance(Duration::from_secs(1));
    let renewed = exchange(&[("grant_type", "refresh_token"), ("refresh_token", &refresh)]).await;
    assert_eq!(
        (renewed.status(), pull(&bearer).await),
        (401.try_into().expect("a status"), 401.try_into().expect("a status"))
    );
}
