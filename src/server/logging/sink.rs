//! Buffered log output to a stream that may be slow.
//!
//! Logging only appends to a buffer; a thread writes it out. If the stream's reader is so slow that the buffer fills
//! up, lines are dropped and counted: a slow log reader must not block the server.

use std::io::{self, Write};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

/// Maximum number of buffered bytes.
const MAX_BUFFERED: usize = 2 << 20;

/// How long lines are collected before they are written together.
const BATCH_DELAY: Duration = Duration::from_millis(25);

/// From this many buffered bytes on lines are written at once.
const BATCH_SIZE: usize = 64 << 10;

/// How long [`Sink::flush`] waits for a slow reader.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
struct State {
    buffer: Vec<u8>,
    dropped: u64,
    hurry: bool,
    writing: bool,
}

/// A log buffer with its writer thread.
#[derive(Debug, Default)]
pub(super) struct Sink {
    state: Mutex<State>,
    arrived: Condvar,
    written: Condvar,
}

impl Sink {
    /// Starts a sink that writes to `stream`.
    pub(super) fn start(stream: impl Write + Send + 'static) -> Arc<Self> {
        let sink = Arc::new(Self::default());
        let own = Arc::clone(&sink);
        // If the thread cannot be started, lines are dropped and counted; the server still starts.
        let _ = thread::Builder::new().name("log".into()).spawn(move || own.drain(stream));
        sink
    }

    /// Waits until everything is written, at most a second.
    pub(super) fn flush(&self) {
        let until = Instant::now() + FLUSH_TIMEOUT;
        let mut state = self.lock();
        state.hurry = true;
        self.arrived.notify_one();
        while !state.buffer.is_empty() || state.writing {
            let Some(left) = until.checked_duration_since(Instant::now()) else {
                return;
            };
            self.written.wait_for(&mut state, left);
        }
        state.hurry = false;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    fn append(&self, line: &[u8]) {
        let mut state = self.lock();
        if state.buffer.len() + line.len() > MAX_BUFFERED {
            state.dropped += 1;
            return;
        }
        let before = state.buffer.len();
        state.buffer.extend_from_slice(line);
        if before == 0 || (before < BATCH_SIZE && state.buffer.len() >= BATCH_SIZE) {
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
            lines.shrink_to(BATCH_SIZE);
            self.lock().writing = false;
            self.written.notify_all();
        }
    }

    /// Waits for a batch of lines and moves it into `lines`. Returns the number of dropped lines.
    fn take(&self, lines: &mut Vec<u8>) -> u64 {
        let mut state = self.lock();
        while state.buffer.is_empty() {
            self.arrived.wait(&mut state);
        }
        let more = |state: &mut State| !state.hurry && state.buffer.len() < BATCH_SIZE;
        self.arrived.wait_while_for(&mut state, more, BATCH_DELAY);
        std::mem::swap(&mut state.buffer, lines);
        state.writing = true;
        std::mem::take(&mut state.dropped)
    }
}

/// Writes one line to a sink.
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

    /// A stream that reports each write and blocks it until the gate is opened.
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

    /// Returns the sender that opens the gate, the receivers of reported and completed writes, and the gate.
    fn gate() -> (mpsc::Sender<()>, mpsc::Receiver<()>, mpsc::Receiver<Vec<u8>>, Gate) {
        let (open, opened) = mpsc::channel();
        let (ask, asked) = mpsc::channel();
        let (taken, took) = mpsc::channel();
        (open, asked, took, Gate { asked: ask, open: opened, taken })
    }

    #[test]
    fn writes_lines_in_batches() {
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
    fn slow_reader_does_not_block_logging() {
        let (open, asked, took, gate) = gate();
        let sink = Sink::start(gate);
        let line = vec![b'x'; 1 << 10];
        sink.append(&line);
        asked.recv_timeout(Duration::from_secs(5)).expect("a write");
        for _ in 0..2 * MAX_BUFFERED / line.len() {
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
