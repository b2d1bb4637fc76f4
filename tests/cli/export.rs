//! `orlop export`, on a stopped store and with a running server. The library that reads the trees is tested on its own.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use orlop::distribution::{DistributionTree, Entry, TaggedRevision};
use orlop::oci::{Algorithm, Digest, Hasher};
use serde_json::{Value, json};

use super::{Place, Server, ask, walk};

/// A store with two repositories: three tags, one of them moved, and a manifest without a tag.
fn filled(place: &Place) -> Images {
    let server = place.serve();
    server.push("team/app", "1", b"old");
    let old = digest_of(&server, "team/app", "1");
    server.push("team/app", "1", b"new");
    server.push("team/app", "latest", b"new");
    server.push("team/app-x", "1", b"other");
    let new = digest_of(&server, "team/app", "1");
    let other = digest_of(&server, "team/app-x", "1");
    assert_eq!(server.end(), Some(0));
    Images { old, new, other }
}

/// The digests of the manifests.
struct Images {
    old: Digest,
    new: Digest,
    other: Digest,
}

fn digest_of(server: &Server, repository: &str, tag: &str) -> Digest {
    server.manifest_digest(repository, tag).digest.parse().expect("a digest")
}

fn sha256(content: &[u8]) -> Digest {
    Hasher::digest(Algorithm::Sha256, content)
}

/// Returns the tags of all repositories of a tree. Every manifest and every blob of it must be there.
fn tags(dir: &Path) -> BTreeMap<String, TaggedRevision> {
    let tree = DistributionTree::open(dir).expect("a tree");
    let mut found = BTreeMap::new();
    for repository in tree.repositories() {
        let repository = repository.expect("readable");
        for revision in repository.revisions() {
            let Entry::Valid(revision) = revision.expect("readable") else { panic!("dirt") };
            let content = fs::read(tree.blob_path(&revision.digest)).expect("a manifest");
            assert_eq!(sha256(&content), revision.digest);
        }
        for layer in repository.layers() {
            let Entry::Valid(layer) = layer.expect("readable") else { panic!("dirt") };
            assert_eq!(sha256(&fs::read(tree.blob_path(&layer.digest)).expect("a blob")), layer.digest);
        }
        for tag in repository.tags() {
            let Entry::Valid(tag) = tag.expect("readable") else { panic!("dirt") };
            found.insert(format!("{}:{}", repository.name, tag.tag), tag);
        }
    }
    found
}

/// Returns the paths of all files below `dir`, each with its inode.
fn files(dir: &Path) -> Vec<(std::path::PathBuf, u64)> {
    let mut files: Vec<_> = walk(dir).into_iter().map(|path| (path.clone(), inode(&path))).collect();
    files.sort();
    files
}

fn inode(path: &Path) -> u64 {
    fs::metadata(path).expect("there").ino()
}

#[test]
fn a_distribution_tree_has_every_image() {
    let place = Place::new();
    let images = filled(&place);
    let report = place.json(&["export", "--layout", "distribution", "tree", "--json"]);
    assert_eq!(report["repositories"], 2);
    assert_eq!(report["manifests"], 3, "{report}");
    assert_eq!(report["tags"], 3);
    assert_eq!((&report["linked"], &report["copied"]), (&json!(3), &json!(0)), "{report}");
    assert_eq!(report["linked_bytes"], 11);
    assert_eq!(report["problems"], json!([]));

    let tree = place.path("tree");
    let found = tags(&tree);
    assert_eq!(found.keys().collect::<Vec<_>>(), ["team/app-x:1", "team/app:1", "team/app:latest"]);
    assert_eq!(found["team/app:latest"].digest, images.new);
    assert_eq!(found["team/app-x:1"].digest, images.other);
    let moved = &found["team/app:1"];
    assert_eq!(moved.digest, images.new);
    assert_eq!(moved.past.len(), 1);
    assert_eq!(moved.past[0].0, images.old);
    assert!(moved.past[0].1 <= moved.tagged_at);
    let blob = DistributionTree::open(&tree).expect("a tree").blob_path(&sha256(b"new"));
    assert_eq!(fs::metadata(&blob).expect("there").nlink(), 2, "it shares the store's file");

    let before = files(&tree);
    let again = place.json(&["export", "--layout", "distribution", "tree", "--json"]);
    assert_eq!((&again["linked"], &again["copied"], &again["tags"]), (&json!(0), &json!(0), &json!(3)));
    assert_eq!(files(&tree), before, "a second export changes nothing");
    assert_eq!(place.run(&["fsck"]).code, Some(0));
}

