//! The collector: every step one transaction, or one byte operation on a path that a doomed row names. It
//! remembers nothing between steps, so nothing of it is lost in a crash. Stands for `jobs/`.

use super::disk::Entry;
use super::facts::Status;
use super::protocol::{Bug, Protocol};
use super::state::State;
use super::world::{Blob, Manifest, Path, Repo, Target, Tick};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CollectorStep {
    /// Transaction: held, so the entry leaves the review queue; or else the link goes, and with a blob's
    /// last link its record.
    ReviewLink(Repo, Blob),
    /// Transaction: held, so the entry leaves the review queue; or else to the trash, orphans to the purge.
    ReviewManifest(Repo, Manifest),
    /// Transaction: its trash time is over.
    Condemn(Repo, Manifest),
    /// Transaction: one edge of a purging manifest goes; its target is leased and to be reviewed.
    PurgeEdge(Repo, Manifest, Target),
    /// Transaction: the row of a purging manifest without edges goes; its referrers are to be reviewed.
    PurgeRow(Repo, Manifest),
    /// Bytes: a doomed file is removed.
    Unlink(Path),
    /// Bytes: its directory is synced.
    SyncDirectory(Path),
    /// Lazy transaction: the doomed row goes.
    Forget(Path),
}

/// What became of a manifest that is being purged.
#[derive(Clone, Copy)]
struct Removal {
    /// When it was removed.
    at: Tick,
    /// Until when somebody may have been told, without a lease of that, of what it held.
    told: Tick,
}

impl Protocol {
    pub fn collector_steps(&self, state: &State) -> Vec<CollectorStep> {
        let mut steps = Vec::new();
        for repo in Repo::ALL {
            for target in state.facts.repo(repo).queue.iter() {
                steps.extend(self.review_step(state, repo, target));
            }
            for manifest in Manifest::ALL {
                self.purge_steps(state, repo, manifest, &mut steps);
            }
        }
        steps.extend(state.facts.doomed.iter().map(|path| self.removal_step(state, path)));
        steps
    }

    /// What a review would do now. Leased targets are put off, which changes nothing here.
    fn review_step(&self, state: &State, repo: Repo, target: Target) -> Option<CollectorStep> {
        let is_over = match target {
            Target::Blob(blob) => self.is_link_over(state, repo, blob),
            Target::Manifest(manifest) => self.is_manifest_over(state, repo, manifest),
        };
        let step = match target {
            Target::Blob(blob) => CollectorStep::ReviewLink(repo, blob),
            Target::Manifest(manifest) => CollectorStep::ReviewManifest(repo, manifest),
        };
        (is_over || self.is_held(state, repo, target)).then_some(step)
    }

    /// Whether anything holds the target that is not purged yet.
    pub fn is_held(&self, state: &State, repo: Repo, target: Target) -> bool {
        let facts = state.facts.repo(repo);
        if self.has(Bug::PurgingHoldsNothing) {
            return facts.without_purging().is_held(target);
        }
        let refers = |source: &Manifest| facts.edges[*source as usize].contains(target);
        facts.is_held(target) || (self.has(Bug::SubjectEdgeHolds) && Manifest::ALL.iter().any(refers))
    }

    fn is_lease_over(&self, state: &State, repo: Repo, leased: Tick) -> bool {
        let term = self.scenario.lease;
        let end = state.facts.lease_end(repo, leased, term, state.now);
        state.now >= if self.has(Bug::LeaseIgnoresUploads) { leased + term } else { end }
    }

    fn is_link_over(&self, state: &State, repo: Repo, blob: Blob) -> bool {
        state.facts.repo(repo).links[blob as usize].is_none_or(|link| match link.hidden {
            Some(hidden) => state.now >= hidden + self.scenario.trash,
            None => self.is_lease_over(state, repo, link.leased),
        })
    }

    fn is_manifest_over(&self, state: &State, repo: Repo, manifest: Manifest) -> bool {
        let row = state.facts.repo(repo).manifests[manifest as usize];
        row.is_none_or(|row| !row.is_live() || self.is_lease_over(state, repo, row.leased))
    }

    fn purge_steps(&self, state: &State, repo: Repo, manifest: Manifest, steps: &mut Vec<CollectorStep>) {
        let edges = state.facts.repo(repo).edges[manifest as usize];
        match state.facts.repo(repo).manifests[manifest as usize].map(|row| row.status) {
            Some(Status::Trash(removed)) if state.now >= removed + self.scenario.trash => {
                steps.push(CollectorStep::Condemn(repo, manifest));
            }
            Some(Status::Purging(_)) if edges.is_empty() => {
                steps.push(CollectorStep::PurgeRow(repo, manifest))
            }
            Some(Status::Purging(_)) => {
                steps.extend(edges.iter().map(|target| CollectorStep::PurgeEdge(repo, manifest, target)));
            }
            Some(Status::Live | Status::Trash(_)) | None => {}
        }
    }

    fn removal_step(&self, state: &State, path: Path) -> CollectorStep {
        match state.disk.file(path).entry {
            Entry::Fresh | Entry::Durable => CollectorStep::Unlink(path),
            Entry::Fading if !self.has(Bug::UnlinkDoesNotSync) => CollectorStep::SyncDirectory(path),
            Entry::Fading | Entry::Never | Entry::Gone => CollectorStep::Forget(path),
        }
    }

