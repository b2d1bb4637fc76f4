//! Buffered log output to a stream that may be slow.
//!
//! Logging only appends to a buffer, and a thread writes the buffer to the stream. If the reader of the stream is so
//! slow that the buffer fills up, lines are dropped and counted, because a slow reader must not block the server.

use std::io::{self, Write};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// Maximum number of buffered bytes.
const MAX_BUFFERED: usize = 2 << 20;

/// How long lines are collected into a batch before they are written.
const BATCH_DELAY: Duration = Duration::from_millis(25);

/// The buffered lines are written without delay once they have this many bytes.
const BATCH_SIZE: usize = 64 << 10;

/// How long [`Sink::flush`] waits for a slow reader.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
struct State {
    buffer: Vec<u8>,
    /// How many lines were dropped and not reported yet.
    dropped: u64,
    /// Whether [`Sink::flush`] is waiting, so that lines are written without delay.
    flushing: bool,
    /// Whether the thread is writing a batch.
    writing: bool,
}

/// A log buffer with its writer thread.
#[derive(Debug, Default)]
pub(super) struct Sink {
    state: Mutex<State>,
    /// Wakes the thread.
    lines_arrived: Condvar,
    /// Wakes callers of [`Sink::flush`].
    batch_written: Condvar,
}

impl Sink {
    /// Starts a sink that writes to `stream`.
    pub(super) fn start(stream: impl Write + Send + 'static) -> Arc<Self> {
        let sink = Arc::new(Self::default());
        let thread_sink = Arc::clone(&sink);
        // If the thread cannot be started, lines are dropped and counted; the server still starts.
        let _ = thread::Builder::new().name("log".into()).spawn(move || thread_sink.write_batches(stream));
        sink
    }

    /// Waits until everything is written, but at most [`FLUSH_TIMEOUT`].
    pub(super) fn flush(&self) {
        let deadline = Instant::now() + FLUSH_TIMEOUT;
        let mut state = self.state.lock();
        state.flushing = true;
        self.lines_arrived.notify_one();
        while !state.buffer.is_empty() || state.writing {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                break;
            };
            self.batch_written.wait_for(&mut state, left);
        }
        state.flushing = false;
    }

    fn append(&self, line: &[u8]) {
        let mut state = self.state.lock();
        if state.buffer.len() + line.len() > MAX_BUFFERED {
            state.dropped += 1;
            return;
        }
        let before = state.buffer.len();
        state.buffer.extend_from_slice(line);
        if before == 0 || (before < BATCH_SIZE && state.buffer.len() >= BATCH_SIZE) {
            self.lines_arrived.notify_one();
        }
    }

    fn write_batches(&self, mut stream: impl Write) {
        let mut lines = Vec::new();
        loop {
            let dropped = self.take_batch(&mut lines);
            let _ = stream.write_all(&lines).and_then(|()| stream.flush());
            if dropped > 0 {
                let _ = writeln!(stream, "{dropped} log lines were dropped: their reader is too slow");
            }
            lines.clear();
            lines.shrink_to(BATCH_SIZE);
            self.state.lock().writing = false;
            self.batch_written.notify_all();
        }
    }

    /// Waits for a batch of lines and moves it into `lines`. Returns the number of dropped lines.
    fn take_batch(&self, lines: &mut Vec<u8>) -> u64 {
        let mut state = self.state.lock();
        while state.buffer.is_empty() {
            self.lines_arrived.wait(&mut state);
        }
        let should_wait = |state: &mut State| !state.flushing && state.buffer.len() < BATCH_SIZE;
        self.lines_arrived.wait_while_for(&mut state, should_wait, BATCH_DELAY);
        std::mem::swap(&mut state.buffer, lines);
        state.writing = true;
        std::mem::take(&mut state.dropped)
    }
}

/// Writes to a sink. Each call of `write` is one log line.
pub(super) struct LineWriter(pub(super) Arc<Sink>);

impl Write for LineWriter {
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
        started: mpsc::Sender<()>,
        opened: mpsc::Receiver<()>,
        completed: mpsc::Sender<Vec<u8>>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.started.send(());
            let _ = self.opened.recv();
            let _ = self.completed.send(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Returns the sender that opens the gate, the receivers of started and of completed writes, and the gate itself.
    fn gate() -> (mpsc::Sender<()>, mpsc::Receiver<()>, mpsc::Receiver<Vec<u8>>, Gate) {
        let (open, opened) = mpsc::channel();
        let (start, started) = mpsc::channel();
        let (complete, completed) = mpsc::channel();
        (open, started, completed, Gate { started: start, opened, completed: complete })
    }

    #[test]
    fn writes_lines_in_batches() {
        let (open, _started, completed, gate) = gate();
        drop(open);
        let sink = Sink::start(gate);
        sink.append(b"one\n");
        sink.append(b"two\n");
        let written = completed.recv_timeout(Duration::from_secs(5)).expect("written");
        assert_eq!(written, b"one\ntwo\n");
        sink.append(b"three\n");
        sink.flush();
        assert_eq!(completed.try_recv().expect("flushed"), b"three\n");
    }

    #[test]
    fn slow_reader_does_not_block_logging() {
        let (open, started, completed, gate) = gate();
        let sink = Sink::start(gate);
        let line = vec![b'x'; 1 << 10];
        sink.append(&line);
        started.recv_timeout(Duration::from_secs(5)).expect("a write");
        for _ in 0..2 * MAX_BUFFERED / line.len() {
            sink.append(&line);
        }
        assert!(sink.state.lock().dropped > 0);
        drop(open);
        sink.flush();
        let written: Vec<u8> = completed.try_iter().flatten().collect();
        let end = String::from_utf8_lossy(&written[written.len() - 60..]).into_owned();
        assert!(end.ends_with("log lines were dropped: their reader is too slow\n"), "{end}");
    }
}
