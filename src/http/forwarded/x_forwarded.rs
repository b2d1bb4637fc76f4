//! Reads `X-Forwarded-For`, `-Proto` and `-Host`, which no standard defines.

use std::net::IpAddr;

use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Forwarded, ForwardedRequest, TrustedProxies, address, scheme};

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Reads the headers. Scheme and host are the last values, because most proxies replace them.
pub(super) fn read(proxies: &TrustedProxies, headers: &HeaderMap) -> ForwardedRequest {
    let scheme = reversed_members(headers, &PROTO).next().and_then(scheme);
    let host = reversed_members(headers, &HOST).next().and_then(|text| Authority::try_from(text).ok());
    ForwardedRequest { client: client(proxies, headers), forwarded: Forwarded { scheme, host } }
}

/// The last address that is not a trusted proxy's: everything before it is unverified. The first address if all of them
/// are trusted proxies.
fn client(proxies: &TrustedProxies, headers: &HeaderMap) -> Option<IpAddr> {
    let mut client = None;
    for text in reversed_members(headers, &FOR) {
        let address = address(text)?;
        client = Some(address);
        if !proxies.contains(address) {
            break;
        }
    }
    client
}

/// The members of a list, the last one first. The list may span several headers.
fn reversed_members<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    let values = headers.get_all(name).iter().rev().map(HeaderValue::as_bytes);
    let members = values.flat_map(|value| value.rsplit(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    members.filter(|member| !member.is_empty())
}
