//! The open connections of a listener, and the limits for new ones.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};

use super::clients::{Client, ClientAccount, Clients};
use super::connection_state::{CloseRequest, ConnectionState, milliseconds};
use super::linger::Lingering;
use super::peer::Peer;
use super::settings::ListenSettings;
use super::time_slice::TimeSlice;
use crate::fair::client_network;
use crate::memory::{Holder, MAX_WAIT, MemoryBudget, OutOfMemory, Purpose, Reservation};

/// The maximum number of connections per MiB of the memory budget: together they take a quarter of it.
const MAX_CONNECTIONS_PER_MIB: usize = (1 << 20) / 4 / CONNECTION_MEMORY;

/// The memory of a connection with one request of ordinary size: protocol state, a read buffer and the task.
pub(super) const CONNECTION_MEMORY: usize = 16 * 1024;

/// The maximum memory of a connection's requests while memory is short; more requests are rejected.
const MAX_SHORT_MEMORY: usize = 32 * 1024;

/// How often to check whether a client still holds more than its share.
pub(super) const SHARE_INTERVAL: Duration = Duration::from_millis(50);

/// The maximum size of all responses that wait in memory for a reservation; others are rejected.
const MAX_WAITING_RESPONSES: usize = 8 << 20;

/// The HTTP/2 window while memory is not plentiful, in bytes: the initial window of every client (RFC 9113,
/// 6.9.2).
const NARROW_WINDOW: u32 = 65_535;

/// The state that a listener's connections share.
pub(super) struct Shared {
    pub(super) settings: ListenSettings,
    pub(super) lingering: Lingering,
    /// Notified when a connection has closed.
    pub(super) connection_closed: Notify,
    max_connections: usize,
    waiting_responses: Semaphore,
    crowded: AtomicBool,
    /// The number of open connections.
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
    state: Arc<ConnectionState>,
}

impl OpenConnections {
    /// The client of a connection from this address.
    fn client(&self, address: Option<IpAddr>) -> Option<Client> {
        address.map(|address| self.clients.logins.client(address, milliseconds()))
    }

    /// The idle connection with the lowest rank and, among those, the one useful least recently. Connections
    /// without a rank are never chosen.
    fn least_useful(&self, rank: impl Fn(&Connection) -> Option<u8>) -> Option<&Arc<ConnectionState>> {
        let now = milliseconds();
        let idle = self.connections.values().filter(|connection| connection.state.can_be_closed(now));
        let ranked = idle.filter_map(|connection| Some((rank(connection)?, &connection.state)));
        ranked.min_by_key(|(rank, state)| (*rank, state.worked_at())).map(|(_, state)| state)
    }
}

/// What decides how a connection waits for a free slot.
pub(super) struct Standing {
    /// Whether its client is a user.
    pub(super) is_user: bool,
    /// Whether its client has its share of the connections, or more.
    pub(super) has_share: bool,
}

/// The flow-control windows of an HTTP/2 connection, in bytes.
pub(super) struct Windows {
    pub(super) stream: u32,
    pub(super) connection: u32,
    /// The memory reserved for wide windows.
    _memory: Option<Reservation>,
}

impl Shared {
    pub(super) fn new(settings: ListenSettings) -> Self {
        let affordable = (settings.memory.limit() >> 20).saturating_mul(MAX_CONNECTIONS_PER_MIB);
        Self {
            lingering: Lingering::default(),
            connection_closed: Notify::new(),
            max_connections: settings.max_connections.min(affordable.max(1)),
            waiting_responses: Semaphore::new(MAX_WAITING_RESPONSES / 1024),
            crowded: AtomicBool::new(false),
            count: Arc::default(),
            open: Mutex::default(),
            settings,
        }
    }

    /// Whether connections wait for others to close.
    pub(super) fn is_crowded(&self) -> bool {
        self.crowded.load(Relaxed)
    }

    pub(super) fn set_crowded(&self, crowded: bool) {
        let was = self.crowded.swap(crowded, Relaxed);
        if crowded && !was {
            let limit = self.max_connections;
            tracing::warn!(limit, "connection limit reached; new connections wait for others to close");
        }
    }

