//! The buffers that bytes are read into on their way out.
//!
//! A piece goes back to the pool when the last [`Bytes`] of it is dropped. So a long read neither zeroes nor
//! maps fresh memory for each piece, and goes on in a buffer that is still in the processor's cache.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// How long a piece is: system calls are few enough then to cost nothing, and a piece fits the cache.
pub(super) const PIECE: usize = 256 << 10;

/// How many pieces are kept for later.
const MOST_IDLE: usize = 8;

/// Buffers at rest.
#[derive(Default)]
pub(super) struct Pieces {
    idle: Mutex<Vec<Box<[u8]>>>,
}

/// A buffer in use.
pub(super) struct Piece {
    buffer: Box<[u8]>,
    filled: usize,
    home: Arc<Pieces>,
}

impl Pieces {
    pub(super) fn take(self: &Arc<Self>) -> Piece {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let buffer = idle.unwrap_or_else(|| vec![0; PIECE].into_boxed_slice());
        Piece { buffer, filled: 0, home: Arc::clone(self) }
    }

    fn give_back(&self, buffer: Box<[u8]>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MOST_IDLE {
            idle.push(buffer);
        }
    }
}

impl Piece {
    /// All of the buffer, to be written.
    pub(super) fn buffer(&mut self) -> &mut [u8] {
        &mut self.buffer
    }

    /// The first `filled` bytes of the buffer.
    pub(super) fn into_bytes(mut self, filled: usize) -> Bytes {
        self.filled = filled.min(PIECE);
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.filled]
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.home.give_back(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_comes_back_when_its_last_reader_is_gone() {
        let pieces = Arc::new(Pieces::default());
        let mut piece = pieces.take();
        piece.buffer()[..5].copy_from_slice(b"hello");
        let bytes = piece.into_bytes(5);
        let tail = bytes.slice(1..);
        drop(bytes);
        assert_eq!(pieces.idle.lock().expect("sound").len(), 0);
        assert_eq!(&tail[..], b"ello");
        drop(tail);
        assert_eq!(pieces.idle.lock().expect("sound").len(), 1);
    }
}
