//! Shares a resource with a fixed number of places fairly among clients.
//!
//! [`FairQueue`] hands out [`Turn`]s, one per place. While at most half of the places are taken, every client gets what
//! it requests. Above that, the places are divided evenly among the clients that hold or request one. A single client
//! may take all places except a small reserve, so that the next client finds a free one at once. The client with the
//! fewest turns is served first, and clients with equally many alternate.
//!
//! While clients wait, a holder that makes too little progress, or has held its turn for long, is asked to give it back
//! ([`Turn::recalled`]) and to queue again when it has work to do.

mod shares;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

pub use self::shares::{Client, client_network};
use self::shares::{Shares, Ticket};

/// How often holders are reviewed while clients wait.
const REVIEW_INTERVAL: Duration = Duration::from_millis(50);

/// A holder without progress for this long loses its turn. This is longer than a round trip within a site, and too
/// short for users to notice.
const MAX_SILENCE: Duration = Duration::from_millis(50);

/// The maximum duration of a turn. With a thousand clients in the queue for 64 places, each gets its turn
/// within 20 s.
const MAX_TURN: Duration = Duration::from_secs(1);

/// The rate below which a holder loses its turn, in bytes per second. Slower clients share the places by taking them
/// only while their bytes arrive.
const MIN_RATE: u64 = 64 * 1024;

/// The maximum time over which a rate is measured, so that a fast start does not hide a slow end.
const RATE_WINDOW: Duration = Duration::from_millis(500);

/// Divides places among clients.
pub struct FairQueue {
    state: Mutex<State>,
    /// The time from which [`Progress::last`] counts.
    epoch: Instant,
}

struct State {
    shares: Shares,
    waiting: HashMap<Ticket, oneshot::Sender<Turn>>,
    holders: HashMap<Ticket, Holder>,
    next_ticket: u64,
    /// Whether a task is reviewing the holders.
    has_reviewer: bool,
}

struct Holder {
    client: Client,
    progress: Arc<Progress>,
    since: Instant,
    /// The period over which the rate is measured.
    window: Window,
}

#[derive(Clone, Copy)]
struct Window {
    start: Instant,
    /// The bytes processed before `start`.
    bytes: u64,
}

/// The progress of a holder.
#[derive(Default)]
struct Progress {
    bytes: AtomicU64,
    /// When it last made progress, in milliseconds since the queue's epoch.
    last: AtomicU64,
    is_recalled: AtomicBool,
    recall: Notify,
}

/// A place, held until this is dropped.
pub struct Turn {
    queue: Arc<FairQueue>,
    ticket: Ticket,
    progress: Arc<Progress>,
}

impl FairQueue {
    /// Creates a queue for `places` places.
    pub fn new(places: usize) -> Arc<Self> {
        let state = State {
            shares: Shares::new(places),
            waiting: HashMap::new(),
            holders: HashMap::new(),
            next_ticket: 0,
            has_reviewer: false,
        };
        Arc::new(Self { state: Mutex::new(state), epoch: Instant::now() })
    }

    /// Waits for a turn.
    pub async fn take(self: &Arc<Self>, client: &Client) -> Turn {
        loop {
            let (ticket, turn) = self.enqueue(client);
            let _leave = LeaveOnDrop { queue: self, client, ticket };
            if let Ok(turn) = turn.await {
                return turn;
            }
        }
    }

    /// Returns how many requests wait for a turn.
    pub fn waiting(&self) -> usize {
        self.state.lock().waiting.len()
    }

    /// Returns how many places are taken.
    pub fn taken(&self) -> usize {
        self.state.lock().holders.len()
    }

    fn enqueue(self: &Arc<Self>, client: &Client) -> (Ticket, oneshot::Receiver<Turn>) {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.state.lock();
        let ticket = Ticket(state.next_ticket);
        state.next_ticket += 1;
        state.shares.enqueue(client, ticket);
        state.waiting.insert(ticket, sender);
        let unwanted = self.serve(&mut state);
        if !state.waiting.is_empty() {
            self.review(&mut state);
            if !std::mem::replace(&mut state.has_reviewer, true) {
                tokio::spawn(review_while_needed(Arc::downgrade(self)));
            }
        }
        drop(state);
        drop(unwanted);
        (ticket, receiver)
    }