    /// Whether more than half of the allowed connections are open.
    pub(super) fn is_half_full(&self) -> bool {
        self.open.lock().connections.len() > self.max_connections / 2
    }

    /// Admits a connection of `peer` if a slot is free for it.
    pub(super) fn admit(self: &Arc<Self>, peer: Peer) -> Option<ConnectionGuard> {
        let address = self.address(peer);
        let mut open = self.open.lock();
        let client = open.client(address);
        if !open.clients.can_open(client.as_ref(), open.connections.len(), self.max_connections) {
            return None;
        }
        let account = client.as_ref().map(|client| open.clients.add_connection(client)).unwrap_or_default();
        let state = Arc::new(ConnectionState::with_time_slice(TimeSlice::new(Arc::clone(&self.count))));
        let id = open.next;
        open.next += 1;
        open.connections.insert(id, Connection { client: client.clone(), state: Arc::clone(&state) });
        self.count.store(open.connections.len(), Relaxed);
        drop(open);
        // Charged to no share: otherwise an idle connection would take memory from clients without any.
        let memory = self.settings.memory.charge_connection(CONNECTION_MEMORY);
        Some(ConnectionGuard {
            shared: Arc::clone(self),
            id,
            state,
            account,
            client,
            address,
            has_recorded_user: AtomicBool::default(),
            memory: AtomicUsize::default(),
            _memory: memory,
        })
    }

    /// How a connection of `peer` waits for a free slot.
    pub(super) fn standing(&self, peer: Peer) -> Standing {
        let open = self.open.lock();
        let client = open.client(self.address(peer));
        let has_share = |client: &Client| open.clients.has_share(client, self.max_connections);
        Standing {
            is_user: client.as_ref().is_some_and(Client::is_user),
            has_share: client.as_ref().is_some_and(has_share),
        }
    }

    /// Whether users have logged in, so that anonymous clients must not keep them from being accepted.
    pub(super) fn has_users(&self) -> bool {
        !self.open.lock().clients.logins.is_empty()
    }

    /// Closes the least useful idle connection so that `peer` can connect. If other clients still have room,
    /// it closes one of this client's own connections; otherwise one of a client with more than its share,
    /// else of an anonymous client, else of any client. Connections that are answering a request stay.
    pub(super) fn close_least_useful(&self, peer: Peer) {
        let open = self.open.lock();
        let own = open.client(self.address(peer));
        let limit = own
            .as_ref()
            .map_or(self.max_connections, |own| open.clients.limit_for(own, self.max_connections));
        let others_have_room = open.connections.len() < limit;
        let victim = open.least_useful(|connection| match &connection.client {
            // Others have room, but this client has reached its share.
            client if others_have_room => (*client == own).then_some(0),
            Some(client) if open.clients.is_over_share(client, self.max_connections) => Some(0),
            Some(Client::Anonymous(_)) => Some(1),
            _ => Some(2),
        });
        if let Some(state) = victim {
            state.request_close(CloseRequest::AfterRequests);
        }
    }

    /// Whether a connection should close after its response: others wait, and its client has more than its
    /// share or all slots are taken. Users keep theirs while anonymous clients have connections.
    pub(super) fn should_close(&self, guard: &ConnectionGuard) -> bool {
        if !self.is_crowded() {
            return false;
        }
        let open = self.open.lock();
        let Some(client) = &guard.client else { return open.connections.len() >= self.max_connections };
        let is_full = open.connections.len() >= open.clients.limit_for(client, self.max_connections);
        let may_stay = client.is_user() && open.clients.anonymous_count() > 0;
        open.clients.is_over_share(client, self.max_connections) || (is_full && !may_stay)
    }

    /// The windows for a new HTTP/2 connection. Wide windows take at most an eighth of the budget, since all
    /// data in flight is in memory, whether a handler reads it or not.
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

    /// The maximum number of concurrent requests on an HTTP/2 connection. It is small while many connections
    /// are open, so that the total stays bounded.
    pub(super) fn max_streams(&self) -> u32 {
        let ListenSettings { max_streams, max_streams_crowded, wide_connections, .. } = self.settings;
        let is_wide = self.open.lock().connections.len() <= wide_connections;
        if is_wide { max_streams } else { max_streams.min(max_streams_crowded) }
    }

