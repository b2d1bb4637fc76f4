//! How connections are served.

use std::sync::Arc;
use std::time::Duration;

use super::Tls;

/// How connections are served.
#[derive(Debug, Clone)]
pub struct ListenSettings {
    /// The most connections at once; more of them wait in the system's queue.
    pub max_connections: usize,
    /// How long a client may take for its TLS handshake and for a request's head.
    pub head_timeout: Duration,
    /// How long a client may take none of the bytes that wait for it.
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
    /// How many bytes of a request's body may be under way in HTTP/2; four times that on a connection.
    pub stream_window: u32,
    /// How many connections may be open for one more to get that much; it gets little if there are more. All that
    /// is under way is in memory, whether somebody takes it or not.
    pub wide_connections: usize,
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
            max_header_size: 64 * 1024,
            buffer_size: 256 * 1024,
            max_streams: 128,
            stream_window: 1024 * 1024,
            wide_connections: 32,
            tls: None,
        }
    }
}
