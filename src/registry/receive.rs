//! Taking a body: hashing, writing, and recording how far it has come.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::sessions::OpenUpload;
use super::{ClientBody, Fault, Registry, UploadError};
use crate::metadata::Progress;
use crate::oci::{Algorithm, Hasher, UploadId};
use crate::store::{StagedBytes, StoreError};

/// How many bytes are gathered before they are written.
const PIECE: usize = 512 << 10;

/// Pieces shorter than this are copied together. Each would keep a buffer of its connection's alive that may
/// be a thousand times as long: a client that drips bytes would fill the memory with next to nothing.
const SHORT: usize = 16 << 10;

/// After how many bytes they are synced and recorded: what a crash may cost an upload.
const NOTE_BYTES: u64 = 64 << 20;

/// After how long they are, however few.
const NOTE_EVERY: Duration = Duration::from_secs(30);

/// Takes one body into an upload that its request owns.
pub(super) struct Receiver<'a> {
    pub(super) registry: &'a Registry,
    pub(super) id: UploadId,
    pub(super) upload: &'a mut OpenUpload,
    pub(super) taken_over: CancellationToken,
}

impl Receiver<'_> {
    pub(super) async fn receive(
        mut self,
        range: Option<RangeInclusive<u64>>,
        body: ClientBody,
    ) -> Result<u64, UploadError> {
        let begin = self.upload.offset;
        let Some(range) = range else {
            return self.take(body, None).await.map(|()| self.upload.offset);
        };
        if *range.start() != begin {
            return Err(UploadError::OutOfOrder { offset: begin });
        }
        let hasher = self.upload.hasher.clone();
        let expected = range.end() - range.start() + 1;
        let outcome = self.take(body, Some(expected)).await;
        match outcome {
            Ok(()) if self.upload.offset - begin == expected => Ok(self.upload.offset),
            Ok(()) | Err(UploadError::WrongLength { .. }) => {
                // The chunk was not what it said: as if it had never come. Opening the bytes again cuts
                // them back.
                self.upload.staged = None;
                self.upload.offset = begin;
                self.upload.hasher = hasher;
                self.note_again(begin).await?;
                Err(UploadError::WrongLength { offset: begin })
            }
            Err(error) => Err(error),
        }
    }

    /// Takes back what was noted of a chunk that is undone.
    async fn note_again(&mut self, begin: u64) -> Result<(), UploadError> {
        if self.upload.noted > begin {
            let progress = Progress { offset: begin, hash_state: self.upload.hasher.save() };
            self.registry.metadata.note_progress(self.id, progress, self.registry.clock.now()).await?;
            self.upload.noted = begin;
        }
        Ok(())
    }

    /// Takes the body up to its end, or to the error that ends it. Whatever happens, the last write has
    /// ended when this returns, and offset and hash agree.
    async fn take(&mut self, mut body: ClientBody, expected: Option<u64>) -> Result<(), UploadError> {
        self.registry.admit_body().await?;
        let mut writes = Writes::new(Arc::clone(staged(self.upload)?), self.upload.offset);
        let taken = self.pump(&mut body, &mut writes, expected).await;
        match (taken, writes.flush().await) {
            // What the first write failed of tells more than that no other could follow it.
            (Err(UploadError::Fault(first)), _) => Err(first.into()),
            (_, Err(error)) => Err(error.into()),
            (taken, Ok(())) => taken,
        }
    }

    async fn pump(
        &mut self,
        body: &mut ClientBody,
        writes: &mut Writes,
        expected: Option<u64>,
    ) -> Result<(), UploadError> {
        let begin = self.upload.offset;
        let limit = self.registry.settings.max_blob_size;
        loop {
            let piece = tokio::select! {
                biased;
                () = self.taken_over.cancelled() => return Err(UploadError::TakenOver),
                piece = body.next() => piece,
            };
            let Some(piece) = piece.transpose()? else {
                return Ok(());
            };
            let after = self.upload.offset + piece.len() as u64;
            if after > limit {
                return Err(UploadError::TooLarge { limit });
            }
            if expected.is_some_and(|expected| after - begin > expected) {
                return Err(UploadError::WrongLength { offset: begin });
            }
            self.upload.hasher.update(&piece);
            self.upload.offset = after;
            if writes.push(piece).await? {
                self.registry.admit_body().await?;
                self.note_if_due(writes).await?;
            }
        }
    }

    async fn note_if_due(&mut self, writes: &mut Writes) -> Result<(), UploadError> {
        let waited = self.registry.clock.elapsed().saturating_sub(self.upload.noted_at);
        if self.upload.offset - self.upload.noted < NOTE_BYTES && waited < NOTE_EVERY {
            return Ok(());
        }
        writes.flush().await?;
        note(self.registry, self.id, self.upload).await
    }
}

