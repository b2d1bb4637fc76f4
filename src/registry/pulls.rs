//! When manifests were last pulled, kept in memory until a job writes it down.

#[derive(Default)]
pub(super) struct PullLog {}
