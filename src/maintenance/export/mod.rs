//! `export`: writes the images in a layout that other programs read, so that nothing ties a user to Orlop.
//!
//! It can run beside a serving registry. Removals are paused, so that the blobs of every manifest that is read stay in
//! place. For each repository it writes, in this order, the blobs of a manifest, the manifest, and at last the tags, so
//! that an interrupted export never names what is not there. What exists is left alone, so an export can be repeated:
//! it adds what is new, and moves tags. It removes nothing.
//!
//! Blobs are hard links where the filesystem permits it. What the trash holds is not exported.

mod distribution;
mod oci_layout;
mod report;
mod target;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use self::oci_layout::OciLayouts;
use self::target::{Target, blocking};
use super::progress::{Counter, Progress, Unit};
use crate::clock::Timestamp;
use crate::distribution::{DistributionWriter, MAX_PAST, TaggedRevision, TreeError};
use crate::errors::Chain;
use crate::metadata::{EdgeKind, HistoryEntry, LiveManifest};
use crate::oci::{Digest, Reference, RepoName, Tag};
use crate::registry::{Registry, ServiceError};
use crate::store::{ExportMethod, StoreError};

pub use self::report::{ExportError, ExportReport};

/// The number of manifests fetched at once.
const MANIFEST_PAGE: usize = 16;

/// The number of names fetched at once.
const NAME_PAGE: usize = 256;

/// The number of history entries fetched at once.
const HISTORY_PAGE: usize = 100;

/// How often a repository is read again because its tags moved to new manifests meanwhile.
const MAX_PASSES: usize = 3;

/// The layout of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExportLayout {
    /// The storage of the Distribution registry (`registry:2` and `registry:3`).
    Distribution,
    /// A directory with an OCI image layout for each repository.
    Oci,
}

impl ExportLayout {
    /// The layouts, in the order of the help.
    pub const ALL: [Self; 2] = [Self::Distribution, Self::Oci];

    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Distribution => "distribution",
            Self::Oci => "oci",
        }
    }
}

impl fmt::Display for ExportLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text is not the name of a layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown layout: use distribution or oci")]
pub struct UnknownLayout;

impl FromStr for ExportLayout {
    type Err = UnknownLayout;

    fn from_str(text: &str) -> Result<Self, UnknownLayout> {
        Self::ALL.into_iter().find(|layout| layout.name() == text).ok_or(UnknownLayout)
    }
}

/// What to export, and where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportRequest {
    /// The layout.
    pub layout: ExportLayout,
    /// The directory of the export: an absolute path on the server's machine (in its container).
    pub dir: PathBuf,
    /// The repositories; all if there is none.
    pub repositories: Vec<RepoName>,
    /// How blobs get there.
    pub method: ExportMethod,
}

/// Exports images of `registry`. The directory must exist, and the caller must have locked it.
///
/// # Errors
/// Fails if a requested repository does not exist, the directory can't be written, or a store fails. The export then
/// holds a part of the images, each complete.
pub async fn export(
    registry: &Registry,
    request: &ExportRequest,
    progress: &dyn Progress,
) -> Result<ExportReport, ExportError> {
    for name in &request.repositories {
        if !registry.metadata().repository_exists(name).await? {
            return Err(ExportError::Refused(format!("the registry has no repository {name}")));
        }
    }
    let total = registry.metadata().totals().await?.manifests;
    let total = request.repositories.is_empty().then_some(total);
    let _removals_paused = registry.pause_removals().await;
    let mut export = Export {
        registry,
        target: open_target(request).await?,
        method: request.method,
        counter: Counter::new(progress, "exporting manifests", Unit::Items, total),
        report: ExportReport::default(),
    };
    if request.repositories.is_empty() {
        export.all_repositories().await?;
    }
    for name in &request.repositories {
        export.repository(name).await?;
    }
    export.on_target(Target::sync).await?;
    Ok(export.report)
}

