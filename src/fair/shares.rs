//! The clients, and the decision which of them gets the next place. Pure logic, without clock and waiting.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A client that is alone leaves one of this many places free, so that the next client gets one at once.
const RESERVE: usize = 8;

/// The client whose share a turn counts towards.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Client {
    /// An authenticated user.
    User(Arc<str>),
    /// An anonymous client: its IPv4 address, or the first 64 bits of its IPv6 address.
    Address(IpAddr),
    /// Clients of the local socket, and the server itself.
    Local,
    /// A single request whose client cannot be distinguished from others, as behind a proxy that does not
    /// identify its clients.
    Request(u64),
}

impl Client {
    /// Returns the client with this address.
    pub fn from_address(address: IpAddr) -> Self {
        Self::Address(client_network(address))
    }

    /// Returns a client that is counted separately from all others.
    pub fn single_request() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self::Request(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// The network that a provider gives to one customer: an IPv4 address, or the first 64 bits of an IPv6 address.
pub fn client_network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        ipv4 @ IpAddr::V4(_) => ipv4,
    }
}

/// One request for a place. Later ones are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Ticket(pub(super) u64);

/// The held places and waiting requests of each client.
pub(super) struct Shares {
    places: usize,
    taken: usize,
    clients: HashMap<Client, Share>,
    /// The round of the request that was served last.
    round: u64,
}

#[derive(Default)]
struct Share {
    held: usize,
    waiting: VecDeque<Waiting>,
    /// The round of the client's next request.
    next_round: u64,
}

/// A waiting request. Each request belongs to a round, and each client has at most one request in a round (start-time
/// fair queueing). So a client with one request waits for one of each other client, however many they have in the
/// queue.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    round: u64,
    ticket: Ticket,
}

/// How many places should become free, and for whom.
pub(super) struct Needs {
    /// For clients below their share: any holder may give up a place.
    below_share: usize,
    /// For clients that have their share: one of their own places has to become free.
    own: HashMap<Client, usize>,
}

impl Shares {
    pub(super) fn new(places: usize) -> Self {
        Self { places, taken: 0, clients: HashMap::new(), round: 0 }
    }

    pub(super) fn enqueue(&mut self, client: &Client, ticket: Ticket) {
        let share = self.clients.entry(client.clone()).or_default();
        let round = share.next_round.max(self.round);
        share.next_round = round + 1;
        share.waiting.push_back(Waiting { round, ticket });
    }

    pub(super) fn leave(&mut self, client: &Client, ticket: Ticket) {
        if let Some(share) = self.clients.get_mut(client) {
            share.waiting.retain(|waiting| waiting.ticket != ticket);
        }
        self.forget_if_idle(client);
    }

    pub(super) fn give_back(&mut self, client: &Client) {
        if let Some(share) = self.clients.get_mut(client) {
            share.held = share.held.saturating_sub(1);
            self.taken = self.taken.saturating_sub(1);
        }
        self.forget_if_idle(client);
    }

    pub(super) fn held(&self, client: &Client) -> usize {
        self.clients.get(client).map_or(0, |share| share.held)
    }

    /// Gives a free place to the client that holds the fewest and, among equals, to the one in the earliest round.
    pub(super) fn serve_next(&mut self) -> Option<(Client, Ticket)> {
        if self.taken >= self.places {
            return None;
        }
        let limit = self.limit_per_client();
        let eligible = self.clients.iter().filter(|(_, share)| share.held < limit);
        let first =
            eligible.filter_map(|(client, share)| Some((share.held, *share.waiting.front()?, client)));
        let (_, next, client) = first.min_by_key(|(held, next, _)| (*held, *next))?;
        let client = client.clone();
        let share = self.clients.get_mut(&client)?;
        share.waiting.pop_front();
        share.held += 1;
        self.taken += 1;
        self.round = self.round.max(next.round);
        Some((client, next.ticket))
    }

    /// Returns how many places one client may hold now.
    pub(super) fn limit_per_client(&self) -> usize {
        let unreserved = (self.places - self.places / RESERVE).max(1);
        if self.clients.len() <= 1 || self.taken < self.places / 2 {
            return unreserved;
        }
        self.places.div_ceil(self.clients.len()).min(unreserved)
    }

    /// Returns which places should become free for waiting clients.
    pub(super) fn needs(&self) -> Needs {
        let limit = self.limit_per_client();
        let mut needs = Needs { below_share: 0, own: HashMap::new() };
        for (client, share) in self.clients.iter().filter(|(_, share)| !share.waiting.is_empty()) {
            let below = limit.saturating_sub(share.held).min(share.waiting.len());
            needs.below_share += below;
            // A client that holds nothing has nothing to give up.
            let own = (share.waiting.len() - below).min(share.held);
            if own > 0 {
                needs.own.insert(client.clone(), own);
            }
        }
        needs
    }

    fn forget_if_idle(&mut self, client: &Client) {
        if self.clients.get(client).is_some_and(|share| share.held == 0 && share.waiting.is_empty()) {
            self.clients.remove(client);
        }
    }
}

impl Needs {
    /// Returns whether this client should give up a place, and counts it as given up.
    pub(super) fn claim_from(&mut self, holder: &Client) -> bool {
        if self.below_share > 0 {
            self.below_share -= 1;
            return true;
        }
        match self.own.get_mut(holder) {
            Some(own) if *own > 0 => {
                *own -= 1;
                true
            }
            _ => false,
        }
    }
}
