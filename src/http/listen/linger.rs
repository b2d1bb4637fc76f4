//! The end of a connection whose client may still be sending: the server's half is closed, and what still comes is
//! read and dropped until the client has closed too. Otherwise the kernel resets the connection, and the client
//! loses the answer that it has not read yet.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::ReadBuf;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;

use super::sendfile::Socket;

/// How long a connection lingers at most.
pub(super) const MAX_LINGER: Duration = Duration::from_secs(5);

/// How many connections of a listener linger at once; more are closed at once.
const MAX_LINGERING: usize = 256;

/// How much is read in one go before other connections have their turn.
const MAX_READS: usize = 32;

/// Hands out the right to linger.
#[derive(Clone)]
pub(super) struct Lingering(Arc<Semaphore>);

impl Default for Lingering {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_LINGERING)))
    }
}

impl Lingering {
    /// The right to linger, held until dropped; `None` where too many do.
    pub(super) fn begin(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0).try_acquire_owned().ok()
    }
}

/// One connection that lingers.
pub(super) struct Linger {
    deadline: Pin<Box<Sleep>>,
    _permit: OwnedSemaphorePermit,
}

impl Linger {
    pub(super) fn new(permit: OwnedSemaphorePermit) -> Self {
        Self { deadline: Box::pin(tokio::time::sleep(MAX_LINGER)), _permit: permit }
    }

    /// Ready when the client has closed, or has taken too long.
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
