//! What runs in the background.

pub mod fsck;
mod hashing;
pub mod progress;
pub mod usage;
