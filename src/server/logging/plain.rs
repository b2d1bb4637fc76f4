//! Log lines as a terminal may be given them, whatever is in their fields.

use std::borrow::Cow;
use std::io::{self, Write};

use crate::printable::{escape, escape_json, is_unprintable};

/// What further lines of one entry begin with, so that a line break in a field makes no entry.
const INDENT: &str = "\n    ";

/// A writer of one entry, in whose fields a terminal obeys nothing.
pub(super) struct Plain<W> {
    inner: W,
    plain: fn(&str) -> Cow<'_, str>,
}

impl<W: Write> Plain<W> {
    /// Of text.
    pub(super) fn text(inner: W) -> Self {
        Self { inner, plain: text }
    }

    /// Of JSON.
    pub(super) fn json(inner: W) -> Self {
        Self { inner, plain: escape_json }
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

/// Colours stay: they are the log's own, for it escapes the character that begins them in every field.
fn text(entry: &str) -> Cow<'_, str> {
    let (lines, end) = entry.strip_suffix('\n').map_or((entry, ""), |lines| (lines, "\n"));
    if !lines.contains(is_unprintable) {
        return Cow::Borrowed(entry);
    }
    let lines: Vec<String> = lines.split('\n').map(escape_but_colours).collect();
    Cow::Owned(lines.join(INDENT) + end)
}

fn escape_but_colours(line: &str) -> String {
    let mut parts = line.split("\u{1b}[");
    let mut escaped = escape(parts.next().unwrap_or_default()).into_owned();
    for part in parts {
        let numbers = part.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == ';');
        let is_colour = numbers.starts_with('m');
        escaped.push_str(if is_colour { "\u{1b}[" } else { "\\u{1b}[" });
        escaped.push_str(&escape(part));
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(entry: &str) -> String {
        let mut out = Vec::new();
        Plain::text(&mut out).write_all(entry.as_bytes()).expect("written");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn an_entry_is_written_as_it_is_but_for_what_a_terminal_obeys() {
        assert_eq!(written("INFO pushed repository=a\n"), "INFO pushed repository=a\n");
        assert_eq!(
            written("user=ä\u{202e}\u{9b}2J\u{1b}[2J\u{1b}]0;x\u{7}\n"),
            "user=ä\\u{202e}\\u{9b}2J\\u{1b}[2J\\u{1b}]0;x\\u{7}\n"
        );
        assert_eq!(
            written("\u{1b}[2m12:00\u{1b}[0m \u{1b}[32m INFO\u{1b}[0m x\n"),
            "\u{1b}[2m12:00\u{1b}[0m \u{1b}[32m INFO\u{1b}[0m x\n"
        );
    }

    #[test]
    fn a_line_break_in_a_field_makes_no_entry() {
        assert_eq!(written("a panic:\n0: main\nINFO forged\n"), "a panic:\n    0: main\n    INFO forged\n");
    }

    #[test]
    fn a_json_entry_means_the_same() {
        let mut out = Vec::new();
        Plain::json(&mut out).write_all("{\"user\":\"\u{202e}\"}\n".as_bytes()).expect("written");
        assert_eq!(String::from_utf8(out).expect("text"), "{\"user\":\"\\u202e\"}\n");
    }

    /// What [`escape_but_colours`] relies on.
    #[test]
    fn fields_begin_no_colours() {
        use std::sync::{Arc, Mutex};
        use tracing_subscriber::layer::SubscriberExt;

        #[derive(Clone, Default)]
        struct Kept(Arc<Mutex<Vec<u8>>>);

        impl Write for Kept {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().expect("not poisoned").extend_from_slice(bytes);
                Ok(bytes.len())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        let kept = Kept::default();
        let out = kept.clone();
        let layer = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(move || out.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let name = "\u{1b}[31mred";
            tracing::info!(user = %name, other = ?name, "a message of {name}");
            tracing::info!(name);
        });
        let written = kept.0.lock().expect("not poisoned").clone();
        assert!(!written.contains(&0x1b), "{}", String::from_utf8_lossy(&written));
    }
}
