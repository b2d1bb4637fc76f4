//! The rows of the metadata and the queries of its transactions. Models `metadata/`.

use super::state::ClientId;
use super::world::{Blob, Enumerable, Manifest, Path, Repo, Set, Target, Tick};

/// Permits a repository to serve a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Link {
    /// When a client last requested it.
    pub leased: Tick,
    /// When it was deleted. It is absent for all clients since.
    pub hidden: Option<Tick>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    Live,
    /// Removed at this time. Another PUT restores it.
    Trash(Tick),
    /// Removed at this time and being purged.
    Purging(Tick),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    pub status: Status,
    /// When a client last requested it or it last lost a holder.
    pub leased: Tick,
    /// When it was last put.
    pub put: Tick,
    /// Its index or subject was purged, so it follows regardless of the policy for untagged manifests.
    pub orphan: bool,
    /// Whether it was put after the last removal of a holder. Not in any table; only the properties read it.
    pub put_since_removal: bool,
}

impl Row {
    /// The row of a manifest that is accepted now.
    pub const fn new(now: Tick) -> Self {
        Self { status: Status::Live, leased: now, put: now, orphan: false, put_since_removal: true }
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
    pub started: Tick,
    /// The path that the upload is about to become.
    pub intent: Option<Path>,
}

/// No upload starts at this tick or later.
const TICKS: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Repository {
    pub links: [Option<Link>; Blob::ALL.len()],
    pub manifests: [Option<Row>; Manifest::ALL.len()],
    /// What each manifest refers to, its subject included.
    pub edges: [Set<Target>; Manifest::ALL.len()],
    /// The only tag.
    pub tag: Option<Manifest>,
    /// The review queue: targets that may have lost their last holder.
    pub queue: Set<Target>,
    /// For each tick, when the last upload that started at this tick ended.
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

    /// Whether a HEAD finds the target.
    pub fn is_visible(&self, target: Target) -> bool {
        match target {
            Target::Blob(blob) => self.links[blob as usize].is_some_and(|link| link.hidden.is_none()),
            Target::Manifest(manifest) => self.is_live(manifest),
        }
    }

    /// The manifests that hold a target by an edge, in any status.
    fn holders(&self, target: Target) -> impl Iterator<Item = Manifest> {
        Manifest::ALL.into_iter().filter(move |source| {
            let is_subject = source.subject().map(Target::Manifest) == Some(target);
            self.edges[*source as usize].contains(target) && !is_subject
        })
    }

    /// Whether a live manifest holds the target by an edge. The registry rejects the deletion of such targets.
    pub fn is_held_live(&self, target: Target) -> bool {
        self.holders(target).any(|source| self.is_live(source))
    }

    /// Whether anything that is not purged holds the target: an edge, a tag, or for a referrer its subject.
    pub fn is_held(&self, target: Target) -> bool {
        let Target::Manifest(manifest) = target else { return self.holders(target).next().is_some() };
        self.tag == Some(manifest)
            || self.holders(target).next().is_some()
            || manifest.subject().is_some_and(|subject| self.manifests[subject as usize].is_some())
    }

    /// Removes a live manifest and records that the manifests it holds were not put since.
    pub fn remove(&mut self, manifest: Manifest, status: Status) {
        for held in Manifest::ALL {
            let is_child = self.edges[manifest as usize].contains(Target::Manifest(held));
            if (is_child || held.subject() == Some(manifest))
                && let Some(row) = self.manifests[held as usize].as_mut()
            {
                row.put_since_removal = false;
            }
        }
        if let Some(row) = self.manifests[manifest as usize].as_mut() {
            row.status = status;
        }
    }

    /// The rows as if every running purge had ended.
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

    /// Records that a target was requested, or lost a holder, at this time.
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
pub struct Metadata {
    pub repos: [Repository; Repo::ALL.len()],
    /// The current path of each blob.
    pub blobs: [Option<Path>; Blob::ALL.len()],
    /// Paths without a record, whose files are to be removed.
    pub pending_deletion: Set<Path>,
    /// At most one upload a client.
    pub uploads: [Option<Upload>; ClientId::ALL.len()],
}

impl Metadata {
    pub const EMPTY: Self = Self {
        repos: [Repository::EMPTY; Repo::ALL.len()],
        blobs: [None; Blob::ALL.len()],
        pending_deletion: Set::EMPTY,
        uploads: [None; ClientId::ALL.len()],
    };

    pub fn repo(&self, repo: Repo) -> &Repository {
        &self.repos[repo as usize]
    }

    pub fn repo_mut(&mut self, repo: Repo) -> &mut Repository {
        &mut self.repos[repo as usize]
    }

    pub fn upload(&self, id: ClientId) -> Option<Upload> {
        self.uploads[id as usize]
    }

    /// When a lease given at `leased` ends: one term later or, if an upload of the repository started before that, one
    /// term after the upload's end. Extensions do not chain: an upload in a push of several terms protects only
    /// leases given less than a term before the upload started.
    pub fn lease_end(&self, repo: Repo, leased: Tick, term: Tick, now: Tick) -> Tick {
        let end = leased + term;
        let mut running = self.uploads.iter().flatten().filter(|upload| upload.repo == repo);
        let still_running = running.any(|upload| upload.started < end).then_some(now + 1);
        let past = self.repo(repo).past_uploads.iter().take(usize::from(end)).flatten().max();
        end.max(still_running.unwrap_or(0)).max(past.map_or(0, |ended| ended + term))
    }

    /// Whether any row names this path.
    pub fn refers_to(&self, path: Path) -> bool {
        self.blobs[path.blob as usize] == Some(path)
            || self.pending_deletion.contains(path)
            || self.uploads.iter().flatten().any(|upload| upload.intent == Some(path))
    }

    /// Whether any repository has a link to the blob, hidden or not.
    pub fn is_linked(&self, blob: Blob) -> bool {
        self.repos.iter().any(|repo| repo.links[blob as usize].is_some())
    }

    /// Every possible target in every repository.
    pub fn targets(&self) -> impl Iterator<Item = (Repo, Target)> {
        Repo::ALL.into_iter().flat_map(|repo| Target::all().map(move |target| (repo, target)))
    }
}
