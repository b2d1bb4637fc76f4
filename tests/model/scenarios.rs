//! The scenarios: each one covers a dangerous interleaving of clients and the collector.

use super::protocol::Protocol;
use super::state::{ClientId, Op, START, Stage, State};
use super::world::{Blob, Manifest, Repo, Target, Tick};

/// The operations of a client, in order.
#[derive(Clone, Copy, Debug)]
pub struct Script {
    pub repo: Repo,
    pub ops: &'static [Op],
}

type Reached = fn(&Protocol, &State) -> bool;

#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    pub before: fn() -> State,
    pub scripts: &'static [Script],
    /// `gc.lease`.
    pub lease: Tick,
    /// Whether `storage.budget` is set. Then every lease is written, also for targets with a holder, so that a purge
    /// leases only targets that a client may have found.
    pub budget: bool,
    /// How long a removed manifest or blob can be restored.
    pub trash: Tick,
    /// The maximum age of an upload that no request owns.
    pub idle: Tick,
    /// The maximum number of failures.
    pub faults: u8,
    /// When the clock stops.
    pub end: Tick,
    /// States that must be reachable. Otherwise the properties could hold because nothing happens.
    pub reaches: &'static [(&'static str, Reached)],
}

impl Scenario {
    pub fn script(&self, id: ClientId) -> Script {
        self.scripts.get(id as usize).copied().unwrap_or(Script { repo: Repo::Main, ops: &[] })
    }
}

const fn main(ops: &'static [Op]) -> Script {
    Script { repo: Repo::Main, ops }
}

const fn fork(ops: &'static [Op]) -> Script {
    Script { repo: Repo::Fork, ops }
}

/// The common base of the scenarios.
const QUIET: Scenario = Scenario {
    before: || State::EMPTY,
    scripts: &[],
    lease: 1,
    budget: false,
    trash: 1,
    idle: 20,
    faults: 0,
    end: START + 3,
    reaches: &[],
};

/// Two clients upload one digest concurrently and one of them refers to it, while requests, the process and the power
/// fail.
pub const TWO_UPLOADS: Scenario = Scenario {
    scripts: &[main(&[Op::Upload(Blob::Layer), Op::Put(Manifest::App)]), main(&[Op::Upload(Blob::Layer)])],
    faults: 2,
    end: START,
    reaches: &[("one upload replaces the other's bytes", |model, state| {
        model.is_done(state, ClientId::Bob)
            && is_live(state, Manifest::App)
            && !state.metadata.pending_deletion.is_empty()
    })],
    ..QUIET
};

/// A client needs a blob that has had no holder for long. It finds the blob, or pushes it again while the old file is
/// removed.
pub const PUSHED_AGAIN: Scenario = Scenario {
    before: || State::EMPTY.with_blob(Repo::Main, Blob::Layer),
    scripts: &[main(&[Op::Ensure(Blob::Layer), Op::Put(Manifest::App)])],
    faults: 1,
    reaches: &[
        ("the blob is found", |_, state| {
            is_live(state, Manifest::App) && state.metadata.pending_deletion.is_empty()
        }),
        ("the blob is pushed again", |_, state| {
            is_live(state, Manifest::App) && !state.metadata.pending_deletion.is_empty()
        }),
        ("the blob is collected", |_, state| is_collected(state, Blob::Layer)),
    ],
    ..QUIET
};

/// A blob is pushed again while another client reads it.
pub const PULL: Scenario = Scenario {
    before: || State::EMPTY.with_tag(Repo::Main, Manifest::App),
    scripts: &[main(&[Op::Upload(Blob::Layer)]), main(&[Op::Pull(Blob::Layer)])],
    faults: 1,
    end: START,
    reaches: &[(
        "the reader opens the old path",
        |_, state| matches!(state.client(ClientId::Bob).stage, Stage::Found(path) if !state.disk.file(path).is_visible()),
    )],
    ..QUIET
};

/// Uploads expire while the power fails.
pub const EXPIRY: Scenario = Scenario {
    scripts: &[main(&[Op::Upload(Blob::Layer), Op::Put(Manifest::App)]), main(&[Op::Abandon(Blob::Layer)])],
    idle: 1,
    faults: 2,
    end: START + 1,
    reaches: &[("an intent expires", |_, state| {
        state.metadata.uploads.iter().all(Option::is_none) && !state.metadata.pending_deletion.is_empty()
    })],
    ..QUIET
};

