//! Tests the storage budget: pushes never exceed it, and wait for space while a job reclaims some.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future;
use orlop::oci::Algorithm;
use orlop::registry::{BudgetSettings, BudgetSize, ServiceError, UploadError};

use crate::kit::{Kit, body, broken, digest, push};

const MIB: u64 = 1 << 20;

/// A registry whose budget is `more` bytes above the size of an empty registry.
async fn limited(more: u64, wait: Duration) -> Kit {
    let empty = Kit::new().registry.stored().await.expect("read").total();
    Kit::with(|settings| {
        let limit = BudgetSize::Bytes(empty + more);
        settings.budget = Some(BudgetSettings { limit, high: 60, low: 50, wait });
    })
}

fn content(number: u8) -> Vec<u8> {
    vec![number; MIB as usize]
}

async fn try_push(kit: &Kit, number: u8) -> Result<(), UploadError> {
    // Each push has its own repository: a waiting upload extends the leases of its repository.
    let repo = kit.repo(&format!("app{number}"));
    let content = content(number);
    let id = repo.start_upload(Algorithm::Sha256).await?;
    let pushed = repo.finish(id, None, body(&[&content]), digest(&content)).await;
    if pushed.is_err() {
        repo.cancel_upload(id).await.expect("cancelled");
    }
    pushed
}

#[tokio::test]
async fn concurrent_pushes_do_not_exceed_the_budget() {
    let kit = limited(8 * MIB, Duration::ZERO).await;
    let pushes = future::join_all((0..12).map(|number| try_push(&kit, number))).await;
    let state = kit.registry.budget().await.expect("read").expect("set");
    assert!(state.taken() <= state.budget, "{state:?}");
    assert_eq!(state.reserved, 0);
    assert!(pushes.iter().filter(|pushed| pushed.is_ok()).count() >= 2);
    let rejected = pushes.into_iter().find_map(Result::err).expect("one was rejected");
    assert!(
        matches!(&rejected, UploadError::Service(ServiceError::Full(why)) if why.contains("storage.budget"))
    );
}

#[tokio::test]
async fn a_writer_waits_while_space_is_reclaimed() {
    let kit = Arc::new(limited(4 * MIB, Duration::from_secs(60)).await);
    try_push(&kit, 1).await.expect("there is space");
    let reclaimer = kit.registry.pressure().register_reclaimer();
    let busy = Arc::clone(&kit);
    let reclaiming = tokio::spawn(async move {
        loop {
            reclaimer.requested().await;
            busy.pass(crate::kit::LEASE + crate::kit::LEASE).await;
        }
    });
    for number in 2..10 {
        try_push(&kit, number).await.expect("space is reclaimed");
        let state = kit.registry.budget().await.expect("read").expect("set");
        assert!(state.taken() <= state.budget, "{state:?}");
    }
    reclaiming.abort();
}

/// The next layers of an image are rejected immediately until space is freed.
#[tokio::test]
async fn rejects_at_once_a_client_that_already_waited_without_success() {
    let kit = Arc::new(limited(4 * MIB, Duration::from_secs(3600)).await);
    for number in 0..2 {
        try_push(&kit, number).await.expect("there is space");
    }
    let reclaimer = kit.registry.pressure().register_reclaimer();
    let waiting = tokio::spawn({
        let kit = Arc::clone(&kit);
        async move { try_push(&kit, 7).await }
    });
    while !kit.registry.pressure().has_waiting_writers() {
        tokio::task::yield_now().await;
    }
    drop(reclaimer);
    assert!(waiting.await.expect("task").is_err(), "no job reclaims space any longer");
    let _reclaimer = kit.registry.pressure().register_reclaimer();
    assert!(try_push(&kit, 7).await.is_err(), "it does not wait again");
    let is_waiting = |number| {
        let kit = Arc::clone(&kit);
        async move { tokio::time::timeout(Duration::from_millis(100), try_push(&kit, number)).await.is_err() }
    };
    assert!(is_waiting(8).await, "another client waits");
    kit.repo("app0").delete_blob(&digest(&content(0))).await.expect("deleted");
    kit.pass(crate::kit::LEASE + crate::kit::LEASE).await;
    try_push(&kit, 7).await.expect("there is space again");
}

#[tokio::test]
async fn an_error_names_the_idle_upload_only_to_its_own_repository() {
    let kit = limited(4 * MIB, Duration::ZERO).await;
    let repo = kit.repo("app");
    let idle = repo.start_upload(Algorithm::Sha256).await.expect("started");
    repo.append(idle, None, body(&[&content(1), &content(2)])).await.expect("appended");
    kit.registry.checkpoint_uploads(true).await;
    kit.clock.advance(Duration::from_secs(120));
    kit.registry.pressure().set_obstacle(Some("the retention policies keep the rest".into()));
    for (name, is_named) in [("app", true), ("other", false)] {
        let repo = kit.repo(name);
        let id = repo.start_upload(Algorithm::Sha256).await.expect("started");
        let outcome = repo.finish(id, None, body(&[&content(3), &content(4)]), digest(b"")).await;
        let Err(UploadError::Service(ServiceError::Full(message))) = outcome else { panic!("{outcome:?}") };
        assert_eq!(message.contains(&idle.to_string()), is_named, "{message}");
        assert!(message.contains("idle") && message.contains(&(2 * MIB).to_string()), "{message}");
        assert!(message.contains("retention policies keep"), "{message}");
        repo.cancel_upload(id).await.expect("cancelled");
    }
}

#[tokio::test]
async fn an_interrupted_upload_counts_until_it_ends() {
    let kit = limited(8 * MIB, Duration::ZERO).await;
    let repo = kit.repo("app");
    let id = repo.start_upload(Algorithm::Sha256).await.expect("started");
    repo.append(id, None, broken(&content(1))).await.expect_err("broken");
    let reserved = || async { kit.registry.budget().await.expect("read").expect("set").reserved };
    assert_eq!(reserved().await, MIB);
    repo.cancel_upload(id).await.expect("cancelled");
    assert_eq!(reserved().await, 0);
}

#[tokio::test]
async fn staged_bytes_count_after_a_restart() {
    let kit = limited(8 * MIB, Duration::ZERO).await;
    let repo = kit.repo("app");
    let id = repo.start_upload(Algorithm::Sha256).await.expect("started");
    repo.append(id, None, body(&[&content(1)])).await.expect("appended");
    kit.registry.checkpoint_uploads(true).await;
    drop(repo);
    let kit = kit.restarted().await;
    assert_eq!(kit.registry.budget().await.expect("read").expect("set").reserved, MIB);
    assert!(kit.registry.stored().await.expect("read").staged >= MIB);
    kit.repo("app").cancel_upload(id).await.expect("cancelled");
    push(&kit.repo("app"), b"x").await;
}
