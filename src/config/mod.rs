//! All settings: names, defaults, sources and allowed values.
//!
//! A setting's *key* is its section and name, such as `gc.interval`. Its value comes from the first of these sources
//! that sets it: a flag, the environment (`ORLOP_GC__INTERVAL`), the file, the default. An invalid setting ends the
//! program before it changes anything. The error names the key, the source of its value, and the allowed values.

mod acme;
mod auth;
mod check;
mod error;
mod import;
mod load;
mod sections;
mod text;
mod units;

pub use acme::{Acme, Directory, DnsName, Email};
pub use auth::{
    AsText, Auth, FileRole, Globs, IdentityProvider, KeysAt, ModeSetting, PrivateUrl, ProviderName,
    ProviderRule, Secret, TokenAuthority,
};
pub use check::MIN_SCRUB_RATE;
pub use error::{ConfigError, Origin};
pub use import::{Carried, ImportError, Imported, MAX_CONFIG_BYTES, Remark, import};
pub use load::{Flag, Sources, variable};
pub use sections::*;
pub use units::{
    Budget, CollectorUrl, Count, Listen, LogFilter, Network, Percent, Period, PublicUrl, Size, Span, Untagged,
};
