//! Tests on trees in temporary directories, with the dirt that real trees have.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::*;
use crate::clock::Timestamp;
use crate::oci::{Algorithm, Digest, Hasher, RepoName};

/// A tree that a test fills.
struct Fixture {
    dir: tempfile::TempDir,
    writer: DistributionWriter,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let writer = DistributionWriter::create(dir.path()).expect("created");
        Self { dir, writer }
    }

    fn tree(&self) -> DistributionTree {
        DistributionTree::open(self.dir.path()).expect("a tree")
    }

    fn v2(&self, path: &str) -> PathBuf {
        self.dir.path().join("docker/registry/v2").join(path)
    }

    /// Writes a file below `docker/registry/v2`.
    fn write(&self, path: &str, content: &[u8]) -> PathBuf {
        let path = self.v2(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(&path, content).expect("written");
        path
    }

    fn names(&self) -> Vec<String> {
        let names = self.tree().repositories();
        names.map(|found| found.expect("readable").name.as_str().to_owned()).collect()
    }

    fn repository(&self) -> RepositoryTree {
        self.tree().repositories().next().expect("a repository").expect("readable")
    }
}

fn digest(content: &str) -> Digest {
    Hasher::digest(Algorithm::Sha256, content.as_bytes())
}

fn name(text: &str) -> RepoName {
    text.parse().expect("a name")
}

/// Splits entries into valid ones and the reasons of the others.
fn sort<T>(entries: impl Iterator<Item = Result<Entry<T>, TreeError>>) -> (Vec<T>, Vec<Reason>) {
    let mut valid = Vec::new();
    let mut dirt = Vec::new();
    for entry in entries {
        match entry.expect("readable") {
            Entry::Valid(item) => valid.push(item),
            Entry::Dirt(finding) => dirt.push(finding.reason),
        }
    }
    dirt.sort_by_key(ToString::to_string);
    (valid, dirt)
}

fn reasons(findings: Vec<Finding>) -> Vec<Reason> {
    let mut reasons: Vec<_> = findings.into_iter().map(|finding| finding.reason).collect();
    reasons.sort_by_key(ToString::to_string);
    reasons
}

fn tagged(tag: &str, digest: Digest, at: i64, past: &[(Digest, i64)]) -> TaggedRevision {
    let past = past.iter().map(|(digest, at)| (digest.clone(), Timestamp(*at))).collect();
    TaggedRevision { tag: tag.parse().expect("a tag"), digest, tagged_at: Timestamp(at), past }
}

fn modes(root: &Path) -> Vec<(PathBuf, u32)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root).expect("readable") {
        let path = entry.expect("an entry").path();
        let mode = fs::symlink_metadata(&path).expect("there").permissions().mode() & 0o777;
        if path.is_dir() {
            found.extend(modes(&path));
        }
        found.push((path, mode));
    }
    found
}

#[test]
fn reads_what_it_wrote() {
    let fixture = Fixture::new();
    let app = name("team/app");
    let new = digest("new");
    let old = digest("old");
    assert!(fixture.writer.put_blob_bytes(&new, b"new").expect("written"));
    assert!(!fixture.writer.put_blob_bytes(&new, b"new").expect("there already"));
    fixture.writer.link_layer(&app, &digest("layer")).expect("linked");
    assert!(!fixture.writer.has_revision(&app, &new).expect("readable"));
    fixture.writer.link_revision(&app, &new, Timestamp(1_700_000_000_123)).expect("linked");
    assert!(fixture.writer.has_revision(&app, &new).expect("readable"));
    let tag = tagged("1", new.clone(), 1_700_000_000_456, &[(old, 1_600_000_000_000)]);
    fixture.writer.set_tag(&app, &tag).expect("tagged");
    fixture.writer.sync().expect("synced");

    let repository = fixture.repository();
    assert_eq!(repository.name, app);
    let revision = Revision { digest: new.clone(), pushed_at: Timestamp(1_700_000_000_123) };
    assert_eq!(sort(repository.revisions()), (vec![revision], vec![]));
    let (layers, dirt) = sort(repository.layers());
    let layers: Vec<_> = layers.into_iter().map(|layer| layer.digest).collect();
    assert_eq!((layers, dirt), (vec![digest("layer")], vec![]));
    assert_eq!(sort(repository.tags()), (vec![tag], vec![]));
    let blobs: Vec<_> = fixture.tree().blobs().map(|blob| blob.expect("readable")).collect();
    assert_eq!(blobs.len(), 1);
    assert_eq!((&blobs[0].digest, blobs[0].len, blobs[0].nlink), (&new, 3, 1));
    assert_eq!(blobs[0].path, fixture.tree().blob_path(&new));
    for (path, mode) in modes(fixture.dir.path()) {
        let expected = if path.is_dir() { 0o755 } else { 0o644 };
        assert_eq!(mode, expected, "{}", path.display());
    }
}

