//! Tests of the budget's rules, and of the budget against a simple model.

use std::pin::Pin;
use std::task::Waker;

use futures_util::FutureExt;
use proptest::prelude::*;

use super::*;

const MIB: usize = 1 << 20;

fn budget() -> MemoryBudget {
    MemoryBudget::new(16 << 20)
}

type Reserving<'a> = Pin<Box<dyn Future<Output = Result<Reservation, OutOfMemory>> + 'a>>;

/// Starts to reserve; `Err` while it waits.
fn start_reserving(
    budget: &MemoryBudget,
    holder: Holder,
    bytes: usize,
) -> Result<Reservation, Reserving<'_>> {
    let mut reserving: Reserving<'_> = Box::pin(budget.reserve(holder, Purpose::Bodies, bytes));
    match (&mut reserving).now_or_never() {
        Some(reservation) => Ok(reservation.expect("granted")),
        None => Err(reserving),
    }
}

#[tokio::test(start_paused = true)]
async fn dropped_reservations_are_granted_to_waiting_ones() {
    let budget = budget();
    let mut first = start_reserving(&budget, Holder::Authenticated, 8 * MIB).ok().expect("fits");
    let mut second = start_reserving(&budget, Holder::Authenticated, 8 * MIB).expect_err("waits");
    assert_eq!(budget.waiting(), 1);
    first.shrink_to(7 * MIB);
    assert!((&mut second).now_or_never().is_none());
    first.shrink_to(6 * MIB);
    let second = (&mut second).now_or_never().expect("woken").expect("granted");
    assert_eq!((budget.reserved(), budget.waiting()), (14 * MIB, 0));
    drop((first, second));
    assert_eq!(budget.reserved(), 0);
    assert_eq!(budget.reserved_for(Purpose::Bodies), 0);
}

#[tokio::test(start_paused = true)]
async fn a_wait_times_out_and_leaves_the_queue() {
    let budget = budget();
    let _held = [8 * MIB, 6 * MIB]
        .map(|bytes| start_reserving(&budget, Holder::Authenticated, bytes).ok().expect("fits"));
    let start = tokio::time::Instant::now();
    let error = budget.reserve(Holder::Authenticated, Purpose::Pages, MIB).await.expect_err("no room");
    assert_eq!((error, start.elapsed()), (OutOfMemory, MAX_WAIT));
    assert_eq!((budget.waiting(), budget.refusals()), (0, 1));
    drop(start_reserving(&budget, Holder::Authenticated, MIB).expect_err("waits"));
    assert_eq!((budget.waiting(), budget.refusals()), (0, 1), "a cancelled wait does not count as rejected");
}

#[tokio::test]
async fn a_reservation_beyond_the_limit_is_reduced_to_half_the_budget() {
    let budget = budget();
    let all = start_reserving(&budget, Holder::Authenticated, usize::MAX).ok().expect("clamped");
    assert_eq!((all.bytes(), budget.max_reservation(Holder::Authenticated)), (8 * MIB, 8 * MIB));
    drop(all);
    let all = start_reserving(&budget, Holder::Anonymous, usize::MAX).ok().expect("clamped");
    assert_eq!(all.bytes(), 3 * MIB);
}

#[tokio::test]
async fn large_reservations_leave_memory_to_small_ones() {
    let budget = budget();
    let _large = [8 * MIB, 6 * MIB]
        .map(|bytes| start_reserving(&budget, Holder::Authenticated, bytes).ok().expect("fits"));
    assert!(budget.try_reserve(Holder::Authenticated, Purpose::Bodies, MIB).is_none());
    assert!(!budget.is_short(Holder::Authenticated), "small reservations have their own part");
    let small: Vec<_> =
        (0..32).map(|_| budget.try_reserve(Holder::Authenticated, Purpose::ParsedBodies, SMALL)).collect();
    assert!(small.iter().all(Option::is_some));
    assert!(budget.try_reserve(Holder::Authenticated, Purpose::ParsedBodies, SMALL).is_none());
}

#[tokio::test]
async fn a_stream_of_small_reservations_does_not_block_a_large_one() {
    let budget = budget();
    let mut small: std::collections::VecDeque<_> =
        std::iter::from_fn(|| budget.try_reserve(Holder::Authenticated, Purpose::ParsedBodies, SMALL))
            .collect();
    let mut large = start_reserving(&budget, Holder::Authenticated, 10 * MIB).expect_err("waits");
    for _ in 0..10_000 {
        if (&mut large).now_or_never().is_some() {
            return;
        }
        small.pop_front();
        small.extend(budget.try_reserve(Holder::Authenticated, Purpose::ParsedBodies, SMALL));
    }
    panic!("the large reservation still waits");
}

