//! Taking a body: hashing, writing, and recording how far it has come.
//!
//! The bytes are taken in the request's own task, for each hand-over to another costs more than hashing what
//! is handed over. A client that leaves drops that task wherever it waits: so at every wait offset, hash and
//! writes agree, and what has come is seen to its end elsewhere.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;

use super::flow::Flow;
use super::sessions::{OpenUpload, Owned};
use super::uploads::detached;
use super::{ClientBody, ClientError, Registry, Repository, Requester, ServiceError, UploadError};
use crate::fair::Turn;
use crate::metadata::Progress;
use crate::oci::{Algorithm, Hasher, UploadId};
use crate::store::StagedBytes;
use crate::traces;

/// After how many bytes they are synced and recorded: what a crash may cost an upload.
const NOTE_BYTES: u64 = 64 << 20;

/// After how long they are, however few.
const NOTE_EVERY: Duration = Duration::from_secs(30);

/// For how many more bytes room is reserved than have come.
const AHEAD: u64 = 1 << 20;

/// A body on its way into an upload.
struct Receiving {
    registry: Arc<Registry>,
    id: UploadId,
    work: Option<Work>,
}

struct Work {
    requester: Requester,
    owned: Owned,
    /// Held only while bytes flow.
    flow: Option<Flow>,
    /// What the chunk said its length to be.
    expected: Option<u64>,
    /// Where the upload stood before the body, and its hash.
    before: (u64, Hasher),
    /// Up to which byte the budget has room.
    reserved: u64,
    /// Whether a quota of bytes holds for it.
    is_limited: bool,
}

impl Repository {
    /// Takes a body, which is the bytes of `range` if that is given, and gives the upload in hand back. What
    /// came before an error stays, unless the error is about the range.
    pub(super) async fn receive(
        &self,
        id: UploadId,
        range: Option<RangeInclusive<u64>>,
        body: ClientBody,
    ) -> Result<Owned, UploadError> {
        let this = self.clone();
        let mut receiving = detached(async move { this.begin(id, range).await }).await?;
        let taken = traces::step("upload body").run(receiving.pump(body)).await;
        let outcome = receiving.end(taken).await;
        if matches!(outcome, Err(UploadError::Service(ServiceError::Full(_)))) {
            // Opening it again cuts it back to what is recorded, and the database may be in need of the room.
            let _ = self.upload_offset(id).await;
        }
        if matches!(outcome, Err(UploadError::Service(ServiceError::OverQuota(_)))) {
            // Nothing that could follow would make it fit.
            let _ = self.cancel_upload(id).await;
        }
        outcome
    }

    async fn begin(
        &self,
        id: UploadId,
        range: Option<RangeInclusive<u64>>,
    ) -> Result<Receiving, UploadError> {
        let registry = &self.registry;
        let mut owned = self.own(id).await?;
        let upload = self.open(id, &mut owned).await?;
        if range.as_ref().is_some_and(|range| *range.start() != upload.offset) {
            return Err(UploadError::OutOfOrder { offset: upload.offset });
        }
        let requester = self.requester();
        registry.admit_body(&requester).await?;
        registry.close_bytes_if_crowded(upload);
        let before = (upload.offset, upload.hasher.clone());
        let expected = range.map(|range| range.end() - range.start() + 1);
        let is_limited = registry.limits_bytes(&self.name);
        let work = Work { requester, owned, flow: None, expected, before, reserved: 0, is_limited };
        Ok(Receiving { registry: Arc::clone(registry), id, work: Some(work) })
    }
}

impl Receiving {
    async fn pump(&mut self, body: ClientBody) -> Result<(), UploadError> {
        match &mut self.work {
            Some(work) => work.pump(&self.registry, self.id, body).await,
            None => Err(UploadError::Unknown),
        }
    }

    async fn end(mut self, taken: Result<(), UploadError>) -> Result<Owned, UploadError> {
        let work = self.work.take().ok_or(UploadError::Unknown)?;
        let (registry, id) = (Arc::clone(&self.registry), self.id);
        detached(async move { work.end(&registry, id, taken).await }).await
    }
}

impl Drop for Receiving {
    /// The client has left: what it sent is still written to its end, so that it can go on from there.
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            let (registry, id) = (Arc::clone(&self.registry), self.id);
            tokio::spawn(async move { work.end(&registry, id, Err(ClientError::Disconnected.into())).await });
        }
    }
}

