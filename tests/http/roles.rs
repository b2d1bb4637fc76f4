//! Every route, every kind of principal, every role: what is decided for each, against a rule written apart.

use std::sync::Arc;
use std::time::Duration;

use orlop::auth::{
    Authority, AuthoritySettings, By, Identities, KeySource, Modes, NewAccessToken, NewAccount, Provider,
    ProviderSettings, RuleSettings,
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

const BY: By<'static> = By { name: "test", now: Timestamp(1_000_000_000) };

/// How somebody comes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Comes {
    Alone,
    Wrong,
    /// By a password.
    As(&'static str),
    /// By an access token of this user.
    By(&'static str, String),
    /// By a token for these scopes, which this user asked for, or nobody.
    Bearer(Option<&'static str>, &'static [&'static str]),
    /// By that very token.
    Shown(String),
    /// By what a provider signed for a job that may push below `team/`.
    Job(String),
    /// By a token of another authority, for pushes to `team/app`.
    Outsider(String),
}

/// Users with what they may do: by themselves, by a team, by all users' right.
const USERS: [(&str, &str, Option<Role>); 8] = [
    ("nobody", "", None),
    ("puller", "team/", Some(Role::Pull)),
    ("pusher", "team/", Some(Role::Push)),
    ("deleter", "team/", Some(Role::Delete)),
    ("keeper", "team/", Some(Role::Admin)),
    ("member", "team/", Some(Role::Push)),
    ("viewer", "", Some(Role::Pull)),
    ("admin", "", Some(Role::Admin)),
];

const PASSWORD: &str = "correct horse";

/// Who asks for a token as a job does.
const JOB: &str = "job";

struct House {
    server: Server,
    issuer: Issuer,
}

impl House {
    /// Three repositories with an image each: `team/app`, `other/app`, and `public/app`, which everybody may pull.
    async fn new() -> Self {
        Self::with_identity_providers(true).await
    }

    /// The same, whether others' word counts there or not.
    async fn with_identity_providers(others: bool) -> Self {
        let issuer = Issuer::start(Key::ec("1")).await;
        let url = issuer.url.clone();
        let server = Server::with(|setup| {
            setup.access_control.modes = Modes::of(None).with_public(&["public/**".into()]).expect("globs");
            if others {
                setup.identities = Box::new(move |clock| believed(&url, &clock));
            }
        });
        let mut server = server.await;
        server.access_control.first_administrator(Some(PASSWORD.into()), Timestamp(0)).await.expect("made");
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
        access_control.set_disabled("disabled", true).await.expect("kept out");
        Self { server, issuer }
    }

    async fn access_token(&self, user: &str, role: Role, scope: &str) -> String {
        let (account, scope) = (user.to_owned(), scope.parse().expect("a scope"));
        let new = NewAccessToken { account, name: "ci".into(), role, scope, lifetime: None };
        self.server.access_control.add_token(new, BY).await.expect("made").1
    }

    /// What the provider signs for a job, for as long as a test takes.
    fn signed(&self) -> String {
        self.issuer.token(1_000_000, |claims| claims["exp"] = json!(1_000_000_000))
    }

    /// What the authority, which has the same key, signs for somebody.
    fn admitted(&self) -> String {
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
            Some(JOB) => request.basic_auth(JOB, Some(self.signed())),
            Some(user) => request.basic_auth(user, Some(PASSWORD)),
            None => request,
        };
        let told: Value = request.send().await.expect("answer").json().await.expect("JSON");
        told["token"].as_str().expect("a token").to_owned()
    }

    async fn callers(&self) -> Vec<Comes> {
        let mut callers = vec![Comes::Alone, Comes::Wrong, Comes::As("disabled")];
        callers.extend(USERS.map(|(name, ..)| Comes::As(name)));
        callers.push(Comes::By("admin", self.access_token("admin", Role::Pull, "team/").await));
        callers.push(Comes::By("puller", self.access_token("puller", Role::Admin, "").await));
        const PUSH: &[&str] = &["repository:team/app:pull,push", "repository:other/app:pull,push"];
        const ALL: &[&str] = &["repository:team/app:*", "repository:other/app:*", "registry:catalog:*"];
        for (user, scopes) in [
            (Some("pusher"), PUSH),
            (Some("admin"), ALL),
            (Some("nobody"), ALL),
            (Some(JOB), ALL),
            (None, ALL),
        ] {
            callers.push(Comes::Bearer(user, scopes));
        }
        callers.push(Comes::Job(self.signed()));
        callers.push(Comes::Outsider(self.admitted()));
        callers
    }

    async fn send(&self, method: &Method, path: &str, body: Option<&Value>, comes: &Comes) -> Response {
        // LoginThrottle are slowed down; this is about what they open.
        self.server.clock.advance(Duration::from_secs(5));
        let request = self.server.request(method.clone(), path);
        let request = body.map_or(request.try_clone().expect("a request"), |body| request.json(body));
        let request = match comes {
            Comes::Bearer(user, scopes) => request.bearer_auth(self.bearer(*user, scopes).await),
            _ => showing(request, comes),
        };
        request.send().await.expect("answer")
    }
}

/// A provider whose jobs push below `team/`, and another authority with the same key.
fn believed(url: &str, clock: &Arc<ManualClock>) -> Identities {
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
        keys: KeySource::Set(format!("{url}/keys").parse().expect("a URL")),
    };
    Identities::new(vec![provider], Some(Authority::new(authority, client, clock.clone())))
}

async fn push_as_admin(server: &mut Server, repository: &str) {
    let shown = format!("Basic {}", base64(&format!("admin:{PASSWORD}"))).parse().expect("a header");
    let as_admin = Client::builder().default_headers([(AUTHORIZATION, shown)].into_iter().collect());
    let alone = std::mem::replace(&mut server.client, as_admin.build().expect("a client"));
    server.push_image(repository, "v1", repository.as_bytes()).await;
    server.client = alone;
}

async fn add(server: &Server, name: &str, grants: Vec<(Scope, Role)>) {
    let password = Some(PASSWORD.to_owned());
    let new = NewAccount { name: name.into(), robot: false, password, grants };
    server.access_control.add_account(new, BY).await.expect("made");
}

fn showing(request: RequestBuilder, comes: &Comes) -> RequestBuilder {
    match comes {
        Comes::Alone => request,
        Comes::Wrong => request.basic_auth("admin", Some("mistaken")),
        Comes::As(name) => request.basic_auth(name, Some(PASSWORD)),
        Comes::By(name, token) => request.basic_auth(name, Some(token)),
        Comes::Job(token) => request.basic_auth(JOB, Some(token)),
        Comes::Shown(token) | Comes::Outsider(token) => request.bearer_auth(token),
        Comes::Bearer(..) => unreachable!("it is asked for first"),
    }
}

/// What a user has on a repository, or on all below a prefix, or on everything.
fn role_of(user: &str, place: &str) -> Option<Role> {
    if user == JOB {
        // It is no user, and has what all users have no more than everybody.
        let public = place.starts_with("public/").then_some(Role::Pull);
        return if place.starts_with("team/") { Some(Role::Push) } else { public };
    }
    let (_, scope, role) = USERS.into_iter().find(|(name, ..)| *name == user).expect("a user");
    let public = if place.starts_with("public/") { Some(Role::Push) } else { None };
    role.filter(|_| place.starts_with(scope)).max(public)
}

/// What somebody has on a place, without a look at how the registry decides it.
fn role(comes: &Comes, place: &str) -> Option<Role> {
    let everybody = if place.starts_with("public/") { Some(Role::Pull) } else { None };
    match comes {
        Comes::Alone => everybody,
        Comes::Wrong | Comes::As("disabled") => None,
        Comes::As(name) => role_of(name, place),
        // The token of the administrator is good for pulls below team/, the other for whatever its user may.
        Comes::By("admin", _) => {
            role_of("admin", place).min(Some(Role::Pull)).filter(|_| place.starts_with("team/"))
        }
        Comes::By(name, _) => role_of(name, place),
        Comes::Job(_) => role_of(JOB, place),
        Comes::Outsider(_) => (place == "team/app").then_some(Role::Push),
        Comes::Shown(_) => unreachable!("of it nothing is known"),
        Comes::Bearer(user, scopes) => {
            let asked = scopes.iter().find_map(|scope| scope.strip_prefix(&format!("repository:{place}:")));
            let most = asked.map(|actions| if actions == "*" { Role::Delete } else { Role::Push });
            user.map_or(everybody, |user| role_of(user, place)).min(most)
        }
    }
}

fn base64(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(text)
}

fn is_known(comes: &Comes) -> bool {
    !matches!(
        comes,
        Comes::Alone | Comes::Wrong | Comes::As("disabled") | Comes::Bearer(None, ..) | Comes::Outsider(_)
    )
}

/// Who is refused is asked who they are where they did not say it, or where their token is for less than they may do.
fn refusal(comes: &Comes, needed: Role, place: &str) -> u16 {
    match comes {
        Comes::Bearer(Some(user), ..) if role_of(user, place) >= Some(needed) => 401,
        _ if is_known(comes) => 403,
        _ => 401,
    }
}

#[tokio::test]
async fn every_endpoint_is_for_whom_it_is_for() {
    let house = House::new().await;
    let digest = digest(b"a");
    let callers = house.callers().await;
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
                for comes in &callers {
                    let method = method.parse().expect("a method");
                    let status = house.send(&method, &path, None, comes).await.status().as_u16();
                    let told = format!("{comes:?} {method} {path}: {status}");
                    if role(comes, repository) >= Some(needed) {
                        assert!(status != 401 && status != 403, "{told}");
                    } else {
                        assert_eq!(status, refusal(comes, needed, repository), "{told}");
                    }
                }
            }
        }
    }
}

