//! The authorization code flow of OpenID Connect Core 1.0 (section 3.1) with PKCE (RFC 7636), by which people sign in.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Client;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use url::Url;

use super::discovery::{MAX_RESPONSE_BYTES, ProviderMetadata, discover};
use super::jwks::KeysError;
use super::signed::Claims;
use crate::clock::Clock;
use crate::errors::Chain;
use crate::outbound;

/// How long the metadata of a provider is cached.
const METADATA_TTL: Duration = Duration::from_secs(5 * 60);

/// How long to wait after a failed request for the metadata.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// How people sign in through a provider.
#[derive(Clone, PartialEq, Eq)]
pub struct SignInSettings {
    /// The client id of this registry at the provider.
    pub client_id: String,
    /// The client secret of this registry.
    pub client_secret: Option<String>,
    /// The scopes to request.
    pub scopes: Vec<String>,
    /// The claim that becomes the user name.
    pub user_claim: String,
    /// How long the access token of a sign-in is valid.
    pub token_lifetime: Duration,
}

/// Omits the secret.
impl fmt::Debug for SignInSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client_id, scopes, user_claim, token_lifetime, .. } = self;
        f.debug_tuple("SignIn").field(&(client_id, scopes, user_claim, token_lifetime)).finish()
    }
}

/// The secrets of one sign-in.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(in crate::auth) struct Attempt {
    /// The parameter that the browser must bring back from the provider.
    pub(in crate::auth) state: String,
    /// The claim that the provider's token must contain.
    pub(in crate::auth) nonce: String,
    /// The PKCE verifier, without which the code can't be redeemed.
    pub(in crate::auth) verifier: String,
}

/// The client for sign-ins at one provider.
pub(super) struct SignIn {
    pub(super) settings: SignInSettings,
    issuer: Url,
    client: Client,
    /// When the metadata was last requested, and the metadata; the inner `None` if the request failed.
    metadata: tokio::sync::Mutex<Option<(Duration, Option<ProviderMetadata>)>>,
}

/// The response of the token endpoint.
#[derive(Deserialize)]
pub(super) struct TokenResponse {
    pub(super) id_token: String,
    access_token: Option<String>,
}

impl SignIn {
    pub(super) fn new(settings: SignInSettings, issuer: Url, client: Client) -> Self {
        Self { settings, issuer, client, metadata: tokio::sync::Mutex::default() }
    }

    /// The address to send a browser to; the provider sends it back to `redirect`.
    pub(super) async fn authorization_url(
        &self,
        attempt: &Attempt,
        redirect: &str,
        clock: &dyn Clock,
    ) -> Result<Url, KeysError> {
        let mut address = Endpoints::of(self.provider_metadata(clock).await?)?.authorization;
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

    /// Redeems a code at the token endpoint.
    pub(super) async fn redeem(
        &self,
        code: &str,
        attempt: &Attempt,
        redirect: &str,
        clock: &dyn Clock,
    ) -> Result<TokenResponse, KeysError> {
        let address = Endpoints::of(self.provider_metadata(clock).await?)?.token;
        let id = &self.settings.client_id;
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect),
            ("code_verifier", &attempt.verifier),
        ];
        let request = self.client.post(address);
        let request = match &self.settings.client_secret {
            Some(secret) => request.basic_auth(form_encode(id), Some(form_encode(secret))),
            None => {
                form.push(("client_id", id));
                request
            }
        };
        let response = request.form(&form).send().await.map_err(outbound::OutboundError::from)?;
        Ok(serde_json::from_slice(&outbound::body(response, MAX_RESPONSE_BYTES).await?)?)
    }

    /// Adds the claims of the UserInfo endpoint (Core 1.0, section 5.3), because some providers return the name and the
    /// groups only there. Signed claims take precedence, and claims of another subject are ignored.
    pub(super) async fn add_user_info(&self, claims: &mut Claims, tokens: &TokenResponse, clock: &dyn Clock) {
        match self.fetch_user_info(tokens, clock).await {
            Ok(Some(user_info)) if user_info.get("sub") == claims.get("sub") => {
                for (name, value) in user_info {
                    claims.entry(name).or_insert(value);
                }
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(error = %Chain(&error), "request to the UserInfo endpoint failed"),
        }
    }

    async fn fetch_user_info(
        &self,
        tokens: &TokenResponse,
        clock: &dyn Clock,
    ) -> Result<Option<Claims>, KeysError> {
        let address = self.provider_metadata(clock).await?.userinfo_endpoint;
        let Some((address, token)) = address.zip(tokens.access_token.as_ref()) else { return Ok(None) };
        let response = self.client.get(address).bearer_auth(token).send().await;
        let response = response.map_err(outbound::OutboundError::from)?;
        Ok(Some(serde_json::from_slice(&outbound::body(response, MAX_RESPONSE_BYTES).await?)?))
    }

    async fn provider_metadata(&self, clock: &dyn Clock) -> Result<ProviderMetadata, KeysError> {
        // The lock is held during the request, so that one request serves all that wait.
        let mut last = self.metadata.lock().await;
        let now = clock.elapsed();
        let is_recent = |at: Duration, span| now.saturating_sub(at) < span;
        match &*last {
            Some((at, Some(metadata))) if is_recent(*at, METADATA_TTL) => return Ok(metadata.clone()),
            Some((at, None)) if is_recent(*at, RETRY_INTERVAL) => {
                return Err(KeysError::Invalid("the last request failed a moment ago; retry later".into()));
            }
            _ => {}
        }
        let metadata = discover(&self.client, &self.issuer).await;
        *last = Some((clock.elapsed(), metadata.as_ref().ok().cloned()));
        metadata
    }
}

/// The endpoints that a sign-in needs.
struct Endpoints {
    /// Where people are sent.
    authorization: Url,
    /// Where codes are redeemed.
    token: Url,
}

impl Endpoints {
    fn of(metadata: ProviderMetadata) -> Result<Self, KeysError> {
        let both = metadata.authorization_endpoint.zip(metadata.token_endpoint);
        let (authorization, token) = both.ok_or_else(|| {
            KeysError::Invalid("the provider names no authorization endpoint or no token endpoint".into())
        })?;
        Ok(Self { authorization, token })
    }
}

/// Encodes a client id or secret for a header (RFC 6749, section 2.3.1).
fn form_encode(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// Whether a token was issued for this attempt, and for this client only (Core 1.0, section 3.1.3.7).
pub(super) fn is_for_attempt(claims: &Claims, attempt: &Attempt, client_id: &str) -> bool {
    let is = |name: &str, value: &str| claims.get(name).and_then(Value::as_str) == Some(value);
    let has_others = claims.get("aud").and_then(Value::as_array).is_some_and(|audience| audience.len() > 1);
    let is_authorized = if has_others || claims.contains_key("azp") { is("azp", client_id) } else { true };
    is_authorized && is("nonce", &attempt.nonce)
}
