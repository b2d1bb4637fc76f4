//! The collector. Each step is one transaction, or one file operation on a path that is pending deletion. The collector
//! keeps no state between steps, so a crash loses nothing. Models `jobs/`.

use super::disk::Entry;
use super::metadata::Status;
use super::protocol::{Bug, Protocol};
use super::state::State;
use super::world::{Blob, Manifest, Path, Repo, Target, Tick};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CollectorStep {
    /// Transaction: remove the entry from the review queue if the link has a holder. Otherwise delete the link, and
    /// with a blob's last link its record.
    ReviewLink(Repo, Blob),
    /// Transaction: remove the entry from the review queue if the manifest has a holder. Otherwise move the manifest
    /// to the trash, or purge it if it is an orphan.
    ReviewManifest(Repo, Manifest),
    /// Transaction: start to purge a manifest whose trash time is over.
    StartPurge(Repo, Manifest),
    /// Transaction: delete one edge of a purging manifest, lease its target and queue it for review.
    PurgeEdge(Repo, Manifest, Target),
    /// Transaction: delete the row of a purging manifest without edges, and queue its referrers for review.
    PurgeRow(Repo, Manifest),
    /// File operation: remove a file that is pending deletion.
    Unlink(Path),
    /// File operation: sync its directory.
    SyncDirectory(Path),
    /// Lazy transaction: delete the pending-deletion row.
    Forget(Path),
}

/// The removal of a manifest that is being purged.
#[derive(Clone, Copy)]
struct Removal {
    /// When the manifest was removed.
    at: Tick,
    /// The last time at which a client may have found the manifest's targets without a lease on them.
    seen_until: Tick,
}

impl Protocol {
    pub fn collector_steps(&self, state: &State) -> Vec<CollectorStep> {
        let mut steps = Vec::new();
        for repo in Repo::ALL {
            for target in state.metadata.repo(repo).queue.iter() {
                steps.extend(self.review_step(state, repo, target));
            }
            for manifest in Manifest::ALL {
                self.purge_steps(state, repo, manifest, &mut steps);
            }
        }
        steps.extend(state.metadata.pending_deletion.iter().map(|path| self.removal_step(state, path)));
        steps
    }

    /// The step that a review would take now. A review postpones leased targets, which changes nothing in the model.
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

    /// Whether anything that is not purged yet holds the target.
    pub fn is_held(&self, state: &State, repo: Repo, target: Target) -> bool {
        let metadata = state.metadata.repo(repo);
        if self.has(Bug::PurgingHoldsNothing) {
            return metadata.without_purging().is_held(target);
        }
        let refers = |source: &Manifest| metadata.edges[*source as usize].contains(target);
        metadata.is_held(target) || (self.has(Bug::SubjectEdgeHolds) && Manifest::ALL.iter().any(refers))
    }

    fn is_lease_over(&self, state: &State, repo: Repo, leased: Tick) -> bool {
        let term = self.scenario.lease;
        let end = state.metadata.lease_end(repo, leased, term, state.now);
        state.now >= if self.has(Bug::LeaseIgnoresUploads) { leased + term } else { end }
    }

    fn is_link_over(&self, state: &State, repo: Repo, blob: Blob) -> bool {
        state.metadata.repo(repo).links[blob as usize].is_none_or(|link| match link.hidden {
            Some(hidden) => state.now >= hidden + self.scenario.trash,
            None => self.is_lease_over(state, repo, link.leased),
        })
    }

    fn is_manifest_over(&self, state: &State, repo: Repo, manifest: Manifest) -> bool {
        let row = state.metadata.repo(repo).manifests[manifest as usize];
        row.is_none_or(|row| !row.is_live() || self.is_lease_over(state, repo, row.leased))
    }

