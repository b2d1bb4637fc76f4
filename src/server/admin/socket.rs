//! The admin socket's file in the data directory, for paths of any length.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, fchmod};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};

use crate::store::durable;

const NAME: &str = "admin.sock";

/// Maximum length of a socket address, without its terminating zero.
const MAX_ADDRESS_LEN: usize = 107;

/// Returns a path to the socket short enough for an address, and a file that must stay open while the path is used.
fn address(data: &Path) -> io::Result<(PathBuf, Option<File>)> {
    let path = data.join(NAME);
    if path.as_os_str().len() <= MAX_ADDRESS_LEN {
        return Ok((path, None));
    }
    let dir = File::open(data)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}/{NAME}", dir.as_raw_fd()));
    Ok((path, Some(dir)))
}

/// Listens in `data`. The caller must hold its lock, so an existing socket belongs to a dead server.
///
/// # Errors
/// Fails if the filesystem has no sockets or is read-only.
pub fn bind(data: &Path) -> io::Result<tokio::net::UnixListener> {
    let (path, _dir) = address(data)?;
    durable::remove(&path)?;
    let socket = new_socket()?;
    // Before `bind` gives it a name, so that others can never open it.
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(&path)?)?;
    rustix::net::listen(&socket, 16)?;
    tokio::net::UnixListener::from_std(UnixListener::from(socket))
}

/// Removes the socket of a server that is stopping and still holds the lock.
pub fn remove(data: &Path) {
    // A socket that remains is recognised as dead and replaced.
    let _ = fs::remove_file(data.join(NAME));
}

fn new_socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?)
}

/// Connects to the server that uses `data`. Returns `None` if there is none.
///
/// # Errors
/// Fails if there may be a server, but it cannot be reached, usually for lack of permissions.
pub fn connect(data: &Path) -> io::Result<Option<tokio::net::UnixStream>> {
    use io::ErrorKind::{ConnectionRefused, NotADirectory, NotFound};
    let connected = address(data).and_then(|(path, _dir)| UnixStream::connect(path));
    match connected {
        Ok(stream) => {
            stream.set_nonblocking(true)?;
            tokio::net::UnixStream::from_std(stream).map(Some)
        }
        Err(error) if matches!(error.kind(), ConnectionRefused | NotFound | NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{FileTypeExt, PermissionsExt};

    #[tokio::test]
    async fn works_with_long_paths() {
        let dir = tempfile::tempdir().expect("a directory");
        let data = dir.path().join("d".repeat(200));
        fs::create_dir(&data).expect("made");
        assert!(connect(&data).expect("no server").is_none());
        let listener = bind(&data).expect("bound");
        let found = fs::metadata(data.join(NAME)).expect("there");
        assert!(found.file_type().is_socket());
        assert_eq!(found.permissions().mode() & 0o777, 0o600);
        assert!(connect(&data).expect("reached").is_some());
        drop(listener);
        assert!(connect(&data).expect("the server has stopped").is_none());
        bind(&data).expect("replaces the dead server's socket");
    }
}
