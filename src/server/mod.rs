//! The composition root: opens the stores, builds the registry, starts the jobs, serves, drains.
//!
//! | file | what it does |
//! | --- | --- |
//! | `open`, `stores` | takes the locks and opens what belongs together, or says why not |
//! | `state_file`, `run_record`, `loss` | recognises metadata that was lost or replaced |
//! | `foreign_layout` | warns of images that another registry left |
//! | `overlap` | whether one directory lies within another |
//! | `lock`, `filesystem` | one process a directory; no database on a network filesystem |
//! | `run` | the life of `orlop serve` |
//! | `survey` | what a store says about the settings, for `check-config` |
//! | `restore` | a backup put back |
//! | `shutdown`, `runtime`, `logging` | signals, threads, log lines |
//! | `failure`, `observed` | what happens when a sync fails |
//! | `certificates` | what TLS is spoken by |
//! | `health` | whether a push would work |
//! | `watch`, `ballast` | how much room is left, and room kept back for the database |
//! | `tasks` | background work that outlives its panics |
//! | `traces` | spans on their way to a collector, in builds that have them |
//! | `metrics` | what `/metrics` shows of the stores |
//! | `operations`, `admin` | `gc`, `fsck`, `scrub`, `backup`, here or through the admin socket |

mod access_control;
pub mod admin;
mod certificates;
mod errors;
mod failure;
mod filesystem;
mod foreign_layout;
mod health;
mod lock;
pub mod logging;
mod loss;
mod metrics;
mod observed;
mod open;
pub mod operations;
mod overlap;
mod reserve_file;
mod restore;
mod run;
mod run_record;
mod runtime;
mod shutdown;
mod state_file;
mod stores;
mod survey;
mod tasks;
#[cfg(feature = "otlp")]
pub mod traces;
mod watch;

pub use access_control::{check_access_control_files, load_access_control};
pub use certificates::check_certificates;
pub use errors::StartError;
pub use health::{Health, Readiness, store_tag};
pub use lock::{DataLock, LockError, LockedDirectory};
pub use loss::Loss;
pub use open::{Opened, Purpose};
pub use restore::{Restored, restore};
pub use run::serve;
pub use runtime::{background_runtime, leave_no_core_file, runtime};
pub use survey::survey;
