//! A file of user names and password hashes, as `htpasswd -B` writes it, that is read again when it changes.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::Clock;
use crate::file_state::FileState;
use crate::text_file;

/// The minimum time between two checks of the file for changes. It is checked when its users are needed.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The users of a file: the bcrypt hashes of their passwords, by name.
pub(super) type Users = HashMap<String, String>;

/// Parses the text of a file. Skips invalid lines, whose users can't log in, and returns an error for each.
fn parse(text: &str) -> (Users, Vec<String>) {
    let mut users = Users::new();
    let mut skipped = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match parse_line(line) {
            Ok((name, hash)) => {
                users.insert(name.to_owned(), hash.to_owned());
            }
            Err(why) => skipped.push(format!("line {}: {why}", number + 1)),
        }
    }
    (users, skipped)
}

fn parse_line(line: &str) -> Result<(&str, &str), &'static str> {
    let (name, hash) = line.split_once(':').ok_or("no colon between user name and password")?;
    if name.is_empty() {
        return Err("empty user name");
    }
    if !hash.starts_with("$2") || hash.parse::<bcrypt::HashParts>().is_err() {
        return Err("not a bcrypt hash; create it with htpasswd -B");
    }
    Ok((name, hash))
}

/// The current users of an htpasswd file.
pub struct HtpasswdFile {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    loaded: Mutex<Loaded>,
}

struct Loaded {
    checked_at: Duration,
    state: FileState,
    users: Arc<Users>,
}

impl HtpasswdFile {
    /// Reads the file for the first time.
    ///
    /// # Errors
    /// Fails if the file can't be read.
    pub fn open(path: &Path, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let state = FileState::read(path)?;
        let users = read(path)?;
        let loaded = Loaded { checked_at: clock.elapsed(), state, users: Arc::new(users) };
        Ok(Self { path: path.to_owned(), clock, loaded: Mutex::new(loaded) })
    }

    /// The names of the users.
    pub fn names(&self) -> Vec<String> {
        self.current().keys().cloned().collect()
    }

    /// The users. If the file can't be read, the last users stay in effect, so that a mistake locks no user out.
    pub(super) fn current(&self) -> Arc<Users> {
        let now = self.clock.elapsed();
        let mut loaded = self.loaded.lock();
        if now.saturating_sub(loaded.checked_at) >= CHECK_INTERVAL {
            loaded.checked_at = now;
            let state = FileState::of(&self.path);
            if state != loaded.state {
                loaded.state = state;
                match read(&self.path) {
                    Ok(users) => loaded.users = Arc::new(users),
                    Err(error) => {
                        let path = self.path.display();
                        tracing::error!(%path, %error, "failed to read the htpasswd file; keeping its last users");
                    }
                }
            }
        }
        Arc::clone(&loaded.users)
    }
}

fn read(path: &Path) -> io::Result<Users> {
    let (users, skipped) = parse(&text_file::read(path)?);
    for error in skipped {
        tracing::warn!(path = %path.display(), error, "skipped an invalid line of the htpasswd file");
    }
    tracing::info!(path = %path.display(), users = users.len(), "htpasswd file read");
    Ok(users)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::clock::{ManualClock, Timestamp};

    #[test]
    fn skips_and_reports_invalid_lines() {
        let hash = bcrypt::hash("secret", 4).expect("hashed");
        let text = format!(
            "# people\nann:{hash}\n\n  bob:{hash}  \nmd5:$apr1$x$y\nplain:secret\n:{hash}\nnobody\nbad:$2y$10$x"
        );
        let (users, skipped) = parse(&text);
        assert_eq!(users.len(), 2);
        assert_eq!(users.get("ann"), Some(&hash));
        assert_eq!(users.get("bob"), Some(&hash));
        assert_eq!(users.get("md5"), None);
        let lines: Vec<_> = skipped.iter().map(|line| line.split(':').next().expect("a line")).collect();
        assert_eq!(lines, ["line 5", "line 6", "line 7", "line 8", "line 9"]);
        assert!(!skipped.concat().contains("secret"), "errors contain no secret");
    }

    #[test]
    fn ignores_byte_order_mark() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("users");
        let hash = bcrypt::hash("x", 4).expect("hashed");
        fs::write(&path, format!("\u{feff}ann:{hash}\r\nbob:{hash}\r\n")).expect("written");
        let watched = HtpasswdFile::open(&path, Arc::new(ManualClock::at(Timestamp(0)))).expect("opened");
        let users = watched.current();
        assert!(users.contains_key("ann") && users.contains_key("bob"));
        fs::write(&path, "\u{feff}").expect("written");
        assert_eq!(read(&path).expect("read").len(), 0);
    }

    #[test]
    fn reloads_changed_file_and_keeps_users_of_removed_one() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("users");
        let line = |name: &str| format!("{name}:{}\n", bcrypt::hash("x", 4).expect("hashed"));
        fs::write(&path, line("ann")).expect("written");
        let clock = Arc::new(ManualClock::at(Timestamp(0)));
        let watched = HtpasswdFile::open(&path, clock.clone()).expect("opened");
        let names = || {
            clock.advance(CHECK_INTERVAL);
            let users = watched.current();
            (users.contains_key("ann"), users.contains_key("bob"))
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
