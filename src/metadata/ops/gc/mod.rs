//! Garbage collection: what keeps content alive, the review queue, and the purge of the trash.

pub(in crate::metadata) mod collection;
pub(in crate::metadata) mod links;
pub(in crate::metadata) mod liveness;
pub(in crate::metadata) mod purge;
pub(in crate::metadata) mod relief;
pub(in crate::metadata) mod review;
