//! The command line, on a stopped store and with a running server.

#[path = "cli/adopt.rs"]
mod adopt;
#[path = "cli/audit.rs"]
mod audit;
#[path = "cli/config_import.rs"]
mod config_import;
#[path = "cli/events.rs"]
mod events;
#[path = "cli/export.rs"]
mod export;
#[path = "cli/golden.rs"]
mod golden;
#[path = "cli/hostile.rs"]
mod hostile;
#[path = "cli/lost.rs"]
mod lost;
#[path = "cli/restore.rs"]
mod restore;
#[path = "cli/undo.rs"]
mod undo;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use orlop::oci::{Algorithm, Hasher};
use serde_json::Value;

/// A working directory with the store in `data`.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a directory") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_orlop"));
        command.args(arguments).current_dir(self.dir.path());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("ORLOP_") {
                command.env_remove(name);
            }
        }
        command.env("ORLOP_STORAGE__DATA", self.path("data"));
        command.env("ORLOP_STORAGE__MIN_FREE", "64MiB");
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        Ran::from(self.command(arguments).output().expect("it runs"))
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let ran = self.run(arguments);
        serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
    }

    fn serve(&self) -> Server {
        self.serve_with(&[])
    }

    fn serve_with(&self, variables: &[(&str, &str)]) -> Server {
        let mut command = self.command(&["serve", "--listen", "127.0.0.1:0"]);
        command.envs(variables.iter().copied()).stderr(Stdio::piped());
        Server::when_ready(command.spawn().expect("it starts"))
    }

    /// Returns the file of the only stored blob.
    fn blob_file(&self) -> PathBuf {
        let mut files = walk(&self.path("data/blobs"));
        assert_eq!(files.len(), 1, "{files:?}");
        files.remove(0)
    }
}

fn walk(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let below = |path: PathBuf| if path.is_dir() { walk(&path) } else { vec![path] };
    entries.flatten().flat_map(|entry| below(entry.path())).collect()
}

/// The output of a command.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("text");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

/// A stored manifest.
struct Stored {
    digest: String,
    size: usize,
}

/// A running server.
struct Server {
    process: Child,
    url: String,
}

impl Server {
    /// Waits until `process`, whose log is piped, accepts connections.
    fn when_ready(mut process: Child) -> Self {
        let mut log = BufReader::new(process.stderr.take().expect("piped"));
        let mut read = String::new();
        let url = loop {
            let from = read.len();
            assert_ne!(log.read_line(&mut read).expect("readable"), 0, "it ended before it served: {read}");
            let served = read[from..].split_once(" serves ").and_then(|(_, rest)| rest.split_once(" at "));
            if let Some((_, rest)) = served {
                break rest.split(',').next().unwrap_or_default().to_owned();
            }
        };
        // Keep reading, or the pipe fills up.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { process, url }
    }

    fn signal(&self) {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("alive");
    }

    /// Shuts the server down, and returns its exit code.
    fn end(mut self) -> Option<i32> {
        self.signal();
        self.process.wait().expect("waited for").code()
    }

    /// Returns the digest and size of the manifest that a tag points at.
    fn manifest_digest(&self, repository: &str, tag: &str) -> Stored {
        let (status, content) = get(&format!("{}/v2/{repository}/manifests/{tag}", self.url));
        assert_eq!(status, 200, "{content}");
        let digest = Hasher::digest(Algorithm::Sha256, content.as_bytes()).to_string();
        Stored { digest, size: content.len() }
    }

    /// Pushes an image without layers whose config is `content`. Returns the config's digest.
    fn push(&self, repository: &str, tag: &str, content: &[u8]) -> String {
        let digest = Hasher::digest(Algorithm::Sha256, content).to_string();
        let upload = format!("{}/v2/{repository}/blobs/uploads/?digest={digest}", self.url);
        request(reqwest::Method::POST, &upload, "application/octet-stream", content.to_vec());
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        let config = serde_json::json!({
            "mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": content.len(),
        });
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": media_type, "config": config, "layers": [],
        });
        let url = format!("{}/v2/{repository}/manifests/{tag}", self.url);
        request(reqwest::Method::PUT, &url, media_type, manifest.to_string().into_bytes());
        digest
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn request(method: reqwest::Method, url: &str, content_type: &str, body: Vec<u8>) {
    let (status, answer) = ask(method, url, content_type, body);
    assert_eq!(status, 201, "{url}: {answer}");
}

/// Returns status and body of a response.
fn ask(method: reqwest::Method, url: &str, content_type: &str, body: Vec<u8>) -> (u16, String) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("threads");
    runtime.block_on(async {
        let request = reqwest::Client::new().request(method, url).header("content-type", content_type);
        let response = request.body(body).send().await.expect("answered");
        (response.status().as_u16(), response.text().await.expect("text"))
    })
}

fn get(url: &str) -> (u16, String) {
    ask(reqwest::Method::GET, url, "text/plain", Vec::new())
}