/// The second export moves a tag and adds a repository, through the server's socket.
#[test]
fn an_export_is_repeated_while_the_server_runs() {
    let place = Place::new();
    filled(&place);
    assert_eq!(place.run(&["export", "--layout", "distribution", "tree"]).code, Some(0));
    let server = place.serve();
    server.push("team/app", "1", b"newest");
    server.push("more", "1", b"more");
    let ran = place.run(&["export", "--layout", "distribution", "tree"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let expected =
        "3 repositories, 5 manifests and 4 tags exported\n2 blobs (10 B) linked now, 0 (0 B) copied now\n";
    assert_eq!(ran.out, expected);
    let found = tags(&place.path("tree"));
    assert_eq!(found["team/app:1"].digest, digest_of(&server, "team/app", "1"));
    assert_eq!(found["team/app:1"].past.len(), 2);
    assert!(found.contains_key("more:1"));
    let audited = place.json(&["audit", "--json"]);
    let export = audited.as_array().expect("a list").iter().find(|entry| entry["action"] == "export");
    let subject = &export.expect("an entry")["subject"];
    assert_eq!(subject.as_str(), place.path("tree").to_str(), "{audited}");
}

#[test]
fn exports_chosen_repositories_as_copies() {
    let place = Place::new();
    filled(&place);
    let arguments =
        ["export", "--layout", "distribution", "tree", "--copy", "--repo", "team/app-x", "--json"];
    let report = place.json(&arguments);
    assert_eq!(
        (&report["repositories"], &report["copied"], &report["linked"]),
        (&json!(1), &json!(1), &json!(0))
    );
    let found = tags(&place.path("tree"));
    assert_eq!(found.keys().collect::<Vec<_>>(), ["team/app-x:1"]);
    for (path, _) in files(&place.path("tree")) {
        let metadata = fs::metadata(&path).expect("there");
        assert_eq!((metadata.nlink(), metadata.mode() & 0o777), (1, 0o644), "{}", path.display());
    }
    let ran = place.run(&["export", "--layout", "oci", "images", "--repo", "team/none"]);
    assert_eq!((ran.code, &*ran.err), (Some(1), "error: the registry has no repository team/none\n"));
    assert_eq!(place.run(&["export", "--layout", "zip", "images"]).code, Some(2));
}

#[test]
fn an_oci_layout_of_each_repository_lists_its_tags() {
    let place = Place::new();
    let images = filled(&place);
    let server = place.serve();
    let url = format!("{}/v2/team/app/manifests/latest", server.url);
    let (status, _) = ask(reqwest::Method::DELETE, &url, "text/plain", Vec::new());
    assert_eq!(status, 202);
    assert_eq!(server.end(), Some(0));
    // What a killed export left.
    fs::create_dir_all(place.path("images/team/app")).expect("made");
    fs::write(place.path("images/team/app/index.json.orlop-draft"), "{").expect("written");
    let ran = place.run(&["export", "--layout", "oci", "images"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let layout = place.path("images/team/app");
    let read = |name: &str| -> Value {
        serde_json::from_slice(&fs::read(layout.join(name)).expect("read")).expect("JSON")
    };
    assert_eq!(read("oci-layout"), json!({ "imageLayoutVersion": "1.0.0" }));
    let index = read("index.json");
    let listed: Vec<_> = index["manifests"].as_array().expect("a list").iter().collect();
    assert_eq!(listed.len(), 2, "{index}");
    assert_eq!(listed[0]["digest"], images.new.as_str());
    assert_eq!(listed[0]["annotations"], json!({ "org.opencontainers.image.ref.name": "1" }));
    assert_eq!(
        (&listed[1]["digest"], &listed[1]["annotations"]),
        (&json!(images.old.as_str()), &Value::Null)
    );
    for descriptor in listed {
        let digest: Digest = descriptor["digest"].as_str().expect("text").parse().expect("a digest");
        let manifest = fs::read(layout.join("blobs/sha256").join(digest.hex())).expect("a manifest");
        assert_eq!((sha256(&manifest), json!(manifest.len())), (digest, descriptor["size"].clone()));
        let manifest: Value = serde_json::from_slice(&manifest).expect("JSON");
        let config: Digest = manifest["config"]["digest"].as_str().expect("text").parse().expect("a digest");
        let content = fs::read(layout.join("blobs/sha256").join(config.hex())).expect("a blob");
        assert_eq!(sha256(&content), config);
    }
    assert_eq!(fs::read_dir(&layout).expect("read").count(), 3, "no drafts are left");
    assert!(place.path("images/team/app-x/index.json").is_file());
}

#[test]
fn missing_blobs_and_damaged_targets_are_problems() {
    let place = Place::new();
    let server = place.serve();
    server.push("app", "1", b"hello");
    assert_eq!(server.end(), Some(0));
    fs::remove_file(place.blob_file()).expect("removed");
    let ran = place.run(&["export", "--layout", "distribution", "tree"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let blob = sha256(b"hello");
    assert!(
        ran.out.contains(&format!("its blob {blob} is missing or quarantined; run `orlop fsck`")),
        "{}",
        ran.out
    );
    assert!(ran.out.ends_with("1 problem: the export is not complete\n"), "{}", ran.out);
    assert_eq!(place.run(&["fsck", "--repair"]).code, Some(1), "the blob is quarantined");
    // A half file of another registry, in a tree that it shares.
    let server = place.serve();
    server.push("app", "1", b"hello");
    assert_eq!(server.end(), Some(0));
    let path = DistributionTree::open(&place.path("tree")).expect("a tree").blob_path(&blob);
    fs::write(&path, "he").expect("written");
    let ran = place.run(&["export", "--layout", "distribution", "tree"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.out.contains("has 2 bytes, but its blob has 5; move it away"), "{}", ran.out);
    assert_eq!(fs::read(&path).expect("kept"), b"he");
}

#[test]
fn a_directory_that_overlaps_the_store_is_refused_unless_it_is_a_tree_around_it() {
    let place = Place::new();
    filled(&place);
    for dir in ["data", "data/export", "."] {
        for layout in ["distribution", "oci"] {
            let ran = place.run(&["export", "--layout", layout, dir]);
            assert_eq!(ran.code, Some(1), "{dir}: {ran:?}");
            assert!(ran.err.contains("overlap: choose another directory"), "{}", ran.err);
        }
    }
    fs::create_dir_all(place.path("docker/registry/v2")).expect("made");
    let ran = place.run(&["export", "--layout", "distribution", "."]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(tags(&place.path("")).len(), 3);
    let ran = place.run(&["export", "--layout", "oci", "."]);
    assert!(ran.err.contains("overlap"), "{ran:?}");
    assert_eq!(place.run(&["fsck"]).code, Some(0));
}
