//! A provider of OpenID Connect, as small as one can be: it tells of itself and of its keys, and signs.

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

/// Another claim than an honest token has.
pub type Change = fn(&mut Value);

/// What a provider signs with.
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

    /// Its public half, as a set has it.
    pub fn public(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.private, self.algorithm).expect("a public key");
        jwk.common.key_id = Some(self.id.clone());
        serde_json::to_value(jwk).expect("JSON")
    }

    pub fn sign(&self, claims: &Value) -> String {
        self.sign_with(claims, |_| {})
    }

    /// The same with another header.
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

/// A provider that listens on a port of its own.
pub struct Issuer {
    pub url: String,
    shared: Arc<Shared>,
}

struct Shared {
    url: String,
    keys: Mutex<Vec<Key>>,
    asked: AtomicUsize,
    away: Mutex<bool>,
    /// Whom a code is for, with what it is to be redeemed with: once.
    codes: Mutex<HashMap<String, Code>>,
    told: Mutex<Value>,
}

struct Code {
    token: String,
    /// What is told of the person besides what is signed.
    besides: Value,
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
            asked: AtomicUsize::default(),
            away: Mutex::default(),
            codes: Mutex::default(),
            told: Mutex::default(),
        });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/keys", get(keys_of))
            .route("/token", post(redeem))
            .route("/userinfo", get(userinfo))
            .with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await.expect("served") });
        Self { url, shared }
    }

    /// From now on this is its key.
    pub fn rotate(&self, key: Key) {
        *self.shared.keys.lock().expect("keys") = vec![key];
    }

    /// Lets somebody sign in who was sent to this address: the one where they go back to, with a code for their claims.
    pub fn signs_in(&self, address: &str, now: i64, change: impl FnOnce(&mut Value)) -> String {
        let address: url::Url = address.parse().expect("an address");
        assert!(address.as_str().starts_with(&format!("{}/authorize?", self.url)), "{address}");
        let asked: HashMap<String, String> = address.query_pairs().into_owned().collect();
        assert_eq!((&*asked["response_type"], &*asked["code_challenge_method"]), ("code", "S256"));
        assert!(asked["scope"].split(' ').any(|scope| scope == "openid"));
        let mut besides = Value::Null;
        let token = self.token(now, |claims| {
            claims["aud"] = json!(asked["client_id"]);
            claims["nonce"] = json!(asked["nonce"]);
            change(claims);
            besides = claims.as_object_mut().expect("claims").remove("besides").unwrap_or_default();
        });
        let code = format!("code-{}", self.shared.codes.lock().expect("codes").len());
        let redirect = asked["redirect_uri"].clone();
        let kept =
            Code { token, besides, challenge: asked["code_challenge"].clone(), redirect: redirect.clone() };
        self.shared.codes.lock().expect("codes").insert(code.clone(), kept);
        format!("{redirect}?code={code}&state={}", asked["state"])
    }

    /// How often it was asked for its keys.
    pub fn asked(&self) -> usize {
        self.shared.asked.load(SeqCst)
    }

    pub fn set_away(&self, away: bool) {
        *self.shared.away.lock().expect("away") = away;
    }

    /// A token with claims over those that each has, by the key that it has now.
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
    let Shared { url, away, .. } = &*shared;
    if *away.lock().expect("away") {
        return Err(StatusCode::SERVICE_UNAVAILABLE);
    }
    let at = |path: &str| format!("{url}{path}");
    let told = json!({
        "issuer": url, "jwks_uri": at("/keys"), "authorization_endpoint": at("/authorize"),
        "token_endpoint": at("/token"), "userinfo_endpoint": at("/userinfo"),
    });
    Ok(told.to_string())
}

async fn keys_of(State(shared): State<Arc<Shared>>) -> Result<String, StatusCode> {
    shared.asked.fetch_add(1, SeqCst);
    if *shared.away.lock().expect("away") {
        return Err(StatusCode::SERVICE_UNAVAILABLE);
    }
    let keys: Vec<_> = shared.keys.lock().expect("keys").iter().map(Key::public).collect();
    Ok(json!({ "keys": keys }).to_string())
}

/// The client is `orlop`, whose secret is `s3cret&more`.
async fn redeem(State(shared): State<Arc<Shared>>, request: Request) -> Result<String, StatusCode> {
    let shown = request.headers()["authorization"].to_str().expect("text").to_owned();
    let body = axum::body::to_bytes(request.into_body(), 1 << 16).await.expect("a form");
    let form: HashMap<String, String> = url::form_urlencoded::parse(&body).into_owned().collect();
    let expected = format!("Basic {}", STANDARD.encode("orlop:s3cret%26more"));
    let found = shared.codes.lock().expect("codes").remove(&form["code"]);
    let Code { token, besides, challenge, redirect } = found.ok_or(StatusCode::BAD_REQUEST)?;
    let verified = URL_SAFE_NO_PAD.encode(Sha256::digest(&form["code_verifier"])) == challenge;
    if shown != expected || !verified || form["redirect_uri"] != redirect {
        return Err(StatusCode::UNAUTHORIZED);
    }
    *shared.told.lock().expect("told") = besides;
    Ok(json!({ "id_token": token, "access_token": "x", "token_type": "Bearer" }).to_string())
}

/// Of whoever redeemed a code last.
async fn userinfo(State(shared): State<Arc<Shared>>, request: Request) -> Result<String, StatusCode> {
    let is_shown = request.headers().get("authorization").is_some_and(|shown| shown == "Bearer x");
    if is_shown { Ok(shared.told.lock().expect("told").to_string()) } else { Err(StatusCode::UNAUTHORIZED) }
}