#[test]
fn help_lists_the_commands() {
    let ran = Place::new().run(&["--help"]);
    assert_eq!(ran.code, Some(0));
    for command in [
        "serve",
        "gc",
        "fsck",
        "scrub",
        "events",
        "audit",
        "check-config",
        "usage",
        "why",
        "trash",
        "tag",
        "repo",
        "backup",
        "restore",
        "export",
        "healthcheck",
    ] {
        assert!(ran.out.contains(&format!("\n  {command} ")), "{command} in {}", ran.out);
    }
    assert!(ran.out.contains("Exit codes:"));
    assert!(ran.out.contains("ORLOP_GC__INTERVAL=200ms"));
}

#[test]
fn invalid_usage_and_settings_exit_with_2() {
    let place = Place::new();
    assert_eq!(place.run(&["gc", "--dry"]).code, Some(2));
    let ran = place.run(&["serve", "--listen", "5000"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.starts_with("error: server.listen (set by --listen): \"5000\""), "{}", ran.err);
    assert!(ran.err.contains("write \"0.0.0.0:5000\""), "{}", ran.err);
    for (rate, reason) in [("5", "a size with its unit"), ("5B", "at least 1KiB"), ("0MiB", "at least 1KiB")]
    {
        let ran = place.run(&["scrub", "--now", "--rate", rate]);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.err.contains(reason), "{}", ran.err);
    }
    for command in ["serve", "gc", "usage", "check-config", "healthcheck"] {
        let ran = Ran::from(place.command(&[command]).env("ORLOP_GC__LEASE", "1").output().expect("it runs"));
        let expected = "error: gc.lease (set by ORLOP_GC__LEASE): \"1\" is not a duration with its unit, \
                        such as \"200ms\", \"10m\" or \"14d\"\n";
        assert_eq!((ran.code, ran.err.as_str()), (Some(2), expected), "{command}");
    }
}

