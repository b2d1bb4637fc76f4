//! References of pushed manifests. They are looked up and recorded as sets: a manifest with many references needs only
//! a few statements.

use std::collections::HashMap;
use std::iter::from_fn;

use crate::metadata::sql::{self, Connection, SqlDigest, ToSql, digest};
use crate::metadata::{Edge, EdgeKind};
use crate::oci::Digest;

/// Lengths of the lists in statements, longest first. There are few different statements, so that connections keep all
/// of them prepared.
pub(in crate::metadata) const LIST_LENGTHS: [usize; 9] = [256, 128, 64, 32, 16, 8, 4, 2, 1];

/// Sizes of the targets of a manifest that exist.
#[derive(Default)]
pub(in crate::metadata) struct TargetSizes {
    blobs: HashMap<Digest, u64>,
    manifests: HashMap<Digest, u64>,
}

impl TargetSizes {
    /// Finds the targets that must exist or have a certain size, among what `repo` serves.
    pub(in crate::metadata) fn find(
        c: &dyn Connection,
        repo: i64,
        edges: &[Edge],
        among: BlobFilter,
    ) -> sql::Result<Self> {
        let checked = edges.iter().filter(|edge| edge.required || edge.size.is_some());
        let (blobs, manifests): (Vec<_>, Vec<_>) = checked.partition(|edge| edge.kind == EdgeKind::Blob);
        Ok(Self {
            blobs: find_sizes(c, repo, &blobs, |len| blob_sizes(len, among))?,
            manifests: find_sizes(c, repo, &manifests, manifest_sizes)?,
        })
    }

    /// Returns the size of an edge's target, if it exists.
    pub(in crate::metadata) fn get(&self, edge: &Edge) -> Option<u64> {
        let sizes = match edge.kind {
            EdgeKind::Blob => &self.blobs,
            EdgeKind::Child | EdgeKind::Subject => &self.manifests,
        };
        sizes.get(&edge.target).copied()
    }
}

fn find_sizes(
    c: &dyn Connection,
    repo: i64,
    edges: &[&Edge],
    write_query: impl Fn(usize) -> String,
) -> sql::Result<HashMap<Digest, u64>> {
    let mut sizes = HashMap::new();
    for list in split_into_lists(edges) {
        let targets: Vec<_> = list.iter().map(|edge| digest(&edge.target)).collect();
        let mut values: Vec<&dyn ToSql> = vec![&repo];
        values.extend(targets.iter().map(|target| target as &dyn ToSql));
        let mut query = c.prepare_cached(&write_query(list.len()))?;
        for row in query.query_map(&*values, |row| Ok((row.get::<SqlDigest>(0)?.0, row.get(1)?)))? {
            let (target, size) = row?;
            sizes.insert(target, size);
        }
    }
    Ok(sizes)
}

/// Records the edges of a manifest that are not recorded yet. `source` is the digest of the manifest.
pub(in crate::metadata) fn add_edges(
    c: &dyn Connection,
    repo: i64,
    manifest: i64,
    source: &[u8],
    edges: &[Edge],
) -> sql::Result<()> {
    for list in split_into_lists(edges) {
        let targets: Vec<_> = list.iter().map(|edge| digest(&edge.target)).collect();
        let mut values: Vec<&dyn ToSql> = vec![&manifest, &repo];
        for (edge, target) in list.iter().zip(&targets) {
            let source: &dyn ToSql = if edge.kind == EdgeKind::Subject { &source } else { &None::<i64> };
            let row: [&dyn ToSql; 4] = [target, &edge.kind, &edge.required, source];
            values.extend(row);
        }
        c.prepare_cached(&insert_edges(list.len()))?.execute(&*values)?;
    }
    Ok(())
}

/// Splits items into lists of the lengths that statements have.
fn split_into_lists<T>(mut items: &[T]) -> impl Iterator<Item = &[T]> {
    from_fn(move || {
        let len = LIST_LENGTHS.into_iter().find(|len| *len <= items.len())?;
        items.split_off(..len)
    })
}

/// The blobs that count as existing targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::metadata) struct BlobFilter {
    /// Whether hidden blobs count.
    pub(in crate::metadata) hidden: bool,
    /// Whether blobs count whose content was not hashed yet.
    pub(in crate::metadata) unverified: bool,
}

/// Query for the sizes of `len` blobs.
pub(in crate::metadata) fn blob_sizes(len: usize, among: BlobFilter) -> String {
    let visible = if among.hidden { "" } else { "AND l.hidden_at IS NULL" };
    let verified = if among.unverified { "" } else { "AND b.unverified = 0" };
    let targets = join(len, |item| format!("?{}", item + 2));
    format!(
        "SELECT l.digest, b.size FROM links l JOIN blobs b ON b.digest = l.digest
         WHERE l.repo = ?1 AND l.digest IN ({targets}) AND b.damaged = 0 {visible} {verified}"
    )
}

/// Query for the sizes of `len` live manifests.
pub(in crate::metadata) fn manifest_sizes(len: usize) -> String {
    let targets = join(len, |item| format!("?{}", item + 2));
    format!("SELECT digest, size FROM manifests WHERE repo = ?1 AND digest IN ({targets}) AND state = 0")
}

/// Statement that inserts `len` edges.
pub(in crate::metadata) fn insert_edges(len: usize) -> String {
    let rows = join(len, |row| {
        let first = 4 * row + 3;
        format!("(?1, ?2, ?{}, ?{}, ?{}, ?{})", first, first + 1, first + 2, first + 3)
    });
    format!(
        "INSERT INTO edges (manifest, repo, target, kind, required, source) VALUES {rows}
         ON CONFLICT DO NOTHING"
    )
}

fn join(len: usize, write: impl Fn(usize) -> String) -> String {
    (0..len).map(write).collect::<Vec<_>>().join(", ")
}
