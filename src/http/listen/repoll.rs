//! Polls a task again at once if it woke itself.
//!
//! A connection that receives a body wakes itself for each piece: the half that reads from the socket wakes
//! the half that takes the body, in the same task. The runtime treats this as if the task yielded to others:
//! it queues the task again and wakes another thread for it. Doing so for each piece takes a good part of the
//! time in which the body is received. This wrapper polls such a task again without the runtime.
//!
//! Measured in CPU time (median of ten runs in turns): without it, an upload that arrives in pieces of 64 KiB costs
//! 1.07 times as much, one in pieces of 4 KiB 1.03 times, and one that is sent in one write 0.98 times.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

use super::connection_state::ConnectionState;

/// The maximum number of polls before other tasks get their turn.
const MAX_POLLS: usize = 16;

/// The task is not being polled.
const IDLE: u8 = 0;
/// The task is being polled.
const POLLED: u8 = 1;
/// The task was woken while being polled.
const WOKEN: u8 = 2;

/// A connection's future that is polled again at once if it was woken while being polled, until its turn is
/// over.
pub(super) struct RepollOnSelfWake<F> {
    future: Pin<Box<F>>,
    state: Arc<ConnectionState>,
    self_waker: Arc<SelfWaker>,
    waker: Waker,
}

/// The waker passed to the future.
struct SelfWaker {
    state: AtomicU8,
    task: AtomicWaker,
}

impl<F: Future> RepollOnSelfWake<F> {
    pub(super) fn new(future: F, state: Arc<ConnectionState>) -> Self {
        let self_waker = Arc::new(SelfWaker { state: AtomicU8::new(IDLE), task: AtomicWaker::new() });
        let waker = Waker::from(Arc::clone(&self_waker));
        Self { future: Box::pin(future), state, self_waker, waker }
    }
}

impl<F: Future> Future for RepollOnSelfWake<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Self { future, state, self_waker, waker } = &mut *self;
        self_waker.task.register(cx.waker());
        state.time_slice.start();
        for _ in 0..MAX_POLLS {
            self_waker.state.store(POLLED, Ordering::SeqCst);
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(waker)) {
                return Poll::Ready(output);
            }
            if self_waker.state.swap(IDLE, Ordering::SeqCst) == POLLED {
                return Poll::Pending;
            }
            if state.time_slice.is_over() {
                break;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Wake for SelfWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let polled = self.state.compare_exchange(POLLED, WOKEN, Ordering::SeqCst, Ordering::SeqCst);
        if polled == Err(IDLE) {
            self.task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn repolls_a_self_waking_task_a_limited_number_of_times() {
        let mut polls = 0;
        let mut repoll = RepollOnSelfWake::new(
            poll_fn(|cx| {
                polls += 1;
                cx.waker().wake_by_ref();
                if polls == 3 + MAX_POLLS { Poll::Ready(()) } else { Poll::<()>::Pending }
            }),
            Arc::default(),
        );
        let woken = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut context = Context::from_waker(&waker);
        assert!(Pin::new(&mut repoll).poll(&mut context).is_pending());
        assert_eq!(woken.0.load(Ordering::SeqCst), 1, "the limit was reached once");
        assert!(Pin::new(&mut repoll).poll(&mut context).is_ready());
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn keeps_wakes_from_other_threads() {
        let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
        let sent = tokio::spawn(async move {
            for number in 0..10_000 {
                sender.send(number).await.expect("taken");
            }
        });
        let took = tokio::spawn(RepollOnSelfWake::new(
            async move {
                let mut expected = 0;
                while let Some(number) = receiver.recv().await {
                    assert_eq!(number, expected);
                    expected += 1;
                    if number % 1000 == 0 {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                }
                expected
            },
            Arc::default(),
        ));
        sent.await.expect("sent");
        assert_eq!(took.await.expect("took"), 10_000);
    }
}
