//! Lost or replaced metadata: a registry that required logins must never become open by that.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use super::{Place, Ran, Server, ask, get, walk};

const REFUSED: &str = "cannot be used: ";

/// Returns a stopped registry with an image and a user. `before` is a copy of its database before its last start.
fn closed_registry() -> Place {
    let place = Place::new();
    let server = place.serve();
    server.push("app", "1", b"hello");
    assert_eq!(server.end(), Some(0));
    let ran = place.run(&["user", "add", "ann", "--may", "pull"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    fs::copy(place.path("data/metadata/orlop.db"), place.path("before")).expect("copied");
    assert_eq!(place.serve().end(), Some(0));
    place
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("listed").flatten() {
        let target = to.join(entry.file_name());
        match entry.file_type().expect("known") {
            kind if kind.is_dir() => copy_tree(&entry.path(), &target),
            kind if kind.is_file() => drop(fs::copy(entry.path(), target).expect("copied")),
            _ => {}
        }
    }
}

impl Place {
    /// Returns another place with a copy of the store.
    fn cloned(&self) -> Self {
        let copy = Self::new();
        copy_tree(&self.path("data"), &copy.path("data"));
        copy
    }

    fn database(&self) -> std::path::PathBuf {
        self.path("data/metadata/orlop.db")
    }

    fn log(&self) -> std::path::PathBuf {
        self.path("data/metadata/orlop.db-wal")
    }

    /// Starts a server that must not start, and returns its output.
    fn refused(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
        let mut command = self.command(arguments);
        let command = command.envs(variables.iter().copied()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("it starts");
        let mut err = String::new();
        for line in BufReader::new(process.stderr.take().expect("piped")).lines() {
            let line = line.expect("readable");
            if line.contains(" serves ") {
                let _ = process.kill();
                panic!("it serves: {line}");
            }
            err.push_str(&line);
        }
        Ran { code: process.wait().expect("ended").code(), out: String::new(), err }
    }

    /// Checks that no command opens this store or removes anything from it.
    fn is_refused(&self, why: &str) {
        let blobs = walk(&self.path("data/blobs"));
        assert!(!blobs.is_empty());
        let serve = ["serve", "--listen", "127.0.0.1:0"];
        let read_only = [("ORLOP_STORAGE__READ_ONLY", "true")];
        for (arguments, variables) in
            [(&serve[..], &[][..]), (&serve, &read_only), (&["fsck", "--repair"], &[]), (&["gc"], &[])]
        {
            let ran = self.refused(arguments, variables);
            assert_eq!(ran.code, Some(1), "{why}: {ran:?}");
            assert!(ran.err.contains(REFUSED) && ran.err.contains(why), "{why}: {ran:?}");
            assert!(ran.err.contains("--accept-loss") && ran.err.contains("orlop restore"), "{ran:?}");
        }
        assert_eq!(walk(&self.path("data/blobs")), blobs, "{why}");
    }

    /// Accepts the loss and checks that the registry stays closed, also at later starts. Returns what the first start
    /// printed.
    fn opens_closed(&self, why: &str) -> String {
        let blobs = walk(&self.path("data/blobs"));
        let mut command = self.command(&["serve", "--listen", "127.0.0.1:0", "--accept-loss"]);
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut out = process.stdout.take().expect("piped");
        let server = Server::when_ready(process);
        assert!(server.rejects_anonymous_requests(), "{why}");
        assert_eq!(server.end(), Some(0), "{why}");
        let mut printed = String::new();
        out.read_to_string(&mut printed).expect("text");
        let server = self.serve();
        assert!(server.rejects_anonymous_requests(), "{why}");
        drop(server);
        let server = self.serve();
        assert!(server.rejects_anonymous_requests(), "{why}");
        assert_eq!(server.end(), Some(0), "{why}");
        assert_eq!(walk(&self.path("data/blobs")), blobs, "{why}");
        printed
    }
}

impl Server {
    fn rejects_anonymous_requests(&self) -> bool {
        let upload = format!("{}/v2/app/blobs/uploads/", self.url);
        let pushed = ask(reqwest::Method::POST, &upload, "application/octet-stream", Vec::new()).0;
        let pulled = get(&format!("{}/v2/app/manifests/1", self.url)).0;
        (pushed, pulled) == (401, 401)
    }

    fn kill(self) {
        drop(self);
    }
}

/// Damages the metadata of a store.
type Damage = fn(&Place);

#[test]
fn lost_database_is_rejected_until_the_loss_is_accepted() {
    let registry = closed_registry();
    let before = registry.path("before");
    let older = fs::read(before).expect("read");
    let damages: [(&str, bool, Damage); 5] = [
        ("it is missing", true, |place| fs::remove_file(place.database()).expect("removed")),
        ("it is empty", true, |place| fs::write(place.database(), "").expect("emptied")),
        ("it is not an SQLite database", true, |place| {
            fs::write(place.database(), "x".repeat(9000)).expect("written");
        }),
        ("pages are missing at its end", true, |place| {
            let file = fs::OpenOptions::new().write(true).open(place.database()).expect("opened");
            file.set_len(3 * 4096 + 100).expect("truncated");
        }),
        ("it belongs to the store", true, |place| {
            let other = Place::new();
            other.serve().push("app", "1", b"other");
            other.run(&["usage"]);
            fs::copy(other.database(), place.database()).expect("copied");
        }),
    ];
    for (why, is_new, damage) in damages {
        let place = registry.cloned();
        damage(&place);
        place.is_refused(why);
        let printed = place.opens_closed(why);
        assert_eq!(printed.contains("The administrator of this registry is admin"), is_new, "{printed}");
    }
    let place = registry.cloned();
    fs::write(place.database(), older).expect("replaced");
    place.is_refused("it is an older copy");
    let printed = place.opens_closed("it is an older copy");
    assert_eq!(printed, "", "its administrator is still there");
}

#[test]
fn missing_log_after_a_kill_is_rejected() {
    let registry = closed_registry();
    let old = fs::read(registry.database()).expect("read");
    registry.serve().kill();
    assert!(fs::metadata(registry.log()).expect("there").len() > 0);
    let damages: [(&str, Damage); 2] = [
        ("orlop.db-wal, is missing", |place| fs::remove_file(place.log()).expect("removed")),
        ("orlop.db-wal, is missing", |place| fs::write(place.log(), "").expect("emptied")),
    ];
    for (why, damage) in damages {
        let place = registry.cloned();
        damage(&place);
        place.is_refused(why);
        place.opens_closed(why);
    }
    let place = registry.cloned();
    fs::write(place.database(), old).expect("replaced");
    place.is_refused("it is an older copy");
    registry.serve().end();
}

#[test]
fn restores_from_a_backup_after_a_loss() {
    let registry = closed_registry();
    assert_eq!(registry.run(&["backup", "copy"]).code, Some(0));
    // What fsck records in the backup does not prevent the next backup.
    for _ in 0..2 {
        assert_eq!(registry.run(&["fsck", "--data", "copy"]).code, Some(0));
        assert_eq!(registry.run(&["backup", "copy"]).code, Some(0));
    }
    fs::write(registry.database(), "").expect("emptied");
    registry.is_refused("it is empty");
    let ran = registry.run(&["restore", "copy", "--data", "again"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(registry.run(&["fsck", "--data", "again"]).code, Some(0));
    let data = registry.path("again").display().to_string();
    let server = registry.serve_with(&[("ORLOP_STORAGE__DATA", &data)]);
    assert!(server.rejects_anonymous_requests());
    assert_eq!(server.end(), Some(0));
}

#[test]
fn server_starts_after_a_kill_at_any_moment() {
    let place = closed_registry();
    for milliseconds in (0..60).step_by(3) {
        let mut command = place.command(&["serve", "--listen", "127.0.0.1:0"]);
        let mut process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        std::thread::sleep(Duration::from_millis(milliseconds));
        let _ = process.kill();
        let _ = process.wait();
    }
    let server = place.serve();
    assert!(server.rejects_anonymous_requests());
    server.kill();
    // A start that fails late, or a command, leaves the store as a kill does.
    let other = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = other.local_addr().expect("its address").to_string();
    let ran = place.refused(&["serve", "--listen", &address], &[]);
    assert!(ran.err.contains("cannot listen"), "{ran:?}");
    drop(other);
    place.serve().kill();
    assert_eq!(place.run(&["usage"]).code, Some(0));
    let server = place.serve_with(&[("ORLOP_STORAGE__READ_ONLY", "true")]);
    assert!(server.rejects_anonymous_requests());
    server.kill();
    let server = place.serve();
    assert!(server.rejects_anonymous_requests());
    assert_eq!(server.end(), Some(0));
    assert!(!place.log().exists(), "a clean shutdown removes the log");
}

#[test]
fn registry_with_nothing_to_lose_starts_without_its_metadata() {
    let place = Place::new();
    assert_eq!(place.serve().end(), Some(0));
    fs::remove_dir_all(place.path("data/metadata")).expect("removed");
    assert_eq!(place.serve().end(), Some(0));
    fs::remove_file(place.path("data/state.json")).expect("removed");
    let server = place.serve();
    server.push("app", "1", b"hello");
    server.kill();
    fs::remove_file(place.path("data/state.json")).expect("removed");
    let server = place.serve();
    assert_eq!(get(&format!("{}/v2/app/manifests/1", server.url)).0, 200, "as before the state file existed");
    server.kill();
    fs::write(place.path("data/state.json"), "{").expect("written");
    place.is_refused("the state file state.json is malformed");
}

#[test]
fn open_registry_stays_open_after_its_loss_is_accepted() {
    let place = Place::new();
    let server = place.serve();
    server.push("app", "1", b"hello");
    server.kill();
    fs::remove_file(place.database()).expect("removed");
    place.is_refused("it is missing");
    let mut command = place.command(&["serve", "--listen", "127.0.0.1:0", "--accept-loss"]);
    let process = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    let server = Server::when_ready(process);
    server.push("app", "2", b"world");
    assert_eq!(server.end(), Some(0));
    assert_eq!(walk(&place.path("data/blobs")).len(), 2);
}

#[test]
fn data_directories_cannot_share_a_metadata_directory() {
    let place = Place::new();
    let metadata = place.path("metadata").display().to_string();
    let shared = [("ORLOP_METADATA__DIR", metadata.as_str())];
    let server = place.serve_with(&shared);
    copy_tree(&place.path("data"), &place.path("data2"));
    let data2 = place.path("data2").display().to_string();
    let ran = place.refused(
        &["serve", "--listen", "127.0.0.1:0"],
        &[("ORLOP_STORAGE__DATA", &data2), ("ORLOP_METADATA__DIR", &metadata)],
    );
    let expected = format!(
        "error: the metadata directory {metadata} is in use by another orlop (process {}): stop it first, \
         or choose another metadata.dir",
        server.process.id()
    );
    assert_eq!((ran.code, ran.err), (Some(1), expected));
    assert_eq!(server.end(), Some(0));
}
