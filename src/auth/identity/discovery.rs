//! What a provider tells of itself (OpenID Connect Discovery 1.0).

use reqwest::Client;
use serde::Deserialize;
use url::Url;

use super::jwks::KeysError;
use crate::outbound::{self, OutboundError};

/// The most bytes of an answer.
const MOST: usize = 256 << 10;

/// What a provider tells of itself, as far as it matters here.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Discovered {
    issuer: String,
    pub(super) jwks_uri: Url,
    pub(super) authorization_endpoint: Option<Url>,
    pub(super) token_endpoint: Option<Url>,
}

impl Discovered {
    /// An address where somebody on the way could change the answer, or read what is shown there.
    fn open_address(&self) -> Option<&Url> {
        let all = [Some(&self.jwks_uri), self.authorization_endpoint.as_ref(), self.token_endpoint.as_ref()];
        all.into_iter().flatten().find(|url| !outbound::is_private(url))
    }
}

/// What the provider at an address tells of itself.
///
/// # Errors
/// It is not reached, or tells something else, or sends to where somebody on the way could change the answer.
pub(super) async fn discover(client: &Client, issuer: &Url) -> Result<Discovered, KeysError> {
    let named = issuer.as_str().trim_end_matches('/');
    let address = format!("{named}/.well-known/openid-configuration");
    let address = address.parse().map_err(|error| KeysError::Nonsense(format!("{address}: {error}")))?;
    let told: Discovered = serde_json::from_slice(&body(client, &address).await?)?;
    if told.issuer.trim_end_matches('/') != named {
        return Err(KeysError::Nonsense(format!("{address} tells of another issuer, {}", told.issuer)));
    }
    match told.open_address() {
        Some(open) => Err(KeysError::Nonsense(format!("{address} sends to {open}, which is not HTTPS"))),
        None => Ok(told),
    }
}

/// What is at an address.
///
/// # Errors
/// [`OutboundError`].
pub(super) async fn body(client: &Client, url: &Url) -> Result<Vec<u8>, OutboundError> {
    outbound::body(client.get(url.clone()).send().await?, MOST).await
}