    pub fn collect(&self, state: &mut State, step: CollectorStep) {
        match step {
            CollectorStep::ReviewLink(repo, blob) => self.review_link(state, repo, blob),
            CollectorStep::ReviewManifest(repo, manifest) => self.review_manifest(state, repo, manifest),
            CollectorStep::Condemn(repo, manifest) => {
                if let Some(row) = state.durably().repo_mut(repo).manifests[manifest as usize].as_mut()
                    && let Status::Trash(removed) = row.status
                {
                    row.status = Status::Purging(removed);
                }
            }
            CollectorStep::PurgeEdge(repo, manifest, target) => {
                self.purge_edge(state, repo, manifest, target)
            }
            CollectorStep::PurgeRow(repo, manifest) => self.purge_row(state, repo, manifest),
            CollectorStep::Unlink(path) => state.disk.unlink(path),
            CollectorStep::SyncDirectory(path) => state.disk.sync_directory(path),
            CollectorStep::Forget(path) => state.lazily().doomed.remove(path),
        }
    }

    fn review_link(&self, state: &mut State, repo: Repo, blob: Blob) {
        let is_held = self.is_held(state, repo, Target::Blob(blob));
        let place = state.facts.blobs[blob as usize];
        if let (Some(path), false, true) = (place, is_held, self.has(Bug::UnlinkBeforeRow))
            && state.disk.file(path).is_visible()
        {
            state.disk.unlink(path);
            return;
        }
        let facts = state.durably_unless(self.has(Bug::DoomIsLazy));
        facts.repo_mut(repo).queue.remove(Target::Blob(blob));
        if is_held {
            return;
        }
        facts.repo_mut(repo).links[blob as usize] = None;
        if !facts.is_linked(blob)
            && let Some(path) = facts.blobs[blob as usize].take()
        {
            facts.doomed.insert(path);
        }
    }

    fn review_manifest(&self, state: &mut State, repo: Repo, manifest: Manifest) {
        let now = state.now;
        let is_held = self.is_held(state, repo, Target::Manifest(manifest));
        let facts = state.durably().repo_mut(repo);
        facts.queue.remove(Target::Manifest(manifest));
        let Some(row) = facts.manifests[manifest as usize].filter(|row| row.is_live() && !is_held) else {
            return;
        };
        // It was live until now, so what it holds may have been wanted until now without a lease.
        facts.remove(manifest, if row.orphan { Status::Purging(now) } else { Status::Trash(now) });
        state.ghost.taken |= row.orphan && row.owed;
    }

    fn purge_edge(&self, state: &mut State, repo: Repo, manifest: Manifest, target: Target) {
        let Some(removal) = self.removal(state, repo, manifest) else { return };
        state.durably().repo_mut(repo).edges[manifest as usize].remove(target);
        if manifest.subject().map(Target::Manifest) != Some(target) {
            self.let_go(state, repo, target, removal);
        }
    }

    fn purge_row(&self, state: &mut State, repo: Repo, manifest: Manifest) {
        let Some(removal) = self.removal(state, repo, manifest) else { return };
        state.durably().repo_mut(repo).manifests[manifest as usize] = None;
        for referrer in Manifest::ALL.into_iter().filter(|referrer| referrer.subject() == Some(manifest)) {
            self.let_go(state, repo, Target::Manifest(referrer), removal);
        }
    }

    fn removal(&self, state: &State, repo: Repo, manifest: Manifest) -> Option<Removal> {
        let row = state.facts.repo(repo).manifests[manifest as usize]?;
        let Status::Purging(at) = row.status else { return None };
        // With a budget only its own PUT told of what it refers to without a lease of that.
        let told = if self.scenario.budget { row.leased } else { at };
        Some(Removal { at, told })
    }

    /// A manifest that was removed holds the target no longer.
    fn let_go(&self, state: &mut State, repo: Repo, target: Target, removal: Removal) {
        let is_held = self.is_held(state, repo, target);
        let facts = state.durably().repo_mut(repo);
        if !self.has(Bug::PurgeLeasesNothing) {
            facts.lease(target, removal.told);
        }
        if !self.has(Bug::ReleaseQueuesNothing) {
            facts.queue.insert(target);
        }
        if let (Target::Manifest(manifest), false) = (target, is_held) {
            self.orphan(state, repo, manifest, removal.at);
        }
    }

    /// A live manifest follows what held it when its lease ends, unless it was put since that was removed.
    fn orphan(&self, state: &mut State, repo: Repo, manifest: Manifest, removed: Tick) {
        let is_over = self.is_manifest_over(state, repo, manifest);
        let row = state.facts.repo_mut(repo).manifests[manifest as usize].as_mut();
        if let Some(row) = row.filter(|row| row.is_live()) {
            row.orphan |= row.put < removed || self.has(Bug::PurgeIgnoresPut);
            if is_over && self.has(Bug::CascadeInheritsRemoval) {
                row.status = Status::Purging(removed);
            }
        }
    }
}
