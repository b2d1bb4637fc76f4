//! Tests of the pages about policies, the trash and activity, and of their actions.

use orlop::auth::{ChangeAuthor, NewAccount};
use orlop::clock::Timestamp;
use orlop::http::api::Changes;
use orlop::metadata::{Quota, Role, Scope};
use orlop::retention::{Policies, Policy, TagList};
use reqwest::redirect;

use crate::browser::{ESCAPED, HOSTILE, PASSWORD, Shown};
use crate::kit::*;

const OLD: &str = "name = \"old\"\nrepositories = [\"app\"]\n\n[[rules]]\nname = \"rest\"\naction = \"expire\"\n\
                   tags = [\"v1\"]\n";

/// A visitor with a cookie.
struct Browser<'s> {
    server: &'s Server,
    client: reqwest::Client,
    cookie: String,
    csrf: String,
}

impl<'s> Browser<'s> {
    /// Opens the sign-in page or another one, which sets the cookie.
    async fn new(server: &'s Server) -> Self {
        let client = reqwest::Client::builder().redirect(redirect::Policy::none()).build().expect("a client");
        let mut browser = Self { server, client, cookie: String::new(), csrf: String::new() };
        browser.open("/sign-in").await;
        browser
    }

    /// Signs a user in.
    async fn of(server: &'s Server, name: &str) -> Self {
        let mut browser = Self::new(server).await;
        let fields = [("name", name), ("password", PASSWORD)];
        let response = browser.request("/actions/sign-in", &fields).await;
        assert_eq!(response.status(), 303, "{:?}", response.text().await);
        browser.keep_cookie(&response);
        browser.open("/repositories").await;
        browser
    }

    fn keep_cookie(&mut self, response: &reqwest::Response) {
        let cookie = text(response.headers(), "set-cookie");
        if let Some(cookie) = cookie.split(';').next().filter(|cookie| !cookie.is_empty()) {
            cookie.clone_into(&mut self.cookie);
        }
    }

