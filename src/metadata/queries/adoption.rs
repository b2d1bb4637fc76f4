//! Reads the state of an adoption, and the blobs whose content was not hashed yet.

use crate::metadata::facts::{ADOPTION_KEY, read_value};
use crate::metadata::ops::maintenance::stored_blob;
use crate::metadata::ops::repo_id;
use crate::metadata::sql::{self, Connection, OptionalExtension, Row, digest, params};
use crate::metadata::{
    AdoptionFigures, AdoptionRecord, Metadata, Operation, Result, StoredBlob, UnverifiedBlob,
};
use crate::oci::{BlobKey, Digest, RepoName};

impl Metadata {
    /// Returns the state of the adoption; `None` if nothing was adopted.
    pub async fn adoption(&self) -> Result<Option<AdoptionRecord>> {
        self.query(Operation::Adoption, |c| {
            let text = read_value(c, ADOPTION_KEY)?;
            Ok(text.map(|text| serde_json::from_str(&text).unwrap_or_default()))
        })
        .await
    }

    /// Returns what is left to do after an adoption. Reads only index entries of what is left.
    pub async fn adoption_figures(&self) -> Result<AdoptionFigures> {
        self.query_report(Operation::AdoptionFigures, figures).await
    }

    /// Returns up to `limit` blobs after `after`, in order of their digests, whose content was not hashed yet.
    pub async fn next_unverified(&self, after: Option<&Digest>, limit: usize) -> Result<Vec<StoredBlob>> {
        self.perform(Operation::NextUnverified, async {
            if !self.unverified.may_exist() {
                return Ok(Vec::new());
            }
            let adoptions = self.unverified.adoptions();
            let from = after.map(digest).unwrap_or_default();
            let found = self.read(|c| next_unverified(c, &from, limit))?;
            if after.is_none() && found.is_empty() {
                self.unverified.record_none(adoptions);
            }
            Ok(found)
        })
        .await
    }

    /// Returns those of these blobs whose content was not hashed yet, of those that `repo` serves or, without one, that
    /// are stored. Costs nothing if there are none at all.
    pub async fn unverified_among(
        &self,
        repo: Option<&RepoName>,
        wanted: &[Digest],
    ) -> Result<Vec<UnverifiedBlob>> {
        self.perform(Operation::UnverifiedAmong, async {
            if wanted.is_empty() || !self.unverified.may_exist() {
                return Ok(Vec::new());
            }
            let adoptions = self.unverified.adoptions();
            let repo = repo.cloned();
            let wanted = wanted.to_vec();
            let found = self.read_blocking(move |c| unverified_among(c, repo.as_ref(), &wanted)).await?;
            if found.is_none() {
                self.unverified.record_none(adoptions);
            }
            Ok(found.unwrap_or_default())
        })
        .await
    }

    /// Returns whether any blob's file is a hard link that another registry's tree has too.
    pub async fn has_hardlinked(&self) -> Result<bool> {
        self.query(Operation::HasHardlinked, |c| {
            c.prepare_cached(
                "SELECT 1 FROM blobs /* INDEXED BY blobs_hardlinked */ WHERE hardlinked <> 0 LIMIT 1",
            )?
            .exists([])
        })
        .await
    }
}

fn figures(c: &dyn Connection) -> sql::Result<AdoptionFigures> {
    let held_manifests = c
        .prepare_cached("SELECT count(*) FROM manifests /* INDEXED BY manifests_held */ WHERE held <> 0")?
        .query_row([], |row| row.get(0))?;
    let counts = |row: Row<'_>| Ok((row.get::<u64>(0)?, row.get::<u64>(1)?));
    let (unverified_blobs, unverified_bytes) = c
        .prepare_cached(
            "SELECT count(*), CAST(coalesce(sum(size), 0) AS BIGINT)
             FROM blobs /* INDEXED BY blobs_unverified */ WHERE unverified <> 0",
        )?
        .query_row([], counts)?;
    let (hardlinked_blobs, hardlinked_bytes) = c
        .prepare_cached(
            "SELECT count(*), CAST(coalesce(sum(allocated), 0) AS BIGINT)
             FROM blobs /* INDEXED BY blobs_hardlinked */ WHERE hardlinked <> 0",
        )?
        .query_row([], counts)?;
    Ok(AdoptionFigures {
        held_manifests,
        unverified_blobs,
        unverified_bytes,
        hardlinked_blobs,
        hardlinked_bytes,
    })
}

fn next_unverified(c: &dyn Connection, after: &[u8], limit: usize) -> sql::Result<Vec<StoredBlob>> {
    let mut query = c.prepare_cached(
        "SELECT digest, generation, size, damaged, CASE WHEN measured <> 0 THEN allocated END, unverified, hardlinked
         FROM blobs /* INDEXED BY blobs_unverified */
         WHERE unverified <> 0 AND digest > ?1 ORDER BY digest LIMIT ?2",
    )?;
    query.query_map(params![after, limit], stored_blob)?.collect()
}

/// Finds unverified blobs; `None` if there are none at all.
fn unverified_among(
    c: &dyn Connection,
    repo: Option<&RepoName>,
    wanted: &[Digest],
) -> sql::Result<Option<Vec<UnverifiedBlob>>> {
    let any = "SELECT 1 FROM blobs /* INDEXED BY blobs_unverified */ WHERE unverified <> 0 LIMIT 1";
    if !c.prepare_cached(any)?.exists([])? {
        return Ok(None);
    }
    let repo = match repo.map(|repo| repo_id(c, repo)).transpose()? {
        Some(None) => return Ok(Some(Vec::new())),
        Some(repo) => repo,
        None => None,
    };
    let mut query = c.prepare_cached(
        "SELECT generation, size FROM blobs b
         WHERE digest = ?1 AND unverified <> 0
           AND (CAST(?2 AS BIGINT) IS NULL
                OR EXISTS (SELECT 1 FROM links l
                           WHERE l.repo = ?2 AND l.digest = b.digest AND l.hidden_at IS NULL))",
    )?;
    let mut found = Vec::new();
    for wanted in wanted {
        let blob = query.query_row(params![digest(wanted), repo], |row| {
            let key = BlobKey { digest: wanted.clone(), generation: row.get(0)? };
            Ok(UnverifiedBlob { key, size: row.get::<u64>(1)? })
        });
        found.extend(blob.optional()?);
    }
    Ok(Some(found))
}
