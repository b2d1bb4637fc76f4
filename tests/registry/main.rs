//! The use cases against real facts and an in-memory byte store, without HTTP.

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
