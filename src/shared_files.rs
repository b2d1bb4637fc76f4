//! Files for other programs: directories with mode 0755 and files with mode 0644, whatever the umask is. Files appear
//! complete or not at all, and an existing file is only ever replaced, never written to: other names may share it.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::clock::{Timestamp, millis};

const DIRECTORY_MODE: u32 = 0o755;
const FILE_MODE: u32 = 0o644;

/// Creates a directory and its missing parents.
pub(crate) fn create_dir(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => return Err(io::ErrorKind::NotADirectory.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        create_dir(parent)?;
    }
    DirBuilder::new().mode(DIRECTORY_MODE).create(path)?;
    fs::set_permissions(path, Permissions::from_mode(DIRECTORY_MODE))
}

/// Writes `content` to a file, or replaces the file that is there. Its directory must exist. It gets the modification
/// time `modified`, if one is given.
pub(crate) fn replace(path: &Path, content: &[u8], modified: Option<Timestamp>) -> io::Result<()> {
    let draft = draft_of(path);
    let mut file = create_draft(&draft)?;
    file.write_all(content)?;
    if let Some(modified) = modified {
        file.set_modified(to_system_time(modified))?;
    }
    fs::rename(&draft, path)
}

/// Writes `content` to a file, unless that is its content. Returns whether it was written.
pub(crate) fn write_if_different(path: &Path, content: &[u8]) -> io::Result<bool> {
    let size = content.len() as u64;
    if find_place(path, size)? == Place::Present && fs::read(path)? == content {
        return Ok(false);
    }
    replace(path, content, None).map(|()| true)
}

/// Replaces a file like [`replace`], so that after a power cut it is the old or the new one.
pub(crate) fn replace_durably(path: &Path, content: &[u8]) -> io::Result<()> {
    let draft = draft_of(path);
    let mut file = create_draft(&draft)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&draft, path)
}

/// Creates the draft of a file, and removes the one that an interrupted command left.
pub(crate) fn create_draft(draft: &Path) -> io::Result<File> {
    match fs::remove_file(draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(draft)?;
    file.set_permissions(Permissions::from_mode(FILE_MODE))?;
    Ok(file)
}

/// Returns the path at which a file is written before it is renamed to `path`.
pub(crate) fn draft_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().map_or_else(OsString::new, OsString::from);
    name.push(".orlop-draft");
    path.with_file_name(name)
}

/// Makes everything on the filesystem of `path` durable.
pub(crate) fn sync_filesystem(path: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(path)?)?)
}

/// Converts the time of a file.
pub(crate) fn to_timestamp(time: SystemTime) -> Timestamp {
    Timestamp(match time.duration_since(UNIX_EPOCH) {
        Ok(since) => millis(since),
        Err(before) => -millis(before.duration()),
    })
}

fn to_system_time(time: Timestamp) -> SystemTime {
    let span = Duration::from_millis(time.0.unsigned_abs());
    let time = if time.0 < 0 { UNIX_EPOCH.checked_sub(span) } else { UNIX_EPOCH.checked_add(span) };
    time.unwrap_or(UNIX_EPOCH)
}

/// What is at the place of a file that is about to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nothing. Its directory exists.
    Free,
    /// A file of the expected size.
    Present,
    /// Something else, which is described.
    Taken(String),
}

/// Looks whether a file of `size` bytes is at `path`, and creates its directory otherwise.
pub(crate) fn find_place(path: &Path, size: u64) -> io::Result<Place> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.is_file() => Ok(Place::Taken("is not a regular file".to_owned())),
        Ok(found) if found.len() != size => {
            Ok(Place::Taken(format!("has {} bytes, but its blob has {size}", found.len())))
        }
        Ok(_) => Ok(Place::Present),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            path.parent().map_or(Ok(()), create_dir)?;
            Ok(Place::Free)
        }
        Err(error) => Err(error),
    }
}
