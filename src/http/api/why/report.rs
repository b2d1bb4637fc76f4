//! What is answered.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::http::api::Time;
use crate::jobs::retention::{InForce, Row};
use crate::metadata::{BlobKept, BlobWhy, Holder, Lease, ManifestState, ManifestWhy};
use crate::oci::{RepoName, Tag};

/// What keeps something. All sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Why {
    /// What was found.
    pub digest: String,
    /// What keeps it as a manifest, in each of the first ten repositories that have it.
    pub manifests: Vec<ManifestReasons>,
    /// What keeps it as a blob.
    #[schema(required)]
    pub blob: Option<BlobReasons>,
}

/// How far a manifest has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// It can be pulled.
    Live,
    /// It was deleted or has expired, and can be restored.
    Trash,
    /// It is on its way out, for good.
    Purging,
}

/// What keeps a manifest in a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ManifestReasons {
    /// The repository.
    pub repository: String,
    /// How far it has come.
    pub state: Stage,
    /// Until when it can be restored, if it is in the trash.
    #[schema(required)]
    pub trash_until: Option<Time>,
    /// The first ten tags that point at it.
    pub tags: Vec<String>,
    /// How many tags do.
    pub tag_count: u64,
    /// Which of these ten no policy may expire.
    pub protected: Vec<String>,
    /// Which of these ten, besides, nobody may move or delete.
    pub immutable: Vec<String>,
    /// The newest ten indexes that list it.
    pub indexes: Vec<HeldBy>,
    /// How many indexes do.
    pub index_count: u64,
    /// What it is about, if that is there: it goes with it.
    pub subjects: Vec<HeldBy>,
    /// The rule that keeps it although no tag, index or subject does, as of when the policies last ran.
    #[schema(required)]
    pub pinned_by: Option<String>,
    /// What policies would do now to the first ten tags that point at it, or to itself; empty where no rule is for
    /// the repository.
    pub rules: Vec<Ruled>,
    /// Whether they were asked: not in a repository of very many tags, where a retention plan tells.
    pub judged: bool,
    /// Until when it is kept for whoever was told that it is there.
    #[schema(required)]
    pub leased_until: Option<Time>,
    /// Whether an upload, open or just ended, keeps it beyond that.
    pub kept_by_upload: bool,
    /// When it was last pulled.
    #[schema(required)]
    pub pulled_at: Option<Time>,
    /// When it is looked at, at the earliest, if it waits for that: it goes to the trash if nothing holds it.
    #[schema(required)]
    pub review_at: Option<Time>,
    /// What would come free with it, and with what only it holds.
    pub frees: u64,
}

/// A manifest that holds something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HeldBy {
    /// Its digest.
    pub digest: String,
    /// How far it has come: it holds until it is gone.
    pub state: Stage,
    /// Until when it can be restored, if it is in the trash.
    #[schema(required)]
    pub trash_until: Option<Time>,
    /// The first ten tags that point at it.
    pub tags: Vec<String>,
    /// How many tags do.
    pub tag_count: u64,
}

/// What policies would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Ruled {
    /// The tag; `null` for the manifest itself.
    #[schema(required)]
    pub tag: Option<String>,
    /// Whether it would go.
    pub goes: bool,
    /// By which rule, or what keeps it.
    pub reason: String,
}

/// What keeps a blob. It goes with the last repository that has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlobReasons {
    /// Its size.
    pub bytes: u64,
    /// What would come free with it.
    pub frees: u64,
    /// Whether its bytes were found damaged, so that it is set aside until it is pushed again.
    pub damaged: bool,
    /// What keeps it in each of the first ten repositories that have it.
    pub repositories: Vec<KeptBlob>,
    /// How many repositories have it.
    pub repository_count: u64,
}

/// What keeps a blob in a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeptBlob {
    /// The repository.
    pub repository: String,
    /// The newest ten manifests that hold it there.
    pub manifests: Vec<HeldBy>,
    /// How many manifests do.
    pub manifest_count: u64,
    /// Until when it is kept for the manifest that may follow.
    #[schema(required)]
    pub leased_until: Option<Time>,
    /// Whether an upload, open or just ended, keeps it beyond that.
    pub kept_by_upload: bool,
    /// Until when it can be brought back, if it was deleted.
    #[schema(required)]
    pub trash_until: Option<Time>,
    /// When it is looked at, at the earliest, if it waits for that: it goes if nothing holds it.
    #[schema(required)]
    pub review_at: Option<Time>,
}

impl ManifestReasons {
    pub(super) fn new(repository: &RepoName, found: ManifestWhy, in_force: &InForce, now: Timestamp) -> Self {
        let (state, trash_until) = stage(found.state);
        let those = |is: &dyn Fn(&Tag) -> bool| {
            found.tags.first.iter().filter(|tag| is(tag)).map(ToString::to_string).collect()
        };
        Self {
            protected: those(&|tag| in_force.is_protected(repository, tag)),
            immutable: those(&|tag| in_force.is_immutable(repository, tag)),
            repository: repository.to_string(),
            state,
            trash_until,
            tag_count: found.tags.count,
            tags: found.tags.first.iter().map(ToString::to_string).collect(),
            index_count: found.indexes.count,
            indexes: found.indexes.first.into_iter().map(Into::into).collect(),
            subjects: found.subjects.into_iter().map(Into::into).collect(),
            pinned_by: None,
            rules: Vec::new(),
            judged: true,
            leased_until: leased(&found.lease, now),
            kept_by_upload: found.lease.extended,
            pulled_at: found.pulled_at.map(Time),
            review_at: found.review.map(Time),
            frees: found.frees,
        }
    }
}

impl Ruled {
    pub(super) fn new(row: &Row, now: Timestamp) -> Self {
        Self {
            tag: row.tag.as_ref().map(ToString::to_string),
            goes: row.decision.expiry().is_some(),
            reason: row.decision.explain(now).to_string(),
        }
    }
}

impl BlobReasons {
    pub(super) fn new(found: BlobWhy, now: Timestamp) -> Self {
        let repositories = found.repositories.first.into_iter();
        Self {
            bytes: found.bytes,
            frees: found.allocated,
            damaged: found.damaged,
            repositories: repositories.map(|kept| KeptBlob::new(kept, now)).collect(),
            repository_count: found.repositories.count,
        }
    }
}

impl KeptBlob {
    fn new(kept: BlobKept, now: Timestamp) -> Self {
        Self {
            repository: kept.repo.to_string(),
            manifests: kept.manifests.first.into_iter().map(Into::into).collect(),
            manifest_count: kept.manifests.count,
            leased_until: leased(&kept.lease, now),
            kept_by_upload: kept.lease.extended,
            trash_until: kept.hidden_until.map(Time),
            review_at: kept.review.map(Time),
        }
    }
}

impl From<Holder> for HeldBy {
    fn from(holder: Holder) -> Self {
        let (state, trash_until) = stage(holder.state);
        Self {
            digest: holder.digest.to_string(),
            state,
            trash_until,
            tag_count: holder.tags.count,
            tags: holder.tags.first.iter().map(ToString::to_string).collect(),
        }
    }
}

fn stage(state: ManifestState) -> (Stage, Option<Time>) {
    match state {
        ManifestState::Live => (Stage::Live, None),
        ManifestState::Trash(until) => (Stage::Trash, Some(Time(until))),
        ManifestState::Purging => (Stage::Purging, None),
    }
}

/// A lease that has ended keeps nothing.
fn leased(lease: &Lease, now: Timestamp) -> Option<Time> {
    Some(Time(lease.until)).filter(|until| until.0 > now)
}
