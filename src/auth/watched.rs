//! A file of users that is read again when it changes.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::htpasswd::Users;
use crate::clock::Clock;
use crate::file_state::FileState;
use crate::text_file;

/// How often the file is looked at, when somebody comes.
const EVERY: Duration = Duration::from_secs(1);

/// A file's users as they are now.
pub struct WatchedUsers {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    seen: Mutex<Seen>,
}

struct Seen {
    at: Duration,
    state: FileState,
    users: Arc<Users>,
}

impl WatchedUsers {
    /// Reads `path` for the first time.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn open(path: &Path, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let state = FileState::there(path)?;
        let users = read(path)?;
        let seen = Seen { at: clock.elapsed(), state, users: Arc::new(users) };
        Ok(Self { path: path.to_owned(), clock, seen: Mutex::new(seen) })
    }

    /// The names of its users.
    pub fn names(&self) -> Vec<String> {
        self.current().names().map(str::to_owned).collect()
    }

    /// The users. A file that cannot be read leaves those that were: nobody is locked out, or let in, by a slip.
    pub(super) fn current(&self) -> Arc<Users> {
        let now = self.clock.elapsed();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_sub(seen.at) >= EVERY {
            seen.at = now;
            let state = FileState::of(&self.path);
            if state != seen.state {
                seen.state = state;
                match read(&self.path) {
                    Ok(users) => seen.users = Arc::new(users),
                    Err(error) => {
                        tracing::error!(path = %self.path.display(), %error, "the users stay as they were")
                    }
                }
            }
        }
        Arc::clone(&seen.users)
    }
}

fn read(path: &Path) -> io::Result<Users> {
    let (users, left_out) = Users::parse(&text_file::read(path)?);
    for why in left_out {
        tracing::warn!(path = %path.display(), "no user: {why}");
    }
    tracing::info!(path = %path.display(), users = users.len(), "users were read");
    Ok(users)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::clock::{ManualClock, Timestamp};

    #[test]
    fn a_byte_order_mark_costs_no_user() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("users");
        let hash = bcrypt::hash("x", 4).expect("hashed");
        fs::write(&path, format!("\u{feff}ann:{hash}\r\nbob:{hash}\r\n")).expect("written");
        let watched = WatchedUsers::open(&path, Arc::new(ManualClock::at(Timestamp(0)))).expect("opened");
        let users = watched.current();
        assert!(users.hash("ann").is_some() && users.hash("bob").is_some());
        fs::write(&path, "\u{feff}").expect("written");
        assert_eq!(read(&path).expect("read").len(), 0);
    }

    #[test]
    fn a_file_is_read_again_when_it_changes_and_kept_when_it_goes() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("users");
        let line = |name: &str| format!("{name}:{}\n", bcrypt::hash("x", 4).expect("hashed"));
        fs::write(&path, line("ann")).expect("written");
        let clock = Arc::new(ManualClock::at(Timestamp(0)));
        let watched = WatchedUsers::open(&path, clock.clone()).expect("opened");
        let names = || {
            clock.advance(EVERY);
            let users = watched.current();
            (users.hash("ann").is_some(), users.hash("bob").is_some())
        };
        assert_eq!(names(), (true, false));
        let other = dir.path().join("other");
        fs::write(&other, line("bob")).expect("written");
        fs::rename(&other, &path).expect("swapped");
        assert_eq!(names(), (false, true));
        fs::remove_file(&path).expect("removed");
        assert_eq!(names(), (false, true));
        fs::write(&path, line("ann")).expect("written");
        assert_eq!(names(), (true, false));
    }
}
