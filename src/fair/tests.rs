use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::shares::{Shares, Ticket};
use super::*;

fn user(number: usize) -> Client {
    Client::User(format!("user{number}").into())
}

#[test]
fn version_6_addresses_count_by_network() {
    let client = |text: &str| Client::from_address(text.parse().expect("an address"));
    assert_eq!(client("2001:db8:1:2::1"), client("2001:db8:1:2:ffff::9"));
    assert_ne!(client("2001:db8:1:2::1"), client("2001:db8:1:3::1"));
    assert_eq!(client("::ffff:192.0.2.1"), client("192.0.2.1"));
    assert_ne!(client("192.0.2.1"), client("192.0.2.2"));
    assert_ne!(Client::single_request(), Client::single_request());
}

/// Takes up to `count` turns that are free now.
async fn take_free(queue: &Arc<FairQueue>, client: &Client, count: usize) -> Vec<Turn> {
    let mut turns = Vec::new();
    for _ in 0..count {
        let Ok(turn) = tokio::time::timeout(Duration::ZERO, queue.take(client)).await else { break };
        turns.push(turn);
    }
    turns
}

#[tokio::test(start_paused = true)]
async fn one_client_leaves_a_reserve_and_two_share() {
    let queue = FairQueue::new(64);
    let first = take_free(&queue, &user(1), 100).await;
    assert_eq!(first.len(), 56);
    let second = take_free(&queue, &user(2), 100).await;
    assert_eq!(second.len(), 8);
    drop(first);
    assert_eq!(take_free(&queue, &user(1), 100).await.len(), 32);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_wait_leaves_the_queue() {
    let queue = FairQueue::new(1);
    let turn = queue.take(&user(1)).await;
    let wait = tokio::time::timeout(Duration::from_secs(1), queue.take(&user(2))).await;
    assert!(wait.is_err());
    assert_eq!(queue.waiting(), 0);
    drop(turn);
    assert_eq!(queue.taken(), 0);
    queue.take(&user(3)).await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_holder_is_recalled_only_while_others_wait() {
    let queue = FairQueue::new(1);
    let silent = queue.take(&user(1)).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!silent.is_recalled());
    let started = Instant::now();
    let next = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move { queue.take(&user(2)).await }
    });
    silent.recalled().await;
    drop(silent);
    next.await.expect("a turn");
    assert!(started.elapsed() < Duration::from_millis(10), "{:?}", started.elapsed());
}

