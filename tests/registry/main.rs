//! Tests the registry's use cases against a real metadata database and an in-memory blob store, without HTTP.

mod accounting;
mod budget;
mod ci_history;
mod details;
mod events;
mod failures;
mod faults;
mod fsck;
mod kit;
mod manifests;
mod pressure;
mod properties;
mod quota_sequences;
mod quotas;
mod reference;
mod retention;
mod retention_holds;
mod scrub;
mod signed;
mod uploads;
