//! Random pushes, deletions and collections against a model of a few lines: what may be asked for, and when
//! the last of it must be gone.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::Folder;
use crate::metadata::suite::{Fixture, Image, Scene, image, rules};
use crate::metadata::{Deletion, Mount, PutOutcome, Totals};
use crate::oci::ImageDetails;

const REPOS: [&str; 2] = ["app", "other"];
const BLOBS: [&str; 3] = ["x", "y", "z"];

type Names = &'static [&'static str];

/// Each manifest, with what it refers to: blobs, children, subject.
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
    Begin(usize),
    Cancel,
    Wait(i64),
    Collect(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let tag = prop_oneof![Just("v1"), Just("v2")];
    let (repo, blob, manifest) = (0..REPOS.len(), 0..BLOBS.len(), 0..MANIFESTS.len());
    prop_oneof![
        4 => (repo.clone(), blob.clone()).prop_map(|(r, b)| Step::Push(r, b)),
        1 => (repo.clone(), blob.clone()).prop_map(|(r, b)| Step::Mount(r, b)),
        1 => (repo.clone(), blob.clone()).prop_map(|(r, b)| Step::Head(r, b)),
        6 => (repo.clone(), manifest.clone(), proptest::option::of(tag.clone()))
            .prop_map(|(r, m, t)| Step::Put(r, m, t)),
        3 => (repo.clone(), manifest).prop_map(|(r, m)| Step::Delete(r, m)),
        1 => (repo.clone(), blob).prop_map(|(r, b)| Step::DeleteBlob(r, b)),
        1 => (repo.clone(), tag).prop_map(|(r, t)| Step::Untag(r, t)),
        1 => repo.prop_map(Step::Begin),
        1 => Just(Step::Cancel),
        4 => (1_i64..40).prop_map(Step::Wait),
        4 => (1_usize..5).prop_map(Step::Collect),
    ]
}

/// Names, each in a repository.
type Here = BTreeSet<(usize, &'static str)>;

/// What must be: the tags, and until when a blob was promised to be there.
#[derive(Default)]
struct Reference {
    tags: BTreeMap<(usize, &'static str), usize>,
    promised: BTreeMap<(usize, usize), i64>,
}

impl Reference {
    /// Everything that is reached from a tag.
    fn reached(&self) -> (Here, Here) {
        let (mut manifests, mut blobs) = (BTreeSet::new(), BTreeSet::new());
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

fn built(manifest: usize, tag: Option<&str>) -> Image {
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

async fn run(steps: Vec<Step>) {
    let folder = Folder::new();
    let scene = Scene::new(folder.open());
    let (mut reference, mut now, mut open) = (Reference::default(), 0, Vec::new());
    for step in steps {
        take(&scene, &mut reference, &mut now, &mut open, step).await;
        scene.verifies().await;
        let (manifests, blobs) = reference.reached();
        for (repo, name) in manifests {
            assert!(scene.has(REPOS[repo], name).await, "{name} in {repo}");
        }
        for (repo, name) in blobs {
            assert!(scene.has_blob(REPOS[repo], name).await, "{name} in {repo}");
        }
        for ((repo, blob), until) in &reference.promised {
            assert!(now >= *until || scene.has_blob(REPOS[*repo], BLOBS[*blob]).await);
        }
    }
    for upload in open {
        scene.cancel(upload, now).await;
    }
    for (repo, tag) in reference.tags.keys() {
        assert!(scene.untag(REPOS[*repo], tag, now).await);
    }
    // An index about its own child waits for the child's review, and then for its own.
    for _ in 0..12 {
        now += 15 * 24;
        scene.collect(rules(now)).await;
    }
    scene.store.forget_doomed(&scene.doomed().await).await.expect("forgotten");
    assert_eq!(scene.store.totals().await.expect("totals"), Totals::default());
    scene.verifies().await;
}

async fn take(
    scene: &Scene,
    reference: &mut Reference,
    now: &mut i64,
    open: &mut Vec<crate::oci::UploadId>,
    step: Step,
) {
    // A lease, less the eighth that makes it stale.
    let until = *now + 21;
    match step {
        Step::Push(repo, blob) => {
            scene.push(REPOS[repo], BLOBS[blob], *now).await;
            reference.promised.insert((repo, blob), until);
        }
        Step::Mount(repo, blob) => {
            let to = crate::metadata::suite::repo(REPOS[repo]);
            let wanted = crate::metadata::suite::digest(BLOBS[blob]);
            let at = crate::metadata::suite::at(*now);
            let mounted = scene.store.mount_blob(&to, &wanted, None, at).await.expect("an answer");
            if let Mount::Done(_) = mounted {
                reference.promised.insert((repo, blob), until);
            }
        }
        Step::Head(repo, blob) => {
            if scene.head_blob(REPOS[repo], BLOBS[blob], *now).await {
                reference.promised.insert((repo, blob), until);
            }
        }
        Step::Put(repo, manifest, tag) => {
            let put = scene.try_put(REPOS[repo], built(manifest, tag), *now).await;
            if let (PutOutcome::Stored, Some(tag)) = (put, tag) {
                reference.tags.insert((repo, tag), manifest);
            }
        }
        Step::Delete(repo, manifest) => {
            if scene.delete(REPOS[repo], MANIFESTS[manifest].0, *now).await == Deletion::Done {
                reference.tags.retain(|(of, _), tagged| (*of, *tagged) != (repo, manifest));
            }
        }
        Step::DeleteBlob(repo, blob) => {
            if scene.delete_blob(REPOS[repo], BLOBS[blob], *now).await == Deletion::Done {
                reference.promised.remove(&(repo, blob));
            }
        }
        Step::Untag(repo, tag) => {
            let there = reference.tags.remove(&(repo, tag)).is_some();
            assert_eq!(scene.untag(REPOS[repo], tag, *now).await, there);
        }
        Step::Begin(repo) => open.push(scene.begin(REPOS[repo], *now).await),
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

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(24),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn nothing_promised_is_lost_and_nothing_else_stays(steps in proptest::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(run(steps));
    }
}
