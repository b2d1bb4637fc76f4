//! Resets the streams of an HTTP/2 connection whose responses are not read.
//!
//! hyper gives each stream a task, and polls a response's body for its next piece only after the client has
//! taken the previous one. So a body that is not polled is not being read. Aborting its task resets the
//! stream and leaves the other streams of the connection alone.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// The stream of one request.
#[derive(Debug, Default)]
pub(super) struct Stream {
    task: OnceLock<AbortHandle>,
    pieces: AtomicU64,
}

impl Stream {
    /// Records that the client took a piece of the response.
    pub(super) fn record_piece(&self) {
        self.pieces.fetch_add(1, Relaxed);
    }
}

/// The streams of one connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Streams(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// The stream whose request arrived last; its task is spawned next.
    starting: Option<Arc<Stream>>,
    /// The streams that send a response, with their last observed progress and its time.
    sending: HashMap<u64, Sending>,
    next: u64,
}

#[derive(Debug)]
struct Sending {
    stream: Arc<Stream>,
    pieces: u64,
    since: Instant,
}

impl Streams {
    /// Creates a stream whose task is spawned next.
    pub(super) fn start(&self) -> Arc<Stream> {
        let stream = Arc::<Stream>::default();
        self.0.lock().starting = Some(Arc::clone(&stream));
        stream
    }

    /// Watches a stream that sends a response, until the result is dropped.
    pub(super) fn watch(&self, stream: &Arc<Stream>) -> Watch {
        let mut state = self.0.lock();
        let id = state.next;
        state.next += 1;
        let stream = Arc::clone(stream);
        state.sending.insert(id, Sending { stream, pieces: 0, since: Instant::now() });
        drop(state);
        Watch { streams: self.clone(), id }
    }

    /// Records the progress of each stream. If memory `is_scarce`, resets those without progress for `limit`.
    pub(super) fn reset_stalled(&self, now: Instant, limit: Duration, is_scarce: bool) {
        for Sending { stream, pieces, since } in self.0.lock().sending.values_mut() {
            let taken = stream.pieces.load(Relaxed);
            if taken != *pieces {
                *pieces = taken;
                *since = now;
            } else if is_scarce
                && now.duration_since(*since) >= limit
                && let Some(task) = stream.task.get()
            {
                tracing::debug!("stream reset: its response is not being read, and memory is short");
                task.abort();
            }
        }
    }
}

/// Spawns the tasks of the streams.
impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    fn execute(&self, task: F) {
        let task = tokio::spawn(task);
        if let Some(stream) = self.0.lock().starting.take() {
            stream.task.set(task.abort_handle()).ok();
        }
    }
}

/// Watches a stream until dropped.
pub(super) struct Watch {
    streams: Streams,
    id: u64,
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Dropped outside the lock: the last owner of a stream must not be dropped within it.
        let sending = self.streams.0.lock().sending.remove(&self.id);
        drop(sending);
    }
}

#[cfg(test)]
mod tests {
    use hyper::rt::Executor;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn resets_only_stalled_streams_and_only_while_memory_is_short() {
        let streams = Streams::default();
        let limit = Duration::from_secs(60);
        let [stalled, read] = [(); 2].map(|()| {
            let stream = streams.start();
            streams.execute(std::future::pending::<()>());
            (streams.watch(&stream), stream)
        });
        let is_over = |stream: &Stream| stream.task.get().expect("spawned").is_finished();
        for second in 0..120 {
            tokio::time::advance(Duration::from_secs(1)).await;
            read.1.record_piece();
            streams.reset_stalled(Instant::now(), limit, second >= 100);
            tokio::task::yield_now().await;
            assert_eq!(is_over(&stalled.1), second >= 100, "{second}");
            assert!(!is_over(&read.1));
        }
        drop(stalled);
        assert_eq!(streams.0.lock().sending.len(), 1);
    }
}
