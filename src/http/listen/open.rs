//! The connections that are open, and who may open another.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, SemaphorePermit};

use super::clients::{Client, ClientAccount, Clients};
use super::connection_state::{ConnectionState, Order, milliseconds};
use super::linger::Lingering;
use super::turn::Turn;
use super::{ListenSettings, Peer};
use crate::auth::network;
use crate::memory::{Holder, MAX_WAIT, MemoryBudget, OutOfMemory, Purpose, Reservation};

/// The most connections for each MiB of the memory budget: so many take a quarter of it.
const MAX_CONNECTIONS_PER_MIB: usize = (1 << 20) / 4 / CONNECTION_MEMORY;

/// What a connection holds with one request of ordinary size: protocol state, a read buffer, the task.
pub(super) const CONNECTION_MEMORY: usize = 16 * 1024;

/// The most that a connection's requests hold where memory is short; more are refused.
const MAX_SHORT_MEMORY: usize = 32 * 1024;

/// How often it is looked whether a client that holds more than its share still does.
pub(super) const SHARE_INTERVAL: Duration = Duration::from_millis(50);

/// The most bytes of responses that wait in memory for a reservation; others are refused.
const MAX_WAITING_RESPONSES: usize = 8 << 20;

/// How many bytes of a body may be under way in HTTP/2 where memory is not plenty: what every client begins
/// with (RFC 9113, 6.9.2).
const NARROW_WINDOW: u32 = 65_535;

/// What a listener's connections have in common.
pub(super) struct Shared {
    pub(super) settings: ListenSettings,
    pub(super) lingering: Lingering,
    /// Rings when a connection has ended.
    pub(super) place_freed: Notify,
    max_connections: usize,
    waiting_responses: Semaphore,
    crowded: AtomicBool,
    /// How many connections are open.
    count: Arc<AtomicUsize>,
    open: Mutex<OpenConnections>,
}

#[derive(Default)]
struct OpenConnections {
    next: u64,
    connections: HashMap<u64, Connection>,
    clients: Clients,
}

struct Connection {
    client: Option<Client>,
    pulse: Arc<ConnectionState>,
}

impl OpenConnections {
    /// The client of a connection from this address.
    fn client(&self, address: Option<IpAddr>) -> Option<Client> {
        address.map(|address| self.clients.logins.client(address, milliseconds()))
    }

    /// The idle connection with the lowest rank, and of those the least recently useful. Without a rank it may not go.
    fn least_useful(&self, rank: impl Fn(&Connection) -> Option<u8>) -> Option<&Arc<ConnectionState>> {
        let now = milliseconds();
        let idle = self.connections.values().filter(|connection| connection.pulse.may_be_closed(now));
        let ranked = idle.filter_map(|connection| Some((rank(connection)?, &connection.pulse)));
        ranked.min_by_key(|(rank, pulse)| (*rank, pulse.useful_at())).map(|(_, pulse)| pulse)
    }
}

/// What decides how a connection waits for a place.
pub(super) struct Standing {
    /// It is a user's.
    pub(super) is_user: bool,
    /// Its client has its share of the connections, or more.
    pub(super) has_share: bool,
}

/// The bytes that may be under way on a connection of HTTP/2.
pub(super) struct Windows {
    pub(super) stream: u32,
    pub(super) connection: u32,
    /// What they take of the memory budget, where they are wide.
    _memory: Option<Reservation>,
}

impl Shared {
    pub(super) fn new(settings: ListenSettings) -> Self {
        let affordable = (settings.memory.limit() >> 20).saturating_mul(MAX_CONNECTIONS_PER_MIB);
        Self {
            lingering: Lingering::default(),
            place_freed: Notify::new(),
            max_connections: settings.max_connections.min(affordable.max(1)),
            waiting_responses: Semaphore::new(MAX_WAITING_RESPONSES / 1024),
            crowded: AtomicBool::new(false),
            count: Arc::default(),
            open: Mutex::default(),
            settings,
        }
    }

    /// Whether connections wait for others to end.
    pub(super) fn is_crowded(&self) -> bool {
        self.crowded.load(Relaxed)
    }

    pub(super) fn set_crowded(&self, crowded: bool) {
        let was = self.crowded.swap(crowded, Relaxed);
        if crowded && !was {
            tracing::warn!(limit = self.max_connections, "connections wait for others to end");
        }
    }

    /// Whether more than half of the connections are open.
    pub(super) fn is_half_full(&self) -> bool {
        self.open().connections.len() > self.max_connections / 2
    }