/// What an operation of the API needs.
#[derive(Debug, Clone, Copy)]
enum Needs {
    /// A role on the repository that it is about.
    There(Role),
    /// The same by a right of one's own, whoever is trusted with changes.
    Everywhere(Role),
    /// To be a user.
    User,
    /// To be the user that it is about, which is `puller`, or to administer everything.
    Self_,
}

/// A line for each operation of the API, with the query and the body that name the repository where its path does not.
/// One that is not here fails.
fn needs(operation: &str, repository: &str) -> (Needs, String, Option<Value>) {
    use Needs::{Everywhere, Self_, There, User};
    use Role::{Admin, Delete, Pull, Push};
    let none = String::new;
    let scope = format!("?scope={repository}");
    let about = format!("?repository={repository}");
    match operation {
        "getDocument" | "getStatus" | "listPresets" => (User, none(), None),
        "importPolicies" => (Everywhere(Admin), "?from=ecr".into(), Some(json!({ "rules": [] }))),
        "listRepositories" | "listGrants" | "listOrganisations" => (User, none(), None),
        "getRepository"
        | "listTags"
        | "getTag"
        | "getManifest"
        | "getTagHistory"
        | "getRepositoryHistory"
        | "getRepositoryWork" => (There(Pull), none(), None),
        "getUsage" => (There(Pull), scope, None),
        "listAudit" => (There(Admin), scope, None),
        "listTrash" | "getPlan" => (There(Pull), about, None),
        "getWhy" => (There(Pull), format!("{about}&reference=v1"), None),
        "putTag" => (There(Push), none(), Some(json!({ "digest": ANY_DIGEST }))),
        "rollBackTag" => (There(Push), none(), Some(json!({}))),
        "deleteTag" | "deleteManifest" => (There(Delete), none(), None),
        "deleteRepository" => (There(Admin), none(), None),
        "restoreRepository" => (There(Admin), none(), Some(json!({}))),
        "renameRepository" => (There(Admin), none(), Some(json!({ "to": format!("{repository}/new") }))),
        "restoreFromTrash" => {
            (There(Admin), none(), Some(json!({ "repository": repository, "tag": "none" })))
        }
        "listUsageDays" | "getScrub" | "listDamaged" | "listEvents" | "listPolicies"
        | "listPolicyChanges" | "listRuns" => (Everywhere(Pull), none(), None),
        "checkPolicy" => (Everywhere(Admin), none(), Some(json!({ "name": "a" }))),
        "emptyTrash" => (Everywhere(Admin), none(), Some(json!({ "repository": repository }))),
        "putPolicy" => (Everywhere(Admin), none(), Some(json!({ "repositories": ["none"] }))),
        "deletePolicy" => (Everywhere(Admin), none(), None),
        "applyPlan" => (Everywhere(Admin), none(), Some(json!({ "repository": repository }))),
        "listAccounts" | "removeAccount" | "addOrganisation" | "removeOrganisation" | "addTeam"
        | "removeTeam" | "joinTeam" | "leaveTeam" | "revokeToken" => (Everywhere(Admin), none(), None),
        "rotateKey" => (Everywhere(Admin), none(), Some(json!({}))),
        "addAccount" => (Everywhere(Admin), none(), Some(json!({ "password": "x" }))),
        "getAccount" => (Self_, none(), None),
        "updateAccount" => (Self_, none(), Some(json!({}))),
        "listTokens" => (Self_, "?account=puller".into(), None),
        "addToken" => (Self_, none(), Some(json!({ "account": "puller", "role": "pull", "seconds": 1 }))),
        "setGrant" => (
            There(Admin),
            none(),
            Some(json!({ "grantee": "nobody/none", "scope": repository, "role": "pull" })),
        ),
        "removeGrant" => (There(Admin), format!("?grantee=nobody&scope={repository}"), None),
        "can" => (Self_, format!("?user=puller&action=pull&repository={repository}"), None),
        other => panic!("{other} is not decided here"),
    }
}

