//! Reusable buffers for bytes that are read from or gathered for the store.
//!
//! A buffer returns to its pool when the last [`Bytes`] of it is dropped. So a long read or write neither zeroes nor
//! maps new memory for each piece, and uses memory that is still in the processor's cache.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

/// The alignment of buffers, and of reads and writes around the page cache: a page, which no disk's block size exceeds.
pub(super) const ALIGNMENT: usize = 4096;

/// A pool of idle buffers.
pub struct Buffers {
    len: usize,
    max_idle: usize,
    idle: Mutex<Vec<Box<[u8]>>>,
}

/// A buffer in use.
pub struct Buffer {
    memory: Box<[u8]>,
    start: usize,
    filled: usize,
    home: Arc<Buffers>,
}

impl Buffers {
    /// Creates a pool of buffers of `len` bytes each, of which up to `max_idle` are kept when idle.
    pub fn new(len: usize, max_idle: usize) -> Arc<Self> {
        Arc::new(Self { len, max_idle, idle: Mutex::default() })
    }

    /// Takes a buffer. Its content is arbitrary.
    pub fn take(self: &Arc<Self>) -> Buffer {
        let idle = self.idle.lock().pop();
        let memory = idle.unwrap_or_else(|| vec![0; self.len + ALIGNMENT].into_boxed_slice());
        let start = memory.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        Buffer { memory, start, filled: 0, home: Arc::clone(self) }
    }

    fn give_back(&self, memory: Box<[u8]>) {
        let mut idle = self.idle.lock();
        if idle.len() < self.max_idle {
            idle.push(memory);
        }
    }
}

impl Buffer {
    /// Returns the whole buffer for writing.
    pub fn space(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.home.len]
    }

    /// Converts the first `filled` bytes of the buffer.
    pub fn into_bytes(mut self, filled: usize) -> Bytes {
        self.filled = filled.min(self.home.len);
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.filled]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.home.give_back(std::mem::take(&mut self.memory));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_returns_to_the_pool_with_its_last_reader() {
        let buffers = Buffers::new(8, 1);
        let mut buffer = buffers.take();
        buffer.space()[..5].copy_from_slice(b"hello");
        let bytes = buffer.into_bytes(5);
        let tail = bytes.slice(1..);
        drop(bytes);
        assert_eq!(buffers.idle.lock().len(), 0);
        assert_eq!(&tail[..], b"ello");
        drop(tail);
        assert_eq!(buffers.idle.lock().len(), 1);
    }

    #[test]
    fn keeps_at_most_the_configured_number_and_aligns_all() {
        let buffers = Buffers::new(100, 2);
        let taken: Vec<Buffer> = (0..3).map(|_| buffers.take()).collect();
        for mut buffer in taken {
            assert_eq!(buffer.space().len(), 100);
            assert_eq!(buffer.space().as_ptr().align_offset(ALIGNMENT), 0);
        }
        assert_eq!(buffers.idle.lock().len(), 2);
    }
}
