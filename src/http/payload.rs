//! The body of a response: bytes in memory, a stream, or a file that the kernel sends.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::Stream;
use http_body::{Body, Frame, SizeHint};

use super::listen::ResponseBody;
use crate::store::{ByteStream, Content, FilePart, FileStream, StoreError};

/// The error that aborted a response.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a response. Its length is known, so that the response has a `Content-Length`, except for bodies of
/// axum's router.
pub enum Payload {
    /// No bytes, or none left.
    Empty,
    /// Bytes in memory.
    Whole(Bytes),
    /// A stream of bytes.
    Stream {
        /// The remaining pieces.
        pieces: ByteStream,
        /// The number of remaining bytes.
        left: u64,
    },
    /// The bytes of a file, which the kernel can send directly.
    File {
        /// The remaining pieces.
        pieces: FileStream,
        /// The number of remaining bytes.
        left: u64,
    },
    /// A body of axum's router.
    Routed(axum::body::Body),
}

impl Payload {
    /// A body of `content`, which has `len` bytes.
    pub fn content(content: Content, len: u64) -> Self {
        match content {
            Content::Whole(bytes) => Self::Whole(bytes),
            Content::Stream(pieces) => Self::Stream { pieces, left: len },
            Content::File(pieces) => Self::File { pieces, left: len },
        }
    }

    /// Converts the next item of a stream of which `left` bytes remain. Fails if the stream is longer or shorter.
    fn frame(
        piece: Option<Result<Bytes, StoreError>>,
        left: &mut u64,
    ) -> Option<Result<Frame<Bytes>, BoxError>> {
        Some(match piece {
            Some(Ok(piece)) if piece.len() as u64 <= *left => {
                *left -= piece.len() as u64;
                Ok(Frame::data(piece))
            }
            Some(Err(error)) => Err(error.into()),
            Some(Ok(_)) => Err(io::Error::other("the store returned more bytes than the blob has").into()),
            None if *left == 0 => return None,
            None => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
        })
    }
}

impl ResponseBody for Payload {
    fn next_part(&mut self) -> Option<FilePart> {
        let Self::File { pieces, left } = self else { return None };
        let part = pieces.next_cached_part()?;
        *left = left.saturating_sub(part.range.end - part.range.start);
        Some(part)
    }

    fn in_memory(&self) -> Option<usize> {
        match self {
            Self::Empty => Some(0),
            Self::Whole(bytes) => Some(bytes.len()),
            Self::Stream { .. } | Self::File { .. } => None,
            Self::Routed(body) => body.in_memory(),
        }
    }

    fn limit_pieces(&mut self, bytes: usize) {
        if let Self::File { pieces, .. } = self {
            pieces.limit_pieces(bytes);
        }
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Whole(bytes) => f.debug_tuple("Whole").field(&bytes.len()).finish(),
            Self::Stream { left, .. } | Self::File { left, .. } => {
                f.debug_struct("Stream").field("left", left).finish_non_exhaustive()
            }
            Self::Routed(_) => f.write_str("Routed"),
        }
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Self::Whole(bytes)
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Routed(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Self::Stream { pieces, left } => {
                Poll::Ready(Self::frame(ready!(pieces.as_mut().poll_next(cx)), left))
            }
            Self::File { pieces, left } => {
                Poll::Ready(Self::frame(ready!(Pin::new(pieces).poll_next(cx)), left))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Stream { left, .. } | Self::File { left, .. } => *left == 0,
            Self::Routed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream { left, .. } | Self::File { left, .. } => SizeHint::with_exact(*left),
            Self::Routed(body) => body.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body_util::BodyExt;

    use super::*;

    fn stream(pieces: Vec<Result<Bytes, StoreError>>, len: u64) -> Payload {
        Payload::content(Content::Stream(Box::pin(stream::iter(pieces))), len)
    }

    #[tokio::test]
    async fn a_stream_of_another_length_than_announced_fails() {
        let pieces = || vec![Ok(Bytes::from_static(b"abc")), Ok(Bytes::from_static(b"de"))];
        let payload = stream(pieces(), 5);
        assert_eq!(payload.size_hint().exact(), Some(5));
        assert_eq!(payload.collect().await.expect("fits").to_bytes(), "abcde");
        assert!(stream(pieces(), 4).collect().await.is_err());
        assert!(stream(pieces(), 6).collect().await.is_err());
        assert!(stream(vec![Err(StoreError::NotFound)], 6).collect().await.is_err());
        assert_eq!(stream(Vec::new(), 0).collect().await.expect("empty").to_bytes(), "");
    }

    #[tokio::test]
    async fn a_sent_body_is_at_its_end() {
        let mut payload = Payload::from(Bytes::from_static(b"abc"));
        assert!(!payload.is_end_stream());
        payload.frame().await.expect("a frame").expect("no error");
        assert!(payload.is_end_stream());
    }
}
