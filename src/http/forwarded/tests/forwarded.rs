//! Tests of the parsing of elements and of the choice of the element that counts.

use http::Request;
use http::request::Parts;

use crate::http::forwarded::*;

/// A trusted proxy, as are all of `10.0.0.0/24`.
const PROXY: &str = "10.0.0.1:1234";

fn head(lines: &[&[u8]]) -> Parts {
    let request = Request::get("/v2/").header("host", "named.example");
    let value = |line: &&[u8]| HeaderValue::from_bytes(line).expect("a value");
    let request = lines.iter().map(value).fold(request, |request, line| request.header(FORWARDED, line));
    request.body(()).expect("a request").into_parts().0
}

/// The sender, whether it uses TLS, and the host that it used.
fn seen_from(peer: &str, mut head: Parts) -> (String, bool, String) {
    let listed = ["10.0.0.0/24", "2001:db8::/32"].map(|text| text.parse().expect("a network"));
    let proxies = TrustedProxies::new(listed).with_header(ForwardedHeader::Forwarded);
    let sender = proxies.resolve_client(Peer::Tcp(peer.parse().expect("an address")), &mut head);
    let host = host(&head).expect("a host").to_string();
    (sender.to_string(), is_https(&head, false), host)
}

fn seen(lines: &[&str]) -> (String, bool, String) {
    let lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
    seen_from(PROXY, head(&lines))
}

fn sender(lines: &[&str]) -> String {
    seen(lines).0
}

/// The result for a request whose headers are ignored.
fn ignored() -> (String, bool, String) {
    (PROXY.to_owned(), false, "named.example".to_owned())
}

#[test]
fn an_element_has_client_scheme_and_host() {
    let expected = |host: &str| ("192.0.2.60".to_owned(), true, host.to_owned());
    let by = "for=192.0.2.60;proto=https;by=203.0.113.43;host=registry.example";
    assert_eq!(seen(&[by]), expected("registry.example"));
    assert_eq!(
        seen(&["HOST=\"a.example:8443\";;Proto=\"HTTPS\" ; FOR=192.0.2.60;"]),
        expected("a.example:8443")
    );
    assert_eq!(
        seen(&["secret=\"a,b;\\\"c=d\";for=192.0.2.60;proto=https;host=a.example:80"]),
        expected("a.example:80")
    );
    assert_eq!(seen_from("192.0.2.9:1", head(&[by.as_bytes()])).0, "192.0.2.9:1", "not trusted");
}

#[test]
fn a_node_is_an_address_with_or_without_a_port() {
    for v4 in [
        "for=192.0.2.7",
        "for=\"192.0.2.7\"",
        "for=\"192.0.2.7:4711\"",
        "for=192.0.2.7:4711",
        "for=\"192.0.2.7:_gazonk\"",
        "for=\"192\\.0.2.\\7\"",
        "for=\"[::ffff:192.0.2.7]\"",
    ] {
        assert_eq!(sender(&[v4]), "192.0.2.7", "{v4}");
    }
    for v6 in
        ["for=\"[2001:db9::1]\"", "for=\"[2001:db9::1]:4711\"", "for=\"[2001:db9::1]:_x\"", "for=2001:db9::1"]
    {
        assert_eq!(sender(&[v6]), "2001:db9::1", "{v6}");
    }
    assert_eq!(sender(&["for=\"[2001:db8::1]:4711\""]), "2001:db8::1", "a proxy itself");
}

#[test]
fn an_undisclosed_client_leaves_the_proxy() {
    for node in [
        "unknown",
        "\"unknown:80\"",
        "_hidden",
        "\"_SEVKISEK:1\"",
        "\"_a:_b\"",
        "\"\"",
        "\"192.0.2.7:\"",
        "\":_x\"",
    ] {
        let expected = seen(&["for=192.0.2.8, for=192.0.2.9", &format!("for={node};proto=https")]);
        assert_eq!(expected, (PROXY.to_owned(), true, "named.example".to_owned()), "{node}");
        assert_eq!(sender(&[&format!("for={node}, for=10.0.0.7")]), PROXY, "{node}");
    }
    for node in
        ["192.0.2", "1.2.3.4.5", "\"192.0.2.7:_\"", "\"192.0.2.7:_a b\"", "\"192.0.2.7:99999\"", "010.0.0.7"]
    {
        assert_eq!(sender(&[&format!("for={node}")]), PROXY, "{node}");
    }
    assert_eq!(seen(&["for=192.0.2.7, proto=https"]), (PROXY.to_owned(), true, "named.example".to_owned()));
}