    /// A place for a connection of `peer`, if there is one for it.
    pub(super) fn admit(self: &Arc<Self>, peer: Peer) -> Option<ConnectionGuard> {
        let address = self.address(peer);
        let mut open = self.open();
        let client = open.client(address);
        if !open.clients.may_enter(client.as_ref(), open.connections.len(), self.max_connections) {
            return None;
        }
        let account = client.as_ref().map(|client| open.clients.enter(client)).unwrap_or_default();
        let pulse = Arc::new(ConnectionState::with(Turn::among(Arc::clone(&self.count))));
        let id = open.next;
        open.next += 1;
        open.connections.insert(id, Connection { client: client.clone(), pulse: Arc::clone(&pulse) });
        self.count.store(open.connections.len(), Relaxed);
        drop(open);
        // In the share of no one: an idle connection would keep it from all that have none.
        let memory = self.settings.memory.charge_connection(CONNECTION_MEMORY);
        Some(ConnectionGuard {
            shared: Arc::clone(self),
            id,
            pulse,
            account,
            client,
            address,
            has_noted_user: AtomicBool::default(),
            memory: AtomicUsize::default(),
            _memory: memory,
        })
    }

    /// What decides how a connection of `peer` waits.
    pub(super) fn standing(&self, peer: Peer) -> Standing {
        let open = self.open();
        let client = open.client(self.address(peer));
        let is_of = |client: &Client| open.clients.has_share(client, self.max_connections);
        Standing {
            is_user: client.as_ref().is_some_and(Client::is_user),
            has_share: client.as_ref().is_some_and(is_of),
        }
    }

    /// Whether users have logged in, so that strangers must not keep them from being accepted.
    pub(super) fn has_users(&self) -> bool {
        !self.open().clients.logins.is_empty()
    }

    /// Closes the connection that is missed least, so that `peer` may enter: one of a client with more than its share,
    /// else one of its own where there is room for others, else a stranger's, else any. One that is answering a request
    /// stays.
    pub(super) fn make_room(&self, peer: Peer) {
        let open = self.open();
        let own = open.client(self.address(peer));
        let reach =
            own.as_ref().map_or(self.max_connections, |own| open.clients.reach(own, self.max_connections));
        let has_room = open.connections.len() < reach;
        let victim = open.least_useful(|connection| match &connection.client {
            // There is room for others, but not for one more of this client's.
            client if has_room => (*client == own).then_some(0),
            Some(client) if open.clients.is_over_share(client, self.max_connections) => Some(0),
            Some(Client::Anonymous(_)) => Some(1),
            _ => Some(2),
        });
        if let Some(pulse) = victim {
            pulse.command(Order::Finish);
        }
    }

    /// Whether a connection should end after its answer: others wait for it, and its client has more than its share, or
    /// nobody has. Users' go on while there are strangers'.
    pub(super) fn should_close(&self, entry: &ConnectionGuard) -> bool {
        if !self.is_crowded() {
            return false;
        }
        let open = self.open();
        let Some(client) = &entry.client else { return open.connections.len() >= self.max_connections };
        let is_full = open.connections.len() >= open.clients.reach(client, self.max_connections);
        let may_stay = client.is_user() && open.clients.strangers() > 0;
        open.clients.is_over_share(client, self.max_connections) || (is_full && !may_stay)
    }

    /// How much may be under way on a connection of HTTP/2 that begins now. Wide windows take at most an eighth of the
    /// budget; all that is under way is in memory, whether a handler reads it or not.
    pub(super) fn windows(&self) -> Windows {
        let budget = &self.settings.memory;
        let wide = self.settings.stream_window.saturating_mul(2);
        let has_room = budget.reserved_for(Purpose::Windows) + wide as usize <= budget.limit() / 8;
        let reserve = || budget.try_reserve(Holder::Authenticated, Purpose::Windows, wide as usize);
        match has_room.then(reserve).flatten() {
            Some(memory) => {
                Windows { stream: self.settings.stream_window, connection: wide, _memory: Some(memory) }
            }
            None => Windows { stream: NARROW_WINDOW, connection: NARROW_WINDOW, _memory: None },
        }
    }

    /// How many requests at once a connection of HTTP/2 may have: few where many are open, so that all of them
    /// together stay bounded.
    pub(super) fn max_streams(&self) -> u32 {
        let ListenSettings { max_streams, max_streams_crowded, wide_connections, .. } = self.settings;
        let is_wide = self.open().connections.len() <= wide_connections;
        if is_wide { max_streams } else { max_streams.min(max_streams_crowded) }
    }

    /// Whether no more requests should begin on a connection that has some: its client has more than its share, over
    /// however many connections, or the budget is short and the connection has enough of it.
    pub(super) fn has_enough(&self, entry: &ConnectionGuard) -> bool {
        let is_short = || self.settings.memory.is_short(Holder::Authenticated);
        self.is_over_memory_share(entry) || (entry.has_memory(MAX_SHORT_MEMORY) && is_short())
    }

