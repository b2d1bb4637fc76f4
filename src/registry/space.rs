//! How much room is left, and whether a new body may be taken.

/// How the disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpaceState {
    /// There is room.
    Ample,
    /// There is room, but not for long.
    Low,
    /// No new bodies are taken.
    Full,
}

pub(super) struct SpaceGuard {
    pub(super) min_free: u64,
    pub(super) warn_free: u64,
}

impl SpaceGuard {
    pub(super) fn new(min_free: u64, warn_free: u64) -> Self {
        Self { min_free, warn_free }
    }
}
