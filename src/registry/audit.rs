//! Collects audit entries and writes them to the metadata store, and to a file as JSON lines. Requests only append to a
//! list in memory, in which equal entries within a minute are merged into one; a job writes the list every second.

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use serde::Serialize;

use crate::clock::{Clock, Timestamp};
use crate::metadata::{self, AuditAction, AuditOutcome, AuditTimes, Audited, Metadata, Origin, Scope};

/// The entries that were collected, and where they are written.
#[derive(Default)]
pub(super) struct Audit {
    gathered: Mutex<Gathered>,
    /// Held while entries are written, so that only one task writes.
    written: tokio::sync::Mutex<Written>,
    file: Option<Arc<Mutex<AuditFile>>>,
}

/// Entries written during the last minute, so that equal ones are added to their count.
#[derive(Default)]
struct Written(HashMap<Audited, Entry>);

struct Entry {
    id: i64,
    /// When it was first written, by the monotonic clock.
    since: Duration,
    /// The occurrences the file does not contain yet.
    not_in_file: Option<AuditTimes>,
}

type Entries = Vec<(Audited, AuditTimes)>;

impl Audit {
    pub(super) fn new(file: Option<PathBuf>) -> Self {
        let file = file.map(|path| Arc::new(Mutex::new(AuditFile::new(path))));
        Self { file, ..Self::default() }
    }

    fn gathered(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock()
    }

    /// Adds something a client did or attempted. `network` is `None` for requests from this machine.
    pub(super) fn add(&self, audited: Audited, network: Option<IpAddr>, clock: &dyn Clock) {
        self.gathered().add(audited, network, clock.now(), clock.elapsed());
    }

    /// Writes the entries collected since the last call: to the metadata store, unless that is read-only, and to the
    /// file. With `all` it also writes the entries that others could still be merged into.
    pub(super) async fn flush(
        &self,
        metadata: &Metadata,
        clock: &dyn Clock,
        read_only: bool,
        all: bool,
    ) -> metadata::Result<()> {
        let mut written = self.written.lock().await;
        let elapsed = clock.elapsed();
        let mut for_file = written.close(elapsed, all);
        let entries = self.gathered().take(clock.now());
        let recorded = if read_only {
            for_file.extend(entries);
            Ok(())
        } else {
            self.record(metadata, &mut written, entries, elapsed).await.map(|new| for_file.extend(new))
        };
        if all {
            for_file.extend(written.close(elapsed, all));
        }
        self.append_to_file(for_file).await;
        recorded
    }

    /// Writes entries to the metadata store. Returns the new ones, for the file.
    async fn record(
        &self,
        metadata: &Metadata,
        written: &mut Written,
        entries: Entries,
        elapsed: Duration,
    ) -> metadata::Result<Entries> {
        if entries.is_empty() {
            return Ok(entries);
        }
        let (new, repeated) = written.partition(entries);
        let counted =
            repeated.iter().filter_map(|(audited, times)| Some((written.0.get(audited)?.id, *times)));
        match metadata.record_audit(new.clone(), counted.collect()).await {
            Ok(ids) => {
                for (audited, times) in repeated {
                    if let Some(entry) = written.0.get_mut(&audited) {
                        entry.not_in_file =
                            Some(entry.not_in_file.map_or(times, |earlier| earlier.merge(times)));
                    }
                }
                for ((audited, _), id) in new.iter().zip(ids) {
                    written.0.insert(audited.clone(), Entry { id, since: elapsed, not_in_file: None });
                }
                Ok(new)
            }
            Err(error) => {
                self.gathered().put_back(new.into_iter().chain(repeated).collect());
                Err(error)
            }
        }
    }

    /// Appends to the file on a blocking thread. Entries that cannot be written there are missing from the file only.
    async fn append_to_file(&self, entries: Entries) {
        let Some(file) = self.file.clone().filter(|_| !entries.is_empty()) else { return };
        let append = move || file.lock().append(&entries);
        match tokio::task::spawn_blocking(append).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "writing audit.file failed"),
            Err(error) => tracing::error!(%error, "writing audit.file failed"),
        }
    }
}

