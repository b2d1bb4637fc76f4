//! Tests of the pages about one repository, its tags and its manifests, and of their actions.

use std::time::Duration;

use orlop::auth::{AnonymousMode, AnonymousModes};
use orlop::http::api::Changes;
use orlop::oci::{Digest, RepoName, Tag};
use orlop::registry::{Access, TagGuard};
use orlop::retention::{Policies, TagList};
use reqwest::StatusCode;
use reqwest::redirect::Policy;
use serde_json::json;

use crate::browser::{ESCAPED, HOSTILE, Shown};
use crate::kit::*;

/// The first characters of a digest, as pages show them.
fn short(digest: &Digest) -> &str {
    &digest.hex()[..12]
}

/// An anonymous visitor with a cookie.
struct Browser<'s> {
    server: &'s Server,
    client: reqwest::Client,
    cookie: String,
    csrf: String,
}

impl<'s> Browser<'s> {
    /// Opens a page for the first time, which sets the cookie and has the token of all forms.
    async fn new(server: &'s Server, path: &str) -> Self {
        let client = reqwest::Client::builder().redirect(Policy::none()).build().expect("a client");
        let response = client.get(format!("http://{}{path}", server.address)).send().await.expect("answer");
        let cookie = text(response.headers(), "set-cookie");
        let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        let page = Shown::of(response).await;
        let csrf = page.text.split(r#"name="csrf" value=""#).nth(1).and_then(|rest| rest.split('"').next());
        Self { server, client, cookie, csrf: csrf.unwrap_or_default().to_owned() }
    }

    async fn get(&self, path: &str) -> Shown {
        let url = format!("http://{}{path}", self.server.address);
        let request = self.client.get(url).header("cookie", &self.cookie);
        Shown::of(request.send().await.expect("answer")).await
    }

    async fn send(&self, action: &str, fields: &[(&str, &str)], csrf: &str) -> Shown {
        let url = format!("http://{}/actions/{action}", self.server.address);
        let fields: Vec<_> = fields.iter().copied().chain([("csrf", csrf)]).collect();
        let request = self.client.post(url).header("cookie", &self.cookie).form(&fields);
        Shown::of(request.send().await.expect("answer")).await
    }

    async fn act(&self, action: &str, fields: &[(&str, &str)]) -> Shown {
        self.send(action, fields, &self.csrf).await
    }
}

async fn open_server() -> Server {
    Server::with(|setup| setup.changes = Changes::Anyone).await
}

fn descriptor(digest: &Digest, media_type: &str) -> serde_json::Value {
    json!({ "mediaType": media_type, "digest": digest.as_str(), "size": size_of(digest) })
}

async fn push_manifest(server: &Server, repo: &str, reference: &str, manifest: &serde_json::Value) -> Digest {
    let text = manifest.to_string();
    let response = server.put_manifest(repo, reference, &text).await;
    assert_eq!(response.status(), 201, "{:?}", response.text().await);
    digest(text.as_bytes())
}

/// Makes all tags immutable that start with `v`.
struct Releases;

impl TagGuard for Releases {
    fn is_immutable(&self, _: &RepoName, tag: &Tag) -> bool {
        tag.as_str().starts_with('v')
    }
}

#[tokio::test]
async fn a_repository_lists_its_tags() {
    let server = open_server().await;
    let (_, image) = server.push_image("team/app", "latest", b"one").await;
    server.push_image("team/app", "1.0", b"two").await;
    let browser = Browser::new(&server, "/r/team/app").await;
    browser
        .act("tags/add", &[("repository", "team/app"), ("tag", "stable"), ("digest", image.as_str())])
        .await;
    let page = browser.get("/r/team/app").await;
    assert_eq!(page.status, StatusCode::OK);
    page.shows("<h1>team/app</h1>")
        .shows(r#"<a href="/repositories?prefix=team%2F">team</a>"#)
        .shows(r#"<a href="/r/team/app:latest">latest</a>"#)
        .shows(&format!(r#"href="/r/team/app@{image}">{}</a>"#, short(&image)))
        .shows(&format!("docker pull {}/team/app:latest", server.address))
        // The other tag of the same digest.
        .shows(r#"also <a href="/r/team/app:latest">latest</a>"#)
        .shows(r#"name="tag" value="1.0""#)
        .shows(r#"href="/untagged/team/app""#)
        .shows(r#"href="/manage/team/app""#);
    browser.get("/r/team/app?search=stab").await.shows(r#"href="/r/team/app:stable""#).hides(r#"app:1.0""#);
    let page = browser.get("/r/team/app?search=none").await;
    page.shows("No tag has “none” in its name.");
    assert_eq!(browser.get("/r/team/app?sort=colour").await.status, StatusCode::BAD_REQUEST);
    for missing in ["/r/other", "/r/team/app:none", "/r/Team", "/r/team/app:", "/r/team/app@sha256:00", "/r/"]
    {
        assert_eq!(browser.get(missing).await.status, StatusCode::NOT_FOUND, "{missing}");
    }
}

#[tokio::test]
async fn a_long_list_of_tags_has_pages() {
    let server = open_server().await;
    let (manifest, _) = server.push_image("app", "t00", b"layer").await;
    for number in 1..52 {
        let response = server.put_manifest("app", &format!("t{number:02}"), &manifest).await;
        assert_eq!(response.status(), 201);
    }
    let browser = Browser::new(&server, "/r/app").await;
    let first = browser.get("/r/app?sort=name&order=asc").await;
    first.shows(r#"href="/r/app:t49""#).hides(r#"<a href="/r/app:t50">t50</a>"#);
    let next = first.text.split(r#"rel="next""#).next().and_then(|text| text.rsplit(r#"href=""#).next());
    let next = next.expect("a next page").trim().trim_end_matches('"').replace("&#38;", "&");
    let second = browser.get(&next).await;
    second
        .shows(r#"<a href="/r/app:t51">t51</a>"#)
        .shows("First page")
        .hides(r#"<a href="/r/app:t49">t49</a>"#);
}

#[tokio::test]
async fn several_tags_are_deleted_and_failures_are_named() {
    let server = open_server().await;
    for tag in ["v1", "a", "b", "c"] {
        server.push_image("app", tag, tag.as_bytes()).await;
    }
    server.registry.guard_tags(std::sync::Arc::new(Releases));
    let browser = Browser::new(&server, "/r/app").await;
    let repository = ("repository", "app");
    let both = browser.act("tags/delete", &[repository, ("tag", "a"), ("tag", "b")]).await;
    assert_eq!((both.status, both.location.as_str()), (StatusCode::SEE_OTHER, "/r/app?notice=tags-deleted"));
    browser.get(&both.location).await.shows("Deleted. You can restore it from the trash.").hides("app:a\"");
    let some = browser.act("tags/delete", &[repository, ("tag", "c"), ("tag", "v1"), ("tag", "none")]).await;
    assert_eq!(some.status, StatusCode::CONFLICT);
    some.shows(r#"<li class="break">c</li>"#)
        .shows(r#"<a href="/r/app:v1">v1</a></td><td>"#)
        .shows("immutable")
        .shows(r#"<a href="/r/app:none">none</a></td><td>"#)
        .hides(r#"<li class="break">v1</li>"#);
    let single = browser.act("tags/delete", &[repository, ("tag", "v1")]).await;
    assert_eq!(single.status, StatusCode::FORBIDDEN);
    assert_eq!(browser.act("tags/delete", &[repository]).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(server.get("/v2/app/tags/list").send().await.expect("answer").text().await.expect("text"), {
        r#"{"name":"app","tags":["v1"]}"#
    });
    let log = server.get("/api/v1/audit?action=tag-delete").send().await.expect("answer").status();
    assert_eq!(log, StatusCode::UNAUTHORIZED, "anonymous users can't read the audit log");
}

#[tokio::test]
async fn actions_need_the_token_of_a_form() {
    let server = open_server().await;
    let (_, image) = server.push_image("app", "a", b"one").await;
    let browser = Browser::new(&server, "/r/app").await;
    assert_eq!(browser.csrf.len(), 32);
    let fields = [
        ("repository", "app"),
        ("tag", "a"),
        ("digest", image.as_str()),
        ("to", "other"),
        ("confirmation", "app"),
    ];
    for action in [
        "tags/delete",
        "tags/add",
        "tags/rollback",
        "manifests/delete",
        "repositories/delete",
        "repositories/restore",
        "repositories/rename",
    ] {
        let refused = browser.send(action, &fields, "00000000000000000000000000000000").await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{action}");
    }
    assert_eq!(browser.get("/r/app:a").await.status, StatusCode::OK);
}

#[tokio::test]
async fn anonymous_visitors_of_an_open_registry_only_look() {
    let server = Server::start().await;
    let (_, image) = server.push_image("app", "a", b"one").await;
    let browser = Browser::new(&server, "/r/app").await;
    for path in ["/r/app", "/r/app:a", "/manage/app", "/untagged/app"] {
        let page = browser.get(path).await;
        assert_eq!(page.status, StatusCode::OK);
        page.hides("/actions/tags").hides("/actions/manifests").hides("/actions/repositories");
    }
    let fields = [("repository", "app"), ("tag", "a"), ("digest", image.as_str())];
    let refused = browser.act("tags/delete", &fields).await;
    assert!(refused.status.is_client_error(), "{}", refused.status);
    assert_eq!(browser.get("/r/app:a").await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_image_shows_its_layers_and_config() {
    let server = open_server().await;
    let base = server.push("app", b"base").await;
    let top = server.push("app", b"top").await;
    let config = json!({
        "os": "linux", "architecture": "arm64", "created": "2026-01-02T03:04:05Z",
        "config": {
            "Env": ["PATH=/bin", format!("A={HOSTILE}")], "Entrypoint": ["/run", HOSTILE], "Cmd": ["--now"],
            "User": "nobody", "ExposedPorts": { "80/tcp": {} },
            "Labels": { "maintainer": HOSTILE }
        },
        "history": [
            { "created_by": "/bin/sh -c #(nop) ADD file:1 in /" },
            { "created_by": "ENV A=1", "empty_layer": true },
            { "created_by": format!("RUN /bin/sh -c echo {HOSTILE} {} # buildkit", "x".repeat(300)) },
        ]
    });
    let config = server.push("app", config.to_string().as_bytes()).await;
    let layer = "application/vnd.oci.image.layer.v1.tar+gzip";
    let image = json!({
        "schemaVersion": 2, "mediaType": IMAGE,
        "config": descriptor(&config, "application/vnd.oci.image.config.v1+json"),
        "layers": [descriptor(&base, layer), descriptor(&top, layer)],
        "annotations": {
            "org.opencontainers.image.source": "https://example.com/app",
            "org.opencontainers.image.url": "javascript:alert(1)",
            "note": HOSTILE, HOSTILE: "key", "reordered": "a\u{202e}gpj.exe"
        }
    });
    let digest = push_manifest(&server, "app", "v1", &image).await;
    // Another image on the same base.
    let other = json!({
        "schemaVersion": 2, "mediaType": IMAGE,
        "config": descriptor(&config, "application/vnd.oci.image.config.v1+json"),
        "layers": [descriptor(&base, layer)],
    });
    push_manifest(&server, "app", "v2", &other).await;
    let browser = Browser::new(&server, "/r/app:v1").await;
    let page = browser.get("/r/app:v1").await;
    page.shows("<h1>app:v1</h1>")
        .shows("<strong>Image</strong>")
        .shows(&format!("docker pull {}/app:v1", server.address))
        .shows("<code>ADD file:1 in /</code>")
        .shows("<code>ENV A=1</code>")
        .shows("also in 1 other tag")
        .shows("only here")
        .shows(r"<details><summary><code>RUN echo &#60;script&#62;")
        .shows("<code>nobody</code>")
        .shows("80/tcp")
        .shows("PATH=/bin")
        .shows(&format!("A={ESCAPED}"))
        .shows(&format!("<bdi>{ESCAPED}</bdi>"))
        .shows(r#"<a href="https://example.com/app" rel="noopener nofollow">https://example.com/app</a>"#)
        .shows("<bdi>javascript:alert(1)</bdi>")
        .shows("<bdi>a\\u{202e}gpj.exe</bdi>")
        .shows(&format!(r#"href="/raw/app@{digest}""#))
        .hides(r#"href="javascript:"#)
        .hides(HOSTILE);
    let by_digest = browser.get(&format!("/r/app@{digest}")).await;
    by_digest.shows(&format!("docker pull {}/app@{digest}", server.address)).shows(r#"href="/r/app:v1""#);
    let why = browser.get("/r/app:v1?show=why").await;
    why.shows("Deleting the manifest would free").shows(r#"Tag <a href="/r/app:v1">v1</a>"#);
    by_digest.hides("Deleting the manifest would free");

    let raw = server.get(&format!("/raw/app@{digest}")).send().await.expect("answer");
    assert_eq!(text(raw.headers(), "content-type"), "application/json");
    assert_eq!(text(raw.headers(), "x-content-type-options"), "nosniff");
    assert!(text(raw.headers(), "content-security-policy").contains("sandbox"));
    assert_eq!(raw.text().await.expect("text"), image.to_string());
    assert_eq!(browser.get("/raw/app").await.status, StatusCode::NOT_FOUND);
    assert_eq!(browser.get("/raw/app:none").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_index_shows_platforms_and_attestations_apart() {
    let server = open_server().await;
    let (_, arm) = server.push_image("app", "arm", b"arm").await;
    let statement = server.push("app", b"{\"statement\":1}").await;
    let attestation = json!({
        "schemaVersion": 2, "mediaType": IMAGE,
        "config": descriptor(&server.push("app", b"{}").await, "application/vnd.oci.image.config.v1+json"),
        "layers": [{
            "mediaType": "application/vnd.in-toto+json", "digest": statement.as_str(),
            "size": size_of(&statement),
            "annotations": { "in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2" }
        }]
    });
    let attestation = push_manifest(&server, "app", "att", &attestation).await;
    let member = |digest: &Digest, os: &str, architecture: &str| {
        let mut member = descriptor(digest, IMAGE);
        member["platform"] = json!({ "os": os, "architecture": architecture });
        member
    };
    let mut unknown = member(&attestation, "unknown", "unknown");
    unknown["annotations"] = json!({
        "vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": arm.as_str()
    });
    let index = json!({
        "schemaVersion": 2, "mediaType": INDEX, "manifests": [member(&arm, "linux", "arm64"), unknown]
    });
    push_manifest(&server, "app", "latest", &index).await;
    let browser = Browser::new(&server, "/r/app:latest").await;
    let page = browser.get("/r/app:latest").await;
    page.shows("<strong>Image index</strong>")
        .shows(r#"<td class="break">linux/arm64</td>"#)
        .shows("<h2>Attestations</h2>")
        .shows(r#"<span class="badge">Provenance</span>"#)
        .hides("unknown/unknown");
    // The member says which index needs it, and cannot be deleted alone.
    let page = browser.get(&format!("/r/app@{arm}")).await;
    page.shows("<dt>Part of</dt>").shows("delete the index first").hides("/actions/manifests/delete");
    let refused = browser.act("manifests/delete", &[("repository", "app"), ("digest", arm.as_str())]).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    browser.get("/r/app").await.shows(r#"<span class="badge">linux/arm64</span>"#).hides("unknown/unknown");
}

#[tokio::test]
async fn artifacts_show_their_kind_files_and_attachments() {
    let server = open_server().await;
    let config = server.push("charts/web", br#"{"name":"web"}"#).await;
    let chart = server.push("charts/web", b"chart").await;
    let mut layer = descriptor(&chart, "application/vnd.cncf.helm.chart.content.v1.tar+gzip");
    layer["annotations"] = json!({ "org.opencontainers.image.title": format!("{HOSTILE}.tgz") });
    let manifest = json!({
        "schemaVersion": 2, "mediaType": IMAGE,
        "config": descriptor(&config, "application/vnd.cncf.helm.config.v1+json"), "layers": [layer]
    });
    let helm = push_manifest(&server, "charts/web", "1.2_3", &manifest).await;
    let empty = server.push("charts/web", b"{}").await;
    let signature = json!({
        "schemaVersion": 2, "mediaType": IMAGE, "artifactType": "application/vnd.dev.cosign.artifact.sig.v1+json",
        "config": descriptor(&empty, "application/vnd.oci.empty.v1+json"),
        "layers": [descriptor(&empty, "application/vnd.oci.empty.v1+json")],
        "subject": { "mediaType": IMAGE, "digest": helm.as_str(), "size": manifest.to_string().len() }
    });
    let signed = digest(signature.to_string().as_bytes());
    push_manifest(&server, "charts/web", signed.as_str(), &signature).await;
    let browser = Browser::new(&server, "/r/charts/web").await;
    browser.get("/r/charts/web").await.shows(r#"aria-label="Helm chart""#).shows("helm pull oci://");
    let page = browser.get("/r/charts/web:1.2_3").await;
    page.shows("<strong>Helm chart</strong>")
        .shows(&format!("helm pull oci://{}/charts/web --version 1.2+3 --plain-http", server.address))
        .shows(&format!("<bdi>{ESCAPED}.tgz</bdi>"))
        .shows("<h3>Signatures</h3>")
        .shows(&format!(r#"href="/r/charts/web@{signed}""#))
        .hides(HOSTILE);
    let page = browser.get(&format!("/r/charts/web@{signed}")).await;
    page.shows("<strong>Cosign signature</strong>")
        .shows("oras pull --plain-http")
        .shows(&format!(r#"Attached to</dt><dd><a class="mono" href="/r/charts/web@{helm}""#));
}

#[tokio::test]
async fn tags_are_rolled_back_and_manifests_deleted() {
    let server = open_server().await;
    let (_, first) = server.push_image("app", "latest", b"one").await;
    server.clock.advance(Duration::from_secs(60));
    let (_, second) = server.push_image("app", "latest", b"two").await;
    let browser = Browser::new(&server, "/r/app:latest").await;
    let page = browser.get("/r/app:latest").await;
    page.shows("Created").shows("Moved").shows(&format!(r#"name="to" value="{first}""#));
    page.hides(&format!(r#"name="to" value="{second}""#));
    let back = [("repository", "app"), ("tag", "latest"), ("to", first.as_str())];
    let done = browser.act("tags/rollback", &back).await;
    assert_eq!(done.location, "/r/app:latest?notice=rolled-back");
    browser
        .get(&done.location)
        .await
        .shows("Rolled back")
        .shows(&format!("<code id=\"digest\">{first}</code>"));

    let done = browser.act("manifests/delete", &[("repository", "app"), ("digest", first.as_str())]).await;
    assert_eq!(done.location, "/r/app?notice=tags-deleted");
    // The page of the tag stays, so that it can be rolled back.
    let gone = browser.get("/r/app:latest").await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
    gone.shows("This tag does not exist any more.").shows(&format!(r#"name="to" value="{first}""#));
    assert_eq!(browser.act("tags/rollback", &back).await.status, StatusCode::SEE_OTHER);
    assert_eq!(browser.get("/r/app:latest").await.status, StatusCode::OK);
    let never = ("to", "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_eq!(browser.act("tags/rollback", &[back[0], back[1], never]).await.status, StatusCode::NOT_FOUND);
    let invalid = browser.act("tags/rollback", &[back[0], ("tag", HOSTILE)]).await;
    assert_eq!(invalid.status, StatusCode::BAD_REQUEST);
    invalid.hides(HOSTILE);
}

#[tokio::test]
async fn untagged_manifests_are_listed_and_deleted() {
    let server = open_server().await;
    let (_, old) = server.push_image("app", "latest", b"one").await;
    server.push_image("app", "latest", b"two").await;
    let browser = Browser::new(&server, "/untagged/app").await;
    let page = browser.get("/untagged/app").await;
    page.shows("<h1>app</h1>").shows(&format!(r#"href="/r/app@{old}""#));
    let next = ("next", "/untagged/app");
    let done =
        browser.act("manifests/delete", &[("repository", "app"), ("digest", old.as_str()), next]).await;
    assert_eq!(done.location, "/untagged/app?notice=tags-deleted");
    browser.get(&done.location).await.hides(old.as_str());
    assert_eq!(browser.get("/untagged/none").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_repository_is_renamed_deleted_and_restored() {
    let server = open_server().await;
    server.push_image("team/app", "v1", b"one").await;
    let browser = Browser::new(&server, "/manage/team/app").await;
    browser
        .get("/manage/team/app")
        .await
        .shows("Anyone who can reach this registry may pull, push and delete.");
    let to = ("to", "team/web");
    let renamed = browser.act("repositories/rename", &[("repository", "team/app"), to]).await;
    assert_eq!(renamed.location, "/r/team/web?notice=repository-renamed");
    browser.get("/manage/team/web").await.shows("Renamed");
    let repository = ("repository", "team/web");
    let unconfirmed = browser.act("repositories/delete", &[repository, ("confirmation", "web")]).await;
    assert_eq!(unconfirmed.status, StatusCode::BAD_REQUEST);
    let deleted = browser.act("repositories/delete", &[repository, ("confirmation", "team/web")]).await;
    assert_eq!(deleted.location, "/manage/team/web?notice=repository-deleted");
    browser.get("/manage/team/web").await.shows("In progress");
    while server.registry.advance_repository_work(2).await.expect("advanced").is_some() {}
    let page = browser.get("/manage/team/web").await;
    page.shows("Finished").shows("Deleted").shows("/actions/repositories/restore");
    browser.get("/r/team/web").await.shows("There is nothing to pull from this repository.");
    let restored = browser.act("repositories/restore", &[repository]).await;
    assert_eq!(restored.location, "/manage/team/web?notice=repository-restored");
    while server.registry.advance_repository_work(2).await.expect("advanced").is_some() {}
    browser.get("/r/team/web").await.shows(r#"href="/r/team/web:v1""#);
    assert_eq!(browser.get("/manage/none").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_repository_has_a_description() {
    let server = open_server().await;
    server.push_image("app", "1.10", b"one").await;
    server.push_image("app", "1.9", b"two").await;
    let browser = Browser::new(&server, "/r/app").await;
    browser.get("/r/app").await.shows("Add a description");
    let text = format!("The app.\r\n{HOSTILE}");
    let done = browser.act("repositories/describe", &[("repository", "app"), ("description", &text)]).await;
    assert_eq!(done.location, "/r/app?notice=description-saved");
    let page = browser.get("/r/app").await;
    page.shows(&format!("The app.\n{ESCAPED}</p>")).hides(HOSTILE);
    // By default tags are in the order of versions, newest first.
    let newer = page.text.find("<a href=\"/r/app:1.10\">").expect("listed");
    assert!(newer < page.text.find("<a href=\"/r/app:1.9\">").expect("listed"));
    let long = "x".repeat(5000);
    let refused =
        browser.act("repositories/describe", &[("repository", "app"), ("description", &long)]).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn protected_and_immutable_tags_have_badges() {
    let list =
        |tag: &str| TagList { repositories: Vec::new(), tags: vec![tag.to_owned()], except: Vec::new() };
    let server = Server::with(|setup| {
        setup.changes = Changes::Anyone;
        setup.policies =
            Policies { protected: vec![list("latest")], immutable: vec![list("v*")], ..Policies::default() };
    })
    .await;
    for tag in ["latest", "v1", "dev"] {
        server.push_image("app", tag, tag.as_bytes()).await;
    }
    let browser = Browser::new(&server, "/r/app").await;
    let page = browser.get("/r/app").await;
    page.shows(">protected</span>").shows(">immutable</span>").shows(r#"aria-label="Select v1" disabled"#);
    let page = browser.get("/r/app:v1").await;
    page.shows(">immutable</span>").hides("Delete the tag");
    browser.get("/r/app:dev").await.shows("Delete the tag").hides(">protected</span>");
}

#[tokio::test]
async fn what_may_not_be_read_appears_nowhere() {
    let server = Server::with(|setup| {
        let modes = AnonymousModes::with_default(Some(AnonymousMode::Open));
        setup.access_control.modes =
            modes.with_override(&["private/**".into()], AnonymousMode::Closed).expect("globs");
    })
    .await;
    for repository in ["app", "moved"] {
        server.push_image(repository, "v1", b"shared").await;
    }
    let moved = server.registry.repository("moved".parse().expect("a name"), Access { push: true });
    moved.rename(&"private/app".parse().expect("a name")).await.expect("renamed");
    let browser = Browser::new(&server, "/r/app:v1").await;
    browser.get("/r/app:v1").await.shows("only here").hides("private");
    for path in ["/r/private/app", "/r/private/none", "/manage/private/app", "/untagged/private/app"] {
        let page = browser.get(path).await;
        let expected = format!("/sign-in?next={}", path.replace('/', "%2F"));
        assert_eq!((page.status, page.location), (StatusCode::SEE_OTHER, expected));
    }
    assert_eq!(browser.get("/raw/private/app:v1").await.status, StatusCode::SEE_OTHER);
    let fields = [("repository", "private/app"), ("tag", "v1")];
    assert!(browser.act("tags/delete", &fields).await.status.is_client_error());
}
