//! Tables for people, JSON for programs.

use std::io::Write;

use bytesize::ByteSize;
use serde::Serialize;

use crate::http::api::Time;
use crate::printable::{escape, escape_json, escape_lines};

/// A table with `N` columns, as wide as what is in them.
pub(super) struct Table<const N: usize> {
    heads: [&'static str; N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    /// A table with these heads. A column whose head begins with `>` is set flush right.
    pub(super) fn new(heads: [&'static str; N]) -> Self {
        Self { heads, rows: Vec::new() }
    }

    /// Adds a row, each cell on one line.
    pub(super) fn row(&mut self, row: [String; N]) {
        self.rows.push(row.map(|cell| escape(&cell).into_owned()));
    }

    /// Prints it to standard output.
    pub(super) fn print(&self) {
        write_out(&self.text());
    }

    fn text(&self) -> String {
        let heads = self.heads.map(|head| head.trim_start_matches('>').to_owned());
        let mut widths = [0; N];
        for row in std::iter::once(&heads).chain(&self.rows) {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        let mut text = String::new();
        for row in std::iter::once(&heads).chain(&self.rows) {
            let cells = row.iter().zip(widths).zip(self.heads).map(|((cell, width), head)| {
                if head.starts_with('>') { format!("{cell:>width$}") } else { format!("{cell:width$}") }
            });
            text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
            text.push('\n');
        }
        text
    }
}

/// Prints `value` as JSON to standard output.
pub(super) fn print_json<T: Serialize>(value: &T) {
    write_json(&(serde_json::to_string_pretty(value).unwrap_or_default() + "\n"));
}

/// Prints a JSON text to standard output.
pub(super) fn write_json(json: &str) {
    write_raw(&escape_json(json));
}

/// Prints lines to standard output, with what a terminal obeys or does not show written out. Texts of the registry that go
/// into a line have to be escaped on their own: they must not make others.
pub(super) fn write_out(text: &str) {
    write_raw(&escape_lines(text));
}

/// Not `println`, which panics on a closed pipe: whoever closes it early has
/// read enough. Where it cannot be written for another reason the program ends with an error: half of it, in a
/// file, must not pass for all.
fn write_raw(text: &str) {
    let mut out = std::io::stdout();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    if let Err(error) = written
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        write_error(&format!("error: standard output: {error}"));
        std::process::exit(1);
    }
}

/// Prints a message to standard error. Not `eprintln`, which panics where that cannot be written: where the error's output
/// is on the disk that is full.
pub(super) fn write_error(message: &str) {
    let _ = writeln!(std::io::stderr(), "{}", escape_lines(message));
}

/// `bytes` in the unit that suits them.
pub(super) fn size(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}

/// As much of a digest as tells it from others.
pub(super) fn short(digest: &str) -> String {
    digest.chars().take("sha256:".len() + 12).collect()
}

/// A time to the second, or that it never was.
pub(super) fn when(time: Option<Time>) -> String {
    let text = |time: Time| time.to_string().chars().take("2026-01-31T12:00:00".len()).collect::<String>();
    time.map_or_else(|| "never".into(), |time| text(time).replace('T', " "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    #[test]
    fn columns_are_as_wide_as_their_cells() {
        let mut table = Table::new(["TAG", ">SIZE", "PUSHED"]);
        table.row(["latest".into(), size(5 << 20), when(Some(Time(Timestamp(1_700_000_000_123))))]);
        table.row(["1".into(), size(1 << 10), when(None)]);
        let text = "TAG        SIZE  PUSHED\n\
                    latest  5.0 MiB  2023-11-14 22:13:20\n\
                    1       1.0 KiB  never\n";
        assert_eq!(table.text(), text);
    }

    #[test]
    fn a_cell_is_one_line_that_a_terminal_does_not_obey() {
        let mut table = Table::new(["TAG", "PLATFORMS"]);
        table.row(["v1".into(), "linux\u{1b}]0;x\u{7}\nv2  all\u{202e}".into()]);
        assert_eq!(table.text(), "TAG  PLATFORMS\nv1   linux\\u{1b}]0;x\\u{7}\\nv2  all\\u{202e}\n");
    }
}
