//! HTTP client for requests to other servers, with limits on time and size and a check for encrypted transport.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Response, Url};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;

use crate::errors::{BoxError, Context};
use crate::text_file;

/// Timeout for a whole request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a request to another server failed.
#[derive(Debug, Error)]
pub enum OutboundError {
    /// The server was not reached or did not answer in time.
    #[error(transparent)]
    Unreachable(#[from] reqwest::Error),
    /// The server answered with an error status.
    #[error("{0} answered {1}")]
    Status(Url, u16),
    /// The response is longer than its limit.
    #[error("{0} answered more than {1} bytes")]
    TooLong(Url, usize),
}

/// Builds the TLS client configuration. It trusts this machine's certificate authorities, or Mozilla's if the machine
/// has none (as in a container built from scratch), plus the authorities in the PEM file `authorities`.
///
/// # Errors
/// Fails if the file cannot be read or holds no certificates.
pub fn tls(authorities: Option<&Path>) -> io::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    if let Some(path) = authorities {
        let named = |reason: BoxError| io::Error::other(Context::new(path.display(), reason));
        let pem = text_file::read_bytes(path).map_err(|error| named(error.into()))?;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        let certificates = certificates.map_err(|error| named(error.into()))?;
        if certificates.is_empty() {
            return Err(named("holds no certificates in PEM".into()));
        }
        for certificate in certificates {
            roots.add(certificate).map_err(|error| named(error.into()))?;
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// Builds an HTTP client that follows no redirects. It uses the proxy that the environment names (`HTTPS_PROXY`,
/// `NO_PROXY`).
///
/// # Errors
/// Fails if the file of authorities cannot be read or holds no certificates.
pub fn client(authorities: Option<&Path>) -> io::Result<Client> {
    Client::builder()
        .tls_backend_preconfigured(tls(authorities)?)
        .redirect(Policy::none())
        .timeout(REQUEST_TIMEOUT)
        .user_agent(concat!("orlop/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(io::Error::other)
}

/// Whether requests to `url` cannot be read or changed on the way: it uses `https` or is on this machine.
pub fn is_protected(url: &Url) -> bool {
    let loopback = |host: &str| {
        let ip = host.trim_matches(['[', ']']).parse::<IpAddr>();
        ip.map_or(host == "localhost", |ip| ip.is_loopback())
    };
    url.scheme() == "https" || (url.scheme() == "http" && url.host_str().is_some_and(loopback))
}

/// Reads the body of a successful response of at most `max_size` bytes.
///
/// # Errors
/// Fails for an error status, a longer body, or a broken connection.
pub async fn body(response: Response, max_size: usize) -> Result<Vec<u8>, OutboundError> {
    if !response.status().is_success() {
        return Err(OutboundError::Status(response.url().clone(), response.status().as_u16()));
    }
    content(response, max_size).await
}

/// Reads the body of a response with any status, of at most `max_size` bytes.
///
/// # Errors
/// Fails for a longer body or a broken connection.
pub async fn content(mut response: Response, max_size: usize) -> Result<Vec<u8>, OutboundError> {
    let url = response.url().clone();
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await? {
        if body.len() + piece.len() > max_size {
            return Err(OutboundError::TooLong(url, max_size));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errors::Chain;

    #[test]
    fn only_https_and_loopback_are_protected() {
        let protected = |url: &str| is_protected(&url.parse().expect("an address"));
        for url in
            ["https://id.example.com/x", "http://localhost:8080", "http://127.0.0.1", "http://[::1]:1/"]
        {
            assert!(protected(url), "{url}");
        }
        for url in
            ["http://id.example.com", "http://10.0.0.1", "ftp://localhost", "http://localhost.example.com"]
        {
            assert!(!protected(url), "{url}");
        }
    }

    #[test]
    fn rejects_files_without_certificates() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("ca.pem");
        assert!(tls(Some(&file)).expect_err("gone").to_string().contains("ca.pem"));
        std::fs::write(&file, "nothing").expect("written");
        let empty = tls(Some(&file)).expect_err("empty");
        assert!(Chain(&empty).to_string().contains("ca.pem: holds no certificates"));
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("certificate");
        std::fs::write(&file, made.cert.pem()).expect("written");
        assert!(tls(Some(&file)).is_ok() && client(None).is_ok());
    }
}
