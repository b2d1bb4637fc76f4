//! Tests of the forwarding headers of proxies, and of the choice of trusted proxies.

use std::fs;

use orlop::auth::{AccessSettings, AnonymousModes};
use orlop::http::api::{Event, Page};
use orlop::http::{ForwardedHeader, TrustedProxies};
use orlop::metadata::Role;
use reqwest::RequestBuilder;
use tempfile::TempDir;

use crate::kit::*;
use crate::log::Log;

/// The network that all tests connect from.
const LOOPBACK: &str = "127.0.0.0/8";

/// A server that trusts the proxies in these networks.
async fn server_trusting(networks: &[&str], change: impl FnOnce(&mut Setup)) -> Server {
    let networks = networks.iter().map(|text| text.parse().expect("a network"));
    let trusted_proxies = TrustedProxies::new(networks);
    Server::with(|setup| {
        setup.http.trusted_proxies = trusted_proxies;
        change(setup);
    })
    .await
}

/// A server that trusts this machine as a proxy, which writes `Forwarded`.
async fn server_trusting_forwarded(change: impl FnOnce(&mut Setup)) -> Server {
    server_trusting(&[LOOPBACK], |setup| {
        setup.http.trusted_proxies =
            setup.http.trusted_proxies.clone().with_header(ForwardedHeader::Forwarded);
        change(setup);
    })
    .await
}

/// Access control with one user, `ann`, whose password is `secret`; anonymous users may pull from `public/`.
fn access_control(dir: &TempDir) -> AccessSettings {
    let file = dir.path().join("users");
    fs::write(&file, format!("ann:{}\n", bcrypt::hash("secret", 4).expect("hashed"))).expect("written");
    let modes = AnonymousModes::with_default(None).with_public(&["public/**".into()]).expect("globs");
    AccessSettings {
        htpasswd: Some(file),
        htpasswd_role: Some(Role::Delete),
        modes,
        ..AccessSettings::default()
    }
}

fn with(request: RequestBuilder, headers: &[(&str, &str)]) -> RequestBuilder {
    headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))
}

/// The token URL in the challenge for a request with these headers.
async fn realm(server: &Server, headers: &[(&str, &str)]) -> String {
    let response = with(server.get("/v2/"), headers).send().await.expect("answer");
    assert_eq!(response.status(), 401);
    let challenge = text(response.headers(), "www-authenticate");
    let realm = challenge.strip_prefix("Bearer realm=\"").and_then(|rest| rest.split_once('"'));
    let (realm, rest) = realm.unwrap_or_else(|| panic!("{challenge}"));
    assert_eq!(rest, ",service=\"orlop\"");
    realm.to_owned()
}

/// Pushes a tag with these headers, and returns the address that the tag's history records.
async fn mover(server: &Server, headers: &[(&str, &str)]) -> Option<String> {
    let (manifest, _) = server.push_image("app", "1", b"layer").await;
    let put = server.put("/v2/app/manifests/2").header("content-type", IMAGE).body(manifest);
    assert_eq!(with(put, headers).send().await.expect("answer").status(), 201);
    let history = server.get("/api/v1/repositories/app/tags/2/history").send().await.expect("answer");
    let history: Page<Event> = history.json().await.expect("a page");
    history.items[0].by.clone()
}

const SPOOFED: [(&str, &str); 3] =
    [("x-forwarded-for", "192.0.2.7"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "evil.example")];

#[tokio::test]
async fn untrusted_peers_are_ignored() {
    let dir = TempDir::new().expect("a folder");
    for networks in [&[][..], &["192.0.2.0/24"]] {
        assert_eq!(
            mover(&server_trusting(networks, |_| {}).await, &SPOOFED).await.as_deref(),
            Some("127.0.0.1")
        );
        let locked = server_trusting(networks, |setup| setup.access_control = access_control(&dir)).await;
        let own = format!("http://{}/auth/token", locked.address);
        assert_eq!(realm(&locked, &SPOOFED).await, own);
        assert!(is_rate_limited(&locked, |guess| format!("192.0.2.{guess}")).await);
    }
}

#[tokio::test]
async fn trusted_proxy_names_its_client() {
    let server = server_trusting(&[LOOPBACK, "10.0.0.0/8"], |_| {}).await;
    for (forwarded, by) in [
        ("192.0.2.7", "192.0.2.7"),
        ("203.0.113.1, 192.0.2.8, 10.1.2.3", "192.0.2.8"),
        ("unknown", "127.0.0.1"),
        ("192.0.2.7, <script>", "127.0.0.1"),
    ] {
        let server = &server;
        server.delete("/v2/app/manifests/2").send().await.expect("answer");
        assert_eq!(
            mover(server, &[("x-forwarded-for", forwarded)]).await.as_deref(),
            Some(by),
            "{forwarded}"
        );
    }
}