/// Whether somebody may: tokens that clients get by themselves are not for the API's lists, nor for accounts.
fn may(needs: Needs, comes: &Comes, place: &str) -> bool {
    match needs {
        Needs::There(needed) => role(comes, place) >= Some(needed),
        Needs::Everywhere(needed) => role(comes, "") >= Some(needed),
        Needs::User => is_known(comes),
        Needs::Self_ => *comes == Comes::As("puller") || role(comes, "") >= Some(Role::Admin),
    }
}

#[tokio::test]
async fn every_operation_of_the_api_is_for_whom_it_is_for() {
    let house = House::new().await;
    let callers = house.callers().await;
    for operation in operations(&house.server, Some(("admin", PASSWORD))).await {
        for repository in ["team/app", "other/app"] {
            let (needs, query, body) = needs(&operation.id, repository);
            let path = operation.path.replace("team%2Fapp", &repository.replace('/', "%2F"));
            let path = path.replace(
                "/accounts/ann",
                if operation.id == "addAccount" { "/accounts/new" } else { "/accounts/puller" },
            );
            // They would be gone for the others.
            let path = path.replace("/organisations/acme", "/organisations/none");
            let path = if operation.id == "removeAccount" { path.replace("puller", "none") } else { path };
            for comes in &callers {
                // The API is for users: of what everybody may pull, it tells nothing.
                if matches!(comes, Comes::Bearer(..) | Comes::Outsider(_)) {
                    let status =
                        house.send(&operation.method, &format!("{path}{query}"), body.as_ref(), comes).await;
                    assert_eq!(status.status(), 401, "{comes:?} {}", operation.id);
                    continue;
                }
                let target = format!("{path}{query}");
                let status =
                    house.send(&operation.method, &target, body.as_ref(), comes).await.status().as_u16();
                let told = format!("{comes:?} {} {target}: {status}", operation.method);
                if may(needs, comes, repository) {
                    assert!(status != 401 && status != 403, "{told}");
                } else {
                    assert_eq!(status, if is_known(comes) { 403 } else { 401 }, "{told}");
                }
            }
        }
    }
}

