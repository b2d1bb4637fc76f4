//! The report on what keeps a manifest or blob.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::http::api::Time;
use crate::jobs::retention::Row;
use crate::metadata::{BlobWhy, Holder, LinkWhy, ManifestState};
use crate::oci::Tag;
use crate::reports::{self, KeptManifest};

/// What keeps a manifest or blob. All sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Why {
    /// The digest that was found.
    pub digest: String,
    /// What keeps it as a manifest, for each of the first ten repositories that have it.
    pub manifests: Vec<ManifestReasons>,
    /// What keeps it as a blob.
    #[schema(required)]
    pub blob: Option<BlobReasons>,
}

/// The stage of a manifest's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// It can be pulled.
    Live,
    /// It was deleted or has expired, and can be restored.
    Trash,
    /// It is being removed for good.
    Purging,
}

/// What keeps a manifest in a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ManifestReasons {
    /// The repository.
    pub repository: String,
    /// The stage of its life.
    pub state: Stage,
    /// The time until which it can be restored, if it is in the trash.
    #[schema(required)]
    pub trash_until: Option<Time>,
    /// The first ten tags that point at it.
    pub tags: Vec<String>,
    /// The number of tags that point at it.
    pub tag_count: u64,
    /// Those of these tags that no policy may expire.
    pub protected: Vec<String>,
    /// Those of these tags that also cannot be moved or deleted.
    pub immutable: Vec<String>,
    /// The newest ten indexes that list it.
    pub indexes: Vec<HeldBy>,
    /// The number of indexes that list it.
    pub index_count: u64,
    /// Its subject, if the repository has it: the manifest is removed together with it.
    pub subjects: Vec<HeldBy>,
    /// Whether it was adopted from another registry and is not released yet: then only users may remove it.
    #[serde(default)]
    pub adopted: bool,
    /// The rule that keeps it although no tag, index or subject does, as of the last run of the policies.
    #[schema(required)]
    pub pinned_by: Option<String>,
    /// What policies would do now to the first ten tags that point at it, or to the manifest itself. Empty if
    /// no rule covers the repository.
    pub rules: Vec<PolicyDecision>,
    /// Whether the policies were evaluated. They are not in a repository with very many tags; use a retention
    /// plan there.
    pub judged: bool,
    /// The time until which it is kept because a client was informed that it exists.
    #[schema(required)]
    pub leased_until: Option<Time>,
    /// Whether an upload, open or just finished, keeps it longer.
    pub kept_by_upload: bool,
    /// When it was last pulled.
    #[schema(required)]
    pub pulled_at: Option<Time>,
    /// The earliest time of its review, if it is in the review queue. The review moves it to the trash if
    /// nothing holds it.
    #[schema(required)]
    pub review_at: Option<Time>,
    /// The space freed by removing it and everything that only it holds.
    pub frees: u64,
}

/// A manifest that holds the manifest or blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HeldBy {
    /// Its digest.
    pub digest: String,
    /// The stage of its life. It holds until it is removed for good.
    pub state: Stage,
    /// The time until which it can be restored, if it is in the trash.
    #[schema(required)]
    pub trash_until: Option<Time>,
    /// The first ten tags that point at it.
    pub tags: Vec<String>,
    /// The number of tags that point at it.
    pub tag_count: u64,
}

/// What policies would do to a tag or manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Ruled)]
pub struct PolicyDecision {
    /// The tag; `null` for the manifest itself.
    #[schema(required)]
    pub tag: Option<String>,
    /// Whether it would expire.
    pub goes: bool,
    /// The rule by which it would expire, or what keeps it.
    pub reason: String,
}

/// What keeps a blob. It is removed with the last repository that has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlobReasons {
    /// Its size.
    pub bytes: u64,
    /// The space freed by removing it: none if the tree of an adopted registry has the file too.
    pub frees: u64,
    /// Whether its content was found to be damaged. It is then quarantined until it is pushed again.
    pub damaged: bool,
    /// What keeps it, for each of the first ten repositories that have it.
    pub repositories: Vec<KeptBlob>,
    /// The number of repositories that have it.
    pub repository_count: u64,
}

/// What keeps a blob in a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeptBlob {
    /// The repository.
    pub repository: String,
    /// The newest ten manifests in the repository that hold it.
    pub manifests: Vec<HeldBy>,
    /// The number of manifests that hold it.
    pub manifest_count: u64,
    /// The time until which it is kept for a manifest that may follow.
    #[schema(required)]
    pub leased_until: Option<Time>,
    /// Whether an upload, open or just finished, keeps it longer.
    pub kept_by_upload: bool,
    /// The time until which it can be restored, if it was deleted.
    #[schema(required)]
    pub trash_until: Option<Time>,
    /// The earliest time of its review, if it is in the review queue. The review removes it if nothing holds
    /// it.
    #[schema(required)]
    pub review_at: Option<Time>,
}

impl From<reports::Why> for Why {
    fn from(why: reports::Why) -> Self {
        let reports::Why { digest, now, manifests, blob } = why;
        Self {
            digest: digest.to_string(),
            manifests: manifests.into_iter().map(|kept| ManifestReasons::new(kept, now)).collect(),
            blob: blob.map(|blob| BlobReasons::new(blob, now)),
        }
    }
}

impl ManifestReasons {
    fn new(kept: KeptManifest, now: Timestamp) -> Self {
        let KeptManifest { repository, why, protected, immutable, pinned_by, rules } = kept;
        let (state, trash_until) = stage(why.state);
        Self {
            repository: repository.to_string(),
            state,
            trash_until,
            tag_count: why.tags.count,
            tags: names(&why.tags.first),
            protected: names(&protected),
            immutable: names(&immutable),
            index_count: why.indexes.count,
            indexes: why.indexes.first.into_iter().map(HeldBy::from).collect(),
            subjects: why.subjects.into_iter().map(HeldBy::from).collect(),
            adopted: why.unreleased,
            pinned_by,
            judged: rules.is_some(),
            rules: rules.iter().flatten().map(|row| PolicyDecision::new(row, now)).collect(),
            leased_until: why.lease.active_until(now).map(Time),
            kept_by_upload: why.lease.extended,
            pulled_at: why.pulled_at.map(Time),
            review_at: why.review.map(Time),
            frees: why.frees,
        }
    }
}

impl PolicyDecision {
    fn new(row: &Row, now: Timestamp) -> Self {
        Self {
            tag: row.tag.as_ref().map(ToString::to_string),
            goes: row.decision.expiry().is_some(),
            reason: row.decision.explain(now).to_string(),
        }
    }
}

impl BlobReasons {
    fn new(found: BlobWhy, now: Timestamp) -> Self {
        let repositories = found.repositories.first.into_iter();
        Self {
            bytes: found.bytes,
            frees: if found.hardlinked { 0 } else { found.allocated },
            damaged: found.damaged,
            repositories: repositories.map(|kept| KeptBlob::new(kept, now)).collect(),
            repository_count: found.repositories.count,
        }
    }
}

impl KeptBlob {
    fn new(kept: LinkWhy, now: Timestamp) -> Self {
        Self {
            repository: kept.repo.to_string(),
            manifests: kept.manifests.first.into_iter().map(Into::into).collect(),
            manifest_count: kept.manifests.count,
            leased_until: kept.lease.active_until(now).map(Time),
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
            tags: names(&holder.tags.first),
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

fn names(tags: &[Tag]) -> Vec<String> {
    tags.iter().map(ToString::to_string).collect()
}
