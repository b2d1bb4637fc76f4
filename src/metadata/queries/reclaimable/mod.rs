//! Computes how much space removing content would free.

pub(in crate::metadata) mod graph;
pub(in crate::metadata) mod leases;
pub(in crate::metadata) mod summary;
