//! The composition root: opens the stores, builds the registry, starts the jobs, serves, drains.
//!
//! | file | what it does |
//! | --- | --- |
//! | `open` | takes the lock and opens what belongs together, or says why not |
//! | `lock`, `filesystem` | one process a data directory; no database on a network filesystem |
//! | `run` | the life of `orlop serve` |
//! | `restore` | a backup put back |
//! | `shutdown`, `runtime`, `logging` | signals, threads, log lines |
//! | `health` | whether a push would work |
//! | `watch`, `ballast` | how much room is left, and room kept back for the database |
//! | `tasks`, `metrics` | background work that outlives its panics; what `/metrics` shows of the stores |
//! | `operations`, `admin` | `gc`, `fsck`, `usage`, `backup`, here or through the admin socket |
//!
//! **When a sync fails.** The file that was being written is thrown away and never synced again; its client
//! is told that its push failed. `/readyz` turns red, and goes back to green only when a fresh write, to the
//! bytes and to the facts, has been seen to become durable: the filesystem store holds no file open between
//! two uploads, so that probe is the store opened anew, and the SQLite writer reopens its connection.

pub mod admin;
mod ballast;
mod errors;
mod filesystem;
mod health;
mod lock;
pub mod logging;
mod metrics;
mod open;
pub mod operations;
mod restore;
mod run;
mod runtime;
mod shutdown;
mod tasks;
mod watch;

pub use errors::StartError;
pub use health::{Health, Readiness};
pub use lock::{DataLock, LockError};
pub use open::{Opened, Purpose, collector_settings};
pub use restore::{Restored, restore};
pub use run::{listen_settings, serve};
pub use runtime::runtime;
