//! Buffers that bytes are read into on their way out, or gathered in on their way in.
//!
//! A buffer goes back to its pool when the last [`Bytes`] of it is dropped. So a long read or write neither zeroes
//! nor maps fresh memory for each piece, and goes on in memory that is still in the processor's cache.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// What buffers begin at, and reads and writes past the page cache begin and end at: the page, which no disk's block
/// exceeds.
pub const ALIGNMENT: usize = 4096;

/// Buffers at rest.
pub struct Buffers {
    len: usize,
    most_idle: usize,
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
    /// A pool of buffers of `len` bytes each, of which up to `most_idle` are kept for later.
    pub fn new(len: usize, most_idle: usize) -> Arc<Self> {
        Arc::new(Self { len, most_idle, idle: Mutex::default() })
    }

    /// A buffer. What is in it is of no meaning.
    pub fn take(self: &Arc<Self>) -> Buffer {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let memory = idle.unwrap_or_else(|| vec![0; self.len + ALIGNMENT].into_boxed_slice());
        let start = memory.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        Buffer { memory, start, filled: 0, home: Arc::clone(self) }
    }

    fn give_back(&self, memory: Box<[u8]>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < self.most_idle {
            idle.push(memory);
        }
    }
}

impl Buffer {
    /// All of the buffer, to be written.
    pub fn space(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.home.len]
    }

    /// The first `filled` bytes of the buffer.
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
    fn a_buffer_comes_back_when_its_last_reader_is_gone() {
        let buffers = Buffers::new(8, 1);
        let mut buffer = buffers.take();
        buffer.space()[..5].copy_from_slice(b"hello");
        let bytes = buffer.into_bytes(5);
        let tail = bytes.slice(1..);
        drop(bytes);
        assert_eq!(buffers.idle.lock().expect("sound").len(), 0);
        assert_eq!(&tail[..], b"ello");
        drop(tail);
        assert_eq!(buffers.idle.lock().expect("sound").len(), 1);
    }

    #[test]
    fn no_more_are_kept_than_said_and_all_are_aligned() {
        let buffers = Buffers::new(100, 2);
        let taken: Vec<Buffer> = (0..3).map(|_| buffers.take()).collect();
        for mut buffer in taken {
            assert_eq!(buffer.space().len(), 100);
            assert_eq!(buffer.space().as_ptr().align_offset(ALIGNMENT), 0);
        }
        assert_eq!(buffers.idle.lock().expect("sound").len(), 2);
    }
}