    fn purge_steps(&self, state: &State, repo: Repo, manifest: Manifest, steps: &mut Vec<CollectorStep>) {
        let edges = state.metadata.repo(repo).edges[manifest as usize];
        match state.metadata.repo(repo).manifests[manifest as usize].map(|row| row.status) {
            Some(Status::Trash(removed)) if state.now >= removed + self.scenario.trash => {
                steps.push(CollectorStep::StartPurge(repo, manifest));
            }
            Some(Status::Purging(_)) if edges.is_empty() => {
                steps.push(CollectorStep::PurgeRow(repo, manifest));
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
            CollectorStep::StartPurge(repo, manifest) => {
                if let Some(row) = state.durably().repo_mut(repo).manifests[manifest as usize].as_mut()
                    && let Status::Trash(removed) = row.status
                {
                    row.status = Status::Purging(removed);
                }
            }
            CollectorStep::PurgeEdge(repo, manifest, target) => {
                self.purge_edge(state, repo, manifest, target);
            }
            CollectorStep::PurgeRow(repo, manifest) => self.purge_row(state, repo, manifest),
            CollectorStep::Unlink(path) => state.disk.unlink(path),
            CollectorStep::SyncDirectory(path) => state.disk.sync_directory(path),
            CollectorStep::Forget(path) => state.lazily().pending_deletion.remove(path),
        }
    }

    fn review_link(&self, state: &mut State, repo: Repo, blob: Blob) {
        let is_held = self.is_held(state, repo, Target::Blob(blob));
        let place = state.metadata.blobs[blob as usize];
        if let (Some(path), false, true) = (place, is_held, self.has(Bug::UnlinkBeforeRow))
            && state.disk.file(path).is_visible()
        {
            state.disk.unlink(path);
            return;
        }
        let metadata = state.durably_unless(self.has(Bug::PendingDeletionIsLazy));
        metadata.repo_mut(repo).queue.remove(Target::Blob(blob));
        if is_held {
            return;
        }
        metadata.repo_mut(repo).links[blob as usize] = None;
        if !metadata.is_linked(blob)
            && let Some(path) = metadata.blobs[blob as usize].take()
        {
            metadata.pending_deletion.insert(path);
        }
    }

    fn review_manifest(&self, state: &mut State, repo: Repo, manifest: Manifest) {
        let now = state.now;
        let is_held = self.is_held(state, repo, Target::Manifest(manifest));
        let metadata = state.durably().repo_mut(repo);
        metadata.queue.remove(Target::Manifest(manifest));
        let Some(row) = metadata.manifests[manifest as usize].filter(|row| row.is_live() && !is_held) else {
            return;
        };
        // The manifest was live until now, so clients may have relied on its targets until now without a lease.
        metadata.remove(manifest, if row.orphan { Status::Purging(now) } else { Status::Trash(now) });
        state.ghost.purged_after_put |= row.orphan && row.put_since_removal;
    }

    fn purge_edge(&self, state: &mut State, repo: Repo, manifest: Manifest, target: Target) {
        let Some(removal) = self.removal(state, repo, manifest) else { return };
        state.durably().repo_mut(repo).edges[manifest as usize].remove(target);
        if manifest.subject().map(Target::Manifest) != Some(target) {
            self.release(state, repo, target, removal);
        }
    }

    fn purge_row(&self, state: &mut State, repo: Repo, manifest: Manifest) {
        let Some(removal) = self.removal(state, repo, manifest) else { return };
        state.durably().repo_mut(repo).manifests[manifest as usize] = None;
        for referrer in Manifest::ALL.into_iter().filter(|referrer| referrer.subject() == Some(manifest)) {
            self.release(state, repo, Target::Manifest(referrer), removal);
        }
    }

    fn removal(&self, state: &State, repo: Repo, manifest: Manifest) -> Option<Removal> {
        let row = state.metadata.repo(repo).manifests[manifest as usize]?;
        let Status::Purging(at) = row.status else { return None };
        // With a budget, every HEAD writes a lease. Only the manifest's own PUT confirmed its targets without one.
        let seen_until = if self.scenario.budget { row.leased } else { at };
        Some(Removal { at, seen_until })
    }

    /// Releases a target that a removed manifest held.
    fn release(&self, state: &mut State, repo: Repo, target: Target, removal: Removal) {
        let is_held = self.is_held(state, repo, target);
        let metadata = state.durably().repo_mut(repo);
        if !self.has(Bug::PurgeLeasesNothing) {
            metadata.lease(target, removal.seen_until);
        }
        if !self.has(Bug::ReleaseQueuesNothing) {
            metadata.queue.insert(target);
        }
        if let (Target::Manifest(manifest), false) = (target, is_held) {
            self.orphan(state, repo, manifest, removal.at);
        }
    }

    /// Marks a live manifest to follow its purged holder when its lease ends, unless it was put after the holder's
    /// removal.
    fn orphan(&self, state: &mut State, repo: Repo, manifest: Manifest, removed: Tick) {
        let is_over = self.is_manifest_over(state, repo, manifest);
        let row = state.metadata.repo_mut(repo).manifests[manifest as usize].as_mut();
        if let Some(row) = row.filter(|row| row.is_live()) {
            row.orphan |= row.put < removed || self.has(Bug::PurgeIgnoresPut);
            if is_over && self.has(Bug::CascadeInheritsRemoval) {
                row.status = Status::Purging(removed);
            }
        }
    }
}
