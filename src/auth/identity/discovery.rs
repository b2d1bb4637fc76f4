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
    pub(super) userinfo_endpoint: Option<Url>,
}

impl Discovered {
    /// An address where somebody on the way could change the answer, or read what is shown there. A provider elsewhere
    /// sends nobody to this machine.
    fn open_address(&self, issuer: &Url) -> Option<&Url> {
        let others = [&self.authorization_endpoint, &self.token_endpoint, &self.userinfo_endpoint];
        let mut all = std::iter::once(&self.jwks_uri).chain(others.into_iter().flatten());
        let local = issuer.scheme() == "http";
        all.find(|url| !(url.scheme() == "https" || (local && outbound::is_private(url))))
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
        let other: String = told.issuer.chars().take(100).collect();
        return Err(KeysError::Nonsense(format!("{address} tells of another issuer, {other:?}")));
    }
    match told.open_address(issuer) {
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