#[tokio::test]
async fn anonymous_clients_together_hold_a_quarter() {
    let budget = budget();
    let anonymous: Vec<_> =
        std::iter::from_fn(|| budget.try_reserve(Holder::Anonymous, Purpose::ParsedBodies, SMALL)).collect();
    assert_eq!(budget.reserved(), 4 * MIB);
    let mut waits = start_reserving(&budget, Holder::Anonymous, 1).expect_err("waits");
    let _others = start_reserving(&budget, Holder::Authenticated, 10 * MIB).ok().expect("has its own share");
    drop(anonymous);
    assert!((&mut waits).now_or_never().is_some());
}

#[tokio::test]
async fn an_authenticated_reservation_leaves_the_anonymous_share() {
    let budget = budget();
    let mut head = budget.charge(Holder::Anonymous, Purpose::Heads, 5 * MIB);
    assert!(budget.is_short(Holder::Anonymous) && !budget.is_short(Holder::Authenticated));
    head.authenticate();
    assert!(!budget.is_short(Holder::Anonymous));
    assert_eq!((budget.reserved(), budget.reserved_by_anonymous()), (5 * MIB, 0));
    drop(head);
    assert_eq!((budget.reserved(), budget.reserved_by_anonymous()), (0, 0));
}

#[tokio::test]
async fn a_reservation_grows_by_the_difference() {
    let budget = budget();
    let mut growing = start_reserving(&budget, Holder::Authenticated, 1000).ok().expect("fits");
    growing.grow_to(500).await.expect("has it");
    assert_eq!(growing.bytes(), 1000);
    growing.grow_to(MIB).await.expect("fits");
    assert_eq!((growing.bytes(), budget.reserved()), (MIB, MIB));
    let other = [8 * MIB, 5 * MIB]
        .map(|bytes| start_reserving(&budget, Holder::Authenticated, bytes).ok().expect("fits"));
    assert_eq!(growing.try_grow_to(4 * MIB), Err(OutOfMemory));
    assert_eq!(growing.bytes(), MIB);
    drop(other);
    growing.try_grow_to(4 * MIB).expect("fits");
    growing.shrink_to(10);
    assert_eq!(budget.reserved(), 10);
}

