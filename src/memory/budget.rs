//! Who gets memory, who waits, and who is woken.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::oneshot;

use super::ledger::{Class, Ledger, SMALL};
use super::{Holder, Purpose};

/// How long a reservation waits for room.
pub const MAX_WAIT: Duration = Duration::from_secs(30);

/// No room came free in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the server is short of memory; try again")]
pub struct OutOfMemory;

/// The budget of the process. Clones share it.
#[derive(Clone)]
pub struct MemoryBudget {
    shared: Arc<Shared>,
}

struct Shared {
    ledger: Ledger,
    /// How many wait, for room or at a [`ReadGate`]: where nobody does, a release takes no lock.
    attention: AtomicUsize,
    waiting: Mutex<Waiting>,
    refusals: AtomicU64,
}

#[derive(Default)]
struct Waiting {
    /// One queue a class.
    queues: [VecDeque<Waiter>; Class::ALL.len()],
    /// The gates that are closed, each with what its holder wakes.
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

    /// Whether a small reservation must leave room for a large one. Anonymous clients come after all others.
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
    /// The budget that a machine with 256 MiB has.
    fn default() -> Self {
        Self::new(64 << 20)
    }
}

impl MemoryBudget {
    /// A budget of `bytes`.
    pub fn new(bytes: u64) -> Self {
        // Far from where sums of it would overflow.
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX).min(usize::MAX / 4);
        let shared = Shared {
            ledger: Ledger::new(bytes),
            attention: AtomicUsize::default(),
            waiting: Mutex::default(),
            refusals: AtomicU64::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// How much there is.
    pub fn limit(&self) -> usize {
        self.shared.ledger.limit()
    }

    /// How much is reserved.
    pub fn reserved(&self) -> usize {
        self.shared.ledger.total()
    }

    /// How much anonymous clients have reserved.
    pub fn reserved_by_anonymous(&self) -> usize {
        self.shared.ledger.anonymous()
    }

    /// How much is reserved for `purpose`.
    pub fn reserved_for(&self, purpose: Purpose) -> usize {
        self.shared.ledger.of_purpose(purpose)
    }

    /// How many reservations wait.
    pub fn waiting(&self) -> usize {
        self.shared.waiting().queues.iter().map(VecDeque::len).sum()
    }

    /// How many reservations have failed.
    pub fn refusals(&self) -> u64 {
        self.shared.refusals.load(Relaxed)
    }

    /// The most that one large reservation can be.
    pub fn max_reservation(&self, holder: Holder) -> usize {
        self.shared.ledger.max_of(Class { holder, is_large: true })
    }

    /// Reserves `bytes`, and waits up to [`MAX_WAIT`] for them. More than [`Self::max_reservation`] counts as that
    /// much, so that such work is done alone rather than never.
    ///
    /// Reserve once for all that a request needs: one that waits for more while it holds some keeps others waiting.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub async fn reserve(
        &self,
        holder: Holder,
        purpose: Purpose,
        bytes: usize,
    ) -> Result<Reservation, OutOfMemory> {
        let class = Class { holder, is_large: bytes > SMALL };
        self.take(class, purpose, bytes.min(self.shared.ledger.max_of(class))).await
    }

    /// Reserves `bytes` if they fit now and nothing waits for room before.
    pub fn try_reserve(&self, holder: Holder, purpose: Purpose, bytes: usize) -> Option<Reservation> {
        let class = Class { holder, is_large: bytes > SMALL };
        let bytes = bytes.min(self.shared.ledger.max_of(class));
        self.try_take(class, purpose, bytes)
    }

    /// Counts `bytes` that are held already, even past the limit. The caller must stop taking more while the budget
    /// [is short](Self::is_short).
    pub fn charge(&self, holder: Holder, purpose: Purpose, bytes: usize) -> Reservation {
        let class = Class { holder, is_large: false };
        self.shared.ledger.add(class, purpose, bytes);
        self.reservation(class, purpose, bytes)
    }

