//! The streams of a connection of HTTP/2 whose responses wait to be read.
//!
//! hyper gives each stream a task, and asks a response's body for its next piece only when the client has taken the one
//! before. So a body that is not asked is one that is not read, and whose task can be ended: which resets the
//! stream and leaves the others of its connection alone.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::Instant;

/// One request's stream.
#[derive(Debug, Default)]
pub(super) struct Stream {
    task: OnceLock<AbortHandle>,
    pieces: AtomicU64,
}

impl Stream {
    /// A piece of its response was taken.
    pub(super) fn note_piece(&self) {
        self.pieces.fetch_add(1, Relaxed);
    }
}

/// The streams of one connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Streams(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// The stream whose request was handed over last: its task is spawned next.
    beginning: Option<Arc<Stream>>,
    /// Those that send, with how far each was when it was looked at, and since when.
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
    /// A stream whose task is spawned next.
    pub(super) fn begin(&self) -> Arc<Stream> {
        let stream = Arc::<Stream>::default();
        self.state().beginning = Some(Arc::clone(&stream));
        stream
    }

    /// Watches a stream that sends, until what this gives is dropped.
    pub(super) fn watch(&self, stream: &Arc<Stream>) -> Watch {
        let mut state = self.state();
        let id = state.next;
        state.next += 1;
        let stream = Arc::clone(stream);
        state.sending.insert(id, Sending { stream, pieces: 0, since: Instant::now() });
        drop(state);
        Watch { streams: self.clone(), id }
    }

    /// Resets the streams of which nothing was taken for `limit`, where `is_scarce`; else only looks how far each is.
    pub(super) fn reset_stalled(&self, now: Instant, limit: Duration, is_scarce: bool) {
        for Sending { stream, pieces, since } in self.state().sending.values_mut() {
            let taken = stream.pieces.load(Relaxed);
            if taken != *pieces {
                *pieces = taken;
                *since = now;
            } else if is_scarce
                && now.duration_since(*since) >= limit
                && let Some(task) = stream.task.get()
            {
                tracing::debug!("a stream was reset: its response was not read, and memory is short");
                task.abort();
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Spawns the tasks of the streams.
impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    fn execute(&self, task: F) {
        let task = tokio::spawn(task);
        if let Some(stream) = self.state().beginning.take() {
            stream.task.set(task.abort_handle()).ok();
        }
    }
}

/// A stream that is watched.
pub(super) struct Watch {
    streams: Streams,
    id: u64,
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Outside the lock: the last owner of a stream must not be dropped within it.
        let sending = self.streams.state().sending.remove(&self.id);
        drop(sending);
    }
}

#[cfg(test)]
mod tests {
    use hyper::rt::Executor;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_streams_that_stand_still_are_reset_and_only_when_memory_is_short() {
        let streams = Streams::default();
        let limit = Duration::from_secs(60);
        let [still, read] = [(); 2].map(|()| {
            let stream = streams.begin();
            streams.execute(std::future::pending::<()>());
            (streams.watch(&stream), stream)
        });
        let is_over = |stream: &Stream| stream.task.get().expect("spawned").is_finished();
        for second in 0..120 {
            tokio::time::advance(Duration::from_secs(1)).await;
            read.1.note_piece();
            streams.reset_stalled(Instant::now(), limit, second >= 100);
            tokio::task::yield_now().await;
            assert_eq!(is_over(&still.1), second >= 100, "{second}");
            assert!(!is_over(&read.1));
        }
        drop(still);
        assert_eq!(streams.state().sending.len(), 1);
    }
}
