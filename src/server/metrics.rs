//! The `/metrics` of the stores, the garbage collector, retention, the disk budget and the scrub.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use tokio::runtime::Handle;

use super::disk_space::Watch;
use super::operations::Operations;
use crate::errors::Chain;
use crate::jobs::SpaceReclaimer;
use crate::metadata::{PrefixUsage, QuotaUse, ReclaimableSummary, Scope, Totals};
use crate::registry::ServiceError;

/// Maximum number of quarantined blobs that are counted.
const MAX_COUNTED_QUARANTINED: usize = 10_000;

/// Minimum age of the reclaimable space before it is measured again.
const RECLAIMABLE_INTERVAL: Duration = Duration::from_secs(30);
/// Minimum age of the usage by prefix before it is measured again.
const PREFIXES_INTERVAL: Duration = Duration::from_secs(10);

/// Minimum pause after a measurement, as a multiple of its duration.
const PAUSE_FACTOR: u32 = 50;

/// Label of all prefixes that have no metric of their own. It is no valid repository name.
const OTHERS: &str = "(other)";

/// Exports a metric under a name with a help text.
type Export<'a> = dyn FnMut(&str, &str, &dyn AnyMetric) -> fmt::Result + 'a;

/// Collects the metrics on each scrape, so that no counters need to be kept current.
pub(super) struct StoreMetrics {
    operations: Arc<Operations>,
    watch: Arc<Watch>,
    reclaimer: Arc<SpaceReclaimer>,
    totals: Mutex<Totals>,
    quarantined: AtomicU64,
    reclaimable: CachedMeasurement<ReclaimableSummary>,
    prefixes: CachedMeasurement<Vec<PrefixUsage>>,
    /// How many prefixes have metrics of their own.
    named_prefixes: usize,
}

impl fmt::Debug for StoreMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreMetrics")
    }
}

impl StoreMetrics {
    /// Creates the collector. The `named_prefixes` largest prefixes of repository names get metrics of their own.
    pub(super) fn new(
        operations: Arc<Operations>,
        watch: Arc<Watch>,
        reclaimer: Arc<SpaceReclaimer>,
        named_prefixes: usize,
    ) -> Self {
        Self {
            operations,
            watch,
            reclaimer,
            totals: Mutex::default(),
            quarantined: AtomicU64::new(0),
            reclaimable: CachedMeasurement::every(RECLAIMABLE_INTERVAL),
            prefixes: CachedMeasurement::every(PREFIXES_INTERVAL),
            named_prefixes,
        }
    }

    /// Returns the totals. If they are not available without waiting, returns the last ones.
    fn totals(&self) -> Totals {
        let mut last = self.totals.lock();
        if let Some(Ok(totals)) = self.operations.opened.registry.metadata().totals().now_or_never() {
            *last = totals;
        }
        *last
    }

    /// Returns the number of quarantined blobs. If it is not available without waiting, returns the last one.
    fn quarantined(&self) -> u64 {
        let metadata = self.operations.opened.registry.metadata();
        let count = metadata.count_quarantined(MAX_COUNTED_QUARANTINED).now_or_never();
        if let Some(Ok(count)) = count {
            self.quarantined.store(count, Ordering::Relaxed);
        }
        self.quarantined.load(Ordering::Relaxed)
    }

    fn retention(&self, show: &mut Export<'_>) -> fmt::Result {
        let status = self.operations.retention.status();
        let last_run = status.last_run.map_or(0.0, |at| at.0 as f64 / 1e3);
        show("retention_expired_tags", "Tags that policies removed", &counter(status.tags))?;
        let help = "Manifests that policies moved to the trash, without the manifests that follow them";
        show("retention_expired_manifests", help, &counter(status.manifests))?;
        let help = "Tags and manifests that retention skipped because they changed after evaluation";
        show("retention_skipped", help, &counter(status.skipped))?;
        let help = "Time at which all repositories were last evaluated, in seconds since 1970; 0 for never";
        show("retention_last_run_timestamp_seconds", help, &ConstGauge::new(last_run))?;
        let help = "1 while retention is paused, because a policy is invalid or the clock cannot be trusted";
        show("retention_paused", help, &gauge(u64::from(status.paused.is_some())))
    }

