//! A file of users that is read again when it changes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::htpasswd::Users;
use crate::clock::Clock;
use crate::file_state::FileState;

/// How often the file is looked at, when somebody comes.
const EVERY: Duration = Duration::from_secs(1);

/// A file's users as they are now.
pub(super) struct WatchedUsers {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    seen: Mutex<Seen>,
}

struct Seen {
    at: Duration,
    state: FileState,
    users: Arc<Users>,
    /// How often it was read.
    reading: u64,
}

impl WatchedUsers {
    /// Reads `path` for the first time.
    pub(super) fn open(path: &Path, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let state = FileState::there(path)?;
        let users = read(path)?;
        let seen = Seen { at: clock.elapsed(), state, users: Arc::new(users), reading: 0 };
        Ok(Self { path: path.to_owned(), clock, seen: Mutex::new(seen) })
    }

    /// The users, and a number that is another one when they may be others. A file that cannot be read leaves
    /// those that were: nobody is locked out, or let in, by a slip.
    pub(super) fn current(&self) -> (Arc<Users>, u64) {
        let now = self.clock.elapsed();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_sub(seen.at) >= EVERY {
            seen.at = now;
            let state = FileState::of(&self.path);
            if state != seen.state {
                seen.state = state;
                match read(&self.path) {
                    Ok(users) => {
                        seen.users = Arc::new(users);
                        seen.reading += 1;
                    }
                    Err(error) => {
                        tracing::error!(path = %self.path.display(), %error, "the users stay as they were")
                    }
                }
            }
        }
        (Arc::clone(&seen.users), seen.reading)
    }
}

fn read(path: &Path) -> io::Result<Users> {
    let (users, left_out) = Users::parse(&fs::read_to_string(path)?);
    for why in left_out {
        tracing::warn!(path = %path.display(), "no user: {why}");
    }
    tracing::info!(path = %path.display(), users = users.len(), "users were read");
    Ok(users)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{ManualClock, Timestamp};

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
            let (users, reading) = watched.current();
            (users.hash("ann").is_some(), users.hash("bob").is_some(), reading)
        };
        assert_eq!(names(), (true, false, 0));
        let other = dir.path().join("other");
        fs::write(&other, line("bob")).expect("written");
        fs::rename(&other, &path).expect("swapped");
        assert_eq!(names(), (false, true, 1));
        fs::remove_file(&path).expect("removed");
        assert_eq!(names(), (false, true, 1));
        fs::write(&path, line("ann")).expect("written");
        assert_eq!(names(), (true, false, 2));
    }
}
