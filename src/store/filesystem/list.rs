//! What there is: the uploads on the first page, then one of the blobs' directories a page.

use std::fs::{self, DirEntry};
use std::io;
use std::path::Path;

use super::Tree;
use crate::oci::Algorithm;
use crate::store::layout::{self, SHARDS};
use crate::store::{Listing, StoreError};

impl Tree {
    pub(super) fn list(&self, from: Option<&str>) -> Result<Listing, StoreError> {
        // What is not mounted must not look like a store that has lost everything.
        self.identity.verify(&self.layout)?;
        let Some(from) = from else {
            return self.list_top();
        };
        let (algorithm, shard) = parse_cursor(from).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("{from:?} is not where a page begins"))
        })?;
        self.list_shard(algorithm, shard)
    }

    /// The uploads, and what does not belong between the root and the blobs.
    fn list_top(&self) -> Result<Listing, StoreError> {
        let mut listing = Listing { next: Some(cursor(Algorithm::ALL[0], 0)), ..Listing::default() };
        for (name, entry) in entries(&self.layout.uploads())? {
            match (layout::parse_upload(&name), kind(&entry)?) {
                (_, Kind::Gone) => {}
                (Some(upload), Kind::File(size)) => listing.uploads.push((upload, size)),
                _ if layout::is_probe(&name) => {}
                _ => listing.unknown.push(format!("uploads/{name}")),
            }
        }
        for (name, _) in entries(&self.layout.blobs())? {
            let Ok(algorithm) = name.parse::<Algorithm>() else {
                listing.unknown.push(format!("blobs/{name}"));
                continue;
            };
            let names = entries(&self.layout.algorithm(algorithm))?.into_iter().map(|(name, _)| name);
            let strangers = names.filter(|name| layout::parse_shard(name).is_none());
            listing.unknown.extend(strangers.map(|stranger| format!("blobs/{name}/{stranger}")));
        }
        Ok(listing)
    }

    fn list_shard(&self, algorithm: Algorithm, shard: usize) -> Result<Listing, StoreError> {
        let mut listing = Listing { next: following(algorithm, shard), ..Listing::default() };
        let path = self.layout.algorithm(algorithm).join(layout::shard_name(shard));
        for (name, entry) in entries(&path)? {
            match (layout::parse_blob(algorithm, shard, &name), kind(&entry)?) {
                (_, Kind::Gone) => {}
                (Some(key), Kind::File(size)) => listing.blobs.push((key, size)),
                _ => listing.unknown.push(format!("blobs/{algorithm}/{}/{name}", layout::shard_name(shard))),
            }
        }
        Ok(listing)
    }
}

fn cursor(algorithm: Algorithm, shard: usize) -> String {
    format!("{algorithm}/{}", layout::shard_name(shard))
}

fn parse_cursor(cursor: &str) -> Option<(Algorithm, usize)> {
    let (algorithm, shard) = cursor.split_once('/')?;
    Some((algorithm.parse().ok()?, layout::parse_shard(shard)?))
}

fn following(algorithm: Algorithm, shard: usize) -> Option<String> {
    if shard + 1 < SHARDS {
        return Some(cursor(algorithm, shard + 1));
    }
    let next = Algorithm::ALL.into_iter().find(|other| *other > algorithm)?;
    Some(cursor(next, 0))
}

/// A directory's entries by name, sorted; none if it is not there.
fn entries(path: &Path) -> Result<Vec<(String, DirEntry)>, StoreError> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let named = |entry: DirEntry| (entry.file_name().to_string_lossy().into_owned(), entry);
    let mut entries = entries.map(|entry| entry.map(named)).collect::<Result<Vec<_>, _>>()?;
    entries.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(entries)
}

/// What a name in a directory stands for.
enum Kind {
    /// A regular file of so many bytes.
    File(u64),
    /// Anything else.
    Other,
    /// Nothing any more: it was removed while the directory was read.
    Gone,
}

fn kind(entry: &DirEntry) -> Result<Kind, StoreError> {
    match entry.metadata() {
        Ok(metadata) if metadata.is_file() => Ok(Kind::File(metadata.len())),
        Ok(_) => Ok(Kind::Other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Kind::Gone),
        Err(error) => Err(error.into()),
    }
}
