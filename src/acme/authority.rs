//! The authority: its settings, the HTTP client for requests to it, and the account there, which is a key that it
//! knows.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{RETRY_AFTER, USER_AGENT};
use http_body_util::{BodyExt, Full};
use instant_acme::{Account, BodyWrapper, BytesResponse, Error, ExternalAccountKey, HttpClient, NewAccount};
use parking_lot::Mutex;
use reqwest::{Client, Response};

use super::authority_folder::{AuthorityFolder, StoredAccount};
use super::error::AcmeError;
use crate::outbound;

/// The maximum size of a response body; a certificate chain has a few thousand bytes.
const MAX_RESPONSE_BYTES: usize = 1 << 20;

/// The ACME settings.
#[derive(Clone)]
pub struct AcmeSettings {
    /// The DNS names of the certificate, in lower case.
    pub names: Vec<String>,
    /// The address of the authority's directory (RFC 8555, 7.1.1).
    pub directory: String,
    /// The contact address that is given to the authority.
    pub email: Option<String>,
    /// The operator's account at the authority, if the ACME account has to be bound to one.
    pub external_account: Option<ExternalAccount>,
}

/// An external account that the ACME account is bound to (RFC 8555, 7.3.4).
#[derive(Clone)]
pub struct ExternalAccount {
    /// The id of the key at the authority.
    pub id: String,
    /// The secret key.
    pub key: Vec<u8>,
}

/// Sends requests to an authority with the client that all outbound requests use.
#[derive(Clone)]
pub(super) struct Authority {
    client: Client,
    retry_after: Arc<Mutex<Option<Duration>>>,
}

impl Authority {
    pub(super) fn new(client: Client) -> Self {
        Self { client, retry_after: Arc::default() }
    }

    /// The `Retry-After` of the last error response, if it had one.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        *self.retry_after.lock()
    }

    async fn send(self, request: http::Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, Error> {
        let other = |error: Box<dyn std::error::Error + Send + Sync>| Error::Other(error);
        let (mut parts, body) = request.into_parts();
        // The client sends the registry's own user agent instead of the library's.
        parts.headers.remove(USER_AGENT);
        let Ok(body) = body.collect().await;
        let request = reqwest::Request::try_from(http::Request::from_parts(parts, body.to_bytes()));
        let request = request.map_err(|error| other(error.into()))?;
        if !outbound::is_protected(request.url()) {
            return Err(other(format!("{} is not https", request.url()).into()));
        }
        let sent = self.client.execute(request).await.map_err(outbound::OutboundError::from);
        let response = sent.map_err(|error| other(error.into()))?;
        self.record_retry_after(&response);
        let mut result = http::Response::new(());
        *result.status_mut() = response.status();
        *result.headers_mut() = response.headers().clone();
        let body =
            outbound::content(response, MAX_RESPONSE_BYTES).await.map_err(|error| other(error.into()))?;
        Ok(BytesResponse::from(result.map(|()| Full::new(Bytes::from(body)))))
    }

    /// Remembers the `Retry-After` header of an error response (RFC 8555, 6.6).
    fn record_retry_after(&self, response: &Response) {
        if response.status().is_client_error() || response.status().is_server_error() {
            let seconds =
                response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            *self.retry_after.lock() = seconds.map(Duration::from_secs);
        }
    }
}

impl HttpClient for Authority {
    fn request(
        &self,
        request: http::Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        Box::pin(self.clone().send(request))
    }
}

/// Loads the stored account, or creates a new one (RFC 8555, 7.3).
pub(super) async fn load_or_create_account(
    settings: &AcmeSettings,
    folder: &AuthorityFolder,
    authority: Authority,
) -> Result<Account, AcmeError> {
    let contact = settings.email.as_ref().map(|email| format!("mailto:{email}"));
    let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
    let builder = Account::builder_with_http(Box::new(authority));
    if let Some(stored) = folder.read_account()? {
        let credentials = serde_json::from_value(stored.credentials.clone()).map_err(Error::from)?;
        let account = builder.from_credentials(credentials).await?;
        if stored.email != settings.email {
            account.update_contacts(&contact).await?;
            folder.write_account(&StoredAccount { email: settings.email.clone(), ..stored })?;
        }
        return Ok(account);
    }
    let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
    let external = settings.external_account.as_ref();
    let external = external.map(|external| ExternalAccountKey::new(external.id.clone(), &external.key));
    let (account, credentials) = builder.create(&new, settings.directory.clone(), external.as_ref()).await?;
    let credentials = serde_json::to_value(credentials).map_err(Error::from)?;
    folder.write_account(&StoredAccount { email: settings.email.clone(), credentials })?;
    tracing::info!(authority = settings.directory, "ACME account created");
    Ok(account)
}