#[tokio::test]
async fn lists_show_what_may_be_read() {
    let house = House::new().await;
    let names = async |comes: &Comes, path: &str, at: &str| -> Vec<String> {
        let told: Value = house.send(&Method::GET, path, None, comes).await.json().await.expect("JSON");
        let items = told[at].as_array().expect("a list").iter();
        items.map(|item| item["name"].as_str().or(item.as_str()).expect("a name").to_owned()).collect()
    };
    for (comes, shown) in [
        (Comes::As("admin"), vec!["other/app", "public/app", "team/app"]),
        (Comes::As("viewer"), vec!["other/app", "public/app", "team/app"]),
        (Comes::As("puller"), vec!["public/app", "team/app"]),
        (Comes::As("nobody"), vec!["public/app"]),
    ] {
        assert_eq!(names(&comes, "/v2/_catalog", "repositories").await, shown, "{comes:?}");
        assert_eq!(names(&comes, "/api/v1/repositories", "items").await, shown, "{comes:?}");
        let Comes::As(name) = comes else { unreachable!("they are users") };
        let bearer = Comes::Bearer(Some(name), &["registry:catalog:*"]);
        assert_eq!(names(&bearer, "/v2/_catalog", "repositories").await, shown, "{bearer:?}");
        assert_eq!(names(&comes, "/v2/_catalog?n=1", "repositories").await, shown[..1], "{comes:?}");
        let page = house.send(&Method::GET, "/v2/_catalog?n=1", None, &comes).await;
        let more = page.headers().contains_key("link");
        let last = format!("/v2/_catalog?n=5&last={}", shown[0]);
        assert_eq!(names(&comes, &last, "repositories").await, shown[1..], "{comes:?}");
        // Of what comes behind, and may not be read, not even that it is there is told.
        assert_eq!(more, shown.len() > 1, "{comes:?}");
    }
}

