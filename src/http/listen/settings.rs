//! How connections are served.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::Tls;
use crate::memory::MemoryBudget;

/// How connections are served.
#[derive(Debug, Clone)]
pub struct ListenSettings {
    /// The most connections at once; more of them wait in the system's queue.
    pub max_connections: usize,
    /// How long a client may take for its TLS handshake and for a request's head.
    pub head_timeout: Duration,
    /// How long a client may take none of the bytes that wait for it, where memory or connections are scarce.
    pub write_timeout: Duration,
    /// How long a connection may be without a request.
    pub idle_timeout: Duration,
    /// How long requests may go on after the server was told to stop.
    pub drain_timeout: Duration,
    /// The most bytes of a request's head.
    pub max_header_size: usize,
    /// The most bytes that are read or written at once on a connection.
    pub buffer_size: usize,
    /// The most requests at once on a connection of HTTP/2.
    pub max_streams: u32,
    /// The same for a connection that begins while more than `wide_connections` are open.
    pub max_streams_crowded: u32,
    /// Up to how many connections are few.
    pub wide_connections: usize,
    /// How many bytes of a request's body may be under way in HTTP/2 while memory is plenty; twice that on a
    /// connection.
    pub stream_window: u32,
    /// The memory that requests share.
    pub memory: MemoryBudget,
    /// Networks whose addresses stand for many clients: trusted proxies.
    pub shared_networks: Arc<[IpNet]>,
    /// TLS, if it is to be spoken.
    pub tls: Option<Arc<Tls>>,
}

impl Default for ListenSettings {
    fn default() -> Self {
        Self {
            max_connections: 1024,
            head_timeout: Duration::from_secs(15),
            write_timeout: Duration::from_secs(60),
            // Longer than Go's clients keep their idle connections (90 s), so that theirs is the first move.
            idle_timeout: Duration::from_secs(120),
            drain_timeout: Duration::from_secs(30),
            max_header_size: 16 * 1024,
            buffer_size: 256 * 1024,
            max_streams: 32,
            max_streams_crowded: 8,
            wide_connections: 32,
            stream_window: 1024 * 1024,
            memory: MemoryBudget::default(),
            shared_networks: Arc::default(),
            tls: None,
        }
    }
}