/// A push takes longer than a lease, and another upload is started and never finished.
pub const LONG_PUSH: Scenario = Scenario {
    scripts: &[
        main(&[Op::Upload(Blob::Layer), Op::Upload(Blob::Config), Op::Put(Manifest::Signature)]),
        main(&[Op::Abandon(Blob::Config)]),
    ],
    idle: 2,
    end: START + 4,
    reaches: &[
        ("an upload keeps a blob whose lease is over", |model, state| {
            let link = state.metadata.repo(Repo::Main).links[Blob::Layer as usize];
            is_live(state, Manifest::Signature)
                && link.is_some_and(|link| state.now > link.leased + model.scenario.lease)
        }),
        ("the upload does not keep the blob forever", |_, state| is_collected(state, Blob::Layer)),
    ],
    ..QUIET
};

/// An image is deleted while the next one, with the same layer, is pushed.
pub const NEXT_VERSION: Scenario = Scenario {
    before: || State::EMPTY.with_tag(Repo::Main, Manifest::App),
    scripts: &[
        main(&[Op::Ensure(Blob::Layer), Op::Upload(Blob::Config), Op::Put(Manifest::Next)]),
        main(&[Op::DeleteManifest(Manifest::App)]),
    ],
    lease: 2,
    reaches: &[
        ("the old image is purged, the new one lives", |_, state| {
            is_purged(state, Manifest::App) && is_live(state, Manifest::Next)
        }),
        ("the new image is too late", |_, state| state.ghost.refused),
        ("the layer is collected", |_, state| is_collected(state, Blob::Layer)),
    ],
    ..QUIET
};

/// A layer is mounted from a repository that is releasing it.
pub const MOUNT: Scenario = Scenario {
    before: || State::EMPTY.with_tag(Repo::Main, Manifest::App),
    scripts: &[
        fork(&[Op::Mount(Repo::Main, Blob::Layer), Op::Put(Manifest::App)]),
        main(&[Op::DeleteManifest(Manifest::App)]),
    ],
    reaches: &[
        ("the mount outlives its source", |_, state| {
            !state.metadata.repo(Repo::Main).is_visible(Target::Blob(Blob::Layer))
                && state.metadata.repo(Repo::Fork).is_live(Manifest::App)
                && state.metadata.pending_deletion.is_empty()
        }),
        ("the mount is too late", |_, state| state.client(ClientId::Alice).stage == Stage::Absent),
        ("the layer is collected", |_, state| is_collected(state, Blob::Layer)),
    ],
    ..QUIET
};

/// An image and its layer are deleted. The image is restored, and another image with the same layer is pushed.
pub const RESTORE: Scenario = Scenario {
    before: || State::EMPTY.with_tag(Repo::Main, Manifest::App),
    scripts: &[
        main(&[Op::Put(Manifest::App)]),
        main(&[Op::DeleteManifest(Manifest::App), Op::DeleteBlob(Blob::Layer)]),
        main(&[Op::Ensure(Blob::Layer), Op::Put(Manifest::Next)]),
    ],
    end: START + 2,
    reaches: &[
        ("a deleted layer is hidden", |_, state| {
            let link = state.metadata.repo(Repo::Main).links[Blob::Layer as usize];
            link.is_some_and(|link| link.hidden.is_some())
        }),
        ("a deleted layer is pushed again", |_, state| {
            is_live(state, Manifest::Next)
                && !is_live(state, Manifest::App)
                && !state.metadata.pending_deletion.is_empty()
        }),
        ("the layer is collected", |_, state| is_collected(state, Blob::Layer)),
    ],
    ..QUIET
};

/// An index is deleted and pushed again, with its child found by HEAD.
pub const INDEX: Scenario = Scenario {
    before: || State::EMPTY.with_tag(Repo::Main, Manifest::Index),
    scripts: &[
        main(&[Op::HeadManifest(Manifest::App), Op::Put(Manifest::Index)]),
        main(&[Op::DeleteManifest(Manifest::Index)]),
    ],
    lease: 2,
    end: START + 4,
    reaches: &[
        ("the index is too late", |_, state| state.ghost.refused),
        ("the child is purged with its index", |_, state| {
            is_purged(state, Manifest::Index) && is_purged(state, Manifest::App)
        }),
    ],
    ..QUIET
};

