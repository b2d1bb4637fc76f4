//! Orlop: a self-hosted OCI container registry that keeps its disk usage small by itself.
//!
//! # Architecture
//!
//! The crate is layered. Each module may import itself and the modules to its left, but none to its right;
//! `tests/modules` enforces this:
//!
//! ```text
//! clock, errors, scheduling, fair, file_state, text_file, shared_files, outbound, printable, traces, faults, memory, oci
//!   ← retention ← distribution ← store, metadata ← registry ← maintenance ← jobs ← reports ← auth ← http ← acme ← config
//!   ← server ← cli ← main
//! ```
//!
//! | module | responsibility |
//! | --- | --- |
//! | [`clock`] | time source, injected for tests |
//! | [`errors`] | chains of errors |
//! | [`scheduling`] | which work runs when: requests before background work |
//! | [`fair`] | fair sharing of slots among clients |
//! | [`file_state`] | change detection for files that are reloaded |
//! | [`text_file`] | reading of text files written by users |
//! | `shared_files` | writing of files for other programs |
//! | [`outbound`] | HTTP client for requests to other servers |
//! | [`printable`] | escaping of untrusted text for terminals |
//! | [`traces`] | OpenTelemetry spans |
//! | `faults` | fault injection into the stores, compiled for tests only |
//! | [`memory`] | memory budget for requests |
//! | [`oci`] | OCI protocol types without I/O: digests, names, ids, manifests, paths, ranges, error codes |
//! | [`retention`] | retention policies and their evaluation |
//! | [`distribution`] | directory layout of the Distribution registry (`registry:2`), read and written |
//! | [`store`] | blob storage: [`store::BlobStore`] with a filesystem implementation, and an in-memory one for tests |
//! | [`metadata`] | metadata storage: [`metadata::Metadata`] with a SQLite implementation |
//! | [`registry`] | domain logic: uploads, blobs, manifests, tags, referrers |
//! | [`maintenance`] | what an operator runs by command: adopt, backup, restore, export, fsck |
//! | [`jobs`] | what runs by itself: garbage collection, retention, scrub, disk pressure |
//! | [`reports`] | usage, why, listings and trash as plain values |
//! | [`auth`] | authentication and authorisation |
//! | [`http`] | HTTP: routes, handlers, and the mapping of errors to status codes |
//! | [`acme`] | ACME client that obtains and renews TLS certificates |
//! | [`config`] | settings from file and environment |
//! | [`server`] | composition root: opens the stores, builds the registry, starts jobs, serves, shuts down |
//! | [`cli`] | command line |
//!
//! # Invariants
//!
//! Two invariants shape the design:
//!
//! * *Blob before row, row before blob.* A push makes a blob durable before a row refers to it. A deletion removes
//!   the row before it removes the blob. So no metadata refers to a blob that is not on the disk.
//! * *An accepted manifest is complete.* Everything it references stays pullable until a user deletes the manifest.

pub mod acme;
pub mod auth;
pub mod cli;
pub mod clock;
pub mod config;
pub mod distribution;
pub mod errors;
pub mod fair;
#[cfg(any(test, feature = "testing"))]
#[path = "../tests/doubles/faults/mod.rs"]
pub mod faults;
pub mod file_state;
pub mod http;
pub mod jobs;
pub mod maintenance;
pub mod memory;
#[allow(
    unreachable_pub,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::enum_glob_use,
    clippy::unnecessary_wraps,
    clippy::wildcard_imports,
    reason = "older than these lints: records and rules still use `pub`, casts of sizes and glob imports"
)]
pub mod metadata;
pub mod oci;
pub mod outbound;
pub mod printable;
pub mod registry;
pub mod reports;
pub mod retention;
pub mod scheduling;
pub mod server;
mod shared_files;
pub mod store;
pub mod text_file;
pub mod traces;
