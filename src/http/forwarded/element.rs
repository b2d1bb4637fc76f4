//! `Forwarded` (RFC 7239): each proxy adds an element, which tells who came to it, and how.
//!
//! The header is read from its end, so that what a client wrote before it can neither spoil nor change what a proxy
//! added: also a quote that it never closes.

use std::net::IpAddr;

use http::HeaderMap;
use http::header::{FORWARDED, HeaderValue};
use http::uri::Authority;

use super::{Forwarded, ForwardedRequest, TrustedProxies, address, scheme};

/// One proxy's word. Other parameters (`by`, and extensions) are of no use here.
#[derive(Debug, Default, PartialEq, Eq)]
struct Element {
    node: Option<Vec<u8>>,
    proto: Option<Vec<u8>>,
    host: Option<Vec<u8>>,
}

/// What the proxy tells that the client came to: the last one to which nobody came who is listed, for everything before
/// it is hearsay; the first, if all are. Unlike `X-Forwarded-Proto` an element belongs to one proxy as a whole.
pub(super) fn told(proxies: &TrustedProxies, headers: &HeaderMap) -> ForwardedRequest {
    let mut told = ForwardedRequest::default();
    for text in from_the_last(headers) {
        let Some(element) = Element::parse(text) else { return ForwardedRequest::default() };
        let client = element.client();
        told = ForwardedRequest { client, how: element.how() };
        if !client.is_some_and(|client| proxies.lists(client)) {
            break;
        }
    }
    told
}

impl Element {
    /// Reads `forwarded-element` (section 4), with blanks where people put them, and unquoted what is no token: proxies
    /// write a `host` with its port like that. Nothing, where it is not one; then none of it is believed.
    fn parse(text: &[u8]) -> Option<Self> {
        let (mut element, mut seen, mut rest) = (Self::default(), Vec::new(), text.trim_ascii());
        while !rest.is_empty() {
            if let Some(next) = rest.strip_prefix(b";") {
                rest = next.trim_ascii_start();
                continue;
            }
            let name = rest.get(..rest.iter().position(|byte| *byte == b'=')?)?;
            let (value, after) = value(&rest[name.len() + 1..])?;
            let name = name.to_ascii_lowercase();
            // A parameter must not come twice (section 4).
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

    /// Who came to the proxy: nobody, where it does not know or does not tell (`unknown` and `_hidden`, section 6).
    fn client(&self) -> Option<IpAddr> {
        let node = self.node.as_deref()?;
        // A port may be hidden too.
        let port = node.windows(2).rposition(|pair| pair == b":_");
        let hidden = |at: &usize| node[at + 2..].iter().all(|byte| is_token(*byte)) && node.len() > at + 2;
        address(port.filter(hidden).map_or(node, |at| &node[..at]))
    }

    fn how(&self) -> Forwarded {
        let host = self.host.as_deref().and_then(|host| Authority::try_from(host).ok());
        Forwarded { scheme: self.proto.as_deref().and_then(scheme), host }
    }
}

/// A value, `token` or `quoted-string` (RFC 9110, section 5.6), without its quotes, and what follows it.
fn value(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let Some(quoted) = text.strip_prefix(b"\"") else {
        let end = text.iter().position(|byte| matches!(byte, b';' | b' ' | b'\t')).unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        let sound = !value.is_empty() && !value.iter().any(|byte| matches!(byte, b'"' | b'\\' | b'='));
        return sound.then(|| (value.to_vec(), rest));
    };
    let (mut value, mut rest) = (Vec::new(), quoted.iter());
    loop {
        match rest.next()? {
            b'"' => return Some((value, rest.as_slice())),
            b'\\' => value.push(*rest.next()?),
            byte => value.push(*byte),
        }
    }
}

/// What a token is made of (RFC 9110, section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The elements, the last first: they may be in several headers, none of which goes on in another.
fn from_the_last(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(FORWARDED).iter().rev().map(HeaderValue::as_bytes);
    lines
        .flat_map(|line| FromTheLast(Some(line)))
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
}

/// The elements of one header, the last first.
struct FromTheLast<'a>(Option<&'a [u8]>);

impl<'a> Iterator for FromTheLast<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let text = self.0.take()?;
        let mut quoted = false;
        for (at, byte) in text.iter().enumerate().rev() {
            match byte {
                // Backwards a quote ends a string unless it is escaped in it.
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

/// Whether what follows is escaped: behind an odd number of backslashes.
fn is_escaped(before: &[u8]) -> bool {
    before.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

#[cfg(test)]
mod tests;
