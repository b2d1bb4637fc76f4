//! Runs random operations on the real registry, with store faults, power cuts and collector ticks in between, and
//! compares the result with a reference model of what users were promised.

mod undoing;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use orlop::clock::{Clock, ManualClock, Timestamp};
use orlop::jobs::{Collector, CollectorSettings, Job};
use orlop::metadata::{Access as MetadataAccess, Metadata};
use orlop::oci::{Algorithm, Digest};
use orlop::registry::{Access, DeleteError, PutManifestError, Registry, Repository, Settings};
use orlop::store::MemoryStore;
use orlop::store::faulty::{Failure, Fault, Faults, Faulty};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::kit::{LEASE, TRASH, UNTAGGED, body, digest, has, image, index, put, read};
use crate::reference::{Accepted, Reference};

const REPOS: [&str; 2] = ["one", "two"];
const TAGS: [&str; 2] = ["latest", "stable"];
const BLOBS: usize = 4;

#[derive(Debug, Clone)]
enum Step {
    Push { repo: usize, blob: usize },
    PushInPieces { repo: usize, blob: usize, restart: bool },
    Head { repo: usize, blob: usize },
    Mount { repo: usize, blob: usize },
    Image { repo: usize, blobs: Vec<usize>, tag: Option<usize> },
    Referrer { repo: usize, blob: usize, subject: usize },
    Index { repo: usize, children: Vec<usize>, tag: Option<usize> },
    DeleteTag { repo: usize, tag: usize },
    DeleteManifest { repo: usize, manifest: usize },
    Restore { repo: usize, manifest: usize },
    DeleteBlob { repo: usize, blob: usize },
    Undo(undoing::Undo),
    Pass { seconds: u64 },
    Tick,
    Collect,
    Restart,
    PowerCut,
    Fault { at: usize, fault: Fault },
    TornPublish,
}

fn step() -> impl Strategy<Value = Step> {
    let repo = || 0..REPOS.len();
    let blob = || 0..BLOBS;
    let tag = || proptest::option::of(0..TAGS.len());
    prop_oneof![
        6 => (repo(), blob()).prop_map(|(repo, blob)| Step::Push { repo, blob }),
        2 => (repo(), blob(), any::<bool>())
            .prop_map(|(repo, blob, restart)| Step::PushInPieces { repo, blob, restart }),
        3 => (repo(), blob()).prop_map(|(repo, blob)| Step::Head { repo, blob }),
        2 => (repo(), blob()).prop_map(|(repo, blob)| Step::Mount { repo, blob }),
        8 => (repo(), proptest::collection::vec(blob(), 1..3), tag())
            .prop_map(|(repo, blobs, tag)| Step::Image { repo, blobs, tag }),
        2 => (repo(), blob(), 0..8_usize).prop_map(|(repo, blob, subject)| Step::Referrer { repo, blob, subject }),
        3 => (repo(), proptest::collection::vec(0..8_usize, 1..3), tag())
            .prop_map(|(repo, children, tag)| Step::Index { repo, children, tag }),
        2 => (repo(), 0..TAGS.len()).prop_map(|(repo, tag)| Step::DeleteTag { repo, tag }),
        3 => (repo(), 0..8_usize).prop_map(|(repo, manifest)| Step::DeleteManifest { repo, manifest }),
        2 => (repo(), 0..8_usize).prop_map(|(repo, manifest)| Step::Restore { repo, manifest }),
        1 => (repo(), blob()).prop_map(|(repo, blob)| Step::DeleteBlob { repo, blob }),
        8 => undoing::undo().prop_map(Step::Undo),
        5 => prop_oneof![Just(1), Just(50), Just(99), Just(101), Just(999), Just(1001), Just(5001)]
            .prop_map(|seconds| Step::Pass { seconds }),
        6 => Just(Step::Tick),
        3 => Just(Step::Collect),
        1 => Just(Step::Restart),
        1 => Just(Step::PowerCut),
        2 => (0..8_usize, fault()).prop_map(|(at, fault)| Step::Fault { at, fault }),
        1 => Just(Step::TornPublish),
    ]
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        Just(Fault::Fail(Failure::Io)),
        Just(Fault::Fail(Failure::Full)),
        Just(Fault::FailAfter(Failure::Io)),
        Just(Fault::Torn(Failure::Full)),
        Just(Fault::Crash),
        Just(Fault::CrashAfter),
    ]
}