#[tokio::test]
async fn a_gate_is_closed_while_memory_is_short() {
    let budget = budget();
    let mut gate = budget.read_gate();
    let context = std::task::Context::from_waker(Waker::noop());
    assert!(gate.poll_open(&context, Holder::Anonymous).is_ready());
    let mut heads: Vec<_> = (0..4).map(|_| budget.charge(Holder::Anonymous, Purpose::Heads, MIB)).collect();
    assert!(gate.poll_open(&context, Holder::Anonymous).is_pending());
    assert!(gate.poll_open(&context, Holder::Authenticated).is_ready());
    let opens = std::future::poll_fn(|cx| gate.poll_open(cx, Holder::Anonymous));
    let release = async {
        tokio::task::yield_now().await;
        heads.truncate(2);
    };
    tokio::join!(opens, release);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_wake_is_lost_between_threads() {
    let budget = MemoryBudget::new(4 << 20);
    let tasks = (0..32).map(|task: usize| {
        let budget = budget.clone();
        tokio::spawn(async move {
            let holder = if task.is_multiple_of(2) { Holder::Anonymous } else { Holder::Authenticated };
            for turn in 0..300 {
                let bytes = (task * 37 + turn * 8191) % (700 * 1024);
                let reservation = budget.reserve(holder, Purpose::Bodies, bytes).await.expect("in time");
                assert!(budget.reserved() <= budget.limit());
                tokio::task::yield_now().await;
                drop(reservation);
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.expect("no panic");
    }
    assert_eq!((budget.reserved(), budget.reserved_by_anonymous(), budget.waiting()), (0, 0, 0));
}

#[test]
fn metrics_name_every_purpose() {
    let budget = budget();
    let _held = budget.charge(Holder::Anonymous, Purpose::Heads, 1234);
    let mut registry = prometheus_client::registry::Registry::default();
    registry.register_collector(Box::new(budget));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).expect("encodes");
    for line in [
        "orlop_memory_budget_bytes 16777216",
        "orlop_memory_anonymous_bytes 1234",
        "orlop_memory_waiting 0",
        "orlop_memory_reserved_bytes{purpose=\"heads\"} 1234",
        "orlop_memory_reserved_bytes{purpose=\"handshakes\"} 0",
        "orlop_memory_refusals_total 0",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
}

#[derive(Debug, Clone)]
enum Step {
    Reserve(Holder, usize),
    Try(Holder, usize),
    Shrink(usize, usize),
    Grow(usize, usize),
    Authenticate(usize),
    Release(usize),
    GiveUp(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let holder = || prop_oneof![Just(Holder::Anonymous), Just(Holder::Authenticated)];
    let bytes = || prop_oneof![0..=SMALL, SMALL..2 * MIB, Just(usize::MAX)];
    let step = prop_oneof![
        4 => (holder(), bytes()).prop_map(|(holder, bytes)| Step::Reserve(holder, bytes)),
        2 => (holder(), bytes()).prop_map(|(holder, bytes)| Step::Try(holder, bytes)),
        1 => (any::<usize>(), bytes()).prop_map(|(at, bytes)| Step::Shrink(at, bytes)),
        1 => (any::<usize>(), bytes()).prop_map(|(at, bytes)| Step::Grow(at, bytes)),
        1 => any::<usize>().prop_map(Step::Authenticate),
        3 => any::<usize>().prop_map(Step::Release),
        1 => any::<usize>().prop_map(Step::GiveUp),
    ];
    prop::collection::vec(step, 1..80)
}

/// The reservations that the test holds and waits for.
#[derive(Default)]
struct Clients<'a> {
    held: Vec<(Holder, Reservation)>,
    waiting: Vec<(Holder, Reserving<'a>)>,
}

impl<'a> Clients<'a> {
    fn take(&mut self, budget: &'a MemoryBudget, step: Step) {
        let held = self.held.len();
        match step {
            Step::Reserve(holder, bytes) => match start_reserving(budget, holder, bytes) {
                Ok(reservation) => self.held.push((holder, reservation)),
                Err(waiting) => self.waiting.push((holder, waiting)),
            },
            Step::Try(holder, bytes) => {
                let reservation = budget.try_reserve(holder, Purpose::Pages, bytes);
                self.held.extend(reservation.map(|reservation| (holder, reservation)));
            }
            Step::GiveUp(at) if !self.waiting.is_empty() => {
                drop(self.waiting.swap_remove(at % self.waiting.len()));
            }
            _ if held == 0 => {}
            Step::Shrink(at, bytes) => self.held[at % held].1.shrink_to(bytes),
            Step::Grow(at, bytes) => drop(self.held[at % held].1.try_grow_to(bytes)),
            Step::Authenticate(at) => {
                let (holder, reservation) = &mut self.held[at % held];
                reservation.authenticate();
                *holder = Holder::Authenticated;
            }
            Step::Release(at) => drop(self.held.swap_remove(at % held)),
            Step::GiveUp(_) => {}
        }
        self.collect_granted();
    }

    fn collect_granted(&mut self) {
        let mut at = 0;
        while at < self.waiting.len() {
            match (&mut self.waiting[at].1).now_or_never() {
                Some(granted) => {
                    let (holder, _) = self.waiting.remove(at);
                    self.held.push((holder, granted.expect("not timed out")));
                }
                None => at += 1,
            }
        }
    }

    fn total(&self, of: impl Fn(Holder) -> bool) -> usize {
        self.held.iter().filter(|(holder, _)| of(*holder)).map(|(_, held)| held.bytes()).sum()
    }
}

proptest! {
    #[test]
    fn the_budget_counts_reservations_and_is_never_exceeded(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let _entered = runtime.enter();
        let budget = MemoryBudget::new(4 << 20);
        let mut clients = Clients::default();
        for step in steps {
            clients.take(&budget, step);
            prop_assert_eq!(budget.reserved(), clients.total(|_| true));
            prop_assert_eq!(budget.reserved_by_anonymous(), clients.total(|holder| holder == Holder::Anonymous));
            prop_assert!(budget.reserved() <= budget.limit());
            prop_assert!(budget.reserved_by_anonymous() <= budget.limit() / 4);
            prop_assert_eq!(budget.waiting(), clients.waiting.len());
        }
        // Every waiting reservation is granted as others are released.
        while !clients.held.is_empty() {
            drop(clients.held.swap_remove(0));
            clients.collect_granted();
        }
        prop_assert!(clients.waiting.is_empty(), "{} are still waiting", clients.waiting.len());
        prop_assert_eq!(budget.reserved(), 0);
    }
}
