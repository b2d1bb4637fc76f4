//! Tasks that wake themselves.
//!
//! A connection that takes a body wakes itself for each piece: the half that reads tells the half that takes, both
//! in the same task. The runtime takes that for a task that makes way for others, and wakes another thread for it,
//! once for each piece, at the cost of a good part of taking it. Here such a task is polled again at once.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

use super::connection_state::ConnectionState;

/// How often it is polled before others have their turn.
const MOST_POLLS: usize = 16;

/// Nobody polls it.
const RESTING: u8 = 0;
/// It is being polled,
const POLLED: u8 = 1;
/// and was woken meanwhile.
const WOKEN: u8 = 2;

/// A connection's future that is polled again at once when it was woken while it was polled, as long as its turn lasts.
pub(super) struct RepollOnSelfWake<F> {
    future: Pin<Box<F>>,
    pulse: Arc<ConnectionState>,
    bell: Arc<Bell>,
    waker: Waker,
}

/// What the future is woken by.
struct Bell {
    state: AtomicU8,
    task: AtomicWaker,
}

impl<F: Future> RepollOnSelfWake<F> {
    pub(super) fn new(future: F, pulse: Arc<ConnectionState>) -> Self {
        let bell = Arc::new(Bell { state: AtomicU8::new(RESTING), task: AtomicWaker::new() });
        let waker = Waker::from(Arc::clone(&bell));
        Self { future: Box::pin(future), pulse, bell, waker }
    }
}

impl<F: Future> Future for RepollOnSelfWake<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Self { future, pulse, bell, waker } = &mut *self;
        bell.task.register(cx.waker());
        pulse.turn().begin();
        for _ in 0..MOST_POLLS {
            bell.state.store(POLLED, Ordering::SeqCst);
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(waker)) {
                return Poll::Ready(output);
            }
            if bell.state.swap(RESTING, Ordering::SeqCst) == POLLED {
                return Poll::Pending;
            }
            if pulse.turn().is_over() {
                break;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let polled = self.state.compare_exchange(POLLED, WOKEN, Ordering::SeqCst, Ordering::SeqCst);
        if polled == Err(RESTING) {
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
    fn who_wakes_itself_is_polled_at_once_but_not_for_ever() {
        let mut polls = 0;
        let mut again = RepollOnSelfWake::new(
            poll_fn(|cx| {
                polls += 1;
                cx.waker().wake_by_ref();
                if polls == 3 + MOST_POLLS { Poll::Ready(()) } else { Poll::<()>::Pending }
            }),
            Arc::default(),
        );
        let woken = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut context = Context::from_waker(&waker);
        assert!(Pin::new(&mut again).poll(&mut context).is_pending());
        assert_eq!(woken.0.load(Ordering::SeqCst), 1, "others have their turn");
        assert!(Pin::new(&mut again).poll(&mut context).is_ready());
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_wake_from_another_thread_is_lost() {
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
