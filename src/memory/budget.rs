//! Grants memory reservations, queues the ones that do not fit, and wakes them.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::oneshot;

use super::ledger::{Class, Ledger, SMALL};
use super::{Holder, Purpose};

/// How long a reservation waits for memory.
pub const MAX_WAIT: Duration = Duration::from_secs(30);

/// No memory became free in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the server is short of memory; retry later")]
pub struct OutOfMemory;

/// The memory budget of the process. Clones share it.
#[derive(Clone)]
pub struct MemoryBudget {
    shared: Arc<Shared>,
}

struct Shared {
    ledger: Ledger,
    /// How many are waiting for memory or at a [`ReadGate`]. If none is, a release takes no lock.
    attention: AtomicUsize,
    waiting: Mutex<Waiting>,
    refusals: AtomicU64,
}

#[derive(Default)]
struct Waiting {
    /// One queue per class.
    queues: [VecDeque<Waiter>; Class::ALL.len()],
    /// The closed gates, each with the waker of its connection.
    gates: HashMap<u64, (Holder, Waker)>,
    next_gate: u64,
}

struct Waiter {
    bytes: usize,
    purpose: Purpose,
    granted: oneshot::Sender<Reservation>,
}

impl Waiting {
    fn attention(&self) -> usize {
        self.queues.iter().map(VecDeque::len).sum::<usize>() + self.gates.len()
    }

    /// Returns whether a small reservation must leave memory to a large one. Anonymous clients come after all others.
    fn has_large_before(&self, holder: Holder) -> bool {
        Class::ALL.iter().any(|class| {
            let before = holder == Holder::Anonymous || class.holder == Holder::Authenticated;
            class.is_large && before && !self.queues[class.index()].is_empty()
        })
    }
}

impl fmt::Debug for MemoryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBudget")
            .field("limit", &self.limit())
            .field("reserved", &self.reserved())
            .finish_non_exhaustive()
    }
}

impl Default for MemoryBudget {
    /// The budget of a machine with 256 MiB.
    fn default() -> Self {
        Self::new(64 << 20)
    }
}

