//! How the registry is reached.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::network::Network;
use super::units::{Count, Listen, PublicUrl, Size, Span};
use crate::memory;

/// Which headers the proxies write that are believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`, `X-Forwarded-Proto` and `X-Forwarded-Host`.
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// Connections.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// The address and port to listen on. `[::]` takes IPv4 too.
    pub listen: Listen,
    /// How clients reach the registry from outside, where an absolute URL is needed.
    pub public_url: Option<PublicUrl>,
    /// A PEM file with the certificate and its chain: turns TLS on.
    pub tls_certificate: Option<PathBuf>,
    /// A PEM file with the certificate's private key.
    pub tls_key: Option<PathBuf>,
    /// A PEM file with the certificates of authorities: every client must show a certificate that one of them signed.
    pub tls_client_ca: Option<PathBuf>,
    /// Proxies whose word is taken for who a client is, and how it came.
    pub trusted_proxies: Vec<Network>,
    /// Which headers they write; no others are read.
    pub forwarded_header: ForwardedHeader,
    /// How long running transfers may go on after SIGTERM.
    pub drain_timeout: Span,
    /// How long a client may take to send a request's headers.
    pub header_timeout: Span,
    /// How long a client may pause within a request's body.
    pub body_idle_timeout: Span,
    /// How long a client may pause taking an answer.
    pub write_timeout: Span,
    /// The most connections at once.
    pub max_connections: Count,
    /// The most memory that requests may make the server hold; default: by the machine's memory.
    pub memory: Option<Size>,
    /// The most requests of a client in a second, or 0.
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
    /// The memory budget, in bytes: as set, or by the memory of the machine or container.
    pub fn memory_budget(&self) -> u64 {
        self.memory.map_or_else(memory::default_budget, |size| size.0)
    }
}
