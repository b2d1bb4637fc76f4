//! A data directory and a backup of an earlier version still open, verify and serve.
//!
//! `tests/golden/schema-N.tar.xz` holds both, as a server wrote them that was killed: version 11 while it deleted a
//! repository. Every table of that version has rows, and version 15 also has quotas. A new migration adds an archive of
//! the version before it.

use std::fs;
use std::process::Command;

use orlop::oci::{Algorithm, Hasher};

use super::{Place, get};

const VERSIONS: [u32; 2] = [11, 15];

fn unpacked(version: u32) -> Place {
    let place = Place::new();
    let archive = format!("{}/tests/golden/schema-{version}.tar.xz", env!("CARGO_MANIFEST_DIR"));
    let unpacked = Command::new("tar").args(["xJf", &archive]).current_dir(place.path("")).status();
    assert!(unpacked.expect("tar runs").success());
    place
}

fn assert_sound(place: &Place, data: &str) {
    let ran = place.run(&["fsck", "--data", data]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
}

#[test]
fn data_of_an_earlier_version_is_migrated_verified_and_served() {
    VERSIONS.into_iter().for_each(assert_data_is_served);
}

fn assert_data_is_served(version: u32) {
    let place = unpacked(version);
    let server = place.serve();
    let (status, body) = get(&format!("{}/v2/team/app/tags/list", server.url));
    assert_eq!(status, 401, "accounts keep the registry closed: {body}");
    assert_eq!(server.end(), Some(0));
    let tags = place.json(&["tags", "team/app", "--json"]);
    let names: Vec<_> = tags.as_array().expect("a list").iter().map(|tag| tag["name"].as_str()).collect();
    assert_eq!(names, ["latest", "multi", "v0", "v1", "v2", "v5", "v9"].map(Some));
    assert!(place.run(&["can", "ann", "push", "acme/x"]).out.contains("may push"));
    assert!(place.run(&["tag", "history", "team/app:latest"]).out.lines().count() > 2);
    assert_sound(&place, "data");
    let server = place.serve_with(&[("ORLOP_AUTH__MODE", "pull-open")]);
    for tag in tags.as_array().expect("a list") {
        let name = tag["name"].as_str().expect("text");
        let (status, manifest) = get(&format!("{}/v2/team/app/manifests/{name}", server.url));
        assert_eq!(status, 200, "{name}: {manifest}");
        let digest = tag["digest"].as_str().expect("text");
        let found = Hasher::digest(Algorithm::Sha256, manifest.as_bytes()).to_string();
        assert_eq!(found, digest, "{name}");
    }
    assert_eq!(server.end(), Some(0));
}

#[test]
fn a_backup_of_an_earlier_version_is_restored() {
    VERSIONS.into_iter().for_each(assert_backup_is_restored);
}

fn assert_backup_is_restored(version: u32) {
    let place = unpacked(version);
    fs::remove_dir_all(place.path("data")).expect("removed");
    let ran = place.run(&["restore", "backup"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_sound(&place, "data");
    let tags = place.json(&["tags", "team/big", "--json", "--limit", "1000"]);
    assert_eq!(tags.as_array().expect("a list").len(), 150);
}