    async fn open(&mut self, path: &str) {
        let url = format!("http://{}{path}", self.server.address);
        let response = self.client.get(url).header("cookie", &self.cookie).send().await.expect("answer");
        self.keep_cookie(&response);
        let text = Shown::of(response).await.text;
        let token = text.split(r#"name="csrf" value=""#).nth(1).and_then(|rest| rest.split('"').next());
        token.unwrap_or_default().clone_into(&mut self.csrf);
    }

    async fn get(&self, path: &str) -> Shown {
        let url = format!("http://{}{path}", self.server.address);
        Shown::of(self.client.get(url).header("cookie", &self.cookie).send().await.expect("answer")).await
    }

    async fn request(&self, path: &str, fields: &[(&str, &str)]) -> reqwest::Response {
        let url = format!("http://{}{path}", self.server.address);
        let fields: Vec<_> = fields.iter().copied().chain([("csrf", &*self.csrf)]).collect();
        let request = self.client.post(url).header("cookie", &self.cookie).form(&fields);
        request.send().await.expect("answer")
    }

    async fn act(&self, path: &str, fields: &[(&str, &str)]) -> Shown {
        Shown::of(self.request(path, fields).await).await
    }
}

async fn open_registry() -> Server {
    Server::with(|setup| setup.changes = Changes::Anyone).await
}

async fn add_user(server: &Server, name: &str, grants: Vec<(Scope, Role)>) {
    let password = Some(PASSWORD.to_owned());
    let new = NewAccount { name: name.into(), robot: false, password, grants };
    let by = ChangeAuthor { name: "test", now: Timestamp(1_000_000_000) };
    server.access_control.add_account(new, by).await.expect("made");
}

#[tokio::test]
async fn a_policy_is_previewed_saved_applied_and_removed() {
    let server = open_registry().await;
    server.push_image("app", "v1", b"one").await;
    server.push_image("app", "v2", b"two").await;
    // Leases protect what was pushed lately.
    server.clock.advance(2 * TRASH);
    let browser = Browser::new(&server).await;
    browser.get("/policies").await.is(200).shows("There are no policies").shows("Presets");

    let preview = browser.act("/actions/policies/preview", &[("policy", OLD), ("name", "")]).await;
    preview
        .is(200)
        .shows("1 tag and 1 manifest would move to the trash")
        .shows("app:v1")
        .shows("rule `rest`");
    preview.shows("tags named v1").hides("app:v2");
    browser.get("/policies").await.shows("There are no policies");
    browser.get("/trash").await.shows("nothing to restore");

    let plan = preview.text.split("/policies/plan?plan=").nth(1).expect("a link to the plan");
    let plan = plan.split(['&', '"']).next().expect("an id").to_owned();
    browser
        .get(&format!("/policies/plan?plan={plan}&show=all"))
        .await
        .is(200)
        .shows("app:v2")
        .shows("not in force");
    let early = browser.act("/actions/policies/apply", &[("plan", &plan)]).await;
    early.is(409).shows("the policies have changed");

    let saved = browser.act("/actions/policies/save", &[("policy", OLD)]).await;
    assert_eq!(saved.is(303).location, "/policies?notice=policy-saved");
    browser.get(&saved.location).await.shows("The policy is saved.").shows("tags named v1");
    browser.get("/policies/edit?name=old").await.is(200).shows("[[retention.policies]]");

    let applied = browser.act("/actions/policies/apply", &[("plan", &plan)]).await;
    assert_eq!(applied.is(303).location, "/policies?notice=policy-applied");
    assert_eq!(server.get("/v2/app/manifests/v1").send().await.expect("answer").status(), 404);
    browser.get("/policies").await.shows("request");
    browser.get("/policies/runs").await.is(200).shows("request");

    let removed = browser.act("/actions/policies/remove", &[("name", "old")]).await;
    assert_eq!(removed.is(303).location, "/policies?notice=policy-removed");
    browser.get("/policies/edit?name=old").await.is(404);
}

#[tokio::test]
async fn a_plan_of_the_policies_in_force_is_made_and_linked() {
    let server = open_registry().await;
    server.push_image("app", "v1", b"one").await;
    let browser = Browser::new(&server).await;
    browser.act("/actions/policies/save", &[("policy", OLD)]).await.is(303);
    let made = browser.get("/policies/plan").await;
    assert!(made.is(303).location.starts_with("/policies/plan?plan="), "{}", made.location);
    browser.get(&made.location).await.is(200).shows("app:v1").shows("Apply now").hides("not in force");
    browser.get("/policies/plan?repository=none").await.is(404);
    browser.get("/policies/plan?plan=none").await.is(400);
}

#[tokio::test]
async fn mistakes_in_a_policy_keep_its_text() {
    let server = open_registry().await;
    let browser = Browser::new(&server).await;
    let mistaken = format!("name = \"{HOSTILE}\"\nreposit = [\"x\"]\n");
    for action in ["/actions/policies/preview", "/actions/policies/save"] {
        let shown = browser.act(action, &[("policy", &mistaken)]).await;
        shown.is(400).shows("line 2").shows(ESCAPED).hides(HOSTILE);
        let unknown = "{\"name\": \"a\", \"preset\": \"none\"}";
        let shown = browser.act(action, &[("policy", unknown)]).await;
        shown.shows("there is no preset").shows("retention policy `a`");
    }
    let hostile = format!("name = '{HOSTILE}'\npreset = \"ci\"\n");
    browser.act("/actions/policies/save", &[("policy", &hostile)]).await.is(303);
    browser.get("/policies").await.shows(ESCAPED).hides(HOSTILE);
}

#[tokio::test]
async fn policies_are_built_from_presets_and_answers() {
    let server = open_registry().await;
    let browser = Browser::new(&server).await;
    browser.get("/policies/edit?preset=ci").await.is(200).shows("preset = &#34;ci&#34;");
    browser.get("/policies/edit?preset=ci&copy=1").await.is(200).shows("last ten builds");
    browser.get("/policies/edit?preset=none").await.is(404);
    let answers =
        "name=mine&repositories=team%2F**&older_than=60d&newest=5&tags=latest&pulled_within=&untagged=1d";
    let built = browser.get(&format!("/policies/edit?{answers}")).await;
    built
        .is(200)
        .shows("pushed_before = &#34;60d&#34;")
        .shows("the newest 5 tags")
        .hides("pulled_within = &#34;");
}

#[tokio::test]
async fn policies_of_other_registries_are_translated() {
    let server = open_registry().await;
    let browser = Browser::new(&server).await;
    let ecr = r#"{"rules": [{"rulePriority": 1, "selection": {"tagStatus": "any", "countType": "imageCountMoreThan",
                 "countNumber": 5}, "action": {"type": "expire"}}, {"rulePriority": 2, "selection":
                 {"tagStatus": "any", "storageClass": "x", "countType": "y", "countNumber": 1}, "action": {"type": "transition"}}]}"#;
    let fields = [("from", "ecr"), ("document", ecr), ("repositories", "team/**"), ("name", "theirs")];
    let shown = browser.act("/actions/policies/import", &fields).await;
    shown.is(200).shows("name = &#34;theirs&#34;").shows("team/**").shows("Not translated");
    browser.get("/policies").await.shows("There are no policies");
    browser.act("/actions/policies/import", &[("from", "ecr"), ("document", "[")]).await.is(400);
}

