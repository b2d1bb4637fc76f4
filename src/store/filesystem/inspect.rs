//! Reading without leaving a trace in the page cache.
//!
//! Read directly from the disk, bytes show what is really there: those in the cache may be sound still when
//! the disk is not. A filesystem that cannot do that is read through the cache, and what was not cached
//! before is given up again, so that the pages of a layer that is pulled all day are not driven out by those
//! of one that nobody wants.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use bytes::Bytes;
use rustix::fs::{Advice, OFlags, fadvise, fcntl_setfl};

use super::Tree;
use super::read::within;
use super::stream::{read_cached, too_short};
use crate::oci::BlobKey;
use crate::store::buffers::ALIGNMENT;
use crate::store::{Buffers, StoreError};

impl Tree {
    /// See [`crate::store::BlobStore::inspect`]. Blocks.
    pub(super) fn inspect(&self, key: &BlobKey, size: u64, range: Range<u64>) -> Result<Bytes, StoreError> {
        within(&range, size)?;
        let file = self.open_blob(key, size)?;
        if let Some(bytes) = read_direct(&file, &range)? {
            return Ok(bytes);
        }
        read_through(&file, &range)
    }
}

/// Reads past the cache; `None` where the filesystem does not let itself be read so.
fn read_direct(file: &File, range: &Range<u64>) -> Result<Option<Bytes>, StoreError> {
    if fcntl_setfl(file, OFlags::DIRECT).is_err() {
        return Ok(None);
    }
    let before = range.start % ALIGNMENT as u64;
    let (from, head) = (range.start - before, length(before));
    let wanted = head + length(range.end - range.start);
    let mut buffer = Buffers::new(wanted.next_multiple_of(ALIGNMENT), 0).take();
    let mut filled = 0;
    while filled < wanted {
        match file.read_at(&mut buffer.space()[filled..], from + filled as u64) {
            Ok(0) => return Err(too_short(from + filled as u64)),
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // It wants larger blocks, or gave a part of one.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                fcntl_setfl(file, OFlags::empty()).map_err(io::Error::from)?;
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Some(buffer.into_bytes(wanted).slice(head..)))
}

/// Reads through the cache, and lets go of what was not there before.
fn read_through(file: &File, range: &Range<u64>) -> Result<Bytes, StoreError> {
    // No reading ahead: what it brings in would pass for cached before.
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

    /// A file that is not in the cache, as far as files are ever anywhere else. Asking whether one is cached
    /// brings it there: so a file is asked about once, at the end.
    fn cold(dir: &tempfile::TempDir, name: &str) -> File {
        let path = dir.path().join(name);
        std::fs::write(&path, pattern(LEN, 1)).expect("written");
        let file = File::open(&path).expect("opened");
        file.sync_all().expect("synced");
        fadvise(&file, 0, None, Advice::DontNeed).expect("advised");
        file
    }

    #[test]
    fn both_ways_read_what_is_there() {
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
    fn what_was_cold_stays_cold_and_what_was_hot_stays_hot() {
        let dir = tempfile::tempdir().expect("a directory");
        if is_cached(&cold(&dir, "probe")) {
            // In memory alone, say.
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
        assert!(is_cached(&hot), "it was wanted before");
    }

    #[test]
    fn a_file_that_shrank_is_damaged() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("file");
        std::fs::write(&path, b"short").expect("written");
        let file = File::open(&path).expect("opened");
        assert!(matches!(read_through(&file, &(0..10)), Err(StoreError::Damaged(_))));
        assert!(!matches!(read_direct(&file, &(0..10)), Ok(Some(_))));
    }
}