impl Written {
    /// Splits `entries` into new ones and ones that were also written during the last minute.
    fn partition(&self, entries: Entries) -> (Entries, Entries) {
        entries.into_iter().partition(|(audited, _)| !self.0.contains_key(audited))
    }

    /// Removes the entries older than a minute, or all of them if `all` is set. Returns what the file lacks of them.
    fn close(&mut self, elapsed: Duration, all: bool) -> Entries {
        let is_over = |entry: &Entry| all || elapsed.saturating_sub(entry.since) >= MERGE_WINDOW;
        let closed = self.0.extract_if(|_, entry| is_over(entry));
        closed.filter_map(|(audited, entry)| entry.not_in_file.map(|times| (audited, times))).collect()
    }
}

/// Equal entries within this time are merged.
const MERGE_WINDOW: Duration = Duration::from_secs(60);

/// The maximum number of entries waiting to be written.
const MAX_WAITING: usize = 10_000;

/// The maximum number of distinct entries per minute about unsuccessful requests of one client
/// for one action.
const MAX_FAILURES_PER_CLIENT: u32 = 30;

/// The maximum number of distinct entries per minute about unsuccessful requests of all clients
/// together.
const MAX_FAILURES: u32 = 1000;

/// The entries waiting to be written.
#[derive(Default)]
struct Gathered {
    /// Each with its sequence number, which orders the entries of one moment.
    waiting: HashMap<Audited, (u64, AuditTimes)>,
    next: u64,
    lost: u64,
    /// When the current minute began, by the monotonic clock. The fields below are about its failures.
    minute: Option<Duration>,
    /// The number of distinct entries.
    distinct: u32,
    /// The number of distinct entries of each client for each action.
    distinct_by: HashMap<(IpAddr, AuditAction), u32>,
    /// The distinct entries.
    seen: HashSet<Audited>,
}

impl Gathered {
    /// Adds an entry for something done or attempted at the time `at` from a `network`; `elapsed` is the monotonic
    /// clock.
    fn add(&mut self, audited: Audited, network: Option<IpAddr>, at: Timestamp, elapsed: Duration) {
        let audited = match network {
            Some(network) if audited.outcome != AuditOutcome::Allowed => {
                match self.limited(audited, network, elapsed) {
                    Some(audited) => audited,
                    None => {
                        self.lost += 1;
                        return;
                    }
                }
            }
            _ => audited,
        };
        self.merge(audited, AuditTimes::once(at));
    }

    /// Returns the entry about a failure, or a summary of it if its client has too many. `None` if all
    /// clients together have too many.
    fn limited(&mut self, audited: Audited, network: IpAddr, elapsed: Duration) -> Option<Audited> {
        if self.minute.is_none_or(|start| elapsed.saturating_sub(start) >= MERGE_WINDOW) {
            self.minute = Some(elapsed);
            self.distinct = 0;
            self.distinct_by.clear();
            self.seen.clear();
        }
        if self.seen.contains(&audited) {
            return Some(audited);
        }
        let client = (network, audited.action);
        let of_client = self.distinct_by.get(&client).copied().unwrap_or_default();
        let audited = if of_client < MAX_FAILURES_PER_CLIENT { audited } else { summary_of(audited) };
        if self.seen.contains(&audited) {
            return Some(audited);
        }
        if self.distinct >= MAX_FAILURES {
            return None;
        }
        self.distinct_by.insert(client, of_client + 1);
        self.distinct += 1;
        self.seen.insert(audited.clone());
        Some(audited)
    }

    fn merge(&mut self, audited: Audited, times: AuditTimes) {
        if let Some((_, waiting)) = self.waiting.get_mut(&audited) {
            *waiting = waiting.merge(times);
        } else if self.waiting.len() < MAX_WAITING {
            self.next += 1;
            self.waiting.insert(audited, (self.next, times));
        } else {
            self.lost = self.lost.saturating_add(times.count);
        }
    }

