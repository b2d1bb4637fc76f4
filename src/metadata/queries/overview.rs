//! Divides the disk space of all blobs into areas that do not overlap, and lists the repositories that take the most
//! space of their own.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::metadata::ops::maintenance::totals;
use crate::metadata::queries::reclaimable::summary::reclaimable_space;
use crate::metadata::sql::{self, Connection, params};
use crate::metadata::{
    CollectionRules, ExclusiveSpace, LargestRepositories, Metadata, Operation, Result, Scope, SpaceDivision,
    Visible,
};
use crate::oci::RepoName;

/// The maximum number of repositories that are compared for a client that may not read all of them. This takes about
/// 5 ms.
pub const MAX_COMPARED: usize = 5_000;

impl Metadata {
    /// Divides the space of all blobs among the `limit` repositories with the most exclusive space, all others, and
    /// what can be reclaimed. Reads every repository, the trash and the review queue, in one transaction.
    pub async fn space_division(&self, rules: &CollectionRules, limit: usize) -> Result<SpaceDivision> {
        let rules = *rules;
        self.query_report(Operation::SpaceDivision, move |c| divide(c, &rules, limit)).await
    }

    /// Returns the `limit` visible repositories with the most exclusive space, largest first. Compares a bounded
    /// number of repositories.
    pub async fn largest_visible(&self, visible: &Visible, limit: usize) -> Result<LargestRepositories> {
        let visible = visible.clone();
        self.query_page(Operation::LargestVisible, move |c| largest_visible(c, &visible, limit)).await
    }
}

/// The largest entries of those that were added.
struct Largest {
    limit: usize,
    heap: BinaryHeap<Reverse<(u64, Reverse<String>)>>,
}

impl Largest {
    fn new(limit: usize) -> Self {
        Self { limit, heap: BinaryHeap::with_capacity(limit + 1) }
    }

    /// Adds a repository. Returns the bytes of the one that is not among the largest, if there is one.
    fn add(&mut self, name: &str, bytes: u64) -> Option<u64> {
        if self.heap.len() >= self.limit && self.heap.peek().is_none_or(|Reverse((least, _))| bytes <= *least)
        {
            return Some(bytes);
        }
        self.heap.push(Reverse((bytes, Reverse(name.to_owned()))));
        if self.heap.len() > self.limit {
            return self.heap.pop().map(|Reverse((bytes, _))| bytes);
        }
        None
    }

    fn finish(self) -> sql::Result<Vec<ExclusiveSpace>> {
        // Sorted by the reversed order, so that the largest is the first.
        let sorted = self.heap.into_sorted_vec().into_iter();
        sorted
            .map(|Reverse((bytes, Reverse(name)))| {
                let repo = name.parse::<RepoName>();
                let repo = repo.map_err(|error| sql::Error::InvalidValue(Box::new(error)))?;
                Ok(ExclusiveSpace { repo, bytes })
            })
            .collect()
    }
}

fn divide(c: &dyn Connection, rules: &CollectionRules, limit: usize) -> sql::Result<SpaceDivision> {
    let totals = totals(c)?;
    let space = reclaimable_space(c, &Scope::All, rules)?;
    let mut largest = Largest::new(limit);
    let mut other_repositories = 0;
    let mut other_bytes = 0;
    let mut repositories = 0;
    let mut own = 0;
    let mut query = c.prepare_cached("SELECT id, name, own_allocated FROM repositories")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let reclaimable = space.exclusive.get(&row.get(0)?).copied().unwrap_or(0);
        let bytes = row.get::<u64>(2)?.saturating_sub(reclaimable);
        repositories += 1;
        own += bytes;
        if let Some(bytes) = largest.add(row.text(1)?, bytes) {
            other_repositories += 1;
            other_bytes += bytes;
        }
    }
    let divided = own + space.trash + space.untagged + space.leased;
    Ok(SpaceDivision {
        // Every blob has a link, so that what is neither exclusive nor reclaimable is shared.
        shared: totals.blob_allocated.saturating_sub(divided),
        totals,
        largest: largest.finish()?,
        repositories,
        other_repositories,
        other_bytes,
        trash: space.trash,
        untagged: space.untagged,
        leased: space.leased,
        reclaimable: space.summary,
    })
}

fn largest_visible(c: &dyn Connection, visible: &Visible, limit: usize) -> sql::Result<LargestRepositories> {
    let mut largest = Largest::new(limit);
    let mut left = MAX_COMPARED;
    let mut others = false;
    let mut query = c.prepare_cached(
        "SELECT name, own_allocated FROM repositories WHERE name >= ?1 AND name < ?2 AND live > 0
         ORDER BY name LIMIT ?3",
    )?;
    for range in visible.search_ranges() {
        // Even an empty range costs a lookup.
        left = left.saturating_sub(1);
        let mut rows = query.query(params![range.start(), range.end(), left])?;
        while let Some(row) = rows.next()? {
            left = left.saturating_sub(1);
            let name: RepoName = row.get(0)?;
            if visible.shows(&name) {
                others |= largest.add(name.as_str(), row.get(1)?).is_some();
            }
        }
        if left == 0 {
            others = true;
            break;
        }
    }
    Ok(LargestRepositories { items: largest.finish()?, others })
}
