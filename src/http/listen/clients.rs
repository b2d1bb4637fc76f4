//! The share of each client in a listener's connections and memory.
//!
//! A client is an address (64 bits of an IPv6 address). An address with a recent login counts as its user,
//! together with the user's other addresses. Trusted proxies and the admin socket stand for many clients and
//! have no share.
//!
//! Shares apply only while more than half of a resource is used. A single client may take all but a reserve
//! for new ones. Users share among themselves, so anonymous clients cannot take the users' part, however many
//! addresses they have.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// How long an address counts as its user's after a login, in milliseconds.
const LOGIN_TTL_MILLIS: u64 = 60 * 60 * 1000;

/// The maximum number of addresses remembered as users'.
const MAX_LOGINS: usize = 4096;

/// The client whose share connections and memory count towards.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Client {
    /// An address without a recent login.
    Anonymous(IpAddr),
    /// A user, from any address.
    User(Arc<str>),
}

impl Client {
    pub(super) fn is_user(&self) -> bool {
        matches!(self, Self::User(_))
    }
}

/// The last user who logged in from each address.
#[derive(Debug, Default)]
pub(super) struct Logins(HashMap<IpAddr, (Arc<str>, u64)>);

impl Logins {
    /// The client of a connection from this address.
    pub(super) fn client(&self, address: IpAddr, now: u64) -> Client {
        match self.0.get(&address).filter(|(_, until)| now < *until) {
            Some((user, _)) => Client::User(Arc::clone(user)),
            None => Client::Anonymous(address),
        }
    }

    /// Records a user's login from an address.
    pub(super) fn record(&mut self, address: IpAddr, user: &str, now: u64) {
        if self.0.len() >= MAX_LOGINS {
            self.0.retain(|_, (_, until)| now < *until);
        }
        if self.0.len() < MAX_LOGINS || self.0.contains_key(&address) {
            self.0.insert(address, (user.into(), now + LOGIN_TTL_MILLIS));
        }
    }

    /// Whether no user has logged in.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The connections and memory of one client.
#[derive(Debug, Default)]
pub(super) struct ClientAccount {
    connections: AtomicUsize,
    /// The memory that its requests hold while they are anonymous.
    memory: AtomicUsize,
}

impl ClientAccount {
    pub(super) fn memory(&self) -> usize {
        self.memory.load(Relaxed)
    }

    pub(super) fn add_memory(&self, bytes: usize) {
        self.memory.fetch_add(bytes, Relaxed);
    }

    pub(super) fn remove_memory(&self, bytes: usize) {
        self.memory.fetch_sub(bytes, Relaxed);
    }

    fn connections(&self) -> usize {
        self.connections.load(Relaxed)
    }
}

/// The clients that have connections.
#[derive(Debug, Default)]
pub(super) struct Clients {
    accounts: HashMap<Client, Arc<ClientAccount>>,
    users: usize,
    pub(super) logins: Logins,
}

impl Clients {
    /// The number of clients of this one's kind, users or anonymous, including itself.
    pub(super) fn count_like(&self, client: &Client) -> usize {
        let is_new = !self.accounts.contains_key(client);
        let alike = if client.is_user() { self.users } else { self.anonymous_count() };
        alike + usize::from(is_new)
    }

    /// The number of anonymous clients.
    pub(super) fn anonymous_count(&self) -> usize {
        self.accounts.len() - self.users
    }

    /// Whether both users and anonymous clients have connections.
    pub(super) fn are_mixed(&self) -> bool {
        self.users > 0 && self.anonymous_count() > 0
    }

    /// Adds a connection of a client.
    pub(super) fn add_connection(&mut self, client: &Client) -> Arc<ClientAccount> {
        let users = &mut self.users;
        let account = self.accounts.entry(client.clone()).or_insert_with(|| {
            *users += usize::from(client.is_user());
            Arc::default()
        });
        let account = Arc::clone(account);
        account.connections.fetch_add(1, Relaxed);
        account
    }

    /// Removes a connection of a client.
    pub(super) fn remove_connection(&mut self, client: &Client) {
        if let Some(account) = self.accounts.get(client)
            && account.connections.fetch_sub(1, Relaxed) == 1
        {
            self.accounts.remove(client);
            self.users -= usize::from(client.is_user());
        }
    }

    /// Whether a client may open another of `max` connections while `open` are open. Peers that are not a
    /// client may, as long as one is free.
    pub(super) fn can_open(&self, client: Option<&Client>, open: usize, max: usize) -> bool {
        let Some(client) = client else { return open < max };
        let limit = self.limit_for(client, max);
        open < limit && (open < limit / 2 || self.connections(client) < self.share(client, max))
    }

    /// Whether a client has its share of `max` connections.
    pub(super) fn has_share(&self, client: &Client, max: usize) -> bool {
        self.connections(client) >= self.share(client, max)
    }

    /// Whether a client has more than its share of `max` connections.
    pub(super) fn is_over_share(&self, client: &Client, max: usize) -> bool {
        self.connections(client) > self.share(client, max)
    }

