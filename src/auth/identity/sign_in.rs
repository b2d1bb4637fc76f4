//! How people sign in by a provider: the authorization code flow of OpenID Connect Core 1.0 (section 3.1), with a
//! verifier for the code (RFC 7636).

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Client;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use url::Url;

use super::discovery::{Discovered, discover};
use super::jwks::KeysError;
use super::provider::SignInSettings;
use super::signed::Claims;
use crate::clock::Clock;
use crate::outbound;

/// For how long what a provider tells of itself is taken for what it tells still.
const FRESH: Duration = Duration::from_secs(5 * 60);

/// How often it is asked at most while it does not answer.
const AGAIN: Duration = Duration::from_secs(10);

/// The most bytes of an answer.
const MOST: usize = 256 << 10;

/// What one sign-in is known by: secrets that nobody else has.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(in crate::auth) struct Attempt {
    /// What comes back with somebody whom the provider sends back.
    pub(in crate::auth) state: String,
    /// What the provider's word must contain.
    pub(in crate::auth) nonce: String,
    /// What the code is good for nothing without.
    pub(in crate::auth) verifier: String,
}

/// Where people sign in.
pub(super) struct SignIn {
    pub(super) settings: SignInSettings,
    issuer: Url,
    client: Client,
    /// What it told of itself last, or `None` where it could not be asked, and when that was.
    told: tokio::sync::Mutex<Option<(Duration, Option<Discovered>)>>,
}

/// A provider's answer to a code.
#[derive(Deserialize)]
pub(super) struct Redeemed {
    pub(super) id_token: String,
    access_token: Option<String>,
}

impl SignIn {
    pub(super) fn new(settings: SignInSettings, issuer: Url, client: Client) -> Self {
        Self { settings, issuer, client, told: tokio::sync::Mutex::default() }
    }

    /// Where somebody is sent who is to come back to `redirect`.
    pub(super) async fn address(
        &self,
        attempt: &Attempt,
        redirect: &str,
        clock: &dyn Clock,
    ) -> Result<Url, KeysError> {
        let mut address = ends(self.discovered(clock).await?)?.0;
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&attempt.verifier));
        address
            .query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.settings.client_id)
            .append_pair("redirect_uri", redirect)
            .append_pair("scope", &self.settings.scopes.join(" "))
            .append_pair("state", &attempt.state)
            .append_pair("nonce", &attempt.nonce)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        Ok(address)
    }

    /// What the provider signs for a code.
    pub(super) async fn redeem(
        &self,
        code: &str,
        attempt: &Attempt,
        redirect: &str,
        clock: &dyn Clock,
    ) -> Result<Redeemed, KeysError> {
        let address = ends(self.discovered(clock).await?)?.1;
        let id = &self.settings.client_id;
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect),
            ("code_verifier", &attempt.verifier),
        ];
        let request = self.client.post(address);
        let request = match &self.settings.client_secret {
            Some(secret) => request.basic_auth(encoded(id), Some(encoded(secret))),
            None => {
                form.push(("client_id", id));
                request
            }
        };
        let answer = request.form(&form).send().await.map_err(outbound::OutboundError::from)?;
        Ok(serde_json::from_slice(&outbound::body(answer, MOST).await?)?)
    }

    /// What the provider tells of somebody besides (Core 1.0, section 5.3): with some that are the name and the groups.
    /// What is signed counts more, and of somebody else nothing counts.
    pub(super) async fn add_told(&self, claims: &mut Claims, redeemed: &Redeemed, clock: &dyn Clock) {
        match self.told_besides(redeemed, clock).await {
            Ok(Some(told)) if told.get("sub") == claims.get("sub") => {
                for (name, value) in told {
                    claims.entry(name).or_insert(value);
                }
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "a provider does not tell more of somebody"),
        }
    }

    async fn told_besides(
        &self,
        redeemed: &Redeemed,
        clock: &dyn Clock,
    ) -> Result<Option<Claims>, KeysError> {
        let address = self.discovered(clock).await?.userinfo_endpoint;
        let Some((address, token)) = address.zip(redeemed.access_token.as_ref()) else { return Ok(None) };
        let answer = self.client.get(address).bearer_auth(token).send().await;
        let answer = answer.map_err(outbound::OutboundError::from)?;
        Ok(Some(serde_json::from_slice(&outbound::body(answer, MOST).await?)?))
    }

    async fn discovered(&self, clock: &dyn Clock) -> Result<Discovered, KeysError> {
        // One asks for all who wait.
        let mut last = self.told.lock().await;
        let now = clock.elapsed();
        let is_young = |at: Duration, span| now.saturating_sub(at) < span;
        match &*last {
            Some((at, Some(told))) if is_young(*at, FRESH) => return Ok(told.clone()),
            Some((at, None)) if is_young(*at, AGAIN) => {
                return Err(KeysError::Nonsense("it could not be asked a moment ago".into()));
            }
            _ => {}
        }
        let told = discover(&self.client, &self.issuer).await;
        *last = Some((clock.elapsed(), told.as_ref().ok().cloned()));
        told
    }
}

/// Where people are sent, and where codes are redeemed.
fn ends(told: Discovered) -> Result<(Url, Url), KeysError> {
    let both = told.authorization_endpoint.zip(told.token_endpoint);
    both.ok_or_else(|| KeysError::Nonsense("it tells of no place where people sign in".into()))
}

/// As OAuth 2.0 has it in a header (RFC 6749, section 2.3.1).
fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// Whether a provider's word is the answer to an attempt, for this client and no other (Core 1.0, section 3.1.3.7).
pub(super) fn answers(claims: &Claims, attempt: &Attempt, client_id: &str) -> bool {
    let is = |name: &str, value: &str| claims.get(name).and_then(Value::as_str) == Some(value);
    let others = claims.get("aud").and_then(Value::as_array).is_some_and(|audience| audience.len() > 1);
    let party = if others || claims.contains_key("azp") { is("azp", client_id) } else { true };
    party && is("nonce", &attempt.nonce)
}
