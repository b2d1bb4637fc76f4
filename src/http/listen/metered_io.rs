//! A byte stream that records its reads and writes in a [`ConnectionState`], and whose [`Brake`] stops reading while
//! memory is short.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::connection_state::ConnectionState;
use super::linger::{Linger, Lingering};
use super::open::{ConnectionGuard, SHARE_INTERVAL};
use super::sendfile::{Parts, Socket};
use crate::memory::{Holder, ReadGate};

/// The first bytes of a client that uses HTTP/2 without negotiation (RFC 9113, 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The maximum number of bytes read at once if no body is expected, because data read ahead stays in memory,
/// or if many connections take turns.
const MAX_SMALL_READ: usize = 16 * 1024;

/// Stops reading from one connection while memory is short.
pub(super) struct Brake {
    gate: ReadGate,
    guard: Option<Arc<ConnectionGuard>>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Brake {
    pub(super) fn new(guard: Arc<ConnectionGuard>) -> Self {
        Self { gate: guard.memory().read_gate(), guard: Some(guard), pause: None }
    }

    /// Ready while a request may start. A client that holds no memory may start one even while memory is
    /// short. Memory held by other anonymous clients does not count: one of them must not keep the others
    /// from logging in.
    pub(super) fn poll_released(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            if let Some(guard) = &self.guard {
                if guard.is_newcomer() {
                    return Poll::Ready(());
                }
                if guard.shared.is_over_memory_share(guard) {
                    self.pause = Some(Box::pin(tokio::time::sleep(SHARE_INTERVAL)));
                    continue;
                }
            }
            return self.gate.poll_open(cx, Holder::Authenticated);
        }
    }

    #[cfg(test)]
    pub(super) fn unlimited() -> Self {
        Self { gate: crate::memory::MemoryBudget::default().read_gate(), guard: None, pause: None }
    }
}

/// A metered byte stream, which the [`IdleTimeout`](super::connection_state::IdleTimeout) observes through
/// its state.
pub(super) struct MeteredIo<S> {
    io: S,
    state: Arc<ConnectionState>,
    brake: Brake,
    lingering: Lingering,
    linger: Option<Linger>,
    is_shut_down: bool,
    parts: Parts,
    /// Bytes read to detect the protocol and not yet passed on: those from `start` to `end`.
    sniffed: [u8; PREFACE.len()],
    start: usize,
    end: usize,
}

impl<S: Socket> MeteredIo<S> {
    pub(super) fn new(io: S, state: Arc<ConnectionState>, brake: Brake, lingering: Lingering) -> Self {
        Self {
            io,
            state,
            brake,
            lingering,
            linger: None,
            is_shut_down: false,
            parts: Parts::default(),
            sniffed: [0; PREFACE.len()],
            start: 0,
            end: 0,
        }
    }

    /// The queue of file parts that it sends.
    pub(super) fn parts(&self) -> Parts {
        self.parts.clone()
    }

    /// Whether the client starts with HTTP/2. Bytes read for this are passed on later.
    pub(super) async fn detect_http2(&mut self) -> io::Result<bool> {
        while self.end < PREFACE.len() {
            let count = self.io.read(&mut self.sniffed[self.end..]).await?;
            self.end += count;
            if count == 0 || self.sniffed[..self.end] != PREFACE[..self.end] {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads from the client, unless that would start a request while memory is short, or the turn is over.
    /// While a request is open, reading continues: its body, and HTTP/2 frames of other streams, must not
    /// wait.
    fn poll_read_new(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(self.state.time_slice.poll_remaining(cx));
        let starts_request = self.state.requests() == 0;
        if starts_request {
            let released = self.brake.poll_released(cx);
            self.state.set_paused(released.is_pending());
            ready!(released);
        }
        let may_be_body = self.state.is_multiplexed() || !starts_request;
        let reads_little = !may_be_body || self.state.time_slice.is_short();
        if !reads_little || buf.remaining() <= MAX_SMALL_READ {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let mut memory = [MaybeUninit::uninit(); MAX_SMALL_READ];
        let mut part = ReadBuf::uninit(&mut memory);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut part))?;
        buf.put_slice(part.filled());
        Poll::Ready(Ok(()))
    }

    fn record_write(&self, result: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(count)) = result {
            self.state.record_write(*count);
        }
    }
}

impl<S: Socket> AsyncRead for MeteredIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.start < self.end {
            let count = (self.end - self.start).min(buf.remaining());
            buf.put_slice(&self.sniffed[self.start..self.start + count]);
            self.start += count;
        } else {
            ready!(self.poll_read_new(cx, buf))?;
        }
        if !buf.filled().is_empty() {
            self.state.record_read();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: Socket> AsyncWrite for MeteredIo<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write(cx, buf);
        self.record_write(&result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { io, parts, .. } = &mut *self;
        let result = match Parts::find(bufs) {
            Some(0) => parts.poll_send(cx, io, bufs[0].len()),
            Some(first) => Pin::new(io).poll_write_vectored(cx, &bufs[..first]),
            None => Pin::new(io).poll_write_vectored(cx, bufs),
        };
        self.record_write(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { io, state, lingering, linger, is_shut_down, .. } = &mut *self;
        if !*is_shut_down {
            ready!(Pin::new(&mut *io).poll_shutdown(cx))?;
            *is_shut_down = true;
            *linger = lingering.try_start().filter(|_| state.has_unread()).map(Linger::new);
        }
        linger.as_mut().map_or(Poll::Ready(Ok(())), |linger| linger.poll(io, cx))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    impl Socket for tokio::io::DuplexStream {}

    async fn sniff(sent: &[u8]) -> (bool, Vec<u8>) {
        let (mut client, server) = tokio::io::duplex(64);
        client.write_all(sent).await.expect("fits");
        drop(client);
        let mut metered = MeteredIo::new(server, Arc::default(), Brake::unlimited(), Lingering::default());
        let http2 = metered.detect_http2().await.expect("reads");
        let mut rest = Vec::new();
        metered.read_to_end(&mut rest).await.expect("reads");
        (http2, rest)
    }

    #[tokio::test]
    async fn protocol_detection_keeps_all_bytes() {
        for sent in [&b""[..], b"P", b"PUT / HTTP/1.1\r\n", b"PRI * HTTP/1.1\r\n\r\n"] {
            assert_eq!(sniff(sent).await, (false, sent.to_vec()));
        }
        let http2 = [PREFACE, &b"frames"[..]].concat();
        assert_eq!(sniff(&http2).await, (true, http2));
    }
}