    /// Disk space by purpose.
    fn bytes(&self, totals: &Totals, show: &mut Export<'_>) -> fmt::Result {
        let help = "Disk space of blobs, each blob counted once";
        show("blob_allocated_bytes", help, &gauge(totals.blob_allocated))?;
        let help = "Disk space of blobs that are pending deletion";
        show("doomed_allocated_bytes", help, &gauge(totals.pending_deletion_allocated))?;
        if let Some(Ok(database)) = self.operations.opened.registry.metadata().own_size().now_or_never() {
            show("database_bytes", "Disk space of the database with its log", &gauge(database))?;
        }
        // Without a first measurement these metrics are left out; the next scrape has them.
        let operations = Arc::clone(&self.operations);
        let measure = async move || {
            let rules = operations.collector.rules().await?;
            Ok(operations.opened.registry.metadata().reclaimable_summary(&Scope::All, &rules).await?)
        };
        let Some(reclaimable) = self.reclaimable.last(measure) else {
            return Ok(());
        };
        let help = "Disk space of blobs that only the trash uses";
        show("trash_allocated_bytes", help, &gauge(reclaimable.trash.allocated))?;
        let help = "Disk space of blobs that only manifests without a tag, index or subject use";
        show("untagged_allocated_bytes", help, &gauge(reclaimable.untagged.allocated))?;
        let help = "Disk space of blobs under a lease, which wait for their manifest";
        show("leased_allocated_bytes", help, &gauge(reclaimable.leased.allocated))
    }

    /// Metrics with labels: quotas and the largest prefixes.
    fn labelled(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let registry = &self.operations.opened.registry;
        let metadata = Arc::clone(registry.metadata());
        if let Some(Ok(quotas)) = registry.quota_use(None).now_or_never() {
            export_quotas(&quotas, encoder)?;
        }
        let named = self.named_prefixes;
        let measure = async move || Ok(metadata.biggest_prefixes(named).await?);
        self.prefixes.last(measure).map_or(Ok(()), |prefixes| export_prefixes(&prefixes, encoder))
    }

    /// State of the disk budget, if there is one.
    fn budget(&self, show: &mut Export<'_>) -> fmt::Result {
        let Some(state) = self.watch.budget() else {
            return Ok(());
        };
        let registry = &self.operations.opened.registry;
        show("budget_bytes", "Disk budget: maximum bytes on disk", &gauge(state.budget))?;
        show("budget_used_bytes", "Used bytes of the budget, open uploads included", &gauge(state.taken()))?;
        show("budget_high_bytes", "High mark: above it space is reclaimed", &gauge(state.high))?;
        show("budget_low_bytes", "Low mark: space is reclaimed down to it", &gauge(state.low))?;
        let level = registry.budget_level(&state) as u64;
        let help = "0 below the high mark, 1 above it, 2 if pushes are refused or about to be";
        show("budget_state", help, &gauge(level))?;
        let status = self.reclaimer.status();
        show("pressure_runs", "Attempts to reclaim space for the disk budget", &counter(status.runs))?;
        show("pressure_reclaimed_bytes", "Bytes reclaimed for the disk budget", &counter(status.bytes))
    }

    fn scrub(&self, show: &mut Export<'_>) -> fmt::Result {
        let status = self.operations.scrub.status();
        let finished = status.finished_at.map_or(0.0, |at| at.0 as f64 / 1e3);
        show("scrub_checked_bytes", "Bytes that the scrub has verified", &counter(status.checked_bytes))?;
        show("scrub_checked_blobs", "Blobs that the scrub has verified", &counter(status.checked_blobs))?;
        let help = "Blobs that are quarantined because of damage, until they are pushed again";
        show("scrub_damaged_blobs", help, &gauge(self.quarantined()))?;
        let help = "Manifests that the scrub has found damaged";
        show("scrub_damaged_manifests", help, &gauge(status.damaged_manifests.len() as u64))?;
        let help = "Time at which the scrub last completed a pass, in seconds since 1970; 0 for never";
        show("scrub_last_pass_timestamp_seconds", help, &ConstGauge::new(finished))?;
        show("scrub_paused", "1 while the scrub is paused", &gauge(u64::from(status.paused.is_some())))
    }
}

