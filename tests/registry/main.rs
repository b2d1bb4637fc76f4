//! Tests the registry's use cases against a real metadata database and an in-memory blob store, without HTTP.

#![expect(unreachable_pub, reason = "here `pub` means: for the other files of this program")]
#![expect(clippy::cast_possible_truncation, reason = "small numbers, and patterns of bytes")]
#![expect(clippy::unchecked_time_subtraction, reason = "between constants")]

mod accounting;
mod adoption;
mod adoption_expiry;
mod adoption_faults;
mod budget;
mod ci_history;
mod details;
mod events;
mod failures;
mod faults;
mod fsck;
mod kit;
mod machine;
mod manifests;
mod old_registry;
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