/// What a list shows is what its principal may pull, however they come.
#[tokio::test]
async fn lists_show_to_every_caller_what_they_may_pull() {
    const NAMES: [&str; 3] = ["other/app", "public/app", "team/app"];
    let house = House::new().await;
    let pullable = |comes: &Comes| -> Vec<&str> {
        let role_there = |name: &str| match comes {
            // A token for the catalog shows all that whoever asked for it may pull.
            Comes::Bearer(Some(user), _) => role_of(user, name),
            Comes::Bearer(None, _) => role(&Comes::Alone, name),
            comes => role(comes, name),
        };
        NAMES.into_iter().filter(|name| role_there(name).is_some()).collect()
    };
    let mut answered = 0;
    for comes in house.callers().await {
        for (path, at) in [("/v2/_catalog", "repositories"), ("/api/v1/repositories?sort=pushed", "items")] {
            let response = house.send(&Method::GET, path, None, &comes).await;
            if response.status() != 200 {
                assert!(matches!(response.status().as_u16(), 401 | 403), "{comes:?} {path}");
                continue;
            }
            let told: Value = response.json().await.expect("JSON");
            let items = told[at].as_array().expect("a list").iter();
            let mut names: Vec<_> =
                items.map(|item| item["name"].as_str().or(item.as_str()).expect("a name")).collect();
            names.sort_unstable();
            let expected = pullable(&comes);
            if at == "items" && matches!(comes, Comes::Bearer(..)) {
                assert!(names.iter().all(|name| expected.contains(name)), "{comes:?} {names:?}");
            } else {
                assert_eq!(names, expected, "{comes:?} {path}");
            }
            answered += 1;
        }
    }
    assert!(answered > 15, "{answered}");
}

async fn usage(house: &House, user: &'static str, scope: &str) -> Value {
    let path = format!("/api/v1/usage?scope={scope}");
    let response = house.send(&Method::GET, &path, None, &Comes::As(user)).await;
    assert_eq!(response.status(), 200, "{user} {scope}");
    response.json().await.expect("JSON")
}

/// A report about a part of the registry tells nothing of the rest: not how much is pushed there, nor used of a quota.
#[tokio::test]
async fn usage_of_a_scope_tells_nothing_of_the_rest() {
    let mut house = House::new().await;
    let quota = |scope: &str| Quota { bytes: Some(1 << 20), ..Quota::of(scope.parse().expect("a scope")) };
    let quotas = ["", "team/", "secret/"].map(quota);
    house.server.registry.metadata().set_quotas(&quotas).await.expect("set");
    let before = usage(&house, "puller", "team/").await;
    assert_eq!(before["usage"]["repositories"], 1);
    assert_eq!(before["quotas"].as_array().map(Vec::len), Some(1), "{before}");
    push_as_admin(&mut house.server, "secret/app").await;
    assert_eq!(usage(&house, "puller", "team/").await, before);
    assert_eq!(usage(&house, "admin", "team/").await["store"], Value::Null);
    assert!(usage(&house, "viewer", "").await["store"]["blobs"].as_u64() > Some(0));
    let refused = house.send(&Method::GET, "/api/v1/usage", None, &Comes::As("puller")).await;
    assert_eq!(refused.status(), 403);
}