    /// Counts a request that was refused without waiting.
    pub fn note_refusal(&self) {
        self.shared.refusals.fetch_add(1, Relaxed);
    }

    /// Whether so much is held that nothing more should be read from such clients.
    pub fn is_short(&self, holder: Holder) -> bool {
        self.shared.ledger.is_short(holder)
    }

    /// Whether nothing more should be read even from a client that holds nothing.
    pub fn is_nearly_full(&self, holder: Holder) -> bool {
        self.shared.ledger.is_nearly_full(holder)
    }

    /// Counts `bytes` that a connection holds for as long as it is open, even past the limit. They leave the part of small
    /// reservations alone.
    pub fn charge_connection(&self, bytes: usize) -> Reservation {
        let class = Class { holder: Holder::Authenticated, is_large: true };
        self.shared.ledger.add(class, Purpose::Connections, bytes);
        self.reservation(class, Purpose::Connections, bytes)
    }

    /// Whether small reservations of such clients take more than half of what they may: from here on shares should be
    /// fair.
    pub fn is_crowded(&self, holder: Holder) -> bool {
        self.shared.ledger.is_crowded(holder)
    }

    /// Whether more than half of what such clients may hold is reserved.
    pub fn is_half_used(&self, holder: Holder) -> bool {
        self.shared.ledger.is_half_used(holder)
    }

    /// What large reservations leave to the small ones of such clients.
    pub fn room_for_small(&self, holder: Holder) -> usize {
        self.shared.ledger.room_for_small(holder)
    }

    /// Whether it is short, or something waits for room.
    pub fn is_contended(&self, holder: Holder) -> bool {
        self.is_short(holder) || self.shared.attention.load(SeqCst) > 0
    }

