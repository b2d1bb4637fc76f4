//! `X-Forwarded-For`, `-Proto` and `-Host`, which no standard describes.

use std::net::IpAddr;

use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Forwarded, ForwardedRequest, TrustedProxies, address, scheme};

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const NAME: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Scheme and host are what was added last: most proxies set them anew.
pub(super) fn told(proxies: &TrustedProxies, headers: &HeaderMap) -> ForwardedRequest {
    let scheme = from_the_last(headers, &PROTO).next().and_then(scheme);
    let host = from_the_last(headers, &NAME).next().and_then(|text| Authority::try_from(text).ok());
    ForwardedRequest { client: client(proxies, headers), how: Forwarded { scheme, host } }
}

/// The last address that is no proxy's, for everything before it is hearsay; the first, if all are.
fn client(proxies: &TrustedProxies, headers: &HeaderMap) -> Option<IpAddr> {
    let mut client = None;
    for text in from_the_last(headers, &FOR) {
        let address = address(text)?;
        client = Some(address);
        if !proxies.lists(address) {
            break;
        }
    }
    client
}

/// The members of a list, the last first: it may be in several headers.
fn from_the_last<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    let values = headers.get_all(name).iter().rev().map(HeaderValue::as_bytes);
    let members = values.flat_map(|value| value.rsplit(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    members.filter(|member| !member.is_empty())
}
