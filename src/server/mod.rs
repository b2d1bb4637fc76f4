//! Composition root: opens the stores, builds the registry, starts the jobs, serves, and shuts down.
//!
//! | file | responsibility |
//! | --- | --- |
//! | `open` | locks and opens the blob store and its database, and checks that they belong together |
//! | `state_file`, `run_record`, `loss` | detection of lost or replaced metadata |
//! | `data_directory` | the data directory, also of an adopted registry; images of other registries in its place |
//! | `lock`, `filesystem` | one process per directory; network filesystems, directories within each other |
//! | `run` | the lifecycle of `orlop serve` |
//! | `survey` | checks of the settings against an existing store, for `check-config` |
//! | `restore` | restore of a backup |
//! | `owner` | the user that serves, if a command runs as root |
//! | `process`, `logging` | threads, limits, signals; logs |
//! | `sync_failures` | handling of failed syncs |
//! | `settings` | the settings of the registry, its jobs and its listeners, from the configuration |
//! | `access_control` | accounts, tokens and identity providers, from the configuration |
//! | `certificates` | TLS certificates |
//! | `health` | readiness checks |
//! | `disk_space` | free space, and disk space reserved for the database |
//! | `tasks` | background tasks that restart after a panic |
//! | `traces` | span export to a collector, with the feature `otlp` |
//! | `metrics` | the `/metrics` of the stores |
//! | `operations`, `admin` | `gc`, `fsck`, `scrub`, `backup`, in this process or through the admin socket |

mod access_control;
pub mod admin;
mod certificates;
mod data_directory;
mod disk_space;
mod errors;
mod filesystem;
mod health;
mod lock;
pub mod logging;
mod loss;
mod metrics;
mod open;
pub mod operations;
mod owner;
mod process;
mod restore;
mod run;
mod run_record;
mod settings;
mod state_file;
mod survey;
mod sync_failures;
mod tasks;
#[cfg(feature = "otlp")]
pub mod traces;

pub use access_control::{check_access_control_files, load_access_control};
pub use certificates::check_certificates;
pub use data_directory::{ADOPTED, is_store, with_adopted_data};
pub use errors::StartError;
pub use health::{Health, Readiness, store_fingerprint};
pub use lock::{DataLock, LockError, LockedDirectory};
pub use loss::Loss;
pub use open::{OpenMode, Opened};
pub use owner::Owner;
pub use process::disable_core_files;
pub use restore::{Restored, restore};
pub use run::serve;
pub use survey::survey;
