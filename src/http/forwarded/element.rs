//! Reads `Forwarded` (RFC 7239): each proxy appends an element with its client, and the scheme and host that
//! the client used.
//!
//! The header is read from its end, so that text which a client wrote before an element cannot invalidate or change the
//! element that a proxy appended, not even by an unclosed quote.

use std::net::IpAddr;

use http::HeaderMap;
use http::header::{FORWARDED, HeaderValue};
use http::uri::Authority;

use super::{Forwarded, ForwardedRequest, TrustedProxies, address, scheme};

/// The element of one proxy. Other parameters (`by`, and extensions) are not used.
#[derive(Debug, Default, PartialEq, Eq)]
struct Element {
    node: Option<Vec<u8>>,
    proto: Option<Vec<u8>>,
    host: Option<Vec<u8>>,
}

/// Reads the element of the proxy that the client connected to. That is the last element whose client is not
/// a trusted proxy; the elements before it are unverified. If all clients are trusted proxies, it is the
/// first element.
///
/// The address, scheme and host all come from this element, because one proxy wrote it as a whole.
pub(super) fn read(proxies: &TrustedProxies, headers: &HeaderMap) -> ForwardedRequest {
    let mut request = ForwardedRequest::default();
    for text in reversed_elements(headers) {
        let Some(element) = Element::parse(text) else { return ForwardedRequest::default() };
        let client = element.client();
        request = ForwardedRequest { client, forwarded: element.forwarded() };
        if !client.is_some_and(|client| proxies.contains(client)) {
            break;
        }
    }
    request
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
        // The port can be obfuscated too.
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
