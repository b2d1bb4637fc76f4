//! The rows, and the questions that transactions ask of them. Stands for `metadata/`.

use super::state::Who;
use super::world::{Blob, Few, Manifest, Path, Repo, Set, Target, Tick};

/// That a repository may serve a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Link {
    /// When it was last wanted.
    pub leased: Tick,
    /// When it was deleted: absent to everyone since.
    pub hidden: Option<Tick>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    Live,
    /// Removed at that time, and restored by another PUT.
    Trash(Tick),
    /// Removed at that time, and on its way out for good.
    Purging(Tick),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    pub status: Status,
    /// When it was last wanted, or lost a holder.
    pub leased: Tick,
    /// When it was last put.
    pub put: Tick,
    /// Its index or its subject was purged, so it follows, whatever the policy on untagged manifests says.
    pub orphan: bool,
    /// Not in any table: it was put since the last removal of something that held it.
    pub owed: bool,
}

impl Row {
    /// One that is accepted now.
    pub const fn new(now: Tick) -> Self {
        Self { status: Status::Live, leased: now, put: now, orphan: false, owed: true }
    }

    pub const fn is_live(self) -> bool {
        matches!(self.status, Status::Live)
    }

    pub const fn is_in_trash(self) -> bool {
        matches!(self.status, Status::Trash(_))
    }
}

/// An upload in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Upload {
    pub repo: Repo,
    pub began: Tick,
    /// The path that it is about to become.
    pub intent: Option<Path>,
}

/// No upload begins at this tick or later.
const TICKS: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Repository {
    pub links: [Option<Link>; Blob::ALL.len()],
    pub manifests: [Option<Row>; Manifest::ALL.len()],
    /// What each manifest refers to, its subject included.
    pub edges: [Set<Target>; Manifest::ALL.len()],
    /// The one tag that there is.
    pub tag: Option<Manifest>,
    /// What is to be reviewed, because nothing may hold it any more.
    pub queue: Set<Target>,
    /// By the tick at which uploads began: when the last of them ended.
    pub past_uploads: [Option<Tick>; TICKS],
}

impl Repository {
    const EMPTY: Self = Self {
        links: [None; Blob::ALL.len()],
        manifests: [None; Manifest::ALL.len()],
        edges: [Set::EMPTY; Manifest::ALL.len()],
        tag: None,
        queue: Set::EMPTY,
        past_uploads: [None; TICKS],
    };

    pub fn is_live(&self, manifest: Manifest) -> bool {
        self.manifests[manifest as usize].is_some_and(Row::is_live)
    }

    /// Whether a HEAD finds it.
    pub fn is_visible(&self, target: Target) -> bool {
        match target {
            Target::Blob(blob) => self.links[blob as usize].is_some_and(|link| link.hidden.is_none()),
            Target::Manifest(manifest) => self.is_live(manifest),
        }
    }

    /// The manifests that hold a target by an edge, whatever became of them.
    fn holders(&self, target: Target) -> impl Iterator<Item = Manifest> {
        Manifest::ALL.into_iter().filter(move |source| {
            let is_subject = source.subject().map(Target::Manifest) == Some(target);
            self.edges[*source as usize].contains(target) && !is_subject
        })
    }

    /// Whether a live manifest holds it by an edge: the deletion of such a target is refused.
    pub fn is_held_live(&self, target: Target) -> bool {
        self.holders(target).any(|source| self.is_live(source))
    }

    /// Whether anything holds it that is not purged: an edge, a tag, or for a referrer its subject.
    pub fn is_held(&self, target: Target) -> bool {
        let Target::Manifest(manifest) = target else { return self.holders(target).next().is_some() };
        self.tag == Some(manifest)
            || self.holders(target).next().is_some()
            || manifest.subject().is_some_and(|subject| self.manifests[subject as usize].is_some())
    }