impl Work {
    async fn pump(
        &mut self,
        registry: &Registry,
        id: UploadId,
        mut body: ClientBody,
    ) -> Result<(), UploadError> {
        while let Some(piece) = self.next_piece(registry, id, &mut body).await? {
            let after = in_hand(&mut self.owned)?.offset + piece.len() as u64;
            self.check(registry, after)?;
            self.reserve_quota(registry, id, after).await?;
            self.reserve_space(registry, id, after).await?;
            self.start_flow(registry).await?;
            self.take_in(registry, id, piece).await?;
        }
        Ok(())
    }

    /// The next piece of the body. While another client waits for this one's turn, it is given back before the
    /// wait for more bytes.
    async fn next_piece(
        &mut self,
        registry: &Registry,
        id: UploadId,
        body: &mut ClientBody,
    ) -> Result<Option<Bytes>, UploadError> {
        if self.flow.as_ref().is_some_and(Flow::is_recalled) {
            self.stop_flow(registry, id).await?;
        }
        loop {
            tokio::select! {
                biased;
                () = self.owned.taken_over.cancelled() => return Err(UploadError::TakenOver),
                piece = body.next() => return Ok(piece.transpose()?),
                () = recalled(self.flow.as_ref().map(Flow::turn)) => {}
            }
            self.stop_flow(registry, id).await?;
        }
    }

    /// Refuses a piece that ends at byte `after` where no such byte may be.
    fn check(&self, registry: &Registry, after: u64) -> Result<(), UploadError> {
        let limit = registry.settings.max_blob_size;
        if after > limit {
            return Err(UploadError::TooLarge { limit });
        }
        if self.expected.is_some_and(|expected| after - self.before.0 > expected) {
            return Err(UploadError::WrongLength { offset: self.before.0 });
        }
        Ok(())
    }

    /// Reserves room for the bytes up to `after` in the quotas.
    async fn reserve_quota(
        &mut self,
        registry: &Registry,
        id: UploadId,
        after: u64,
    ) -> Result<(), UploadError> {
        if !self.is_limited || registry.reservations.covers(id, after) {
            return Ok(());
        }
        tokio::select! {
            biased;
            () = self.owned.taken_over.cancelled() => Err(UploadError::TakenOver),
            granted = registry.grow_upload(id, &self.requester.repo, after) => Ok(granted?),
        }
    }

    /// Reserves room for the bytes up to `after` in the budget. An upload that waits for it holds no turn.
    async fn reserve_space(
        &mut self,
        registry: &Registry,
        id: UploadId,
        after: u64,
    ) -> Result<(), UploadError> {
        if registry.settings.budget.is_none() || after <= self.reserved {
            return Ok(());
        }
        let upload = Some((id, after + AHEAD));
        if !registry.try_reserve(upload).await? {
            self.stop_flow(registry, id).await?;
            tokio::select! {
                biased;
                () = self.owned.taken_over.cancelled() => return Err(UploadError::TakenOver),
                reserved = registry.reserve(&self.requester, upload) => reserved?,
            }
        }
        self.reserved = after + AHEAD;
        Ok(())
    }

    /// Waits for a turn and for memory, unless it has them.
    async fn start_flow(&mut self, registry: &Registry) -> Result<(), UploadError> {
        if self.flow.is_some() {
            return Ok(());
        }
        let flow = tokio::select! {
            biased;
            () = self.owned.taken_over.cancelled() => return Err(UploadError::TakenOver),
            flow = Flow::start(registry, &self.requester.client) => flow?,
        };
        self.flow = Some(flow);
        Ok(())
    }

    /// Gives the turn back. What was gathered is written first, so that no memory stays behind.
    async fn stop_flow(&mut self, registry: &Registry, id: UploadId) -> Result<(), UploadError> {
        let Some(flow) = &mut self.flow else { return Ok(()) };
        flow.flush().await?;
        self.flow = None;
        if registry.sessions.is_crowded() {
            // The others need their files.
            let upload = in_hand(&mut self.owned)?;
            if upload.staged.is_some() {
                note(registry, id, upload).await?;
                upload.staged = None;
            }
        }
        Ok(())
    }

