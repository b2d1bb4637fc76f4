//! The event streams of open pages. A stream announces changes in the repositories that its visitor may read.
//!
//! While pages are open, one task looks for changes twice a second. A stream ends after ten minutes, and the browser
//! opens it again: so a visitor who has signed out does not keep it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::Event;
use futures_util::{Stream, stream};
use parking_lot::Mutex;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{Receiver, Sender, channel};
use tokio::time::{Instant, interval, timeout_at};

use crate::auth::{AccessControl, Principal};
use crate::errors::Chain;
use crate::http::state::AppState;
use crate::oci::RepoName;

/// The most streams of one user, or of one address without a user.
const MAX_STREAMS_PER_USER: usize = 20;

/// How often the task looks for changes.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// How many changes of tags are announced at once; others follow after the next check.
const MAX_CHANGES: usize = 500;

/// How many announcements a stream may miss before it skips some.
const QUEUE_LEN: usize = 16;

/// How long a stream lasts.
const STREAM_LIFETIME: Duration = Duration::from_secs(10 * 60);

/// The names of repositories that have changed.
type Changed = Arc<[RepoName]>;

/// The streams of open pages.
pub(super) struct LiveStreams {
    state: Arc<AppState>,
    announcements: Sender<Changed>,
    open: Mutex<Open>,
}

/// How many streams are open.
#[derive(Default)]
struct Open {
    total: usize,
    by_user: HashMap<String, usize>,
    is_watched: bool,
}

impl LiveStreams {
    pub(super) fn new(state: Arc<AppState>) -> Arc<Self> {
        let (announcements, _) = channel(QUEUE_LEN);
        Arc::new(Self { state, announcements, open: Mutex::default() })
    }

    /// The changes that a visitor may see, until the stream ends. `user` is who the stream counts for. `None` if the user,
    /// or all users together, have too many streams.
    pub(super) fn changes(
        self: &Arc<Self>,
        user: String,
        principal: Principal,
    ) -> Option<impl Stream<Item = Event> + use<>> {
        let stream = self.open(user)?;
        let changes = self.announcements.subscribe();
        let end = Instant::now() + STREAM_LIFETIME;
        let announcer = Announcer { stream, principal, changes, end };
        Some(stream::unfold(announcer, |mut announcer| async {
            let event = announcer.next().await?;
            Some((event, announcer))
        }))
    }

    /// Opens a stream for a user, unless the user or all users together have too many.
    fn open(self: &Arc<Self>, user: String) -> Option<OpenStream> {
        let mut open = self.open.lock();
        let own = open.by_user.get(&user).copied().unwrap_or_default();
        if open.total >= self.state.settings.live_pages || own >= MAX_STREAMS_PER_USER {
            return None;
        }
        open.total += 1;
        open.by_user.insert(user.clone(), own + 1);
        if !open.is_watched {
            open.is_watched = true;
            tokio::spawn(Arc::clone(self).watch());
        }
        Some(OpenStream { live: Arc::clone(self), user })
    }

    /// Announces changes until no stream is open.
    async fn watch(self: Arc<Self>) {
        let metadata = self.state.registry.metadata();
        let mut ticks = interval(CHECK_INTERVAL);
        let mut last = None;
        loop {
            ticks.tick().await;
            if self.is_idle() {
                return;
            }
            let found = match last {
                None => metadata.last_tag_change().await.map(|newest| (newest, Vec::new())),
                Some(last) => {
                    let found = metadata.changed_repositories(last, MAX_CHANGES).await;
                    found.map(|found| (found.last, found.names))
                }
            };
            match found {
                Ok((newest, names)) => {
                    last = Some(newest);
                    if !names.is_empty() {
                        // Fails only if no stream is open.
                        let _ = self.announcements.send(names.into());
                    }
                }
                Err(error) => {
                    tracing::debug!(error = %Chain(&error), "failed to look for changes; will retry");
                }
            }
        }
    }

    /// Whether no stream is open. The task that asks ends then.
    fn is_idle(&self) -> bool {
        let mut open = self.open.lock();
        if open.total == 0 {
            open.is_watched = false;
        }
        open.total == 0
    }
}

/// A stream that counts as open until it is dropped.
struct OpenStream {
    live: Arc<LiveStreams>,
    user: String,
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut open = self.live.open.lock();
        open.total -= 1;
        if let Some(own) = open.by_user.get_mut(&self.user) {
            *own -= 1;
            if *own == 0 {
                open.by_user.remove(&self.user);
            }
        }
    }
}

/// Announces changes to one page.
struct Announcer {
    stream: OpenStream,
    principal: Principal,
    changes: Receiver<Changed>,
    end: Instant,
}

impl Announcer {
    /// Waits for the next change that the visitor may see. `None` when the stream ends.
    async fn next(&mut self) -> Option<Event> {
        loop {
            let state = &self.stream.live.state;
            let changed = match timeout_at(
                self.end.min(Instant::now() + CHECK_INTERVAL * 2),
                self.changes.recv(),
            )
            .await
            {
                Ok(Ok(changed)) => changed,
                // Missed announcements: some of them may have been for this visitor, so the next one decides.
                Ok(Err(RecvError::Lagged(_))) => continue,
                Ok(Err(RecvError::Closed)) => return None,
                Err(_) if Instant::now() < self.end && !state.health.is_draining() => continue,
                Err(_) => return None,
            };
            if !state.access_control.is_still_valid(&self.principal) {
                return None;
            }
            if is_visible(&state.access_control, &self.principal, &changed) {
                // Browsers ignore events without data.
                return Some(Event::default().event("change").data("changed"));
            }
        }
    }
}

fn is_visible(access_control: &AccessControl, principal: &Principal, changed: &[RepoName]) -> bool {
    let visible = access_control.visible_repositories(principal);
    changed.iter().any(|name| visible.shows(name))
}
