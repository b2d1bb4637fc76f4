//! `orlop audit`, with a running server and on a stopped store.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Place;

/// Returns action, scope, subject and outcome of each entry.
fn entries(place: &Place, arguments: &[&str]) -> Vec<String> {
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
fn lists_audit_entries_with_and_without_a_server() {
    let place = Place::new();
    let file = place.path("audit.jsonl");
    let server = place.serve_with(&[("ORLOP_AUDIT__FILE", file.to_str().expect("text"))]);
    server.push("team/app", "1", b"hello");
    let until = Instant::now() + Duration::from_secs(10);
    while entries(&place, &[]).is_empty() {
        assert!(Instant::now() < until, "the entry is written soon");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(place.run(&["tag", "delete", "team/app:1"]).code, Some(0));
    assert_eq!(place.run(&["gc", "--dry-run"]).code, Some(0));
    assert_eq!(place.run(&["gc"]).code, Some(0));
    server.push("other", "1", b"hello");
    let before = ["gc  - allowed", "tag-delete team/app 1 allowed", "manifest-push team/app 1 allowed"];
    assert_eq!(server.end(), Some(0));
    let all = [&["manifest-push other 1 allowed"], &before[..]].concat();
    assert_eq!(entries(&place, &[]), all, "the last entry was written during shutdown");
    let lines = fs::read_to_string(&file).expect("a file");
    let actions =
        lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")["action"].clone());
    assert!(actions.eq(["manifest-push", "tag-delete", "gc", "manifest-push"]), "{lines}");

    assert_eq!(place.run(&["trash", "restore", "team/app:1"]).code, Some(0));
    assert_eq!(place.run(&["trash", "restore", "team/app:2"]).code, Some(1));
    let restored = ["trash-restore team/app 2 failed", "trash-restore team/app 1 allowed"];
    assert_eq!(entries(&place, &["--limit", "2"]), restored, "on a stopped store too");
    assert_eq!(entries(&place, &["other"]), all[..1]);
    assert_eq!(entries(&place, &["team/", "--action", "tag-delete"]), before[1..2]);
    assert_eq!(entries(&place, &["--outcome", "failed"]), restored[..1]);
    assert_eq!(entries(&place, &["--user", "ann"]), [""; 0]);
    assert_eq!(entries(&place, &["--until", "2020-01-01T00:00:00Z"]), [""; 0]);
    assert_eq!(entries(&place, &["--since", "2020-01-01T00:00:00Z"]).len(), 6);
    let table = place.run(&["audit", "--action", "trash-restore"]).out;
    assert!(table.starts_with("AT (UTC)"), "{table}");
    assert!(table.contains("  -     admin-socket  trash-restore  team/app 2  failed 404   "), "{table}");
}

/// A core file would contain passwords and keys.
#[test]
fn server_disables_core_files() {
    let place = Place::new();
    let server = place.serve();
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.process.id())).expect("limits");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a limit");
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
}

#[test]
fn invalid_filters_are_invalid_usage() {
    for wrong in [["--action", "fire"], ["--outcome", "maybe"], ["--since", "then"]] {
        let ran = Place::new().run(&[&["audit"], &wrong[..]].concat());
        assert_eq!(ran.code, Some(2), "{ran:?}");
    }
}