#[tokio::test]
async fn policies_of_the_file_and_quotas_are_only_shown() {
    let server = Server::with(|setup| {
        setup.changes = Changes::Anyone;
        let preset = Some("keep-everything".into());
        let policy = Policy { name: "fixed".into(), preset, ..Policy::default() };
        let protected = TagList { tags: vec!["v*".into()], ..TagList::default() };
        setup.policies =
            Policies { policies: vec![policy], protected: vec![protected], ..Policies::default() };
        setup.registry.quotas = vec![Quota { tags: Some(4), ..Quota::of("team/".parse().expect("a scope")) }];
    })
    .await;
    server.registry.enforce_quotas().await.expect("recorded");
    server.push_image("team/app", "v1", b"one").await;
    let browser = Browser::new(&server).await;
    let shown = browser.get("/policies").await;
    shown.is(200).shows("fixed").shows("settings file").shows("1 of 4").shows("protected").hides("Remove");
    browser.get("/policies/edit?name=fixed").await.shows("can be changed there only").hides("Save");
    browser.act("/actions/policies/remove", &[("name", "fixed")]).await.is(409);
    let changed = "name = \"fixed\"\npreset = \"ci\"\n";
    browser.act("/actions/policies/save", &[("policy", changed)]).await.is(400).shows("configuration file");
}

#[tokio::test]
async fn the_trash_is_listed_restored_and_emptied() {
    let server = open_registry().await;
    let (_, digest) = server.push_image("app", "v1", b"one").await;
    let (_, other) = server.push_image("app", "v2", b"two").await;
    server.push_image("app", "v3", b"two").await;
    let browser = Browser::new(&server).await;
    browser.get("/trash").await.is(200).shows("nothing to restore");
    for path in [format!("/v2/app/manifests/{digest}"), "/v2/app/manifests/v3".to_owned()] {
        assert_eq!(server.delete(&path).send().await.expect("answer").status(), 202);
    }
    browser.get("/trash").await.shows("app:v1").shows("app:v3").shows("tag only").shows("in 1 day");
    browser.get("/trash?repository=app").await.shows("app:v1");
    browser.get("/trash?repository=other").await.is(200).hides("app:v1");

    let fields = [("repository", "app"), ("digest", digest.as_str()), ("next", "/trash")];
    let restored = browser.act("/actions/trash/restore", &fields).await;
    assert_eq!(restored.is(303).location, "/trash?notice=restored");
    browser.act("/actions/trash/restore", &[("repository", "app"), ("tag", "v3")]).await.is(303);
    for tag in ["v1", "v3"] {
        let path = format!("/v2/app/manifests/{tag}");
        assert_eq!(server.get(&path).send().await.expect("answer").status(), 200, "{tag}");
    }
    browser.act("/actions/trash/restore", &[("repository", "app"), ("tag", "none")]).await.is(404);

    server.delete(&format!("/v2/app/manifests/{other}")).send().await.expect("answer");
    let emptied = browser.act("/actions/trash/empty", &[("repository", "")]).await;
    assert_eq!(emptied.is(303).location, "/trash?notice=trash-emptied");
    browser.get("/trash").await.shows("nothing to restore");
}

#[tokio::test]
async fn a_deleted_repository_is_restored() {
    let server = open_registry().await;
    server.push_image("app", "v1", b"one").await;
    assert_eq!(server.delete("/api/v1/repositories/app").send().await.expect("answer").status(), 202);
    while server.registry.advance_repository_work(100).await.expect("done").is_some() {}
    let browser = Browser::new(&server).await;
    for path in ["/trash", "/trash?repository=app"] {
        browser.get(path).await.is(200).shows("Restore all of it").shows("deleted");
    }
    let restored = browser.act("/actions/trash/restore-repository", &[("repository", "app")]).await;
    assert_eq!(restored.is(303).location, "/trash?repository=app&notice=repository-restored");
    while server.registry.advance_repository_work(100).await.expect("done").is_some() {}
    assert_eq!(server.get("/v2/app/manifests/v1").send().await.expect("answer").status(), 200);
    browser.get("/trash").await.hides("Restore all of it");
    browser.get("/activity/events").await.is(200).shows("app was deleted").shows("app was restored");
}