impl MemoryBudget {
    /// Creates a budget of `bytes`.
    pub fn new(bytes: u64) -> Self {
        // Small enough that sums of it cannot overflow.
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX).min(usize::MAX / 4);
        let shared = Shared {
            ledger: Ledger::new(bytes),
            attention: AtomicUsize::default(),
            waiting: Mutex::default(),
            refusals: AtomicU64::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Returns the size of the budget.
    pub fn limit(&self) -> usize {
        self.shared.ledger.limit()
    }

    /// Returns how many bytes are reserved.
    pub fn reserved(&self) -> usize {
        self.shared.ledger.total()
    }

    /// Returns how many bytes anonymous clients have reserved.
    pub fn reserved_by_anonymous(&self) -> usize {
        self.shared.ledger.anonymous()
    }

    /// Returns how many bytes are reserved for `purpose`.
    pub fn reserved_for(&self, purpose: Purpose) -> usize {
        self.shared.ledger.of_purpose(purpose)
    }

    /// Returns how many reservations are waiting.
    pub fn waiting(&self) -> usize {
        self.shared.waiting.lock().queues.iter().map(VecDeque::len).sum()
    }

    /// Returns how many reservations have failed.
    pub fn refusals(&self) -> u64 {
        self.shared.refusals.load(Relaxed)
    }

    /// Returns the maximum size of one large reservation.
    pub fn max_reservation(&self, holder: Holder) -> usize {
        self.shared.ledger.max_of(Class { holder, is_large: true })
    }

    /// Reserves `bytes`, and waits up to [`MAX_WAIT`] for them. A larger size than [`Self::max_reservation`] is reduced
    /// to it, so that such work runs alone instead of never.
    ///
    /// Reserve once for everything a request needs: one that waits for more while it holds some keeps others waiting.
    ///
    /// # Errors
    /// [`OutOfMemory`] if no memory becomes free in time.
    pub async fn reserve(
        &self,
        holder: Holder,
        purpose: Purpose,
        bytes: usize,
    ) -> Result<Reservation, OutOfMemory> {
        let class = Class { holder, is_large: bytes > SMALL };
        self.take(class, purpose, bytes.min(self.shared.ledger.max_of(class))).await
    }

    /// Reserves `bytes` if they fit now and no earlier reservation is waiting for memory.
    pub fn try_reserve(&self, holder: Holder, purpose: Purpose, bytes: usize) -> Option<Reservation> {
        let class = Class { holder, is_large: bytes > SMALL };
        let bytes = bytes.min(self.shared.ledger.max_of(class));
        self.try_take(class, purpose, bytes)
    }

    /// Counts `bytes` that are already held, even beyond the limit. The caller must stop taking more while the budget
    /// [is short](Self::is_short).
    pub fn charge(&self, holder: Holder, purpose: Purpose, bytes: usize) -> Reservation {
        let class = Class { holder, is_large: false };
        self.shared.ledger.add(class, purpose, bytes);
        self.reservation(class, purpose, bytes)
    }

    /// Counts a request that was rejected without waiting.
    pub fn record_refusal(&self) {
        self.shared.refusals.fetch_add(1, Relaxed);
    }

    /// Returns whether so much is reserved that nothing more should be read from such clients.
    pub fn is_short(&self, holder: Holder) -> bool {
        self.shared.ledger.is_short(holder)
    }

    /// Returns whether nothing more should be read even from a client that holds no memory.
    pub fn is_nearly_full(&self, holder: Holder) -> bool {
        self.shared.ledger.is_nearly_full(holder)
    }

    /// Counts `bytes` that a connection holds while it is open, even beyond the limit. They do not use the part that is
    /// kept for small reservations.
    pub fn charge_connection(&self, bytes: usize) -> Reservation {
        let class = Class { holder: Holder::Authenticated, is_large: true };
        self.shared.ledger.add(class, Purpose::Connections, bytes);
        self.reservation(class, Purpose::Connections, bytes)
    }

    /// Returns whether small reservations of such clients use more than half of their limit. Shares should be fair
    /// then.
    pub fn is_crowded(&self, holder: Holder) -> bool {
        self.shared.ledger.is_crowded(holder)
    }

    /// Returns whether more than half of the limit for such clients is reserved.
    pub fn is_half_used(&self, holder: Holder) -> bool {
        self.shared.ledger.is_half_used(holder)
    }

    /// Returns the memory that large reservations leave to small ones of such clients.
    pub fn room_for_small_reservations(&self, holder: Holder) -> usize {
        self.shared.ledger.room_for_small_reservations(holder)
    }

    /// Returns whether the budget is short, or something is waiting for memory.
    pub fn is_contended(&self, holder: Holder) -> bool {
        self.is_short(holder) || self.shared.attention.load(SeqCst) > 0
    }

    /// Creates a gate for one connection.
    pub fn read_gate(&self) -> ReadGate {
        let mut waiting = self.shared.waiting.lock();
        let id = waiting.next_gate;
        waiting.next_gate += 1;
        drop(waiting);
        ReadGate { budget: self.clone(), id, is_closed: false }
    }

    fn reservation(&self, class: Class, purpose: Purpose, bytes: usize) -> Reservation {
        let [small, large] = if class.is_large { [0, bytes] } else { [bytes, 0] };
        Reservation { budget: self.clone(), holder: class.holder, purpose, small, large }
    }

    fn try_take(&self, class: Class, purpose: Purpose, bytes: usize) -> Option<Reservation> {
        let is_uncontended = self.shared.attention.load(SeqCst) == 0;
        let fits = if is_uncontended {
            self.shared.ledger.try_add(class, purpose, bytes)
        } else {
            let waiting = self.shared.waiting.lock();
            waiting.queues[class.index()].is_empty()
                && self.shared.try_add_in_turn(&waiting, class, purpose, bytes)
        };
        fits.then(|| self.reservation(class, purpose, bytes))
    }

    async fn take(&self, class: Class, purpose: Purpose, bytes: usize) -> Result<Reservation, OutOfMemory> {
        if let Some(reservation) = self.try_take(class, purpose, bytes) {
            return Ok(reservation);
        }
        let mut place = Place { budget: self, receiver: self.enqueue(class, purpose, bytes) };
        if let Ok(Ok(reservation)) = tokio::time::timeout(MAX_WAIT, &mut place.receiver).await {
            return Ok(reservation);
        }
        drop(place);
        self.shared.refusals.fetch_add(1, Relaxed);
        tracing::debug!(?class, ?purpose, bytes, "rejected a request: not enough memory");
        Err(OutOfMemory)
    }

    fn enqueue(&self, class: Class, purpose: Purpose, bytes: usize) -> oneshot::Receiver<Reservation> {
        let (granted, receiver) = oneshot::channel();
        let mut waiting = self.shared.waiting.lock();
        waiting.queues[class.index()].push_back(Waiter { bytes, purpose, granted });
        // Visible before the last check: a release after that check sees it.
        self.shared.attention.store(waiting.attention(), SeqCst);
        self.serve(&mut waiting);
        receiver
    }

    fn release(&self, class: Class, purpose: Purpose, bytes: usize) {
        if bytes > 0 {
            self.shared.ledger.remove(class, purpose, bytes);
            self.notify();
        }
    }

    /// Serves the waiting reservations and gates for which there is memory now.
    fn notify(&self) {
        if self.shared.attention.load(SeqCst) > 0 {
            let mut waiting = self.shared.waiting.lock();
            self.serve(&mut waiting);
        }
    }

    fn serve(&self, waiting: &mut Waiting) {
        // A grant may make others possible, such as small reservations behind the last large one.
        while Class::ALL.into_iter().any(|class| self.serve_next(waiting, class)) {}
        self.open_gates(waiting);
        self.shared.attention.store(waiting.attention(), SeqCst);
    }

    /// Serves the first reservation of a queue. Returns whether the queue is shorter now.
    fn serve_next(&self, waiting: &mut Waiting, class: Class) -> bool {
        let Some(first) = waiting.queues[class.index()].front() else { return false };
        let gone = first.granted.is_closed();
        let purpose = first.purpose;
        let bytes = first.bytes;
        if !gone && !self.shared.try_add_in_turn(waiting, class, purpose, bytes) {
            return false;
        }
        let Some(waiter) = waiting.queues[class.index()].pop_front() else { return false };
        if !gone && let Err(unwanted) = waiter.granted.send(self.reservation(class, purpose, bytes)) {
            unwanted.forget();
            self.shared.ledger.remove(class, purpose, bytes);
        }
        true
    }

    fn open_gates(&self, waiting: &mut Waiting) {
        for holder in [Holder::Authenticated, Holder::Anonymous] {
            if !waiting.gates.is_empty() && !self.shared.ledger.is_short(holder) {
                let open = waiting.gates.extract_if(|_, (of, _)| *of == holder);
                open.for_each(|(_, (_, waker))| waker.wake());
            }
        }
    }

    /// Removes waiting reservations whose caller is gone.
    fn forget_gone(&self) {
        let mut waiting = self.shared.waiting.lock();
        for queue in &mut waiting.queues {
            queue.retain(|waiter| !waiter.granted.is_closed());
        }
        self.serve(&mut waiting);
    }
}

impl Shared {
    /// Counts `bytes` if they fit and do not delay earlier waiting reservations.
    fn try_add_in_turn(&self, waiting: &Waiting, class: Class, purpose: Purpose, bytes: usize) -> bool {
        let holder = class.holder;
        if !class.is_large && waiting.has_large_before(holder) && !self.ledger.fits_small_part(holder, bytes)
        {
            return false;
        }
        self.ledger.try_add(class, purpose, bytes)
    }
}

/// A position in a queue.
struct Place<'a> {
    budget: &'a MemoryBudget,
    receiver: oneshot::Receiver<Reservation>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.receiver.close();
        // A reservation that was granted but not received is released by its own drop.
        drop(self.receiver.try_recv());
        self.budget.forget_gone();
    }
}