#[tokio::test]
async fn trusted_proxy_names_scheme_and_host() {
    let dir = TempDir::new().expect("a folder");
    let server = server_trusting(&[LOOPBACK], |setup| setup.access_control = access_control(&dir)).await;
    let own = server.address;
    let host = "registry.example:8443";
    let headers = [("x-forwarded-proto", "https"), ("x-forwarded-host", host)];
    assert_eq!(realm(&server, &headers).await, format!("https://{host}/auth/token"));
    assert_eq!(realm(&server, &headers[..1]).await, format!("https://{own}/auth/token"));
    assert_eq!(realm(&server, &headers[1..]).await, format!("http://{host}/auth/token"));
    assert_eq!(realm(&server, &[("x-forwarded-proto", "gopher")]).await, format!("http://{own}/auth/token"));
    // The realm is quoted in a header, so it must contain only a host and a port.
    for host in ["a\",realm=\"b", "a\\b"] {
        let realm = realm(&server, &[("x-forwarded-host", host)]).await;
        assert!(
            ["localhost", &own.to_string()].iter().any(|host| realm == format!("http://{host}/auth/token")),
            "{realm}"
        );
    }
    for host in ["ann@evil", "a/b", "a b", "a#b", "a?b"] {
        let realm = realm(&server, &[("x-forwarded-host", host)]).await;
        assert!(!realm.contains(host), "{realm}");
    }
    let named = server_trusting(&[LOOPBACK], |setup| {
        setup.access_control = access_control(&dir);
        setup.http.public_url = Some("https://named.example".into());
    });
    assert_eq!(realm(&named.await, &headers).await, "https://named.example/auth/token");
}

/// Whether a client that guesses passwords is rate limited although each request claims another address.
async fn is_rate_limited(server: &Server, from: impl Fn(usize) -> String) -> bool {
    is_rate_limited_with(server, |guess| vec![("x-forwarded-for", from(guess))]).await
}