    async fn take_in(&mut self, registry: &Registry, id: UploadId, piece: Bytes) -> Result<(), UploadError> {
        let Some(flow) = &mut self.flow else { return Ok(()) };
        let upload = in_hand(&mut self.owned)?;
        if !flow.is_open() {
            registry.open_bytes(id, upload).await?;
            flow.open(registry, Arc::clone(staged(upload)?), upload.offset);
        }
        upload.hasher.update(&piece);
        upload.offset += piece.len() as u64;
        if flow.push(piece).await? {
            if registry.settings.budget.is_none() {
                registry.ledger.set(id, upload.offset);
            }
            registry.admit_space().await?;
            self.note_if_due(registry, id).await?;
        }
        Ok(())
    }

    async fn note_if_due(&mut self, registry: &Registry, id: UploadId) -> Result<(), UploadError> {
        let upload = in_hand(&mut self.owned)?;
        let waited = registry.clock.elapsed().saturating_sub(upload.noted_at);
        if upload.offset - upload.noted < NOTE_BYTES && waited < NOTE_EVERY {
            return Ok(());
        }
        if let Some(flow) = &mut self.flow {
            flow.flush().await?;
        }
        note(registry, id, upload).await
    }

    /// Sees the writes to their end. Afterwards offset, hash and bytes agree, or nothing is in hand and the
    /// upload goes on from what is recorded.
    async fn end(
        mut self,
        registry: &Registry,
        id: UploadId,
        taken: Result<(), UploadError>,
    ) -> Result<Owned, UploadError> {
        let written = match &mut self.flow {
            Some(flow) => flow.flush().await,
            None => Ok(()),
        };
        if let Some(upload) = self.owned.slot.as_ref() {
            registry.ledger.set(id, upload.offset);
            registry.reservations.set(id, &upload.repo, upload.offset);
        }
        let outcome = match (taken, written) {
            // What the first write failed of tells more than that no other could follow it.
            (Err(UploadError::Service(first)), _) => Err(first.into()),
            (_, Err(error)) => Err(error.into()),
            (Ok(()), Ok(())) => self.check_length(),
            (Err(error), Ok(())) => Err(error),
        };
        match outcome {
            Err(UploadError::WrongLength { .. }) => self.undo(registry, id).await?,
            // The piece for which there was no turn or memory never came, and all before it is written.
            Err(UploadError::Service(ServiceError::Busy | ServiceError::OutOfMemory(_))) => {}
            // What of the last bytes reached the medium is unknown.
            Err(UploadError::Service(_)) => *self.owned.slot = None,
            Ok(()) | Err(_) => {}
        }
        if outcome.is_err() {
            registry.break_off(id, &mut self.owned.slot).await;
        }
        outcome.map(|()| self.owned)
    }

    fn check_length(&mut self) -> Result<(), UploadError> {
        let offset = self.before.0;
        let came = in_hand(&mut self.owned)?.offset - offset;
        if self.expected.is_some_and(|expected| came != expected) {
            return Err(UploadError::WrongLength { offset });
        }
        Ok(())
    }

    /// The chunk was not what it said: as if it had never come. Opening the bytes again cuts them back.
    async fn undo(&mut self, registry: &Registry, id: UploadId) -> Result<(), UploadError> {
        let upload = in_hand(&mut self.owned)?;
        upload.staged = None;
        (upload.offset, upload.hasher) = self.before.clone();
        if upload.noted > upload.offset {
            let progress = Progress { offset: upload.offset, hash_state: upload.hasher.save() };
            registry.metadata.note_progress(id, progress, registry.clock.now()).await?;
            upload.noted = upload.offset;
        }
        Ok(())
    }
}

/// Returns when another client waits for the turn; never without one.
async fn recalled(turn: Option<&Turn>) {
    match turn {
        Some(turn) => turn.recalled().await,
        None => std::future::pending().await,
    }
}

fn in_hand(owned: &mut Owned) -> Result<&mut OpenUpload, UploadError> {
    owned.slot.as_mut().ok_or(UploadError::Unknown)
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
    if let Err(error) = traces::step("store sync").run(staged(upload)?.sync()).await {
        // What a failed sync has left on the medium is unknown: nothing of it may be gone on from.
        let nothing = Progress { offset: 0, hash_state: Vec::new() };
        registry.metadata.note_progress(id, nothing, registry.clock.now()).await?;
        registry.discard(id).await?;
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

fn staged(upload: &OpenUpload) -> Result<&Arc<dyn StagedBytes>, ServiceError> {
    upload.staged.as_ref().ok_or_else(|| ServiceError::Failed("the upload's bytes are not open".into()))
}
