//! A connection's bytes, told to its [`ConnectionState`].

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::brake::Brake;
use super::connection_state::ConnectionState;
use super::linger::{Linger, Lingering};
use super::sendfile::{Parts, Socket};

/// How a client that speaks HTTP/2 without having agreed on it begins (RFC 9113, 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The most that is read at once where no body comes in, for what is read ahead is in memory, or where many connections
/// take turns.
const LITTLE: usize = 16 * 1024;

/// Bytes that come and go under a watchdog's eyes.
pub(super) struct MeteredIo<S> {
    io: S,
    pulse: Arc<ConnectionState>,
    brake: Brake,
    lingering: Lingering,
    linger: Option<Linger>,
    is_shut_down: bool,
    parts: Parts,
    /// What was read to tell the protocol and not yet given away: its start and end.
    sniffed: [u8; PREFACE.len()],
    start: usize,
    end: usize,
}

impl<S: Socket> MeteredIo<S> {
    pub(super) fn new(io: S, pulse: Arc<ConnectionState>, brake: Brake, lingering: Lingering) -> Self {
        Self {
            io,
            pulse,
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

    /// Where to put the parts of files that it is to send.
    pub(super) fn parts(&self) -> Parts {
        self.parts.clone()
    }

    /// Whether the client begins as one of HTTP/2 does. Takes no byte away.
    pub(super) async fn begins_http2(&mut self) -> io::Result<bool> {
        while self.end < PREFACE.len() {
            let count = self.io.read(&mut self.sniffed[self.end..]).await?;
            self.end += count;
            if count == 0 || self.sniffed[..self.end] != PREFACE[..self.end] {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads what a client sends, unless that would begin a request and memory is short. While a request is open it is
    /// read on: its body, and what HTTP/2 says of its other streams, must not wait for it. Nor when its turn is over.
    fn poll_read_new(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(self.pulse.turn().poll_lasts(cx));
        let begins_request = self.pulse.requests() == 0;
        if begins_request {
            let released = self.brake.poll_released(cx);
            self.pulse.set_braked(released.is_pending());
            ready!(released);
        }
        let may_be_body = self.pulse.is_multiplexed() || !begins_request;
        let takes_little = !may_be_body || self.pulse.turn().is_short();
        if !takes_little || buf.remaining() <= LITTLE {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let mut memory = [MaybeUninit::uninit(); LITTLE];
        let mut part = ReadBuf::uninit(&mut memory);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut part))?;
        buf.put_slice(part.filled());
        Poll::Ready(Ok(()))
    }

    fn note_write(&self, result: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(count)) = result {
            self.pulse.bytes_written(*count);
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
            self.pulse.bytes_read();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: Socket> AsyncWrite for MeteredIo<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write(cx, buf);
        self.note_write(&result);
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
        self.note_write(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { io, pulse, lingering, linger, is_shut_down, .. } = &mut *self;
        if !*is_shut_down {
            ready!(Pin::new(&mut *io).poll_shutdown(cx))?;
            *is_shut_down = true;
            *linger = lingering.begin().filter(|_| pulse.has_unread()).map(Linger::new);
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
        let mut watched = MeteredIo::new(server, Arc::default(), Brake::unlimited(), Lingering::default());
        let http2 = watched.begins_http2().await.expect("reads");
        let mut rest = Vec::new();
        watched.read_to_end(&mut rest).await.expect("reads");
        (http2, rest)
    }

    #[tokio::test]
    async fn telling_the_protocol_loses_no_byte() {
        for sent in [&b""[..], b"P", b"PUT / HTTP/1.1\r\n", b"PRI * HTTP/1.1\r\n\r\n"] {
            assert_eq!(sniff(sent).await, (false, sent.to_vec()));
        }
        let http2 = [PREFACE, &b"frames"[..]].concat();
        assert_eq!(sniff(&http2).await, (true, http2));
    }
}
