//! The connections that are open.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedSemaphorePermit;

use super::ListenSettings;
use super::pulse::{Order, Pulse};

/// How many bytes of a body may be under way in HTTP/2 where many connections are open: what every client
/// begins with (RFC 9113, 6.9.2).
const NARROW: u32 = 65_535;

/// What a listener's connections have in common.
pub(super) struct Shared {
    pub(super) settings: ListenSettings,
    crowded: AtomicBool,
    open: Mutex<OpenConnections>,
}

#[derive(Default)]
struct OpenConnections {
    next: u64,
    pulses: HashMap<u64, Arc<Pulse>>,
}

impl Shared {
    pub(super) fn new(settings: ListenSettings) -> Self {
        Self { settings, crowded: AtomicBool::new(false), open: Mutex::default() }
    }

    /// Whether every place is taken and somebody waits for one.
    pub(super) fn is_crowded(&self) -> bool {
        self.crowded.load(Relaxed)
    }

    pub(super) fn set_crowded(&self, crowded: bool) {
        self.crowded.store(crowded, Relaxed);
    }

    /// How many bytes of a body may be under way in HTTP/2 on a connection that is open since now.
    pub(super) fn stream_window(&self) -> u32 {
        let ListenSettings { stream_window, wide_connections, .. } = self.settings;
        if self.open().pulses.len() <= wide_connections { stream_window } else { stream_window.min(NARROW) }
    }

    /// Tells every connection what to do.
    pub(super) fn command(&self, order: Order) {
        self.open().pulses.values().for_each(|pulse| pulse.command(order));
    }

    fn open(&self) -> MutexGuard<'_, OpenConnections> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's entry in the list of those that are open, for as long as this lives.
pub(super) struct Entry {
    pub(super) shared: Arc<Shared>,
    id: u64,
    pub(super) pulse: Arc<Pulse>,
    _place: OwnedSemaphorePermit,
}

impl Entry {
    pub(super) fn new(shared: Arc<Shared>, place: OwnedSemaphorePermit) -> Self {
        let pulse = Arc::<Pulse>::default();
        let mut open = shared.open();
        let id = open.next;
        open.next += 1;
        open.pulses.insert(id, Arc::clone(&pulse));
        drop(open);
        Self { shared, id, pulse, _place: place }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.shared.open().pulses.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;

    #[test]
    fn many_connections_have_narrow_windows() {
        let settings = ListenSettings { wide_connections: 2, ..ListenSettings::default() };
        let (shared, places) = (Arc::new(Shared::new(settings)), Arc::new(Semaphore::new(3)));
        let enter =
            || Entry::new(Arc::clone(&shared), Arc::clone(&places).try_acquire_owned().expect("a place"));
        let first = enter();
        let _second = enter();
        assert_eq!(shared.stream_window(), shared.settings.stream_window);
        let _third = enter();
        assert_eq!(shared.stream_window(), NARROW);
        drop(first);
        assert_eq!(shared.stream_window(), shared.settings.stream_window);
    }
}
