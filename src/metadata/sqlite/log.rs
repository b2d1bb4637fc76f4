//! The file of the write-ahead log: finds out whether it exists and which pages it holds, and checkpoints it into the
//! database.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

/// Length of the log's header. A log that is not longer holds nothing.
const LOG_HEADER: u64 = 32;

/// Length of a frame's header; a page follows it.
const FRAME_HEADER: usize = 24;

/// Length of the header in the database's first page that describes the file.
const DATABASE_HEADER: usize = 100;

/// Offset of the page that SQLite uses for locks and never writes.
const LOCK_BYTE: u64 = 1 << 30;

/// How long a checkpoint waits for another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Path of a file next to the database at `path`.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Path of the log of the database at `path`.
pub(super) fn path_of(path: &Path) -> PathBuf {
    beside(path, "-wal")
}

/// Whether the database at `path` has a log that can hold a change.
pub(super) fn has_log(path: &Path) -> bool {
    fs::metadata(path_of(path)).is_ok_and(|log| log.len() > LOG_HEADER)
}

/// Moves every change from the log into the database at `path` and leaves the log file in place. Returns whether the
/// database is now complete without its log: another process that reads it can prevent that.
pub(super) fn checkpoint(path: &Path) -> rusqlite::Result<bool> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    keep_at_close(&connection)?;
    let (busy, logged, checkpointed) = connection.query_row("PRAGMA wal_checkpoint(FULL)", [], |row| {
        Ok((row.get::<_, bool>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
    })?;
    Ok(!busy && logged == checkpointed)
}

/// Makes closing `connection` leave the log file in place, as if the process had been killed.
pub(super) fn keep_at_close(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map(drop)
}

/// Whether the end of the database at `path` misses pages that its log does not hold either. A cut-off header counts as
/// truncated. SQLite checks this only if there is no log.
///
/// # Errors
/// Fails if the files can't be read.
pub(super) fn is_truncated(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let mut header = [0; DATABASE_HEADER];
    match file.read_exact(&mut header) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(true),
        read => read?,
    }
    let page_size = match u16::from_be_bytes([header[16], header[17]]) {
        1 => 1 << 16,
        size => u64::from(size),
    };
    if page_size < 512 {
        return Ok(true);
    }
    // SQLite trusts the number of pages in the header only if these two counters agree.
    let has_page_count = header[24..28] == header[92..96];
    let in_header = if has_page_count { read_u32(&header, 28) } else { 0 };
    let log = Log::read(&path_of(path), page_size)?;
    let pages = u64::from(log.database_pages.unwrap_or(in_header));
    let complete_pages = file.metadata()?.len() / page_size;
    let lock_page = LOCK_BYTE / page_size + 1;
    Ok((complete_pages + 1..=pages).any(|page| page != lock_page && !log.pages.contains(&page)))
}

/// Contents of a log, read from its frames.
#[derive(Default)]
struct Log {
    /// Numbers of the pages in the log.
    pages: HashSet<u64>,
    /// Size of the database after the last change, in pages.
    database_pages: Option<u32>,
}

impl Log {
    /// Reads the headers of the frames in the log at `path`. Frames left over from an earlier round have another salt
    /// and are ignored. A missing log counts as empty.
    fn read(path: &Path, page_size: u64) -> io::Result<Self> {
        let mut log = Self::default();
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(log),
            opened => opened?,
        };
        let frames = file.metadata()?.len().saturating_sub(LOG_HEADER) / (FRAME_HEADER as u64 + page_size);
        let mut file = BufReader::with_capacity(LOG_HEADER as usize, file);
        let mut header = [0; LOG_HEADER as usize];
        if frames == 0 {
            return Ok(log);
        }
        file.read_exact(&mut header)?;
        let mut frame = [0; FRAME_HEADER];
        for index in 0..frames {
            file.seek(SeekFrom::Start(LOG_HEADER + index * (FRAME_HEADER as u64 + page_size)))?;
            file.read_exact(&mut frame)?;
            if frame[8..16] != header[16..24] {
                break;
            }
            log.pages.insert(u64::from(read_u32(&frame, 0)));
            // Only the last frame of a change has the size.
            let size = read_u32(&frame, 4);
            if size > 0 {
                log.database_pages = Some(size);
            }
        }
        Ok(log)
    }
}

fn read_u32(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}
