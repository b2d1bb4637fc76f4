//! `orlop adopt`, on trees that `orlop export` has written and that are then damaged. `tests/e2e/adopt.sh` adopts trees of
//! a real registry.

use std::fs;
use std::path::{Path, PathBuf};

use orlop::distribution::DistributionTree;
use orlop::oci::{Algorithm, Digest, Hasher};
use serde_json::json;

use super::{Place, walk};

/// A tree with three tags in two repositories.
fn tree(place: &Place) -> PathBuf {
    let server = place.serve();
    server.push("team/app", "1", b"first");
    server.push("team/app", "2", b"second");
    server.push("other", "latest", b"third");
    assert_eq!(server.end(), Some(0));
    place.json(&["export", "--layout", "distribution", "tree", "--copy", "--json"]);
    place.path("tree")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

fn blob(tree: &Path, digest: &Digest) -> PathBuf {
    DistributionTree::open(tree).expect("a tree").blob_path(digest)
}

fn tags(place: &Place, data: &str, repository: &str) -> Vec<String> {
    let listed = place.json(&["--data", data, "tags", repository, "--json"]);
    let names = listed.as_array().expect("a list").iter().map(|tag| tag["name"].as_str().expect("a name"));
    names.map(str::to_owned).collect()
}

#[test]
fn a_tree_is_adopted_beside_itself_and_finished() {
    let old = Place::new();
    let tree = tree(&old);
    let here = Place::new();
    let before = walk(&tree);
    let planned = here.json(&["adopt", text(&tree), "--plan", "--json"]);
    assert_eq!((&planned["plan"], &planned["tags"], &planned["blobs"]), (&json!(true), &json!(3), &json!(3)));
    assert_eq!(walk(&tree), before, "a plan changes nothing");

    let adopted = here.json(&["adopt", text(&tree), "--json"]);
    assert_eq!((&adopted["tags"], &adopted["manifests"]), (&json!(3), &json!(3)), "{adopted}");
    assert_eq!((&adopted["blobs"], &adopted["unverified"]), (&json!(3), &json!(3)), "{adopted}");
    assert_eq!(adopted["flaws"], json!([]));
    let data = tree.join("orlop");
    let data = text(&data);
    assert_eq!(tags(&here, data, "team/app"), ["1", "2"]);
    assert_eq!(here.run(&["--data", data, "fsck"]).code, Some(0));
    let again = here.json(&["adopt", text(&tree), "--json"]);
    assert_eq!((&again["tags"], &again["kept_tags"], &again["blobs"]), (&json!(0), &json!(3), &json!(0)));

    assert_eq!(
        here.run(&["adopt", text(&tree), "--finish"]).code,
        Some(2),
        "without a terminal it needs --yes"
    );
    let finished = here.json(&["adopt", text(&tree), "--finish", "--yes", "--json"]);
    assert_eq!((&finished["verified"], &finished["damaged"]), (&json!(3), &json!([])), "{finished}");
    assert!(!tree.join("docker").exists());
    assert_eq!(tags(&here, data, "other"), ["latest"]);
    assert_eq!(here.run(&["--data", data, "fsck"]).code, Some(0));
}

#[test]
fn what_is_broken_is_listed_and_keeps_the_tree() {
    let old = Place::new();
    let tree = tree(&old);
    let digest = |content: &[u8]| Hasher::digest(Algorithm::Sha256, content);
    fs::remove_file(blob(&tree, &digest(b"third"))).expect("removed");
    let listed = old.json(&["tags", "team/app", "--json"]);
    let broken: Digest = listed[0]["digest"].as_str().expect("a digest").parse().expect("a digest");
    fs::write(blob(&tree, &broken), "{}").expect("written");

    let here = Place::new();
    let adopted = here.json(&["adopt", text(&tree), "--json"]);
    let expected = json!({"broken_manifest": 1, "missing_target": 1, "dangling_tag": 1, "dangling_link": 1});
    assert_eq!(adopted["counts"], expected, "{adopted}");
    assert_eq!((&adopted["tags"], &adopted["manifests"]), (&json!(2), &json!(2)), "{adopted}");
    let data = tree.join("orlop");
    let data = text(&data);
    assert_eq!(tags(&here, data, "other"), ["latest"], "it is served as the old registry served it");
    assert_eq!(here.run(&["--data", data, "fsck"]).code, Some(0));
    let finished = here.run(&["adopt", text(&tree), "--finish", "--yes"]);
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(finished.out.contains("The old tree was not removed"), "{finished:?}");
    assert!(tree.join("docker/registry/v2").exists());
}

#[test]
fn serve_does_not_start_empty_beside_an_old_tree() {
    let old = Place::new();
    let tree = tree(&old);
    let here = Place::new();
    for arguments in [vec!["serve"], vec!["serve", "--data", text(&tree)]] {
        let mut command = here.command(&arguments);
        command.env("ORLOP_STORAGE__OLD_REGISTRY", &tree).env("ORLOP_SERVER__LISTEN", "127.0.0.1:0");
        let ran = command.output().expect("it ran");
        assert_eq!(ran.status.code(), Some(1));
        let message = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(message.contains(&format!("run `orlop adopt {}` once", tree.display())), "{message}");
    }
    assert!(!here.path("data/orlop.json").exists());
}

#[test]
fn other_directories_are_refused() {
    let here = Place::new();
    fs::create_dir(here.path("empty")).expect("made");
    let ran = here.run(&["adopt", "empty"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("holds no storage of a Distribution registry"), "{ran:?}");
    assert!(!here.path("empty/orlop").exists(), "nothing is created for it");
    let ran = here.run(&["adopt", "empty", "--release", "--yes"]);
    assert!(ran.err.contains("no store in"), "{ran:?}");
    assert_eq!(here.run(&["adopt", "missing"]).code, Some(1));
}