#[test]
fn check_config_prints_effective_settings() {
    let place = Place::new();
    fs::write(place.path("orlop.toml"), "[gc]\ninterval = \"1m\"").expect("written");
    let ran = place.run(&["check-config", "--config", "orlop.toml", "--data", "/srv/registry"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.out.starts_with("# orlop.toml is valid. Effective settings:\n"), "{}", ran.out);
    assert!(ran.out.contains("interval = \"1m\"\n"));
    let json = place.json(&["check-config", "--config", "orlop.toml", "--data", "/srv/registry", "--json"]);
    assert_eq!(json["settings"]["storage"]["data"], "/srv/registry");
    assert_eq!(json["settings"]["gc"]["untagged"], "14d");
}

#[test]
fn check_config_warns_of_settings_without_effect() {
    let place = Place::new();
    let warned = |storage: &str| {
        fs::write(place.path("orlop.toml"), format!("[storage]\n{storage}")).expect("written");
        let ran = place.run(&["check-config", "--config", "orlop.toml"]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let json = place.json(&["check-config", "--config", "orlop.toml", "--json"]);
        let warnings = json["warnings"].as_array().expect("a list").len();
        assert_eq!(warnings, ran.err.lines().count());
        ran.err
    };
    assert_eq!(
        warned("low_mark = \"50%\""),
        "warning: storage.low_mark has no effect without storage.budget\n"
    );
    let both = warned("high_mark = \"95%\"\nlow_mark = \"70%\"");
    assert!(both.contains("storage.high_mark has") && both.contains("storage.low_mark has"), "{both}");
    assert_eq!(warned("low_mark = \"50%\"\nbudget = \"80%\""), "");
    let tight = place.command(&["check-config"]).env("ORLOP_STORAGE__MIN_FREE", "10MiB").output();
    let tight = Ran::from(tight.expect("it runs")).err;
    assert!(tight.contains("storage.min_free = 10MiB is less than the 64MiB"), "{tight}");
    assert_eq!(warned("low_mark = \"80%\""), "", "the default value causes no warning");
}

/// Existing content and users stay; the operator is warned by `check-config` and at the start.
#[test]
fn check_config_warns_of_exceeded_quotas_and_confusable_users() {
    let place = Place::new();
    let server = place.serve();
    server.push("team/app", "1", b"hello");
    assert_eq!(server.end(), Some(0));
    let hash = bcrypt::hash("secret", 4).expect("hashed");
    fs::write(place.path("users"), format!("olga:{hash}\nOlga:{hash}\nADMIN:{hash}\n")).expect("written");
    let quotas = "[[quotas]]\nprefix = \"team/\"\nbytes = \"1kB\"\ntags = 1\n[[quotas]]\nprefix = \"\"\nbytes = \"100B\"\n";
    let settings = format!("[auth]\nhtpasswd = \"users\"\n{quotas}");
    fs::write(place.path("orlop.toml"), settings).expect("written");
    let ran = place.run(&["check-config", "--config", "orlop.toml"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let warned: Vec<&str> = ran.err.lines().filter(|line| line.starts_with("warning: ")).collect();
    let expected = [
        "warning: the quota of this registry is exceeded: ",
        "warning: the users ADMIN and admin differ only in case",
        "warning: the users Olga and olga differ only in case",
    ];
    assert_eq!(warned.len(), expected.len(), "{ran:?}");
    for (line, start) in warned.iter().zip(expected) {
        assert!(line.starts_with(start), "{line}");
    }
}

#[test]
fn unknown_repository_has_no_usage_and_no_plan() {
    let place = Place::new();
    let server = place.serve();
    server.push("team/app", "1", b"hello");
    let check = || {
        let ran = place.run(&["usage", "team"]);
        let prefix = "to select a prefix, end it with a slash: team/";
        let expected = format!("error: the registry has no repository team; {prefix}\n");
        assert_eq!((ran.code, ran.err), (Some(1), expected));
        assert_eq!(place.run(&["usage", "none/"]).code, Some(0));
        for command in ["plan", "apply"] {
            let ran = place.run(&["retention", command, "team"]);
            assert_eq!((ran.code, &*ran.err), (Some(1), "error: the registry has no repository team\n"));
        }
    };
    check();
    assert_eq!(server.end(), Some(0));
    check();
}

#[test]
fn check_config_reads_certificate_and_key() {
    let place = Place::new();
    fs::write(place.path("orlop.toml"), "[server]\ntls_certificate = \"c.pem\"\ntls_key = \"k.pem\"")
        .expect("written");
    let ran = place.run(&["check-config", "--config", "orlop.toml"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.err.starts_with("error: server.tls_certificate, server.tls_key: c.pem: "), "{}", ran.err);

    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("certificate");
    fs::write(place.path("c.pem"), made.cert.pem()).expect("written");
    fs::write(place.path("k.pem"), made.signing_key.serialize_pem()).expect("written");
    assert_eq!(place.run(&["check-config", "--config", "orlop.toml"]).code, Some(0));
    let settings = fs::read_to_string(place.path("orlop.toml")).expect("read");
    fs::write(place.path("orlop.toml"), settings + "\ntls_client_ca = \"ca.pem\"").expect("written");
    let ran = place.run(&["check-config", "--config", "orlop.toml"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.err.starts_with("error: server.tls_client_ca: ca.pem: "), "{}", ran.err);
}

#[test]
fn check_config_reads_the_acme_files() {
    let place = Place::new();
    let acme = "[acme]\nnames = [\"registry.example\"]\naccept_terms = true\neab_key_id = \"a\"\n";
    let settings = format!("{acme}eab_key_file = \"eab\"\n[outbound]\nca_file = \"ca.pem\"");
    fs::write(place.path("orlop.toml"), settings).expect("written");
    let refused = |expected: &str| {
        let ran = place.run(&["check-config", "--config", "orlop.toml"]);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.err.starts_with(expected), "{}", ran.err);
    };
    refused("error: acme.eab_key_file: eab cannot be used: ");
    fs::write(place.path("eab"), "not a key").expect("written");
    refused("error: acme.eab_key_file: eab cannot be used: it does not hold a key in Base64");
    fs::write(place.path("eab"), "c2VjcmV0\n").expect("written");
    refused("error: outbound.ca_file: ca.pem: ");
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("certificate");
    fs::write(place.path("ca.pem"), made.cert.pem()).expect("written");
    let ran = place.run(&["check-config", "--config", "orlop.toml"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(!ran.out.contains("c2VjcmV0"), "{}", ran.out);
}

#[test]
fn check_config_reads_the_user_file() {
    let place = Place::new();
    fs::write(place.path("orlop.toml"), "[auth]\nhtpasswd = \"users\"").expect("written");
    let ran = place.run(&["check-config", "--config", "orlop.toml"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.err.starts_with("error: auth.htpasswd: users cannot be read: "), "{}", ran.err);
}

#[test]
fn maintenance_commands_create_no_store() {
    let place = Place::new();
    let commands: [&[&str]; 10] = [
        &["gc"],
        &["fsck", "--repair"],
        &["usage"],
        &["scrub"],
        &["events"],
        &["audit"],
        &["backup", "there"],
        &["repos"],
        &["trash", "list"],
        &["repo", "delete", "app", "--yes"],
    ];
    for command in commands {
        let ran = place.run(command);
        assert_eq!(ran.code, Some(1));
        let data = place.path("data");
        let expected = format!(
            "error: no store in {}: run `orlop serve` with it first, or correct storage.data\n",
            data.display()
        );
        assert_eq!(ran.err, expected);
        assert!(!data.exists());
    }
}

/// Checks the explanation of the image `library/app:1`, which has one blob.
fn check_why(place: &Place) {
    let why = place.json(&["why", "library/app:1", "--json"]);
    let digest = why["digest"].as_str().expect("a digest").to_owned();
    assert_eq!((&why["manifests"][0]["tags"][0], &why["blob"]), (&"1".into(), &serde_json::Value::Null));
    let text = place.run(&["why", &format!("library/app@{digest}")]).out;
    assert!(text.starts_with(&format!("manifest {digest} in library/app\n  tagged 1\n")), "{text}");
    assert!(text.contains(" would be freed when it is deleted"), "{text}");
    let blob = Hasher::digest(Algorithm::Sha256, b"hello");
    let text = place.run(&["why", blob.as_str()]).out;
    assert!(text.starts_with(&format!("blob {blob}, 5 B\n  in library/app:\n")), "{text}");
    assert!(text.contains(&format!("referenced by the manifest {digest} (1)\n")), "{text}");
    let ran = place.run(&["why", "library/app:2"]);
    assert_eq!((ran.code, &*ran.err), (Some(1), "error: 2 not found in library/app\n"));
    assert_eq!(place.run(&["why", "library/app"]).code, Some(2));
}

#[test]
fn second_server_names_the_first() {
    let place = Place::new();
    let server = place.serve();
    let ran = place.run(&["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(ran.code, Some(1));
    let expected = format!(
        "error: the data directory {} is in use by another orlop (process {}): stop it first, \
         or choose another storage.data\n",
        place.path("data").display(),
        server.process.id()
    );
    assert_eq!(ran.err, expected);
    assert_eq!(server.end(), Some(0));
}

#[test]
fn maintenance_works_with_and_without_a_server() {
    let place = Place::new();
    let server = place.serve();
    server.push("library/app", "1", b"hello");
    check_maintenance(&place);
    assert_eq!(place.run(&["healthcheck"]).out, "ready\n");
    assert_eq!(server.end(), Some(0));
    assert!(!place.path("data/admin.sock").exists());
    assert_eq!(place.run(&["healthcheck"]).code, Some(1));
    check_maintenance(&place);
}

#[test]
fn healthcheck_only_accepts_the_server_of_its_data_directory() {
    let place = Place::new();
    let other = Place::new();
    let server = place.serve();
    let another = other.serve();
    let listen = |server: &Server| server.url.trim_start_matches("http://").to_owned();
    let check = |address: &str| {
        let mut command = place.command(&["healthcheck"]);
        Ran::from(command.env("ORLOP_SERVER__LISTEN", address).output().expect("it runs"))
    };
    // The socket knows the server's real address, whatever the settings say.
    assert_eq!(check(&listen(&another)).out, "ready\n");
    fs::remove_file(place.path("data/admin.sock")).expect("removed");
    assert_eq!(check(&listen(&server)).out, "ready\n");
    let ran = check(&listen(&another));
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("does not serve the data directory"), "{}", ran.err);
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = silent.local_addr().expect("bound").to_string();
    drop(silent);
    assert!(check(&address).err.contains("no server seems to use the data directory"));
    assert_eq!((server.end(), another.end()), (Some(0), Some(0)));
}

#[test]
fn sighup_does_not_stop_the_server() {
    let place = Place::new();
    let server = place.serve();
    let pid = rustix::process::Pid::from_child(&server.process);
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).expect("alive");
    server.push("app", "1", b"hello");
    assert_eq!(place.run(&["healthcheck"]).out, "ready\n");
    assert_eq!(server.end(), Some(0));
}

#[test]
fn lists_repositories_and_tags_with_and_without_a_server() {
    let place = Place::new();
    let server = place.serve();
    server.push("library/app", "1", b"hello");
    server.push("library/app", "2", b"hello again");
    server.push("other", "latest", b"hello");
    list(&place);
    assert_eq!(server.end(), Some(0));
    list(&place);
}

fn list(place: &Place) {
    let names = |arguments: &[&str]| -> Vec<String> {
        let found = place.json(arguments);
        let found = found.as_array().expect("a list").iter();
        found.map(|item| item["name"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(names(&["repos", "--json"]), ["library/app", "other"]);
    assert_eq!(names(&["repos", "lib", "--json"]), ["library/app"]);
    assert_eq!(names(&["repos", "--sort", "size", "--reverse", "--json"]), ["other", "library/app"]);
    assert_eq!(names(&["tags", "library/app", "--sort", "size", "--limit", "1", "--json"]), ["2"]);
    assert_eq!(names(&["tags", "library/app", "--search", "2", "--json"]), ["2"]);
    let table = place.run(&["tags", "library/app"]).out;
    let lines: Vec<_> = table.lines().collect();
    assert!(lines[0].starts_with("TAG  SIZE  PUSHED (UTC)"), "{table}");
    assert!(lines[0].contains("  PROTECTION") && lines[1].contains("  -"), "{table}");
    assert!(lines[1].starts_with("1     5 B  20") && lines[1].contains("  never  "), "{table}");
    let ran = place.run(&["tags", "none"]);
    assert_eq!((ran.code, &*ran.err), (Some(1), "error: repository unknown to the registry\n"));
    assert_eq!(place.run(&["tags", "NONE"]).code, Some(1));
}

#[test]
fn plans_and_applies_policies_with_and_without_a_server() {
    let place = Place::new();
    let server = place.serve();
    for tag in ["a", "v1"] {
        server.push("team/app", tag, tag.as_bytes());
    }
    let text = "[[policies]]\nname = \"mine\"\n[[policies.rules]]\nname = \"releases\"\naction = \"keep\"\ntags = [\"v*\"]\n\
                [[policies.rules]]\nname = \"old\"\naction = \"expire\"\npushed_before = \"1ms\"";
    fs::write(place.path("mine.toml"), text).expect("written");
    assert_eq!(place.run(&["retention", "check", "mine.toml"]).code, Some(0));
    let set = place.run(&["retention", "set", "mine.toml"]);
    assert_eq!(set.code, Some(0), "{set:?}");
    assert!(
        set.out.starts_with("mine is in force.\nWarning: rule `old` of retention policy `mine`"),
        "{set:?}"
    );
    let plan = place.json(&["retention", "plan", "--json"]);
    assert_eq!((&plan["tags"], &plan["tags_kept"]), (&1.into(), &1.into()), "{plan}");
    assert_eq!(server.end(), Some(0));
    let plan = place.run(&["retention", "plan", "team/app"]);
    assert!(
        plan.out.contains("expire  expired by rule `old`") && plan.out.contains("keep    kept: rule"),
        "{plan:?}"
    );
    let applied = place.json(&["retention", "apply", "--strict", "--json"]);
    assert_eq!((&applied["tags"], &applied["stopped"]), (&1.into(), &false.into()), "{applied}");
    assert!(place.run(&["retention", "runs"]).out.contains("request"));
    assert!(place.run(&["retention", "policies"]).out.contains("name = \"mine\""));
    assert_eq!(place.run(&["retention", "remove", "mine"]).code, Some(0));
    assert_eq!(place.json(&["tags", "team/app", "--json"]).as_array().map(Vec::len), Some(1));

    fs::write(place.path("bad.toml"), text.replace("1ms", "0ms")).expect("written");
    let refused = place.run(&["retention", "set", "bad.toml"]);
    assert!(refused.err.contains("rule `old` of retention policy `mine`"), "{refused:?}");
    fs::write(
        place.path("config.toml"),
        text.replace("[[policies", "[[retention.policies").replace("1ms", "0ms"),
    )
    .expect("written");
    let refused = Ran::from(
        place
            .command(&["check-config"])
            .env("ORLOP_CONFIG", place.path("config.toml"))
            .output()
            .expect("it runs"),
    );
    assert!(
        refused.code == Some(2) && refused.err.contains("rule `old` of retention policy `mine`"),
        "{refused:?}"
    );
}

#[test]
fn prints_presets_and_imports_as_configuration() {
    let place = Place::new();
    let preset = place.run(&["retention", "presets", "ci"]).out;
    assert!(preset.contains("[[retention.policies]]") && !preset.contains("[[policies"), "{preset}");
    fs::write(place.path("preset.toml"), preset).expect("written");
    assert_eq!(place.run(&["check-config", "--config", "preset.toml"]).code, Some(0));
    assert_eq!(place.run(&["retention", "check", "preset.toml"]).code, Some(0));

    let zot = "storage:\n  retention:\n    policies:\n      - repositories: ['**']\n        keeptags: [{patterns: ['v.*']}]\n        keepuntagged: {pulledwithin: 168h}\n";
    fs::write(place.path("zot.yaml"), zot).expect("written");
    let imported = place.run(&["retention", "import", "zot", "zot.yaml", "--name", "old"]);
    assert_eq!(imported.code, Some(0), "{imported:?}");
    assert!(imported.out.contains("name = \"keep-untagged-pulled\""), "{imported:?}");
    fs::write(place.path("imported.toml"), imported.out).expect("written");
    assert_eq!(place.run(&["check-config", "--config", "imported.toml"]).code, Some(0));
    let refused = place.run(&["retention", "import", "ecr", "zot.yaml"]);
    assert!(
        refused.code != Some(0)
            && refused.err.contains("zot.yaml: the document is not an ECR lifecycle policy"),
        "{refused:?}"
    );
}

fn check_maintenance(place: &Place) {
    let usage = place.json(&["usage", "--json"]);
    let store = &usage["store"];
    assert_eq!((&store["blobs"], &store["blob_bytes"]), (&1.into(), &5.into()));
    assert_eq!(usage["repositories"][0]["name"], "library/app");
    assert!(place.run(&["usage"]).out.starts_with("1 blob, 5 B; 1 manifest; 0 open uploads\n"));
    let one = place.json(&["usage", "library/app", "--json"]);
    assert_eq!((&one["scope"], &one["usage"]["tags"]), (&"library/app".into(), &1.into()));
    assert_eq!(one["store"], Value::Null);
    assert_eq!(one["reclaimable"]["trash"]["last"], Value::Null);
    assert!(place.run(&["usage", "library/app"]).out.contains("\n0 B reclaimable now\n"));
    check_why(place);
    assert_eq!(place.json(&["gc", "--dry-run", "--json"])["dry_run"], true);
    assert_eq!(place.json(&["gc", "--json"])["blobs"], 0);
    let ran = place.run(&["fsck"]);
    assert_eq!(ran.out, "1 blob (5 B) and 1 manifest checked\nno problems found\n");
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
}

#[test]
fn fsck_finds_damage_and_a_push_repairs_it() {
    let place = Place::new();
    let server = place.serve();
    let digest = server.push("app", "1", b"hello");
    fs::write(place.blob_file(), b"hellO").expect("damaged");
    let ran = place.run(&["fsck"]);
    assert_eq!(ran.code, Some(1));
    let (first, rest) = ran.out.split_once('\n').expect("lines");
    assert!(first.starts_with(&format!("{digest}: its bytes hash to sha256:")), "{first}");
    assert!(rest.contains(&format!("refers to {digest}, whose content is damaged\n")), "{rest}");
    let report = place.json(&["fsck", "--repair", "--json"]);
    assert_eq!(report["counts"]["damaged_blob"], 1);
    server.push("app", "1", b"hello");
    let ran = place.run(&["fsck"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

#[test]
fn scrub_quarantines_damage_and_a_push_repairs_it() {
    let place = Place::new();
    let server = place.serve();
    let digest = server.push("app", "1", b"hello");
    let ran = place.run(&["scrub", "--now", "--rate", "1MiB"]);
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (Some(0), "1 blob (5 B) and 1 manifest checked\nno problems found\n")
    );
    fs::write(place.blob_file(), b"hellO").expect("damaged");
    let blob = format!("{}/v2/app/blobs/{digest}", server.url);
    assert_eq!(get(&blob).0, 200, "the damage is not detected yet");
    let report = place.json(&["scrub", "--now", "--json"]);
    assert_eq!((&report["damaged"], &report["set_aside"][0]["digest"]), (&1.into(), &digest.as_str().into()));
    absent_everywhere(&server, &digest);
    // The readiness is cached for a second.
    let until = Instant::now() + Duration::from_secs(10);
    while !wait_for_readiness(&server, 200).contains("1 blob is quarantined") {
        assert!(Instant::now() < until, "readiness warns of it");
        std::thread::sleep(Duration::from_millis(100));
    }
    let (_, metrics) = get(&format!("{}/metrics", server.url));
    for line in [
        "orlop_scrub_damaged_blobs 1",
        "orlop_scrub_checked_blobs_total ",
        "orlop_scrub_checked_bytes_total ",
    ] {
        assert!(metrics.contains(&format!("\n{line}")), "{line} in {metrics}");
    }
    server.push("app", "1", b"hello");
    assert_eq!(get(&blob).0, 200);
    assert_eq!(server.end(), Some(0));
    let ran = place.run(&["scrub", "--now"]);
    assert_eq!(ran.code, Some(0), "on a stopped store too: {ran:?}");
    assert!(place.run(&["scrub"]).out.contains("last complete pass: 2"));
    assert_eq!(place.run(&["scrub", "--now", "--rate", "0B"]).code, Some(2));
}

#[test]
fn metrics_show_disk_space_by_purpose() {
    let place = Place::new();
    let server = place.serve();
    server.push("app", "1", b"hello");
    let metrics = || get(&format!("{}/metrics", server.url)).1;
    // Reclaimable space is measured in the background after the first scrape.
    let measured =
        (0..10_000).map(|_| metrics()).find(|text| text.contains("\norlop_trash_allocated_bytes "));
    let text = measured.expect("measured");
    for line in ["trash_allocated_bytes 0", "untagged_allocated_bytes 0", "leased_allocated_bytes 0"] {
        assert!(text.contains(&format!("\norlop_{line}\n")), "{line} in {text}");
    }
    for name in ["blob_allocated_bytes", "doomed_allocated_bytes", "database_bytes"] {
        assert!(text.contains(&format!("\norlop_{name} ")), "{name} in {text}");
    }
    assert_eq!(server.end(), Some(0));
}

/// Size of the manifests that [`Server::push`] makes for a config of three bytes.
const MANIFEST_SIZE: usize = 246;

#[test]
fn metrics_show_quotas_and_the_largest_prefixes() {
    let place = Place::new();
    let quotas = "[metrics]\nrepositories = 1\n[[quotas]]\nprefix = \"team/\"\nbytes = \"1MB\"\ntags = 9\n";
    fs::write(place.path("orlop.toml"), quotas).expect("written");
    let server = place.serve_with(&[("ORLOP_CONFIG", "orlop.toml")]);
    for (name, content) in [("team/a", "one"), ("team/b", "two"), ("other", "three")] {
        server.push(name, "1", content.as_bytes());
    }
    let metrics = || get(&format!("{}/metrics", server.url)).1;
    let measured = (0..10_000).map(|_| metrics()).find(|text| text.contains("\norlop_prefix_tags{"));
    let text = measured.expect("measured");
    for line in [
        r#"orlop_quota_bytes{scope="team/"} 1000000"#,
        &format!(r#"orlop_quota_used_bytes{{scope="team/"}} {}"#, 6 + 2 * MANIFEST_SIZE),
        r#"orlop_quota_tags{scope="team/"} 9"#,
        r#"orlop_quota_used_tags{scope="team/"} 2"#,
        r#"orlop_quota_used_repositories{scope="team/"} 2"#,
        r#"orlop_prefix_repositories{prefix="team"} 2"#,
        r#"orlop_prefix_tags{prefix="team"} 2"#,
        r#"orlop_prefix_logical_bytes{prefix="team"} 6"#,
        r#"orlop_prefix_exclusive_bytes{prefix="team"} 8192"#,
        r#"orlop_prefix_shared_bytes{prefix="team"} 0"#,
        r#"orlop_prefix_repositories{prefix="(other)"} 1"#,
        r#"orlop_prefix_logical_bytes{prefix="(other)"} 5"#,
    ] {
        assert!(text.contains(&format!("\n{line}\n")), "{line} in {text}");
    }
    assert!(!text.contains(r#"prefix="other""#) && text.ends_with("# EOF\n"), "{text}");
    assert_eq!(server.end(), Some(0));
}

/// Checks that a blob is absent for HEAD, GET, mount, and a manifest that refers to it.
fn absent_everywhere(server: &Server, digest: &str) {
    let blob = format!("{}/v2/app/blobs/{digest}", server.url);
    for method in [reqwest::Method::HEAD, reqwest::Method::GET] {
        assert_eq!(ask(method, &blob, "text/plain", Vec::new()).0, 404);
    }
    let mount = format!("{}/v2/other/blobs/uploads/?mount={digest}&from=app", server.url);
    assert_eq!(ask(reqwest::Method::POST, &mount, "text/plain", Vec::new()).0, 202, "to be uploaded");
    let manifest = format!("{}/v2/app/manifests/1", server.url);
    let (status, content) = get(&manifest);
    assert_eq!(status, 200, "the manifest that refers to it stays");
    let again = format!("{}/v2/app/manifests/again", server.url);
    let image = "application/vnd.oci.image.manifest.v1+json";
    let (status, refusal) = ask(reqwest::Method::PUT, &again, image, content.into_bytes());
    assert_eq!(status, 400, "{refusal}");
    assert!(refusal.contains("MANIFEST_BLOB_UNKNOWN"), "{refusal}");
}

#[test]
fn fsck_distinguishes_missing_unknown_and_orphaned_files() {
    let place = Place::new();
    let server = place.serve();
    server.push("app", "1", b"hello");
    server.end();
    let file = place.blob_file();
    let orphan = file.with_extension("0".repeat(32));
    fs::copy(&file, &orphan).expect("copied");
    fs::write(place.path("data/blobs/README"), "not ours").expect("written");
    fs::remove_file(&file).expect("removed");
    let report = place.json(&["fsck", "--json"]);
    assert_eq!(report["counts"]["missing_blob"], 1);
    assert_eq!(report["counts"]["missing_target"], 1);
    assert_eq!(report["counts"]["orphan_blob"], 1);
    assert_eq!(report["unknown"], serde_json::json!(["blobs/README"]));
    assert!(orphan.exists());
    place.run(&["fsck", "--repair"]);
    assert!(!orphan.exists());
    assert!(place.path("data/blobs/README").exists());
}

#[test]
fn backup_is_incremental_and_can_be_restored() {
    let place = Place::new();
    let server = place.serve();
    server.push("app", "1", b"hello");
    assert_eq!(place.json(&["backup", "copy", "--json"])["copied"], 1);
    server.push("app", "2", b"world");
    let report = place.json(&["backup", "copy", "--json"]);
    assert_eq!((&report["blobs"], &report["copied"]), (&2.into(), &1.into()));
    server.end();
    assert_eq!(place.json(&["backup", "copy", "--json"])["copied"], 0);
    assert_eq!(place.run(&["fsck", "--data", "copy"]).code, Some(0));
    let ran = place.run(&["restore", "copy", "--data", "again"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.out.ends_with("2 blobs (10 B) and 2 manifests checked\nno problems found\n"), "{}", ran.out);
    assert_eq!(place.json(&["usage", "--data", "again", "--json"])["store"]["blobs"], 2);
    let ran = place.run(&["restore", "copy", "--data", "again"]);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (Some(1), "error: again is not empty: a backup can only be restored to an empty directory\n",)
    );
}

#[test]
fn interrupted_restore_is_not_served_but_can_be_repeated() {
    let place = Place::new();
    let server = place.serve();
    server.push("app", "1", b"hello");
    server.end();
    place.run(&["backup", "copy"]);
    fs::create_dir(place.path("again")).expect("made");
    fs::write(place.path("again/restoring"), "").expect("written");
    let ran = place.run(&["serve", "--data", "again", "--listen", "127.0.0.1:0"]);
    assert_eq!(ran.err, "error: a restore into again was interrupted: run it again\n");
    assert_eq!(place.run(&["restore", "copy", "--data", "again"]).code, Some(0));
    assert_eq!(place.run(&["fsck", "--data", "again"]).code, Some(0));
}

#[test]
fn rejects_metadata_of_another_store() {
    let place = Place::new();
    let server = place.serve();
    server.push("app", "1", b"hello");
    server.end();
    fs::rename(place.path("data/metadata"), place.path("moved")).expect("moved");
    let ran = place.run(&["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.err.contains("cannot be used: it is missing") && ran.err.contains("is metadata.dir right"),
        "{}",
        ran.err
    );
    let _ = fs::remove_dir_all(place.path("data/metadata"));
    let metadata = place.path("moved").display().to_string();
    let mut elsewhere = place.command(&["serve", "--listen", "127.0.0.1:0", "--data", "empty"]);
    let ran = Ran::from(elsewhere.env("ORLOP_METADATA__DIR", metadata).output().expect("it runs"));
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("check that its volume is mounted"), "{}", ran.err);
    assert!(!place.path("empty/orlop.json").exists());
}

/// Starts an upload and returns its connection; the server waits for the rest.
fn start_upload(server: &Server) -> TcpStream {
    let address = server.url.trim_start_matches("http://");
    let mut upload = TcpStream::connect(address).expect("connected");
    let digest = format!("sha256:{}", "0".repeat(64));
    let head = format!(
        "POST /v2/app/blobs/uploads/?digest={digest} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n"
    );
    upload.write_all(head.as_bytes()).expect("sent");
    let mut status = [0; 12];
    upload.read_exact(&mut status).expect("an answer");
    assert_eq!(&status, b"HTTP/1.1 100", "the server waits for the body");
    upload.write_all(b"half").expect("sent");
    upload
}

#[test]
fn shutdown_waits_for_a_running_upload() {
    let place = Place::new();
    let server = place.serve_with(&[("ORLOP_SERVER__DRAIN_TIMEOUT", "300ms")]);
    let _upload = start_upload(&server);
    let started = Instant::now();
    assert_eq!(server.end(), Some(0));
    let took = started.elapsed();
    // Far less than the idle timeout of request bodies, even on a busy machine.
    assert!(took >= Duration::from_millis(250) && took < Duration::from_secs(30), "{took:?}");
}

#[test]
fn writes_json_logs_if_configured() {
    let place = Place::new();
    let mut command = place.command(&["serve", "--listen", "127.0.0.1:0"]);
    command.env("ORLOP_LOG__FORMAT", "json").stderr(Stdio::piped());
    let mut process = command.spawn().expect("it starts");
    let mut line = String::new();
    BufReader::new(process.stderr.take().expect("piped")).read_line(&mut line).expect("a line");
    let _ = process.kill();
    let _ = process.wait();
    let line: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(line["level"], "INFO");
    assert!(line["message"].as_str().is_some_and(|text| text.contains("open to anyone")), "{line}");
}

/// Waits until `/readyz` returns `expected`: its result is cached for a second.
fn wait_for_readiness(server: &Server, expected: u16) -> String {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let (status, body) = get(&format!("{}/readyz", server.url));
        if status == expected {
            return body;
        }
        assert!(Instant::now() < until, "{status}: {body}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn unready_while_the_data_directory_is_missing() {
    let place = Place::new();
    let server = place.serve();
    server.push("app", "1", b"hello");
    wait_for_readiness(&server, 200);
    fs::rename(place.path("data"), place.path("elsewhere")).expect("moved");
    let body = wait_for_readiness(&server, 503);
    assert!(body.contains("orlop.json is missing"), "{body}");
    // The database's files are still open, so manifests can be served.
    assert_eq!(get(&format!("{}/v2/app/manifests/1", server.url)).0, 200);
    fs::rename(place.path("elsewhere"), place.path("data")).expect("moved back");
    wait_for_readiness(&server, 200);
    server.push("app", "2", b"world");
    assert_eq!(server.end(), Some(0));
    assert_eq!(place.run(&["fsck"]).code, Some(0));
}

#[test]
fn read_only_registry_is_ready_and_warns() {
    let place = Place::new();
    let server = place.serve();
    server.push("app", "1", b"hello");
    server.end();
    let server = place.serve_with(&[("ORLOP_STORAGE__READ_ONLY", "true")]);
    let body = wait_for_readiness(&server, 200);
    assert!(body.contains("the registry is read-only"), "{body}");
    assert_eq!(get(&format!("{}/v2/app/manifests/1", server.url)).0, 200);
    let upload = format!("{}/v2/app/blobs/uploads/", server.url);
    let (status, _) = ask(reqwest::Method::POST, &upload, "application/octet-stream", Vec::new());
    assert!(status >= 400, "{status}");
    assert_eq!(place.run(&["healthcheck"]).out, "ready\n");
    assert_eq!(place.run(&["usage"]).code, Some(0));
    assert_eq!(server.end(), Some(0));
}

#[test]
fn below_min_free_only_pushes_are_refused() {
    let place = Place::new();
    let server = place.serve();
    server.push("app", "1", b"hello");
    server.end();
    let disk = rustix::fs::statvfs(place.dir.path()).expect("a disk");
    let almost_all = ((disk.f_blocks * disk.f_frsize) >> 20) - 1;
    let size = format!("{almost_all}MiB");
    let server = place.serve_with(&[("ORLOP_STORAGE__MIN_FREE", &size), ("ORLOP_STORAGE__WARN_FREE", &size)]);
    let body = wait_for_readiness(&server, 503);
    assert!(body.contains(&format!("less than storage.min_free ({almost_all} MiB)")), "{body}");
    assert_eq!(get(&format!("{}/v2/app/manifests/1", server.url)).0, 200);
    let ran = place.run(&["healthcheck"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains("storage.min_free"), "{}", ran.err);
    server.end();
    let more = format!("{}MiB", almost_all + 2);
    let variables = [("ORLOP_STORAGE__MIN_FREE", &more), ("ORLOP_STORAGE__WARN_FREE", &more)];
    let ran = Ran::from(place.command(&["serve"]).envs(variables).output().expect("it runs"));
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.err.starts_with("error: storage.min_free: must be less than the disk's size"), "{}", ran.err);
}

#[test]
fn second_signal_exits_at_once() {
    let place = Place::new();
    let mut server = place.serve();
    let _upload = start_upload(&server);
    server.signal();
    std::thread::sleep(Duration::from_millis(300));
    assert!(server.process.try_wait().expect("known").is_none(), "it waits for the upload");
    let started = Instant::now();
    server.signal();
    assert_eq!(server.process.wait().expect("ended").code(), Some(1));
    assert!(started.elapsed() < Duration::from_secs(3));
}