struct World {
    metadata_dir: TempDir,
    medium: MemoryStore,
    faults: Faults,
    clock: Arc<ManualClock>,
    registry: Arc<Registry>,
    collector: Collector,
    models: Vec<Reference>,
    /// A power cut may bring removed names back, which only `fsck` finds.
    power_was_cut: bool,
}

impl World {
    fn new() -> Self {
        let metadata_dir = TempDir::new().expect("temporary folder");
        let clock = Arc::new(ManualClock::at(Timestamp(1_000_000_000)));
        let medium = MemoryStore::new();
        let faults = Faults::new();
        let (registry, collector) = assemble(&metadata_dir, &medium, &faults, &clock);
        let models = REPOS.map(|_| Reference::default()).into();
        Self { metadata_dir, medium, faults, clock, registry, collector, models, power_was_cut: false }
    }

    fn repo(&self, repo: usize) -> Repository {
        self.registry.repository(REPOS[repo].parse().expect("name"), Access { push: true })
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn restart(&mut self) {
        self.faults.reset();
        self.faults.revive();
        self.medium.set_torn_publish(false);
        self.medium = self.medium.reopened();
        (self.registry, self.collector) =
            assemble(&self.metadata_dir, &self.medium, &self.faults, &self.clock);
        self.registry.recover().await.expect("recovery");
    }

    async fn power_cut(&mut self) {
        self.medium.power_cut();
        self.power_was_cut = true;
        self.restart().await;
    }

    async fn apply(&mut self, step: Step) {
        match step {
            Step::Push { repo, blob } => self.push(repo, blob).await,
            Step::PushInPieces { repo, blob, restart } => self.push_in_pieces(repo, blob, restart).await,
            Step::Head { repo, blob } => {
                let blob = digest(&content(blob));
                if self.repo(repo).blob(&blob).await.is_ok() {
                    let now = self.now();
                    self.models[repo].promise(&blob, now);
                } else {
                    self.assert_absent(repo, &blob);
                }
            }
            Step::Mount { repo, blob } => {
                let blob = digest(&content(blob));
                if let Ok(Some(_)) = self.repo(repo).mount(&blob, None).await {
                    let now = self.now();
                    self.models[repo].promise(&blob, now);
                }
            }
            Step::Image { repo, blobs, tag } => {
                let blobs: Vec<Digest> = blobs.into_iter().map(|blob| digest(&content(blob))).collect();
                let text = image(&blobs[0], &blobs[1..].iter().collect::<Vec<_>>());
                self.put(repo, text, blobs, Vec::new(), None, tag).await;
            }
            Step::Referrer { repo, blob, subject } => {
                let blob = digest(&content(blob));
                let Some(subject) = self.nth_manifest(repo, subject) else { return };
                let mut value: serde_json::Value = serde_json::from_str(&image(&blob, &[])).expect("json");
                value["subject"] = serde_json::json!({
                    "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": subject.as_str(), "size": 1
                });
                self.put(repo, value.to_string(), vec![blob], Vec::new(), Some(subject), None).await;
            }
            Step::Index { repo, children, tag } => {
                let children: Vec<Digest> =
                    children.into_iter().filter_map(|child| self.nth_manifest(repo, child)).collect();
                if !children.is_empty() {
                    let text = index(&children.iter().collect::<Vec<_>>());
                    self.put(repo, text, Vec::new(), children, None, tag).await;
                }
            }
            Step::DeleteTag { repo, tag } => self.delete_tag(repo, TAGS[tag]).await,
            Step::DeleteManifest { repo, manifest } => self.delete_manifest(repo, manifest).await,
            Step::Restore { repo, manifest } => {
                let Some(digest) = self.nth_manifest(repo, manifest) else { return };
                let Accepted { content, blobs, children, subject, .. } =
                    self.models[repo].manifests[&digest].clone();
                self.put(repo, content, blobs, children, subject, None).await;
            }
            Step::DeleteBlob { repo, blob } => self.delete_blob(repo, blob).await,
            Step::Undo(undo) => self.undo(undo).await,
            Step::Pass { seconds } => self.clock.advance(Duration::from_secs(seconds)),
            Step::Tick => drop(self.collector.tick().await),
            Step::Collect => drop(self.collector.run_to_end(|_| {}).await),
            Step::Restart => self.restart().await,
            Step::PowerCut => self.power_cut().await,
            Step::Fault { at, fault } => self.faults.inject_nth(self.faults.count() + at, fault),
            Step::TornPublish => self.medium.set_torn_publish(true),
        }
        if self.faults.is_down() {
            self.power_cut().await;
        }
    }

    async fn push(&mut self, repo: usize, blob: usize) {
        let handle = self.repo(repo);
        let bytes = content(blob);
        let Ok(id) = handle.start_upload(Algorithm::Sha256).await else { return };
        if handle.finish(id, None, body(&[&bytes]), digest(&bytes)).await.is_ok() {
            let now = self.now();
            self.models[repo].promise(&digest(&bytes), now);
        }
    }

    /// Uploads a blob in two requests, with a status request and, if `restart`, a checkpoint and a restart between.
    async fn push_in_pieces(&mut self, repo: usize, blob: usize, restart: bool) {
        let bytes = content(blob);
        let (first, _) = bytes.split_at(bytes.len() / 2);
        let Ok(id) = self.repo(repo).start_upload(Algorithm::Sha256).await else { return };
        let _ = self.repo(repo).append(id, None, body(&[first])).await;
        if restart {
            self.registry.checkpoint_uploads(true).await;
            self.power_cut().await;
        }
        let handle = self.repo(repo);
        let Ok(offset) = handle.upload_offset(id).await else { return };
        let rest = &bytes[usize::try_from(offset).expect("small")..];
        if handle.finish(id, None, body(&[rest]), digest(&bytes)).await.is_ok() {
            let now = self.now();
            self.models[repo].promise(&digest(&bytes), now);
        }
    }

    async fn put(
        &mut self,
        repo: usize,
        text: String,
        blobs: Vec<Digest>,
        children: Vec<Digest>,
        subject: Option<Digest>,
        tag: Option<usize>,
    ) {
        let tags: Vec<&str> = tag.map(|tag| TAGS[tag]).into_iter().collect();
        let outcome = put(&self.repo(repo), &tags, &text).await;
        let now = self.now();
        let model = &mut self.models[repo];
        match outcome {
            Ok(accepted) => {
                for tag in tags {
                    let before = model.tags.insert(tag.to_owned(), accepted.clone());
                    if let Some(before) = before.and_then(|before| model.manifests.get_mut(&before)) {
                        before.touched = now;
                    }
                }
                let first = model.manifests.get(&accepted).map_or(now, |before| before.first);
                let manifest =
                    Accepted { content: text, blobs, children, subject, first, touched: now, removed: None };
                model.manifests.insert(accepted, manifest);
            }
            Err(PutManifestError::Missing(missing)) => {
                for (absent, _) in missing {
                    assert!(!model.is_promised(&absent, now), "{absent} was promised to be there");
                    assert!(!model.has_live_user(&absent, now), "{absent} is needed by a live manifest");
                    assert!(!model.must_serve(&absent, now), "{absent} must be served");
                }
            }
            Err(error) => panic!("the metadata has no faults: {error}"),
        }
    }

    async fn delete_tag(&mut self, repo: usize, tag: &str) {
        let outcome = self.repo(repo).delete_tag(&tag.parse().expect("tag")).await;
        let now = self.now();
        let model = &mut self.models[repo];
        let before = model.tags.remove(tag);
        assert_eq!(outcome.is_ok(), before.is_some(), "{outcome:?}");
        if let Some(before) = before.and_then(|before| model.manifests.get_mut(&before)) {
            before.touched = now;
        }
    }

    async fn delete_manifest(&mut self, repo: usize, manifest: usize) {
        let Some(digest) = self.nth_manifest(repo, manifest) else { return };
        let outcome = self.repo(repo).delete_manifest(&digest).await;
        let now = self.now();
        let model = &mut self.models[repo];
        match outcome {
            Ok(()) => {
                assert!(!model.has_live_parent(&digest, now), "a live index needs {digest}");
                model.tags.retain(|_, tagged| *tagged != digest);
                model.manifests.get_mut(&digest).expect("known").removed = Some(now);
            }
            Err(DeleteError::Unknown) => assert!(!model.must_serve(&digest, now)),
            Err(DeleteError::HeldBy(holder)) => assert!(model.manifests[&holder].removed.is_none()),
            Err(error) => panic!("{error}"),
        }
    }

    async fn delete_blob(&mut self, repo: usize, blob: usize) {
        let blob = digest(&content(blob));
        let outcome = self.repo(repo).delete_blob(&blob).await;
        let now = self.now();
        let model = &mut self.models[repo];
        match outcome {
            Ok(()) => {
                assert!(!model.has_live_user(&blob, now), "a live manifest needs {blob}");
                model.promised.remove(&blob);
            }
            Err(DeleteError::Unknown) => self.assert_absent(repo, &blob),
            Err(DeleteError::HeldBy(holder)) => assert!(model.manifests[&holder].removed.is_none()),
            Err(error) => panic!("{error}"),
        }
    }

    fn assert_absent(&self, repo: usize, blob: &Digest) {
        let model = &self.models[repo];
        let now = self.now();
        assert!(!model.is_promised(blob, now), "{blob} was promised");
        assert!(!model.has_live_user(blob, now), "{blob} is needed by a live manifest");
    }

    fn nth_manifest(&self, repo: usize, n: usize) -> Option<Digest> {
        let manifests: &BTreeMap<Digest, Accepted> = &self.models[repo].manifests;
        manifests.keys().nth(n % manifests.len().max(1)).cloned()
    }

    /// Checks every promise by pulling.
    async fn check(&self) {
        self.faults.clear();
        for (repo, model) in self.models.iter().enumerate() {
            let handle = self.repo(repo);
            for (digest, manifest) in &model.manifests {
                if manifest.removed.is_some() {
                    assert!(!has(&handle, digest.as_str()).await, "{digest} was deleted");
                } else if model.must_serve(digest, self.now()) {
                    self.check_complete(&handle, digest, manifest).await;
                }
            }
            for blob in model.promised.keys().filter(|blob| model.is_promised(blob, self.now())) {
                assert!(handle.without_push().blob(blob).await.is_ok(), "{blob} was promised to be there");
            }
            for (tag, digest) in &model.tags {
                let found = handle.without_push().manifest(&tag.parse().expect("tag")).await.expect("tagged");
                assert_eq!(found.digest, *digest);
            }
        }
    }

    async fn check_complete(&self, repo: &Repository, digest: &Digest, manifest: &Accepted) {
        let reference = digest.as_str().parse().expect("digest");
        let found = repo
            .without_push()
            .manifest(&reference)
            .await
            .unwrap_or_else(|error| panic!("{digest}: {error}"));
        assert_eq!(found.content, manifest.content.as_bytes());
        for blob in &manifest.blobs {
            let bytes = read(repo, blob).await.unwrap_or_else(|| panic!("{digest} needs {blob}"));
            assert_eq!(crate::kit::digest(&bytes), *blob);
        }
        for child in &manifest.children {
            assert!(has(repo, child.as_str()).await, "{digest} needs {child}");
        }
    }

    /// Checks that nothing is left when everything is deleted and every time limit has passed.
    async fn check_nothing_leaks(&mut self) {
        self.restart().await;
        for repo in 0..REPOS.len() {
            let tags: Vec<String> = self.models[repo].tags.keys().cloned().collect();
            for tag in tags {
                self.delete_tag(repo, &tag).await;
            }
        }
        for _ in 0..6 {
            self.clock.advance(UNTAGGED + TRASH + LEASE + LEASE);
            self.collector.run_to_end(|_| {}).await.expect("collection");
        }
        let problems = self.registry.metadata().verify().await.expect("metadata");
        assert!(problems.is_empty(), "{problems:?}");
        let totals = self.registry.metadata().totals().await.expect("totals");
        assert_eq!((totals.blobs, totals.manifests, totals.uploads), (0, 0, 0));
        assert!(self.power_was_cut || self.medium.keys().is_empty(), "{:?}", self.medium.keys());
    }
}

fn assemble(
    metadata_dir: &TempDir,
    medium: &MemoryStore,
    faults: &Faults,
    clock: &Arc<ManualClock>,
) -> (Arc<Registry>, Collector) {
    let metadata = Metadata::open(metadata_dir.path(), MetadataAccess::ReadWrite).expect("metadata");
    let store = Arc::new(Faulty::new(medium.clone(), faults.clone()));
    let shared: Arc<dyn Clock> = clock.clone();
    let settings = Settings { lease: LEASE, min_free: 0, warn_free: 0, ..Settings::default() };
    let registry = Registry::new(store, Arc::new(metadata), shared, settings);
    let rules = CollectorSettings {
        trash: TRASH,
        untagged: Some(UNTAGGED),
        upload_expiry: Duration::from_secs(300),
        batch: 3,
    };
    let collector = Collector::new(Arc::clone(&registry), rules);
    (registry, collector)
}

fn content(blob: usize) -> Vec<u8> {
    format!("the bytes of blob {blob}").into_bytes()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn keeps_every_promise_after_any_sequence(steps in proptest::collection::vec(step(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        runtime.block_on(async {
            let mut world = World::new();
            for step in steps {
                world.apply(step).await;
                world.check().await;
            }
            world.check_nothing_leaks().await;
        });
    }
}
