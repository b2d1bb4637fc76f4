//! Reads the body of a request: counts its bytes and enforces a timeout.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use http_body::Body;
use tokio::time::{Instant, Sleep};

use super::listen::Inbound;
use crate::errors::Chain;
use crate::registry::{ClientBody, ClientError};

/// A client that sends fewer bytes than this in each of three consecutive periods is too slow: it holds resources that
/// other clients wait for.
const MIN_PROGRESS_BYTES: u64 = 16 * 1024;

/// The body of a request.
pub(super) struct RequestBody {
    incoming: Option<Inbound>,
    deadline: Deadline,
    received: Arc<AtomicU64>,
}

/// The reason why a body could not be read.
#[derive(Debug)]
pub(super) enum CollectError {
    /// It is longer than the limit.
    TooLarge,
    /// The client disconnected or was too slow.
    Client(ClientError),
}

impl RequestBody {
    /// A body that adds the number of read bytes to `received`.
    pub(super) fn new(incoming: Inbound, idle: Duration, received: Arc<AtomicU64>) -> Self {
        Self { incoming: Some(incoming), deadline: Deadline::new(idle), received }
    }

    /// Takes the body, and leaves an empty one.
    pub(super) fn take(&mut self) -> Self {
        Self {
            incoming: self.incoming.take(),
            deadline: Deadline::new(self.deadline.idle),
            received: Arc::clone(&self.received),
        }
    }

    /// The length of the body, if the client declared it.
    pub(super) fn declared_len(&self) -> Option<u64> {
        self.incoming.as_ref().and_then(|incoming| incoming.size_hint().exact())
    }

    /// Converts the body to the stream that the registry reads.
    pub(super) fn into_client_body(self) -> ClientBody {
        Box::pin(self)
    }

    /// Reads the whole body, if it has at most `limit` bytes.
    pub(super) async fn collect(mut self, limit: usize) -> Result<Bytes, CollectError> {
        let declared = self.declared_len();
        if declared.is_some_and(|len| len > limit as u64) {
            return Err(CollectError::TooLarge);
        }
        let Some(first) = self.next().await else { return Ok(Bytes::new()) };
        let first = first.map_err(CollectError::Client)?;
        if first.len() > limit {
            return Err(CollectError::TooLarge);
        }
        if declared == Some(first.len() as u64) {
            return Ok(first);
        }
        // Allocate the declared length: growing by doubling could take twice the reserved memory.
        let mut all = BytesMut::with_capacity(usize::try_from(declared.unwrap_or(0)).unwrap_or(0));
        all.extend_from_slice(&first);
        while let Some(piece) = self.next().await {
            let piece = piece.map_err(CollectError::Client)?;
            if all.len() + piece.len() > limit {
                return Err(CollectError::TooLarge);
            }
            all.extend_from_slice(&piece);
        }
        Ok(all.freeze())
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, ClientError>>> {
        let Some(incoming) = &mut self.incoming else { return Poll::Ready(None) };
        let Poll::Ready(frame) = Pin::new(incoming).poll_frame(cx) else {
            ready!(self.deadline.poll(cx));
            return Poll::Ready(Some(Err(ClientError::TooSlow)));
        };
        match frame {
            None => {
                self.incoming = None;
                Poll::Ready(None)
            }
            Some(Ok(frame)) => {
                // Trailers are ignored.
                let piece = frame.into_data().unwrap_or_default();
                self.deadline.progress(piece.len());
                self.received.fetch_add(piece.len() as u64, Relaxed);
                Poll::Ready(Some(Ok(piece)))
            }
            Some(Err(error)) => {
                tracing::debug!(error = %Chain(&error), "request body aborted");
                self.incoming = None;
                Poll::Ready(Some(Err(ClientError::Disconnected)))
            }
        }
    }
}

impl Stream for RequestBody {
    type Item = Result<Bytes, ClientError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_piece(cx)
    }
}

/// Ends a wait for the body that lasts too long. The first wait starts a timer, and the received bytes are checked only
/// when it fires. So pieces that arrive in time cost nothing, and a silent client is disconnected after one to two
/// times the setting.
struct Deadline {
    idle: Duration,
    alarm: Option<Pin<Box<Sleep>>>,
    received: u64,
    strikes: u8,
}

impl Deadline {
    fn new(idle: Duration) -> Self {
        Self { idle, alarm: None, received: 0, strikes: 0 }
    }

    fn progress(&mut self, count: usize) {
        self.received += count as u64;
    }

    /// Ready when the client is too slow.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.idle)));
        while alarm.as_mut().poll(cx).is_ready() {
            self.strikes = if self.received < MIN_PROGRESS_BYTES { self.strikes + 1 } else { 0 };
            if self.received == 0 || self.strikes == 3 {
                return Poll::Ready(());
            }
            self.received = 0;
            alarm.as_mut().reset(Instant::now() + self.idle);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    /// After how many periods a client is too slow that sends `bytes` in each of them; at most ten.
    async fn rounds(bytes: usize) -> u32 {
        let idle = Duration::from_secs(60);
        let mut deadline = Deadline::new(idle);
        let start = Instant::now();
        for round in 0..10 {
            deadline.progress(bytes);
            let silence = poll_fn(|cx| deadline.poll(cx));
            if tokio::time::timeout_at(start + idle * (round + 1) + idle / 2, silence).await.is_ok() {
                return round + 1;
            }
        }
        10
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_times_out_and_a_slow_one_later() {
        assert_eq!(rounds(0).await, 1);
        assert_eq!(rounds(1).await, 3);
        assert_eq!(rounds(64 * 1024).await, 10);
    }
}
