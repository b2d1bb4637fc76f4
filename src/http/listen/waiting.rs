//! Accepted connections that wait for a free slot. Users come before anonymous clients.

use std::collections::VecDeque;

use super::open::Shared;
use super::peer::Peer;

/// The maximum number of waiting connections of users, and of anonymous clients.
const MAX_WAITING: usize = 256;

/// The maximum number of waiting connections before those of clients that have their share are closed: they
/// would keep others from being accepted.
const MAX_WAITING_OVER_SHARE: usize = MAX_WAITING / 2;

/// Accepted connections without a slot.
pub(super) struct Waiting<S> {
    users: VecDeque<(S, Peer)>,
    anonymous: VecDeque<(S, Peer)>,
}

impl<S> Default for Waiting<S> {
    fn default() -> Self {
        Self { users: VecDeque::new(), anonymous: VecDeque::new() }
    }
}

impl<S> Waiting<S> {
    pub(super) fn is_empty(&self) -> bool {
        self.users.is_empty() && self.anonymous.is_empty()
    }

    /// Whether more connections may be accepted. If users log in, too many anonymous clients must not keep
    /// them waiting.
    pub(super) fn has_capacity(&self, shared: &Shared) -> bool {
        self.users.len() < MAX_WAITING && (self.anonymous.len() < MAX_WAITING || shared.has_users())
    }

    /// Queues a connection, or closes it if too many wait.
    pub(super) fn push(&mut self, io: S, peer: Peer, shared: &Shared) {
        let standing = shared.standing(peer);
        // A client below its share gets a slot freed at once, not at the next interval.
        if !standing.has_share {
            shared.close_least_useful(peer);
        }
        let queue = if standing.is_user { &mut self.users } else { &mut self.anonymous };
        let limit = if standing.has_share { MAX_WAITING_OVER_SHARE } else { MAX_WAITING };
        if queue.len() < limit {
            queue.push_back((io, peer));
        }
    }

    /// Closes one connection for each that waits.
    pub(super) fn make_room(&self, shared: &Shared) {
        self.users.iter().chain(&self.anonymous).for_each(|(_, peer)| shared.close_least_useful(*peer));
    }

    /// Tries to serve each waiting connection; `admit` returns those without a free slot.
    pub(super) fn retry(&mut self, mut admit: impl FnMut(S, Peer) -> Option<S>) {
        for queue in [&mut self.users, &mut self.anonymous] {
            for _ in 0..queue.len() {
                let Some((io, peer)) = queue.pop_front() else { break };
                queue.extend(admit(io, peer).map(|io| (io, peer)));
            }
        }
    }
}
