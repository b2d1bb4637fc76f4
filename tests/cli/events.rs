//! `orlop events`, with a running server and on a stopped store.

use std::fs;
use std::time::{Duration, Instant};

use super::{Place, Ran};

fn kinds(place: &Place, arguments: &[&str]) -> Vec<String> {
    let found = place.json(&[&["events", "--json"], arguments].concat());
    let found = found.as_array().expect("a list").iter();
    found.map(|event| event["kind"].as_str().expect("text").to_owned()).collect()
}

#[test]
fn records_damage_and_repair() {
    let place = Place::new();
    let server = place.serve();
    let digest = server.push("app", "1", b"hello");
    assert_eq!(place.run(&["events"]).out, "AT (UTC)  KIND  MESSAGE\n");
    fs::write(place.blob_file(), b"hellO").expect("damaged");
    assert_eq!(place.run(&["scrub", "--now"]).code, Some(1));
    assert_eq!(kinds(&place, &[]), ["blob-damaged"]);
    server.push("app", "1", b"hello");
    assert_eq!(kinds(&place, &[]), ["blob-healed", "blob-damaged"]);
    assert_eq!(server.end(), Some(0));
    assert_eq!(kinds(&place, &[]), ["blob-healed", "blob-damaged"], "on a stopped store too");
    assert_eq!(kinds(&place, &["--limit", "1"]), ["blob-healed"]);
    assert_eq!(kinds(&place, &["--kind", "blob-damaged"]), ["blob-damaged"]);
    let ran = place.run(&["events", "--kind", "blob-healed"]);
    assert!(
        ran.out.ends_with(&format!("{digest} was damaged and has been pushed again to app\n")),
        "{ran:?}"
    );
    let mut reading = place.command(&["events"]);
    let ran = Ran::from(reading.env("ORLOP_STORAGE__READ_ONLY", "true").output().expect("it runs"));
    assert_eq!((ran.code, ran.out.lines().count()), (Some(0), 3), "{ran:?}");
}

#[test]
fn records_a_full_disk_once() {
    let place = Place::new();
    let disk = rustix::fs::statvfs(place.path("")).expect("a disk");
    // Leave a margin for what other processes write meanwhile.
    let more_than_free = format!("{}B", disk.f_blocks.midpoint(disk.f_bavail) * disk.f_frsize);
    for _ in 0..2 {
        let server = place.serve_with(&[("ORLOP_STORAGE__MIN_FREE", &more_than_free)]);
        let until = Instant::now() + Duration::from_secs(10);
        while kinds(&place, &["--kind", "disk-full"]).is_empty() {
            assert!(Instant::now() < until, "the event is recorded soon");
            std::thread::sleep(Duration::from_millis(100));
        }
        assert_eq!(server.end(), Some(0));
        assert_eq!(kinds(&place, &[]), ["disk-full"]);
    }
}

#[test]
fn unknown_kind_is_invalid_usage() {
    let ran = Place::new().run(&["events", "--kind", "fire"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("blob-damaged, blob-healed"), "{}", ran.err);
}
