//! The terminal: tables for people, JSON for programs, and confirmation prompts for destructive commands.

use std::io::{self, BufRead, IsTerminal, Write};

use bytesize::ByteSize;
use serde::Serialize;

use super::args::Confirmation;
use super::failure::Failure;
use crate::http::api::Time;
use crate::printable::{escape, escape_json, escape_lines};

/// A table with `N` columns, each as wide as its widest cell.
pub(super) struct Table<const N: usize> {
    heads: [&'static str; N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    /// Creates a table with these column heads. A column whose head begins with `>` is aligned right.
    pub(super) fn new(heads: [&'static str; N]) -> Self {
        Self { heads, rows: Vec::new() }
    }

    /// Adds a row, each cell on one line.
    pub(super) fn row(&mut self, row: [String; N]) {
        self.rows.push(row.map(|cell| escape(&cell).into_owned()));
    }

    /// Prints the table to standard output.
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

/// Prints a list: as JSON, or as a table with these column heads and a row for each item.
pub(super) fn print_list<T: Serialize, const N: usize>(
    items: &[T],
    json: bool,
    heads: [&'static str; N],
    row: impl Fn(&T) -> [String; N],
) {
    if json {
        return print_json(items);
    }
    let mut table = Table::new(heads);
    items.iter().for_each(|item| table.row(row(item)));
    table.print();
}

/// Prints a result: as JSON, or as the text that `format` returns.
pub(super) fn print_result<T: Serialize>(result: &T, json: bool, format: impl FnOnce(&T) -> String) {
    if json { print_json(result) } else { write_out(&format(result)) }
}

/// Prints `value` as JSON to standard output.
pub(super) fn print_json<T: Serialize + ?Sized>(value: &T) {
    write_raw(&escape_json(&(serde_json::to_string_pretty(value).unwrap_or_default() + "\n")));
}

/// Prints lines to standard output. Escapes terminal control and invisible characters, but not line breaks: text from
/// the registry that goes into a line must be escaped before.
pub(super) fn write_out(text: &str) {
    write_raw(&escape_lines(text));
}

/// Writes to standard output. Unlike `println`, it does not panic on a closed pipe: the reader has seen enough. Any
/// other error exits the process with 1, so that a truncated file is not taken for a complete one.
fn write_raw(text: &str) {
    let mut out = io::stdout();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    if let Err(error) = written
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        write_error(&format!("error: standard output: {error}"));
        std::process::exit(1);
    }
}

/// Prints a message to standard error. Unlike `eprintln`, it does not panic if that fails, for example because standard
/// error is a file on a full disk.
pub(super) fn write_error(message: &str) {
    let _ = writeln!(io::stderr(), "{}", escape_lines(message));
}

/// Returns `Ok` if the user confirms `question`, with `--yes` or at the prompt.
pub(super) fn confirm(confirmation: &Confirmation, question: &str) -> Result<(), Failure> {
    if confirmation.yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Failure::Usage(format!("{question} Confirm with --yes: there is no terminal")));
    }
    let _ = write!(io::stderr(), "{question} [y/N] ");
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    match read.map(|_| answer.trim().to_ascii_lowercase()) {
        Ok(answer) if answer == "y" || answer == "yes" => Ok(()),
        _ => Err(Failure::Usage("cancelled; nothing was changed".into())),
    }
}

/// Formats a count with its noun, in the plural unless `number` is 1.
pub(super) fn count(number: u64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// Formats a size in a suitable unit.
pub(super) fn size(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}

/// Shortens a digest, so that it is still recognisable.
pub(super) fn short(digest: &str) -> String {
    digest.chars().take("sha256:".len() + 12).collect()
}

/// Formats a time to the second, or as "never".
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
    fn escapes_cells_to_one_line() {
        let mut table = Table::new(["TAG", "PLATFORMS"]);
        table.row(["v1".into(), "linux\u{1b}]0;x\u{7}\nv2  all\u{202e}".into()]);
        assert_eq!(table.text(), "TAG  PLATFORMS\nv1   linux\\u{1b}]0;x\\u{7}\\nv2  all\\u{202e}\n");
    }
}
