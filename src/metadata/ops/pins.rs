//! Pins: manifests that retention policies keep although nothing else holds them.

use crate::clock::Timestamp;
use crate::metadata::facts::{read_value, write_value};
use crate::metadata::ops::liveness::{self, Review};
use crate::metadata::ops::repo_id;
use crate::metadata::sql::{Connection, OptionalExtension, digest, params};
use crate::metadata::{Durability, EvaluationRecord, Metadata, Operation, Pin, Result, sql};
use crate::oci::{Digest, RepoName};

const LAST_EVALUATION_KEY: &str = "judged";

type PinRow = (Vec<u8>, String);

impl Metadata {
    /// Replaces all pins of a repository. Manifests that lose their pin are reviewed.
    pub async fn set_pins(&self, repo: &RepoName, pins: Vec<Pin>) -> Result<()> {
        self.perform(Operation::SetPins, async {
            let wanted = to_rows(pins);
            if self.pins(repo)? == wanted {
                return Ok(());
            }
            let repo = repo.clone();
            self.write_in_background(Durability::Full, move |c| match repo_id(c, &repo)? {
                Some(repo) => replace(c, repo, &wanted),
                None => Ok(()),
            })
            .await
        })
        .await
    }

    /// Adds pins to a repository. An existing pin keeps its own reason.
    pub async fn add_pins(&self, repo: &RepoName, pins: Vec<Pin>) -> Result<()> {
        self.perform(Operation::AddPins, async {
            let mut wanted = to_rows(pins);
            let current = self.pins(repo)?;
            wanted.retain(|(digest, _)| current.binary_search_by(|(pinned, _)| pinned.cmp(digest)).is_err());
            if wanted.is_empty() {
                return Ok(());
            }
            let repo = repo.clone();
            self.write_in_background(Durability::Full, move |c| match repo_id(c, &repo)? {
                Some(repo) => add(c, repo, &wanted),
                None => Ok(()),
            })
            .await
        })
        .await
    }

    /// Returns why a manifest is pinned, if it is.
    pub async fn pin(&self, repo: &RepoName, wanted: &Digest) -> Result<Option<String>> {
        self.query(Operation::Pin, |c| {
            let Some(repo) = repo_id(c, repo)? else {
                return Ok(None);
            };
            c.prepare_cached("SELECT reason FROM pins WHERE repo = ?1 AND digest = ?2")?
                .query_row(params![repo, digest(wanted)], |row| row.get(0))
                .optional()
        })
        .await
    }

    /// Records, lazily, that policies were evaluated for all repositories.
    pub async fn record_evaluation(&self, evaluation: &EvaluationRecord) -> Result<()> {
        let text = format!("{} {}", evaluation.at.0, evaluation.policies);
        self.change_in_background(Operation::RecordEvaluation, Durability::Lazy, move |c| {
            write_value(c, LAST_EVALUATION_KEY, &text)
        })
        .await
    }

    /// Returns when that last happened.
    pub async fn last_evaluation(&self) -> Result<Option<EvaluationRecord>> {
        self.perform(Operation::LastEvaluation, async {
            let text = self.read(|c| read_value(c, LAST_EVALUATION_KEY))?;
            Ok(text.and_then(|text| {
                let (at, policies) = text.split_once(' ')?;
                Some(EvaluationRecord { at: Timestamp(at.parse().ok()?), policies: policies.to_owned() })
            }))
        })
        .await
    }
}

impl Metadata {
    /// Lists the pins of a repository in the order of digests.
    fn pins(&self, repo: &RepoName) -> Result<Vec<PinRow>> {
        self.read(|c| match repo_id(c, repo)? {
            Some(repo) => list(c, repo),
            None => Ok(Vec::new()),
        })
    }
}

/// Sorts pins by digest and removes duplicates.
fn to_rows(pins: Vec<Pin>) -> Vec<PinRow> {
    let mut rows: Vec<PinRow> = pins.into_iter().map(|pin| (digest(&pin.digest), pin.reason)).collect();
    rows.sort();
    rows.dedup_by(|a, b| a.0 == b.0);
    rows
}

fn list(c: &dyn Connection, repo: i64) -> sql::Result<Vec<PinRow>> {
    c.prepare_cached("SELECT digest, reason FROM pins WHERE repo = ?1 ORDER BY digest")?
        .query_map([repo], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

fn replace(c: &dyn Connection, repo: i64, wanted: &[PinRow]) -> sql::Result<()> {
    let before = list(c, repo)?;
    remove_all(c, repo)?;
    add(c, repo, wanted)?;
    for (unpinned, _) in before {
        if wanted.binary_search_by(|(digest, _)| digest.cmp(&unpinned)).is_err() {
            queue_unpinned(c, repo, &unpinned)?;
        }
    }
    Ok(())
}

fn add(c: &dyn Connection, repo: i64, wanted: &[PinRow]) -> sql::Result<()> {
    let mut insert = c.prepare_cached(
        "INSERT INTO pins (repo, digest, reason) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
    )?;
    wanted.iter().try_for_each(|(digest, reason)| insert.execute(params![repo, digest, reason]).map(drop))
}

/// Removes the pin of a manifest that is being removed.
pub(in crate::metadata) fn remove(c: &dyn Connection, repo: i64, digest: &[u8]) -> sql::Result<()> {
    c.prepare_cached("DELETE FROM pins WHERE repo = ?1 AND digest = ?2")?
        .execute(params![repo, digest])
        .map(drop)
}

/// Queues a manifest for review, counted from the time when it lost its last other holder: its pin did not make it
/// younger.
fn queue_unpinned(c: &dyn Connection, repo: i64, unpinned: &[u8]) -> sql::Result<()> {
    let alone_at: Option<Timestamp> = c
        .prepare_cached("SELECT alone_at FROM manifests WHERE repo = ?1 AND digest = ?2 AND state = 0")?
        .query_row(params![repo, unpinned], |row| row.get(0))
        .optional()?;
    alone_at.map_or(Ok(()), |since| liveness::queue(c, Review::Manifest, repo, unpinned, since))
}

/// Removes all pins of a repository.
pub(in crate::metadata) fn remove_all(c: &dyn Connection, repo: i64) -> sql::Result<()> {
    c.prepare_cached("DELETE FROM pins WHERE repo = ?1")?.execute([repo]).map(drop)
}