    /// Gives free places to the clients next in turn. Returns the turns whose clients are gone: the caller
    /// must release the lock before it drops them, because a dropped turn takes the lock.
    #[must_use]
    fn serve(self: &Arc<Self>, state: &mut State) -> Vec<Turn> {
        let mut unwanted = Vec::new();
        while let Some((client, ticket)) = state.shares.serve_next() {
            let now = Instant::now();
            let progress = Arc::new(Progress::default());
            progress.last.store(self.millis(now), Ordering::Relaxed);
            let window = Window { start: now, bytes: 0 };
            let holder = Holder { client, progress: Arc::clone(&progress), since: now, window };
            state.holders.insert(ticket, holder);
            let turn = Turn { queue: Arc::clone(self), ticket, progress };
            match state.waiting.remove(&ticket) {
                Some(waiting) => unwanted.extend(waiting.send(turn).err()),
                None => unwanted.push(turn),
            }
        }
        unwanted
    }

    /// Asks holders to give their turns back: at most one for each waiting request.
    fn review(&self, state: &mut State) {
        let now = Instant::now();
        let mut needs = state.shares.needs();
        let mut candidates = Vec::new();
        for (ticket, holder) in &mut state.holders {
            if holder.progress.is_recalled.load(Ordering::Relaxed) {
                needs.claim_from(&holder.client);
                continue;
            }
            let is_slow = holder.is_slow(now, self.millis(now));
            if is_slow || now - holder.since >= MAX_TURN {
                let held = state.shares.held(&holder.client);
                candidates.push((!is_slow, usize::MAX - held, holder.since, *ticket));
            }
        }
        // Slow holders first, then those of the clients with the most turns, then the longest held.
        candidates.sort_unstable();
        for (.., ticket) in candidates {
            let Some(holder) = state.holders.get(&ticket) else { continue };
            if needs.claim_from(&holder.client) {
                holder.progress.is_recalled.store(true, Ordering::Relaxed);
                holder.progress.recall.notify_one();
            }
        }
    }

    fn leave(self: &Arc<Self>, client: &Client, ticket: Ticket) {
        let mut state = self.state.lock();
        if state.waiting.remove(&ticket).is_some() {
            state.shares.leave(client, ticket);
        }
        let unwanted = self.serve(&mut state);
        drop(state);
        drop(unwanted);
    }

    fn give_back(self: &Arc<Self>, ticket: Ticket) {
        let mut state = self.state.lock();
        if let Some(holder) = state.holders.remove(&ticket) {
            state.shares.give_back(&holder.client);
        }
        let unwanted = self.serve(&mut state);
        drop(state);
        drop(unwanted);
    }

    fn millis(&self, now: Instant) -> u64 {
        u64::try_from((now - self.epoch).as_millis()).unwrap_or(u64::MAX)
    }
}

/// Reviews the holders while clients wait.
async fn review_while_needed(queue: Weak<FairQueue>) {
    loop {
        tokio::time::sleep(REVIEW_INTERVAL).await;
        let Some(queue) = queue.upgrade() else { return };
        let mut state = queue.state.lock();
        if state.waiting.is_empty() {
            state.has_reviewer = false;
            return;
        }
        queue.review(&mut state);
    }
}

impl Holder {
    /// Returns whether it makes too little progress to keep its turn.
    fn is_slow(&mut self, now: Instant, now_millis: u64) -> bool {
        let silence = now_millis.saturating_sub(self.progress.last.load(Ordering::Relaxed));
        if u128::from(silence) >= MAX_SILENCE.as_millis() {
            return true;
        }
        let span = now - self.window.start;
        if span < MAX_SILENCE {
            return false;
        }
        let bytes = self.progress.bytes.load(Ordering::Relaxed);
        let done = u128::from(bytes - self.window.bytes);
        let is_slow = done * 1000 < u128::from(MIN_RATE) * span.as_millis();
        if span >= RATE_WINDOW {
            self.window = Window { start: now, bytes };
        }
        is_slow
    }
}

impl Turn {
    /// Records that `bytes` more were processed.
    pub fn record_progress(&self, bytes: usize) {
        self.progress.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.progress.last.store(self.queue.millis(Instant::now()), Ordering::Relaxed);
    }

    /// Returns whether another client waits for this turn.
    pub fn is_recalled(&self) -> bool {
        self.progress.is_recalled.load(Ordering::Relaxed)
    }

    /// Waits until another client needs this turn.
    pub async fn recalled(&self) {
        while !self.is_recalled() {
            self.progress.recall.notified().await;
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.queue.give_back(self.ticket);
    }
}

/// Leaves the queue when the wait is cancelled. After a successful wait there is nothing to leave.
struct LeaveOnDrop<'a> {
    queue: &'a Arc<FairQueue>,
    client: &'a Client,
    ticket: Ticket,
}

impl Drop for LeaveOnDrop<'_> {
    fn drop(&mut self) {
        self.queue.leave(self.client, self.ticket);
    }
}
