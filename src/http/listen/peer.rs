//! The peer of a connection.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// The peer of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A client on the network.
    Tcp(SocketAddr),
    /// A client on the network behind a trusted proxy.
    Proxied(IpAddr),
    /// A client on this machine.
    Unix,
}

impl Peer {
    /// The name in histories of a peer without a user: its address without the port, which means nothing
    /// later.
    pub fn name(self) -> String {
        self.address().map_or_else(|| "admin socket".into(), |address| address.to_string())
    }

    /// The address, if it has one. A mapped IPv4 address is returned as IPv4.
    pub fn address(self) -> Option<IpAddr> {
        match self {
            Self::Tcp(address) => Some(address.ip().to_canonical()),
            Self::Proxied(address) => Some(address.to_canonical()),
            Self::Unix => None,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Proxied(address) => address.fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}