/// Makes all bytes of an upload durable and records how far it has come.
pub(super) async fn note(
    registry: &Registry,
    id: UploadId,
    upload: &mut OpenUpload,
) -> Result<(), UploadError> {
    if upload.noted == upload.offset {
        return Ok(());
    }
    if let Err(error) = staged(upload)?.sync().await {
        // What a failed sync has left on the medium is unknown: nothing of it may be gone on from.
        let nothing = Progress { offset: 0, hash_state: Vec::new() };
        registry.metadata.note_progress(id, nothing, registry.clock.now()).await?;
        registry.blobs.discard(id).await?;
        return Err(error.into());
    }
    let progress = Progress { offset: upload.offset, hash_state: upload.hasher.save() };
    if !registry.metadata.note_progress(id, progress, registry.clock.now()).await? {
        return Err(UploadError::Unknown);
    }
    upload.noted = upload.offset;
    upload.noted_at = registry.clock.elapsed();
    Ok(())
}

/// The hash of an upload's bytes by another algorithm than it was begun with.
pub(super) async fn rehash(upload: &OpenUpload, algorithm: Algorithm) -> Result<Hasher, UploadError> {
    let mut hasher = Hasher::new(algorithm);
    let mut bytes = staged(upload)?.read(0..upload.offset).await?;
    while let Some(piece) = bytes.next().await.transpose()? {
        hasher.update(&piece);
    }
    Ok(hasher)
}

fn staged(upload: &OpenUpload) -> Result<&Arc<dyn StagedBytes>, Fault> {
    upload.staged.as_ref().ok_or_else(|| Fault::Failed("the upload's bytes are not open".into()))
}

/// Writes gathered pieces while the next are being received: at most one write at a time.
struct Writes {
    staged: Arc<dyn StagedBytes>,
    offset: u64,
    gathered: Vec<Bytes>,
    /// Short pieces that come behind those.
    short: BytesMut,
    len: usize,
    running: Option<JoinHandle<Result<(), StoreError>>>,
}

impl Writes {
    fn new(staged: Arc<dyn StagedBytes>, offset: u64) -> Self {
        Self { staged, offset, gathered: Vec::new(), short: BytesMut::new(), len: 0, running: None }
    }

    /// Takes a piece. `true` if that began a write.
    async fn push(&mut self, piece: Bytes) -> Result<bool, StoreError> {
        self.gather(piece);
        if self.len < PIECE {
            return Ok(false);
        }
        self.wait().await?;
        let (offset, pieces) = self.next();
        let staged = Arc::clone(&self.staged);
        self.running = Some(tokio::spawn(async move { staged.write_at(offset, pieces).await }));
        Ok(true)
    }

    /// Returns when all that was pushed is written.
    async fn flush(&mut self) -> Result<(), StoreError> {
        self.wait().await?;
        if self.len == 0 {
            return Ok(());
        }
        let (offset, pieces) = self.next();
        self.staged.write_at(offset, pieces).await
    }

    fn gather(&mut self, piece: Bytes) {
        self.len += piece.len();
        if piece.len() < SHORT {
            self.short.extend_from_slice(&piece);
        } else {
            self.seal();
            self.gathered.push(piece);
        }
    }

    /// Makes one piece of the short ones.
    fn seal(&mut self) {
        if !self.short.is_empty() {
            self.gathered.push(std::mem::take(&mut self.short).freeze());
        }
    }

    fn next(&mut self) -> (u64, Vec<Bytes>) {
        self.seal();
        let offset = self.offset;
        self.offset += self.len as u64;
        self.len = 0;
        (offset, std::mem::take(&mut self.gathered))
    }

    async fn wait(&mut self) -> Result<(), StoreError> {
        let Some(running) = self.running.take() else {
            return Ok(());
        };
        running.await.unwrap_or_else(|error| Err(StoreError::Io(std::io::Error::other(error))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{BlobStore, MemoryStore};

    #[tokio::test]
    async fn what_drips_in_is_one_piece_and_stays_in_order() {
        let staged = MemoryStore::new().stage(UploadId::random(), 0).await.expect("staged");
        let mut writes = Writes::new(Arc::clone(&staged), 0);
        let long = Bytes::from(vec![b'x'; SHORT]);
        for byte in b"0123456789" {
            writes.push(Bytes::copy_from_slice(&[*byte])).await.expect("gathered");
        }
        assert!(writes.gathered.is_empty());
        writes.push(long).await.expect("gathered");
        writes.push(Bytes::from_static(b"end")).await.expect("gathered");
        assert_eq!(writes.gathered.len(), 2);
        writes.flush().await.expect("written");
        let len = 13 + SHORT as u64;
        let mut read = staged.read(0..len).await.expect("readable");
        let mut all = Vec::new();
        while let Some(piece) = read.next().await {
            all.extend_from_slice(&piece.expect("a piece"));
        }
        assert_eq!(
            (all.len() as u64, &all[..10], &all[all.len() - 3..]),
            (len, &b"0123456789"[..], &b"end"[..])
        );
    }
}
