//! Lists the content of the store: uploads on the first page, then one blob directory per page.

use std::fs::{self, DirEntry};
use std::io;
use std::path::Path;

use super::tree::Tree;
use crate::oci::Algorithm;
use crate::store::layout::{self, SHARDS};
use crate::store::{Listing, StoreError};

impl Tree {
    pub(super) fn list(&self, from: Option<&str>) -> Result<Listing, StoreError> {
        // An unmounted store must not look like one that has lost everything.
        self.identity.verify(&self.layout)?;
        let Some(from) = from else {
            return self.list_top();
        };
        let (algorithm, shard) = parse_cursor(from).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("{from:?} is not the start of a page"))
        })?;
        self.list_shard(algorithm, shard)
    }

    /// Lists the uploads, and unknown names between the root and the blobs.
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
            let unknown = names.filter(|name| layout::parse_shard(name).is_none());
            listing.unknown.extend(unknown.map(|unknown| format!("blobs/{name}/{unknown}")));
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

/// Returns the entries of a directory sorted by name; none if the directory does not exist.
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

/// The kind of a directory entry.
enum Kind {
    /// A regular file with this size in bytes.
    File(u64),
    /// Anything else.
    Other,
    /// It was removed while the directory was read.
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