#[tokio::test]
async fn activity_lists_changes_newest_first() {
    let server = open_registry().await;
    server.push_image("app", "v1", b"one").await;
    server.push_image("app", "v1", b"two").await;
    server.push_image("other", "v2", b"two").await;
    server.delete("/v2/app/manifests/v1").send().await.expect("answer");
    let browser = Browser::new(&server).await;
    let all = browser.get("/activity").await;
    all.is(200).shows("pushed").shows("moved").shows("deleted").shows("other:v2");
    let place = |name: &str| all.text.find(&format!("<span class=\"badge {name}\">")).expect("a badge");
    assert!(place("warn") < place("good"), "the deletion comes first");
    browser.get("/activity?repository=app&kind=push").await.shows("app:v1").hides("other:v2");
    browser.get("/activity?kind=none").await.is(400);
    browser.get("/activity?after=x").await.is(400);
    browser.get("/activity?after=1").await.is(200).hides("app:v1");
}

#[tokio::test]
async fn background_work_and_settings_are_shown() {
    let server = Server::with(|setup| {
        setup.changes = Changes::Anyone;
        setup.http.settings_text = "[server]\nlisten = \"[::]:5000\"\n".into();
    })
    .await;
    let browser = Browser::new(&server).await;
    let shown = browser.get("/activity/background").await;
    shown
        .is(200)
        .shows("Collector")
        .shows("Retention")
        .shows("Scrub")
        .shows("Run now")
        .shows("no damage is known");
    // Nothing runs the job in this server.
    browser.act("/actions/background/run", &[("job", "collector")]).await.is(409);
    browser.act("/actions/background/run", &[("job", "none")]).await.is(400);
    browser.get("/activity/settings").await.is(200).shows("[::]:5000");
    // The audit log requires an account.
    browser.get("/activity/audit").await.is(303);
}

#[tokio::test]
async fn users_see_only_what_they_may_read() {
    let server = Server::start().await;
    for name in ["team/app", "secret/app"] {
        server.push_image(name, "v1", b"one").await;
        server.delete(&format!("/v2/{name}/manifests/v1")).send().await.expect("answer");
    }
    add_user(&server, "admin", vec![(Scope::All, Role::Admin)]).await;
    add_user(&server, "reader", vec![("team/".parse().expect("a scope"), Role::Pull)]).await;
    let reader = Browser::of(&server, "reader").await;
    for path in ["/activity", "/activity/events", "/trash", "/trash?repository=team/app"] {
        reader.get(path).await.is(200).hides("secret/app");
    }
    reader.get("/activity").await.shows("team/app:v1").hides("Audit log").hides("Settings");
    reader
        .get("/trash?repository=team/app")
        .await
        .shows("team/app:v1")
        .hides("/actions/trash/restore")
        .hides("Empty the trash");
    reader.get("/activity?repository=secret/app").await.is(200).hides("secret/app:v1");
    for path in [
        "/trash?repository=secret/app",
        "/policies",
        "/policies/edit",
        "/policies/plan",
        "/policies/runs",
        "/activity/audit",
        "/activity/background",
        "/activity/settings",
    ] {
        reader.get(path).await.is(403);
    }
    for (action, fields) in [
        ("/actions/trash/restore", vec![("repository", "team/app"), ("tag", "v1")]),
        ("/actions/trash/restore-repository", vec![("repository", "team/app")]),
        ("/actions/trash/empty", vec![("repository", "team/app")]),
        ("/actions/policies/preview", vec![("policy", OLD)]),
        ("/actions/policies/save", vec![("policy", OLD)]),
        ("/actions/policies/import", vec![("from", "ecr"), ("document", "{}")]),
        ("/actions/policies/remove", vec![("name", "old")]),
        ("/actions/policies/apply", vec![("plan", "6b24e0dd-1b0c-4b5a-8f4e-9f3f5a1c2d3e")]),
        ("/actions/background/run", vec![("job", "scrub")]),
    ] {
        reader.act(action, &fields).await.is(403);
        let forged: Vec<_> = fields.iter().copied().chain([("csrf", "0")]).collect();
        let url = format!("http://{}{action}", server.address);
        let request = reader.client.post(url).header("cookie", &reader.cookie).form(&forged);
        Shown::of(request.send().await.expect("answer")).await.is(403).shows("too old, or another site");
    }
    let admin = Browser::of(&server, "admin").await;
    let denied = admin.get("/activity/audit?user=reader&outcome=denied").await;
    denied.is(200).shows("policy-set").shows("reader").hides("allowed</span>");
    admin.get("/activity/audit?action=none").await.is(400);
    admin.get("/activity/audit?since=2026-13-01").await.is(400);
    admin.get("/trash").await.shows("team/app:v1").shows("secret/app:v1").shows("by 127.0.0.1");
}
