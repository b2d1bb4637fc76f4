//! Who has how many of a listener's connections, and how much of its memory.
//!
//! A client is an address, or 64 bits of one of version 6. A proxy that is trusted, and the admin socket, stand for many
//! clients and are no client themselves. Shares bind only when a resource is more than half used; a client that is
//! alone may take all but a reserve, which is for others that come.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// What one client has.
#[derive(Debug, Default)]
pub(super) struct ClientAccount {
    connections: AtomicUsize,
    /// Memory that its requests hold while they are anonymous.
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
    accounts: HashMap<IpAddr, Arc<ClientAccount>>,
}

impl Clients {
    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.accounts.len()
    }

    /// A connection more of a client.
    pub(super) fn enter(&mut self, client: IpAddr) -> Arc<ClientAccount> {
        let account = Arc::clone(self.accounts.entry(client).or_default());
        account.connections.fetch_add(1, Relaxed);
        account
    }

    /// A connection less.
    pub(super) fn leave(&mut self, client: IpAddr) {
        if let Some(account) = self.accounts.get(&client)
            && account.connections.fetch_sub(1, Relaxed) == 1
        {
            self.accounts.remove(&client);
        }
    }

    /// Whether a client may have one more of `max` connections, of which `open` are taken. Those that are no client may
    /// as long as there is one.
    pub(super) fn may_enter(&self, client: Option<IpAddr>, open: usize, max: usize) -> bool {
        let Some(client) = client else { return open < max };
        let account = self.accounts.get(&client);
        let mine = account.map_or(0, |account| account.connections());
        let clients = self.count() + usize::from(account.is_none());
        open < max && (open < max / 2 || mine < share(max, clients))
    }

    /// Whether a client has its share of `max` connections.
    pub(super) fn has_share(&self, client: IpAddr, max: usize) -> bool {
        let account = self.accounts.get(&client);
        account.is_some_and(|account| account.connections() >= share(max, self.count()))
    }

    /// Whether a client has more than its share of `max` connections.
    pub(super) fn is_over_share(&self, client: IpAddr, max: usize) -> bool {
        let account = self.accounts.get(&client);
        account.is_some_and(|account| account.connections() > share(max, self.count()))
    }
}

/// What each of `clients` may take when more than half is used: an eighth is a reserve for those that come.
fn share(max: usize, clients: usize) -> usize {
    ((max - max / 8) / clients.max(1)).max(1)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const MAX: usize = 80;

    fn client(number: u8) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, number).into()
    }

    /// Lets a client enter as often as it may; how often that is.
    fn fill(clients: &mut Clients, open: &mut usize, number: u8) -> usize {
        let mut entered = 0;
        while clients.may_enter(Some(client(number)), *open, MAX) {
            clients.enter(client(number));
            *open += 1;
            entered += 1;
        }
        entered
    }

    #[test]
    fn a_client_alone_takes_all_but_the_reserve_and_the_next_one_finds_room() {
        let (mut clients, mut open) = (Clients::default(), 0);
        assert_eq!(fill(&mut clients, &mut open, 1), 70);
        assert_eq!(fill(&mut clients, &mut open, 2), 10);
        assert!(clients.is_over_share(client(1), MAX));
        assert!(!clients.is_over_share(client(2), MAX));
        assert!(!clients.may_enter(None, open, MAX));
        for _ in 0..40 {
            clients.leave(client(1));
            open -= 1;
        }
        assert_eq!(fill(&mut clients, &mut open, 1), 5, "up to its share");
        assert_eq!(fill(&mut clients, &mut open, 2), 25);
    }

    #[test]
    fn a_proxy_takes_every_place_and_clients_are_forgotten() {
        let mut clients = Clients::default();
        assert!(clients.may_enter(None, MAX - 1, MAX) && !clients.may_enter(None, MAX, MAX));
        clients.enter(client(1));
        clients.enter(client(1));
        clients.leave(client(1));
        assert_eq!(clients.count(), 1);
        clients.leave(client(1));
        assert_eq!(clients.count(), 0);
    }

    #[test]
    fn the_only_place_is_anyones() {
        let mut clients = Clients::default();
        assert!(clients.may_enter(Some(client(1)), 0, 1));
        clients.enter(client(1));
        assert!(!clients.may_enter(Some(client(2)), 1, 1));
    }
}
