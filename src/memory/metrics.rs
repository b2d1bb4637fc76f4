//! The metrics of the memory budget.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use strum::VariantArray;

use super::{MemoryBudget, Purpose};

impl Collector for MemoryBudget {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut gauge = |name, help, value: usize| {
            let encoder = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value as u64).encode(encoder)
        };
        let help = "Maximum memory held for requests (server.memory)";
        gauge("orlop_memory_budget_bytes", help, self.limit())?;
        let help = "Memory reserved for requests of anonymous clients";
        gauge("orlop_memory_anonymous_bytes", help, self.reserved_by_anonymous())?;
        gauge("orlop_memory_waiting", "Requests waiting for memory", self.waiting())?;
        let help = "Memory reserved for requests";
        let mut family =
            encoder.encode_descriptor("orlop_memory_reserved_bytes", help, None, MetricType::Gauge)?;
        for purpose in Purpose::VARIANTS {
            let bytes = ConstGauge::new(self.reserved_for(*purpose) as u64);
            bytes.encode(family.encode_family(&[("purpose", <&str>::from(purpose))])?)?;
        }
        let help = "Requests rejected because not enough memory was free";
        let encoder = encoder.encode_descriptor("orlop_memory_refusals", help, None, MetricType::Counter)?;
        ConstCounter::new(self.refusals()).encode(encoder)
    }
}
