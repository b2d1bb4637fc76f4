//! What proxies tell of those who come by way of them: `X-Forwarded-For`, `-Proto` and `-Host`, or `Forwarded`.
//!
//! Anybody can send these headers, so they count from the proxies alone that the settings list, and of them only what
//! such a proxy itself added: what is last.
//!
//! Only one kind is ever read, and the settings say which. A proxy that writes one kind hands the other on as its client
//! sent it, and no look at a request tells which was whose: reading both, whichever comes first, lets clients say who they
//! are (Rack and Spring had that hole; Vert.x warns of it). To believe nothing where they disagree, as Quarkus can, would
//! let each client hide behind the proxy's address, out of the log and of the limits.

mod element;
mod x_forwarded;

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use http::header::HOST;
use http::request::Parts;
use http::uri::{Authority, Scheme};
use ipnet::IpNet;

use super::listen::Peer;

/// The networks of proxies that are believed, and what they write.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
    header: ForwardedHeader,
}

/// Which headers proxies write, so that no client can.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`, `X-Forwarded-Proto` and `X-Forwarded-Host`.
    #[default]
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// What proxies say of a request.
#[derive(Debug, Default)]
struct ForwardedRequest {
    client: Option<IpAddr>,
    how: Forwarded,
}

/// What they say besides who sent it.
#[derive(Debug, Clone, Default)]
struct Forwarded {
    scheme: Option<Scheme>,
    host: Option<Authority>,
}

impl TrustedProxies {
    /// Those in `networks`.
    pub fn new(networks: impl IntoIterator<Item = IpNet>) -> Self {
        Self { networks: networks.into_iter().collect(), header: ForwardedHeader::default() }
    }

    /// The same, who write `header`.
    #[must_use]
    pub fn writing(self, header: ForwardedHeader) -> Self {
        Self { header, ..self }
    }

    /// Who sends a request that `peer` handed over. What else a proxy says is kept with the request's head.
    pub(super) fn sender(&self, peer: Peer, head: &mut Parts) -> Peer {
        match peer {
            Peer::Tcp(address) if self.lists(address.ip()) => {
                let ForwardedRequest { client, how } = self.told(&head.headers);
                head.extensions.insert(how);
                client.map_or(peer, Peer::Proxied)
            }
            _ => peer,
        }
    }

    /// Whether this is a proxy itself, which has not named its client.
    pub(super) fn are(&self, peer: Peer) -> bool {
        matches!(peer, Peer::Tcp(address) if self.lists(address.ip()))
    }

    fn told(&self, headers: &HeaderMap) -> ForwardedRequest {
        match self.header {
            ForwardedHeader::XForwarded => x_forwarded::told(self, headers),
            ForwardedHeader::Forwarded => element::told(self, headers),
        }
    }

    fn lists(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.contains(&address))
    }
}

/// Whether the client speaks TLS, if it does so with this server wherever no proxy says otherwise.
pub(super) fn is_https(head: &Parts, tls: bool) -> bool {
    let said = head.extensions.get::<Forwarded>().and_then(|forwarded| forwarded.scheme.as_ref());
    said.map_or(tls, |scheme| *scheme == Scheme::HTTPS)
}

/// What the client called this server.
pub(super) fn host(head: &Parts) -> Option<Authority> {
    let said = head.extensions.get::<Forwarded>().and_then(|forwarded| forwarded.host.clone());
    let named = || head.headers.get(HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok());
    said.or_else(|| head.uri.authority().cloned()).or_else(named)
}

/// A scheme that clients of a registry use.
fn scheme(text: &[u8]) -> Option<Scheme> {
    match text {
        text if text.eq_ignore_ascii_case(b"https") => Some(Scheme::HTTPS),
        text if text.eq_ignore_ascii_case(b"http") => Some(Scheme::HTTP),
        _ => None,
    }
}

/// An address as proxies write one: some add a port, and brackets.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(text).ok()?;
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let with_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
    bare.parse().ok().or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests;
