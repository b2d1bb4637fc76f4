//! Injects every fault at every operation of the store and of the metadata, one at a time, while the tree of another
//! registry is adopted. After each fault the machine loses power, restarts and adopts again: the result is that of an
//! adoption that nothing disturbed.

use orlop::faults::{Failure, Fault};
use orlop::maintenance::adopt::{adopt, finish};
use orlop::maintenance::fsck::fsck;
use orlop::maintenance::progress::Silent;
use orlop::metadata::{AdoptionFigures, Totals};
use orlop::oci::{Digest, RepoName, Tag};
use orlop::store::{Adoption, faulty as faulty_store};

use crate::kit::{digest, index, read};
use crate::machine::Machine;
use crate::old_registry::OldRegistry;

const REPOSITORIES: [&str; 2] = ["app", "team/tools"];

/// Two repositories that share a config and a layer. One has an index, the other a tag that was moved.
fn old_registry() -> OldRegistry {
    let old = OldRegistry::new();
    let child = old.image("app", b"shared");
    let list = old.manifest("app", &index(&[&child]));
    old.tag("app", "multi", &list, &[]);
    let first = old.image("team/tools", b"shared");
    let second = old.image("team/tools", b"second");
    old.tag("team/tools", "latest", &second, &[&first]);
    old
}

fn name(repo: &str) -> RepoName {
    repo.parse().expect("name")
}

/// What a registry has.
#[derive(Debug, PartialEq, Eq)]
struct Stored {
    tags: Vec<(&'static str, Tag, Vec<Option<Digest>>)>,
    layers: Vec<Option<Vec<u8>>>,
    totals: Totals,
    figures: AdoptionFigures,
    finished: bool,
    files: usize,
}

impl Stored {
    async fn of(machine: &Machine) -> Self {
        let metadata = machine.registry.metadata();
        while machine.registry.remove_pending_blobs(10).await.expect("removed").more {}
        let mut tags = Vec::new();
        for repo in REPOSITORIES {
            for tag in machine.repo(repo).tags(None, 10).await.expect("listed").items {
                let history = metadata.tag_history(&name(repo), Some(&tag), None, 10).await.expect("read");
                tags.push((repo, tag, history.items.into_iter().map(|entry| entry.digest).collect()));
            }
        }
        let report = fsck(&machine.registry, false, &Silent).await.expect("checked");
        assert!(report.is_sound(), "{report:?}");
        Self {
            tags,
            layers: vec![
                read(&machine.repo("app"), &digest(b"shared")).await,
                read(&machine.repo("team/tools"), &digest(b"second")).await,
            ],
            totals: metadata.totals().await.expect("read"),
            figures: metadata.adoption_figures().await.expect("read"),
            finished: metadata
                .adoption()
                .await
                .expect("read")
                .is_some_and(|record| record.finished_at.is_some()),
            files: machine.medium.keys().len(),
        }
    }
}

/// The faults of an operation that is about to happen, or has happened.
const FAULTS: [Fault; 5] = [
    Fault::Fail(Failure::Io),
    Fault::Fail(Failure::Full),
    Fault::FailAfter(Failure::Io),
    Fault::Crash,
    Fault::CrashAfter,
];

/// Adopts with the faults that `inject` has planned, again after a power cut, and compares the result.
async fn adopt_twice(old: &OldRegistry, expected: &Stored, inject: impl FnOnce(&Machine)) {
    let mut machine = Machine::new();
    inject(&machine);
    let _ = adopt(&machine.registry, &old.tree(), Adoption::Hardlink, &Silent).await;
    machine.power_cut().await;
    adopt(&machine.registry, &old.tree(), Adoption::Hardlink, &Silent).await.expect("adopted");
    assert_eq!(&Stored::of(&machine).await, expected);
}

#[tokio::test]
async fn every_fault_of_an_adoption_is_repaired_by_the_next_run() {
    let old = old_registry();
    let healthy = Machine::new();
    let report = adopt(&healthy.registry, &old.tree(), Adoption::Hardlink, &Silent).await.expect("adopted");
    assert!(report.flaws.is_empty(), "{report:?}");
    let (store, metadata) = (healthy.store_faults.count(), healthy.metadata_faults.count());
    let expected = Stored::of(&healthy).await;
    assert_eq!((expected.tags.len(), expected.files, expected.finished), (2, 3, true));
    for fault in FAULTS {
        for at in 0..store {
            adopt_twice(&old, &expected, |machine| machine.store_faults.inject_nth(at, fault)).await;
        }
        for at in 0..metadata {
            adopt_twice(&old, &expected, |machine| machine.metadata_faults.inject_nth(at, fault)).await;
        }
    }
}

#[tokio::test]
async fn finish_keeps_the_old_tree_while_a_blob_cannot_be_read() {
    let old = old_registry();
    let machine = Machine::new();
    adopt(&machine.registry, &old.tree(), Adoption::Hardlink, &Silent).await.expect("adopted");
    machine.store_faults.inject_next(faulty_store::Operation::Inspect, Fault::Fail(Failure::Io));
    let report = finish(&machine.registry, old.path(), &Silent).await.expect("checked");
    assert_eq!((report.verified, report.damaged.len(), report.is_done()), (2, 1, false));
    assert!(old.path().join("docker/registry/v2/blobs").exists());

    let report = finish(&machine.registry, old.path(), &Silent).await.expect("finished");
    assert_eq!((report.verified, report.is_done()), (1, true));
    assert!(!old.path().join("docker").exists());
    let stored = Stored::of(&machine).await;
    assert_eq!((stored.figures.unverified_blobs, stored.figures.hardlinked_blobs), (0, 0));
    assert!(stored.layers.iter().all(Option::is_some));
}
