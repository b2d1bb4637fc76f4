//! Removing and restoring content, with a running server and on a stopped store.

use super::{Place, Server, ask, get};

const ABSENT: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// A store, with its server while it runs.
struct Store {
    place: Place,
    server: Option<Server>,
}

impl Store {
    /// Creates a store with two images. The newer has the tags `latest` and `2`.
    fn filled() -> Self {
        let place = Place::new();
        let server = place.serve();
        for (tag, content) in [("1", b"one"), ("latest", b"one"), ("2", b"two"), ("latest", b"two")] {
            server.push("team/app", tag, content);
        }
        Self { place, server: Some(server) }
    }

    /// Runs a command that must succeed, and returns its output.
    fn fine(&self, arguments: &[&str]) -> String {
        let ran = self.place.run(arguments);
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{arguments:?}: {}", ran.out);
        ran.out
    }

    /// Runs a command that must fail, and returns its error.
    fn fails(&self, arguments: &[&str], code: i32) -> String {
        let ran = self.place.run(arguments);
        assert_eq!((ran.code, ran.out.as_str()), (Some(code), ""), "{arguments:?}: {}", ran.err);
        ran.err
    }

    /// Returns the digest that a tag points at.
    fn digest(&self, repository: &str, tag: &str) -> Option<String> {
        let ran = self.place.run(&["tags", repository, "--json"]);
        let tags: Vec<serde_json::Value> = serde_json::from_str(&ran.out).ok()?;
        let found = tags.into_iter().find(|found| found["name"] == tag)?;
        Some(found["digest"].as_str().expect("a digest").to_owned())
    }

    fn names(&self, arguments: &[&str], member: &str) -> Vec<String> {
        let found = self.place.json(arguments);
        let found = found.as_array().expect("a list").iter();
        found.map(|item| item[member].as_str().expect("text").to_owned()).collect()
    }
}