    /// A gate for one connection.
    pub fn read_gate(&self) -> ReadGate {
        let mut waiting = self.shared.waiting();
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
        let nobody_waits = self.shared.attention.load(SeqCst) == 0;
        let fits = if nobody_waits {
            self.shared.ledger.try_add(class, purpose, bytes)
        } else {
            let waiting = self.shared.waiting();
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
        tracing::debug!(?class, ?purpose, bytes, "a request was refused for want of memory");
        Err(OutOfMemory)
    }

    fn enqueue(&self, class: Class, purpose: Purpose, bytes: usize) -> oneshot::Receiver<Reservation> {
        let (granted, receiver) = oneshot::channel();
        let mut waiting = self.shared.waiting();
        waiting.queues[class.index()].push_back(Waiter { bytes, purpose, granted });
        // Visible before the last look: a release that comes after that look sees it.
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

    /// Lets those go on for whom there is room now.
    fn notify(&self) {
        if self.shared.attention.load(SeqCst) > 0 {
            let mut waiting = self.shared.waiting();
            self.serve(&mut waiting);
        }
    }

    fn serve(&self, waiting: &mut Waiting) {
        // What is granted may make room in the rules for others, such as small ones behind the last large one.
        while Class::ALL.into_iter().any(|class| self.serve_next(waiting, class)) {}
        self.open_gates(waiting);
        self.shared.attention.store(waiting.attention(), SeqCst);
    }

    /// Serves the first of a queue. Whether the queue is shorter now.
    fn serve_next(&self, waiting: &mut Waiting, class: Class) -> bool {
        let Some(first) = waiting.queues[class.index()].front() else { return false };
        let gone = first.granted.is_closed();
        let (purpose, bytes) = (first.purpose, first.bytes);
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

    /// Forgets waiters that have gone away.
    fn forget_gone(&self) {
        let mut waiting = self.shared.waiting();
        for queue in &mut waiting.queues {
            queue.retain(|waiter| !waiter.granted.is_closed());
        }
        self.serve(&mut waiting);
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts `bytes` if they fit, and take nothing from what waits before them.
    fn try_add_in_turn(&self, waiting: &Waiting, class: Class, purpose: Purpose, bytes: usize) -> bool {
        let holder = class.holder;
        if !class.is_large && waiting.has_large_before(holder) && !self.ledger.fits_small_part(holder, bytes)
        {
            return false;
        }
        self.ledger.try_add(class, purpose, bytes)
    }
}

/// A place in a queue.
struct Place<'a> {
    budget: &'a MemoryBudget,
    receiver: oneshot::Receiver<Reservation>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.receiver.close();
        // One that was granted and not taken is released by its own drop.
        drop(self.receiver.try_recv());
        self.budget.forget_gone();
    }
}

/// Memory that is counted until this is dropped.
#[must_use = "dropped, it holds nothing"]
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
    /// How much it holds.
    pub fn bytes(&self) -> usize {
        self.small + self.large
    }

    /// Gives back what is more than `bytes`.
    pub fn shrink_to(&mut self, bytes: usize) {
        let surplus = self.bytes().saturating_sub(bytes);
        let large = surplus.min(self.large);
        let small = surplus - large;
        self.large -= large;
        self.small -= small;
        self.release(small, large);
    }

    /// Reserves what is missing to `bytes`, and waits up to [`MAX_WAIT`] for it. See [`MemoryBudget::reserve`] for
    /// sizes that are past the limit.
    ///
    /// # Errors
    /// [`OutOfMemory`]; what it held it still holds.
    pub async fn grow_to(&mut self, bytes: usize) -> Result<(), OutOfMemory> {
        let Some(step) = self.step_to(bytes) else { return Ok(()) };
        let more = self.budget.take(step.class, self.purpose, step.bytes).await?;
        self.merge(more);
        Ok(())
    }

    /// Reserves what is missing to `bytes` if it fits now.
    ///
    /// # Errors
    /// [`OutOfMemory`]; what it held it still holds.
    pub fn try_grow_to(&mut self, bytes: usize) -> Result<(), OutOfMemory> {
        let Some(step) = self.step_to(bytes) else { return Ok(()) };
        let more = self.budget.try_take(step.class, self.purpose, step.bytes).ok_or(OutOfMemory)?;
        self.merge(more);
        Ok(())
    }

    /// Counts it among those of authenticated clients from now on.
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
        let wanted = bytes.min(self.budget.shared.ledger.max_of(class));
        let bytes = wanted.checked_sub(self.bytes()).filter(|bytes| *bytes > 0)?;
        Some(Step { class, bytes })
    }

    fn merge(&mut self, more: Self) {
        self.small += more.small;
        self.large += more.large;
        more.forget();
    }

    /// Drops it without giving anything back.
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

/// What a reservation needs to grow.
struct Step {
    class: Class,
    bytes: usize,
}

/// Closed for a connection while the budget is short.
#[derive(Debug)]
pub struct ReadGate {
    budget: MemoryBudget,
    id: u64,
    is_closed: bool,
}

impl ReadGate {
    /// Ready while more may be read from a client of this kind.
    pub fn poll_open(&mut self, cx: &Context<'_>, holder: Holder) -> Poll<()> {
        let shared = &self.budget.shared;
        if !shared.ledger.is_short(holder) {
            return Poll::Ready(());
        }
        let mut waiting = shared.waiting();
        waiting.gates.insert(self.id, (holder, cx.waker().clone()));
        shared.attention.store(waiting.attention(), SeqCst);
        self.is_closed = true;
        // A release before the store has not seen the gate.
        self.budget.open_gates(&mut waiting);
        shared.attention.store(waiting.attention(), SeqCst);
        Poll::Pending
    }
}

impl Drop for ReadGate {
    fn drop(&mut self) {
        if self.is_closed {
            let mut waiting = self.budget.shared.waiting();
            waiting.gates.remove(&self.id);
            self.budget.shared.attention.store(waiting.attention(), SeqCst);
        }
    }
}
