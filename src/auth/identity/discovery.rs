//! Fetches the endpoints of a provider (OpenID Connect Discovery 1.0).

use reqwest::Client;
use serde::Deserialize;
use url::Url;

use super::jwks::KeysError;
use crate::errors::Context;
use crate::outbound::{self, OutboundError};

/// The maximum size of a response body of a provider.
pub(super) const MAX_RESPONSE_BYTES: usize = 256 << 10;

/// The part of a provider's metadata that is used here.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct ProviderMetadata {
    issuer: String,
    pub(super) jwks_uri: Url,
    pub(super) authorization_endpoint: Option<Url>,
    pub(super) token_endpoint: Option<Url>,
    pub(super) userinfo_endpoint: Option<Url>,
}

impl ProviderMetadata {
    /// Finds an endpoint that is not protected by TLS. Plain HTTP is accepted only for this machine, and only if the
    /// issuer itself uses HTTP.
    fn find_insecure_endpoint(&self, issuer: &Url) -> Option<&Url> {
        let optional = [&self.authorization_endpoint, &self.token_endpoint, &self.userinfo_endpoint];
        let mut endpoints = std::iter::once(&self.jwks_uri).chain(optional.into_iter().flatten());
        let allows_http = issuer.scheme() == "http";
        endpoints.find(|url| !(url.scheme() == "https" || (allows_http && outbound::is_protected(url))))
    }
}

/// Fetches the metadata of the provider at this address. Fails if it names another issuer or an insecure endpoint.
pub(super) async fn discover(client: &Client, issuer: &Url) -> Result<ProviderMetadata, KeysError> {
    let expected_issuer = issuer.as_str().trim_end_matches('/');
    let address = format!("{expected_issuer}/.well-known/openid-configuration");
    let invalid = |error: url::ParseError| KeysError::Invalid(Context::new(&address, error).into());
    let address = address.parse().map_err(invalid)?;
    let metadata: ProviderMetadata = serde_json::from_slice(&fetch(client, &address).await?)?;
    if metadata.issuer.trim_end_matches('/') != expected_issuer {
        let named: String = metadata.issuer.chars().take(100).collect();
        return Err(KeysError::Invalid(format!("{address} names another issuer, {named:?}").into()));
    }
    match metadata.find_insecure_endpoint(issuer) {
        Some(endpoint) => {
            let message = format!("{address} names the endpoint {endpoint}, which is not HTTPS");
            Err(KeysError::Invalid(message.into()))
        }
        None => Ok(metadata),
    }
}

/// Fetches the body of a URL, up to [`MAX_RESPONSE_BYTES`].
pub(super) async fn fetch(client: &Client, url: &Url) -> Result<Vec<u8>, OutboundError> {
    outbound::body(client.get(url.clone()).send().await?, MAX_RESPONSE_BYTES).await
}
