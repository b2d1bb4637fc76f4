//! `orlop config import`.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use super::{Place, Ran};

#[test]
fn the_translated_settings_load() {
    let place = Place::new();
    let yaml = "version: 0.1\nstorage: {filesystem: {rootdirectory: /srv/images}}\nhttp: {addr: ':5000', secret: s3cret}\n";
    fs::write(place.path("config.yml"), yaml).expect("written");
    let mut command = place.command(&["config", "import", "config.yml"]);
    let ran = Ran::from(command.env("REGISTRY_HTTP_ADDR", "127.0.0.1:7000").output().expect("it runs"));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(
        ran.out.starts_with("# Translated from config.yml by `orlop config import`.\n\n[server]\n"),
        "{}",
        ran.out
    );
    assert!(ran.err.contains("  http.addr (REGISTRY_HTTP_ADDR) -> server.listen\n"), "{}", ran.err);
    assert!(ran.err.contains("no counterpart:\n  storage.delete.enabled: "), "{}", ran.err);
    assert!(!ran.err.contains("s3cret"), "{}", ran.err);
    fs::write(place.path("orlop.toml"), ran.out).expect("written");
    let mut command = place.command(&["check-config", "--config", "orlop.toml"]);
    let ran = Ran::from(command.env_remove("ORLOP_STORAGE__DATA").output().expect("it runs"));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(
        ran.out.contains("listen = \"127.0.0.1:7000\"") && ran.out.contains("data = \"/srv/images/orlop\"")
    );
}

/// It needs no settings of its own, even if there are wrong ones.
#[test]
fn reads_standard_input_and_names_it_in_errors() {
    let place = Place::new();
    let mut command = place.command(&["config", "import", "-"]);
    command.env("ORLOP_GC__LEASE", "1").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().expect("it starts");
    let mut input = process.stdin.take().expect("piped");
    input.write_all(b"version: 0.1\nstorage: {s3: {bucket: b}}").expect("written");
    drop(input);
    let ran = Ran::from(process.wait_with_output().expect("it ends"));
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{ran:?}");
    assert!(
        ran.err.starts_with("error: standard input: storage.s3: orlop stores images in a directory"),
        "{}",
        ran.err
    );
}