    /// The total number of `max` connections up to which this client may open one. If users log in, the last
    /// eighth is reserved for them.
    pub(super) fn limit_for(&self, client: &Client, max: usize) -> usize {
        if client.is_user() || self.logins.is_empty() { max } else { max - max / 8 }
    }

    /// The share of a client while more than half is used. An eighth is kept for new clients, and another
    /// eighth of the users' part for anonymous clients.
    fn share(&self, client: &Client, max: usize) -> usize {
        let limit = self.limit_for(client, max);
        let reserve = if client.is_user() { max / 4 } else { limit / 8 };
        ((limit - reserve) / self.count_like(client).max(1)).max(1)
    }

    fn connections(&self, client: &Client) -> usize {
        self.accounts.get(client).map_or(0, |account| account.connections())
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const MAX: usize = 80;

    fn client(number: u8) -> Client {
        Client::Anonymous(Ipv4Addr::new(192, 0, 2, number).into())
    }

    fn user(name: &str) -> Client {
        Client::User(name.into())
    }

    /// Opens connections of a client up to its limit; returns their number.
    fn fill(clients: &mut Clients, open: &mut usize, client: &Client) -> usize {
        let mut opened = 0;
        while clients.can_open(Some(client), *open, MAX) {
            clients.add_connection(client);
            *open += 1;
            opened += 1;
        }
        opened
    }

    #[test]
    fn a_single_client_takes_all_but_the_reserve_for_new_ones() {
        let mut clients = Clients::default();
        let mut open = 0;
        assert_eq!(fill(&mut clients, &mut open, &client(1)), 70);
        assert_eq!(fill(&mut clients, &mut open, &client(2)), 10);
        assert!(clients.is_over_share(&client(1), MAX));
        assert!(!clients.is_over_share(&client(2), MAX));
        assert!(!clients.can_open(None, open, MAX));
        for _ in 0..40 {
            clients.remove_connection(&client(1));
            open -= 1;
        }
        assert_eq!(fill(&mut clients, &mut open, &client(1)), 5, "up to its share");
        assert_eq!(fill(&mut clients, &mut open, &client(2)), 25);
    }

    #[test]
    fn proxies_may_take_all_connections_and_clients_are_forgotten() {
        let mut clients = Clients::default();
        assert!(clients.can_open(None, MAX - 1, MAX) && !clients.can_open(None, MAX, MAX));
        clients.add_connection(&client(1));
        clients.add_connection(&client(1));
        clients.remove_connection(&client(1));
        assert_eq!(clients.anonymous_count(), 1);
        clients.remove_connection(&client(1));
        assert_eq!(clients.anonymous_count(), 0);
    }

    #[test]
    fn any_client_may_take_the_only_connection() {
        let mut clients = Clients::default();
        assert!(clients.can_open(Some(&client(1)), 0, 1));
        clients.add_connection(&client(1));
        assert!(!clients.can_open(Some(&client(2)), 1, 1));
    }

    #[test]
    fn anonymous_clients_cannot_take_the_users_reserve() {
        let mut clients = Clients::default();
        let mut open = 0;
        clients.logins.record(Ipv4Addr::new(192, 0, 2, 200).into(), "ann", 0);
        for number in 1..=100 {
            fill(&mut clients, &mut open, &client(number));
        }
        assert_eq!(open, 70, "the last eighth is for users");
        assert_eq!(fill(&mut clients, &mut open, &user("ann")), 10);
        assert!(!clients.has_share(&user("ann"), MAX), "as the only user");
        clients.add_connection(&user("bob"));
        assert_eq!(clients.count_like(&user("ann")), 2);
        assert!((clients.is_over_share(&client(1), MAX)) && !clients.is_over_share(&user("ann"), MAX));
    }

    #[test]
    fn users_leave_a_reserve_to_anonymous_clients() {
        let mut clients = Clients::default();
        let mut open = 0;
        clients.logins.record(Ipv4Addr::new(192, 0, 2, 200).into(), "ann", 0);
        assert_eq!(fill(&mut clients, &mut open, &user("ann")), 60);
        assert_eq!(fill(&mut clients, &mut open, &client(1)), 10);
    }

    #[test]
    fn address_counts_as_its_last_user_for_an_hour() {
        let address = Ipv4Addr::new(192, 0, 2, 1).into();
        let mut logins = Logins::default();
        logins.record(address, "ann", 0);
        logins.record(address, "bob", 5);
        assert_eq!(logins.client(address, LOGIN_TTL_MILLIS), user("bob"));
        assert_eq!(logins.client(address, LOGIN_TTL_MILLIS + 5), client(1));
        let hosts = (0..=u16::try_from(MAX_LOGINS).expect("a number")).map(u16::to_be_bytes);
        hosts.for_each(|[high, low]| logins.record(Ipv4Addr::new(10, 0, high, low).into(), "eve", 10));
        assert_eq!(logins.0.len(), MAX_LOGINS);
        logins.record(address, "ann", 11);
        assert_eq!(logins.client(address, 12), user("ann"));
    }
}
