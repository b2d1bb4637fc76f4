//! A minimal OpenID Connect provider for tests: it serves its metadata and keys, and signs tokens.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use axum::Router;
use axum::extract::{Request, State};
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::StatusCode;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;

/// A change of the claims of a valid token.
pub type Change = fn(&mut Value);

/// A signing key.
#[derive(Clone)]
pub struct Key {
    id: String,
    pub algorithm: Algorithm,
    pub private: EncodingKey,
}

impl Key {
    pub fn rsa(id: &str) -> Self {
        let pair = KeyPair::generate(KeySize::Rsa2048).expect("a key");
        let pkcs8: Pkcs8V1Der<'_> = pair.as_der().expect("PKCS #8");
        let pem = pem("PRIVATE KEY", pkcs8.as_ref());
        let private = EncodingKey::from_rsa_pem(pem.as_bytes()).expect("a key");
        Self { id: id.into(), algorithm: Algorithm::RS256, private }
    }

    pub fn ec(id: &str) -> Self {
        let pair = rcgen::KeyPair::generate().expect("a key");
        let private = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).expect("a key");
        Self { id: id.into(), algorithm: Algorithm::ES256, private }
    }

    /// The public key as a member of a JSON Web Key Set.
    pub fn public(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.private, self.algorithm).expect("a public key");
        jwk.common.key_id = Some(self.id.clone());
        serde_json::to_value(jwk).expect("JSON")
    }

    pub fn sign(&self, claims: &Value) -> String {
        self.sign_with(claims, |_| {})
    }

    /// Signs with a changed header.
    pub fn sign_with(&self, claims: &Value, change: impl FnOnce(&mut Header)) -> String {
        let mut header = Header { kid: Some(self.id.clone()), ..Header::new(self.algorithm) };
        change(&mut header);
        encode(&header, claims, &self.private).expect("signed")
    }
}

fn pem(kind: &str, content: &[u8]) -> String {
    let content = STANDARD.encode(content);
    format!("-----BEGIN {kind}-----\n{content}\n-----END {kind}-----\n")
}

/// A provider that listens on its own port.
pub struct Issuer {
    pub url: String,
    shared: Arc<Shared>,
}

struct Shared {
    url: String,
    keys: Mutex<Vec<Key>>,
    key_requests: AtomicUsize,
    is_unavailable: Mutex<bool>,
    /// Codes that were not redeemed yet; each can be redeemed once.
    codes: Mutex<HashMap<String, Code>>,
    /// The response of the UserInfo endpoint.
    user_info: Mutex<Value>,
}

struct Code {
    token: String,
    /// The claims that only the UserInfo endpoint returns.
    user_info: Value,
    challenge: String,
    redirect: String,
}

