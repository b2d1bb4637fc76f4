//! Asking before something is done that is not easily undone.

use std::io::{self, BufRead, IsTerminal, Write};

use super::Failure;
use super::args::Asking;

/// Returns if the caller has said yes to `question`, or says so now.
pub(super) fn confirm(asking: &Asking, question: &str) -> Result<(), Failure> {
    if asking.yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Failure::Usage(format!("{question} Nobody is there to ask: say --yes")));
    }
    let _ = write!(io::stderr(), "{question} [y/N] ");
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    match read.map(|_| answer.trim().to_ascii_lowercase()) {
        Ok(answer) if answer == "y" || answer == "yes" => Ok(()),
        _ => Err(Failure::Usage("nothing was done".into())),
    }
}
