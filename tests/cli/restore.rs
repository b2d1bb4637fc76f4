//! `orlop restore`: what it verifies, and which targets it refuses.

use std::fs;
use std::os::unix::fs::symlink;

use super::{Place, request};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

#[test]
fn accepted_content_is_sound_in_a_backup_and_after_a_restore() {
    let place = Place::new();
    let server = place.serve_with(&[("ORLOP_MANIFESTS__SPARSE", "allow")]);
    let absent = "0".repeat(64);
    let image = "application/vnd.oci.image.manifest.v1+json";
    let sparse = serde_json::json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [
        { "mediaType": image, "digest": format!("sha256:{absent}"), "size": 7 }
    ] });
    let empty = r#"{"schemaVersion":2,"manifests":null}"#;
    for (tag, content) in [("sparse", sparse.to_string()), ("empty", empty.to_owned())] {
        let url = format!("{}/v2/app/manifests/{tag}", server.url);
        request(reqwest::Method::PUT, &url, INDEX, content.into_bytes());
    }
    assert_eq!(server.end(), Some(0));
    for arguments in [
        &["fsck"][..],
        &["backup", "copy"],
        &["fsck", "--data", "copy"],
        &["restore", "copy", "--data", "again"],
    ] {
        let ran = place.run(arguments);
        assert_eq!(ran.code, Some(0), "{arguments:?}: {ran:?}");
    }
}

#[test]
fn rejects_restore_into_the_backup_itself() {
    let place = Place::new();
    let server = place.serve();
    server.push("app", "1", b"hello");
    assert_eq!(server.end(), Some(0));
    assert_eq!(place.run(&["backup", "copy"]).code, Some(0));
    symlink(place.path("copy"), place.path("link")).expect("linked");
    fs::create_dir(place.path("copy/sub")).expect("made");
    symlink(place.path("copy/sub"), place.path("deep")).expect("linked");
    let before = fs::read_dir(place.path("copy")).expect("listed").count();
    for data in ["copy", "copy/new", "link", "link/new", "deep", "deep/new", "."] {
        let ran = place.run(&["restore", "copy", "--data", data]);
        assert_eq!(ran.code, Some(1), "{data}: {ran:?}");
        assert!(ran.err.contains("overlap"), "{data}: {ran:?}");
    }
    let metadata = place.path("copy/elsewhere").display().to_string();
    let mut command = place.command(&["restore", "copy", "--data", "again"]);
    let output = command.env("ORLOP_METADATA__DIR", metadata).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(fs::read_dir(place.path("copy")).expect("listed").count(), before, "nothing was created");
    assert_eq!(place.run(&["fsck", "--data", "copy"]).code, Some(0));
}
