//! What policies keep although nothing else does.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};

use super::codec::digest;
use super::holds::{self, Review};
use super::maintenance::{fact, set_fact};
use super::{Durability, SqliteMetadata, repo_id};
use crate::clock::Timestamp;
use crate::metadata::{Judged, Pin, Pins, Result};
use crate::oci::{Digest, RepoName};

const JUDGED: &str = "judged";

type Row = (Vec<u8>, String);

#[async_trait]
impl Pins for SqliteMetadata {
    async fn set_pins(&self, repo: &RepoName, pins: Vec<Pin>) -> Result<()> {
        let wanted = rows(pins);
        if self.pins(repo)? == wanted {
            return Ok(());
        }
        let repo = repo.clone();
        self.write_behind(Durability::Full, move |c| match repo_id(c, &repo)? {
            Some(repo) => replace(c, repo, &wanted),
            None => Ok(()),
        })
        .await
    }

    async fn add_pins(&self, repo: &RepoName, pins: Vec<Pin>) -> Result<()> {
        let (mut wanted, there) = (rows(pins), self.pins(repo)?);
        wanted.retain(|(digest, _)| there.binary_search_by(|(there, _)| there.cmp(digest)).is_err());
        if wanted.is_empty() {
            return Ok(());
        }
        let repo = repo.clone();
        self.write_behind(Durability::Full, move |c| match repo_id(c, &repo)? {
            Some(repo) => add(c, repo, &wanted),
            None => Ok(()),
        })
        .await
    }

    async fn pin(&self, repo: &RepoName, wanted: &Digest) -> Result<Option<String>> {
        self.read(|c| {
            let Some(repo) = repo_id(c, repo)? else {
                return Ok(None);
            };
            c.prepare_cached("SELECT reason FROM pins WHERE repo = ?1 AND digest = ?2")?
                .query_row(params![repo, digest(wanted)], |row| row.get(0))
                .optional()
        })
    }

    async fn note_judged(&self, judged: &Judged) -> Result<()> {
        let text = format!("{} {}", judged.at.0, judged.policies);
        self.write_behind(Durability::Lazy, move |c| set_fact(c, JUDGED, &text)).await
    }

    async fn judged(&self) -> Result<Option<Judged>> {
        let text = self.read(|c| fact(c, JUDGED))?;
        Ok(text.and_then(|text| {
            let (at, policies) = text.split_once(' ')?;
            Some(Judged { at: Timestamp(at.parse().ok()?), policies: policies.to_owned() })
        }))
    }
}

impl SqliteMetadata {
    /// What is pinned, in the order of digests.
    fn pins(&self, repo: &RepoName) -> Result<Vec<Row>> {
        self.read(|c| match repo_id(c, repo)? {
            Some(repo) => all(c, repo),
            None => Ok(Vec::new()),
        })
    }
}

/// In the order of digests, each once.
fn rows(pins: Vec<Pin>) -> Vec<Row> {
    let mut rows: Vec<Row> = pins.into_iter().map(|pin| (digest(&pin.digest), pin.reason)).collect();
    rows.sort();
    rows.dedup_by(|a, b| a.0 == b.0);
    rows
}

fn all(c: &Connection, repo: i64) -> rusqlite::Result<Vec<Row>> {
    c.prepare_cached("SELECT digest, reason FROM pins WHERE repo = ?1 ORDER BY digest")?
        .query_map([repo], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

fn replace(c: &Connection, repo: i64, wanted: &[Row]) -> rusqlite::Result<()> {
    let before = all(c, repo)?;
    forget(c, repo)?;
    add(c, repo, wanted)?;
    for (lost, _) in before {
        if wanted.binary_search_by(|(digest, _)| digest.cmp(&lost)).is_err() {
            review(c, repo, &lost)?;
        }
    }
    Ok(())
}

fn add(c: &Connection, repo: i64, wanted: &[Row]) -> rusqlite::Result<()> {
    let mut insert =
        c.prepare_cached("INSERT OR IGNORE INTO pins (repo, digest, reason) VALUES (?1, ?2, ?3)")?;
    wanted.iter().try_for_each(|(digest, reason)| insert.execute(params![repo, digest, reason]).map(drop))
}

/// Takes the pin of a manifest away that goes.
pub(super) fn remove(c: &Connection, repo: i64, digest: &[u8]) -> rusqlite::Result<()> {
    c.prepare_cached("DELETE FROM pins WHERE repo = ?1 AND digest = ?2")?
        .execute(params![repo, digest])
        .map(drop)
}

/// Has a manifest reviewed as of when nothing else held it any more: its pin has not made it any younger.
fn review(c: &Connection, repo: i64, lost: &[u8]) -> rusqlite::Result<()> {
    let alone_at: Option<Timestamp> = c
        .prepare_cached("SELECT alone_at FROM manifests WHERE repo = ?1 AND digest = ?2 AND state = 0")?
        .query_row(params![repo, lost], |row| row.get(0))
        .optional()?;
    alone_at.map_or(Ok(()), |since| holds::queue(c, Review::Manifest, repo, lost, since))
}

/// Takes all pins of a repository away.
pub(super) fn forget(c: &Connection, repo: i64) -> rusqlite::Result<()> {
    c.prepare_cached("DELETE FROM pins WHERE repo = ?1")?.execute([repo]).map(drop)
}
