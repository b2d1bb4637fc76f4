//! Escapes log lines, so that untrusted field values cannot control a terminal.

use std::borrow::Cow;
use std::io::{self, Write};

use crate::printable::{escape, is_unprintable};

/// Prefix of continuation lines of an entry, so that a line break in a field cannot forge an entry.
const INDENT: &str = "\n    ";

/// Terminal styles that `tracing_subscriber` uses: none, bold, dim, italic, and the levels' colours.
const STYLES: [&str; 9] = ["0m", "1m", "2m", "3m", "31m", "32m", "33m", "34m", "35m"];

/// A writer of single log entries that escapes terminal control characters.
pub(super) struct Plain<W> {
    inner: W,
    plain: fn(&str) -> Cow<'_, str>,
}

impl<W: Write> Plain<W> {
    /// Writes entries to `inner`, escaped by `plain`: [`text`], [`coloured`] or
    /// [`escape_json`](crate::printable::escape_json).
    pub(super) fn new(inner: W, plain: fn(&str) -> Cow<'_, str>) -> Self {
        Self { inner, plain }
    }
}

impl<W: Write> Write for Plain<W> {
    fn write(&mut self, entry: &[u8]) -> io::Result<usize> {
        let is_plain = |byte: &u8| matches!(byte, b' '..=b'~');
        if entry.strip_suffix(b"\n").unwrap_or(entry).iter().all(is_plain) {
            return self.inner.write(entry);
        }
        self.inner.write_all((self.plain)(&String::from_utf8_lossy(entry)).as_bytes())?;
        Ok(entry.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// For text: escapes all unprintable characters.
pub(super) fn text(entry: &str) -> Cow<'_, str> {
    by_line(entry, |line| escape(line).into_owned())
}

/// For text with colours, for a terminal: escapes all unprintable characters except the log's own styles. Fields may
/// contain these too: they hide nothing.
pub(super) fn coloured(entry: &str) -> Cow<'_, str> {
    by_line(entry, escape_but_styles)
}

fn by_line(entry: &str, plain: impl Fn(&str) -> String) -> Cow<'_, str> {
    let (lines, end) = entry.strip_suffix('\n').map_or((entry, ""), |lines| (lines, "\n"));
    if !lines.contains(is_unprintable) {
        return Cow::Borrowed(entry);
    }
    let lines: Vec<String> = lines.split('\n').map(plain).collect();
    Cow::Owned(lines.join(INDENT) + end)
}

fn escape_but_styles(line: &str) -> String {
    let mut parts = line.split("\u{1b}[");
    let mut escaped = escape(parts.next().unwrap_or_default()).into_owned();
    for part in parts {
        let is_style = STYLES.iter().any(|style| part.starts_with(style));
        escaped.push_str(if is_style { "\u{1b}[" } else { "\\u{1b}[" });
        escaped.push_str(&escape(part));
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::printable::escape_json;

    fn written(entry: &str) -> String {
        let mut out = Vec::new();
        Plain::new(&mut out, text).write_all(entry.as_bytes()).expect("written");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn escapes_only_unprintable_characters() {
        assert_eq!(written("INFO pushed repository=a\n"), "INFO pushed repository=a\n");
        assert_eq!(
            written("user=ä\u{202e}\u{9b}2J\u{1b}[2J\u{1b}]0;x\u{7}\n"),
            "user=ä\\u{202e}\\u{9b}2J\\u{1b}[2J\\u{1b}]0;x\\u{7}\n"
        );
    }

    #[test]
    fn keeps_own_styles_on_a_terminal_only() {
        let entry = "\u{1b}[2m12:00\u{1b}[0m \u{1b}[32m INFO\u{1b}[0m x\n";
        assert_eq!(coloured(entry), entry);
        assert_eq!(coloured("user=\u{1b}[8m\u{1b}[2J\u{202e}\n"), "user=\\u{1b}[8m\\u{1b}[2J\\u{202e}\n");
        assert_eq!(written("user=\u{1b}[31mred\n"), "user=\\u{1b}[31mred\n");
    }

    #[test]
    fn line_break_in_a_field_forges_no_entry() {
        assert_eq!(written("a panic:\n0: main\nINFO forged\n"), "a panic:\n    0: main\n    INFO forged\n");
    }

    #[test]
    fn escaped_json_keeps_its_value() {
        let mut out = Vec::new();
        Plain::new(&mut out, escape_json).write_all("{\"user\":\"\u{202e}\"}\n".as_bytes()).expect("written");
        assert_eq!(String::from_utf8(out).expect("text"), "{\"user\":\"\\u202e\"}\n");
    }
}