    /// Whether a connection with open requests should take no more: its client has more than its share of
    /// memory, over all its connections, or memory is short and the connection holds enough of it.
    pub(super) fn is_saturated(&self, guard: &ConnectionGuard) -> bool {
        let is_short = || self.settings.memory.is_short(Holder::Authenticated);
        self.is_over_memory_share(guard) || (guard.has_memory(MAX_SHORT_MEMORY) && is_short())
    }

    /// Permits a response of `bytes` to stay in memory while it waits for its reservation, if few do.
    pub(super) fn try_wait_in_memory(&self, bytes: usize) -> Option<SemaphorePermit<'_>> {
        let kilobytes = u32::try_from(bytes.div_ceil(1024)).ok()?;
        self.waiting_responses.try_acquire_many(kilobytes).ok()
    }

    /// Whether the requests of a client hold more memory than its share while more than half of the budget is
    /// used. The shares of several clients together are a quarter of the memory that large reservations leave, an
    /// eighth each for users and for anonymous clients if there are both; a single client may have three quarters. A
    /// quarter is left to new clients.
    pub(super) fn is_over_memory_share(&self, guard: &ConnectionGuard) -> bool {
        let budget = &self.settings.memory;
        let holder = guard.state.holder();
        let Some(client) = guard.client.as_ref().filter(|_| budget.is_crowded(holder)) else { return false };
        let room = budget.room_for_small_reservations(holder);
        let open = self.open.lock();
        let share = match open.clients.count_like(client) {
            clients if open.clients.are_mixed() => room / 8 / clients,
            0 | 1 => room - room / 4,
            clients => room / 4 / clients,
        };
        guard.account.memory() > share
    }

    /// Asks every connection to close.
    pub(super) fn close_connections(&self, request: CloseRequest) {
        self.open.lock().connections.values().for_each(|connection| connection.state.request_close(request));
    }

    /// The address that identifies the client of a connection; `None` if it stands for many clients.
    fn address(&self, peer: Peer) -> Option<IpAddr> {
        let address = peer.address()?;
        let stands_for_many = self.settings.shared_networks.iter().any(|network| network.contains(&address));
        (!stands_for_many).then(|| client_network(address))
    }
}

/// The slot of an open connection, released on drop.
pub(super) struct ConnectionGuard {
    pub(super) shared: Arc<Shared>,
    pub(super) id: u64,
    pub(super) state: Arc<ConnectionState>,
    pub(super) account: Arc<ClientAccount>,
    client: Option<Client>,
    address: Option<IpAddr>,
    has_recorded_user: AtomicBool,
    /// The memory that its requests hold.
    memory: AtomicUsize,
    _memory: Reservation,
}

impl ConnectionGuard {
    /// The memory budget.
    pub(super) fn memory(&self) -> &MemoryBudget {
        &self.shared.settings.memory
    }

    /// Whether its requests hold `bytes` or more.
    pub(super) fn has_memory(&self, bytes: usize) -> bool {
        self.memory.load(Relaxed) >= bytes
    }

    /// Whether its client holds no memory yet, and some is left for it.
    pub(super) fn is_newcomer(&self) -> bool {
        self.client.is_some()
            && self.account.memory() == 0
            && !self.memory().is_nearly_full(Holder::Authenticated)
    }

