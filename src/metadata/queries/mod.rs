//! Reads that need more than one row: lists, usage, reasons, snapshots.

pub(in crate::metadata) mod adoption;
pub(in crate::metadata) mod change_log;
pub(in crate::metadata) mod changes;
pub(in crate::metadata) mod listings;
pub(in crate::metadata) mod overview;
pub(in crate::metadata) mod recent;
pub(in crate::metadata) mod reclaimable;
pub(in crate::metadata) mod sharing;
pub(in crate::metadata) mod snapshots;
pub(in crate::metadata) mod usage;
pub(in crate::metadata) mod why;