#[test]
fn elements_before_the_last_untrusted_one_are_ignored() {
    let spoofed = "for=127.0.0.1;proto=https;host=evil.example";
    let expected = ("192.0.2.7".to_owned(), false, "named.example".to_owned());
    assert_eq!(seen(&[spoofed, "for=192.0.2.7"]), expected);
    assert_eq!(seen(&[&format!("{spoofed},for=192.0.2.7, , for=10.0.0.2,")]), expected);
    assert_eq!(
        seen(&[&format!("{spoofed}, for=192.0.2.7;proto=http"), "for=10.0.0.2;proto=https"]),
        expected
    );
    assert!(seen(&["for=192.0.2.7;proto=https, for=10.0.0.2;proto=http"]).1, "the scheme of the client");
    assert_eq!(sender(&["for=10.0.0.9, for=\"[2001:db8::2]\""]), "10.0.0.9", "all are proxies");
}

/// A client cannot invalidate or change the element that the proxy appends.
#[test]
fn malformed_text_before_an_element_does_not_change_it() {
    let expected = ("2001:db9::7".to_owned(), true, "a,b.example".to_owned());
    let added = "for=\"[2001:db9::7]:1\";proto=https;by=\"_a\\\"b\\\\\";host=\"a,b.example\"";
    assert_eq!(seen(&[added]), expected);
    for client in [
        "\"",
        "for=\"",
        "for=\"x\\",
        "for=\"x\\\\",
        "a=\"b\",\"",
        "\\\"",
        "for=1.2.3.4;proto=\"",
        "=",
        ";;\"\"\"",
        "for=\"a\\\"",
    ] {
        assert_eq!(seen(&[&format!("{client}, {added}")]), expected, "{client}");
        assert_eq!(seen(&[&format!("{client},{added}")]), expected, "{client}");
        assert_eq!(seen(&[client, added]), expected, "{client}");
    }
}

#[test]
fn malformed_elements_leave_the_peer() {
    for malformed in [
        "for",
        "=1.2.3.4",
        "192.0.2.7",
        "for 192.0.2.7",
        "for=",
        "for=192.0.2.7 proto=https",
        "for=192.0.2.7;proto",
        "for=192.0.2.7;for=192.0.2.8;proto=https",
        "for=192.0.2.7;FOR=192.0.2.7;proto=https",
        "for=192.0.2.7;x=1;X=2",
        "for=\"192.0.2.7",
        "for=192.0.2.7\"",
        "for=\"192.0.2.7\"x",
        "for=\"192.0.2.7\\",
        "f or=192.0.2.7",
        "for =192.0.2.7",
        "for=192.0.2.7;a=b=c",
        "for=192.0.2.7;\"proto\"=https",
        ",",
        ";",
        "",
    ] {
        assert_eq!(seen(&[malformed]), ignored(), "{malformed}");
        assert_eq!(
            seen(&[malformed, "for=10.0.0.2;proto=https"]).0,
            if malformed.is_empty() || malformed == "," { "10.0.0.2" } else { PROXY }
        );
    }
    assert_eq!(seen_from(PROXY, head(&[b"for=\"\xff\";proto=\xff;host=\"\xff\""])), ignored());
}

#[test]
fn invalid_schemes_and_hosts_are_ignored() {
    for invalid in
        ["proto=ftp;host=\"a b\"", "proto=\"\";host=\"\"", "proto=\"https,http\";host=a/b", "host=\"\\\"\""]
    {
        let expected = ("192.0.2.7".to_owned(), false, "named.example".to_owned());
        assert_eq!(seen(&[&format!("for=192.0.2.7;{invalid}")]), expected, "{invalid}");
    }
}

mod random {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The element of the proxy counts, whatever the client sends.
        #[test]
        fn proxy_element_counts(client in prop::collection::vec(r#"[a-z=;,"\\ :.0-9\[\]]{0,40}"#, 0..3), apart: bool) {
            let added = r#"for="192.0.2.7:80";proto=https;ext="a\"b\\,";host="a.example""#;
            let expected = ("192.0.2.7".to_owned(), true, "a.example".to_owned());
            let mut lines: Vec<&str> = client.iter().map(String::as_str).collect();
            let joined = format!("{}, {added}", lines.join(", "));
            if apart { lines.push(added) } else { lines = vec![&joined] }
            prop_assert_eq!(seen(&lines), expected);
        }

        /// No text causes a panic.
        #[test]
        fn any_text_can_be_parsed(line in r#"[a-zA-Z=;,"\\ :._0-9\[\]-]{0,80}"#) {
            let _ = seen(&[&line]);
            let _ = seen(&[&format!("for={line}")]);
        }
    }
}
