//! The state of the model: the metadata, the files, the clients' requests and the promises made to each client.

use super::disk::Disk;
use super::metadata::{Link, Metadata, Row};
use super::world::{Blob, Enumerable, Manifest, Path, Repo, Set, Target, Tick};

/// The clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientId {
    Alice,
    Bob,
    Carol,
}

impl ClientId {
    pub const ALL: [Self; 3] = [Self::Alice, Self::Bob, Self::Carol];
}

/// An operation of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Uploads a blob, even if it exists already.
    Upload(Blob),
    /// Checks for a blob by HEAD, and uploads it if it is absent.
    Ensure(Blob),
    /// Mounts a blob from another repository, and uploads it if it is absent there.
    Mount(Repo, Blob),
    /// Starts an upload and never continues it.
    Abandon(Blob),
    /// Reads a blob.
    Pull(Blob),
    /// Checks for a manifest by HEAD.
    HeadManifest(Manifest),
    /// Puts a manifest by digest.
    Put(Manifest),
    /// Puts a manifest by tag.
    PutTagged(Manifest),
    DeleteManifest(Manifest),
    DeleteBlob(Blob),
}

impl Op {
    pub const fn uploads(self) -> Option<Blob> {
        match self {
            Self::Upload(blob) | Self::Ensure(blob) | Self::Mount(_, blob) => Some(blob),
            _ => None,
        }
    }

    pub const fn puts(self) -> Option<Manifest> {
        match self {
            Self::Put(manifest) | Self::PutTagged(manifest) => Some(manifest),
            _ => None,
        }
    }
}

/// The progress of the client's current request. A crash loses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The request has not started.
    Idle,
    /// The blob is absent and must be uploaded.
    Absent,
    /// The upload is open and no request owns it.
    Started,
    /// The closing request owns the upload, here and in the next two stages. The intent is recorded.
    Intended(Path),
    /// The file has been moved to its path.
    Placed(Path),
    /// The file and its name are durable.
    Synced(Path),
    /// The blob to be pulled was found at this path.
    Found(Path),
}

impl Stage {
    /// The path to which the closing request moves its file.
    pub const fn place(self) -> Option<Path> {
        match self {
            Self::Intended(path) | Self::Placed(path) | Self::Synced(path) => Some(path),
            Self::Idle | Self::Absent | Self::Started | Self::Found(_) => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Client {
    /// The number of finished operations.
    pub done: u8,
    pub stage: Stage,
    /// For each target that the client will refer to: when the client last learned that it exists.
    pub assured: [Option<Tick>; Target::COUNT],
}

/// History that no server keeps, recorded for the properties.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub struct Ghost {
    /// A PUT was rejected.
    pub refused: bool,
    /// A PUT was rejected although its client had learned within the lease that the missing target exists.
    pub refused_within_lease: bool,
    /// A PUT of a manifest in the trash was rejected because of a missing blob.
    pub refused_from_trash: bool,
    /// A manifest was purged although it had been put after the removal of its holder.
    pub purged_after_put: bool,
    /// A pull found no file at the path of an existing blob and did not retry.
    pub pull_failed: bool,
    /// A path was written twice.
    pub rewritten: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub now: Tick,
    pub metadata: Metadata,
    /// The metadata that a power cut may restore while some change is not durable.
    pub durable: Option<Metadata>,
    pub disk: Disk,
    pub clients: [Client; ClientId::ALL.len()],
    /// The number of failures still to come.
    pub faults: u8,
    pub ghost: Ghost,
}

/// The first tick of the model. Existing content was leased at tick zero, long ago.
pub const START: Tick = 2;

impl State {
    pub const EMPTY: Self = Self {
        now: START,
        metadata: Metadata::EMPTY,
        durable: None,
        disk: Disk::EMPTY,
        clients: [Client { done: 0, stage: Stage::Idle, assured: [None; Target::COUNT] };
            ClientId::ALL.len()],
        faults: 0,
        ghost: Ghost {
            refused: false,
            refused_within_lease: false,
            refused_from_trash: false,
            purged_after_put: false,
            pull_failed: false,
            rewritten: false,
        },
    };

    /// Adds a blob that the repository has served for long.
    pub fn with_blob(mut self, repo: Repo, blob: Blob) -> Self {
        let path = Path { blob, generation: 0 };
        self.disk.place(path);
        self.disk.sync_file(path);
        self.disk.sync_directory(path);
        self.metadata.blobs[blob as usize] = Some(path);
        let repo = self.metadata.repo_mut(repo);
        repo.links[blob as usize] = Some(Link { leased: 0, hidden: None });
        repo.queue.insert(Target::Blob(blob));
        self
    }

    /// Adds a manifest that has existed for long, and everything it refers to.
    pub fn with_manifest(mut self, repo: Repo, manifest: Manifest) -> Self {
        for target in manifest.needs() {
            self = match *target {
                Target::Blob(blob) => self.with_blob(repo, blob),
                Target::Manifest(child) => self.with_manifest(repo, child),
            };
        }
        let repo = self.metadata.repo_mut(repo);
        repo.manifests[manifest as usize] = Some(Row::new(0));
        repo.edges[manifest as usize] = edges_of(manifest);
        repo.queue.insert(Target::Manifest(manifest));
        self
    }

    pub fn with_tag(mut self, repo: Repo, manifest: Manifest) -> Self {
        self = self.with_manifest(repo, manifest);
        self.metadata.repo_mut(repo).tag = Some(manifest);
        self
    }

    pub fn client(&self, id: ClientId) -> &Client {
        &self.clients[id as usize]
    }

    pub fn client_mut(&mut self, id: ClientId) -> &mut Client {
        &mut self.clients[id as usize]
    }

    /// The metadata for a transaction that is durable, with all earlier ones, when it returns (`synchronous=FULL`).
    pub fn durably(&mut self) -> &mut Metadata {
        self.durable = None;
        &mut self.metadata
    }

    /// The metadata for a transaction that a power cut may undo, with all later lazy ones (`synchronous=NORMAL`).
    pub fn lazily(&mut self) -> &mut Metadata {
        if self.faults > 0 {
            self.durable.get_or_insert(self.metadata);
        }
        &mut self.metadata
    }

    /// The metadata for a transaction that must be durable, and is lazy if the bug is planted.
    pub fn durably_unless(&mut self, bug: bool) -> &mut Metadata {
        if bug { self.lazily() } else { self.durably() }
    }

    /// Counts a failure.
    pub fn spend_fault(&mut self) {
        self.faults -= 1;
        if self.faults == 0 {
            self.durable = None;
        }
    }
}

/// Every distinct digest that a manifest refers to.
pub fn edges_of(manifest: Manifest) -> Set<Target> {
    manifest.needs().iter().copied().chain(manifest.subject().map(Target::Manifest)).collect()
}
