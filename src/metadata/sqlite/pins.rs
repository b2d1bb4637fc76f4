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
        let mut wanted: Vec<Row> = pins.into_iter().map(|pin| (digest(&pin.digest), pin.reason)).collect();
        wanted.sort();
        wanted.dedup_by(|a, b| a.0 == b.0);
        let there = self.read(|c| match repo_id(c, repo)? {
            Some(repo) => all(c, repo),
            None => Ok(Vec::new()),
        })?;
        if there == wanted {
            return Ok(());
        }
        let repo = repo.clone();
        self.write(Durability::Full, move |c| match repo_id(c, &repo)? {
            Some(repo) => replace(c, repo, &wanted),
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
        self.write(Durability::Note, move |c| set_fact(c, JUDGED, &text)).await
    }

    async fn judged(&self) -> Result<Option<Judged>> {
        let text = self.read(|c| fact(c, JUDGED))?;
        Ok(text.and_then(|text| {
            let (at, policies) = text.split_once(' ')?;
            Some(Judged { at: Timestamp(at.parse().ok()?), policies: policies.to_owned() })
        }))
    }
}

fn all(c: &Connection, repo: i64) -> rusqlite::Result<Vec<Row>> {
    c.prepare_cached("SELECT digest, reason FROM pins WHERE repo = ?1 ORDER BY digest")?
        .query_map([repo], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

fn replace(c: &Connection, repo: i64, wanted: &[Row]) -> rusqlite::Result<()> {
    let before = all(c, repo)?;
    forget(c, repo)?;
    for (digest, reason) in wanted {
        c.prepare_cached("INSERT INTO pins (repo, digest, reason) VALUES (?1, ?2, ?3)")?
            .execute(params![repo, digest, reason])?;
    }
    for (lost, _) in before {
        if wanted.binary_search_by(|(digest, _)| digest.cmp(&lost)).is_err() {
            review(c, repo, &lost)?;
        }
    }
    Ok(())
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
