//! Reads blobs without affecting the page cache, to verify them.
//!
//! Bytes read directly from the disk show the state of the disk; cached bytes may be sound although the disk is not. If
//! a filesystem does not support direct reads, bytes are read through the cache, and pages that were not cached before
//! are evicted again. So verifying rarely pulled layers does not evict the pages of layers that are pulled all day.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use bytes::Bytes;
use rustix::fs::{Advice, OFlags, fadvise, fcntl_setfl};

use super::read::check_range;
use super::tree::Tree;
use crate::oci::BlobKey;
use crate::store::buffers::ALIGNMENT;
use crate::store::file_stream::{read_cached, too_short};
use crate::store::{Buffers, StoreError};

impl Tree {
    /// Implements [`crate::store::BlobStore::inspect`]. Blocks.
    pub(super) fn inspect(&self, key: &BlobKey, size: u64, range: Range<u64>) -> Result<Bytes, StoreError> {
        check_range(&range, size)?;
        let file = self.open_blob(key, size)?;
        if let Some(bytes) = read_direct(&file, &range)? {
            return Ok(bytes);
        }
        read_through(&file, &range)
    }
}

/// Reads around the cache; `None` if the filesystem does not support it.
fn read_direct(file: &File, range: &Range<u64>) -> Result<Option<Bytes>, StoreError> {
    if fcntl_setfl(file, OFlags::DIRECT).is_err() {
        return Ok(None);
    }
    let before = range.start % ALIGNMENT as u64;
    let from = range.start - before;
    let head = length(before);
    let needed = head + length(range.end - range.start);
    let mut buffer = Buffers::new(needed.next_multiple_of(ALIGNMENT), 0).take();
    let mut filled = 0;
    while filled < needed {
        match file.read_at(&mut buffer.space()[filled..], from + filled as u64) {
            Ok(0) => return Err(too_short(from + filled as u64)),
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // The filesystem needs larger blocks, or returned part of one.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                fcntl_setfl(file, OFlags::empty()).map_err(io::Error::from)?;
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Some(buffer.into_bytes(needed).slice(head..)))
}

/// Reads through the cache, and evicts the pages that were not cached before.
fn read_through(file: &File, range: &Range<u64>) -> Result<Bytes, StoreError> {
    // No read-ahead: pages it reads would be mistaken for pages cached before.
    let _ = fadvise(file, 0, None, Advice::Random);
    let mut buffer = vec![0; length(range.end - range.start)];
    let cached = read_cached(file, &mut buffer, range.start).unwrap_or(0);
    if cached < buffer.len() {
        let from = range.start + cached as u64;
        let read = file.read_exact_at(&mut buffer[cached..], from);
        let _ = fadvise(file, from, std::num::NonZero::new(range.end - from), Advice::DontNeed);
        read.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => too_short(range.end),
            _ => error.into(),
        })?;
    }
    Ok(buffer.into())
}

fn length(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::suite::pattern;

    const LEN: usize = 1_000_003;

    fn is_cached(file: &File) -> bool {
        read_cached(file, &mut [0; 1], LEN as u64 / 2).is_some()
    }

    /// Creates a file that is not in the cache, where the filesystem has another place for it. Checking whether a file
    /// is cached puts it in the cache, so each file is checked once, at the end.
    fn cold(dir: &tempfile::TempDir, name: &str) -> File {
        let path = dir.path().join(name);
        std::fs::write(&path, pattern(LEN, 1)).expect("written");
        let file = File::open(&path).expect("opened");
        file.sync_all().expect("synced");
        fadvise(&file, 0, None, Advice::DontNeed).expect("advised");
        file
    }

    #[test]
    fn direct_and_cached_reads_return_the_content() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("file");
        let content = pattern(LEN, 3);
        std::fs::write(&path, &content).expect("written");
        for range in [0..LEN, 0..1, 4095..4097, 5..LEN - 5, LEN - 1..LEN, 7..7, 8192..12_288] {
            let expected = &content[range.clone()];
            let range = range.start as u64..range.end as u64;
            let file = File::open(&path).expect("opened");
            if let Some(read) = read_direct(&file, &range).expect("read") {
                assert!(read == expected, "{range:?}");
            }
            let file = File::open(&path).expect("opened");
            assert!(read_through(&file, &range).expect("read") == expected, "{range:?}");
        }
    }

    #[test]
    fn inspecting_changes_neither_cached_nor_uncached_files() {
        let dir = tempfile::tempdir().expect("a directory");
        if is_cached(&cold(&dir, "probe")) {
            // A filesystem in memory, for example.
            return;
        }
        let whole = 0..LEN as u64;
        let through = cold(&dir, "through");
        read_through(&through, &whole).expect("read");
        assert!(!is_cached(&through), "read through the cache");
        let direct = cold(&dir, "direct");
        if read_direct(&direct, &whole).expect("read").is_some() {
            let direct = File::open(dir.path().join("direct")).expect("opened");
            assert!(!is_cached(&direct), "read directly");
        }
        let hot = cold(&dir, "hot");
        std::fs::read(dir.path().join("hot")).expect("read");
        read_through(&hot, &whole).expect("read");
        read_direct(&File::open(dir.path().join("hot")).expect("opened"), &whole).expect("read");
        assert!(is_cached(&hot), "a cached file stays cached");
    }

    #[test]
    fn a_file_that_is_too_short_is_damaged() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("file");
        std::fs::write(&path, b"short").expect("written");
        let file = File::open(&path).expect("opened");
        assert!(matches!(read_through(&file, &(0..10)), Err(StoreError::Damaged(_))));
        assert!(!matches!(read_direct(&file, &(0..10)), Ok(Some(_))));
    }
}
