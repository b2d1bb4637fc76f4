//! What is to go wrong, and when.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Operation;

/// Which error is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// [`crate::metadata::MetadataError::Failed`]
    Io,
    /// [`crate::metadata::MetadataError::Full`]
    Full,
}

/// What goes wrong with one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails and has done nothing.
    Fail(Failure),
    /// It does its work, and fails: an answer that got lost.
    FailAfter(Failure),
    /// The machine goes down before it.
    Crash,
    /// The machine goes down right after it, before anybody hears of its success.
    CrashAfter,
}

/// The control of a [`super::Faulty`] store. Clones steer the same one.
#[derive(Clone)]
pub struct Faults(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    plans: Vec<Plan>,
    history: Vec<Operation>,
    down: bool,
    on_crash: Option<Arc<dyn Fn() + Send + Sync>>,
}

enum Plan {
    /// The operation with number `at`, of those of one kind or of all.
    Nth { of: Option<Operation>, at: usize, fault: Fault },
    /// Each operation, with a probability of `threshold` in 2^32.
    Random { random: u64, threshold: u32, faults: Vec<Fault> },
}

impl Default for Faults {
    fn default() -> Self {
        Self::new()
    }
}

impl Faults {
    /// Nothing is to go wrong yet.
    pub fn new() -> Self {
        Self(Arc::default())
    }

    /// Lets the operation number `at` go wrong, counted from 0 at the beginning of [`Faults::history`].
    pub fn nth(&self, at: usize, fault: Fault) {
        self.state().plans.push(Plan::Nth { of: None, at, fault });
    }

    /// Lets number `at` of one kind of operation go wrong, counted from 0.
    pub fn nth_of(&self, of: Operation, at: usize, fault: Fault) {
        self.state().plans.push(Plan::Nth { of: Some(of), at, fault });
    }

    /// Lets the next operation of a kind go wrong.
    pub fn next_of(&self, of: Operation, fault: Fault) {
        self.nth_of(of, self.count_of(of), fault);
    }

    /// Lets each operation go wrong with a `probability`, in one of these ways; the same `seed` gives the
    /// same faults to the same operations.
    pub fn randomly(&self, seed: u64, probability: f64, faults: &[Fault]) {
        let threshold = (probability.clamp(0.0, 1.0) * f64::from(u32::MAX)) as u32;
        self.state().plans.push(Plan::Random { random: seed, threshold, faults: faults.to_vec() });
    }

    /// Nothing more is to go wrong.
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
    pub fn history(&self) -> Vec<Operation> {
        self.state().history.clone()
    }

    /// How many operations were asked for.
    pub fn count(&self) -> usize {
        self.state().history.len()
    }

    /// How many operations of a kind were asked for.
    pub fn count_of(&self, operation: Operation) -> usize {
        count_of(&self.state().history, operation)
    }

    pub(super) fn crash(&self) {
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
    pub(super) fn next(&self, operation: Operation) -> Option<Fault> {
        let State { plans, history, .. } = &mut *self.state();
        let (at, of_kind) = (history.len(), count_of(history, operation));
        history.push(operation);
        let mut hits =
            plans.iter_mut().filter_map(|plan| plan.hit(operation, at, of_kind)).collect::<Vec<_>>();
        (!hits.is_empty()).then(|| hits.swap_remove(0))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Plan {
    fn hit(&mut self, operation: Operation, number: usize, of_kind: usize) -> Option<Fault> {
        match self {
            Self::Nth { of: None, at, fault } => (*at == number).then_some(*fault),
            Self::Nth { of: Some(of), at, fault } => (*of == operation && *at == of_kind).then_some(*fault),
            Self::Random { random, threshold, faults } => {
                let (lot, choice) = (splitmix(random), splitmix(random));
                let hit = !faults.is_empty() && (lot >> 32) as u32 <= *threshold && *threshold > 0;
                hit.then(|| faults[choice as usize % faults.len()])
            }
        }
    }
}

fn count_of(history: &[Operation], operation: Operation) -> usize {
    history.iter().filter(|past| **past == operation).count()
}

/// SplitMix64: small, and good enough to choose faults by.
fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