    /// A live manifest is removed. What it holds was not put since.
    pub fn remove(&mut self, manifest: Manifest, status: Status) {
        for held in Manifest::ALL {
            let is_child = self.edges[manifest as usize].contains(Target::Manifest(held));
            if (is_child || held.subject() == Some(manifest))
                && let Some(row) = self.manifests[held as usize].as_mut()
            {
                row.owed = false;
            }
        }
        if let Some(row) = self.manifests[manifest as usize].as_mut() {
            row.status = status;
        }
    }

    /// As it would be if every purge that has begun had ended.
    pub fn without_purging(mut self) -> Self {
        for manifest in Manifest::ALL {
            let row = &mut self.manifests[manifest as usize];
            if row.is_some_and(|row| matches!(row.status, Status::Purging(_))) {
                *row = None;
                self.edges[manifest as usize] = Set::EMPTY;
            }
        }
        self
    }

    /// Makes deleted blobs visible again.
    pub fn unhide(&mut self, targets: &[Target]) {
        for (link, blob) in self.links.iter_mut().zip(Blob::ALL) {
            if let (Some(link), true) = (link, targets.contains(&Target::Blob(blob))) {
                link.hidden = None;
            }
        }
    }

    /// Notes that a target was wanted, or let go by its last holder, at that time.
    pub fn lease(&mut self, target: Target, at: Tick) {
        let leased = match target {
            Target::Blob(blob) => self.links[blob as usize].as_mut().map(|link| &mut link.leased),
            Target::Manifest(manifest) => {
                self.manifests[manifest as usize].as_mut().map(|row| &mut row.leased)
            }
        };
        if let Some(leased) = leased {
            *leased = at.max(*leased);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Facts {
    pub repos: [Repository; Repo::ALL.len()],
    /// The current place of each blob.
    pub blobs: [Option<Path>; Blob::ALL.len()],
    /// Places that no record names any more, whose files are to be removed.
    pub doomed: Set<Path>,
    /// At most one upload a client.
    pub uploads: [Option<Upload>; Who::ALL.len()],
}

impl Facts {
    pub const EMPTY: Self = Self {
        repos: [Repository::EMPTY; Repo::ALL.len()],
        blobs: [None; Blob::ALL.len()],
        doomed: Set::EMPTY,
        uploads: [None; Who::ALL.len()],
    };

    pub fn repo(&self, repo: Repo) -> &Repository {
        &self.repos[repo as usize]
    }

    pub fn repo_mut(&mut self, repo: Repo) -> &mut Repository {
        &mut self.repos[repo as usize]
    }

    pub fn upload(&self, who: Who) -> Option<Upload> {
        self.uploads[who as usize]
    }

    /// When a lease ends that was given at `leased`: its term after that or, if an upload of the repository
    /// began before then, its term after the upload's end. Extensions do not chain: of a push that goes on
    /// for several terms, an upload protects only what was leased less than a term before it began.
    pub fn lease_end(&self, repo: Repo, leased: Tick, term: Tick, now: Tick) -> Tick {
        let end = leased + term;
        let mut running = self.uploads.iter().flatten().filter(|upload| upload.repo == repo);
        let still_running = running.any(|upload| upload.began < end).then_some(now + 1);
        let past = self.repo(repo).past_uploads.iter().take(usize::from(end)).flatten().max();
        end.max(still_running.unwrap_or(0)).max(past.map_or(0, |ended| ended + term))
    }

    /// Whether anything names this place.
    pub fn names(&self, path: Path) -> bool {
        self.blobs[path.blob as usize] == Some(path)
            || self.doomed.contains(path)
            || self.uploads.iter().flatten().any(|upload| upload.intent == Some(path))
    }

    /// Whether any repository may still serve the blob, hidden or not.
    pub fn is_linked(&self, blob: Blob) -> bool {
        self.repos.iter().any(|repo| repo.links[blob as usize].is_some())
    }

    /// Everything that could be held, by repository.
    pub fn targets(&self) -> impl Iterator<Item = (Repo, Target)> {
        Repo::ALL.into_iter().flat_map(|repo| Target::all().map(move |target| (repo, target)))
    }
}
