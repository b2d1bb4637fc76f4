//! Determines the client, scheme and host of requests that come through a trusted proxy, from `X-Forwarded-For`,
//! `-Proto` and `-Host`, or from `Forwarded`.
//!
//! Any client can send these headers. So they count only from the proxies in the settings, and only the last part,
//! which that proxy added itself.
//!
//! Only one kind of header is read, and the settings choose which. A proxy that writes one kind passes the other on as
//! its client sent it, and a request does not show who wrote what. Reading both, whichever is found first, would let
//! clients forge their address (Rack and Spring had this vulnerability; Vert.x warns about it). Ignoring both if they
//! disagree, as Quarkus can, would let every client hide behind the proxy's address, out of the log and of the limits.

mod element;
mod x_forwarded;

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use http::header::HOST;
use http::request::Parts;
use http::uri::{Authority, Scheme};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::listen::Peer;

/// The networks of the trusted proxies, and the headers that they write.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
    header: ForwardedHeader,
}

/// The headers that proxies write.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`, `X-Forwarded-Proto` and `X-Forwarded-Host`.
    #[default]
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// The client of a request according to a proxy, with the scheme and host that it used.
#[derive(Debug, Default)]
struct ForwardedRequest {
    client: Option<IpAddr>,
    forwarded: Forwarded,
}

/// The scheme and host that a client used according to a proxy.
#[derive(Debug, Clone, Default)]
struct Forwarded {
    scheme: Option<Scheme>,
    host: Option<Authority>,
}

impl TrustedProxies {
    /// Trusts the proxies in `networks`.
    pub fn new(networks: impl IntoIterator<Item = IpNet>) -> Self {
        Self { networks: networks.into_iter().collect(), header: ForwardedHeader::default() }
    }

    /// Sets the headers that the proxies write.
    #[must_use]
    pub fn with_header(self, header: ForwardedHeader) -> Self {
        Self { header, ..self }
    }

    /// The client of a request that `peer` sent. Stores the scheme and host of a proxy in the extensions of the head.
    pub(super) fn resolve_client(&self, peer: Peer, head: &mut Parts) -> Peer {
        match peer {
            Peer::Tcp(address) if self.contains(address.ip()) => {
                let ForwardedRequest { client, forwarded } = self.read_headers(&head.headers);
                head.extensions.insert(forwarded);
                client.map_or(peer, Peer::Proxied)
            }
            _ => peer,
        }
    }

    /// Whether `peer` is a trusted proxy that has not named its client.
    pub(super) fn is_proxy(&self, peer: Peer) -> bool {
        matches!(peer, Peer::Tcp(address) if self.contains(address.ip()))
    }

    fn read_headers(&self, headers: &HeaderMap) -> ForwardedRequest {
        match self.header {
            ForwardedHeader::XForwarded => x_forwarded::read(self, headers),
            ForwardedHeader::Forwarded => element::read(self, headers),
        }
    }

    fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.contains(&address))
    }
}

/// Whether the client uses TLS: as a proxy states it, or else `tls`, which says whether this server uses TLS.
pub(super) fn is_https(head: &Parts, tls: bool) -> bool {
    let forwarded = head.extensions.get::<Forwarded>().and_then(|forwarded| forwarded.scheme.as_ref());
    forwarded.map_or(tls, |scheme| *scheme == Scheme::HTTPS)
}

/// The host and port by which the client addressed this server.
pub(super) fn host(head: &Parts) -> Option<Authority> {
    let forwarded = head.extensions.get::<Forwarded>().and_then(|forwarded| forwarded.host.clone());
    let header = || head.headers.get(HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok());
    forwarded.or_else(|| head.uri.authority().cloned()).or_else(header)
}

/// Parses the scheme `http` or `https`.
fn scheme(text: &[u8]) -> Option<Scheme> {
    match text {
        text if text.eq_ignore_ascii_case(b"https") => Some(Scheme::HTTPS),
        text if text.eq_ignore_ascii_case(b"http") => Some(Scheme::HTTP),
        _ => None,
    }
}

/// Parses an address as proxies write it: with or without brackets and a port.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(text).ok()?;
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let with_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
    bare.parse().ok().or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests;
