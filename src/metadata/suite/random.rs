//! Random pushes, deletions and collections, checked against a small model of what must exist and when everything must
//! be removed.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::{Fixture, Image, Scene, at, digest, image, repo, rules};
use crate::metadata::{Deletion, Mount, PutOutcome, Quota, Totals};
use crate::oci::ImageDetails;

const REPOS: [&str; 2] = ["app", "other"];
const BLOBS: [&str; 3] = ["x", "y", "z"];

type Names = &'static [&'static str];

/// The manifests with the blobs, children and subjects that they refer to.
const MANIFESTS: [(&str, Names, Names, Names); 6] = [
    ("a", &["x", "y"], &[], &[]),
    ("b", &["y", "z"], &[], &[]),
    ("index", &["z"], &["a", "b"], &[]),
    ("nested", &[], &["index", "a"], &[]),
    ("referrer", &["x"], &[], &["a"]),
    ("own", &[], &["b"], &["b"]),
];

#[derive(Debug, Clone)]
enum Step {
    Push(usize, usize),
    Mount(usize, usize),
    Head(usize, usize),
    Put(usize, usize, Option<&'static str>),
    Delete(usize, usize),
    DeleteBlob(usize, usize),
    Untag(usize, &'static str),
    StartUpload(usize),
    Cancel,
    Wait(i64),
    Collect(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let tag = prop_oneof![Just("v1"), Just("v2")];
    let repo = 0..REPOS.len();
    let blob = 0..BLOBS.len();
    let manifest = 0..MANIFESTS.len();
    prop_oneof![
        4 => (repo.clone(), blob.clone()).prop_map(|(r, b)| Step::Push(r, b)),
        1 => (repo.clone(), blob.clone()).prop_map(|(r, b)| Step::Mount(r, b)),
        1 => (repo.clone(), blob.clone()).prop_map(|(r, b)| Step::Head(r, b)),
        6 => (repo.clone(), manifest.clone(), proptest::option::of(tag.clone()))
            .prop_map(|(r, m, t)| Step::Put(r, m, t)),
        3 => (repo.clone(), manifest).prop_map(|(r, m)| Step::Delete(r, m)),
        1 => (repo.clone(), blob).prop_map(|(r, b)| Step::DeleteBlob(r, b)),
        1 => (repo.clone(), tag).prop_map(|(r, t)| Step::Untag(r, t)),
        1 => repo.prop_map(Step::StartUpload),
        1 => Just(Step::Cancel),
        4 => (1_i64..40).prop_map(Step::Wait),
        4 => (1_usize..5).prop_map(Step::Collect),
    ]
}

/// Repositories and names in them.
type NamesInRepos = BTreeSet<(usize, &'static str)>;

/// The expected state: the tags, and until when a blob is guaranteed to exist.
#[derive(Default)]
struct Model {
    tags: BTreeMap<(usize, &'static str), usize>,
    promised: BTreeMap<(usize, usize), i64>,
}

impl Model {
    /// The manifests and blobs that are reachable from a tag.
    fn reachable(&self) -> (NamesInRepos, NamesInRepos) {
        let mut manifests = BTreeSet::new();
        let mut blobs = BTreeSet::new();
        let mut waiting: Vec<_> = self.tags.iter().map(|((repo, _), m)| (*repo, MANIFESTS[*m].0)).collect();
        while let Some((repo, name)) = waiting.pop() {
            let Some((_, needs, children, _)) = MANIFESTS.iter().find(|found| found.0 == name) else {
                continue;
            };
            manifests.insert((repo, name));
            blobs.extend(needs.iter().map(|blob| (repo, *blob)));
            waiting.extend(children.iter().map(|child| (repo, *child)));
        }
        (manifests, blobs)
    }
}

fn build_image(manifest: usize, tag: Option<&str>) -> Image {
    let (name, blobs, children, subjects) = MANIFESTS[manifest];
    let details =
        ImageDetails { labels: Some([("of".into(), name.into())].into()), ..ImageDetails::default() };
    let built = match blobs {
        [config, layers @ ..] if children.is_empty() => {
            layers.iter().fold(image(name).config(config, Some(details)), |image, blob| image.blob(blob))
        }
        blobs => blobs.iter().fold(image(name), |image, blob| image.blob(blob)),
    };
    let built = children.iter().fold(built, |image, child| image.child(child));
    let built = subjects.iter().fold(built, |image, subject| image.subject(subject));
    tag.into_iter().fold(built, Image::tag)
}

async fn run(fixture: &impl Fixture, steps: Vec<Step>) {
    let scene = Scene::new(fixture.open());
    let quotas = ["", "app", "other"].map(|scope| Quota::of(scope.parse().expect("a scope")));
    scene.store.set_quotas(&quotas).await.expect("set");
    let mut model = Model::default();
    let mut now = 0;
    let mut open = Vec::new();
    for step in steps {
        run_step(&scene, &mut model, &mut now, &mut open, step).await;
        scene.assert_consistent().await;
        let (manifests, blobs) = model.reachable();
        for (repo, name) in manifests {
            assert!(scene.has(REPOS[repo], name).await, "{name} in {repo}");
        }
        for (repo, name) in blobs {
            assert!(scene.has_blob(REPOS[repo], name).await, "{name} in {repo}");
        }
        for ((repo, blob), until) in &model.promised {
            assert!(now >= *until || scene.has_blob(REPOS[*repo], BLOBS[*blob]).await);
        }
    }
    for upload in open {
        scene.cancel(upload, now).await;
    }
    for (repo, tag) in model.tags.keys() {
        assert!(scene.untag(REPOS[*repo], tag, now).await);
    }
    // An index with its own child as subject waits for the child's review and then for its own.
    for _ in 0..12 {
        now += 15 * 24;
        scene.collect(rules(now)).await;
    }
    scene.store.forget_pending_deletions(&scene.pending_deletions().await).await.expect("forgotten");
    assert_eq!(scene.store.totals().await.expect("totals"), Totals::default());
    scene.assert_consistent().await;
}

async fn run_step(
    scene: &Scene,
    model: &mut Model,
    now: &mut i64,
    open: &mut Vec<crate::oci::UploadId>,
    step: Step,
) {
    // Seven eighths of a lease: after that it may be renewed.
    let until = *now + 21;
    match step {
        Step::Push(repo, blob) => {
            scene.push(REPOS[repo], BLOBS[blob], *now).await;
            model.promised.insert((repo, blob), until);
        }
        Step::Mount(repo, blob) => {
            let to = self::repo(REPOS[repo]);
            let wanted = digest(BLOBS[blob]);
            let mounted = scene.store.mount_blob(&to, &wanted, None, at(*now)).await.expect("mounted");
            if let Mount::Done(_) = mounted {
                model.promised.insert((repo, blob), until);
            }
        }
        Step::Head(repo, blob) => {
            if scene.head_blob(REPOS[repo], BLOBS[blob], *now).await {
                model.promised.insert((repo, blob), until);
            }
        }
        Step::Put(repo, manifest, tag) => {
            let put = scene.try_put(REPOS[repo], build_image(manifest, tag), *now).await;
            if let (PutOutcome::Stored, Some(tag)) = (put, tag) {
                model.tags.insert((repo, tag), manifest);
            }
        }
        Step::Delete(repo, manifest) => {
            if scene.delete(REPOS[repo], MANIFESTS[manifest].0, *now).await == Deletion::Done {
                model.tags.retain(|(of, _), tagged| (*of, *tagged) != (repo, manifest));
            }
        }
        Step::DeleteBlob(repo, blob) => {
            if scene.delete_blob(REPOS[repo], BLOBS[blob], *now).await == Deletion::Done {
                model.promised.remove(&(repo, blob));
            }
        }
        Step::Untag(repo, tag) => {
            let existed = model.tags.remove(&(repo, tag)).is_some();
            assert_eq!(scene.untag(REPOS[repo], tag, *now).await, existed);
        }
        Step::StartUpload(repo) => open.push(scene.start_upload(REPOS[repo], *now).await),
        Step::Cancel => {
            if let Some(upload) = open.pop() {
                scene.cancel(upload, *now).await;
            }
        }
        Step::Wait(hours) => *now += hours,
        Step::Collect(limit) => {
            scene.collect_in_batches(rules(*now), limit).await;
        }
    }
}

/// Runs random sequences, each in a new place: guaranteed content is kept, all else is removed, and the sums are right
/// after each step.
pub fn check_random_sequences<F: Fixture>(new_fixture: impl Fn() -> F) {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(24);
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let checked = TestRunner::new(config).run(&proptest::collection::vec(step(), 1..60), |steps| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(run(&new_fixture(), steps));
        Ok(())
    });
    checked.unwrap_or_else(|error| panic!("{error}"));
}
