//! Checks the decision for every route, kind of credential and role against an independent model.

use std::sync::Arc;
use std::time::Duration;

use orlop::auth::{
    AnonymousModes, Authority, AuthoritySettings, ChangeAuthor, Identities, KeySource, NewAccessToken,
    NewAccount, Provider, ProviderSettings, RuleSettings,
};
use orlop::clock::{Clock, ManualClock, Timestamp};
use orlop::metadata::{AuditOutcome, AuditQuery, Quota, Role, Scope};
use reqwest::header::AUTHORIZATION;
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::api::{ANY_DIGEST, operations};
use crate::issuer::{Issuer, Key};
use crate::kit::*;

const BY: ChangeAuthor<'static> = ChangeAuthor { name: "test", now: Timestamp(1_000_000_000) };

/// The credentials of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Credential {
    Missing,
    WrongPassword,
    /// The password of this user.
    Password(&'static str),
    /// An access token of this user.
    AccessToken(&'static str, String),
    /// A bearer token for these scopes, requested by this user, or anonymously if `None`.
    Scoped(Option<&'static str>, &'static [&'static str]),
    /// This bearer token.
    Bearer(String),
    /// A provider's token for a job that may push below `team/`.
    Job(String),
    /// A token of the external authority for pushes to `team/app`.
    Delegated(String),
}

/// Users with the scope and the role that they have through their own grants or a team.
const USERS: [(&str, &str, Option<Role>); 8] = [
    ("guest", "", None),
    ("puller", "team/", Some(Role::Pull)),
    ("pusher", "team/", Some(Role::Push)),
    ("deleter", "team/", Some(Role::Delete)),
    ("keeper", "team/", Some(Role::Admin)),
    ("member", "team/", Some(Role::Push)),
    ("viewer", "", Some(Role::Pull)),
    ("admin", "", Some(Role::Admin)),
];

const PASSWORD: &str = "correct horse";

/// The user name of requests with a job's token.
const JOB: &str = "job";

struct Fixture {
    server: Server,
    issuer: Issuer,
}

impl Fixture {
    /// A server with three repositories and an image in each: `team/app`, `other/app`, and `public/app`, which
    /// everybody may pull.
    async fn new() -> Self {
        Self::with_identity_providers(true).await
    }

    /// The same server, with or without an identity provider and a token authority.
    async fn with_identity_providers(has_providers: bool) -> Self {
        let issuer = Issuer::start(Key::ec("1")).await;
        let url = issuer.url.clone();
        let server = Server::with(|setup| {
            setup.access_control.modes =
                AnonymousModes::with_default(None).with_public(&["public/**".into()]).expect("globs");
            if has_providers {
                setup.identities = Box::new(move |clock| trusted_identities(&url, &clock));
            }
        });
        let mut server = server.await;
        server
            .access_control
            .ensure_first_administrator(Some(PASSWORD.into()), Timestamp(0))
            .await
            .expect("made");
        for repository in ["team/app", "other/app", "public/app"] {
            push_as_admin(&mut server, repository).await;
        }
        let access_control = &server.access_control;
        for (name, scope, role) in USERS.into_iter().filter(|(name, ..)| *name != "admin") {
            let own = role.filter(|_| name != "member").map(|role| (scope.parse().expect("a scope"), role));
            let grants = own.into_iter().collect();
            add(&server, name, grants).await;
        }
        let team = "acme/devs".parse().expect("a team");
        access_control.add_organisation("acme", BY).await.expect("made");
        access_control.add_team(&team).await.expect("made");
        access_control.join(&team, "member").await.expect("joined");
        let grantee = "acme/devs".parse().expect("a grantee");
        access_control
            .grant(grantee, "team/".parse().expect("a scope"), Role::Push, BY)
            .await
            .expect("granted");
        let public = "@users".parse().expect("a grantee");
        access_control
            .grant(public, "public/".parse().expect("a scope"), Role::Push, BY)
            .await
            .expect("granted");
        add(&server, "disabled", vec![(Scope::All, Role::Admin)]).await;
        access_control.set_disabled("disabled", true).await.expect("disabled");
        Self { server, issuer }
    }

    async fn access_token(&self, user: &str, role: Role, scope: &str) -> String {
        let new = NewAccessToken {
            account: user.to_owned(),
            name: "ci".into(),
            role,
            scope: scope.parse().expect("a scope"),
            lifetime: None,
        };
        self.server.access_control.add_token(new, BY).await.expect("made").1
    }

    /// A provider's token for a job, valid for longer than a test takes.
    fn job_token(&self) -> String {
        self.issuer.token(1_000_000, |claims| claims["exp"] = json!(1_000_000_000))
    }

    /// A token of the authority, which has the same key as the provider.
    fn authority_token(&self) -> String {
        self.issuer.token(1_000_000, |claims| {
            claims["iss"] = json!("authority");
            claims["exp"] = json!(1_000_000_000);
            claims["access"] =
                json!([{ "type": "repository", "name": "team/app", "actions": ["pull", "push"] }]);
        })
    }

    async fn bearer(&self, user: Option<&str>, scopes: &[&str]) -> String {
        let scopes: Vec<_> = scopes.iter().map(|scope| format!("scope={scope}")).collect();
        let request = self.server.get(&format!("/auth/token?service=orlop&{}", scopes.join("&")));
        let request = match user {
            Some(JOB) => request.basic_auth(JOB, Some(self.job_token())),
            Some(user) => request.basic_auth(user, Some(PASSWORD)),
            None => request,
        };
        let body: Value = request.send().await.expect("answer").json().await.expect("JSON");
        body["token"].as_str().expect("a token").to_owned()
    }

    async fn credentials(&self) -> Vec<Credential> {
        let mut credentials =
            vec![Credential::Missing, Credential::WrongPassword, Credential::Password("disabled")];
        credentials.extend(USERS.map(|(name, ..)| Credential::Password(name)));
        credentials
            .push(Credential::AccessToken("admin", self.access_token("admin", Role::Pull, "team/").await));
        credentials
            .push(Credential::AccessToken("puller", self.access_token("puller", Role::Admin, "").await));
        const PUSH: &[&str] = &["repository:team/app:pull,push", "repository:other/app:pull,push"];
        const ALL: &[&str] = &["repository:team/app:*", "repository:other/app:*", "registry:catalog:*"];
        for (user, scopes) in [
            (Some("pusher"), PUSH),
            (Some("admin"), ALL),
            (Some("guest"), ALL),
            (Some(JOB), ALL),
            (None, ALL),
        ] {
            credentials.push(Credential::Scoped(user, scopes));
        }
        credentials.push(Credential::Job(self.job_token()));
        credentials.push(Credential::Delegated(self.authority_token()));
        credentials
    }

    async fn send(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
        credential: &Credential,
    ) -> Response {
        // Lets the login throttle recover: these tests are about permissions.
        self.server.clock.advance(Duration::from_secs(5));
        let request = self.server.request(method.clone(), path);
        let request = body.map_or(request.try_clone().expect("a request"), |body| request.json(body));
        let request = match credential {
            Credential::Scoped(user, scopes) => request.bearer_auth(self.bearer(*user, scopes).await),
            _ => with_credential(request, credential),
        };
        request.send().await.expect("answer")
    }
}

/// A provider whose jobs may push below `team/`, and an external authority with the same key.
fn trusted_identities(url: &str, clock: &Arc<ManualClock>) -> Identities {
    let client = orlop::outbound::client(None).expect("a client");
    let rule = RuleSettings {
        claims: [("repository".to_owned(), vec!["acme/*".to_owned()])].into(),
        may: vec!["push:team/".parse().expect("a role")],
        teams: Vec::new(),
    };
    let provider = ProviderSettings {
        name: "ci".into(),
        issuer: url.parse().expect("a URL"),
        audience: Some("registry".into()),
        keys: None,
        visit: Duration::from_secs(60),
        sign_in: None,
        rules: vec![rule],
    };
    let provider = Provider::new(&provider, client.clone(), clock.clone()).expect("a provider");
    let authority = AuthoritySettings {
        realm: "https://auth.example.com".into(),
        service: "registry".into(),
        issuer: "authority".into(),
        keys: KeySource::Jwks(format!("{url}/keys").parse().expect("a URL")),
    };
    Identities::new(vec![provider], Some(Authority::new(authority, client, clock.clone())))
}

async fn push_as_admin(server: &mut Server, repository: &str) {
    let header = format!("Basic {}", base64(&format!("admin:{PASSWORD}"))).parse().expect("a header");
    let as_admin = Client::builder().default_headers([(AUTHORIZATION, header)].into_iter().collect());
    let anonymous = std::mem::replace(&mut server.client, as_admin.build().expect("a client"));
    server.push_image(repository, "v1", repository.as_bytes()).await;
    server.client = anonymous;
}

async fn add(server: &Server, name: &str, grants: Vec<(Scope, Role)>) {
    let password = Some(PASSWORD.to_owned());
    let new = NewAccount { name: name.into(), robot: false, password, grants };
    server.access_control.add_account(new, BY).await.expect("made");
}

fn with_credential(request: RequestBuilder, credential: &Credential) -> RequestBuilder {
    match credential {
        Credential::Missing => request,
        Credential::WrongPassword => request.basic_auth("admin", Some("mistaken")),
        Credential::Password(name) => request.basic_auth(name, Some(PASSWORD)),
        Credential::AccessToken(name, token) => request.basic_auth(name, Some(token)),
        Credential::Job(token) => request.basic_auth(JOB, Some(token)),
        Credential::Bearer(token) | Credential::Delegated(token) => request.bearer_auth(token),
        Credential::Scoped(..) => unreachable!("requested in `send`"),
    }
}

/// The role of a user on a repository, on a prefix, or on everything.
fn role_of(user: &str, place: &str) -> Option<Role> {
    if user == JOB {
        // A job is not a user, so grants to all users don't apply to it.
        let public = place.starts_with("public/").then_some(Role::Pull);
        return if place.starts_with("team/") { Some(Role::Push) } else { public };
    }
    let (_, scope, role) = USERS.into_iter().find(|(name, ..)| *name == user).expect("a user");
    let public = if place.starts_with("public/") { Some(Role::Push) } else { None };
    role.filter(|_| place.starts_with(scope)).max(public)
}

/// The role that a credential has on a place. Independent of the registry's implementation.
fn role(credential: &Credential, place: &str) -> Option<Role> {
    let everybody = if place.starts_with("public/") { Some(Role::Pull) } else { None };
    match credential {
        Credential::Missing => everybody,
        Credential::WrongPassword | Credential::Password("disabled") => None,
        Credential::Password(name) => role_of(name, place),
        // The administrator's access token is limited to pulls below team/; the other token has no limits.
        Credential::AccessToken("admin", _) => {
            role_of("admin", place).min(Some(Role::Pull)).filter(|_| place.starts_with("team/"))
        }
        Credential::AccessToken(name, _) => role_of(name, place),
        Credential::Job(_) => role_of(JOB, place),
        Credential::Delegated(_) => (place == "team/app").then_some(Role::Push),
        Credential::Bearer(_) => unreachable!("its role is unknown"),
        Credential::Scoped(user, scopes) => {
            let actions = scopes.iter().find_map(|scope| scope.strip_prefix(&format!("repository:{place}:")));
            let limit = actions.map(|actions| if actions == "*" { Role::Delete } else { Role::Push });
            user.map_or(everybody, |user| role_of(user, place)).min(limit)
        }
    }
}

fn base64(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(text)
}

fn is_known(credential: &Credential) -> bool {
    !matches!(
        credential,
        Credential::Missing
            | Credential::WrongPassword
            | Credential::Password("disabled")
            | Credential::Scoped(None, ..)
            | Credential::Delegated(_)
    )
}

/// The status of a rejected request: 401 if other credentials could succeed, which includes another token of the same
/// user, and 403 otherwise.
fn rejection_status(credential: &Credential, needed: Role, place: &str) -> u16 {
    match credential {
        Credential::Scoped(Some(user), ..) if role_of(user, place) >= Some(needed) => 401,
        _ if is_known(credential) => 403,
        _ => 401,
    }
}

#[tokio::test]
async fn every_registry_endpoint_checks_roles() {
    let fixture = Fixture::new().await;
    let digest = digest(b"a");
    let credentials = fixture.credentials().await;
    for repository in ["team/app", "team/none", "other/app", "public/app"] {
        let below = [
            "tags/list".to_owned(),
            "manifests/none".into(),
            format!("manifests/{digest}"),
            format!("blobs/{digest}"),
            format!("referrers/{digest}"),
            "blobs/uploads/".into(),
            format!("blobs/uploads/?mount={digest}"),
            format!("blobs/uploads/?mount={digest}&from={repository}"),
            "blobs/uploads/00000000-0000-0000-0000-000000000000".into(),
        ];
        for path in below.map(|below| format!("/v2/{repository}/{below}")) {
            for method in ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS"] {
                let needed = match method {
                    _ if path.contains("/uploads/") => Role::Push,
                    "GET" | "HEAD" => Role::Pull,
                    "DELETE" => Role::Delete,
                    _ => Role::Push,
                };
                for credential in &credentials {
                    let method = method.parse().expect("a method");
                    let status = fixture.send(&method, &path, None, credential).await.status().as_u16();
                    let context = format!("{credential:?} {method} {path}: {status}");
                    if role(credential, repository) >= Some(needed) {
                        assert!(status != 401 && status != 403, "{context}");
                    } else {
                        assert_eq!(status, rejection_status(credential, needed, repository), "{context}");
                    }
                }
            }
        }
    }
}

/// The permission that an operation of the API needs.
#[derive(Debug, Clone, Copy)]
enum Needs {
    /// A role on the repository of the operation.
    OnRepository(Role),
    /// A role on the whole registry.
    OnRegistry(Role),
    /// Any user.
    User,
    /// The user of the operation, which is `puller`, or the admin role on the whole registry.
    Self_,
}

/// The permission that each operation of the API needs, with the query and the body that name the repository if the
/// path doesn't. Fails for unknown operations.
fn needs(operation: &str, repository: &str) -> (Needs, String, Option<Value>) {
    use Needs::{OnRegistry, OnRepository, Self_, User};
    use Role::{Admin, Delete, Pull, Push};
    let none = String::new;
    let scope = format!("?scope={repository}");
    let about = format!("?repository={repository}");
    match operation {
        "getDocument" | "getStatus" | "listPresets" => (User, none(), None),
        "importPolicies" => (OnRegistry(Admin), "?from=ecr".into(), Some(json!({ "rules": [] }))),
        "listRepositories" | "listNamespaces" | "listGrants" | "listOrganisations" => (User, none(), None),
        "search" => (User, "?text=app".into(), None),
        "runJob" | "releaseAdoption" | "finishAdoption" => (OnRegistry(Admin), none(), None),
        "getRepository"
        | "listTags"
        | "getTag"
        | "getManifest"
        | "getContents"
        | "listUntagged"
        | "getTagHistory"
        | "getRepositoryHistory"
        | "getRepositoryWork" => (OnRepository(Pull), none(), None),
        "getUsage" => (OnRepository(Pull), scope, None),
        "listAudit" => (OnRepository(Admin), scope, None),
        "listTrash" | "getPlan" => (OnRepository(Pull), about, None),
        "getWhy" => (OnRepository(Pull), format!("{about}&reference=v1"), None),
        "putTag" => (OnRepository(Push), none(), Some(json!({ "digest": ANY_DIGEST }))),
        "rollBackTag" => (OnRepository(Push), none(), Some(json!({}))),
        "deleteTag" | "deleteManifest" => (OnRepository(Delete), none(), None),
        "deleteRepository" => (OnRepository(Admin), none(), None),
        "restoreRepository" => (OnRepository(Admin), none(), Some(json!({}))),
        "renameRepository" => {
            (OnRepository(Admin), none(), Some(json!({ "to": format!("{repository}/new") })))
        }
        "updateRepository" => (OnRepository(Admin), none(), Some(json!({ "description": "x" }))),
        "restoreFromTrash" => {
            (OnRepository(Admin), none(), Some(json!({ "repository": repository, "tag": "none" })))
        }
        "listUsageDays" | "getScrub" | "getAdoption" | "getBackground" | "listDamaged" | "listEvents"
        | "listPolicies" | "listPolicyChanges" | "listRuns" => (OnRegistry(Pull), none(), None),
        "previewPolicy" => (OnRegistry(Admin), none(), Some(json!({ "name": "a" }))),
        "checkPolicy" => (OnRegistry(Admin), none(), Some(json!({ "name": "a" }))),
        "emptyTrash" => (OnRegistry(Admin), none(), Some(json!({ "repository": repository }))),
        "putPolicy" => (OnRegistry(Admin), none(), Some(json!({ "repositories": ["none"] }))),
        "deletePolicy" => (OnRegistry(Admin), none(), None),
        "applyPlan" => (OnRegistry(Admin), none(), Some(json!({ "repository": repository }))),
        "listAccounts" | "removeAccount" | "addOrganisation" | "removeOrganisation" | "addTeam"
        | "removeTeam" | "joinTeam" | "leaveTeam" | "revokeToken" => (OnRegistry(Admin), none(), None),
        "rotateKey" => (OnRegistry(Admin), none(), Some(json!({}))),
        "addAccount" => (OnRegistry(Admin), none(), Some(json!({ "password": "x" }))),
        "getAccount" => (Self_, none(), None),
        "updateAccount" => (Self_, none(), Some(json!({}))),
        "listTokens" => (Self_, "?account=puller".into(), None),
        "addToken" => (Self_, none(), Some(json!({ "account": "puller", "role": "pull", "seconds": 1 }))),
        "setGrant" => (
            OnRepository(Admin),
            none(),
            Some(json!({ "grantee": "guest/none", "scope": repository, "role": "pull" })),
        ),
        "removeGrant" => (OnRepository(Admin), format!("?grantee=guest&scope={repository}"), None),
        "can" => (Self_, format!("?user=puller&action=pull&repository={repository}"), None),
        other => panic!("{other} has no expected permission"),
    }
}

/// Whether an operation should be allowed.
fn is_allowed(needs: Needs, credential: &Credential, place: &str) -> bool {
    match needs {
        Needs::OnRepository(needed) => role(credential, place) >= Some(needed),
        Needs::OnRegistry(needed) => role(credential, "") >= Some(needed),
        Needs::User => is_known(credential),
        Needs::Self_ => {
            *credential == Credential::Password("puller") || role(credential, "") >= Some(Role::Admin)
        }
    }
}

#[tokio::test]
async fn every_api_operation_checks_roles() {
    let fixture = Fixture::new().await;
    let credentials = fixture.credentials().await;
    for operation in operations(&fixture.server, Some(("admin", PASSWORD))).await {
        for repository in ["team/app", "other/app"] {
            let (needs, query, body) = needs(&operation.id, repository);
            let path = operation.path.replace("team%2Fapp", &repository.replace('/', "%2F"));
            let path = path.replace(
                "/accounts/ann",
                if operation.id == "addAccount" { "/accounts/new" } else { "/accounts/puller" },
            );
            // Removing these would affect the requests with other credentials.
            let path = path.replace("/organisations/acme", "/organisations/none");
            let path = if operation.id == "removeAccount" { path.replace("puller", "none") } else { path };
            for credential in &credentials {
                // The API is only for users, even for repositories that everybody may pull.
                if matches!(credential, Credential::Scoped(..) | Credential::Delegated(_)) {
                    let status = fixture
                        .send(&operation.method, &format!("{path}{query}"), body.as_ref(), credential)
                        .await;
                    assert_eq!(status.status(), 401, "{credential:?} {}", operation.id);
                    continue;
                }
                let target = format!("{path}{query}");
                let status = fixture
                    .send(&operation.method, &target, body.as_ref(), credential)
                    .await
                    .status()
                    .as_u16();
                let context = format!("{credential:?} {} {target}: {status}", operation.method);
                if is_allowed(needs, credential, repository) {
                    assert!(status != 401 && status != 403, "{context}");
                } else {
                    assert_eq!(status, if is_known(credential) { 403 } else { 401 }, "{context}");
                }
            }
        }
    }
}

#[tokio::test]
async fn lists_show_readable_repositories() {
    let fixture = Fixture::new().await;
    let names = async |credential: &Credential, path: &str, at: &str| -> Vec<String> {
        let body: Value =
            fixture.send(&Method::GET, path, None, credential).await.json().await.expect("JSON");
        let items = body[at].as_array().expect("a list").iter();
        items.map(|item| item["name"].as_str().or(item.as_str()).expect("a name").to_owned()).collect()
    };
    for (credential, visible) in [
        (Credential::Password("admin"), vec!["other/app", "public/app", "team/app"]),
        (Credential::Password("viewer"), vec!["other/app", "public/app", "team/app"]),
        (Credential::Password("puller"), vec!["public/app", "team/app"]),
        (Credential::Password("guest"), vec!["public/app"]),
    ] {
        assert_eq!(names(&credential, "/v2/_catalog", "repositories").await, visible, "{credential:?}");
        assert_eq!(names(&credential, "/api/v1/repositories", "items").await, visible, "{credential:?}");
        let Credential::Password(name) = credential else { unreachable!("they are users") };
        let bearer = Credential::Scoped(Some(name), &["registry:catalog:*"]);
        assert_eq!(names(&bearer, "/v2/_catalog", "repositories").await, visible, "{bearer:?}");
        assert_eq!(
            names(&credential, "/v2/_catalog?n=1", "repositories").await,
            visible[..1],
            "{credential:?}"
        );
        let page = fixture.send(&Method::GET, "/v2/_catalog?n=1", None, &credential).await;
        let more = page.headers().contains_key("link");
        let last = format!("/v2/_catalog?n=5&last={}", visible[0]);
        assert_eq!(names(&credential, &last, "repositories").await, visible[1..], "{credential:?}");
        // The link to the next page doesn't reveal that further, unreadable repositories exist.
        assert_eq!(more, visible.len() > 1, "{credential:?}");
    }
}

/// A list shows what the client may pull, for every kind of credential.
#[tokio::test]
async fn lists_show_pullable_repositories_for_every_credential() {
    const NAMES: [&str; 3] = ["other/app", "public/app", "team/app"];
    let fixture = Fixture::new().await;
    let pullable = |credential: &Credential| -> Vec<&str> {
        let role_there = |name: &str| match credential {
            // A token for the catalog shows everything that its user may pull.
            Credential::Scoped(Some(user), _) => role_of(user, name),
            Credential::Scoped(None, _) => role(&Credential::Missing, name),
            credential => role(credential, name),
        };
        NAMES.into_iter().filter(|name| role_there(name).is_some()).collect()
    };
    let mut answered = 0;
    for credential in fixture.credentials().await {
        for (path, at) in [("/v2/_catalog", "repositories"), ("/api/v1/repositories?sort=pushed", "items")] {
            let response = fixture.send(&Method::GET, path, None, &credential).await;
            if response.status() != 200 {
                assert!(matches!(response.status().as_u16(), 401 | 403), "{credential:?} {path}");
                continue;
            }
            let body: Value = response.json().await.expect("JSON");
            let items = body[at].as_array().expect("a list").iter();
            let mut names: Vec<_> =
                items.map(|item| item["name"].as_str().or(item.as_str()).expect("a name")).collect();
            names.sort_unstable();
            let expected = pullable(&credential);
            if at == "items" && matches!(credential, Credential::Scoped(..)) {
                assert!(names.iter().all(|name| expected.contains(name)), "{credential:?} {names:?}");
            } else {
                assert_eq!(names, expected, "{credential:?} {path}");
            }
            answered += 1;
        }
    }
    assert!(answered > 15, "{answered}");
}

async fn usage(fixture: &Fixture, user: &'static str, scope: &str) -> Value {
    let path = format!("/api/v1/usage?scope={scope}");
    let response = fixture.send(&Method::GET, &path, None, &Credential::Password(user)).await;
    assert_eq!(response.status(), 200, "{user} {scope}");
    response.json().await.expect("JSON")
}

/// A usage report about one scope reveals nothing about others: neither what is pushed there nor how much of a quota is
/// used.
#[tokio::test]
async fn usage_of_a_scope_reveals_nothing_else() {
    let mut fixture = Fixture::new().await;
    let quota = |scope: &str| Quota { bytes: Some(1 << 20), ..Quota::of(scope.parse().expect("a scope")) };
    let quotas = ["", "team/", "secret/"].map(quota);
    fixture.server.registry.metadata().set_quotas(&quotas).await.expect("set");
    let before = usage(&fixture, "puller", "team/").await;
    assert_eq!(before["usage"]["repositories"], 1);
    assert_eq!(before["quotas"].as_array().map(Vec::len), Some(1), "{before}");
    push_as_admin(&mut fixture.server, "secret/app").await;
    assert_eq!(usage(&fixture, "puller", "team/").await, before);
    assert_eq!(usage(&fixture, "admin", "team/").await["store"], Value::Null);
    assert!(usage(&fixture, "viewer", "").await["store"]["blobs"].as_u64() > Some(0));
    let rejected = fixture.send(&Method::GET, "/api/v1/usage", None, &Credential::Password("puller")).await;
    assert_eq!(rejected.status(), 403);
}

/// A mount copies nothing from an unreadable repository, and doesn't reveal whether the blob exists there.
#[tokio::test]
async fn mount_reveals_nothing_about_unreadable_blobs() {
    let fixture = Fixture::new().await;
    let existing = digest(b"other/app").to_string();
    let missing = digest(b"missing").to_string();
    let mount = async |credential: &Credential, blob: &str, from: &str| {
        let path = format!("/v2/team/new/blobs/uploads/?mount={blob}{from}");
        fixture.send(&Method::POST, &path, None, credential).await.status().as_u16()
    };
    for credential in [
        Credential::Password("pusher"),
        Credential::AccessToken("keeper", fixture.access_token("keeper", Role::Admin, "").await),
    ] {
        for from in ["", "&from=other/app", "&from=other/none"] {
            assert_eq!(mount(&credential, &existing, from).await, 202, "{credential:?} {from}");
            assert_eq!(mount(&credential, &missing, from).await, 202, "{credential:?} {from}");
        }
        let head =
            fixture.send(&Method::HEAD, &format!("/v2/team/new/blobs/{existing}"), None, &credential).await;
        assert_eq!(head.status(), 404);
    }
    assert_eq!(
        mount(&Credential::Password("pusher"), &digest(b"team/app").to_string(), "&from=team/app").await,
        201
    );
    assert_eq!(mount(&Credential::Password("admin"), &existing, "").await, 201);
    let open = digest(b"public/app").to_string();
    for readable in [digest(b"team/app").to_string(), open] {
        assert_eq!(
            mount(&Credential::Password("pusher"), &readable, "").await,
            201,
            "the source is readable"
        );
    }
    // 401 if another token of the user would allow the mount; otherwise it becomes an ordinary upload.
    let push: &[&str] = &["repository:team/new:pull,push"];
    let bearer = Credential::Scoped(Some("pusher"), push);
    assert_eq!(mount(&bearer, &digest(b"team/app").to_string(), "&from=team/app").await, 401);
    assert_eq!(mount(&bearer, &existing, "&from=other/app").await, 202);
}

/// Responses for unreadable and for missing repositories are identical.
#[tokio::test]
async fn unreadable_looks_like_missing() {
    let fixture = Fixture::new().await;
    for credential in [Credential::Missing, Credential::Password("guest"), Credential::Password("pusher")] {
        for below in ["tags/list", "manifests/v1", "referrers/DIGEST", "blobs/DIGEST", "blobs/uploads/"] {
            for method in [Method::GET, Method::HEAD, Method::PUT, Method::POST, Method::DELETE] {
                let mut answers = Vec::new();
                for repository in ["other/app", "other/nil"] {
                    let below = below.replace("DIGEST", digest(b"other/app").as_str());
                    let answer =
                        fixture.send(&method, &format!("/v2/{repository}/{below}"), None, &credential).await;
                    let status = answer.status();
                    let headers = format!("{:?}", answer.headers());
                    let body = answer.text().await.expect("a body");
                    let headers: String = headers.split("\"date\"").next().expect("a part").into();
                    answers.push((status, headers.replace("app", "nil"), body.replace("app", "nil")));
                }
                assert_eq!(answers[0], answers[1], "{credential:?} {method} {below}");
            }
        }
    }
}

#[tokio::test]
async fn revocations_take_effect_immediately() {
    let fixture = Fixture::with_identity_providers(false).await;
    let access_control = &fixture.server.access_control;
    let pull = async |credential: &Credential| {
        fixture.send(&Method::GET, "/v2/team/app/manifests/v1", None, credential).await.status().as_u16()
    };
    let scopes: &[&str] = &["repository:team/app:pull"];
    let token = Credential::AccessToken("puller", fixture.access_token("puller", Role::Pull, "team/").await);
    let body: Value = {
        let request = fixture.server.get("/auth/token?scope=repository:team/app:pull");
        with_credential(request, &token).send().await.expect("answer").json().await.expect("JSON")
    };
    let by_token = Credential::Bearer(body["token"].as_str().expect("a token").into());
    let by_password = Credential::Bearer(fixture.bearer(Some("puller"), scopes).await);
    let all = [Credential::Password("puller"), token.clone(), by_token.clone(), by_password.clone()];
    for credential in &all {
        assert_eq!(pull(credential).await, 200, "{credential:?}");
    }
    let id = access_control
        .accounts()
        .current()
        .records()
        .tokens
        .iter()
        .find(|token| token.account == "puller")
        .expect("one")
        .id
        .clone();
    access_control.revoke_token(&id).await.expect("revoked");
    for (credential, status) in [(&token, 401), (&by_token, 401), (&by_password, 200)] {
        assert_eq!(pull(credential).await, status, "{credential:?}");
    }
    assert!(pull(&Credential::Password("puller")).await == 200);
    access_control.set_disabled("puller", true).await.expect("disabled");
    for credential in &all {
        assert_eq!(pull(credential).await, 401, "{credential:?}");
    }
    access_control.set_disabled("puller", false).await.expect("enabled");
    assert_eq!(pull(&by_password).await, 200);
    let grantee = "puller".parse().expect("a grantee");
    let scope = "team/".parse().expect("a scope");
    access_control.revoke(grantee, scope).await.expect("revoked");
    assert_eq!((pull(&Credential::Password("puller")).await, pull(&by_password).await), (403, 403));
    access_control.set_password("puller", Some("another one".into())).await.expect("set");
    assert_eq!((pull(&Credential::Password("puller")).await, pull(&by_password).await), (401, 401));
    // The registry can't be opened to everybody by mistake.
    for (name, ..) in USERS.into_iter().filter(|(name, ..)| !["admin", "pusher"].contains(name)) {
        access_control.remove_account(name).await.expect("removed");
    }
    access_control.remove_account("disabled").await.expect("removed");
    assert!(access_control.remove_account("pusher").await.is_err(), "the last user");
    assert!(access_control.remove_account("admin").await.is_err());
    // Access tokens expire.
    let new = NewAccessToken {
        account: "pusher".into(),
        name: String::new(),
        role: Role::Pull,
        scope: Scope::All,
        lifetime: Some(Duration::from_secs(3600)),
    };
    let created = access_control
        .add_token(new, ChangeAuthor { now: fixture.server.clock.now(), ..BY })
        .await
        .expect("made");
    let token = Credential::AccessToken("pusher", created.1);
    assert_eq!(pull(&token).await, 200);
    fixture.server.clock.advance(Duration::from_secs(3600));
    assert_eq!(pull(&token).await, 401);
}

/// A decision made for the head of a request is repeated when its body arrives later.
#[tokio::test]
async fn late_body_is_rejected_after_revocation() {
    let fixture = Fixture::new().await;
    // Sends all of a request except the last byte. `finish` sends that byte.
    let start = async |line: &str, body: &str| {
        let mut stream = fixture.server.connect().await;
        let encoded = base64(&format!("keeper:{PASSWORD}"));
        let length = body.len();
        let head = format!(
            "{line} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {encoded}\r\nContent-Length: {length}\r\n\
             Content-Type: application/json\r\n\r\n{}",
            &body[..length - 1]
        );
        stream.write_all(head.as_bytes()).await.expect("sent");
        tokio::time::sleep(Duration::from_millis(300)).await;
        stream
    };
    let finish = async |mut stream: TcpStream| {
        stream.write_all(b"}").await.expect("sent");
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.expect("an answer");
        String::from_utf8_lossy(&answer[9..]).into_owned()
    };
    let access_control = &fixture.server.access_control;
    let change = start("PATCH /api/v1/accounts/keeper", r#"{"password":"mine again"}"#).await;
    access_control.set_password("keeper", Some("another one".into())).await.expect("set");
    assert_eq!(finish(change).await, "401");
    access_control.set_password("keeper", Some(PASSWORD.into())).await.expect("set");
    let push = "PUT /v2/team/app/manifests/late";
    assert_eq!(finish(start(push, "{}").await).await, "400", "the request is authorised");
    let started = start(push, "{}").await;
    let grantee = "keeper".parse().expect("a grantee");
    let scope = "team/".parse().expect("a scope");
    access_control.revoke(grantee, scope).await.expect("revoked");
    assert_eq!(finish(started).await, "403");
}

/// The same for every operation of the API with a body, after the role was revoked.
#[tokio::test]
async fn every_api_change_checks_its_role_after_the_body() {
    let fixture = Fixture::new().await;
    let server = &fixture.server;
    add(server, "late", vec![(Scope::All, Role::Admin)]).await;
    let mut requests = Vec::new();
    for operation in operations(server, Some(("late", PASSWORD))).await {
        if !operation.takes_a_body {
            continue;
        }
        let (needs, query, body) = needs(&operation.id, "team/app");
        let body = body.expect("a body").to_string();
        let (start, end) = body.split_at(body.len() - 1);
        let path = operation.path.replace("/accounts/ann", "/accounts/puller");
        let encoded = base64(&format!("late:{PASSWORD}"));
        let length = body.len();
        let head = format!(
            "{} {path}{query} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {encoded}\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{start}",
            operation.method
        );
        let mut stream = server.connect().await;
        stream.write_all(head.as_bytes()).await.expect("sent");
        requests.push((operation.id, needs, stream, end.to_owned()));
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    server.access_control.revoke("late".parse().expect("a grantee"), Scope::All).await.expect("revoked");
    for (id, needs, mut stream, end) in requests {
        stream.write_all(end.as_bytes()).await.expect("sent");
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.expect("an answer");
        let is_for_users = matches!(needs, Needs::User);
        assert_eq!(&answer[9..] != b"403", is_for_users, "{id}: {}", String::from_utf8_lossy(&answer));
    }
    server.registry.flush_audit(false).await.expect("written");
    let entries = server.registry.metadata().audit(&AuditQuery::default(), 1000).await.expect("read").items;
    let entries_of_user: Vec<_> =
        entries.iter().filter(|entry| entry.audited.user.as_deref() == Some("late")).collect();
    assert!(entries_of_user.len() > 10, "{}", entries_of_user.len());
    for entry in entries_of_user.iter().filter(|entry| entry.audited.action.is_change()) {
        assert_eq!(entry.audited.outcome, AuditOutcome::Denied, "{entry:?}");
    }
}

/// A page of another site can make a browser send requests with the password that it remembers.
#[tokio::test]
async fn cross_site_requests_are_rejected() {
    let fixture = Fixture::new().await;
    for (site, status) in [("cross-site", 403), ("same-site", 403), ("same-origin", 202), ("none", 202)] {
        let post = fixture.server.post("/v2/team/app/blobs/uploads/").header("sec-fetch-site", site);
        let answer = with_credential(post, &Credential::Password("pusher")).send().await.expect("answer");
        assert_eq!(answer.status(), status, "{site}");
    }
}

/// A bearer token requested with an access token is limited to that token's scope, also for mounts.
#[tokio::test]
async fn bearer_token_of_access_token_mounts_only_within_its_scope() {
    let fixture = Fixture::new().await;
    let secret = fixture.access_token("admin", Role::Push, "team/").await;
    let request = fixture.server.get("/auth/token?scope=repository:team/new:pull,push");
    let request = request.basic_auth("admin", Some(&secret));
    let body: Value = request.send().await.expect("answer").json().await.expect("JSON");
    let credential = Credential::Bearer(body["token"].as_str().expect("a token").into());
    let there = digest(b"other/app");
    for from in ["", "&from=other/app"] {
        let path = format!("/v2/team/new/blobs/uploads/?mount={there}{from}");
        assert_eq!(fixture.send(&Method::POST, &path, None, &credential).await.status(), 202, "{from}");
    }
}

/// Names that differ only in case are easily confused by people who read a history.
#[tokio::test]
async fn rejects_user_name_that_differs_only_in_case() {
    let dir = tempfile::TempDir::new().expect("a folder");
    let users = dir.path().join("users");
    std::fs::write(&users, format!("ann:{}\n", bcrypt::hash("secret", 4).expect("hashed"))).expect("written");
    let server = Server::with(|setup| setup.access_control.htpasswd = Some(users)).await;
    add(&server, "olga", Vec::new()).await;
    add(&server, "olga2", Vec::new()).await;
    for (name, existing, robot) in [("Olga", "olga", false), ("OLGA", "olga", true), ("ANN", "ann", false)] {
        let password = Some(PASSWORD.to_owned());
        let new = NewAccount { name: name.into(), robot, password, grants: Vec::new() };
        let error = server.access_control.add_account(new, BY).await.expect_err("rejected").to_string();
        assert_eq!(error, format!("the name {name} differs from that of user {existing} only in case"));
        assert!(!server.access_control.has_user(name));
    }
    assert_eq!(server.access_control.look_alikes(), []);
}
