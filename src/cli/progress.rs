//! A progress line on the terminal. Draws nothing if standard error is no terminal.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::terminal::size;
use crate::maintenance::progress::{Step, Unit};
use crate::printable::escape;

/// Minimum time between two updates of the line.
const REDRAW_INTERVAL: Duration = Duration::from_millis(100);

/// The progress line, which is erased when this is dropped.
pub(super) struct Bar {
    visible: bool,
    drawn: Mutex<Option<Instant>>,
}

impl Bar {
    pub(super) fn new() -> Self {
        Self { visible: std::io::stderr().is_terminal(), drawn: Mutex::default() }
    }

    /// Draws `step`, unless the line was updated less than [`REDRAW_INTERVAL`] ago.
    pub(super) fn show(&self, step: &Step) {
        if !self.visible {
            return;
        }
        let mut drawn = self.drawn.lock();
        if drawn.is_some_and(|drawn| drawn.elapsed() < REDRAW_INTERVAL) {
            return;
        }
        *drawn = Some(Instant::now());
        let _ = write!(std::io::stderr(), "\r\x1b[K{}", describe(step));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if self.drawn.get_mut().is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

fn describe(step: &Step) -> String {
    let amount = |number: u64| match step.unit {
        Unit::Bytes => size(number),
        Unit::Items => number.to_string(),
    };
    let what = escape(&step.what);
    match step.total {
        Some(total) if total > 0 => {
            let percent = u128::from(step.done.min(total)) * 100 / u128::from(total);
            format!("{what}: {percent} % ({} of {})", amount(step.done), amount(total))
        }
        _ => format!("{what}: {}", amount(step.done)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn describes_steps() {
        let what = "reading blobs".to_owned();
        let step = |done, total, unit| Step { what: what.clone(), done, total, unit };
        assert_eq!(
            describe(&step(1 << 20, Some(4 << 20), Unit::Bytes)),
            "reading blobs: 25 % (1.0 MiB of 4.0 MiB)"
        );
        assert_eq!(describe(&step(7, None, Unit::Items)), "reading blobs: 7");
        assert_eq!(describe(&step(0, Some(0), Unit::Items)), "reading blobs: 0");
    }
}
