//! Settings of a listener.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::tls::Tls;
use crate::memory::MemoryBudget;

/// Settings of a listener.
#[derive(Debug, Clone)]
pub struct ListenSettings {
    /// The maximum number of open connections; others wait in the system's queue.
    pub max_connections: usize,
    /// The time limit for the TLS handshake and for the head of a request.
    pub head_timeout: Duration,
    /// How long a client may read nothing of a response while memory or connections are scarce.
    pub write_timeout: Duration,
    /// How long a connection may be idle between requests.
    pub idle_timeout: Duration,
    /// How long open requests may continue after the server starts to shut down.
    pub drain_timeout: Duration,
    /// The maximum size of a request's head in bytes.
    pub max_header_size: usize,
    /// The maximum number of bytes read or written at once on a connection.
    pub buffer_size: usize,
    /// The maximum number of concurrent requests on an HTTP/2 connection.
    pub max_streams: u32,
    /// The same for a connection opened while more than `wide_connections` are open.
    pub max_streams_crowded: u32,
    /// The number of open connections up to which a new one gets `max_streams`.
    pub wide_connections: usize,
    /// The HTTP/2 window of a stream while memory is plentiful, in bytes; a connection's window is twice
    /// that.
    pub stream_window: u32,
    /// The memory budget that requests share.
    pub memory: MemoryBudget,
    /// Networks whose addresses stand for many clients: trusted proxies.
    pub shared_networks: Arc<[IpNet]>,
    /// TLS, if it is enabled.
    pub tls: Option<Arc<Tls>>,
}

impl Default for ListenSettings {
    fn default() -> Self {
        Self {
            max_connections: 1024,
            head_timeout: Duration::from_secs(15),
            write_timeout: Duration::from_secs(60),
            // Longer than Go's clients keep idle connections (90 s), so that the client closes first.
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
