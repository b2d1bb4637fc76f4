//! Tests the spans that the built program sends to a collector. Needs `--features otlp`.

// Without the feature nothing is sent. Cargo.toml has no entry for this test, because the container is built without
// the tests.
#![cfg(feature = "otlp")]
#![expect(unreachable_pub, reason = "here `pub` means: for the other files of this program")]

mod collector;
mod program;

use std::collections::BTreeSet;
use std::time::Duration;

use orlop::oci::{Algorithm, Hasher};
use reqwest::{Method, RequestBuilder};

use self::collector::{Collector, ReceivedSpan, spans_of};
use self::program::Program;

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const PASSWORD: &str = "passwordSecret";

/// A trace started by a client, and the client's span.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "00f067aa0ba902b7";

fn digest(content: &[u8]) -> String {
    Hasher::digest(Algorithm::Sha256, content).to_string()
}

/// Sends a request with the administrator's password and returns the status.
async fn status(request: RequestBuilder) -> u16 {
    request.basic_auth("admin", Some(PASSWORD)).send().await.expect("a response").status().as_u16()
}

/// Pushes an image as clients do and returns the digest of its manifest.
async fn push(program: &Program, repo: &str, tag: &str) -> String {
    for content in [&b"{}"[..], b"layer"] {
        let upload = program.request(Method::POST, &format!("/v2/{repo}/blobs/uploads/"));
        let upload = upload.basic_auth("admin", Some(PASSWORD)).send().await.expect("a response");
        assert_eq!(upload.status(), 202);
        let location = upload.headers()["location"].to_str().expect("ASCII");
        let put = program.request(Method::PUT, &format!("{location}?digest={}", digest(content)));
        assert_eq!(status(put.body(content)).await, 201);
    }
    let blob = |content: &[u8]| serde_json::json!({ "mediaType": "application/octet-stream", "digest": digest(content), "size": content.len() });
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": IMAGE, "config": blob(b"{}"), "layers": [blob(b"layer")],
    });
    let put = program.request(Method::PUT, &format!("/v2/{repo}/manifests/{tag}"));
    assert_eq!(status(put.header("content-type", IMAGE).body(manifest.to_string())).await, 201);
    digest(manifest.to_string().as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn exports_a_push_and_a_pull_as_span_trees() {
    let collector = Collector::start().await;
    let mut program = Program::start(&collector.url(), &[("ORLOP_RETENTION__INTERVAL", "100ms")]);
    let manifest = push(&program, "team/app", "v1.2.3").await;
    let pull = program.request(Method::GET, &format!("/v2/team/app/manifests/{manifest}"));
    assert_eq!(status(pull.header("traceparent", format!("00-{TRACE}-{PARENT}-01"))).await, 200);
    let unsampled = program.request(Method::GET, "/v2/_catalog");
    assert_eq!(
        status(unsampled.header("traceparent", format!("00-{}-{PARENT}-00", "7".repeat(32)))).await,
        200
    );
    assert_eq!(status(program.request(Method::GET, "/api/v1/repositories/team%2Fapp/tags")).await, 200);
    assert_eq!(status(program.request(Method::GET, "/livez")).await, 200);
    assert_eq!(status(program.request(Method::GET, "/v2/team/app/tags/nothing")).await, 404);
    // These background spans are not part of a request. The others belong to requests or arrive at shutdown.
    collector
        .wait_until(|seen| ["collector", "retention"].iter().all(|name| !spans_of(seen, name).is_empty()))
        .await;
    program.stop();
    let seen = collector.spans();
    assert!(seen.iter().all(|seen| seen.service == ("orlop".into(), env!("CARGO_PKG_VERSION").into())));

    let [pull] = &spans_of(&seen, "GET manifest")[..] else { panic!("{seen:?}") };
    assert_eq!((&*pull.trace, &*pull.parent, pull.kind), (TRACE, PARENT, 2));
    for (key, value) in [
        ("http.request.method", "GET"),
        ("http.route", "/v2/{name}/manifests/{reference}"),
        ("http.response.status_code", "200"),
        ("url.scheme", "http"),
        ("url.path", &format!("/v2/team/app/manifests/{manifest}")),
        ("server.address", "127.0.0.1"),
        ("server.port", &program.port()),
        ("client.address", "127.0.0.1"),
        ("network.protocol.version", "1.1"),
        ("orlop.repository", "team/app"),
        ("http.request.body.size", "0"),
    ] {
        assert_eq!(pull.attribute(key), value, "{key}: {pull:?}");
    }
    let [put] = &spans_of(&seen, "PUT manifest")[..] else { panic!("{seen:?}") };
    assert!(put.parent.is_empty() && put.trace != TRACE && put.is_complete());
    assert!(steps(&seen, put).contains("metadata write"), "{:?}", steps(&seen, put));
    let finished = spans_of(&seen, "PUT upload");
    assert_eq!(finished.len(), 2);
    for finished in finished {
        let steps = steps(&seen, finished);
        assert!(
            ["upload body", "store publish", "metadata write"].iter().all(|step| steps.contains(step)),
            "{steps:?}"
        );
    }
    assert!(
        spans_of(&seen, "POST uploads").iter().any(|start| steps(&seen, start).contains("password check"))
    );
    assert!(spans_of(&seen, "collector").iter().all(|root| root.parent.is_empty() && root.kind == 1));

    assert!(spans_of(&seen, "GET catalog").is_empty(), "its client disabled tracing");
    assert_eq!(spans_of(&seen, "GET invalid")[0].attribute("http.response.status_code"), "404");
    assert_eq!(spans_of(&seen, "GET api")[0].attribute("http.route"), "/api/v1/repositories/{name}/tags");
    let names: BTreeSet<&str> = seen.iter().map(|seen| &*seen.name).collect();
    assert!(names.iter().all(|name| !name.contains([':', '.', '/']) && !name.contains("livez")), "{names:?}");
    let log = program.log();
    assert!(!log.contains("otel.") && !log.contains("trace collector"), "{log}");
}

/// The names of a span's direct children.
fn steps<'a>(seen: &'a [ReceivedSpan], of: &ReceivedSpan) -> BTreeSet<&'a str> {
    let own = seen.iter().filter(|seen| seen.parent == of.id && seen.trace == of.trace);
    own.map(|seen| &*seen.name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn continues_a_trace_only_if_the_traceparent_is_valid() {
    let collector = Collector::start().await;
    let mut program = Program::start(&collector.url(), &[]);
    let valid = format!("00-{TRACE}-{PARENT}-01");
    let zeros = format!("00-{}-{}-01", "0".repeat(32), "0".repeat(16));
    let long = "0-".repeat(4000);
    let mut invalid = vec!["", "00", "-", "00-1-2-01", "unknown", &zeros, &long, &valid[..54], &valid[1..]];
    let version = valid.replacen("00-", "ff-", 1);
    let flags = valid.replace("-01", "-zz");
    invalid.extend([&*version, &*flags]);
    for traceparent in &invalid {
        let request = program.request(Method::GET, "/v2/").header("traceparent", *traceparent);
        assert_eq!(request.send().await.expect("a response").status(), 200);
    }
    let duplicate =
        program.request(Method::GET, "/v2/").header("traceparent", &valid).header("traceparent", &valid);
    assert_eq!(duplicate.send().await.expect("a response").status(), 200);
    program.stop();
    let seen = collector.spans();
    let own = spans_of(&seen, "GET base");
    assert_eq!(own.len(), invalid.len() + 1, "{own:?}");
    assert!(own.iter().all(|own| own.parent.is_empty() && own.trace != TRACE), "{own:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn exports_no_secrets() {
    let collector = Collector::start().await;
    let variables = [("ORLOP_AUTH__MODE", "closed"), ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=headerSecret")];
    let mut program = Program::start(&collector.url(), &variables);
    let get = |path: &str| program.request(Method::GET, path);
    let token = get("/auth/token?service=orlop&scope=repository:app:pull,push&x=querySecret");
    let token = token.basic_auth("admin", Some(PASSWORD)).send().await.expect("a response");
    let token: serde_json::Value = token.json().await.expect("JSON");
    let token = token["token"].as_str().expect("a token").to_owned();
    let made = program.request(Method::POST, "/api/v1/users").header("content-type", "application/json");
    status(made.body(r#"{"name":"bob","password":"bodySecret1"}"#)).await;
    for request in [
        get("/v2/app/tags/list?n=querySecret").bearer_auth(&token),
        get("/v2/app/tags/list").bearer_auth("bearerSecret"),
        get("/v2/app/tags/list").basic_auth("admin", Some("guessedSecret")),
        get("/v2/pathSecret/tags/list"),
        get("/nothing/pathSecret"),
        get(&format!("/v2/{token}/tags/list")),
        get("/v2/orlop_a1b2c3_idsecret/tags/list").basic_auth("admin", Some(PASSWORD)),
        get("/v2/").header("cookie", "cookieSecret").header("user-agent", "agentSecret"),
        get("/v2/").header("referer", "refererSecret").header("x-forwarded-for", "forwardedSecret"),
        get("/v2/")
            .header("tracestate", "a=stateSecret")
            .header("traceparent", format!("00-{TRACE}-{PARENT}-01")),
        get("/v2/").header("traceparent", "parentSecret").header("baggage", "a=baggageSecret"),
        get("/v2/").header("host", "user:hostSecret@example"),
        program.request(Method::from_bytes(b"METHODSecret").expect("a method"), "/v2/"),
        program
            .request(Method::PUT, "/v2/app/manifests/1")
            .body("bodySecret2")
            .basic_auth("admin", Some(PASSWORD)),
    ] {
        assert!(request.send().await.expect("a response").status().as_u16() < 500);
    }
    program.stop();
    let seen = collector.spans();
    assert_eq!(spans_of(&seen, "GET token").len(), 1);
    assert!(spans_of(&seen, "GET tags").len() >= 4 && spans_of(&seen, "HTTP base").len() == 1, "{seen:?}");
    let exported = collector.text();
    assert!(exported.contains("/v2/{name}/tags/list"), "the exported text is readable");
    for secret in ["Secret", "idsecret", &token, &token[token.len() - 20..], "Basic ", "Bearer "] {
        assert!(!exported.contains(secret), "{secret}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn samples_a_share_of_requests_and_every_request_with_a_sampled_parent() {
    let collector = Collector::start().await;
    let mut program = Program::start(&collector.url(), &[("ORLOP_TRACES__SAMPLE", "1%")]);
    for _ in 0..200 {
        assert_eq!(program.request(Method::GET, "/v2/").send().await.expect("a response").status(), 200);
    }
    let sampled = program.request(Method::HEAD, "/v2/");
    let sampled = sampled.header("traceparent", format!("00-{TRACE}-{PARENT}-01"));
    assert_eq!(sampled.send().await.expect("a response").status(), 200);
    program.stop();
    let seen = collector.spans();
    assert!(spans_of(&seen, "GET base").len() < 40, "{}", seen.len());
    assert_eq!(spans_of(&seen, "HEAD base").len(), 1);
}

/// More requests than the queue holds spans, so that later spans are dropped.
const MORE_THAN_QUEUE: usize = 4000;

/// Checks that a server answers normally if its collector does not accept spans.
async fn assert_works_without(collector: &str) {
    let mut program = Program::start(collector, &[]);
    push(&program, "team/app", "1").await;
    let send_requests = async |count: usize| {
        for _ in 0..count {
            assert_eq!(program.request(Method::GET, "/v2/").send().await.expect("a response").status(), 200);
        }
    };
    let at_once = MORE_THAN_QUEUE / 8;
    tokio::join!(
        send_requests(at_once),
        send_requests(at_once),
        send_requests(at_once),
        send_requests(at_once)
    );
    tokio::join!(
        send_requests(at_once),
        send_requests(at_once),
        send_requests(at_once),
        send_requests(at_once)
    );
    assert_eq!(status(program.request(Method::GET, "/v2/team/app/manifests/1")).await, 200);
    assert_eq!(status(program.request(Method::GET, "/readyz")).await, 200);
    program.wait_for_log("trace collector unavailable").await;
    let took = program.stop();
    assert!(took < Duration::from_secs(8), "{took:?}");
    let log = program.log();
    assert_eq!(log.matches("trace collector unavailable").count(), 1, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_collector_changes_no_response() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    assert_works_without(&url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unresponsive_collector_changes_no_response() {
    // Connections are established but never read from.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    assert_works_without(&format!("http://{}", listener.local_addr().expect("an address"))).await;
}