impl Issuer {
    pub async fn start(key: Key) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let keys = Mutex::new(vec![key]);
        let shared = Arc::new(Shared {
            url: url.clone(),
            keys,
            key_requests: AtomicUsize::default(),
            is_unavailable: Mutex::default(),
            codes: Mutex::default(),
            user_info: Mutex::default(),
        });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/keys", get(serve_keys))
            .route("/token", post(redeem))
            .route("/userinfo", get(userinfo))
            .with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await.expect("served") });
        Self { url, shared }
    }

    /// Replaces the key.
    pub fn rotate(&self, key: Key) {
        *self.shared.keys.lock().expect("keys") = vec![key];
    }

    /// Signs in a person whose browser was sent to this address. Returns the address that the provider redirects to,
    /// with a code for the changed claims. The claim `besides` becomes the UserInfo response.
    pub fn sign_in(&self, address: &str, now: i64, change: impl FnOnce(&mut Value)) -> String {
        let address: url::Url = address.parse().expect("an address");
        assert!(address.as_str().starts_with(&format!("{}/authorize?", self.url)), "{address}");
        let query: HashMap<String, String> = address.query_pairs().into_owned().collect();
        assert_eq!((&*query["response_type"], &*query["code_challenge_method"]), ("code", "S256"));
        assert!(query["scope"].split(' ').any(|scope| scope == "openid"));
        let mut user_info = Value::Null;
        let token = self.token(now, |claims| {
            claims["aud"] = json!(query["client_id"]);
            claims["nonce"] = json!(query["nonce"]);
            change(claims);
            user_info = claims.as_object_mut().expect("claims").remove("besides").unwrap_or_default();
        });
        let code = format!("code-{}", self.shared.codes.lock().expect("codes").len());
        let redirect = query["redirect_uri"].clone();
        let issued =
            Code { token, user_info, challenge: query["code_challenge"].clone(), redirect: redirect.clone() };
        self.shared.codes.lock().expect("codes").insert(code.clone(), issued);
        format!("{redirect}?code={code}&state={}", query["state"])
    }

    /// How often the keys were requested.
    pub fn key_requests(&self) -> usize {
        self.shared.key_requests.load(SeqCst)
    }

    pub fn set_unavailable(&self, is_unavailable: bool) {
        *self.shared.is_unavailable.lock().expect("a flag") = is_unavailable;
    }

    /// A token with changed claims, signed with the current key.
    pub fn token(&self, now: i64, change: impl FnOnce(&mut Value)) -> String {
        let key = self.shared.keys.lock().expect("keys")[0].clone();
        key.sign(&self.claims(now, change))
    }

    pub fn claims(&self, now: i64, change: impl FnOnce(&mut Value)) -> Value {
        let mut claims = json!({
            "iss": self.url, "aud": "registry", "sub": "repo:acme/app:ref:refs/heads/main",
            "iat": now, "nbf": now, "exp": now + 300, "repository": "acme/app", "ref": "refs/heads/main",
        });
        change(&mut claims);
        claims
    }
}

async fn discovery(State(shared): State<Arc<Shared>>) -> Result<String, StatusCode> {
    let Shared { url, is_unavailable, .. } = &*shared;
    if *is_unavailable.lock().expect("a flag") {
        return Err(StatusCode::SERVICE_UNAVAILABLE);
    }
    let at = |path: &str| format!("{url}{path}");
    let metadata = json!({
        "issuer": url, "jwks_uri": at("/keys"), "authorization_endpoint": at("/authorize"),
        "token_endpoint": at("/token"), "userinfo_endpoint": at("/userinfo"),
    });
    Ok(metadata.to_string())
}

async fn serve_keys(State(shared): State<Arc<Shared>>) -> Result<String, StatusCode> {
    shared.key_requests.fetch_add(1, SeqCst);
    if *shared.is_unavailable.lock().expect("a flag") {
        return Err(StatusCode::SERVICE_UNAVAILABLE);
    }
    let keys: Vec<_> = shared.keys.lock().expect("keys").iter().map(Key::public).collect();
    Ok(json!({ "keys": keys }).to_string())
}

/// The client is `orlop`, whose secret is `s3cret&more`.
async fn redeem(State(shared): State<Arc<Shared>>, request: Request) -> Result<String, StatusCode> {
    let authorization = request.headers()["authorization"].to_str().expect("text").to_owned();
    let body = axum::body::to_bytes(request.into_body(), 1 << 16).await.expect("a form");
    let form: HashMap<String, String> = url::form_urlencoded::parse(&body).into_owned().collect();
    let expected = format!("Basic {}", STANDARD.encode("orlop:s3cret%26more"));
    let found = shared.codes.lock().expect("codes").remove(&form["code"]);
    let Code { token, user_info, challenge, redirect } = found.ok_or(StatusCode::BAD_REQUEST)?;
    let is_verified = URL_SAFE_NO_PAD.encode(Sha256::digest(&form["code_verifier"])) == challenge;
    if authorization != expected || !is_verified || form["redirect_uri"] != redirect {
        return Err(StatusCode::UNAUTHORIZED);
    }
    *shared.user_info.lock().expect("claims") = user_info;
    Ok(json!({ "id_token": token, "access_token": "x", "token_type": "Bearer" }).to_string())
}

/// Returns the claims of the person whose code was redeemed last.
async fn userinfo(State(shared): State<Arc<Shared>>, request: Request) -> Result<String, StatusCode> {
    let authorization = request.headers().get("authorization");
    if authorization.is_some_and(|value| value == "Bearer x") {
        Ok(shared.user_info.lock().expect("claims").to_string())
    } else {
        Err(StatusCode::UNAUTHORIZED)
    }
}
