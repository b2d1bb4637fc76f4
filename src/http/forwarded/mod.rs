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

use std::net::{IpAddr, SocketAddr};

use http::header::{FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::{Authority, Scheme};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::listen::Peer;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

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
            ForwardedHeader::XForwarded => self.read_x_forwarded(headers),
            ForwardedHeader::Forwarded => self.read_forwarded(headers),
        }
    }

    /// Reads `X-Forwarded-For`, `-Proto` and `-Host`, which no standard defines. Scheme and host are the last values,
    /// because most proxies replace them.
    fn read_x_forwarded(&self, headers: &HeaderMap) -> ForwardedRequest {
        let scheme = reversed_members(headers, &X_FORWARDED_PROTO).next().and_then(scheme);
        let host = reversed_members(headers, &X_FORWARDED_HOST)
            .next()
            .and_then(|text| Authority::try_from(text).ok());
        ForwardedRequest { client: self.x_forwarded_client(headers), forwarded: Forwarded { scheme, host } }
    }

    /// The last address that is not a trusted proxy's: everything before it is unverified. The first address if all of
    /// them are trusted proxies.
    fn x_forwarded_client(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let mut client = None;
        for text in reversed_members(headers, &X_FORWARDED_FOR) {
            let address = address(text)?;
            client = Some(address);
            if !self.contains(address) {
                break;
            }
        }
        client
    }

    /// Reads `Forwarded`: the element of the proxy that the client connected to. That is the last element whose client
    /// is not a trusted proxy; the elements before it are unverified. If all clients are trusted proxies, it is the
    /// first element.
    ///
    /// The address, scheme and host all come from this element, because one proxy wrote it as a whole.
    fn read_forwarded(&self, headers: &HeaderMap) -> ForwardedRequest {
        let mut request = ForwardedRequest::default();
        for text in reversed_elements(headers) {
            let Some(element) = Element::parse(text) else { return ForwardedRequest::default() };
            let client = element.client();
            request = ForwardedRequest { client, forwarded: element.forwarded() };
            if !client.is_some_and(|client| self.contains(client)) {
                break;
            }
        }
        request
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

/// The members of a list that commas separate, the last one first. The list may span several headers.
fn reversed_members<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    let values = headers.get_all(name).iter().rev().map(HeaderValue::as_bytes);
    let members = values.flat_map(|value| value.rsplit(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    members.filter(|member| !member.is_empty())
}

/// An element of `Forwarded` (RFC 7239): each proxy appends one with its client, and the scheme and host that the
/// client used. Other parameters (`by`, and extensions) are not used.
///
/// The header is read from its end, so that text which a client wrote before an element cannot invalidate or change the
/// element that a proxy appended, not even by an unclosed quote.
#[derive(Debug, Default, PartialEq, Eq)]
struct Element {
    node: Option<Vec<u8>>,
    proto: Option<Vec<u8>>,
    host: Option<Vec<u8>>,
}

impl Element {
    /// Parses a `forwarded-element` (section 4). Also accepts spaces around parameters, and unquoted values that are
    /// not tokens, because proxies write a `host` with its port like that. Returns `None` if the element is
    /// malformed.
    fn parse(text: &[u8]) -> Option<Self> {
        let mut element = Self::default();
        let mut seen = Vec::new();
        let mut rest = text.trim_ascii();
        while !rest.is_empty() {
            if let Some(next) = rest.strip_prefix(b";") {
                rest = next.trim_ascii_start();
                continue;
            }
            let name = rest.get(..rest.iter().position(|byte| *byte == b'=')?)?;
            let (value, after) = value(&rest[name.len() + 1..])?;
            let name = name.to_ascii_lowercase();
            // A parameter must not occur twice (section 4).
            if name.is_empty() || !name.iter().copied().all(is_token) || seen.contains(&name) {
                return None;
            }
            match &*name {
                b"for" => element.node = Some(value),
                b"proto" => element.proto = Some(value),
                b"host" => element.host = Some(value),
                _ => {}
            }
            seen.push(name);
            rest = after.trim_ascii_start();
            if !rest.is_empty() && !rest.starts_with(b";") {
                return None;
            }
        }
        Some(element)
    }

    /// The client of the proxy. `None` if the proxy does not know or does not disclose it (`unknown` and `_hidden`,
    /// section 6).
    fn client(&self) -> Option<IpAddr> {
        let node = self.node.as_deref()?;
        // The port may be an obfuscated identifier, such as `:_abc`, even if the address is not.
        let port = node.windows(2).rposition(|pair| pair == b":_");
        let is_obfuscated =
            |at: &usize| node[at + 2..].iter().all(|byte| is_token(*byte)) && node.len() > at + 2;
        address(port.filter(is_obfuscated).map_or(node, |at| &node[..at]))
    }

    /// The scheme and host that the client used.
    fn forwarded(&self) -> Forwarded {
        let host = self.host.as_deref().and_then(|host| Authority::try_from(host).ok());
        Forwarded { scheme: self.proto.as_deref().and_then(scheme), host }
    }
}

/// Splits a value, `token` or `quoted-string` (RFC 9110, section 5.6), from the text after it, and removes its quotes.
fn value(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let Some(quoted) = text.strip_prefix(b"\"") else {
        let end = text.iter().position(|byte| matches!(byte, b';' | b' ' | b'\t')).unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        let is_valid = !value.is_empty() && !value.iter().any(|byte| matches!(byte, b'"' | b'\\' | b'='));
        return is_valid.then(|| (value.to_vec(), rest));
    };
    let mut value = Vec::new();
    let mut rest = quoted.iter();
    loop {
        match rest.next()? {
            b'"' => return Some((value, rest.as_slice())),
            b'\\' => value.push(*rest.next()?),
            byte => value.push(*byte),
        }
    }
}

/// Whether a byte may be part of a token (RFC 9110, section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The elements, the last one first. They may be in several headers; no element spans two headers.
fn reversed_elements(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(FORWARDED).iter().rev().map(HeaderValue::as_bytes);
    lines
        .flat_map(|line| ReversedElements(Some(line)))
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
}

/// The elements of one header, the last one first.
struct ReversedElements<'a>(Option<&'a [u8]>);

impl<'a> Iterator for ReversedElements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let text = self.0.take()?;
        let mut quoted = false;
        for (at, byte) in text.iter().enumerate().rev() {
            match byte {
                // Read backwards, a quote ends a string unless it is escaped.
                b'"' => quoted = !quoted || is_escaped(&text[..at]),
                b',' if !quoted => {
                    self.0 = Some(&text[..at]);
                    return Some(&text[at + 1..]);
                }
                _ => {}
            }
        }
        Some(text)
    }
}

/// Whether the byte after `before` is escaped: an odd number of backslashes precedes it.
fn is_escaped(before: &[u8]) -> bool {
    before.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

#[cfg(test)]
mod tests;
