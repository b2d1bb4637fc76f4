//! Spans as a collector gets them, from the program as it is run. It is one of `--features otlp`.

// Without it nothing is sent. Not said in Cargo.toml: the container is built without the tests.
#![cfg(feature = "otlp")]

mod collector;
mod program;

use std::collections::BTreeSet;
use std::time::Duration;

use orlop::oci::{Algorithm, Hasher};
use reqwest::{Method, RequestBuilder};

use self::collector::{Collector, Seen, spans_of};
use self::program::Program;

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const PASSWORD: &str = "passwordSecret";

/// A trace that a client has begun, and its span there.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "00f067aa0ba902b7";

fn digest(content: &[u8]) -> String {
    Hasher::digest(Algorithm::Sha256, content).to_string()
}

/// Sends a request with the administrator's password, and tells the status.
async fn status(request: RequestBuilder) -> u16 {
    request.basic_auth("admin", Some(PASSWORD)).send().await.expect("an answer").status().as_u16()
}

/// Pushes an image as clients do, and yields its manifest's digest.
async fn push(program: &Program, repo: &str, tag: &str) -> String {
    for content in [&b"{}"[..], b"layer"] {
        let begun = program.request(Method::POST, &format!("/v2/{repo}/blobs/uploads/"));
        let begun = begun.basic_auth("admin", Some(PASSWORD)).send().await.expect("an answer");
        assert_eq!(begun.status(), 202);
        let location = begun.headers()["location"].to_str().expect("ASCII");
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
async fn a_push_and_a_pull_are_told_as_trees_of_spans() {
    let collector = Collector::start().await;
    let mut program = Program::start(&collector.url(), &[("ORLOP_RETENTION__INTERVAL", "100ms")]);
    let manifest = push(&program, "team/app", "v1.2.3").await;
    let pull = program.request(Method::GET, &format!("/v2/team/app/manifests/{manifest}"));
    assert_eq!(status(pull.header("traceparent", format!("00-{TRACE}-{PARENT}-01"))).await, 200);
    let unwatched = program.request(Method::GET, "/v2/_catalog");
    assert_eq!(
        status(unwatched.header("traceparent", format!("00-{}-{PARENT}-00", "7".repeat(32)))).await,
        200
    );
    assert_eq!(status(program.request(Method::GET, "/api/v1/repositories/team%2Fapp/tags")).await, 200);
    assert_eq!(status(program.request(Method::GET, "/livez")).await, 200);
    assert_eq!(status(program.request(Method::GET, "/v2/team/app/tags/nothing")).await, 404);
    // What nobody asked for: the others are of requests, or come when the server ends.
    collector
        .until(|seen| ["collector", "retention"].iter().all(|name| !spans_of(seen, name).is_empty()))
        .await;
    program.end();
    let seen = collector.seen();
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
    assert!(put.parent.is_empty() && put.trace != TRACE && put.is_whole());
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
        spans_of(&seen, "POST uploads").iter().any(|begun| steps(&seen, begun).contains("password check"))
    );
    assert!(spans_of(&seen, "collector").iter().all(|root| root.parent.is_empty() && root.kind == 1));

    assert!(spans_of(&seen, "GET catalog").is_empty(), "its client wanted none");
    assert_eq!(spans_of(&seen, "GET invalid")[0].attribute("http.response.status_code"), "404");
    assert_eq!(spans_of(&seen, "GET api")[0].attribute("http.route"), "/api/v1/repositories/{name}/tags");
    let names: BTreeSet<&str> = seen.iter().map(|seen| &*seen.name).collect();
    assert!(names.iter().all(|name| !name.contains([':', '.', '/']) && !name.contains("livez")), "{names:?}");
    let log = program.log();
    assert!(!log.contains("otel.") && !log.contains("collector of traces"), "{log}");
}

/// The names of what was done directly for a request.
fn steps<'a>(seen: &'a [Seen], of: &Seen) -> BTreeSet<&'a str> {
    let own = seen.iter().filter(|seen| seen.parent == of.id && seen.trace == of.trace);
    own.map(|seen| &*seen.name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_goes_on_only_where_its_parent_is_sound() {
    let collector = Collector::start().await;
    let mut program = Program::start(&collector.url(), &[]);
    let sound = format!("00-{TRACE}-{PARENT}-01");
    let (zeros, long) = (format!("00-{}-{}-01", "0".repeat(32), "0".repeat(16)), "0-".repeat(4000));
    let mut wrong = vec!["", "00", "-", "00-1-2-01", "unknown", &zeros, &long, &sound[..54], &sound[1..]];
    let (version, flags) = (sound.replacen("00-", "ff-", 1), sound.replace("-01", "-zz"));
    wrong.extend([&*version, &*flags]);
    for wrong in &wrong {
        let request = program.request(Method::GET, "/v2/").header("traceparent", *wrong);
        assert_eq!(request.send().await.expect("an answer").status(), 200);
    }
    let two =
        program.request(Method::GET, "/v2/").header("traceparent", &sound).header("traceparent", &sound);
    assert_eq!(two.send().await.expect("an answer").status(), 200);
    program.end();
    let seen = collector.seen();
    let own = spans_of(&seen, "GET base");
    assert_eq!(own.len(), wrong.len() + 1, "{own:?}");
    assert!(own.iter().all(|own| own.parent.is_empty() && own.trace != TRACE), "{own:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_told() {
    let collector = Collector::start().await;
    let variables = [("ORLOP_AUTH__MODE", "closed"), ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=headerSecret")];
    let mut program = Program::start(&collector.url(), &variables);
    let get = |path: &str| program.request(Method::GET, path);
    let token = get("/auth/token?service=orlop&scope=repository:app:pull,push&x=querySecret");
    let token = token.basic_auth("admin", Some(PASSWORD)).send().await.expect("an answer");
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
        assert!(request.send().await.expect("an answer").status().as_u16() < 500);
    }
    program.end();
    let seen = collector.seen();
    assert_eq!(spans_of(&seen, "GET token").len(), 1);
    assert!(spans_of(&seen, "GET tags").len() >= 4 && spans_of(&seen, "HTTP base").len() == 1, "{seen:?}");
    let told = collector.text();
    assert!(told.contains("/v2/{name}/tags/list"), "what is told can be read");
    for secret in ["Secret", "idsecret", &token, &token[token.len() - 20..], "Basic ", "Bearer "] {
        assert!(!told.contains(secret), "{secret}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_of_the_requests_is_told_and_all_whose_client_says_so() {
    let collector = Collector::start().await;
    let mut program = Program::start(&collector.url(), &[("ORLOP_TRACES__SAMPLE", "1%")]);
    for _ in 0..200 {
        assert_eq!(program.request(Method::GET, "/v2/").send().await.expect("an answer").status(), 200);
    }
    let watched = program.request(Method::HEAD, "/v2/");
    let watched = watched.header("traceparent", format!("00-{TRACE}-{PARENT}-01"));
    assert_eq!(watched.send().await.expect("an answer").status(), 200);
    program.end();
    let seen = collector.seen();
    assert!(spans_of(&seen, "GET base").len() < 40, "{}", seen.len());
    assert_eq!(spans_of(&seen, "HEAD base").len(), 1);
}

/// More than the queue takes, so that what comes after it is dropped.
const MANY: usize = 4000;

/// A server whose collector does not take what it is sent answers as ever.
async fn goes_on_without(collector: &str) {
    let mut program = Program::start(collector, &[]);
    push(&program, "team/app", "1").await;
    let ask = async |count: usize| {
        for _ in 0..count {
            assert_eq!(program.request(Method::GET, "/v2/").send().await.expect("an answer").status(), 200);
        }
    };
    let at_once = MANY / 8;
    tokio::join!(ask(at_once), ask(at_once), ask(at_once), ask(at_once));
    tokio::join!(ask(at_once), ask(at_once), ask(at_once), ask(at_once));
    assert_eq!(status(program.request(Method::GET, "/v2/team/app/manifests/1")).await, 200);
    assert_eq!(status(program.request(Method::GET, "/readyz")).await, 200);
    program.log_until("the collector of traces does not take them").await;
    let ended = program.end();
    assert!(ended < Duration::from_secs(8), "{ended:?}");
    let log = program.log();
    assert_eq!(log.matches("does not take them").count(), 1, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_gone_changes_no_answer() {
    let place = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", place.local_addr().expect("an address"));
    drop(place);
    goes_on_without(&url).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_silent_changes_no_answer() {
    // Connections are made, and nobody ever reads from them.
    let place = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    goes_on_without(&format!("http://{}", place.local_addr().expect("an address"))).await;
}