/// Reserved memory, counted until this is dropped.
#[must_use = "a dropped reservation holds nothing"]
pub struct Reservation {
    budget: MemoryBudget,
    holder: Holder,
    purpose: Purpose,
    small: usize,
    large: usize,
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation")
            .field("holder", &self.holder)
            .field("purpose", &self.purpose)
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

impl Reservation {
    /// Returns how many bytes it holds.
    pub fn bytes(&self) -> usize {
        self.small + self.large
    }

    /// Releases everything beyond `bytes`.
    pub fn shrink_to(&mut self, bytes: usize) {
        let surplus = self.bytes().saturating_sub(bytes);
        let large = surplus.min(self.large);
        let small = surplus - large;
        self.large -= large;
        self.small -= small;
        self.release(small, large);
    }

    /// Grows the reservation to `bytes`, and waits up to [`MAX_WAIT`] for the difference. Sizes beyond the limit are
    /// reduced as by [`MemoryBudget::reserve`].
    ///
    /// # Errors
    /// [`OutOfMemory`] if no memory becomes free in time; the reservation is unchanged then.
    pub async fn grow_to(&mut self, bytes: usize) -> Result<(), OutOfMemory> {
        let Some(step) = self.step_to(bytes) else { return Ok(()) };
        let more = self.budget.take(step.class, self.purpose, step.bytes).await?;
        self.merge(more);
        Ok(())
    }

