//! The write-ahead log as a file: whether it is there, which pages it holds, and folding it into the database.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

/// The length of the log's header. A shorter log holds nothing.
const LOG_HEADER: u64 = 32;

/// The length of a frame's header; a page follows it.
const FRAME_HEADER: usize = 24;

/// The part of the database's first page that describes the file.
const DATABASE_HEADER: usize = 100;

/// Where the page lies that SQLite locks and never writes.
const LOCK_BYTE: u64 = 1 << 30;

/// How long folding the log waits for another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// The path of the log of the database at `path`.
pub(super) fn path_of(path: &Path) -> PathBuf {
    super::open::beside(path, "-wal")
}

/// Whether the database at `path` has a log that can hold a change.
pub(super) fn has_log(path: &Path) -> bool {
    fs::metadata(path_of(path)).is_ok_and(|log| log.len() > LOG_HEADER)
}

/// Moves every change from the log into the database at `path`, and leaves the log in its place. Returns whether
/// the database is complete without its log now: another process that reads it can prevent that.
pub(super) fn fold(path: &Path) -> rusqlite::Result<bool> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    keep_at_close(&connection)?;
    let (busy, logged, folded) = connection.query_row("PRAGMA wal_checkpoint(FULL)", [], |row| {
        Ok((row.get::<_, bool>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
    })?;
    Ok(!busy && logged == folded)
}

/// Makes closing `connection` leave the log in its place, as a killed process does.
pub(super) fn keep_at_close(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map(drop)
}

/// Whether pages are missing from the end of the database at `path` that its log does not hold either. SQLite
/// checks that only where there is no log.
///
/// # Errors
/// What reading the files says; a header that is cut off counts as truncated.
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
    // SQLite trusts the number of pages in the header only where these two counters agree.
    let counted = header[24..28] == header[92..96];
    let in_header = if counted { number(&header, 28) } else { 0 };
    let log = Log::read(&path_of(path), page_size)?;
    let pages = u64::from(log.database_pages.unwrap_or(in_header));
    let whole = file.metadata()?.len() / page_size;
    let lock_page = LOCK_BYTE / page_size + 1;
    Ok((whole + 1..=pages).any(|page| page != lock_page && !log.pages.contains(&page)))
}

/// What the frames of a log say.
#[derive(Default)]
struct Log {
    /// The pages that it holds.
    pages: HashSet<u64>,
    /// The size of the database after the last change, in pages.
    database_pages: Option<u32>,
}

impl Log {
    /// Reads the headers of the frames that belong to the log at `path`; what an earlier round left behind them
    /// has another salt. No log is an empty one.
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
            log.pages.insert(u64::from(number(&frame, 0)));
            // Only the last frame of a change has it.
            let size = number(&frame, 4);
            if size > 0 {
                log.database_pages = Some(size);
            }
        }
        Ok(log)
    }
}

fn number(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}
