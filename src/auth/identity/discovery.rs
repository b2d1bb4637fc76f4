//! Fetches the endpoints of a provider (OpenID Connect Discovery 1.0).

use reqwest::Client;
use serde::Deserialize;
use url::Url;

use super::jwks::KeysError;
use crate::outbound::{self, OutboundError};

/// The maximum size of a response body.
const MAX_RESPONSE_BYTES: usize = 256 << 10;

/// The metadata of a provider, as far as it is used here.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct ProviderMetadata {
    issuer: String,
    pub(super) jwks_uri: Url,
    pub(super) authorization_endpoint: Option<Url>,
    pub(super) token_endpoint: Option<Url>,
    pub(super) userinfo_endpoint: Option<Url>,
}

impl ProviderMetadata {
    /// An endpoint whose traffic others could read or change. Plain HTTP is only accepted on this machine, and only if
    /// the provider itself runs here.
    fn insecure_endpoint(&self, issuer: &Url) -> Option<&Url> {
        let others = [&self.authorization_endpoint, &self.token_endpoint, &self.userinfo_endpoint];
        let mut all = std::iter::once(&self.jwks_uri).chain(others.into_iter().flatten());
        let local = issuer.scheme() == "http";
        all.find(|url| !(url.scheme() == "https" || (local && outbound::is_private(url))))
    }
}

/// Fetches the metadata of the provider at this address. Fails if it names another issuer or an endpoint without HTTPS.
pub(super) async fn discover(client: &Client, issuer: &Url) -> Result<ProviderMetadata, KeysError> {
    let expected = issuer.as_str().trim_end_matches('/');
    let address = format!("{expected}/.well-known/openid-configuration");
    let address = address.parse().map_err(|error| KeysError::Invalid(format!("{address}: {error}")))?;
    let metadata: ProviderMetadata = serde_json::from_slice(&fetch(client, &address).await?)?;
    if metadata.issuer.trim_end_matches('/') != expected {
        let named: String = metadata.issuer.chars().take(100).collect();
        return Err(KeysError::Invalid(format!("{address} names another issuer, {named:?}")));
    }
    match metadata.insecure_endpoint(issuer) {
        Some(endpoint) => {
            Err(KeysError::Invalid(format!("{address} names the endpoint {endpoint}, which is not HTTPS")))
        }
        None => Ok(metadata),
    }
}

/// Fetches a resource.
pub(super) async fn fetch(client: &Client, url: &Url) -> Result<Vec<u8>, OutboundError> {
    outbound::body(client.get(url.clone()).send().await?, MAX_RESPONSE_BYTES).await
}
