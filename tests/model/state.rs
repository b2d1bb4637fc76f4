//! Everything at one moment: the facts, the bytes, the clients' requests, and what was promised to whom.

use super::disk::Disk;
use super::facts::{Facts, Link, Row};
use super::world::{Blob, Few, Manifest, Path, Repo, Set, Target, Tick};

/// The clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Who {
    Alice,
    Bob,
    Carol,
}

impl Who {
    pub const ALL: [Self; 3] = [Self::Alice, Self::Bob, Self::Carol];
}

/// What a client wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Uploads a blob, whatever is there already.
    Upload(Blob),
    /// Asks for a blob by HEAD, and uploads it if it is absent.
    Ensure(Blob),
    /// Mounts a blob from another repository, and uploads it if it is absent there.
    Mount(Repo, Blob),
    /// Begins an upload and never comes back to it.
    Abandon(Blob),
    /// Reads a blob.
    Pull(Blob),
    /// Asks for a manifest by HEAD.
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

/// How far the client's present request has come. Lost in a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// It has not begun.
    Idle,
    /// The blob was found absent, and is to be uploaded.
    Absent,
    /// The upload is open and no request owns it.
    Begun,
    /// The closing request owns it, here and in the next two: the intent is recorded.
    Intended(Path),
    /// The bytes were given their place.
    Placed(Path),
    /// Bytes and place are durable.
    Synced(Path),
    /// The bytes to be pulled were here.
    Found(Path),
}

impl Stage {
    /// Where the closing request is about to put its bytes, or has.
    pub const fn place(self) -> Option<Path> {
        match self {
            Self::Intended(path) | Self::Placed(path) | Self::Synced(path) => Some(path),
            Self::Idle | Self::Absent | Self::Begun | Self::Found(_) => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Client {
    /// How many of its ops are done.
    pub done: u8,
    pub stage: Stage,
    /// When it was last told that a target which it is going to refer to is there.
    pub assured: [Option<Tick>; Target::COUNT],
}

/// What no server keeps, for the properties.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ghost {
    /// A PUT was refused.
    pub refused: bool,
    /// It named a target of which the same client was told within its lease that it is there.
    pub refused_within_lease: bool,
    /// A PUT of what is in the trash was refused for want of a blob.
    pub refused_from_trash: bool,
    /// A manifest was purged though it had been put since what held it was removed.
    pub taken: bool,
    /// The bytes of a blob were not where they had been said to be, and nobody looked again.
    pub pull_failed: bool,
    /// A place was written that had been written before.
    pub rewritten: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub now: Tick,
    pub facts: Facts,
    /// The facts that a power cut may fall back to, while some change is not durable.
    pub lasting: Option<Facts>,
    pub disk: Disk,
    pub clients: [Client; Who::ALL.len()],
    /// How many more things may go wrong.
    pub faults: u8,
    pub ghost: Ghost,
}

/// When the model begins. What was there before was leased at zero, long ago.
pub const START: Tick = 2;

impl State {
    pub const EMPTY: Self = Self {
        now: START,
        facts: Facts::EMPTY,
        lasting: None,
        disk: Disk::EMPTY,
        clients: [Client { done: 0, stage: Stage::Idle, assured: [None; Target::COUNT] }; Who::ALL.len()],
        faults: 0,
        ghost: Ghost {
            refused: false,
            refused_within_lease: false,
            refused_from_trash: false,
            taken: false,
            pull_failed: false,
            rewritten: false,
        },
    };

    /// With a blob that the repository has served for long.
    pub fn with_blob(mut self, repo: Repo, blob: Blob) -> Self {
        let path = Path { blob, generation: 0 };
        self.disk.place(path);
        self.disk.sync_file(path);
        self.disk.sync_directory(path);
        self.facts.blobs[blob as usize] = Some(path);
        let repo = self.facts.repo_mut(repo);
        repo.links[blob as usize] = Some(Link { leased: 0, hidden: None });
        repo.queue.insert(Target::Blob(blob));
        self
    }

    /// With a manifest that has long been there, and all that it refers to.
    pub fn with_manifest(mut self, repo: Repo, manifest: Manifest) -> Self {
        for target in manifest.needs() {
            self = match *target {
                Target::Blob(blob) => self.with_blob(repo, blob),
                Target::Manifest(child) => self.with_manifest(repo, child),
            };
        }
        let repo = self.facts.repo_mut(repo);
        repo.manifests[manifest as usize] = Some(Row::new(0));
        repo.edges[manifest as usize] = edges_of(manifest);
        repo.queue.insert(Target::Manifest(manifest));
        self
    }

    pub fn with_tag(mut self, repo: Repo, manifest: Manifest) -> Self {
        self = self.with_manifest(repo, manifest);
        self.facts.repo_mut(repo).tag = Some(manifest);
        self
    }

    pub fn client(&self, who: Who) -> &Client {
        &self.clients[who as usize]
    }

    pub fn client_mut(&mut self, who: Who) -> &mut Client {
        &mut self.clients[who as usize]
    }

    /// For a transaction that is durable, with all before it, when it returns (`synchronous=FULL`).
    pub fn durably(&mut self) -> &mut Facts {
        self.lasting = None;
        &mut self.facts
    }

    /// For a transaction that a power cut may undo, with all lazy ones after it (`synchronous=NORMAL`).
    pub fn lazily(&mut self) -> &mut Facts {
        if self.faults > 0 {
            self.lasting.get_or_insert(self.facts);
        }
        &mut self.facts
    }

    /// For a transaction that must be durable, and isn't where that bug is planted.
    pub fn durably_unless(&mut self, bug: bool) -> &mut Facts {
        if bug { self.lazily() } else { self.durably() }
    }

    /// Something went wrong.
    pub fn spend_fault(&mut self) {
        self.faults -= 1;
        if self.faults == 0 {
            self.lasting = None;
        }
    }
}

/// Every distinct digest that a manifest refers to.
pub fn edges_of(manifest: Manifest) -> Set<Target> {
    manifest.needs().iter().copied().chain(manifest.subject().map(Target::Manifest)).collect()
}
