//! One run: until there is room, or nothing more may go.

use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;

use super::RoomMaking;
use super::relief::Need;
use crate::clock::Timestamp;
use crate::registry::ServiceError;

/// The most manifests that leave the trash between two looks.
const MOST: u64 = 256;

/// While writers wait, more goes than is needed in the end if what has gone is leased yet; but not more than so
/// many looks in vain.
const IN_VAIN: u64 = 3;

/// A run, and how it is getting on.
pub(super) struct Run<'a> {
    job: &'a RoomMaking,
    /// How many manifests go before the next look: more, where each is small.
    chunk: AtomicU64,
    /// How many had gone at the last one.
    seen: AtomicU64,
    /// How often in a row nothing came free.
    in_vain: AtomicU64,
}

impl<'a> Run<'a> {
    pub(super) fn new(job: &'a RoomMaking) -> Self {
        let (seen, in_vain) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { job, chunk: AtomicU64::new(1), seen, in_vain }
    }

    /// Makes room: garbage goes, then the oldest trash, then what policies allow.
    pub(super) async fn make_room(&self) -> Result<(), ServiceError> {
        self.collect(0).await?;
        if !self.job.collector.clock_is_trusted().await? {
            return Ok(());
        }
        loop {
            if self.is_enough().await? {
                return Ok(());
            }
            let chunk = self.chunk.load(Ordering::Relaxed);
            if self.empty_trash(chunk).await? == 0 {
                break;
            }
        }
        if let Some(relief) = &self.job.relief {
            let relieved = relief.relieve(self).await?;
            while !self.is_enough().await? && self.empty_trash(MOST).await? > 0 {}
            tracing::debug!(tags = relieved.tags, manifests = relieved.manifests, "policies made room");
        }
        Ok(())
    }

    /// Purges up to `limit` manifests of the trash and removes what comes free. How many there were.
    async fn empty_trash(&self, limit: u64) -> Result<u64, ServiceError> {
        let (registry, limit) = (&self.job.registry, usize::try_from(limit).unwrap_or(usize::MAX));
        let going = registry.metadata().oldest_trash(limit).await?;
        if going.is_empty() {
            return Ok(0);
        }
        let count = going.len();
        let expected = registry.metadata().would_free(going).await?;
        registry.empty_trash(None, Timestamp(i64::MAX), count).await?;
        let missing = self.job.missing().await?;
        let freed = self.collect(expected).await?;
        self.in_vain.fetch_add(1, Ordering::Relaxed);
        if freed > 0 {
            self.in_vain.store(0, Ordering::Relaxed);
        }
        if freed < missing / 8 {
            let chunk = self.chunk.load(Ordering::Relaxed);
            self.chunk.store((chunk * 2).min(MOST), Ordering::Relaxed);
        }
        Ok(count as u64)
    }

    /// Collects all that may go by now. How many bytes came free, of the `expected` ones or others.
    async fn collect(&self, expected: u64) -> Result<u64, ServiceError> {
        let (mut freed, mut more) = (0, true);
        while more {
            let (done, waiting) = self.job.collector.collect().await?;
            (freed, more) = (freed + done.bytes, waiting);
        }
        self.job.note_freed(expected, freed);
        Ok(freed)
    }

    /// Whether there is room, or will be without more having to go.
    async fn is_enough(&self) -> Result<bool, ServiceError> {
        let missing = self.job.missing().await?;
        if missing == 0 {
            return Ok(true);
        }
        let patient = !self.job.registry.pressure().is_waited_at();
        let in_vain = self.in_vain.load(Ordering::Relaxed) >= IN_VAIN;
        Ok((patient || in_vain) && self.job.promised() >= missing)
    }
}

#[async_trait]
impl Need for Run<'_> {
    async fn is_met(&self, gone: u64) -> Result<bool, ServiceError> {
        let fresh = gone.saturating_sub(self.seen.load(Ordering::Relaxed));
        if fresh > 0 && fresh < self.chunk.load(Ordering::Relaxed) {
            return Ok(false);
        }
        self.seen.store(gone, Ordering::Relaxed);
        let mut left = fresh;
        while left > 0 {
            let emptied = self.empty_trash(left.min(MOST)).await?;
            left = if emptied == 0 { 0 } else { left.saturating_sub(emptied) };
        }
        self.is_enough().await
    }
}