    /// The right to keep a response of so many bytes while it waits for its reservation.
    pub(super) fn may_wait_in_memory(&self, bytes: usize) -> Option<SemaphorePermit<'_>> {
        let kilobytes = u32::try_from(bytes.div_ceil(1024)).ok()?;
        self.waiting_responses.try_acquire_many(kilobytes).ok()
    }

    /// Whether the requests of a client hold more memory than its share, in a budget that is more than half used. All
    /// shares are a quarter of what there is for requests, so that they leave a quarter to those who come.
    pub(super) fn is_over_memory_share(&self, entry: &ConnectionGuard) -> bool {
        let (budget, holder) = (&self.settings.memory, entry.pulse.holder());
        let Some(client) = entry.client.as_ref().filter(|_| budget.is_crowded(holder)) else { return false };
        let room = budget.room_for_small(holder);
        let open = self.open();
        let share = match open.clients.count_like(client) {
            clients if open.clients.are_mixed() => room / 8 / clients,
            0 | 1 => room - room / 4,
            clients => room / 4 / clients,
        };
        entry.account.memory() > share
    }

    /// Tells every connection what to do.
    pub(super) fn command(&self, order: Order) {
        self.open().connections.values().for_each(|connection| connection.pulse.command(order));
    }

    /// The address that a connection counts for, of those that are of one client.
    fn address(&self, peer: Peer) -> Option<IpAddr> {
        let address = peer.address()?;
        let stands_for_many = self.settings.shared_networks.iter().any(|network| network.contains(&address));
        (!stands_for_many).then(|| network(address))
    }

    fn open(&self) -> MutexGuard<'_, OpenConnections> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's entry in the list of those that are open, for as long as this lives.
pub(super) struct ConnectionGuard {
    pub(super) shared: Arc<Shared>,
    pub(super) id: u64,
    pub(super) pulse: Arc<ConnectionState>,
    pub(super) account: Arc<ClientAccount>,
    client: Option<Client>,
    address: Option<IpAddr>,
    has_noted_user: AtomicBool,
    /// What its requests hold besides.
    memory: AtomicUsize,
    _memory: Reservation,
}

impl ConnectionGuard {
    /// The budget.
    pub(super) fn memory(&self) -> &MemoryBudget {
        &self.shared.settings.memory
    }

    /// Whether its requests hold `bytes` or more.
    pub(super) fn has_memory(&self, bytes: usize) -> bool {
        self.memory.load(Relaxed) >= bytes
    }

    /// Whether its client holds no memory, and there is some yet.
    pub(super) fn is_newcomer(&self) -> bool {
        self.client.is_some()
            && self.account.memory() == 0
            && !self.memory().is_nearly_full(Holder::Authenticated)
    }

    /// A user has logged in on it: connections from its address are theirs from now on.
    pub(super) fn note_user(&self, user: &str) {
        if let Some(address) = self.address
            && !self.has_noted_user.load(Relaxed)
            && !self.has_noted_user.swap(true, Relaxed)
        {
            self.shared.open().clients.logins.note(address, user, milliseconds());
        }
    }

    /// Waits until its client holds no more memory than its share.
    pub(super) async fn wait_for_share(&self) -> Result<(), OutOfMemory> {
        let within = async {
            while self.shared.is_over_memory_share(self) {
                tokio::time::sleep(SHARE_INTERVAL).await;
            }
        };
        tokio::time::timeout(MAX_WAIT, within).await.map_err(|_| OutOfMemory)
    }

    /// Counts `bytes` for its client until this is dropped.
    pub(super) fn count_memory(&self, bytes: usize) -> Counted<'_> {
        self.add_memory(bytes);
        Counted { entry: self, bytes }
    }

    pub(super) fn add_memory(&self, bytes: usize) {
        self.memory.fetch_add(bytes, Relaxed);
        self.account.add_memory(bytes);
    }

    pub(super) fn remove_memory(&self, bytes: usize) {
        self.memory.fetch_sub(bytes, Relaxed);
        self.account.remove_memory(bytes);
    }
}

