//! TLS, for Docker refuses plain HTTP beyond localhost.

use orlop::http::listen::load_tls;

use crate::kit::*;

#[tokio::test]
async fn both_versions_are_spoken_over_tls() {
    let dir = tempfile::tempdir().expect("folder");
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("certificate");
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).expect("written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    let tls = load_tls(&cert, &key).expect("usable");
    let server = Server::with(|setup| {
        setup.listen.tls = Some(tls);
        setup.files = true;
    })
    .await;

    let root = reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).expect("certificate");
    let client =
        || reqwest::Client::builder().tls_certs_only([root.clone()]).resolve("localhost", server.address);
    let url = format!("https://localhost:{}/v2/", server.address.port());
    let both = client().build().expect("client").get(&url).send().await.expect("answer");
    assert_eq!((both.status().as_u16(), both.version()), (200, reqwest::Version::HTTP_2));
    let old = client().http1_only().build().expect("client").get(&url).send().await.expect("answer");
    assert_eq!((old.status().as_u16(), old.version()), (200, reqwest::Version::HTTP_11));
    for client in [client(), client().http1_only()].map(|client| client.build().expect("client")) {
        let content = vec![7; 2 * 1024 * 1024];
        let post = client.post(format!("{url}a/blobs/uploads/?digest={}", digest(&content)));
        assert_eq!(post.body(content.clone()).send().await.expect("answer").status(), 201);
        let got = client.get(format!("{url}a/blobs/{}", digest(&content))).send().await.expect("answer");
        assert!(got.bytes().await.expect("body") == content);
    }
    // Plain HTTP on this port is no TLS, and harms nothing.
    assert!(server.get("/v2/").send().await.is_err());
    assert_eq!(client().build().expect("client").get(&url).send().await.expect("answer").status(), 200);
}
