//! What `/metrics` shows of the stores, the collector and the scrub.

mod labelled;
mod looks;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use looks::Looks;

use super::operations::Operator;
use super::watch::Watch;
use crate::jobs::RoomMaking;
use crate::metadata::{Holdings, PrefixUsage, Scope, Totals};

/// More damaged blobs than are counted one by one.
const MOST_DAMAGED: usize = 10_000;

/// How old what may go, and what repositories use, is at least when it is looked at again.
const HOLDINGS_EVERY: Duration = Duration::from_secs(30);
const PREFIXES_EVERY: Duration = Duration::from_secs(10);

/// Shows a metric by its name and what it means.
type Show<'a> = dyn FnMut(&str, &str, &dyn Shown) -> fmt::Result + 'a;

/// Read when somebody asks, so that nothing has to be kept current meanwhile.
pub(super) struct StoreMetrics {
    operator: Arc<Operator>,
    watch: Arc<Watch>,
    room: Arc<RoomMaking>,
    totals: Mutex<Totals>,
    damaged: AtomicU64,
    holdings: Looks<Holdings>,
    prefixes: Looks<Vec<PrefixUsage>>,
    /// How many prefixes are told by name.
    named: usize,
}

impl fmt::Debug for StoreMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreMetrics")
    }
}

impl StoreMetrics {
    /// Of the prefixes of repositories' names, so many of the largest are `named`.
    pub(super) fn new(
        operator: Arc<Operator>,
        watch: Arc<Watch>,
        room: Arc<RoomMaking>,
        named: usize,
    ) -> Self {
        let (totals, damaged) = (Mutex::default(), AtomicU64::new(0));
        let (holdings, prefixes) = (Looks::every(HOLDINGS_EVERY), Looks::every(PREFIXES_EVERY));
        Self { operator, watch, room, totals, damaged, holdings, prefixes, named }
    }

    /// The totals; those of the last time, where they can't be had without waiting.
    fn totals(&self) -> Totals {
        let mut last = self.totals.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Ok(totals)) = self.operator.opened.registry.metadata().totals().now_or_never() {
            *last = totals;
        }
        *last
    }

    /// How many blobs are set aside; those of the last time, where that can't be had without waiting.
    fn damaged(&self) -> u64 {
        let metadata = self.operator.opened.registry.metadata();
        let count = metadata.count_damaged(MOST_DAMAGED).now_or_never();
        if let Some(Ok(count)) = count {
            self.damaged.store(count, Ordering::Relaxed);
        }
        self.damaged.load(Ordering::Relaxed)
    }

    fn retention(&self, show: &mut Show<'_>) -> fmt::Result {
        let status = self.operator.retention.status();
        let last_run = status.last_run.map_or(0.0, |at| at.0 as f64 / 1e3);
        show("retention_expired_tags", "Tags that policies let go", &counter(status.tags))?;
        let help = "Manifests that policies moved to the trash, not counting what follows them";
        show("retention_expired_manifests", help, &counter(status.manifests))?;
        let help = "Tags and manifests that were left alone because they had changed since they were judged";
        show("retention_skipped", help, &counter(status.skipped))?;
        let help = "When all repositories had last been judged, in seconds since 1970; 0 for never";
        show("retention_last_run_timestamp_seconds", help, &ConstGauge::new(last_run))?;
        let help = "1 while policies let nothing go, because they or the clock cannot be trusted";
        show("retention_paused", help, &gauge(u64::from(status.paused.is_some())))
    }

    /// Bytes by what they are for, as the disk spends them.
    fn bytes(&self, totals: &Totals, show: &mut Show<'_>) -> fmt::Result {
        let help = "What the disk spends on blobs, each blob once";
        show("blob_allocated_bytes", help, &gauge(totals.blob_allocated))?;
        let help = "What the disk spends on blobs that are about to be removed";
        show("doomed_allocated_bytes", help, &gauge(totals.doomed_allocated))?;
        if let Some(Ok(database)) = self.operator.opened.registry.metadata().own_size().now_or_never() {
            show("database_bytes", "What the disk spends on the database with its log", &gauge(database))?;
        }
        // None before the first look; that of the next time tells.
        let operator = Arc::clone(&self.operator);
        let look = async move || {
            let rules = operator.collector.rules().await?;
            Ok(operator.opened.registry.metadata().holdings(&Scope::All, &rules).await?)
        };
        let Some(holdings) = self.holdings.last(look) else {
            return Ok(());
        };
        let help = "What the disk spends on blobs that only the trash holds";
        show("trash_allocated_bytes", help, &gauge(holdings.trash.allocated))?;
        let help =
            "What the disk spends on blobs that only manifests hold that no tag, index or subject does";
        show("untagged_allocated_bytes", help, &gauge(holdings.untagged.allocated))?;
        let help = "What the disk spends on blobs that wait for their manifest";
        show("leased_allocated_bytes", help, &gauge(holdings.leased.allocated))
    }

    /// What is told of quotas and repositories by name.
    fn labelled(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let registry = &self.operator.opened.registry;
        let metadata = Arc::clone(registry.metadata());
        if let Some(Ok(quotas)) = registry.quota_use(None).now_or_never() {
            labelled::quotas(&quotas, encoder)?;
        }
        let named = self.named;
        let look = async move || Ok(metadata.biggest_prefixes(named).await?);
        self.prefixes.last(look).map_or(Ok(()), |prefixes| labelled::prefixes(&prefixes, encoder))
    }

    /// How the budget stands, if there is one.
    fn budget(&self, show: &mut Show<'_>) -> fmt::Result {
        let Some(state) = self.watch.budget() else {
            return Ok(());
        };
        let registry = &self.operator.opened.registry;
        show("budget_bytes", "The most that the registry may take of the disk", &gauge(state.budget))?;
        show("budget_used_bytes", "What it takes, open uploads included", &gauge(state.taken()))?;
        show("budget_high_bytes", "Above this room is made", &gauge(state.high))?;
        show("budget_low_bytes", "Until less than this is taken", &gauge(state.low))?;
        let level = registry.budget_level(&state) as u64;
        let help = "1 above the high mark, 2 if pushes are refused or about to be";
        show("budget_state", help, &gauge(level))?;
        let status = self.room.status();
        show("pressure_runs", "How often room was made for the budget, or not found", &counter(status.runs))?;
        show("pressure_reclaimed_bytes", "Bytes that came free by that", &counter(status.bytes))
    }

    fn scrub(&self, show: &mut Show<'_>) -> fmt::Result {
        let status = self.operator.scrub.status();
        let finished = status.finished_at.map_or(0.0, |at| at.0 as f64 / 1e3);
        show("scrub_checked_bytes", "Bytes that the scrub has read", &counter(status.checked_bytes))?;
        show("scrub_checked_blobs", "Blobs that the scrub has read", &counter(status.checked_blobs))?;
        let help = "Blobs that are damaged and set aside, until they are pushed again";
        show("scrub_damaged_blobs", help, &gauge(self.damaged()))?;
        let help = "Manifests whose bytes the scrub has found damaged";
        show("scrub_damaged_manifests", help, &gauge(status.damaged_manifests.len() as u64))?;
        let help = "When the scrub had last read everything, in seconds since 1970; 0 for never";
        show("scrub_last_pass_timestamp_seconds", help, &ConstGauge::new(finished))?;
        show("scrub_paused", "1 while the scrub pauses", &gauge(u64::from(status.paused.is_some())))
    }
}