/// A mount takes nothing from where its principal may not read, and does not tell whether it is there.
#[tokio::test]
async fn a_mount_leaks_nothing() {
    let house = House::new().await;
    let there = digest(b"other/app").to_string();
    let nowhere = digest(b"nowhere").to_string();
    let mount = async |comes: &Comes, blob: &str, from: &str| {
        let path = format!("/v2/team/new/blobs/uploads/?mount={blob}{from}");
        house.send(&Method::POST, &path, None, comes).await.status().as_u16()
    };
    for comes in
        [Comes::As("pusher"), Comes::By("keeper", house.access_token("keeper", Role::Admin, "").await)]
    {
        for from in ["", "&from=other/app", "&from=other/none"] {
            assert_eq!(mount(&comes, &there, from).await, 202, "{comes:?} {from}");
            assert_eq!(mount(&comes, &nowhere, from).await, 202, "{comes:?} {from}");
        }
        let head = house.send(&Method::HEAD, &format!("/v2/team/new/blobs/{there}"), None, &comes).await;
        assert_eq!(head.status(), 404);
    }
    assert_eq!(mount(&Comes::As("pusher"), &digest(b"team/app").to_string(), "&from=team/app").await, 201);
    assert_eq!(mount(&Comes::As("admin"), &there, "").await, 201);
    let open = digest(b"public/app").to_string();
    for theirs in [digest(b"team/app").to_string(), open] {
        assert_eq!(mount(&Comes::As("pusher"), &theirs, "").await, 201, "it is where they may pull");
    }
    // Whose token is for less than they may do gets another; whose is for all that they may do goes on.
    let push: &[&str] = &["repository:team/new:pull,push"];
    let bearer = Comes::Bearer(Some("pusher"), push);
    assert_eq!(mount(&bearer, &digest(b"team/app").to_string(), "&from=team/app").await, 401);
    assert_eq!(mount(&bearer, &there, "&from=other/app").await, 202);
}