    /// Records that a user has logged in: connections from its address count as the user's from now on.
    pub(super) fn record_user(&self, user: &str) {
        if let Some(address) = self.address
            && !self.has_recorded_user.load(Relaxed)
            && !self.has_recorded_user.swap(true, Relaxed)
        {
            self.shared.open.lock().clients.logins.record(address, user, milliseconds());
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

    /// Counts `bytes` towards its client's share until the result is dropped.
    pub(super) fn count_memory(&self, bytes: usize) -> Counted<'_> {
        self.add_memory(bytes);
        Counted { guard: self, bytes }
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

/// Memory that counts towards a client's share.
pub(super) struct Counted<'a> {
    guard: &'a ConnectionGuard,
    bytes: usize,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.guard.remove_memory(self.bytes);
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        let mut open = self.shared.open.lock();
        open.connections.remove(&self.id);
        if let Some(client) = &self.client {
            open.clients.remove_connection(client);
        }
        self.shared.count.store(open.connections.len(), Relaxed);
        drop(open);
        self.shared.connection_closed.notify_one();
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

    /// A connection that has served a request.
    fn idle(shared: &Arc<Shared>, host: u8) -> ConnectionGuard {
        let guard = shared.admit(peer(host)).expect("a free slot");
        guard.state.start_request();
        guard.state.finish_request();
        guard
    }

    #[test]
    fn closes_idle_connections_of_the_client_over_its_share_first() {
        let shared = shared(16);
        let greedy: Vec<_> = (0..14).map(|_| idle(&shared, 1)).collect();
        let _others = [idle(&shared, 2), idle(&shared, 3)];
        greedy[0].state.start_request();
        std::thread::sleep(Duration::from_millis(20));
        greedy[1].state.start_request();
        greedy[1].state.mark_work();
        greedy[1].state.finish_request();
        shared.close_least_useful(peer(4));
        let is_closed = |guard: &&ConnectionGuard| guard.state.close_request() == CloseRequest::AfterRequests;
        assert_eq!(greedy.iter().filter(is_closed).count(), 0, "their next request may be on its way");
        std::thread::sleep(Duration::from_millis(600));
        assert!(shared.admit(peer(4)).is_none());
        shared.close_least_useful(peer(4));
        let closed =
            greedy.iter().position(|guard| guard.state.close_request() == CloseRequest::AfterRequests);
        assert!(closed.is_some_and(|at| at > 1), "{closed:?}");
        let closed =
            greedy.iter().filter(|guard| guard.state.close_request() == CloseRequest::AfterRequests).count();
        assert_eq!(closed, 1);
    }

    #[test]
    fn users_can_connect_among_anonymous_clients() {
        let shared = shared(16);
        idle(&shared, 99).record_user("ann");
        let anonymous: Vec<_> = (1..=20).filter_map(|host| shared.admit(peer(host))).collect();
        assert_eq!(anonymous.len(), 14, "the last eighth is for users");
        for guard in &anonymous {
            guard.state.start_request();
            guard.state.finish_request();
        }
        let users: Vec<_> = std::iter::from_fn(|| shared.admit(peer(99))).collect();
        assert_eq!(users.len(), 2);
        let standing = shared.standing(peer(99));
        assert!(standing.is_user && !standing.has_share);
        std::thread::sleep(Duration::from_millis(600));
        shared.close_least_useful(peer(99));
        let closed = anonymous
            .iter()
            .filter(|guard| guard.state.close_request() == CloseRequest::AfterRequests)
            .count();
        assert_eq!(closed, 1);
        shared.set_crowded(true);
        assert!(shared.should_close(&anonymous[0]) && !shared.should_close(&users[0]));
        shared.close_least_useful(peer(50));
        assert!(users.iter().all(|guard| guard.state.close_request() == CloseRequest::None));
    }

    #[test]
    fn shared_networks_have_no_share() {
        let networks = ["192.0.2.0/24".parse().expect("a network")];
        let settings = ListenSettings {
            max_connections: 16,
            shared_networks: networks.into(),
            ..ListenSettings::default()
        };
        let shared = Arc::new(Shared::new(settings));
        let guards: Vec<_> = std::iter::from_fn(|| shared.admit(peer(1))).collect();
        assert_eq!(guards.len(), 16);
        drop(guards);
        assert_eq!(shared.settings.memory.reserved(), 0);
    }

    #[test]
    fn windows_are_wide_while_memory_is_plentiful() {
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
    fn connections_get_few_streams_while_many_are_open() {
        let settings = ListenSettings { wide_connections: 1, ..ListenSettings::default() };
        let shared = Arc::new(Shared::new(settings));
        let _first = shared.admit(peer(1)).expect("a free slot");
        assert_eq!(shared.max_streams(), 32);
        let _second = shared.admit(peer(1)).expect("a free slot");
        assert_eq!(shared.max_streams(), 8);
    }

    #[test]
    fn a_small_memory_budget_limits_connections() {
        let memory = crate::memory::MemoryBudget::new(16 << 20);
        let shared = Shared::new(ListenSettings { memory, ..ListenSettings::default() });
        assert_eq!(shared.max_connections, 256);
    }
}
