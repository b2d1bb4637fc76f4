//! Decides which operation a fault applies to.

use super::Fault;

pub(super) enum Plan<O> {
    /// Operation number `at`, among those of one kind or all.
    Nth { of: Option<O>, at: usize, fault: Fault },
    /// Each operation, with a probability of `threshold` in 2^32.
    Random { random: u64, threshold: u32, faults: Vec<Fault> },
}

impl<O: Copy + Eq> Plan<O> {
    pub(super) fn hit(&mut self, operation: O, number: usize, of_kind: usize) -> Option<Fault> {
        match self {
            Self::Nth { of: None, at, fault } => (*at == number).then_some(*fault),
            Self::Nth { of: Some(of), at, fault } => (*of == operation && *at == of_kind).then_some(*fault),
            #[expect(clippy::cast_possible_truncation, reason = "any bits of a random number will do")]
            Self::Random { random, threshold, faults } => {
                let lot = splitmix(random);
                let choice = splitmix(random);
                let hit = !faults.is_empty() && (lot >> 32) as u32 <= *threshold && *threshold > 0;
                hit.then(|| faults[choice as usize % faults.len()])
            }
        }
    }
}

pub(super) fn count_of<O: Copy + Eq>(history: &[O], operation: O) -> usize {
    history.iter().filter(|past| **past == operation).count()
}

/// SplitMix64: small, and random enough to choose faults.
fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