/// What is absent and what may not be read are told in the same words.
#[tokio::test]
async fn the_unreadable_looks_like_the_absent() {
    let house = House::new().await;
    for comes in [Comes::Alone, Comes::As("nobody"), Comes::As("pusher")] {
        for below in ["tags/list", "manifests/v1", "referrers/DIGEST", "blobs/DIGEST", "blobs/uploads/"] {
            for method in [Method::GET, Method::HEAD, Method::PUT, Method::POST, Method::DELETE] {
                let mut told = Vec::new();
                for repository in ["other/app", "other/nil"] {
                    let below = below.replace("DIGEST", digest(b"other/app").as_str());
                    let answer =
                        house.send(&method, &format!("/v2/{repository}/{below}"), None, &comes).await;
                    let (status, headers) = (answer.status(), format!("{:?}", answer.headers()));
                    let body = answer.text().await.expect("a body");
                    let headers: String = headers.split("\"date\"").next().expect("a part").into();
                    told.push((status, headers.replace("app", "nil"), body.replace("app", "nil")));
                }
                assert_eq!(told[0], told[1], "{comes:?} {method} {below}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_taken_away_is_gone_at_once() {
    let house = House::with_identity_providers(false).await;
    let access_control = &house.server.access_control;
    let pull = async |comes: &Comes| {
        house.send(&Method::GET, "/v2/team/app/manifests/v1", None, comes).await.status().as_u16()
    };
    let scopes: &[&str] = &["repository:team/app:pull"];
    let token = Comes::By("puller", house.access_token("puller", Role::Pull, "team/").await);
    let told: Value = {
        let request = house.server.get("/auth/token?scope=repository:team/app:pull");
        showing(request, &token).send().await.expect("answer").json().await.expect("JSON")
    };
    let by_token = Comes::Shown(told["token"].as_str().expect("a token").into());
    let by_password = Comes::Shown(house.bearer(Some("puller"), scopes).await);
    let all = [Comes::As("puller"), token.clone(), by_token.clone(), by_password.clone()];
    for comes in &all {
        assert_eq!(pull(comes).await, 200, "{comes:?}");
    }
    let id = access_control
        .accounts()
        .now()
        .records()
        .tokens
        .iter()
        .find(|token| token.account == "puller")
        .expect("one")
        .id
        .clone();
    access_control.revoke_token(&id).await.expect("revoked");
    for (comes, status) in [(&token, 401), (&by_token, 401), (&by_password, 200)] {
        assert_eq!(pull(comes).await, status, "{comes:?}");
    }
    assert!(pull(&Comes::As("puller")).await == 200);
    access_control.set_disabled("puller", true).await.expect("kept out");
    for comes in &all {
        assert_eq!(pull(comes).await, 401, "{comes:?}");
    }
    access_control.set_disabled("puller", false).await.expect("let in");
    assert_eq!(pull(&by_password).await, 200);
    let (grantee, scope) = ("puller".parse().expect("a grantee"), "team/".parse().expect("a scope"));
    access_control.revoke(grantee, scope).await.expect("taken away");
    assert_eq!((pull(&Comes::As("puller")).await, pull(&by_password).await), (403, 403));
    access_control.set_password("puller", Some("another one".into())).await.expect("set");
    assert_eq!((pull(&Comes::As("puller")).await, pull(&by_password).await), (401, 401));
    // Nobody opens the registry by a slip.
    for (name, ..) in USERS.into_iter().filter(|(name, ..)| !["admin", "pusher"].contains(name)) {
        access_control.remove_account(name).await.expect("removed");
    }
    access_control.remove_account("disabled").await.expect("removed");
    assert!(access_control.remove_account("pusher").await.is_err(), "it is the last");
    assert!(access_control.remove_account("admin").await.is_err());
    // An access token ends by its time.
    let (account, scope, lifetime) = ("pusher".into(), Scope::All, Some(Duration::from_secs(3600)));
    let new = NewAccessToken { account, name: String::new(), role: Role::Pull, scope, lifetime };
    let made = access_control.add_token(new, By { now: house.server.clock.now(), ..BY }).await.expect("made");
    let token = Comes::By("pusher", made.1);
    assert_eq!(pull(&token).await, 200);
    house.server.clock.advance(Duration::from_secs(3600));
    assert_eq!(pull(&token).await, 401);
}

/// What is decided when a request's head comes counts no more when its body comes later.
#[tokio::test]
async fn a_body_that_comes_late_changes_nothing_for_who_is_out() {
    let house = House::new().await;
    // All of a request but its last byte, and then that.
    let begin = async |line: &str, body: &str| {
        let mut stream = house.server.connect().await;
        let (encoded, length) = (base64(&format!("keeper:{PASSWORD}")), body.len());
        let head = format!(
            "{line} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {encoded}\r\nContent-Length: {length}\r\n\
             Content-Type: application/json\r\n\r\n{}",
            &body[..length - 1]
        );
        stream.write_all(head.as_bytes()).await.expect("sent");
        tokio::time::sleep(Duration::from_millis(300)).await;
        stream
    };
    let end = async |mut stream: TcpStream| {
        stream.write_all(b"}").await.expect("sent");
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.expect("an answer");
        String::from_utf8_lossy(&answer[9..]).into_owned()
    };
    let access_control = &house.server.access_control;
    let change = begin("PATCH /api/v1/accounts/keeper", r#"{"password":"mine again"}"#).await;
    access_control.set_password("keeper", Some("another one".into())).await.expect("set");
    assert_eq!(end(change).await, "401");
    access_control.set_password("keeper", Some(PASSWORD.into())).await.expect("set");
    let push = "PUT /v2/team/app/manifests/late";
    assert_eq!(end(begin(push, "{}").await).await, "400", "it comes that far");
    let begun = begin(push, "{}").await;
    let (grantee, scope) = ("keeper".parse().expect("a grantee"), "team/".parse().expect("a scope"));
    access_control.revoke(grantee, scope).await.expect("taken away");
    assert_eq!(end(begun).await, "403");
}

/// The same for every operation of the API that has a body, and for roles alone.
#[tokio::test]
async fn every_change_decides_its_right_when_its_body_has_come() {
    let house = House::new().await;
    let server = &house.server;
    add(server, "late", vec![(Scope::All, Role::Admin)]).await;
    let mut begun = Vec::new();
    for operation in operations(server, Some(("late", PASSWORD))).await {
        if !operation.takes_a_body {
            continue;
        }
        let (needs, query, body) = needs(&operation.id, "team/app");
        let body = body.expect("a body").to_string();
        let (start, end) = body.split_at(body.len() - 1);
        let path = operation.path.replace("/accounts/ann", "/accounts/puller");
        let (encoded, length) = (base64(&format!("late:{PASSWORD}")), body.len());
        let head = format!(
            "{} {path}{query} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {encoded}\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{start}",
            operation.method
        );
        let mut stream = server.connect().await;
        stream.write_all(head.as_bytes()).await.expect("sent");
        begun.push((operation.id, needs, stream, end.to_owned()));
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    server.access_control.revoke("late".parse().expect("a grantee"), Scope::All).await.expect("revoked");
    for (id, needs, mut stream, end) in begun {
        stream.write_all(end.as_bytes()).await.expect("sent");
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.expect("an answer");
        let is_for_users = matches!(needs, Needs::User);
        assert_eq!(&answer[9..] != b"403", is_for_users, "{id}: {}", String::from_utf8_lossy(&answer));
    }
    server.registry.flush_audit(false).await.expect("written");
    let entries = server.registry.metadata().audit(&AuditQuery::default(), 1000).await.expect("read").items;
    let theirs: Vec<_> =
        entries.iter().filter(|entry| entry.audited.user.as_deref() == Some("late")).collect();
    assert!(theirs.len() > 10, "{}", theirs.len());
    for entry in theirs.iter().filter(|entry| entry.audited.action.is_change()) {
        assert_eq!(entry.audited.outcome, AuditOutcome::Denied, "{entry:?}");
    }
}

/// A page of another site makes a browser ask with the password that it remembers.
#[tokio::test]
async fn other_sites_change_nothing() {
    let house = House::new().await;
    for (site, status) in [("cross-site", 403), ("same-site", 403), ("same-origin", 202), ("none", 202)] {
        let post = house.server.post("/v2/team/app/blobs/uploads/").header("sec-fetch-site", site);
        let answer = showing(post, &Comes::As("pusher")).send().await.expect("answer");
        assert_eq!(answer.status(), status, "{site}");
    }
}

/// A token of a token reaches no further than that, be it for a mount.
#[tokio::test]
async fn a_token_got_with_an_access_token_mounts_nothing_from_elsewhere() {
    let house = House::new().await;
    let secret = house.access_token("admin", Role::Push, "team/").await;
    let request = house.server.get("/auth/token?scope=repository:team/new:pull,push");
    let request = request.basic_auth("admin", Some(&secret));
    let told: Value = request.send().await.expect("answer").json().await.expect("JSON");
    let comes = Comes::Shown(told["token"].as_str().expect("a token").into());
    let there = digest(b"other/app");
    for from in ["", "&from=other/app"] {
        let path = format!("/v2/team/new/blobs/uploads/?mount={there}{from}");
        assert_eq!(house.send(&Method::POST, &path, None, &comes).await.status(), 202, "{from}");
    }
}

/// Names that differ by case only are told apart by no one who reads a history.
#[tokio::test]
async fn no_new_user_looks_like_another() {
    let dir = tempfile::TempDir::new().expect("a folder");
    let users = dir.path().join("users");
    std::fs::write(&users, format!("ann:{}\n", bcrypt::hash("secret", 4).expect("hashed"))).expect("written");
    let server = Server::with(|setup| setup.access_control.htpasswd = Some(users)).await;
    add(&server, "olga", Vec::new()).await;
    add(&server, "olga2", Vec::new()).await;
    for (name, existing, robot) in [("Olga", "olga", false), ("OLGA", "olga", true), ("ANN", "ann", false)] {
        let password = Some(PASSWORD.to_owned());
        let new = NewAccount { name: name.into(), robot, password, grants: Vec::new() };
        let refused = server.access_control.add_account(new, BY).await.expect_err("refused").to_string();
        assert_eq!(refused, format!("the name {name} differs from that of the user {existing} by case only"));
        assert!(!server.access_control.knows(name));
    }
    assert_eq!(server.access_control.look_alikes(), []);
}
