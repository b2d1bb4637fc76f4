//! Tests of the security headers for browsers.

use crate::kit::*;

#[tokio::test]
async fn every_response_has_security_headers() {
    for strict in [false, true] {
        let server = Server::with(|setup| setup.http.strict_transport = strict).await;
        let page = b"<script>alert(1)</script>";
        let blob = server.push("app", page).await;
        let (_, manifest) = server.push_image("app", "1", b"layer").await;
        for (path, status) in [
            (format!("/v2/app/blobs/{blob}"), 200),
            (format!("/v2/app/blobs/{}", digest(b"none")), 404),
            (format!("/v2/app/manifests/{manifest}"), 200),
            ("/v2/".into(), 200),
            ("/v2/Not/A/Name/tags/list".into(), 400),
            ("/api/v1/repositories".into(), 200),
            ("/auth/token".into(), 200),
            ("/livez".into(), 200),
            ("/metrics".into(), 200),
            ("/nothing".into(), 404),
        ] {
            let response = server.get(&path).send().await.expect("answer");
            assert_eq!(response.status(), status, "{path}");
            let header = |name| text(response.headers(), name);
            assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
            let policy = "default-src 'none'; frame-ancestors 'none'; sandbox";
            assert_eq!(header("content-security-policy"), policy, "{path}");
            assert_eq!(header("strict-transport-security"), if strict { "max-age=31536000" } else { "" });
        }
        let part = server.get(&format!("/v2/app/blobs/{blob}")).header("range", "bytes=0-3");
        let part = part.send().await.expect("answer");
        assert_eq!(
            (part.status().as_u16(), text(part.headers(), "x-content-type-options")),
            (206, "nosniff".into())
        );
    }
}
