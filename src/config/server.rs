//! `[server]`: addresses, TLS, proxies, timeouts and limits.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::network::Network;
use super::units::{Count, Listen, PublicUrl, Size, Span};
pub use crate::http::ForwardedHeader;
use crate::memory;

/// Network connections.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Address and port to listen on. `[::]` accepts IPv4 too.
    pub listen: Listen,
    /// URL of the registry as clients see it, for absolute URLs in responses.
    pub public_url: Option<PublicUrl>,
    /// PEM file of the certificate and its chain. Turns TLS on.
    pub tls_certificate: Option<PathBuf>,
    /// PEM file of the certificate's private key.
    pub tls_key: Option<PathBuf>,
    /// PEM file of certificate authorities: every client must present a certificate that one of them signed.
    pub tls_client_ca: Option<PathBuf>,
    /// Proxies whose headers about the client's address and protocol are trusted.
    pub trusted_proxies: Vec<Network>,
    /// Headers that these proxies set; others are ignored.
    pub forwarded_header: ForwardedHeader,
    /// How long running transfers may continue after SIGTERM.
    pub drain_timeout: Span,
    /// How long a client may take to send a request's headers.
    pub header_timeout: Span,
    /// How long a client may pause within a request's body.
    pub body_idle_timeout: Span,
    /// How long a client may pause while it reads a response.
    pub write_timeout: Span,
    /// Maximum number of concurrent connections.
    pub max_connections: Count,
    /// Maximum memory for requests. By default derived from the machine's memory.
    pub memory: Option<Size>,
    /// Maximum requests per client and second; 0 for no limit.
    pub rate_limit: Count,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: Listen::default(),
            public_url: None,
            tls_certificate: None,
            tls_key: None,
            tls_client_ca: None,
            trusted_proxies: Vec::new(),
            forwarded_header: ForwardedHeader::XForwarded,
            drain_timeout: Span::seconds(30),
            header_timeout: Span::seconds(15),
            body_idle_timeout: Span::seconds(60),
            write_timeout: Span::seconds(60),
            max_connections: Count(1024),
            memory: None,
            rate_limit: Count(0),
        }
    }
}

impl Server {
    /// Returns the memory budget in bytes: as configured, or derived from the memory of the machine or container.
    pub fn memory_budget(&self) -> u64 {
        self.memory.map_or_else(memory::default_budget, |size| size.0)
    }
}