impl Collector for StoreMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let totals = self.totals();
        let status = self.operations.collector.status();
        let last_run = status.last_run.map_or(0.0, |at| at.0 as f64 / 1e3);
        let mut show =
            |name: &str, help: &str, metric: &dyn AnyMetric| metric.export(&mut encoder, name, help);
        let show: &mut Export<'_> = &mut show;
        show("uploads_open", "Uploads in progress", &gauge(totals.uploads))?;
        show("blobs", "Stored blobs", &gauge(totals.blobs))?;
        show("blob_bytes", "Bytes of the stored blobs, each blob counted once", &gauge(totals.blob_bytes))?;
        show("manifests", "Recorded manifests, those in the trash included", &gauge(totals.manifests))?;
        self.bytes(&totals, show)?;
        show("disk_free_bytes", "Free bytes on the disk", &gauge(self.watch.free()))?;
        show(
            "disk_low",
            "0 with enough free disk space, 1 if it gets low, 2 if pushes are refused, 3 if unknown",
            &gauge(self.watch.severity()),
        )?;
        let help = "Time of the garbage collector's last run, in seconds since 1970";
        show("collector_last_run_timestamp_seconds", help, &ConstGauge::new(last_run))?;
        let help = "1 while expiry is paused because the clock cannot be trusted";
        show("collector_paused", help, &gauge(u64::from(status.paused.is_some())))?;
        show(
            "collector_reclaimed_bytes",
            "Bytes that the garbage collector freed",
            &counter(status.total.bytes),
        )?;
        let help = "Blobs that the garbage collector removed";
        show("collector_reclaimed_blobs", help, &counter(status.total.blobs))?;
        show("collector_errors", "Failed runs of the garbage collector", &counter(status.errors))?;
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

/// A metric of any kind.
trait AnyMetric {
    fn export(&self, encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str) -> fmt::Result;
}

impl<M: EncodeMetric> AnyMetric for M {
    fn export(&self, encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str) -> fmt::Result {
        let name = format!("orlop_{name}");
        self.encode(encoder.encode_descriptor(&name, help, None, self.metric_type())?)
    }
}

/// Exports the limits and usage of each quota. Limits that are not set are left out.
fn export_quotas(quotas: &[QuotaUse], encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let mut show = |name, help, value: fn(&QuotaUse) -> Option<u64>| {
        let rows = quotas.iter().filter_map(|found| Some((found.quota.scope.as_str(), value(found)?)));
        export_family(encoder, name, help, "scope", rows.collect())
    };
    let help = "Maximum bytes of the repositories in a scope: a name, a prefix, or empty for all";
    show("quota_bytes", help, |found| found.quota.bytes)?;
    let help = "Bytes of blobs, manifests and open uploads that count against a quota";
    show("quota_used_bytes", help, |found| Some(found.bytes))?;
    show("quota_tags", "Maximum number of tags in a scope", |found| found.quota.tags)?;
    show("quota_used_tags", "Tags that count against a quota", |found| Some(found.tags))?;
    let help = "Maximum number of repositories in a scope";
    show("quota_repositories", help, |found| found.quota.repositories)?;
    let help = "Repositories that count against a quota";
    show("quota_used_repositories", help, |found| Some(found.repositories))
}

/// Exports the usage of the repositories, by the first segment of their names.
fn export_prefixes(prefixes: &[PrefixUsage], encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let mut show = |name, help, value: fn(&PrefixUsage) -> u64| {
        let rows = prefixes.iter().map(|found| (found.prefix.as_deref().unwrap_or(OTHERS), value(found)));
        export_family(encoder, name, help, "prefix", rows.collect())
    };
    let help = "Repositories by the first segment of their names";
    show("prefix_repositories", help, |found| found.repositories)?;
    show("prefix_tags", "Tags, by the first segment of the repository name", |found| found.tags)?;
    let help = "Bytes of blobs as pushed, counted once per repository";
    show("prefix_logical_bytes", help, |found| found.logical)?;
    let help = "Disk space of blobs that only one repository has";
    show("prefix_exclusive_bytes", help, |found| found.exclusive)?;
    let help = "Disk space of blobs that several repositories have, counted once per repository";
    show("prefix_shared_bytes", help, |found| found.shared)
}

/// Writes a gauge with a value per label. Writes nothing if there are no rows.
fn export_family(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    label: &str,
    rows: Vec<(&str, u64)>,
) -> fmt::Result {
    if rows.is_empty() {
        return Ok(());
    }
    let name = format!("orlop_{name}");
    let mut metric = encoder.encode_descriptor(&name, help, None, MetricType::Gauge)?;
    for (value, number) in rows {
        ConstGauge::new(number).encode(metric.encode_family(&[(label, value)])?)?;
    }
    Ok(())
}

