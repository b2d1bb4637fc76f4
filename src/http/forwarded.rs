//! What proxies tell of those who come by way of them: `X-Forwarded-For`, `-Proto` and `-Host`.
//!
//! Anybody can send these headers, so they count from the proxies alone that the settings list, and of them only what
//! such a proxy itself added: what is last.

use std::net::{IpAddr, SocketAddr};

use http::header::HOST;
use http::request::Parts;
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

use super::listen::Peer;

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const NAME: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The networks of proxies that are believed.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(Vec<IpNet>);

/// What a proxy says of a request, besides who sent it.
#[derive(Debug, Clone)]
struct Forwarded {
    scheme: Option<Scheme>,
    host: Option<Authority>,
}

impl TrustedProxies {
    /// Those in `networks`.
    pub fn new(networks: impl IntoIterator<Item = IpNet>) -> Self {
        Self(networks.into_iter().collect())
    }

    /// Who sends a request that `peer` handed over. What else a proxy says is kept with the request's head.
    pub(super) fn sender(&self, peer: Peer, head: &mut Parts) -> Peer {
        match peer {
            Peer::Tcp(address) if self.lists(address.ip()) => {
                head.extensions.insert(Forwarded::of(&head.headers));
                self.client(&head.headers).map_or(peer, Peer::Proxied)
            }
            _ => peer,
        }
    }

    fn lists(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The last address that is no proxy's, for everything before it is hearsay; the first, if all are.
    fn client(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let mut client = None;
        for text in from_the_last(headers, &FOR) {
            let address = address(text)?;
            client = Some(address);
            if !self.lists(address) {
                break;
            }
        }
        client
    }
}

impl Forwarded {
    fn of(headers: &HeaderMap) -> Self {
        let scheme = from_the_last(headers, &PROTO).next().and_then(|text| match text {
            text if text.eq_ignore_ascii_case(b"https") => Some(Scheme::HTTPS),
            text if text.eq_ignore_ascii_case(b"http") => Some(Scheme::HTTP),
            _ => None,
        });
        let host = from_the_last(headers, &NAME).next().and_then(|text| Authority::try_from(text).ok());
        Self { scheme, host }
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

/// The members of a list, the last first: it may be in several headers.
fn from_the_last<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    let values = headers.get_all(name).iter().rev().map(HeaderValue::as_bytes);
    let members = values.flat_map(|value| value.rsplit(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    members.filter(|member| !member.is_empty())
}

/// An address as proxies write one: some add a port, and brackets.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(text).ok()?;
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let with_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
    bare.parse().ok().or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    const PROXY: &str = "10.0.0.1:1234";

    fn head(headers: &[(&str, &str)]) -> Parts {
        let request = Request::get("/v2/").header("host", "named.example");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.body(()).expect("a request").into_parts().0
    }

    fn tcp(text: &str) -> Peer {
        Peer::Tcp(text.parse().expect("an address"))
    }

    fn sender(peer: &str, headers: &[&str]) -> String {
        let listed = ["10.0.0.0/24", "2001:db8::/32"].map(|text| text.parse().expect("a network"));
        let headers: Vec<_> = headers.iter().map(|value| ("x-forwarded-for", *value)).collect();
        TrustedProxies::new(listed).sender(tcp(peer), &mut head(&headers)).to_string()
    }

    #[test]
    fn a_listed_proxy_says_who_it_is() {
        assert_eq!(sender(PROXY, &["192.0.2.7"]), "192.0.2.7");
        assert_eq!(sender("[::ffff:10.0.0.1]:1", &["192.0.2.7"]), "192.0.2.7");
        assert_eq!(sender("[2001:db8::1]:1", &["2001:db9::7"]), "2001:db9::7");
        for written in ["192.0.2.7:80", "::ffff:192.0.2.7", "[::ffff:192.0.2.7]", "[::ffff:192.0.2.7]:80"] {
            assert_eq!(sender(PROXY, &[written]), "192.0.2.7", "{written}");
        }
    }

    #[test]
    fn what_comes_before_the_first_stranger_is_hearsay() {
        assert_eq!(sender(PROXY, &["127.0.0.1, 192.0.2.7"]), "192.0.2.7");
        assert_eq!(sender(PROXY, &["127.0.0.1, 192.0.2.7, 10.0.0.2,10.0.0.3"]), "192.0.2.7");
        assert_eq!(sender(PROXY, &["127.0.0.1, 192.0.2.7", "10.0.0.2"]), "192.0.2.7");
        assert_eq!(sender(PROXY, &["nonsense, 192.0.2.7, , 10.0.0.2,"]), "192.0.2.7");
        assert_eq!(sender(PROXY, &["10.0.0.9, 10.0.0.2"]), "10.0.0.9", "a proxy itself");
    }

    #[test]
    fn nobody_else_is_believed() {
        assert_eq!(sender("192.0.2.9:1", &["192.0.2.7"]), "192.0.2.9:1");
        assert_eq!(sender("127.0.0.1:1", &["10.0.0.1"]), "127.0.0.1:1");
        let mut spoofed = head(&[("x-forwarded-proto", "https"), ("x-forwarded-host", "evil.example")]);
        let peer = TrustedProxies::default().sender(tcp(PROXY), &mut spoofed);
        assert_eq!((peer, is_https(&spoofed, false)), (tcp(PROXY), false));
        assert_eq!(host(&spoofed).expect("a host"), "named.example");
    }

    #[test]
    fn nonsense_leaves_the_peer() {
        for nonsense in
            ["unknown", "192.0.2.7, _hidden", "192.0.2", "1.2.3.4.5", "[::1", "a:b", "192.0.2.7;8", ","]
        {
            assert_eq!(sender(PROXY, &[nonsense]), PROXY, "{nonsense}");
        }
        assert_eq!(sender(PROXY, &["192.0.2.7", "nonsense, 10.0.0.2"]), PROXY);
        assert_eq!(sender(PROXY, &[]), PROXY);
    }

    #[test]
    fn scheme_and_host_are_what_the_proxy_added() {
        let proxies = TrustedProxies::new(["10.0.0.1/32".parse().expect("a network")]);
        let seen = |headers: &[(&str, &str)]| {
            let mut head = head(headers);
            proxies.sender(tcp(PROXY), &mut head);
            (is_https(&head, false), host(&head).expect("a host").to_string())
        };
        let proto = |value| seen(&[("x-forwarded-proto", value)]).0;
        assert!(proto("https") && proto("http, HTTPS") && !proto("https, http") && !proto("https,ftp"));
        let name = |value| seen(&[("x-forwarded-host", value)]).1;
        assert_eq!(name("a.example, b.example:8443"), "b.example:8443");
        for nonsense in ["", "a b", "a/b", "\"", "a.example, b c"] {
            assert_eq!(name(nonsense), "named.example", "{nonsense}");
        }
    }
}
