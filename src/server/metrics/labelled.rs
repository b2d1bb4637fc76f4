//! What `/metrics` shows of each quota, and of the repositories that use the most.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::metadata::{PrefixUsage, QuotaUse};

/// The label of all that are not told by name. No repository has it: it is no name.
const OTHERS: &str = "(other)";

/// Shows what each quota is and what is used of it; a limit that it does not set has no line.
pub(super) fn quotas(quotas: &[QuotaUse], encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let mut show = |name, help, value: fn(&QuotaUse) -> Option<u64>| {
        let rows = quotas.iter().filter_map(|found| Some((found.quota.scope.as_str(), value(found)?)));
        family(encoder, (name, help), "scope", rows.collect())
    };
    let help =
        "The most bytes that the repositories of a scope may use: a name, a prefix, or nothing for all";
    show("quota_bytes", help, |found| found.quota.bytes)?;
    show("quota_used_bytes", "Bytes of blobs, manifests and open uploads used of a quota", |found| {
        Some(found.bytes)
    })?;
    show("quota_tags", "The most tags that the repositories of a scope may have", |found| found.quota.tags)?;
    show("quota_used_tags", "Tags used of a quota", |found| Some(found.tags))?;
    let help = "The most names of repositories of a scope";
    show("quota_repositories", help, |found| found.quota.repositories)?;
    show("quota_used_repositories", "Names of repositories used of a quota", |found| Some(found.repositories))
}

/// Shows what the repositories use whose names begin with the same segment.
pub(super) fn prefixes(prefixes: &[PrefixUsage], encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let mut show = |name, help, value: fn(&PrefixUsage) -> u64| {
        let rows = prefixes.iter().map(|found| (found.prefix.as_deref().unwrap_or(OTHERS), value(found)));
        family(encoder, (name, help), "prefix", rows.collect())
    };
    let help = "Repositories by the first segment of their names";
    show("prefix_repositories", help, |found| found.repositories)?;
    show("prefix_tags", "Tags of these repositories", |found| found.tags)?;
    let help = "Bytes of their blobs as pushed, as often as a repository has each";
    show("prefix_logical_bytes", help, |found| found.logical)?;
    let help = "What the disk spends on blobs that only one repository of the registry has";
    show("prefix_exclusive_bytes", help, |found| found.exclusive)?;
    let help = "What the disk spends on blobs that several have, as often as one of these does";
    show("prefix_shared_bytes", help, |found| found.shared)
}

/// A gauge with a value for each of the labels; nothing where there are none.
fn family(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help): (&str, &str),
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
    struct Shown(Vec<QuotaUse>, Vec<PrefixUsage>);

    impl Collector for Shown {
        fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
            quotas(&self.0, &mut encoder)?;
            prefixes(&self.1, &mut encoder)
        }
    }

    fn told(quotas: Vec<QuotaUse>, prefixes: Vec<PrefixUsage>) -> Vec<String> {
        let mut registry = prometheus_client::registry::Registry::default();
        registry.register_collector(Box::new(Shown(quotas, prefixes)));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("encodes");
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    }

    #[test]
    fn a_quota_tells_its_limits_and_what_is_used() {
        let quota = |scope: &str, bytes, tags| QuotaUse {
            quota: Quota { bytes, tags, ..Quota::of(scope.parse().expect("a scope")) },
            bytes: 7,
            tags: 2,
            repositories: 1,
        };
        let quotas = vec![quota("", Some(100), None), quota("team/", None, Some(3))];
        assert_eq!(
            told(quotas, Vec::new()),
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
    fn what_is_not_told_by_name_is_told_together() {
        let usage = |prefix: Option<&str>| PrefixUsage {
            prefix: prefix.map(str::to_owned),
            repositories: 1,
            tags: 2,
            logical: 3,
            exclusive: 4,
            shared: 5,
        };
        let shown = told(Vec::new(), vec![usage(Some("team")), usage(None)]);
        let names = ["repositories", "tags", "logical_bytes", "exclusive_bytes", "shared_bytes"];
        let expected = names.iter().zip(1..).flat_map(|(name, value)| {
            ["team", "(other)"].map(|prefix| format!("orlop_prefix_{name}{{prefix=\"{prefix}\"}} {value}"))
        });
        assert_eq!(shown, expected.collect::<Vec<_>>());
        assert!(told(Vec::new(), Vec::new()).is_empty());
    }
}