#[test]
fn repositories_come_in_byte_order_and_nest() {
    let fixture = Fixture::new();
    let mut names = ["app", "app/sub", "app-1", "app.x/deep/er", "app0", "zoo", "a/b/c/d"].map(str::to_owned);
    for name in &names {
        let link = format!("repositories/{name}/_manifests/tags/1/current/link");
        fixture.write(&link, digest("x").as_str().as_bytes());
    }
    fixture.write("repositories/only/_uploads/1/startedat", b"x");
    names.sort();
    assert_eq!(fixture.names(), names);
}

#[test]
fn what_is_no_repository_is_a_finding() {
    let fixture = Fixture::new();
    fixture.write("repositories/good/_manifests/tags/1/current/link", b"");
    fixture.write("repositories/Upper/_manifests/tags/1/current/link", b"");
    fixture.write("repositories/file", b"");
    fixture.write("repositories/fake/_manifests", b"");
    symlink(fixture.v2("repositories/good"), fixture.v2("repositories/link")).expect("linked");
    let tree = fixture.tree();
    let mut repositories = tree.repositories();
    let names: Vec<_> = repositories.by_ref().map(|found| found.expect("readable").name).collect();
    assert_eq!(names, [name("good")]);
    let expected = [Reason::SymbolicLink, Reason::NotADirectory, Reason::InvalidName];
    assert_eq!(reasons(repositories.take_findings()), expected);
}

#[test]
fn broken_links_are_findings() {
    let fixture = Fixture::new();
    let link = |hex: &str| format!("repositories/app/_manifests/revisions/sha256/{hex}/link");
    let good = digest("good");
    fixture.write(&link(good.hex()), good.as_str().as_bytes());
    fixture.write(&link(digest("empty").hex()), b"");
    fixture.write(&link(digest("short").hex()), &good.as_str().as_bytes()[..40]);
    fixture.write(&link(digest("line").hex()), format!("{}\n", digest("line")).as_bytes());
    fixture.write(&link(digest("other").hex()), good.as_str().as_bytes());
    fixture.write(&link("nonsense"), good.as_str().as_bytes());
    fixture.write("repositories/app/_manifests/revisions/md5/00/link", b"md5:00");
    fs::create_dir_all(fixture.v2(&link(digest("directory").hex()))).expect("made");
    let deleted = fixture.v2(&link(digest("deleted").hex()));
    fs::create_dir_all(deleted.parent().expect("a parent")).expect("made");
    let linked = fixture.v2(&link(digest("linked").hex()));
    fs::create_dir_all(linked.parent().expect("a parent")).expect("made");
    symlink(fixture.v2(&link(good.hex())), &linked).expect("linked");
    let (valid, dirt) = sort(fixture.repository().revisions());
    assert_eq!(
        valid.into_iter().map(|revision| revision.digest).collect::<Vec<_>>(),
        std::slice::from_ref(&good)
    );
    let mut expected = vec![
        Reason::EmptyLink,
        Reason::InvalidLink,
        Reason::InvalidLink,
        Reason::OtherDigest(good),
        Reason::InvalidHash,
        Reason::InvalidAlgorithm,
        Reason::NotAFile,
        Reason::SymbolicLink,
    ];
    expected.sort_by_key(ToString::to_string);
    assert_eq!(dirt, expected);
    assert_eq!(sort(fixture.repository().layers()), (vec![], vec![]), "there are no layers");
}

#[test]
fn broken_tags_are_findings_and_their_history_too() {
    let fixture = Fixture::new();
    let tags = "repositories/app/_manifests/tags";
    let good = digest("good");
    fixture.write(&format!("{tags}/good/current/link"), good.as_str().as_bytes());
    fixture.write(&format!("{tags}/good/index/sha256/{}/link", good.hex()), good.as_str().as_bytes());
    fixture.write(&format!("{tags}/good/index/sha256/{}/link", digest("old").hex()), b"");
    fixture.write(&format!("{tags}/empty/current/link"), b"");
    fixture.write(&format!("{tags}/none/index/sha256/{}/link", good.hex()), good.as_str().as_bytes());
    fixture.write(&format!("{tags}/-bad/current/link"), good.as_str().as_bytes());
    fixture.write(&format!("{tags}/file"), b"");
    let (valid, dirt) = sort(fixture.repository().tags());
    assert_eq!(valid.len(), 1);
    assert_eq!((valid[0].tag.as_str(), &valid[0].digest, &valid[0].past), ("good", &good, &vec![]));
    let mut expected = vec![
        Reason::EmptyLink,
        Reason::EmptyLink,
        Reason::NoCurrent,
        Reason::InvalidTag,
        Reason::NotADirectory,
    ];
    expected.sort_by_key(ToString::to_string);
    assert_eq!(dirt, expected);
}

