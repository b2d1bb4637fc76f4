//! Metrics with labels: quotas, and the repository prefixes that use the most space.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::metadata::{PrefixUsage, QuotaUse};

/// Label of all prefixes that have no metric of their own. It is no valid repository name.
const OTHERS: &str = "(other)";

/// Exports the limits and usage of each quota. Limits that are not set are left out.
pub(super) fn quotas(quotas: &[QuotaUse], encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let mut show = |name, help, value: fn(&QuotaUse) -> Option<u64>| {
        let rows = quotas.iter().filter_map(|found| Some((found.quota.scope.as_str(), value(found)?)));
        family(encoder, name, help, "scope", rows.collect())
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
pub(super) fn prefixes(prefixes: &[PrefixUsage], encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let mut show = |name, help, value: fn(&PrefixUsage) -> u64| {
        let rows = prefixes.iter().map(|found| (found.prefix.as_deref().unwrap_or(OTHERS), value(found)));
        family(encoder, name, help, "prefix", rows.collect())
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
fn family(
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

#[cfg(test)]
mod tests {
    use prometheus_client::collector::Collector;

    use super::*;
    use crate::metadata::Quota;

    #[derive(Debug)]
    struct Sample(Vec<QuotaUse>, Vec<PrefixUsage>);

    impl Collector for Sample {
        fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
            quotas(&self.0, &mut encoder)?;
            prefixes(&self.1, &mut encoder)
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
