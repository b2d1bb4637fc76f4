//! `orlop audit`, beside a running server and on a stopped store.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Place;

/// Each entry: its action, what it is about, and what came of it.
fn told(place: &Place, arguments: &[&str]) -> Vec<String> {
    let found = place.json(&[&["audit", "--json"], arguments].concat());
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let line = |entry: &Value| {
        let [action, scope, subject, outcome] =
            ["action", "scope", "subject", "outcome"].map(|key| text(&entry[key]));
        format!("{action} {scope} {subject} {outcome}")
    };
    found.as_array().expect("a list").iter().map(line).collect()
}

#[test]
fn what_was_done_is_told_beside_a_server_and_on_a_stopped_store() {
    let place = Place::new();
    let file = place.path("audit.jsonl");
    let server = place.serve_with(&[("ORLOP_AUDIT__FILE", file.to_str().expect("text"))]);
    server.push("team/app", "1", b"hello");
    let until = Instant::now() + Duration::from_secs(10);
    while told(&place, &[]).is_empty() {
        assert!(Instant::now() < until, "it is written soon");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(place.run(&["tag", "delete", "team/app:1"]).code, Some(0));
    assert_eq!(place.run(&["gc", "--dry-run"]).code, Some(0));
    assert_eq!(place.run(&["gc"]).code, Some(0));
    server.push("other", "1", b"hello");
    let before = ["gc  - allowed", "tag-delete team/app 1 allowed", "manifest-push team/app 1 allowed"];
    assert_eq!(server.end(), Some(0));
    let all = [&["manifest-push other 1 allowed"], &before[..]].concat();
    assert_eq!(told(&place, &[]), all, "the last was written when the server ended");
    let lines = fs::read_to_string(&file).expect("a file");
    let actions =
        lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")["action"].clone());
    assert!(actions.eq(["manifest-push", "tag-delete", "gc", "manifest-push"]), "{lines}");

    assert_eq!(place.run(&["trash", "restore", "team/app:1"]).code, Some(0));
    assert_eq!(place.run(&["trash", "restore", "team/app:2"]).code, Some(1));
    let restored = ["trash-restore team/app 2 failed", "trash-restore team/app 1 allowed"];
    assert_eq!(told(&place, &["--limit", "2"]), restored, "on a stopped store too");
    assert_eq!(told(&place, &["other"]), all[..1]);
    assert_eq!(told(&place, &["team/", "--action", "tag-delete"]), before[1..2]);
    assert_eq!(told(&place, &["--outcome", "failed"]), restored[..1]);
    assert_eq!(told(&place, &["--user", "ann"]), [""; 0]);
    assert_eq!(told(&place, &["--until", "2020-01-01T00:00:00Z"]), [""; 0]);
    assert_eq!(told(&place, &["--since", "2020-01-01T00:00:00Z"]).len(), 6);
    let table = place.run(&["audit", "--action", "trash-restore"]).out;
    assert!(table.starts_with("AT (UTC)"), "{table}");
    assert!(table.contains("  -     admin-socket  trash-restore  team/app 2  failed 404   "), "{table}");
}

/// Whoever finds a core file would find passwords and keys in it.
#[test]
fn a_server_leaves_no_core_file() {
    let place = Place::new();
    let server = place.serve();
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.process.id())).expect("limits");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a limit");
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
}

#[test]
fn a_filter_that_makes_no_sense_is_wrong_usage() {
    for wrong in [["--action", "fire"], ["--outcome", "maybe"], ["--since", "then"]] {
        let ran = Place::new().run(&[&["audit"], &wrong[..]].concat());
        assert_eq!(ran.code, Some(2), "{ran:?}");
    }
}