    /// Takes all waiting entries in the order they were added, with an entry that counts the lost ones.
    fn take(&mut self, now: Timestamp) -> Vec<(Audited, AuditTimes)> {
        let mut taken: Vec<_> = std::mem::take(&mut self.waiting).into_iter().collect();
        taken.sort_by_key(|(_, (number, times))| (times.first, *number));
        let mut taken: Vec<_> = taken.into_iter().map(|(audited, (_, times))| (audited, times)).collect();
        let count = std::mem::take(&mut self.lost);
        if count > 0 {
            taken.push((lost(), AuditTimes { first: now, last: now, count }));
        }
        taken
    }

    /// Puts back entries that could not be written.
    fn put_back(&mut self, taken: Vec<(Audited, AuditTimes)>) {
        for (audited, times) in taken {
            if audited.action == AuditAction::EntriesLost {
                self.lost = self.lost.saturating_add(times.count);
                continue;
            }
            let later = self.waiting.remove(&audited);
            self.merge(audited, later.map_or(times, |(_, later)| times.merge(later)));
        }
    }
}

/// The entry that stands for many that differ only in their details. It names a user only if the user is authenticated.
fn summary_of(audited: Audited) -> Audited {
    let user = audited.user.filter(|_| audited.action != AuditAction::Login);
    let token = audited.token.filter(|_| audited.action != AuditAction::Login);
    Audited { user, token, scope: Scope::All, subject: None, ..audited }
}

fn lost() -> Audited {
    Audited {
        user: None,
        token: None,
        from: Origin::Registry,
        action: AuditAction::EntriesLost,
        scope: Scope::All,
        subject: None,
        outcome: AuditOutcome::Failed,
        status: None,
    }
}

/// A file that lines are appended to. It is created again if it has been moved away, as log rotation does.
struct AuditFile {
    path: PathBuf,
    open: Option<File>,
}

/// One line. `at` and `last_at` are the times of the first and last of `count` occurrences.
#[derive(Serialize)]
struct Line<'a> {
    at: String,
    last_at: String,
    count: u64,
    user: Option<&'a str>,
    token: Option<&'a str>,
    from: String,
    action: AuditAction,
    scope: &'a str,
    subject: Option<&'a str>,
    outcome: AuditOutcome,
    status: Option<u16>,
}

impl AuditFile {
    fn new(path: PathBuf) -> Self {
        Self { path, open: None }
    }

    /// Appends one line per entry.
    fn append(&mut self, entries: &[(Audited, AuditTimes)]) -> io::Result<()> {
        let mut text = Vec::new();
        for (audited, times) in entries {
            serde_json::to_writer(&mut text, &line(audited, times))?;
            text.push(b'\n');
        }
        let file = self.file()?;
        file.write_all(&text)
    }

    fn file(&mut self) -> io::Result<&mut File> {
        self.open = self.open.take().filter(|file| is_at(file, &self.path));
        if self.open.is_none() {
            self.open = Some(OpenOptions::new().append(true).create(true).mode(0o600).open(&self.path)?);
        }
        self.open.as_mut().ok_or_else(|| io::Error::other("no file"))
    }
}

/// Returns whether `file` is still the file at `path`.
fn is_at(file: &File, path: &Path) -> bool {
    let place = |found: std::fs::Metadata| (found.dev(), found.ino());
    let there = std::fs::metadata(path).map(place);
    matches!((file.metadata().map(place), there), (Ok(open), Ok(there)) if open == there)
}

