//! Connections that wait for a place, users' before strangers'.

use std::collections::VecDeque;

use super::Peer;
use super::open::Shared;

/// The most that wait of users, and of strangers.
const MAX_WAITING: usize = 256;

/// The most of them that may be of a client that has its share; more of its connections are closed at once, for they
/// would keep others from being accepted.
const MAX_WAITING_OVER_SHARE: usize = MAX_WAITING / 2;

/// Accepted connections without a place.
pub(super) struct Waiting<S> {
    users: VecDeque<(S, Peer)>,
    strangers: VecDeque<(S, Peer)>,
}

impl<S> Default for Waiting<S> {
    fn default() -> Self {
        Self { users: VecDeque::new(), strangers: VecDeque::new() }
    }
}

impl<S> Waiting<S> {
    pub(super) fn is_empty(&self) -> bool {
        self.users.is_empty() && self.strangers.is_empty()
    }

    /// Whether more may be accepted. Where users log in, strangers that are too many must not keep them waiting.
    pub(super) fn takes_more(&self, shared: &Shared) -> bool {
        self.users.len() < MAX_WAITING && (self.strangers.len() < MAX_WAITING || shared.has_users())
    }

    /// Lets a connection wait, or closes it if too many do.
    pub(super) fn take(&mut self, io: S, peer: Peer, shared: &Shared) {
        let standing = shared.standing(peer);
        // Who has not its share must not wait until room is made for all.
        if !standing.has_share {
            shared.make_room(peer);
        }
        let queue = if standing.is_user { &mut self.users } else { &mut self.strangers };
        let most = if standing.has_share { MAX_WAITING_OVER_SHARE } else { MAX_WAITING };
        if queue.len() < most {
            queue.push_back((io, peer));
        }
    }

    /// Closes others' connections for those that wait.
    pub(super) fn make_room(&self, shared: &Shared) {
        self.users.iter().chain(&self.strangers).for_each(|(_, peer)| shared.make_room(*peer));
    }

    /// Tries again to have each served: `admit` gives back those that find no place.
    pub(super) fn retry(&mut self, mut admit: impl FnMut(S, Peer) -> Option<S>) {
        for queue in [&mut self.users, &mut self.strangers] {
            for _ in 0..queue.len() {
                let Some((io, peer)) = queue.pop_front() else { break };
                queue.extend(admit(io, peer).map(|io| (io, peer)));
            }
        }
    }
}
