//! What is to go wrong in a store, and when: for the stores that fail when a test wants them to.
//!
//! `O` is what a store can be asked to do.

mod plan;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use plan::Plan;

/// Which error is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The medium failed.
    Io,
    /// The medium is full.
    Full,
}

/// What goes wrong with one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails and has done nothing.
    Fail(Failure),
    /// It does its work, and fails: an answer that got lost.
    FailAfter(Failure),
    /// A write does half of its work, and fails; anything else fails and has done nothing.
    Torn(Failure),
    /// It waits, before it does its work, until [`Faults::release`].
    Stall,
    /// The machine goes down before it.
    Crash,
    /// The machine goes down right after it, before anybody hears of its success.
    CrashAfter,
}

/// An error that can be injected.
pub trait Injected {
    /// As of a medium that failed so.
    fn of(failure: Failure) -> Self;

    /// As of a machine that is down.
    fn down() -> Self;
}

/// The control of a store that fails. Clones steer the same one.
pub struct Faults<O>(Arc<Shared<O>>);

struct Shared<O> {
    state: Mutex<State<O>>,
    held: watch::Sender<Held>,
}

struct State<O> {
    plans: Vec<Plan<O>>,
    history: Vec<O>,
    down: bool,
    on_crash: Option<Arc<dyn Fn() + Send + Sync>>,
}

/// Who waits in a stall.
#[derive(Default)]
struct Held {
    waiting: usize,
    releases: u64,
}

impl<O> Clone for Faults<O> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<O: Copy + Eq> Default for Faults<O> {
    fn default() -> Self {
        Self::new()
    }
}

impl<O: Copy + Eq> Faults<O> {
    /// Nothing is to go wrong yet.
    pub fn new() -> Self {
        let state = State { plans: Vec::new(), history: Vec::new(), down: false, on_crash: None };
        Self(Arc::new(Shared { state: Mutex::new(state), held: watch::Sender::new(Held::default()) }))
    }

    /// Lets the operation number `at` go wrong, counted from 0 at the beginning of [`Faults::history`].
    pub fn nth(&self, at: usize, fault: Fault) {
        self.state().plans.push(Plan::Nth { of: None, at, fault });
    }

    /// Lets number `at` of one kind of operation go wrong, counted from 0.
    pub fn nth_of(&self, of: O, at: usize, fault: Fault) {
        self.state().plans.push(Plan::Nth { of: Some(of), at, fault });
    }

    /// Lets the next operation of a kind go wrong.
    pub fn next_of(&self, of: O, fault: Fault) {
        self.nth_of(of, self.count_of(of), fault);
    }

    /// Lets each operation go wrong with a `probability`, in one of these ways; the same `seed` gives the
    /// same faults to the same operations.
    pub fn randomly(&self, seed: u64, probability: f64, faults: &[Fault]) {
        let threshold = (probability.clamp(0.0, 1.0) * f64::from(u32::MAX)) as u32;
        self.state().plans.push(Plan::Random { random: seed, threshold, faults: faults.to_vec() });
    }

    /// Nothing more is to go wrong. What is stalled stays so.
    pub fn clear(&self) {
        self.state().plans.clear();
    }

    /// Forgets plans and history, and lets the machine come up again.
    pub fn reset(&self) {
        let mut state = self.state();
        state.plans.clear();
        state.history.clear();
        state.down = false;
    }

    /// What happens at [`Fault::Crash`]: a power cut, say.
    pub fn on_crash(&self, callback: impl Fn() + Send + Sync + 'static) {
        self.state().on_crash = Some(Arc::new(callback));
    }

    /// Whether the machine is down: every operation fails until [`Faults::revive`].
    pub fn is_down(&self) -> bool {
        self.state().down
    }

    /// Lets the machine come up again.
    pub fn revive(&self) {
        self.state().down = false;
    }

    /// Every operation that was asked for, in its order. Those asked of a machine that is down do not count.
    pub fn history(&self) -> Vec<O> {
        self.state().history.clone()
    }

    /// How many operations were asked for.
    pub fn count(&self) -> usize {
        self.state().history.len()
    }

    /// How many operations of a kind were asked for.
    pub fn count_of(&self, operation: O) -> usize {
        plan::count_of(&self.state().history, operation)
    }

    /// Waits until `number` operations wait in a stall.
    pub async fn stalled(&self, number: usize) {
        // The sender is ours: it cannot be gone.
        let _ = self.0.held.subscribe().wait_for(|held| held.waiting >= number).await;
    }

    /// Lets everything go on that waits in a stall.
    pub fn release(&self) {
        self.0.held.send_modify(|held| {
            held.waiting = 0;
            held.releases += 1;
        });
    }

    /// Does `work` as the plan has it.
    ///
    /// # Errors
    /// Its own, and what is injected.
    pub async fn apply<T, E: Injected>(
        &self,
        operation: O,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        self.apply_torn(operation, work, async { Ok(()) }).await
    }

    /// Does `work` as the plan has it, and `half` of it where it is to be torn.
    ///
    /// # Errors
    /// Its own, and what is injected.
    pub async fn apply_torn<T, E: Injected>(
        &self,
        operation: O,
        work: impl Future<Output = Result<T, E>>,
        half: impl Future<Output = Result<(), E>>,
    ) -> Result<T, E> {
        if self.is_down() {
            return Err(E::down());
        }
        match self.next(operation) {
            None => work.await,
            Some(Fault::Fail(failure)) => Err(E::of(failure)),
            Some(Fault::Torn(failure)) => {
                half.await?;
                Err(E::of(failure))
            }
            Some(Fault::FailAfter(failure)) => {
                work.await?;
                Err(E::of(failure))
            }
            Some(Fault::Stall) => {
                self.stall().await;
                // The machine may have gone down meanwhile.
                if self.is_down() { Err(E::down()) } else { work.await }
            }
            Some(Fault::Crash) => {
                self.crash();
                Err(E::down())
            }
            Some(Fault::CrashAfter) => {
                let _ = work.await;
                self.crash();
                Err(E::down())
            }
        }
    }

    async fn stall(&self) {
        let mut held = self.0.held.subscribe();
        let before = held.borrow().releases;
        self.0.held.send_modify(|held| held.waiting += 1);
        let _ = held.wait_for(|held| held.releases > before).await;
    }

    fn crash(&self) {
        let callback = {
            let mut state = self.state();
            state.down = true;
            state.on_crash.clone()
        };
        if let Some(callback) = callback {
            callback();
        }
    }

    /// Counts an operation, and says what is to go wrong with it.
    fn next(&self, operation: O) -> Option<Fault> {
        let State { plans, history, .. } = &mut *self.state();
        let (at, of_kind) = (history.len(), plan::count_of(history, operation));
        history.push(operation);
        let mut hits =
            plans.iter_mut().filter_map(|plan| plan.hit(operation, at, of_kind)).collect::<Vec<_>>();
        (!hits.is_empty()).then(|| hits.swap_remove(0))
    }

    fn state(&self) -> MutexGuard<'_, State<O>> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
