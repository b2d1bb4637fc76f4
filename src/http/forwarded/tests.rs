//! Tests of `X-Forwarded-*` and of the choice of trusted proxies.

mod forwarded;

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
    TrustedProxies::new(listed).resolve_client(tcp(peer), &mut head(&headers)).to_string()
}

#[test]
fn trusted_proxy_names_its_client() {
    assert_eq!(sender(PROXY, &["192.0.2.7"]), "192.0.2.7");
    assert_eq!(sender("[::ffff:10.0.0.1]:1", &["192.0.2.7"]), "192.0.2.7");
    assert_eq!(sender("[2001:db8::1]:1", &["2001:db9::7"]), "2001:db9::7");
    for written in ["192.0.2.7:80", "::ffff:192.0.2.7", "[::ffff:192.0.2.7]", "[::ffff:192.0.2.7]:80"] {
        assert_eq!(sender(PROXY, &[written]), "192.0.2.7", "{written}");
    }
}

#[test]
fn addresses_before_the_last_untrusted_one_are_ignored() {
    assert_eq!(sender(PROXY, &["127.0.0.1, 192.0.2.7"]), "192.0.2.7");
    assert_eq!(sender(PROXY, &["127.0.0.1, 192.0.2.7, 10.0.0.2,10.0.0.3"]), "192.0.2.7");
    assert_eq!(sender(PROXY, &["127.0.0.1, 192.0.2.7", "10.0.0.2"]), "192.0.2.7");
    assert_eq!(sender(PROXY, &["nonsense, 192.0.2.7, , 10.0.0.2,"]), "192.0.2.7");
    assert_eq!(sender(PROXY, &["10.0.0.9, 10.0.0.2"]), "10.0.0.9", "all are proxies");
}

#[test]
fn untrusted_peers_are_ignored() {
    assert_eq!(sender("192.0.2.9:1", &["192.0.2.7"]), "192.0.2.9:1");
    assert_eq!(sender("127.0.0.1:1", &["10.0.0.1"]), "127.0.0.1:1");
    let mut spoofed = head(&[("x-forwarded-proto", "https"), ("x-forwarded-host", "evil.example")]);
    let peer = TrustedProxies::default().resolve_client(tcp(PROXY), &mut spoofed);
    assert_eq!((peer, is_https(&spoofed, false)), (tcp(PROXY), false));
    assert_eq!(host(&spoofed).expect("a host"), "named.example");
}

#[test]
fn malformed_headers_leave_the_peer() {
    for malformed in
        ["unknown", "192.0.2.7, _hidden", "192.0.2", "1.2.3.4.5", "[::1", "a:b", "192.0.2.7;8", ","]
    {
        assert_eq!(sender(PROXY, &[malformed]), PROXY, "{malformed}");
    }
    assert_eq!(sender(PROXY, &["192.0.2.7", "nonsense, 10.0.0.2"]), PROXY);
    assert_eq!(sender(PROXY, &[]), PROXY);
}

#[test]
fn scheme_and_host_are_the_values_of_the_proxy() {
    let proxies = TrustedProxies::new(["10.0.0.1/32".parse().expect("a network")]);
    let seen = |headers: &[(&str, &str)]| {
        let mut head = head(headers);
        proxies.resolve_client(tcp(PROXY), &mut head);
        (is_https(&head, false), host(&head).expect("a host").to_string())
    };
    let proto = |value| seen(&[("x-forwarded-proto", value)]).0;
    assert!(proto("https") && proto("http, HTTPS") && !proto("https, http") && !proto("https,ftp"));
    let name = |value| seen(&[("x-forwarded-host", value)]).1;
    assert_eq!(name("a.example, b.example:8443"), "b.example:8443");
    for malformed in ["", "a b", "a/b", "\"", "a.example, b c"] {
        assert_eq!(name(malformed), "named.example", "{malformed}");
    }
}

/// A proxy that writes one kind of header passes the other on as its client sent it.
#[test]
fn only_the_configured_kind_of_header_is_read() {
    let spoofed = [
        ("x-forwarded-for", "192.0.2.66"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil.example"),
    ];
    let element = [("forwarded", "for=192.0.2.66;proto=https;host=evil.example")];
    let seen = |header, headers: &[&[(&str, &str)]]| {
        let listed = TrustedProxies::new(["10.0.0.1/32".parse().expect("a network")]);
        let mut head = head(&headers.concat());
        let sender = listed.with_header(header).resolve_client(tcp(PROXY), &mut head).to_string();
        (sender, is_https(&head, false), host(&head).expect("a host").to_string())
    };
    let expected = |sender: &str| (sender.to_owned(), false, "named.example".to_owned());
    let old = ForwardedHeader::XForwarded;
    let new = ForwardedHeader::Forwarded;
    assert_eq!(seen(old, &[&element]), expected(PROXY));
    assert_eq!(seen(new, &[&spoofed]), expected(PROXY));
    assert_eq!(seen(old, &[&element, &[("x-forwarded-for", "192.0.2.7")]]), expected("192.0.2.7"));
    assert_eq!(seen(new, &[&spoofed, &[("forwarded", "for=192.0.2.7")]]), expected("192.0.2.7"));
    assert_eq!(seen(new, &[&spoofed, &[("forwarded", "for=unknown")]]), expected(PROXY));
}
