//! Orlop: a self-hosted OCI registry whose store stays small by itself.
//!
//! The rooms, and the way that data flows between them. Imports go leftward only
//! (`tests/rooms.rs` fails when one does not):
//!
//! ```text
//! clock, fair, file_state, text_file, outbound, printable, traces, faults, memory, oci ← retention ← store, metadata
//!   ← registry ← jobs ← auth ← http ← acme ← config ← server ← cli ← main
//! ```
//!
//! | room | what lives there |
//! | --- | --- |
//! | [`clock`] | time, passed in |
//! | [`fair`] | fair shares of places among clients |
//! | [`file_state`] | whether a file is what it was, for those that read one again |
//! | [`text_file`] | text files that people write |
//! | [`outbound`] | requests to others' servers |
//! | [`printable`] | text from elsewhere, as a terminal may be given it |
//! | [`traces`] | what is done as spans, for a collector of traces |
//! | [`faults`] | what is to go wrong in a store, and when, for tests |
//! | [`memory`] | the budget of what requests make the process hold |
//! | [`oci`] | the pure protocol: digests, names, ids, manifests, paths, ranges, error codes |
//! | [`retention`] | what may expire and what must stay: policies, and the one evaluator of them |
//! | [`store`] | the bytes: [`store::BlobStore`] and its filesystem and in-memory implementations |
//! | [`metadata`] | the facts: [`metadata::MetadataStore`] and its SQLite implementation |
//! | [`registry`] | the use cases: uploads, blobs, manifests, tags, referrers |
//! | [`jobs`] | what runs in the background: the collector and its companions |
//! | [`auth`] | who may do what |
//! | [`http`] | the wire: routes, handlers, and the one place that knows status codes |
//! | [`acme`] | certificates that an authority gives by itself |
//! | [`config`] | every setting, from file and environment |
//! | [`server`] | the composition root: open, build, spawn, serve, drain |
//! | [`cli`] | the commands |
//!
//! Two promises shape everything: *bytes before row, row before bytes* (a record never points at bytes
//! that are not durable; bytes are never removed while a record points at them), and *an accepted
//! manifest is whole* until somebody deletes it.

pub mod acme;
pub mod auth;
pub mod cli;
pub mod clock;
pub mod config;
pub mod fair;
pub mod faults;
pub mod file_state;
pub mod http;
pub mod jobs;
pub mod memory;
pub mod metadata;
pub mod oci;
pub mod outbound;
pub mod printable;
pub mod registry;
pub mod retention;
pub mod server;
pub mod store;
pub mod text_file;
pub mod traces;
