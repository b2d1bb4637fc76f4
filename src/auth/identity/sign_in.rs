//! How people sign in by a provider: the authorization code flow of OpenID Connect Core 1.0 (section 3.1), with a
//! verifier for the code (RFC 7636).

use std::sync::{Mutex, PoisonError};
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
    told: Mutex<Option<(Duration, Discovered)>>,
}

/// A provider's answer to a code.
#[derive(Deserialize)]
struct Redeemed {
    id_token: String,
}

impl SignIn {
    pub(super) fn new(settings: SignInSettings, issuer: Url, client: Client) -> Self {
        Self { settings, issuer, client, told: Mutex::default() }
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
    ) -> Result<String, KeysError> {
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
        let Redeemed { id_token } = serde_json::from_slice(&outbound::body(answer, MOST).await?)?;
        Ok(id_token)
    }

    async fn discovered(&self, clock: &dyn Clock) -> Result<Discovered, KeysError> {
        let now = clock.elapsed();
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, told)) = told.filter(|(at, _)| now.saturating_sub(*at) < FRESH) {
            return Ok(told);
        }
        let told = discover(&self.client, &self.issuer).await?;
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, told.clone()));
        Ok(told)
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