struct LastMeasurement<T> {
    value: Option<Arc<T>>,
    running: bool,
    next: Option<Instant>,
}

/// The cached result of a measurement that takes longer than a scrape should, up to a second with a million blobs. It
/// runs in the background, at intervals, and only while metrics are scraped.
struct CachedMeasurement<T> {
    every: Duration,
    last: Arc<Mutex<LastMeasurement<T>>>,
}

impl<T: Send + Sync + 'static> CachedMeasurement<T> {
    /// Creates a cache without a result, which is measured again once it is `every` old.
    fn every(every: Duration) -> Self {
        let last = LastMeasurement { value: None, running: false, next: None };
        Self { every, last: Arc::new(Mutex::new(last)) }
    }

    /// Returns the last result, if there is one. Starts `measure` in the background if the result is too old.
    fn last<F>(&self, measure: impl FnOnce() -> F) -> Option<Arc<T>>
    where
        F: Future<Output = Result<T, ServiceError>> + Send + 'static,
    {
        let mut last = self.last.lock();
        let is_due = last.next.is_none_or(|next| Instant::now() >= next);
        if is_due
            && !last.running
            && let Ok(runtime) = Handle::try_current()
        {
            last.running = true;
            runtime.spawn(measure_now(measure(), self.every, Arc::clone(&self.last)));
        }
        last.value.clone()
    }
}

async fn measure_now<T>(
    measurement: impl Future<Output = Result<T, ServiceError>>,
    every: Duration,
    last: Arc<Mutex<LastMeasurement<T>>>,
) {
    let started = Instant::now();
    let measured = measurement.await;
    let mut last = last.lock();
    last.running = false;
    last.next = Some(Instant::now() + every.max(started.elapsed() * PAUSE_FACTOR));
    match measured {
        Ok(value) => last.value = Some(Arc::new(value)),
        Err(error) => {
            tracing::warn!(error = %Chain(&error), "measurement failed; /metrics shows the last values");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Quota;

    #[derive(Debug)]
    struct Sample(Vec<QuotaUse>, Vec<PrefixUsage>);

    impl Collector for Sample {
        fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
            export_quotas(&self.0, &mut encoder)?;
            export_prefixes(&self.1, &mut encoder)
        }
    }

    fn export(quotas: Vec<QuotaUse>, prefixes: Vec<PrefixUsage>) -> Vec<String> {
        let mut registry = prometheus_client::registry::Registry::default();
        registry.register_collector(Box::new(Sample(quotas, prefixes)));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("encodes");
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    }

    #[test]
    fn exports_limits_and_usage_of_quotas() {
        let quota = |scope: &str, bytes, tags| QuotaUse {
            quota: Quota { bytes, tags, ..Quota::of(scope.parse().expect("a scope")) },
            bytes: 7,
            tags: 2,
            repositories: 1,
        };
        let quotas = vec![quota("", Some(100), None), quota("team/", None, Some(3))];
        assert_eq!(
            export(quotas, Vec::new()),
            [
                r#"orlop_quota_bytes{scope=""} 100"#,
                r#"orlop_quota_used_bytes{scope=""} 7"#,
                r#"orlop_quota_used_bytes{scope="team/"} 7"#,
                r#"orlop_quota_tags{scope="team/"} 3"#,
                r#"orlop_quota_used_tags{scope=""} 2"#,
                r#"orlop_quota_used_tags{scope="team/"} 2"#,
                r#"orlop_quota_used_repositories{scope=""} 1"#,
                r#"orlop_quota_used_repositories{scope="team/"} 1"#,
            ]
        );
    }

    #[test]
    fn sums_up_unnamed_prefixes() {
        let usage = |prefix: Option<&str>| PrefixUsage {
            prefix: prefix.map(str::to_owned),
            repositories: 1,
            tags: 2,
            logical: 3,
            exclusive: 4,
            shared: 5,
        };
        let shown = export(Vec::new(), vec![usage(Some("team")), usage(None)]);
        let names = ["repositories", "tags", "logical_bytes", "exclusive_bytes", "shared_bytes"];
        let expected = names.iter().zip(1..).flat_map(|(name, value)| {
            ["team", "(other)"].map(|prefix| format!("orlop_prefix_{name}{{prefix=\"{prefix}\"}} {value}"))
        });
        assert_eq!(shown, expected.collect::<Vec<_>>());
        assert!(export(Vec::new(), Vec::new()).is_empty());
    }
}
