//! A socket in the data directory, however long the way there is.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, fchmod};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};

const NAME: &str = "admin.sock";

/// What a socket's address can hold, with the zero at its end.
const LONGEST: usize = 107;

/// A path to the socket that is short enough to be an address, and what must stay open meanwhile.
fn address(data: &Path) -> io::Result<(PathBuf, Option<File>)> {
    let path = data.join(NAME);
    if path.as_os_str().len() <= LONGEST {
        return Ok((path, None));
    }
    let dir = File::open(data)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}/{NAME}", dir.as_raw_fd()));
    Ok((path, Some(dir)))
}

/// Listens in `data`, whose lock the caller has: what is there is a dead server's.
///
/// # Errors
/// When the filesystem has no sockets, or is read-only.
pub fn bind(data: &Path) -> io::Result<tokio::net::UnixListener> {
    let (path, _dir) = address(data)?;
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = new_socket()?;
    // Before it has a name: so there is no moment in which others may open it.
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(&path)?)?;
    rustix::net::listen(&socket, 16)?;
    tokio::net::UnixListener::from_std(UnixListener::from(socket))
}

/// Removes the socket of a server that has ended, which still has the lock.
pub fn remove(data: &Path) {
    // One that stays is found dead, and replaced.
    let _ = fs::remove_file(data.join(NAME));
}

fn new_socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?)
}

/// Connects to the server that has `data`. `None` if there is none.
///
/// # Errors
/// When there may be one, but it can't be reached: for want of rights, most likely.
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
    async fn a_long_way_is_no_obstacle() {
        let dir = tempfile::tempdir().expect("a directory");
        let data = dir.path().join("d".repeat(200));
        fs::create_dir(&data).expect("made");
        assert!(connect(&data).expect("nobody is there").is_none());
        let listener = bind(&data).expect("bound");
        let found = fs::metadata(data.join(NAME)).expect("there");
        assert!(found.file_type().is_socket());
        assert_eq!(found.permissions().mode() & 0o777, 0o600);
        assert!(connect(&data).expect("reached").is_some());
        drop(listener);
        assert!(connect(&data).expect("nobody is there any more").is_none());
        bind(&data).expect("the dead one's is replaced");
    }
}