    /// Grows the reservation to `bytes` if the difference fits now.
    ///
    /// # Errors
    /// [`OutOfMemory`] if it does not fit; the reservation is unchanged then.
    pub fn try_grow_to(&mut self, bytes: usize) -> Result<(), OutOfMemory> {
        let Some(step) = self.step_to(bytes) else { return Ok(()) };
        let more = self.budget.try_take(step.class, self.purpose, step.bytes).ok_or(OutOfMemory)?;
        self.merge(more);
        Ok(())
    }

    /// Counts it among the reservations of authenticated clients from now on.
    pub fn authenticate(&mut self) {
        if self.holder == Holder::Anonymous {
            self.holder = Holder::Authenticated;
            self.budget.shared.ledger.promote(false, self.small);
            self.budget.shared.ledger.promote(true, self.large);
            self.budget.notify();
        }
    }

    fn step_to(&self, bytes: usize) -> Option<Step> {
        let class = Class { holder: self.holder, is_large: bytes > SMALL };
        let target = bytes.min(self.budget.shared.ledger.max_of(class));
        let bytes = target.checked_sub(self.bytes()).filter(|bytes| *bytes > 0)?;
        Some(Step { class, bytes })
    }

    fn merge(&mut self, more: Self) {
        self.small += more.small;
        self.large += more.large;
        more.forget();
    }

    /// Drops the reservation without releasing anything.
    fn forget(mut self) {
        self.small = 0;
        self.large = 0;
    }

    fn release(&self, small: usize, large: usize) {
        for (is_large, bytes) in [(false, small), (true, large)] {
            self.budget.release(Class { holder: self.holder, is_large }, self.purpose, bytes);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.release(self.small, self.large);
    }
}

/// The difference by which a reservation grows.
struct Step {
    class: Class,
    bytes: usize,
}

/// Stops reading from a connection while the budget is short.
#[derive(Debug)]
pub struct ReadGate {
    budget: MemoryBudget,
    id: u64,
    is_closed: bool,
}

impl ReadGate {
    /// Returns `Ready` while more may be read from a client of this kind.
    pub fn poll_open(&mut self, cx: &Context<'_>, holder: Holder) -> Poll<()> {
        let shared = &self.budget.shared;
        if !shared.ledger.is_short(holder) {
            return Poll::Ready(());
        }
        let mut waiting = shared.waiting.lock();
        waiting.gates.insert(self.id, (holder, cx.waker().clone()));
        shared.attention.store(waiting.attention(), SeqCst);
        self.is_closed = true;
        // A release before the store above has not seen the gate.
        self.budget.open_gates(&mut waiting);
        shared.attention.store(waiting.attention(), SeqCst);
        Poll::Pending
    }
}

impl Drop for ReadGate {
    fn drop(&mut self) {
        if self.is_closed {
            let mut waiting = self.budget.shared.waiting.lock();
            waiting.gates.remove(&self.id);
            self.budget.shared.attention.store(waiting.attention(), SeqCst);
        }
    }
}