/// Runs `test` with a running server, and again on a stopped store.
fn with_and_without_server(test: impl Fn(&Store)) {
    test(&Store::filled());
    let mut store = Store::filled();
    assert_eq!(store.server.take().map(Server::end), Some(Some(0)));
    test(&store);
    let ran = store.place.run(&["fsck"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

#[test]
fn removes_and_restores_a_tag() {
    with_and_without_server(|store| {
        let out = store.fine(&["tag", "delete", "team/app:2"]);
        assert!(out.contains("orlop trash restore team/app:2 restores it"), "{out}");
        assert_eq!(store.digest("team/app", "2"), None);
        let table = store.fine(&["trash", "list"]);
        assert!(table.contains("  team/app:2\n"), "{table}");
        let out = store.fine(&["trash", "restore", "team/app:2"]);
        assert!(out.starts_with("restored team/app:2; it points at sha256:"), "{out}");
        assert_eq!(store.digest("team/app", "2"), store.digest("team/app", "latest"));
        assert!(store.fails(&["trash", "restore", "team/app:2"], 1).contains("the tag is in use"));
        assert!(store.fails(&["tag", "delete", "team/app:3"], 1).contains("no such content"));
        assert!(store.fails(&["tag", "delete", "team/app"], 2).contains("must be REPO:TAG"));
    });
}

#[test]
fn rolls_back_a_tag() {
    with_and_without_server(|store| {
        let one = store.digest("team/app", "1");
        let two = store.digest("team/app", "2");
        store.fine(&["tag", "rollback", "team/app:latest"]);
        assert_eq!(store.digest("team/app", "latest"), one);
        store.fine(&["tag", "rollback", "team/app:latest", "--to", two.as_deref().expect("there")]);
        assert_eq!(store.digest("team/app", "latest"), two);
        let kinds = store.names(&["tag", "history", "team/app:latest", "--json"], "kind");
        assert_eq!(kinds, ["rollback", "rollback", "move", "push"]);
        let table = store.fine(&["tag", "history", "team/app:latest", "--limit", "1"]);
        assert_eq!((table.lines().count(), table.contains("  rolled back  sha256:")), (2, true), "{table}");
        let error = store.fails(&["tag", "rollback", "team/app:latest", "--to", ABSENT], 1);
        assert_eq!(error, "error: the history of the tag does not contain this digest\n");
    });
}

#[test]
fn restores_a_manifest_until_the_trash_is_emptied() {
    let store = Store::filled();
    let two = store.digest("team/app", "2").expect("there");
    let server = store.server.as_ref().expect("running");
    let manifest = format!("{}/v2/team/app/manifests/{two}", server.url);
    let delete = || assert_eq!(ask(reqwest::Method::DELETE, &manifest, "text/plain", Vec::new()).0, 202);
    delete();
    let what = format!("team/app@{two}");
    let table = store.fine(&["trash", "list", "team/app"]);
    assert!(table.contains(&format!("  {what}  2, latest")), "{table}");
    let out = store.fine(&["trash", "restore", &what]);
    assert!(out.starts_with(&format!("restored {what}\n")), "{out}");
    assert_eq!(store.digest("team/app", "latest").as_deref(), Some(two.as_str()));
    assert_eq!(get(&manifest).0, 200);
    delete();
    let error = store.fails(&["trash", "empty"], 2);
    assert!(error.contains("Confirm with --yes"), "{error}");
    assert_eq!(store.names(&["trash", "list", "--json"], "digest"), [two.as_str()]);
    assert!(
        store.fine(&["trash", "empty", "other", "--yes"]).starts_with("permanently deleted 0 manifests\n")
    );
    let out = store.fine(&["trash", "empty", "--yes"]);
    assert!(
        out.starts_with("permanently deleted 1 manifest\nthe garbage collector frees their space"),
        "{out}"
    );
    assert!(store.fails(&["trash", "restore", &what], 1).contains("nothing to restore"));
}

#[test]
fn deletes_and_restores_a_repository() {
    with_and_without_server(|store| {
        let latest = store.digest("team/app", "latest");
        let error = store.fails(&["repo", "delete", "team/app"], 2);
        assert!(error.contains("Confirm with --yes"), "{error}");
        let out = store.fine(&["repo", "delete", "team/app", "--yes"]);
        assert!(out.starts_with("2 manifests of team/app removed; "), "{out}");
        assert_eq!(store.names(&["repos", "--json"], "name"), [""; 0]);
        assert_eq!(store.names(&["trash", "list", "--json"], "kind"), ["manifest"; 2]);
        assert!(store.fails(&["repo", "delete", "team/app", "--yes"], 1).contains("unknown"));
        assert_eq!(store.fine(&["trash", "restore", "team/app"]), "2 manifests of team/app restored\n");
        assert_eq!(store.digest("team/app", "latest"), latest);
        store.fine(&["repo", "delete", "team/app", "--yes"]);
        assert_eq!(store.place.json(&["repo", "restore", "team/app", "--json"])["done"], 2);
        assert_eq!(store.digest("team/app", "latest"), latest);
    });
}

#[test]
fn renames_a_repository() {
    with_and_without_server(|store| {
        let latest = store.digest("team/app", "latest");
        assert_eq!(store.fine(&["repo", "rename", "team/app", "moved"]), "renamed team/app to moved\n");
        assert_eq!((store.digest("moved", "latest"), store.digest("team/app", "latest")), (latest, None));
        assert!(store.fails(&["repo", "rename", "team/app", "other"], 1).contains("unknown"));
        assert!(store.fails(&["repo", "rename", "moved", "OTHER"], 2).contains("OTHER"));
    });
}

#[test]
fn closed_pipe_causes_no_panic() {
    let store = Store::filled();
    for arguments in [&["check-config"][..], &["healthcheck"], &["usage"], &["trash", "list"], &["repos"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = store.place.command(arguments);
        let output = command.stdout(writer).stderr(std::process::Stdio::piped()).spawn();
        let output = output.and_then(std::process::Child::wait_with_output).expect("it runs");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), errors.as_str()), (Some(0), ""), "{arguments:?}");
    }
}
