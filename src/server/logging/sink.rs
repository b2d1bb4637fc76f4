//! Lines on their way to a stream that may be slow.
//!
//! Whoever logs only appends to a buffer; a thread writes it out. When the stream's reader falls so far
//! behind that the buffer is full, lines are dropped and counted: a server must not stand still because
//! nobody reads its logs.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The most bytes that wait to be written.
const MOST: usize = 2 << 20;

/// How long lines are gathered before they are written together.
const GATHER: Duration = Duration::from_millis(25);

/// From this many bytes on nothing more is gathered.
const ENOUGH: usize = 64 << 10;

/// How long [`Sink::flush`] waits for a slow reader.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    dropped: u64,
    hurry: bool,
    writing: bool,
}

/// Where lines go.
#[derive(Debug, Default)]
pub(super) struct Sink {
    state: Mutex<State>,
    arrived: Condvar,
    written: Condvar,
}

impl Sink {
    /// A sink that writes to `stream`.
    pub(super) fn start(stream: impl Write + Send + 'static) -> Arc<Self> {
        let sink = Arc::new(Self::default());
        let own = Arc::clone(&sink);
        // Without the thread lines would be dropped, and counted: better than a server that can't start.
        let _ = thread::Builder::new().name("log".into()).spawn(move || own.drain(stream));
        sink
    }

    /// Waits until everything is written, at most a second.
    pub(super) fn flush(&self) {
        let until = Instant::now() + PATIENCE;
        let mut state = self.lock();
        state.hurry = true;
        self.arrived.notify_one();
        while !state.waiting.is_empty() || state.writing {
            let Some(left) = until.checked_duration_since(Instant::now()) else {
                return;
            };
            state = self.written.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.hurry = false;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append(&self, line: &[u8]) {
        let mut state = self.lock();
        if state.waiting.len() + line.len() > MOST {
            state.dropped += 1;
            return;
        }
        let before = state.waiting.len();
        state.waiting.extend_from_slice(line);
        if before == 0 || (before < ENOUGH && state.waiting.len() >= ENOUGH) {
            self.arrived.notify_one();
        }
    }

    fn drain(&self, mut stream: impl Write) {
        let mut lines = Vec::new();
        loop {
            let dropped = self.take(&mut lines);
            let _ = stream.write_all(&lines).and_then(|()| stream.flush());
            if dropped > 0 {
                let _ = writeln!(stream, "{dropped} log lines were dropped: their reader is too slow");
            }
            lines.clear();
            lines.shrink_to(ENOUGH);
            self.lock().writing = false;
            self.written.notify_all();
        }
    }

    /// Waits for lines, lets some more gather, and takes them into `lines`. Tells how many were dropped.
    fn take(&self, lines: &mut Vec<u8>) -> u64 {
        let mut state = self.lock();
        while state.waiting.is_empty() {
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let more = |state: &mut State| !state.hurry && state.waiting.len() < ENOUGH;
        let gathered = self.arrived.wait_timeout_while(state, GATHER, more);
        let mut state = gathered.unwrap_or_else(PoisonError::into_inner).0;
        std::mem::swap(&mut state.waiting, lines);
        state.writing = true;
        std::mem::take(&mut state.dropped)
    }
}

/// One line for a sink.
pub(super) struct Line(pub(super) Arc<Sink>);

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.append(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// A stream that tells when it is asked to write, and takes nothing until it is let.
    struct Gate {
        asked: mpsc::Sender<()>,
        open: mpsc::Receiver<()>,
        taken: mpsc::Sender<Vec<u8>>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.asked.send(());
            let _ = self.open.recv();
            let _ = self.taken.send(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What opens the gate, what is told when it is asked, what it took, and the gate itself.
    fn gate() -> (mpsc::Sender<()>, mpsc::Receiver<()>, mpsc::Receiver<Vec<u8>>, Gate) {
        let (open, opened) = mpsc::channel();
        let (ask, asked) = mpsc::channel();
        let (taken, took) = mpsc::channel();
        (open, asked, took, Gate { asked: ask, open: opened, taken })
    }

    #[test]
    fn lines_are_written_together_and_soon() {
        let (open, _asked, took, gate) = gate();
        drop(open);
        let sink = Sink::start(gate);
        sink.append(b"one\n");
        sink.append(b"two\n");
        let written = took.recv_timeout(Duration::from_secs(5)).expect("written");
        assert_eq!(written, b"one\ntwo\n");
        sink.append(b"three\n");
        sink.flush();
        assert_eq!(took.try_recv().expect("flushed"), b"three\n");
    }

    #[test]
    fn a_reader_that_stands_still_stops_nobody() {
        let (open, asked, took, gate) = gate();
        let sink = Sink::start(gate);
        let line = vec![b'x'; 1 << 10];
        sink.append(&line);
        asked.recv_timeout(Duration::from_secs(5)).expect("asked to write");
        for _ in 0..2 * MOST / line.len() {
            sink.append(&line);
        }
        assert!(sink.lock().dropped > 0);
        drop(open);
        sink.flush();
        let written: Vec<u8> = took.try_iter().flatten().collect();
        let end = String::from_utf8_lossy(&written[written.len() - 60..]).into_owned();
        assert!(end.ends_with("log lines were dropped: their reader is too slow\n"), "{end}");
    }
}