#[test]
fn history_is_bounded_to_the_newest_and_oldest_first() {
    let fixture = Fixture::new();
    let count = i64::try_from(MAX_PAST).expect("small") + 5;
    let past: Vec<_> = (0..count).map(|at| (digest(&at.to_string()), at * 1000)).collect();
    let tag = tagged("1", digest("now"), count * 1000, &past);
    fixture.writer.set_tag(&name("app"), &tag).expect("tagged");
    let (valid, dirt) = sort(fixture.repository().tags());
    assert_eq!(dirt, []);
    assert_eq!(valid[0].past, tag.past[5..]);
}

#[test]
fn broken_blobs_are_findings() {
    let fixture = Fixture::new();
    let path = |digest: &Digest| format!("blobs/sha256/{}/{}", &digest.hex()[..2], digest.hex());
    let good = digest("good");
    fixture.write(&format!("{}/data", path(&good)), b"good");
    fs::create_dir_all(fixture.v2(&path(&digest("without data")))).expect("made");
    fs::create_dir_all(fixture.v2(&format!("{}/data", path(&digest("directory"))))).expect("made");
    fs::create_dir_all(fixture.v2("blobs/sha256/00/11")).expect("made");
    fs::create_dir_all(fixture.v2("blobs/sha256/ff")).expect("an empty shard is no dirt");
    let elsewhere = if good.hex().starts_with("00") { "01" } else { "00" };
    fixture.write(&format!("blobs/sha256/{elsewhere}/{}/data", good.hex()), b"good");
    fixture.write("blobs/sha256/file", b"");
    let tree = fixture.tree();
    let mut blobs = tree.blobs();
    let found: Vec<_> = blobs.by_ref().map(|blob| blob.expect("readable").digest).collect();
    assert_eq!(found, [good]);
    let mut expected = vec![
        Reason::NoData,
        Reason::NotAFile,
        Reason::InvalidHash,
        Reason::InvalidHash,
        Reason::NotADirectory,
    ];
    expected.sort_by_key(ToString::to_string);
    assert_eq!(reasons(blobs.take_findings()), expected);
}

#[test]
fn a_directory_that_is_no_tree_is_rejected() {
    let dir = tempfile::tempdir().expect("a directory");
    assert!(DistributionTree::find(dir.path()).is_none());
    fs::create_dir_all(dir.path().join("docker/registry")).expect("made");
    let error = DistributionTree::open(dir.path()).expect_err("no tree").to_string();
    assert!(error.contains("because docker/registry/v2 is missing there"), "{error}");
    fs::create_dir_all(dir.path().join("docker/registry/v2")).expect("made");
    let tree = DistributionTree::find(dir.path()).expect("an empty tree");
    assert!(tree.repositories().next().is_none() && tree.blobs().next().is_none());
    assert!(!tree.is_cache());
    fs::write(dir.path().join("scheduler-state.json"), "{}").expect("written");
    assert!(tree.is_cache());
}

#[test]
fn an_unreadable_directory_is_an_error() {
    let fixture = Fixture::new();
    fixture.write("repositories/app/_manifests/tags/1/current/link", b"");
    let directory = fixture.v2("repositories/app/_manifests/tags");
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o000)).expect("set");
    let error = fixture.repository().tags().next();
    // Root may read it anyway.
    if fs::read_dir(&directory).is_err() {
        let error = error.expect("an entry").expect_err("not readable");
        assert!(matches!(&error, TreeError::Io { path, .. } if *path == directory), "{error}");
    }
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).expect("set");
}

