//! Counts the tags that share a blob, in the repositories that a client may read.
//!
//! The number of rows that are read is limited. A count that a limit ends says that there may be more. It must not
//! disclose how often repositories use a blob that the client may not read, so that a blob with many links is looked up
//! in the visible repositories instead, if these are few.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use crate::metadata::ops::{manifests, repo_id};
use crate::metadata::queries::listings::first_visible;
use crate::metadata::sql::{self, Connection, OptionalExtension, digest, params};
use crate::metadata::{Count, MAX_COUNTED_TAGS, Metadata, Operation, Result, Visible};
use crate::oci::{Digest, RepoName};

/// The maximum number of repositories in which a blob is looked up.
const MAX_REPOSITORIES: usize = 200;

/// The maximum number of links that are read for a client that may read many repositories, but not all.
const MAX_LINKS: usize = 1_000;

/// The maximum number of manifests that are read for all blobs of a manifest together.
const MAX_MANIFESTS_READ: usize = 5_000;

impl Metadata {
    /// Counts, for each of `blobs` of a manifest, the tags in `visible` repositories that lead to the blob but not to
    /// the manifest. Counts up to [`MAX_COUNTED_TAGS`]. Reads at most 1,000 links for each blob, and 5,000
    /// manifests for all of them.
    pub async fn tags_sharing(
        &self,
        repo: &RepoName,
        manifest: &Digest,
        blobs: &[Digest],
        visible: &Visible,
    ) -> Result<Vec<Count>> {
        let repo = repo.clone();
        let manifest = digest(manifest);
        let blobs: Vec<_> = blobs.iter().map(digest).collect();
        let visible = visible.clone();
        self.query_page(Operation::TagsSharing, move |c| {
            let mut counter = TagCounter::new(c, &visible);
            if let Some(repo) = repo_id(c, &repo)?
                && let Some(id) = manifests::live_id(c, repo, &manifest)?
            {
                counter.own = counter.holders(id, repo, manifest)?.iter().copied().collect();
            }
            blobs.iter().map(|blob| counter.count(blob)).collect()
        })
        .await
    }
}

/// Repositories, and whether others were left out.
struct Repositories {
    ids: Vec<i64>,
    more: bool,
}

struct TagCounter<'c> {
    c: &'c dyn Connection,
    visible: &'c Visible,
    /// How many more manifests may be read.
    left: usize,
    /// The first visible repositories, if they have been listed.
    first_visible: Option<Rc<Repositories>>,
    /// The manifests that lead to the manifest whose blobs are counted.
    own: HashSet<i64>,
    /// For each manifest that was read: itself and the indexes that lead to it.
    holders: HashMap<i64, Rc<Vec<i64>>>,
    /// The number of tags of each manifest.
    tags: HashMap<i64, u64>,
}

impl<'c> TagCounter<'c> {
    fn new(c: &'c dyn Connection, visible: &'c Visible) -> Self {
        Self {
            c,
            visible,
            left: MAX_MANIFESTS_READ,
            first_visible: None,
            own: HashSet::new(),
            holders: HashMap::new(),
            tags: HashMap::new(),
        }
    }

    fn count(&mut self, blob: &[u8]) -> sql::Result<Count> {
        let repositories = self.repositories_with(blob)?;
        let mut count = Count { number: 0, more: repositories.more };
        let mut seen = HashSet::new();
        let c = self.c;
        let mut query = c.prepare_cached(
            "SELECT m.id, m.digest, m.state FROM edges e CROSS JOIN manifests m
             WHERE e.repo = ?1 AND e.target = ?2 AND e.kind = 0 AND m.id = e.manifest",
        )?;
        for repo in repositories.ids {
            let mut rows = query.query(params![repo, blob])?;
            while let Some(row) = rows.next()? {
                if self.left == 0 {
                    return Ok(Count { more: true, ..count });
                }
                self.left -= 1;
                if row.get::<i64>(2)? != 0 {
                    continue;
                }
                for holder in self.holders(row.get(0)?, repo, row.get(1)?)?.iter() {
                    if !self.own.contains(holder) && seen.insert(*holder) {
                        count.number += self.tags_of(*holder)?;
                    }
                }
                if count.number >= MAX_COUNTED_TAGS {
                    return Ok(Count { number: MAX_COUNTED_TAGS, more: true });
                }
            }
        }
        Ok(count)
    }

