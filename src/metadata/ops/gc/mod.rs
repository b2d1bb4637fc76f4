//! Garbage collection: the review queue, and the purge of the trash.

pub(in crate::metadata) mod collection;
pub(in crate::metadata) mod purge;
pub(in crate::metadata) mod relief;
pub(in crate::metadata) mod review;
