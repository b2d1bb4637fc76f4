//! Plans faults for the stores that inject them in tests.
//!
//! `O` is the type of a store's operations.

mod plan;

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

use plan::Plan;

/// The kind of an injected error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The medium failed.
    Io,
    /// The medium is full.
    Full,
}

/// A fault of one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails without any effect.
    Fail(Failure),
    /// It takes effect, but returns an error: a lost response.
    FailAfter(Failure),
    /// A write has half of its effect and fails; other operations fail without any effect.
    Torn(Failure),
    /// It waits for [`Faults::release`] before it takes effect.
    Stall,
    /// The machine stops before it.
    Crash,
    /// The machine stops right after it, before its success is reported.
    CrashAfter,
}

/// An error that can be injected.
pub trait Injected {
    /// Returns the error of a medium with this failure.
    fn of(failure: Failure) -> Self;

    /// Returns the error of a machine that has stopped.
    fn down() -> Self;
}

/// Controls the faults of a store. Clones control the same store.
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

/// The stalled operations.
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
    /// Creates an empty plan.
    pub fn new() -> Self {
        let state = State { plans: Vec::new(), history: Vec::new(), down: false, on_crash: None };
        Self(Arc::new(Shared { state: Mutex::new(state), held: watch::Sender::new(Held::default()) }))
    }

    /// Injects a fault into operation number `at`, counted from 0 at the start of [`Faults::history`].
    pub fn inject_nth(&self, at: usize, fault: Fault) {
        self.state().plans.push(Plan::Nth { of: None, at, fault });
    }

    /// Injects a fault into operation number `at` of one kind, counted from 0.
    pub fn inject_nth_of(&self, of: O, at: usize, fault: Fault) {
        self.state().plans.push(Plan::Nth { of: Some(of), at, fault });
    }

    /// Injects a fault into the next operation of a kind.
    pub fn inject_next(&self, of: O, fault: Fault) {
        self.inject_nth_of(of, self.count_of(of), fault);
    }

    /// Injects one of these faults into each operation with a `probability`. The same `seed` gives the same faults to
    /// the same operations.
    pub fn inject_randomly(&self, seed: u64, probability: f64, faults: &[Fault]) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and `u32::MAX`"
        )]
        let threshold = (probability.clamp(0.0, 1.0) * f64::from(u32::MAX)) as u32;
        self.state().plans.push(Plan::Random { random: seed, threshold, faults: faults.to_vec() });
    }

    /// Removes all plans. Stalled operations stay stalled.
    pub fn clear(&self) {
        self.state().plans.clear();
    }

    /// Removes plans and history, and restarts the machine.
    pub fn reset(&self) {
        let mut state = self.state();
        state.plans.clear();
        state.history.clear();
        state.down = false;
    }

    /// Sets what happens at [`Fault::Crash`], for example a power cut.
    pub fn on_crash(&self, callback: impl Fn() + Send + Sync + 'static) {
        self.state().on_crash = Some(Arc::new(callback));
    }

    /// Returns whether the machine has stopped: every operation fails until [`Faults::revive`].
    pub fn is_down(&self) -> bool {
        self.state().down
    }

    /// Restarts the machine.
    pub fn revive(&self) {
        self.state().down = false;
    }

    /// Returns every operation in its order, except those of a stopped machine.
    pub fn history(&self) -> Vec<O> {
        self.state().history.clone()
    }

    /// Returns how many operations there were.
    pub fn count(&self) -> usize {
        self.state().history.len()
    }

    /// Returns how many operations of a kind there were.
    pub fn count_of(&self, operation: O) -> usize {
        plan::count_of(&self.state().history, operation)
    }

    /// Waits until `number` operations are stalled.
    pub async fn wait_until_stalled(&self, number: usize) {
        // Cannot fail: this value holds the sender.
        let _ = self.0.held.subscribe().wait_for(|held| held.waiting >= number).await;
    }

    /// Continues all stalled operations.
    pub fn release(&self) {
        self.0.held.send_modify(|held| {
            held.waiting = 0;
            held.releases += 1;
        });
    }

    /// Runs `work` with the planned fault.
    ///
    /// # Errors
    /// Errors of the work, and injected ones.
    pub async fn apply<T, E: Injected>(
        &self,
        operation: O,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        self.apply_torn(operation, work, async { Ok(()) }).await
    }

    /// Runs `work` with the planned fault, and `half` of it for [`Fault::Torn`].
    ///
    /// # Errors
    /// Errors of the work, and injected ones.
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
                // The machine may have stopped meanwhile.
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

    /// Counts an operation and returns its fault.
    fn next(&self, operation: O) -> Option<Fault> {
        let State { plans, history, .. } = &mut *self.state();
        let at = history.len();
        let of_kind = plan::count_of(history, operation);
        history.push(operation);
        let mut hits =
            plans.iter_mut().filter_map(|plan| plan.hit(operation, at, of_kind)).collect::<Vec<_>>();
        (!hits.is_empty()).then(|| hits.swap_remove(0))
    }

    fn state(&self) -> MutexGuard<'_, State<O>> {
        self.0.state.lock()
    }
}