/// Memory that counts in a client's share.
pub(super) struct Counted<'a> {
    entry: &'a ConnectionGuard,
    bytes: usize,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.entry.remove_memory(self.bytes);
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        let mut open = self.shared.open();
        open.connections.remove(&self.id);
        if let Some(client) = &self.client {
            open.clients.leave(client);
        }
        self.shared.count.store(open.connections.len(), Relaxed);
        drop(open);
        self.shared.place_freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn shared(max_connections: usize) -> Arc<Shared> {
        Arc::new(Shared::new(ListenSettings { max_connections, ..ListenSettings::default() }))
    }

    fn peer(host: u8) -> Peer {
        Peer::Tcp(SocketAddr::from(([192, 0, 2, host], 4000)))
    }

    /// A connection that has answered a request.
    fn idle(shared: &Arc<Shared>, host: u8) -> ConnectionGuard {
        let entry = shared.admit(peer(host)).expect("a place");
        entry.pulse.request_begins();
        entry.pulse.request_ends();
        entry
    }

    #[test]
    fn a_connection_of_the_greedy_goes_first_and_busy_ones_stay() {
        let shared = shared(16);
        let greedy: Vec<_> = (0..14).map(|_| idle(&shared, 1)).collect();
        let _others = [idle(&shared, 2), idle(&shared, 3)];
        greedy[0].pulse.request_begins();
        std::thread::sleep(Duration::from_millis(20));
        greedy[1].pulse.request_begins();
        greedy[1].pulse.note_useful();
        greedy[1].pulse.request_ends();
        shared.make_room(peer(4));
        let is_closed = |entry: &&ConnectionGuard| entry.pulse.order() == Order::Finish;
        assert_eq!(greedy.iter().filter(is_closed).count(), 0, "their next request may be on its way");
        std::thread::sleep(Duration::from_millis(600));
        assert!(shared.admit(peer(4)).is_none());
        shared.make_room(peer(4));
        let closed = greedy.iter().position(|entry| entry.pulse.order() == Order::Finish);
        assert!(closed.is_some_and(|at| at > 1), "{closed:?}");
        let closed = greedy.iter().filter(|entry| entry.pulse.order() == Order::Finish).count();
        assert_eq!(closed, 1);
    }

    #[test]
    fn users_find_a_place_among_strangers() {
        let shared = shared(16);
        idle(&shared, 99).note_user("ann");
        let strangers: Vec<_> = (1..=20).filter_map(|host| shared.admit(peer(host))).collect();
        assert_eq!(strangers.len(), 14, "the last eighth is for users");
        for stranger in &strangers {
            stranger.pulse.request_begins();
            stranger.pulse.request_ends();
        }
        let users: Vec<_> = std::iter::from_fn(|| shared.admit(peer(99))).collect();
        assert_eq!(users.len(), 2);
        let standing = shared.standing(peer(99));
        assert!(standing.is_user && !standing.has_share);
        std::thread::sleep(Duration::from_millis(600));
        shared.make_room(peer(99));
        let closed = strangers.iter().filter(|entry| entry.pulse.order() == Order::Finish).count();
        assert_eq!(closed, 1);
        shared.set_crowded(true);
        assert!(shared.should_close(&strangers[0]) && !shared.should_close(&users[0]));
        shared.make_room(peer(50));
        assert!(users.iter().all(|entry| entry.pulse.order() == Order::Serve));
    }

    #[test]
    fn shared_networks_are_no_client() {
        let networks = ["192.0.2.0/24".parse().expect("a network")];
        let settings = ListenSettings {
            max_connections: 16,
            shared_networks: networks.into(),
            ..ListenSettings::default()
        };
        let shared = Arc::new(Shared::new(settings));
        let entries: Vec<_> = std::iter::from_fn(|| shared.admit(peer(1))).collect();
        assert_eq!(entries.len(), 16);
        drop(entries);
        assert_eq!(shared.settings.memory.reserved(), 0);
    }

    #[test]
    fn windows_are_wide_while_memory_is_plenty() {
        let shared = shared(16);
        let wide: Vec<_> =
            std::iter::from_fn(|| Some(shared.windows()).filter(|windows| windows.stream != NARROW_WINDOW))
                .collect();
        assert_eq!(wide.len(), 4, "an eighth of 64 MiB");
        assert_eq!(shared.windows().connection, NARROW_WINDOW);
        drop(wide);
        assert_eq!(shared.windows().stream, shared.settings.stream_window);
    }

    #[test]
    fn many_connections_have_few_streams_each() {
        let settings = ListenSettings { wide_connections: 1, ..ListenSettings::default() };
        let shared = Arc::new(Shared::new(settings));
        let _first = shared.admit(peer(1)).expect("a place");
        assert_eq!(shared.max_streams(), 32);
        let _second = shared.admit(peer(1)).expect("a place");
        assert_eq!(shared.max_streams(), 8);
    }

    #[test]
    fn a_small_budget_has_few_connections() {
        let memory = crate::memory::MemoryBudget::new(16 << 20);
        let shared = Shared::new(ListenSettings { memory, ..ListenSettings::default() });
        assert_eq!(shared.max_connections, 256);
    }
}