async fn open_target(request: &ExportRequest) -> Result<Arc<dyn Target>, ExportError> {
    let dir = request.dir.clone();
    let layout = request.layout;
    blocking(move || {
        Ok(match layout {
            ExportLayout::Distribution => Arc::new(DistributionWriter::create(&dir)?) as Arc<dyn Target>,
            ExportLayout::Oci => Arc::new(OciLayouts::new(&dir)),
        })
    })
    .await
}

/// An export in progress.
struct Export<'a> {
    registry: &'a Registry,
    target: Arc<dyn Target>,
    method: ExportMethod,
    counter: Counter<'a>,
    report: ExportReport,
}

/// What one pass over a repository found.
#[derive(Default)]
struct Pass {
    manifests: u64,
    tags: u64,
    problems: Vec<String>,
    /// Tags that moved to manifests which were pushed during the pass.
    moved: Vec<Tag>,
}

impl Export<'_> {
    async fn all_repositories(&mut self) -> Result<(), ExportError> {
        let mut after: Option<RepoName> = None;
        loop {
            let after_text = after.as_ref().map(RepoName::as_str);
            let page = self.registry.metadata().repositories(after_text, NAME_PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = Some(last.clone());
            for name in &page {
                self.repository(name).await?;
            }
        }
    }

    async fn repository(&mut self, repo: &RepoName) -> Result<(), ExportError> {
        let mut pass = Pass::default();
        for number in 1..=MAX_PASSES {
            pass = Pass::default();
            self.export_manifests(repo, &mut pass, number == 1).await?;
            self.export_tags(repo, &mut pass).await?;
            if pass.moved.is_empty() {
                break;
            }
        }
        let name = repo.clone();
        self.on_target(move |target| target.finish(&name)).await?;
        self.report.repositories += 1;
        self.report.manifests += pass.manifests;
        self.report.tags += pass.tags;
        for problem in pass.problems {
            self.report.add_problem(problem);
        }
        for tag in pass.moved {
            self.report.add_problem(format!("{repo}:{tag}: it moves too often; run the export again"));
        }
        Ok(())
    }

    async fn export_manifests(
        &mut self,
        repo: &RepoName,
        pass: &mut Pass,
        count: bool,
    ) -> Result<(), ExportError> {
        let mut after = None;
        loop {
            let page = self.registry.metadata().live_manifests(repo, after.as_ref(), MANIFEST_PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = Some(last.digest.clone());
            for manifest in page {
                self.export_manifest(repo, manifest, pass).await?;
                self.counter.add(u64::from(count));
            }
        }
    }

    /// Exports a manifest after its blobs. A manifest that lacks a blob is exported too: it can be read, and a push of
    /// the blob repairs it.
    async fn export_manifest(
        &mut self,
        repo: &RepoName,
        manifest: LiveManifest,
        pass: &mut Pass,
    ) -> Result<(), ExportError> {
        let mut blobs = Vec::new();
        for edge in self.registry.metadata().edges_of(manifest.id).await? {
            if edge.kind != EdgeKind::Blob {
                continue;
            }
            match self.export_blob(repo, &edge.target).await {
                Ok(true) => blobs.push(edge.target),
                // Layers that clients fetch from elsewhere need not be here.
                Ok(false) if !edge.required => {}
                Ok(false) => pass.problems.push(format!(
                    "{repo}@{}: its blob {} is missing or quarantined; run `orlop fsck`",
                    manifest.digest, edge.target
                )),
                Err(error) => pass.problems.push(problem(repo, &manifest.digest, error)?),
            }
        }
        let name = repo.clone();
        let digest = manifest.digest.clone();
        match self.on_target(move |target| target.put_manifest(&name, manifest, &blobs)).await {
            Ok(()) => pass.manifests += 1,
            Err(error) => pass.problems.push(problem(repo, &digest, error)?),
        }
        Ok(())
    }

    /// Exports a blob. Returns whether the target has it.
    async fn export_blob(&mut self, repo: &RepoName, digest: &Digest) -> Result<bool, ExportError> {
        let Some(blob) = self.registry.metadata().blob(repo, digest).await? else {
            return Ok(false);
        };
        let name = repo.clone();
        let key = blob.key;
        let wanted = key.digest.clone();
        let Some(place) = self.on_target(move |target| target.place(&name, &wanted, blob.size)).await? else {
            return Ok(true);
        };
        match self.registry.blobs().export(&key, blob.size, &place, self.method).await {
            Ok(method) => {
                self.report.count_blob(method, blob.size);
                Ok(true)
            }
            Err(StoreError::NotFound | StoreError::Damaged(_)) => Ok(false),
            Err(error) => Err(ServiceError::from(error).into()),
        }
    }

    async fn export_tags(&mut self, repo: &RepoName, pass: &mut Pass) -> Result<(), ExportError> {
        let metadata = Arc::clone(self.registry.metadata());
        let mut after: Option<Tag> = None;
        loop {
            let after_text = after.as_ref().map(Tag::as_str);
            let page = metadata.tags(repo, after_text, NAME_PAGE).await?.unwrap_or_default();
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = Some(last.clone());
            for tag in page {
                self.export_tag(repo, tag, pass).await?;
            }
        }
    }

    async fn export_tag(&mut self, repo: &RepoName, tag: Tag, pass: &mut Pass) -> Result<(), ExportError> {
        let reference = Reference::Tag(tag.clone());
        let Some(manifest) = self.registry.metadata().manifest(repo, &reference).await? else {
            // It was deleted meanwhile.
            return Ok(());
        };
        let digest = manifest.digest;
        let past = self.past_of(repo, &tag, &digest).await?;
        let tagged_at = manifest.tagged_at.unwrap_or_default();
        let tagged = TaggedRevision { tag: tag.clone(), digest: digest.clone(), tagged_at, past };
        let name = repo.clone();
        match self.on_target(move |target| target.set_tag(&name, &tagged)).await {
            Ok(true) => pass.tags += 1,
            Ok(false) => pass.moved.push(tag),
            Err(error) => pass.problems.push(problem(repo, &digest, error)?),
        }
        Ok(())
    }

    /// Returns the digests that a tag had before, each with the last time it was set, oldest first.
    async fn past_of(
        &self,
        repo: &RepoName,
        tag: &Tag,
        current: &Digest,
    ) -> Result<Vec<(Digest, Timestamp)>, ExportError> {
        let mut past: Vec<(Digest, Timestamp)> = Vec::new();
        let mut before = None;
        while past.len() < MAX_PAST {
            let history = self.registry.metadata().tag_history(repo, Some(tag), before, HISTORY_PAGE);
            let page = history.await?;
            before = page.items.last().map(|entry| entry.id);
            for HistoryEntry { at, digest, .. } in page.items {
                let digest = digest.filter(|digest| digest != current);
                let Some(digest) = digest else { continue };
                if !past.iter().any(|(known, _)| *known == digest) {
                    past.push((digest, at));
                }
            }
            if !page.more {
                break;
            }
        }
        past.truncate(MAX_PAST);
        past.reverse();
        Ok(past)
    }

    /// Runs `work` on the target on a blocking thread.
    async fn on_target<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Target) -> Result<T, ExportError> + Send + 'static,
    ) -> Result<T, ExportError> {
        let target = Arc::clone(&self.target);
        blocking(move || work(target.as_ref())).await
    }
}

/// Describes an error that concerns a single manifest: something else is where its files belong. Any other error ends
/// the export.
fn problem(repo: &RepoName, digest: &Digest, error: ExportError) -> Result<String, ExportError> {
    match error {
        ExportError::Tree(conflict @ TreeError::Conflict { .. }) => {
            Ok(format!("{repo}@{digest}: {}", Chain(&conflict)))
        }
        error => Err(error),
    }
}
