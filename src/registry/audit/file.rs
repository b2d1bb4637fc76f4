//! Writes audit entries to a file as JSON lines.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::metadata::{AuditAction, AuditOutcome, AuditTimes, Audited};

/// A file that lines are appended to. It is created again if it has been moved away, as log rotation does.
pub(super) struct AuditFile {
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
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, open: None }
    }

    /// Appends one line per entry.
    pub(super) fn append(&mut self, entries: &[(Audited, AuditTimes)]) -> io::Result<()> {
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
    use crate::clock::Timestamp;
    use crate::metadata::{Origin, Scope};

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