    /// Returns the visible repositories that have a blob.
    fn repositories_with(&mut self, blob: &[u8]) -> sql::Result<Repositories> {
        let links = self
            .c
            .prepare_cached("SELECT links FROM blobs WHERE digest = ?1")?
            .query_row([blob], |row| row.get::<u64>(0))
            .optional()?
            .unwrap_or(0);
        if self.visible.is_all() {
            return self.linking(blob, links, MAX_REPOSITORIES);
        }
        if links > MAX_REPOSITORIES as u64 {
            let visible = self.first_visible()?;
            if !visible.more {
                return self.having(blob, &visible.ids);
            }
        }
        self.linking(blob, links, MAX_LINKS)
    }

    /// Reads the first `limit` of the links of a blob. Returns the visible repositories among them.
    fn linking(&self, blob: &[u8], links: u64, limit: usize) -> sql::Result<Repositories> {
        let mut query = self.c.prepare_cached(
            "SELECT l.repo, r.name FROM links l CROSS JOIN repositories r
             WHERE l.digest = ?1 AND r.id = l.repo LIMIT ?2",
        )?;
        let mut rows = query.query(params![blob, limit])?;
        let mut ids = Vec::new();
        while let Some(row) = rows.next()? {
            if self.visible.shows(&row.get(1)?) {
                ids.push(row.get(0)?);
            }
        }
        Ok(Repositories { ids, more: links > limit as u64 })
    }

    /// Returns those of some repositories that have a blob.
    fn having(&self, blob: &[u8], among: &[i64]) -> sql::Result<Repositories> {
        let mut query = self.c.prepare_cached("SELECT 1 FROM links WHERE repo = ?1 AND digest = ?2")?;
        let mut ids = Vec::new();
        for repo in among {
            if query.exists(params![repo, blob])? {
                ids.push(*repo);
            }
        }
        Ok(Repositories { ids, more: false })
    }

    fn first_visible(&mut self) -> sql::Result<Rc<Repositories>> {
        if let Some(known) = &self.first_visible {
            return Ok(Rc::clone(known));
        }
        let listed = Rc::new(self.list_first_visible()?);
        self.first_visible = Some(Rc::clone(&listed));
        Ok(listed)
    }

    fn list_first_visible(&self) -> sql::Result<Repositories> {
        let mut found = first_visible(self.c, self.visible, MAX_REPOSITORIES + 1)?;
        let more = found.len() > MAX_REPOSITORIES;
        found.truncate(MAX_REPOSITORIES);
        Ok(Repositories { ids: found, more })
    }

    /// Returns a manifest and the live indexes that lead to it.
    fn holders(&mut self, id: i64, repo: i64, digest: Vec<u8>) -> sql::Result<Rc<Vec<i64>>> {
        if let Some(known) = self.holders.get(&id) {
            return Ok(Rc::clone(known));
        }
        let mut query = self.c.prepare_cached(
            "SELECT m.id, m.digest, m.state FROM edges e CROSS JOIN manifests m
             WHERE e.repo = ?1 AND e.target = ?2 AND e.kind = 1 AND m.id = e.manifest",
        )?;
        let mut found = vec![id];
        let mut waiting = vec![digest];
        while let Some(digest) = waiting.pop() {
            let mut rows = query.query(params![repo, digest])?;
            while self.left > 0
                && let Some(row) = rows.next()?
            {
                self.left -= 1;
                let index = row.get(0)?;
                if row.get::<i64>(2)? == 0 && !found.contains(&index) {
                    found.push(index);
                    waiting.push(row.get(1)?);
                }
            }
        }
        let found = Rc::new(found);
        self.holders.insert(id, Rc::clone(&found));
        Ok(found)
    }

    /// Counts the tags of a manifest, up to the limit.
    fn tags_of(&mut self, manifest: i64) -> sql::Result<u64> {
        if let Some(known) = self.tags.get(&manifest) {
            return Ok(*known);
        }
        let mut query = self.c.prepare_cached(
            "SELECT count(*) FROM (SELECT 1 FROM tags WHERE manifest = ?1 LIMIT ?2) counted",
        )?;
        let tags = query.query_row(params![manifest, MAX_COUNTED_TAGS], |row| row.get(0))?;
        self.tags.insert(manifest, tags);
        Ok(tags)
    }
}
