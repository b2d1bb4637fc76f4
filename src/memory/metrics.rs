//! What `/metrics` shows of the budget.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::{MemoryBudget, Purpose};

impl Collector for MemoryBudget {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut gauge = |name, help, value: usize| {
            let encoder = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value as u64).encode(encoder)
        };
        let help = "The most memory that requests may make the server hold (server.memory)";
        gauge("orlop_memory_budget_bytes", help, self.limit())?;
        let help = "Memory reserved by requests of anonymous clients";
        gauge("orlop_memory_anonymous_bytes", help, self.reserved_by_anonymous())?;
        gauge("orlop_memory_waiting", "Requests that wait for memory", self.waiting())?;
        let help = "Memory reserved by requests";
        let mut family =
            encoder.encode_descriptor("orlop_memory_reserved_bytes", help, None, MetricType::Gauge)?;
        for purpose in Purpose::ALL {
            let bytes = ConstGauge::new(self.reserved_for(purpose) as u64);
            bytes.encode(family.encode_family(&[("purpose", purpose.label())])?)?;
        }
        let help = "Requests refused for want of memory";
        let encoder = encoder.encode_descriptor("orlop_memory_refusals", help, None, MetricType::Counter)?;
        ConstCounter::new(self.refusals()).encode(encoder)
    }
}