async fn is_rate_limited_with(
    server: &Server,
    headers: impl Fn(usize) -> Vec<(&'static str, String)>,
) -> bool {
    for guess in 0..15 {
        let headers = headers(guess);
        let request =
            headers.iter().fold(server.get("/v2/"), |request, (name, text)| request.header(*name, text));
        let response = request.basic_auth("ann", Some(guess)).send().await.expect("answer");
        if response.status() == 429 {
            return true;
        }
    }
    false
}

#[tokio::test]
async fn password_guessing_behind_a_proxy_does_not_lock_out_others() {
    let dir = TempDir::new().expect("a folder");
    let server = server_trusting(&[LOOPBACK], |setup| setup.access_control = access_control(&dir)).await;
    assert!(is_rate_limited(&server, |guess| format!("203.0.113.{guess}, 192.0.2.7")).await);
    let ann = server.get("/v2/").header("x-forwarded-for", "192.0.2.8").basic_auth("ann", Some("secret"));
    assert_eq!(ann.send().await.expect("answer").status(), 200);
    assert!(!is_rate_limited(&server, |guess| format!("198.51.100.{guess}")).await);
}

#[tokio::test]
async fn forwarded_element_names_client_scheme_and_host() {
    let dir = TempDir::new().expect("a folder");
    let server = server_trusting_forwarded(|_| {}).await;
    let added = "for=\"[2001:db8::1]:4711\";proto=https;host=\"registry.example:8443\"";
    for (lines, by) in [
        (&[added][..], "2001:db8::1"),
        (&["for=203.0.113.1;proto=http", added, "for=127.0.0.3;proto=http"], "2001:db8::1"),
        (&["for=\"", added], "2001:db8::1"),
        (&[added, "for=unknown"], "127.0.0.1"),
        (&[added, "for=_hidden"], "127.0.0.1"),
        (&[added, "for=<script>"], "127.0.0.1"),
        (&[added, "for=\""], "127.0.0.1"),
    ] {
        server.delete("/v2/app/manifests/2").send().await.expect("answer");
        let headers: Vec<_> = lines.iter().map(|line| ("forwarded", *line)).collect();
        assert_eq!(mover(&server, &headers).await.as_deref(), Some(by), "{lines:?}");
    }
    let server = server_trusting_forwarded(|setup| setup.access_control = access_control(&dir)).await;
    let token_url = realm(&server, &[("forwarded", added)]).await;
    assert_eq!(token_url, "https://registry.example:8443/auth/token");
    for host in ["a\\\",realm=\\\"b", "ann@evil", "a/b", "a b"] {
        let realm = realm(&server, &[("forwarded", &format!("for=192.0.2.7;host=\"{host}\""))]).await;
        assert!(!realm.contains("realm") && !realm.contains("evil") && !realm.contains("a/b"), "{realm}");
    }
}

/// A client behind a proxy that writes one kind of header sends the other kind, which the proxy passes on unchanged.
#[tokio::test]
async fn headers_that_the_proxy_does_not_write_are_ignored() {
    let dir = TempDir::new().expect("a folder");
    let spoofed = "for=192.0.2.66;proto=https;host=evil.example";
    let old = server_trusting(&[LOOPBACK], |_| {}).await;
    let new = server_trusting_forwarded(|_| {}).await;
    let by = mover(&old, &[("forwarded", spoofed), ("x-forwarded-for", "192.0.2.7")]).await;
    assert_eq!(by.as_deref(), Some("192.0.2.7"));
    let by = mover(&new, &[&SPOOFED[..], &[("forwarded", "for=192.0.2.8")]].concat()).await;
    assert_eq!(by.as_deref(), Some("192.0.2.8"));
    let old = server_trusting(&[LOOPBACK], |setup| setup.access_control = access_control(&dir)).await;
    let new = server_trusting_forwarded(|setup| setup.access_control = access_control(&dir)).await;
    let own = |server: &Server| format!("http://{}/auth/token", server.address);
    assert_eq!(realm(&old, &[("forwarded", spoofed)]).await, own(&old));
    assert_eq!(realm(&new, &SPOOFED).await, own(&new));
    let two = |one, written: &str, other, guess| vec![(one, written.to_owned()), (other, guess)];
    let guesser = |guess| two("x-forwarded-for", "192.0.2.7", "forwarded", format!("for=198.51.100.{guess}"));
    assert!(is_rate_limited_with(&old, guesser).await);
    let guesser = |guess| two("forwarded", "for=192.0.2.7", "x-forwarded-for", format!("198.51.100.{guess}"));
    assert!(is_rate_limited_with(&new, guesser).await);
    // Headers of an untrusted peer do not count.
    let unlisted = server_trusting(&["192.0.2.0/24"], |setup| {
        let proxies = setup.http.trusted_proxies.clone().with_header(ForwardedHeader::Forwarded);
        setup.http.trusted_proxies = proxies;
        setup.access_control = access_control(&dir);
    });
    let unlisted = unlisted.await;
    assert_eq!(realm(&unlisted, &[("forwarded", spoofed)]).await, own(&unlisted));
    assert!(
        is_rate_limited_with(&unlisted, |guess| vec![("forwarded", format!("for=198.51.100.{guess}"))]).await
    );
}

/// The addresses that the log warns about because they sent credentials in the clear.
fn warned() -> Vec<String> {
    let entries = Log::of_all().entries();
    let ours = entries
        .iter()
        .filter(|entry| entry["message"].as_str().is_some_and(|text| text.contains("in the clear")));
    ours.map(|entry| entry["remote"].as_str().expect("an address").to_owned()).collect()
}

#[tokio::test]
async fn warns_once_about_a_password_in_the_clear() {
    Log::of_all();
    let server = server_trusting(&[LOOPBACK], |_| {}).await;
    let send = async |from: &str, proto: &str, password: bool| {
        let headers = [("x-forwarded-for", from), ("x-forwarded-proto", proto)];
        let request = with(server.get("/v2/"), &headers);
        let request = if password { request.basic_auth("ann", Some("inTheClear")) } else { request };
        assert_eq!(request.send().await.expect("answer").status(), 200);
    };
    for _ in 0..3 {
        send("198.18.0.1", "http", true).await;
        send("198.18.0.2", "", true).await;
        send("198.18.0.3", "https", true).await;
        send("198.18.0.4", "http", false).await;
        send("127.0.0.9", "http", true).await;
        send("nonsense", "http", true).await;
    }
    let ours = |remote: &String| remote.starts_with("198.18.0.") || remote.starts_with("127.");
    let warned: Vec<_> = warned().into_iter().filter(ours).collect();
    assert_eq!(warned, ["198.18.0.1", "198.18.0.2"]);
    let text = Log::of_all().text();
    assert!(!text.contains("inTheClear") && !text.contains("Basic "));
}
