//! The use cases against real facts and an in-memory byte store, without HTTP.

mod ci_history;
mod failures;
mod faults;
mod kit;
mod manifests;
mod properties;
mod reference;
mod retention;
mod scrub;
mod uploads;