/// An index is deleted, and an image with its child's layer is pushed.
pub const CASCADE: Scenario = Scenario {
    before: || State::EMPTY.with_tag(Repo::Main, Manifest::Index),
    scripts: &[
        main(&[Op::Ensure(Blob::Layer), Op::Put(Manifest::Next)]),
        main(&[Op::DeleteManifest(Manifest::Index)]),
    ],
    reaches: &[
        ("the layer outlives the child", |_, state| {
            is_purged(state, Manifest::App)
                && is_live(state, Manifest::Next)
                && state.metadata.pending_deletion.is_empty()
        }),
        ("the layer is collected", |_, state| is_collected(state, Blob::Layer)),
    ],
    ..QUIET
};

/// An index is deleted, and its child pushed again by digest.
pub const CHILD: Scenario = Scenario {
    before: || State::EMPTY.with_tag(Repo::Main, Manifest::Index),
    scripts: &[main(&[Op::Put(Manifest::App)]), main(&[Op::DeleteManifest(Manifest::Index)])],
    reaches: &[("the child outlives its index", |_, state| {
        is_purged(state, Manifest::Index) && is_live(state, Manifest::App)
    })],
    ..QUIET
};

/// The tag moves to the next version, while an index of the old one is pushed.
pub const TAG_MOVE: Scenario = Scenario {
    before: || State::EMPTY.with_tag(Repo::Main, Manifest::App),
    scripts: &[
        main(&[Op::Ensure(Blob::Layer), Op::PutTagged(Manifest::Next)]),
        main(&[Op::HeadManifest(Manifest::App), Op::Put(Manifest::Index)]),
    ],
    end: START + 4,
    reaches: &[
        ("the index holds the manifest that the tag left", |_, state| {
            is_live(state, Manifest::Next) && is_live(state, Manifest::Index) && is_live(state, Manifest::App)
        }),
        ("the manifest that the tag left expires", |_, state| {
            is_live(state, Manifest::Next) && is_purged(state, Manifest::App)
        }),
    ],
    ..QUIET
};

/// With a budget, an image is deleted while the next one, with the same layer, is pushed.
pub const BUDGET: Scenario = Scenario {
    scripts: &[
        main(&[Op::Ensure(Blob::Layer), Op::Upload(Blob::Config), Op::Put(Manifest::Next)]),
        main(&[Op::DeleteManifest(Manifest::App)]),
    ],
    budget: true,
    reaches: &[
        ("a layer that no client found is collected when the trash time ends", |model, state| {
            is_collected(state, Blob::Layer) && state.now < START + model.scenario.lease
        }),
        ("the old image is purged, the new one lives", |_, state| {
            is_purged(state, Manifest::App) && is_live(state, Manifest::Next)
        }),
    ],
    ..NEXT_VERSION
};

/// With a budget, an index is deleted, and an image with its child's layer is pushed.
pub const BUDGET_CASCADE: Scenario = Scenario { budget: true, ..CASCADE };

/// A signed image is deleted, and signed again.
pub const REFERRER: Scenario = Scenario {
    before: || {
        State::EMPTY.with_tag(Repo::Main, Manifest::App).with_manifest(Repo::Main, Manifest::Signature)
    },
    scripts: &[
        main(&[Op::Ensure(Blob::Config), Op::Put(Manifest::Signature)]),
        main(&[Op::DeleteManifest(Manifest::App)]),
    ],
    reaches: &[
        ("a signature outlives its image", |_, state| {
            is_purged(state, Manifest::App) && is_live(state, Manifest::Signature)
        }),
        ("the signature is purged with its image", |_, state| {
            is_purged(state, Manifest::App) && is_purged(state, Manifest::Signature)
        }),
    ],
    ..QUIET
};

/// The tag moves away from a signed image.
pub const SIGNED: Scenario = Scenario {
    before: || {
        State::EMPTY.with_tag(Repo::Main, Manifest::App).with_manifest(Repo::Main, Manifest::Signature)
    },
    scripts: &[main(&[Op::Ensure(Blob::Layer), Op::PutTagged(Manifest::Next)])],
    reaches: &[("the signature is purged with its image", |_, state| {
        is_live(state, Manifest::Next)
            && is_purged(state, Manifest::App)
            && is_purged(state, Manifest::Signature)
    })],
    ..QUIET
};

fn is_collected(state: &State, blob: Blob) -> bool {
    let metadata = &state.metadata;
    metadata.blobs[blob as usize].is_none()
        && metadata.pending_deletion.is_empty()
        && !metadata.is_linked(blob)
}

fn is_live(state: &State, manifest: Manifest) -> bool {
    state.metadata.repo(Repo::Main).is_live(manifest)
}

fn is_purged(state: &State, manifest: Manifest) -> bool {
    state.metadata.repo(Repo::Main).manifests[manifest as usize].is_none()
}
