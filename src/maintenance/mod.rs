//! What runs once, by a command of the operator: `adopt`, `backup`, `restore`, `export` and `fsck`. Unlike the jobs, it
//! runs to its end and reports its [`progress`]. The scrub job verifies blobs in the same way and reports the same
//! problems.

pub mod adopt;
pub mod backup;
pub mod export;
pub mod fsck;

pub mod progress;
