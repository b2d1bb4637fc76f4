//! The pages of users, teams, roles, access tokens and sessions, the profile and the search.

use orlop::auth::{AnonymousModes, ChangeAuthor};
use orlop::clock::Clock;
use orlop::metadata::{AccountKind, Role};
use reqwest::Method;
use tempfile::TempDir;

use crate::browser::*;
use crate::kit::*;

async fn pull_status(server: &Server, user: &str, password: &str) -> u16 {
    let request = server.get("/v2/team/app/manifests/v1").basic_auth(user, Some(password));
    request.send().await.expect("answer").status().as_u16()
}

#[tokio::test]
async fn administrators_add_users_and_a_generated_password_is_shown_once() {
    let server = closed_registry(|_| {}).await;
    let admin = Browser::signed_in(&server, "admin").await;
    let fields = [("name", "ann"), ("kind", "robot"), ("password", ""), ("role", "pull"), ("scope", "team/")];
    let added = admin.submit("/actions/people/add-user", &fields).await;
    assert_eq!((added.status, added.location().as_str()), (303, "/people/users/ann?notice=user-saved"));
    let elsewhere = Browser::with_session(&server, "admin").await;
    let page = elsewhere.get("/people/users/ann").await;
    assert!(!page.html.contains(r#"id="secret""#), "only the browser that added the user sees the password");
    let page = admin.get("/people").await;
    assert!(page.html.contains("pull on team/") && page.html.contains("robot"), "{}", page.html);
    assert!(!page.html.contains(r#"id="secret""#), "only on the page of the user");
    let page = admin.get(&added.location()).await;
    let password = page.after(r#"<code id="secret">"#);
    assert_eq!(pull_status(&server, "ann", &password).await, 200);
    let page = admin.get("/people/users/ann").await;
    assert!(!page.html.contains(&password), "shown once");

    let taken = admin.submit("/actions/people/add-user", &fields).await;
    assert!(taken.status == 409 && taken.html.contains("user ann already exists"), "{}", taken.html);
    let short = [("name", "bob"), ("password", "short"), ("scope", "")];
    assert_eq!(admin.submit("/actions/people/add-user", &short).await.status, 400);
    assert_eq!(admin.submit("/actions/people/add-user", &[("name", "<b>")]).await.status, 400);
}

#[tokio::test]
async fn administrators_disable_users_and_set_passwords() {
    let server = closed_registry(|_| {}).await;
    let admin = Browser::signed_in(&server, "admin").await;
    let reader = Browser::signed_in(&server, "reader").await;
    let of_reader = [("name", "reader")];
    let page = admin.submit_and_follow("/actions/people/disable", &of_reader).await;
    assert!(page.html.contains(">disabled<") && page.html.contains(">Enable<"), "{}", page.html);
    assert_eq!(reader.user().await, None, "the session has ended");
    assert_eq!(pull_status(&server, "reader", PASSWORD).await, 401);
    admin.submit_and_follow("/actions/people/enable", &of_reader).await;
    assert_eq!(pull_status(&server, "reader", PASSWORD).await, 200);

    let page = admin.submit_and_follow("/actions/people/reset-password", &of_reader).await;
    let password = page.after(r#"<code id="secret">"#);
    assert_eq!(pull_status(&server, "reader", PASSWORD).await, 401);
    assert_eq!(pull_status(&server, "reader", &password).await, 200);
    let chosen = [("name", "reader"), ("password", "another horse")];
    let page = admin.submit_and_follow("/actions/people/reset-password", &chosen).await;
    assert!(!page.html.contains(r#"id="secret""#) && !page.html.contains("another horse"));
    assert_eq!(pull_status(&server, "reader", "another horse").await, 200);
    let own = admin.submit("/actions/people/reset-password", &[("name", "admin")]).await;
    assert!(own.status == 409 && own.html.contains("profile"), "needs the current password: {}", own.html);

    let page = admin.submit_and_follow("/actions/people/remove-user", &of_reader).await;
    assert!(page.html.contains("The user is removed.") && !page.html.contains("/people/users/reader"));
    assert_eq!(admin.get("/people/users/reader").await.status, 404);
    let first = admin.submit("/actions/people/remove-user", &[("name", "admin")]).await;
    assert_eq!(first.status, 409, "{}", first.html);

    server.registry.flush_audit(true).await.expect("recorded");
    let all = orlop::metadata::AuditQuery::default();
    let rows = format!("{:?}", server.registry.metadata().audit(&all, 100).await.expect("rows").items);
    for subject in ["reader (disabled)", "reader (enabled)", "reader (password)", "AccountRemove", "SignIn"] {
        assert!(rows.contains(subject), "{subject}: {rows}");
    }
    assert!(!rows.contains("another horse") && !rows.contains(&password), "{rows}");
}

#[tokio::test]
async fn roles_are_granted_and_removed_within_the_rights_of_the_visitor() {
    let server = closed_registry(|_| {}).await;
    let keeper = Browser::signed_in(&server, "keeper").await;
    let home = keeper.get("/people").await;
    assert_eq!((home.status, home.location().as_str()), (303, "/people/teams"));
    let page = keeper.get("/people/roles").await;
    assert!(page.html.contains("pusher") && page.html.contains("team/"), "{}", page.html);
    let grant = [("grantee", "guest"), ("role", "pull"), ("scope", "team/app")];
    let page = keeper.submit_and_follow("/actions/people/set-role", &grant).await;
    assert!(page.html.contains("The role is saved.") && page.html.contains("guest"), "{}", page.html);
    assert_eq!(pull_status(&server, "guest", PASSWORD).await, 200);
    for (grantee, role, scope) in
        [("guest", "pull", "other/"), ("guest", "pull", ""), ("@everybody", "push", "team/")]
    {
        let grant = [("grantee", grantee), ("role", role), ("scope", scope)];
        assert_eq!(keeper.submit("/actions/people/set-role", &grant).await.status, 403, "{grantee} {scope}");
    }
    let page = keeper.submit_and_follow("/actions/people/remove-role", &grant).await;
    assert!(page.html.contains("The role is removed."));
    assert_eq!(pull_status(&server, "guest", PASSWORD).await, 403);

    let admin = Browser::signed_in(&server, "admin").await;
    let grant =
        [("grantee", "@users"), ("role", "pull"), ("scope", "other/app"), ("next", "/people/users/guest")];
    let done = admin.submit("/actions/people/set-role", &grant).await;
    assert_eq!(done.location(), "/people/users/guest?notice=role-saved");
    let page = keeper.get("/people/roles").await;
    assert!(!page.html.contains("other/app"), "roles elsewhere are hidden: {}", page.html);
    assert!(admin.get("/people/roles").await.html.contains("other/app"));
    let wrong = [("grantee", "guest"), ("role", "boss"), ("scope", "")];
    assert_eq!(admin.submit("/actions/people/set-role", &wrong).await.status, 400);
}

#[tokio::test]
async fn administrators_of_an_organisation_manage_its_teams_only() {
    let server = closed_registry(|_| {}).await;
    let admin = Browser::signed_in(&server, "admin").await;
    for organisation in ["team", "other"] {
        let fields = [("organisation", organisation)];
        let page = admin.submit_and_follow("/actions/people/add-organisation", &fields).await;
        assert!(page.html.contains(&format!(r#"id="organisation-{organisation}""#)));
    }
    let keeper = Browser::signed_in(&server, "keeper").await;
    let page = keeper.get("/people/teams").await;
    assert!(
        page.html.contains("organisation-team") && !page.html.contains("organisation-other"),
        "{}",
        page.html
    );
    assert!(
        !page.html.contains("/actions/people/add-organisation"),
        "what a visitor may not do is not shown"
    );
    let devs = [("organisation", "team"), ("team", "devs"), ("user", "guest")];
    keeper.submit_and_follow("/actions/people/add-team", &devs).await;
    let page = keeper.submit_and_follow("/actions/people/add-member", &devs).await;
    assert!(page.html.contains("Remove guest from devs"), "{}", page.html);
    let role = [("grantee", "team/devs"), ("role", "pull"), ("scope", "team/")];
    keeper.submit_and_follow("/actions/people/set-role", &role).await;
    assert_eq!(pull_status(&server, "guest", PASSWORD).await, 200);
    let guest = Browser::signed_in(&server, "guest").await;
    let profile = guest.get("/profile").await;
    assert!(profile.html.contains("team/devs") && profile.html.contains("<td>pull</td>"), "{}", profile.html);
    keeper.submit_and_follow("/actions/people/remove-member", &devs).await;
    assert_eq!(pull_status(&server, "guest", PASSWORD).await, 403);
    keeper.submit_and_follow("/actions/people/remove-team", &devs).await;

    let elsewhere = [("organisation", "other"), ("team", "devs"), ("user", "guest")];
    for action in ["add-team", "remove-team", "add-member", "remove-member", "remove-organisation"] {
        let refused = keeper.submit(&format!("/actions/people/{action}"), &elsewhere).await;
        assert_eq!(refused.status, 403, "{action}");
    }
    let page = admin.submit_and_follow("/actions/people/remove-organisation", &elsewhere).await;
    assert!(!page.html.contains("organisation-other"));
}

#[tokio::test]
async fn a_new_access_token_is_shown_once_and_can_be_revoked() {
    let server =
        closed_registry(|setup| setup.http.public_url = Some("https://registry.example.com".into())).await;
    let reader = Browser::signed_in(&server, "reader").await;
    let fields = [("name", "<script>alert(1)</script>"), ("role", "pull"), ("scope", "team/"), ("days", "7")];
    let done = reader.submit("/actions/tokens/add", &fields).await;
    assert_eq!((done.status, done.location().as_str()), (303, "/profile"));
    let page = reader.get("/profile").await;
    let token = page.after(r#"<code id="secret">"#);
    assert!(token.starts_with("orlop_"), "{token}");
    assert!(page.html.contains("docker login registry.example.com --username reader"), "{}", page.html);
    assert!(page.html.contains("in 7 days") && !page.html.contains("<script>alert"), "{}", page.html);
    let page = reader.get("/profile").await;
    assert!(!page.html.contains(&token), "shown once");
    assert_eq!(pull_status(&server, "reader", &token).await, 200);

    let id = token.split('_').nth(1).expect("an id");
    let pusher = Browser::signed_in(&server, "pusher").await;
    assert_eq!(pusher.submit("/actions/tokens/revoke", &[("id", id)]).await.status, 403, "another user's");
    let foreign = [("account", "reader"), ("name", ""), ("role", "pull"), ("scope", "")];
    assert_eq!(pusher.submit("/actions/tokens/add", &foreign).await.status, 403);
    assert_eq!(reader.get("/people/tokens").await.status, 403);
    let admin = Browser::signed_in(&server, "admin").await;
    let all = admin.get("/people/tokens?search=read").await;
    assert!(all.html.contains(id) && all.html.contains("&#60;script&#62;"), "{}", all.html);
    let page = reader.submit_and_follow("/actions/tokens/revoke", &[("id", id)]).await;
    assert!(page.html.contains("The access token is revoked.") && !page.html.contains(id), "{}", page.html);
    assert_eq!(pull_status(&server, "reader", &token).await, 401);

    let fields = [("account", "reader"), ("name", "ci"), ("role", "pull"), ("scope", ""), ("days", "")];
    let fields = [&fields[..], &[("next", "/people/users/reader")]].concat();
    let done = admin.submit("/actions/tokens/add", &fields).await;
    assert_eq!(done.location(), "/people/users/reader");
    let token = admin.get(&done.location()).await.after(r#"<code id="secret">"#);
    assert_eq!(pull_status(&server, "reader", &token).await, 200);
    for days in ["0", "36501", "-1", "x"] {
        let fields = [("name", ""), ("role", "pull"), ("scope", ""), ("days", days)];
        assert_eq!(reader.submit("/actions/tokens/add", &fields).await.status, 400, "{days}");
    }
}

#[tokio::test]
async fn users_change_their_password_with_the_current_one() {
    let server = closed_registry(|_| {}).await;
    let reader = Browser::signed_in(&server, "reader").await;
    let elsewhere = Browser::signed_in(&server, "reader").await;
    let change = async |current: &str, new: &str, repeated: &str| {
        let fields = [("current", current), ("new", new), ("repeated", repeated)];
        reader.submit("/actions/profile/password", &fields).await
    };
    let wrong = change("wrong", "another horse", "another horse").await;
    assert!(wrong.status == 403 && wrong.html.contains("The current password is wrong."), "{}", wrong.html);
    let differ = change(PASSWORD, "another horse", "another house").await;
    assert!(differ.status == 400 && differ.html.contains("The new passwords differ."), "{}", differ.html);
    assert_eq!(change(PASSWORD, "short", "short").await.status, 400);
    let done = reader.submit("/actions/tokens/add", &[("name", "x"), ("role", "admin"), ("scope", "")]).await;
    let token = reader.get(&done.location()).await.after(r#"<code id="secret">"#);
    assert_eq!(change(&token, "another horse", "another horse").await.status, 403, "not with a token");
    assert_eq!(elsewhere.user().await.as_deref(), Some("reader"));
    let before = reader.cookie(COOKIE_NAME);
    let done = change(PASSWORD, "another horse", "another horse").await;
    assert_eq!((done.status, done.location().as_str()), (303, "/profile?notice=password-changed"));
    assert_ne!(reader.cookie(COOKIE_NAME), before, "this browser has a new session");
    assert_eq!(reader.user().await.as_deref(), Some("reader"));
    assert_eq!(elsewhere.user().await, None, "other sessions have ended");
    assert_eq!(pull_status(&server, "reader", "another horse").await, 200);
}

#[tokio::test]
async fn passwords_from_elsewhere_are_changed_there() {
    let dir = TempDir::new().expect("folder");
    let file = dir.path().join("users");
    let hash = bcrypt::hash(PASSWORD, 4).expect("hashed");
    std::fs::write(&file, format!("filed:{hash}\n")).expect("written");
    let server = Server::with(|setup| setup.access_control.htpasswd = Some(file)).await;
    add_user(&server, "boss", &[("", Role::Admin)]).await;
    let filed = Browser::signed_in(&server, "filed").await;
    let page = filed.get("/profile").await;
    assert!(
        page.html.contains("in the htpasswd file") && !page.html.contains(r#"name="current""#),
        "{}",
        page.html
    );
    let fields = [("current", PASSWORD), ("new", "another horse"), ("repeated", "another horse")];
    assert_eq!(filed.submit("/actions/profile/password", &fields).await.status, 409);
    let boss = Browser::signed_in(&server, "boss").await;
    let page = boss.get("/people").await;
    assert!(
        page.html.contains("/people/users/filed") && page.html.contains("htpasswd file"),
        "{}",
        page.html
    );
    let page = boss.get("/people/users/filed").await;
    assert!(page.html.contains("auth.htpasswd") && !page.html.contains("/actions/people/disable"));
}

#[tokio::test]
async fn users_see_and_end_their_sessions() {
    let server = closed_registry(|_| {}).await;
    let reader = Browser::signed_in(&server, "reader").await;
    let elsewhere = Browser::signed_in(&server, "reader").await;
    let sessions = server.access_control.sessions_of("reader");
    let id = |browser: &Browser<'_>| {
        let secret = browser.cookie(COOKIE_NAME).expect("a cookie");
        server.access_control.session(&secret).expect("a session").id
    };
    assert_eq!(sessions.len(), 2);
    let page = reader.get("/profile").await;
    assert_eq!(page.html.matches("Firefox on Linux</span>").count(), 2, "{}", page.html);
    assert_eq!(page.html.matches("this browser").count(), 1);
    let pusher = Browser::signed_in(&server, "pusher").await;
    let foreign = pusher.submit("/actions/sessions/end", &[("id", &id(&reader))]).await;
    let unknown = pusher.submit("/actions/sessions/end", &[("id", "000000000000")]).await;
    assert_eq!((foreign.status, unknown.status), (403, 403), "reveals nothing");
    assert_eq!(pusher.submit("/actions/sessions/end-all", &[("account", "reader")]).await.status, 403);
    let page = reader.submit_and_follow("/actions/sessions/end", &[("id", &id(&elsewhere))]).await;
    assert!(page.html.contains("The session has ended."));
    assert_eq!(elsewhere.user().await, None);
    let own = reader.submit("/actions/sessions/end", &[("id", &id(&reader))]).await;
    assert_eq!(own.location(), "/?notice=signed-out");
    assert_eq!((reader.user().await, reader.cookie(COOKIE_NAME).is_some()), (None, true), "a visitor again");

    let admin = Browser::signed_in(&server, "admin").await;
    let page = admin.get("/people/sessions?search=pusher").await;
    assert!(page.html.contains(&id(&pusher)) && !page.html.contains("/people/users/admin"), "{}", page.html);
    admin.submit_and_follow("/actions/sessions/end-all", &[("account", "pusher")]).await;
    assert_eq!(pusher.user().await, None);
    assert_eq!(admin.user().await.as_deref(), Some("admin"));
}

#[tokio::test]
async fn lists_of_people_are_paged() {
    let server = closed_registry(|_| {}).await;
    for at in 0..60 {
        let record = orlop::metadata::AccountRecord {
            name: format!("user-{at:02}"),
            kind: AccountKind::Person,
            password: None,
            identity: None,
            disabled: false,
            created_at: server.clock.now(),
            by: None,
        };
        let added = orlop::metadata::AccountChange::Add(record, Vec::new());
        server.registry.metadata().change_accounts(added).await.expect("added");
    }
    let by = ChangeAuthor { name: "test", now: server.clock.now() };
    server.access_control.add_organisation("reload", by).await.expect("added");
    let admin = Browser::signed_in(&server, "admin").await;
    let first = admin.get("/people").await;
    assert_eq!(first.html.matches(r#"<a href="/people/users/"#).count(), 50);
    assert!(first.html.contains("/people?page=2"), "{}", first.html);
    assert_eq!(admin.get("/people?page=2").await.html.matches(r#"<a href="/people/users/"#).count(), 15);
    let found = admin.get("/people?search=USER-0").await;
    assert_eq!(found.html.matches(r#"<a href="/people/users/"#).count(), 10);
}

#[tokio::test]
async fn search_finds_only_what_the_visitor_may_pull() {
    let server = closed_registry(|_| {}).await;
    let reader = Browser::signed_in(&server, "reader").await;
    let page = reader.get("/search?q=app").await;
    assert!(page.html.contains(r#"href="/r/team/app""#) && !page.html.contains("other/app"), "{}", page.html);
    let none = reader.get("/search?q=%3Cscript%3Ealert(1)%3C/script%3E").await;
    assert!(none.html.contains("Nothing matches") && !none.html.contains("<script>alert"), "{}", none.html);
    let anonymous = Browser::new(&server).get("/search?q=app").await;
    assert_eq!((anonymous.status, anonymous.location().as_str()), (303, "/sign-in?next=%2Fsearch%3Fq%3Dapp"));
    let open = Server::with(|setup| setup.access_control.modes = AnonymousModes::with_default(None)).await;
    open.push_image("team/app", "v1", b"layer").await;
    let page = Browser::new(&open).get("/search?q=APP").await;
    assert!(page.html.contains(r#"href="/r/team/app""#), "{}", page.html);
    let head = Browser::new(&open);
    assert_eq!(head.send(head.request(Method::HEAD, "/search")).await.status, 200);
}
