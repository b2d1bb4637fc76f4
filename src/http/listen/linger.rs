//! The lingering close of a connection whose client may still be sending.
//!
//! The server closes its sending side, then reads and discards data until the client closes too. Otherwise
//! the kernel would reset the connection, and the client would lose the response that it has not read yet.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::ReadBuf;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;

use super::sendfile::Socket;

/// The maximum time that a connection lingers.
pub(super) const MAX_LINGER: Duration = Duration::from_secs(5);

/// The maximum number of a listener's lingering connections; others close immediately.
const MAX_LINGERING: usize = 256;

/// The maximum number of reads before other connections get their turn.
const MAX_READS: usize = 32;

/// Limits the number of lingering connections.
#[derive(Clone)]
pub(super) struct Lingering(Arc<Semaphore>);

impl Default for Lingering {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_LINGERING)))
    }
}

impl Lingering {
    /// Permits a connection to linger until the permit is dropped; `None` if too many do.
    pub(super) fn try_start(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0).try_acquire_owned().ok()
    }
}

/// A lingering connection.
pub(super) struct Linger {
    deadline: Pin<Box<Sleep>>,
    _permit: OwnedSemaphorePermit,
}

impl Linger {
    pub(super) fn new(permit: OwnedSemaphorePermit) -> Self {
        Self { deadline: Box::pin(tokio::time::sleep(MAX_LINGER)), _permit: permit }
    }

    /// Ready when the client has closed, or the time limit has passed.
    pub(super) fn poll<S: Socket>(&mut self, io: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        let mut memory = [0; 16 * 1024];
        for _ in 0..MAX_READS {
            let mut buffer = ReadBuf::new(&mut memory);
            match Pin::new(&mut *io).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
