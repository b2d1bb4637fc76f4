//! Confirmation prompts for destructive commands.

use std::io::{self, BufRead, IsTerminal, Write};

use super::Failure;
use super::args::Confirmation;

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