impl Collector for StoreMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (totals, status) = (self.totals(), self.operator.collector.status());
        let last_run = status.last_run.map_or(0.0, |at| at.0 as f64 / 1e3);
        let mut show = |name: &str, help: &str, metric: &dyn Shown| metric.show(&mut encoder, name, help);
        let show: &mut Show<'_> = &mut show;
        show("uploads_open", "Uploads in progress", &gauge(totals.uploads))?;
        show("blobs", "Blobs stored", &gauge(totals.blobs))?;
        show("blob_bytes", "Bytes of the blobs stored, each blob once", &gauge(totals.blob_bytes))?;
        show("manifests", "Manifests recorded, those in the trash included", &gauge(totals.manifests))?;
        self.bytes(&totals, show)?;
        show("disk_free_bytes", "Bytes that can still be written", &gauge(self.watch.free()))?;
        show(
            "disk_low",
            "1 if the disk is getting full, 2 if pushes are refused",
            &gauge(self.watch.severity()),
        )?;
        let help = "When the collector last ran, in seconds since 1970";
        show("collector_last_run_timestamp_seconds", help, &ConstGauge::new(last_run))?;
        let help = "1 while nothing expires because the clock cannot be trusted";
        show("collector_paused", help, &gauge(u64::from(status.paused.is_some())))?;
        show(
            "collector_reclaimed_bytes",
            "Bytes that the collector gave back",
            &counter(status.total.bytes),
        )?;
        show("collector_reclaimed_blobs", "Blobs that the collector removed", &counter(status.total.blobs))?;
        show("collector_errors", "Runs of the collector that failed", &counter(status.errors))?;
        self.retention(show)?;
        self.budget(show)?;
        self.scrub(show)?;
        self.labelled(&mut encoder)
    }
}

fn gauge(value: u64) -> ConstGauge<u64> {
    ConstGauge::new(value)
}

fn counter(value: u64) -> ConstCounter<u64> {
    ConstCounter::new(value)
}

/// A metric, whatever its kind.
trait Shown {
    fn show(&self, encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str) -> fmt::Result;
}

impl<M: EncodeMetric> Shown for M {
    fn show(&self, encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str) -> fmt::Result {
        let name = format!("orlop_{name}");
        self.encode(encoder.encode_descriptor(&name, help, None, self.metric_type())?)
    }
}