#[test]
fn newest_write_finds_tags_manifests_and_uploads() {
    let fixture = Fixture::new();
    let app = name("app");
    fixture.writer.link_revision(&app, &digest("x"), Timestamp(1000)).expect("linked");
    fixture.writer.set_tag(&app, &tagged("1", digest("x"), 5000, &[])).expect("tagged");
    let upload = fixture.write("repositories/new/_uploads/u/data", b"x");
    let set = |path: &Path, seconds: u64| {
        let file = fs::File::open(path).expect("opened");
        file.set_modified(UNIX_EPOCH + Duration::from_secs(seconds)).expect("set");
    };
    set(&fixture.v2("repositories/app/_manifests/revisions/sha256"), 3);
    set(upload.parent().expect("a parent"), 2);
    set(&upload, 4);
    let newest = |since: u64| {
        let found = fixture.tree().newest_write(UNIX_EPOCH + Duration::from_secs(since)).expect("readable");
        found.map(|(path, at)| (path, at.duration_since(UNIX_EPOCH).expect("later").as_secs()))
    };
    let current = fixture.v2("repositories/app/_manifests/tags/1/current/link");
    assert_eq!(newest(0), Some((current, 5)));
    assert_eq!(newest(5), None);
    set(&upload, 9);
    assert_eq!(newest(5), Some((upload, 9)));
    assert_eq!(fixture.tree().count_uploads().expect("readable"), 1);
    assert!(fixture.tree().newest_write(SystemTime::now()).expect("readable").is_none());
}

/// What another name shares is never written to.
#[test]
fn replaces_links_and_keeps_what_is_there() {
    let fixture = Fixture::new();
    let app = name("app");
    fixture.writer.set_tag(&app, &tagged("1", digest("a"), 1000, &[])).expect("tagged");
    let current = fixture.v2("repositories/app/_manifests/tags/1/current/link");
    let other = fixture.dir.path().join("other");
    fs::hard_link(&current, &other).expect("linked");
    let before = fs::metadata(&current).expect("there").ino();
    fixture.writer.set_tag(&app, &tagged("1", digest("a"), 9000, &[])).expect("tagged");
    assert_eq!(fs::metadata(&current).expect("there").ino(), before, "an identical file is left alone");
    fs::write(current.with_file_name("link.orlop-draft"), "of an interrupted command").expect("written");
    fixture.writer.set_tag(&app, &tagged("1", digest("b"), 2000, &[])).expect("moved");
    assert_eq!(fs::read_to_string(&other).expect("read"), digest("a").as_str());
    assert_eq!(fs::read_to_string(&current).expect("read"), digest("b").as_str());
    let (valid, dirt) = sort(fixture.repository().tags());
    assert_eq!((valid[0].past.len(), dirt.len()), (1, 0), "its history keeps the first digest");
}

#[test]
fn a_damaged_blob_and_a_foreign_file_are_conflicts() {
    let fixture = Fixture::new();
    let damaged = fixture.tree().blob_path(&digest("hello"));
    fs::create_dir_all(damaged.parent().expect("a parent")).expect("made");
    fs::write(&damaged, "hel").expect("written");
    let other = fixture.dir.path().join("other");
    fs::hard_link(&damaged, &other).expect("linked");
    let error = fixture.writer.blob_place(&digest("hello"), 5).expect_err("damaged").to_string();
    assert!(error.contains("has 3 bytes, but its blob has 5; move it away"), "{error}");
    assert!(fixture.writer.put_blob_bytes(&digest("hello"), b"hello").expect("replaced"));
    assert_eq!(fs::read(&damaged).expect("read"), b"hello");
    assert_eq!(fs::read(&other).expect("read"), b"hel", "the other name keeps its content");
    fixture.write("repositories/app", b"");
    let error = fixture.writer.link_layer(&name("app"), &digest("x")).expect_err("a file").to_string();
    assert!(error.contains("is not a directory; move it away"), "{error}");
}

/// Distribution 3 stores the content of a blob that was pushed with a SHA-512 digest under its SHA-256 digest.
#[test]
fn a_link_may_name_the_digest_of_another_algorithm() {
    let fixture = Fixture::new();
    let stored_as = digest("content");
    let pushed = Hasher::digest(Algorithm::Sha512, b"content");
    let link =
        |digest: &Digest| format!("repositories/app/_layers/{}/{}/link", digest.algorithm(), digest.hex());
    fixture.write(&link(&pushed), stored_as.as_str().as_bytes());
    fixture.write(&link(&digest("other")), stored_as.as_str().as_bytes());
    fs::create_dir_all(fixture.v2("repositories/app/_manifests")).expect("made");
    let (layers, dirt) = sort(fixture.repository().layers());
    let layers: Vec<_> = layers.into_iter().map(|layer| (layer.digest, layer.stored_as)).collect();
    assert_eq!(layers, [(pushed, stored_as.clone())]);
    assert_eq!(dirt, [Reason::OtherDigest(stored_as)]);
}