fn line<'a>(audited: &'a Audited, times: &AuditTimes) -> Line<'a> {
    Line {
        at: times.first.rfc3339(),
        last_at: times.last.rfc3339(),
        count: times.count,
        user: audited.user.as_deref(),
        token: audited.token.as_deref(),
        from: audited.from.to_string(),
        action: audited.action,
        scope: audited.scope.as_str(),
        subject: audited.subject.as_deref(),
        outcome: audited.outcome,
        status: audited.status,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn failed_login(user: &str) -> Audited {
        let from = Origin::Address([192, 0, 2, 1].into());
        Audited {
            user: Some(user.into()),
            from,
            action: AuditAction::Login,
            outcome: AuditOutcome::Denied,
            status: Some(401),
            ..lost()
        }
    }

    #[expect(clippy::unnecessary_wraps, reason = "the parameter of `add` is an `Option`")]
    fn network(number: u32) -> Option<IpAddr> {
        Some(IpAddr::from(number.to_be_bytes()))
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn merges_equal_entries() {
        let mut gathered = Gathered::default();
        for time in 0..200 {
            gathered.add(failed_login("ann"), network(1), Timestamp(time), SECOND);
        }
        let times = AuditTimes { first: Timestamp(0), last: Timestamp(199), count: 200 };
        assert_eq!(gathered.take(Timestamp(200)), [(failed_login("ann"), times)]);
        assert_eq!(gathered.take(Timestamp(200)), []);
    }

    #[test]
    fn summarises_many_user_names_from_one_client() {
        let mut gathered = Gathered::default();
        for time in 0..1000 {
            gathered.add(failed_login(&time.to_string()), network(1), Timestamp(time), SECOND);
        }
        let taken = gathered.take(Timestamp(1000));
        assert_eq!(taken.len(), MAX_FAILURES_PER_CLIENT as usize + 1);
        let (rest, times) = taken.last().expect("some");
        assert_eq!((rest.user.as_deref(), times.count), (None, 1000 - u64::from(MAX_FAILURES_PER_CLIENT)));
        gathered.add(failed_login("new"), network(1), Timestamp(1001), SECOND + MERGE_WINDOW);
        assert_eq!(
            gathered.take(Timestamp(1002))[0].0,
            failed_login("new"),
            "the limit restarts after a minute"
        );
    }

    #[test]
    fn counts_failures_beyond_the_limit_of_all_clients() {
        let mut gathered = Gathered::default();
        for client in 0..5000 {
            gathered.add(failed_login(&client.to_string()), network(client), Timestamp(0), SECOND);
        }
        let taken = gathered.take(Timestamp(1));
        assert_eq!(taken.len(), MAX_FAILURES as usize + 1);
        let (last, times) = taken.last().expect("some");
        assert_eq!((last.action, times.count), (AuditAction::EntriesLost, 4000));
    }

    #[test]
    fn counts_lost_entries_when_too_many_wait() {
        let mut gathered = Gathered::default();
        let push = |number: usize| Audited {
            outcome: AuditOutcome::Allowed,
            subject: Some(number.to_string()),
            ..failed_login("ann")
        };
        for number in 0..MAX_WAITING + 7 {
            gathered.add(push(number), network(1), Timestamp(0), SECOND);
        }
        let taken = gathered.take(Timestamp(1));
        assert_eq!(taken.len(), MAX_WAITING + 1);
        assert_eq!(taken.last().map(|(_, times)| times.count), Some(7));
        gathered.add(push(0), network(1), Timestamp(2), SECOND);
        gathered.put_back(taken);
        let taken = gathered.take(Timestamp(3));
        assert_eq!(taken.len(), MAX_WAITING + 1);
        let of_first = taken.iter().find(|(audited, _)| *audited == push(0)).expect("kept");
        assert_eq!(of_first.1, AuditTimes { first: Timestamp(0), last: Timestamp(2), count: 2 });
    }

    #[test]
    fn creates_the_file_again_after_it_was_moved() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("audit.jsonl");
        let moved = dir.path().join("audit.jsonl.1");
        let mut file = AuditFile::new(path.clone());
        let audited = Audited {
            user: Some("ann".into()),
            token: None,
            from: Origin::LocalAdmin,
            action: AuditAction::TagDelete,
            scope: Scope::Below("team/".into()),
            subject: Some("v1\"\n".into()),
            outcome: AuditOutcome::Allowed,
            status: Some(204),
        };
        let entries = [(audited, AuditTimes::once(Timestamp(0)))];
        file.append(&entries).expect("written");
        file.append(&entries).expect("written");
        fs::rename(&path, &moved).expect("moved");
        file.append(&entries).expect("written");
        let lines =
            |path| fs::read_to_string(path).expect("there").lines().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!((lines(&moved).len(), lines(&path).len()), (2, 1));
        let line = r#"{"at":"1970-01-01T00:00:00Z","last_at":"1970-01-01T00:00:00Z","count":1,"user":"ann","token":null,"from":"admin-socket","action":"tag-delete","scope":"team/","subject":"v1\"\n","outcome":"allowed","status":204}"#;
        assert_eq!(lines(&path), [line]);
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    }
}