/// Makes progress until the turn is recalled. Returns how long that took.
async fn work(turn: Turn, bytes: usize, pause: Duration) -> Duration {
    let started = Instant::now();
    while !turn.is_recalled() {
        turn.record_progress(bytes);
        tokio::time::sleep(pause).await;
    }
    started.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_slow_holder_loses_its_turn_sooner_than_a_fast_one() {
    for (bytes, expected) in [(1, Duration::from_millis(200)), (1 << 20, MAX_TURN + REVIEW_INTERVAL * 2)] {
        let queue = FairQueue::new(1);
        let turn = queue.take(&user(1)).await;
        let other = user(2);
        let next = queue.take(&other);
        let holding = work(turn, bytes, Duration::from_millis(10));
        let (held, _turn) = tokio::join!(holding, next);
        assert!(held <= expected, "{bytes}: {held:?}");
        assert!(bytes == 1 || held >= MAX_TURN, "{bytes}: {held:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn as_many_holders_are_recalled_as_clients_wait() {
    let queue = FairQueue::new(8);
    let turns: Vec<Turn> = {
        let mut turns = take_free(&queue, &user(1), 4).await;
        turns.extend(take_free(&queue, &user(2), 4).await);
        turns
    };
    assert_eq!(turns.len(), 8);
    let mut waits = tokio::task::JoinSet::new();
    for _ in 0..2 {
        let queue = Arc::clone(&queue);
        waits.spawn(async move { drop(queue.take(&user(3)).await) });
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(turns.iter().filter(|turn| turn.is_recalled()).count(), 2);
    drop(turns);
    while waits.join_next().await.is_some() {}
    assert_eq!((queue.taken(), queue.waiting()), (0, 0));
}

/// Hundreds of slow clients share turns with one that works: it waits only for moments.
#[tokio::test(start_paused = true)]
async fn slow_clients_do_not_delay_a_fast_one() {
    let queue = FairQueue::new(64);
    let mut slow = tokio::task::JoinSet::new();
    for number in 0..640 {
        let queue = Arc::clone(&queue);
        slow.spawn(async move {
            loop {
                let turn = queue.take(&user(number % 3)).await;
                turn.record_progress(300);
                let _ = tokio::time::timeout(Duration::from_secs(1), turn.recalled()).await;
            }
        });
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    for _ in 0..100 {
        let started = Instant::now();
        drop(queue.take(&user(1000)).await);
        assert!(started.elapsed() <= Duration::from_millis(150), "{:?}", started.elapsed());
        tokio::time::sleep(Duration::from_millis(37)).await;
    }
}

/// A thousand pushes of three seconds each from one address: none waits long enough to be rejected.
#[tokio::test(start_paused = true)]
async fn a_thousand_uploads_of_one_client_all_get_turns() {
    const STEP: Duration = Duration::from_millis(250);
    let queue = FairQueue::new(64);
    let mut uploads = tokio::task::JoinSet::new();
    for _ in 0..1000 {
        let queue = Arc::clone(&queue);
        uploads.spawn(async move {
            let mut longest = Duration::ZERO;
            let mut left = 12;
            while left > 0 {
                let started = Instant::now();
                let turn = queue.take(&user(1)).await;
                longest = longest.max(started.elapsed());
                while left > 0 && !turn.is_recalled() {
                    left -= 1;
                    for _ in 0..10 {
                        tokio::time::sleep(STEP / 10).await;
                        turn.record_progress(1 << 20);
                    }
                }
            }
            longest
        });
    }
    while let Some(longest) = uploads.join_next().await {
        let longest = longest.expect("done");
        assert!(longest < Duration::from_secs(28), "{longest:?}");
    }
}

/// The held turns and waiting requests of one client, counted naively.
#[derive(Default, Clone)]
struct Model {
    held: usize,
    waiting: VecDeque<Ticket>,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Enqueue(usize),
    GiveBack(usize),
    Leave(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let client = 0..6_usize;
    prop_oneof![
        4 => client.clone().prop_map(Step::Enqueue),
        3 => client.clone().prop_map(Step::GiveBack),
        1 => client.prop_map(Step::Leave),
    ]
}

/// Returns how many turns a client may hold by the rules, computed from the model alone.
fn limit(places: usize, model: &BTreeMap<usize, Model>) -> usize {
    let active = model.values().filter(|client| client.held > 0 || !client.waiting.is_empty()).count();
    let taken: usize = model.values().map(|client| client.held).sum();
    let all_but_reserve = (places - places / 8).max(1);
    if active <= 1 || taken < places / 2 {
        return all_but_reserve;
    }
    places.div_ceil(active).min(all_but_reserve)
}

proptest! {
    #[test]
    fn places_are_divided_by_the_rules(places in 1..40_usize, steps in prop::collection::vec(step(), 1..200)) {
        let mut shares = Shares::new(places);
        let mut model: BTreeMap<usize, Model> = (0..6).map(|number| (number, Model::default())).collect();
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Enqueue(client) => {
                    let ticket = Ticket(number as u64);
                    shares.enqueue(&user(client), ticket);
                    model.entry(client).or_default().waiting.push_back(ticket);
                }
                Step::GiveBack(client) => {
                    let known = model.entry(client).or_default();
                    if known.held > 0 {
                        known.held -= 1;
                        shares.give_back(&user(client));
                    }
                }
                Step::Leave(client) => {
                    if let Some(ticket) = model.entry(client).or_default().waiting.pop_back() {
                        shares.leave(&user(client), ticket);
                    }
                }
            }
            while let Some((client, ticket)) = shares.serve_next() {
                let limit = limit(places, &model);
                let number = (0..6).find(|number| user(*number) == client).expect("a client of the test");
                let fewest = model.values().filter(|client| !client.waiting.is_empty()).map(|client| client.held);
                prop_assert_eq!(Some(model[&number].held), fewest.min(), "the client with the fewest is first");
                let served = model.entry(number).or_default();
                prop_assert!(served.held < limit);
                prop_assert_eq!(served.waiting.pop_front(), Some(ticket), "a client is served in its own order");
                served.held += 1;
            }
            let taken: usize = model.values().map(|client| client.held).sum();
            prop_assert!(taken <= places);
            let limit = limit(places, &model);
            for waiting in model.values().filter(|client| !client.waiting.is_empty()) {
                prop_assert!(taken == places || waiting.held >= limit, "a client waits beside a free place");
            }
        }
    }

    #[test]
    fn a_new_client_waits_for_one_turn_of_each_other_client(
        places in 2..64_usize,
        greedy in 1..6_usize,
        requests in 1..200_usize,
    ) {
        let mut shares = Shares::new(places);
        let mut next = 0;
        let mut enqueue = |shares: &mut Shares, client: usize| {
            next += 1;
            shares.enqueue(&user(client), Ticket(next));
        };
        for client in 0..greedy {
            for _ in 0..requests {
                enqueue(&mut shares, client);
            }
        }
        while shares.serve_next().is_some() {}
        enqueue(&mut shares, 99);
        while shares.serve_next().is_some() {}
        let mut freed = 0;
        while shares.held(&user(99)) == 0 {
            freed += 1;
            prop_assert!(freed <= greedy + 1, "it waited for more than one turn of each other client");
            let largest = (0..greedy).max_by_key(|client| shares.held(&user(*client))).expect("one");
            prop_assert!(shares.needs().claim_from(&user(largest)));
            shares.give_back(&user(largest));
            while shares.serve_next().is_some() {}
        }
    }
}
