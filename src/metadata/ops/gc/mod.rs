//! Garbage collection: the review queue, the purge of the trash, and the removal of content before its time when quota
//! is needed.

pub(in crate::metadata) mod collection;
pub(in crate::metadata) mod purge;
pub(in crate::metadata) mod reclaim_now;
pub(in crate::metadata) mod review;
