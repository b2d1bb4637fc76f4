//! Requests that this registry makes itself, to others' servers: bounded in time and size, and private on the way.

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

use crate::text_file;

/// How long others may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why another server gave no answer that is good for anything.
#[derive(Debug, Error)]
pub enum OutboundError {
    /// It was not reached, or did not answer in time.
    #[error("{}", whole(.0))]
    Unreachable(#[from] reqwest::Error),
    /// It answered that something is wrong.
    #[error("{0} answered {1}")]
    Status(Url, u16),
    /// It answered more than that is looked at.
    #[error("{0} answered more than {1} bytes")]
    Long(Url, usize),
}

/// An error with what it came of, which reqwest leaves out.
fn whole(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// The client's side of TLS: it trusts the authorities of this machine, those that Mozilla trusts where the machine has
/// none (a container from scratch), and those of a PEM file.
///
/// # Errors
/// The file cannot be read, or holds no certificates.
pub fn tls(authorities: Option<&Path>) -> io::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    if let Some(path) = authorities {
        let named = |reason: String| io::Error::other(format!("{}: {reason}", path.display()));
        let pem = text_file::read_bytes(path).map_err(|error| named(error.to_string()))?;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        let certificates = certificates.map_err(|error| named(error.to_string()))?;
        if certificates.is_empty() {
            return Err(named("holds no certificates in PEM".to_owned()));
        }
        for certificate in certificates {
            roots.add(certificate).map_err(|error| named(error.to_string()))?;
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// A client that follows nobody elsewhere. It goes by the proxy that the environment names (`HTTPS_PROXY`, `NO_PROXY`).
///
/// # Errors
/// The authorities' file cannot be read, or holds no certificates.
pub fn client(authorities: Option<&Path>) -> io::Result<Client> {
    Client::builder()
        .tls_backend_preconfigured(tls(authorities)?)
        .redirect(Policy::none())
        .timeout(TIMEOUT)
        .user_agent(concat!("orlop/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(io::Error::other)
}

/// Whether nobody on the way can read or change what goes to an address: it is `https`, or on this machine.
pub fn is_private(url: &Url) -> bool {
    let loopback = |host: &str| {
        let ip = host.trim_matches(['[', ']']).parse::<IpAddr>();
        ip.map_or(host == "localhost", |ip| ip.is_loopback())
    };
    url.scheme() == "https" || (url.scheme() == "http" && url.host_str().is_some_and(loopback))
}

/// The body of an answer that says that all is well, if it is not longer than `most` bytes.
///
/// # Errors
/// [`OutboundError`].
pub async fn body(response: Response, most: usize) -> Result<Vec<u8>, OutboundError> {
    if !response.status().is_success() {
        return Err(OutboundError::Status(response.url().clone(), response.status().as_u16()));
    }
    content(response, most).await
}

/// The body of any answer, if it is not longer than `most` bytes.
///
/// # Errors
/// [`OutboundError`], but none for what the answer says.
pub async fn content(mut response: Response, most: usize) -> Result<Vec<u8>, OutboundError> {
    let url = response.url().clone();
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await? {
        if body.len() + piece.len() > most {
            return Err(OutboundError::Long(url, most));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_read_on_the_way_is_not_private() {
        let private = |url: &str| is_private(&url.parse().expect("an address"));
        for url in
            ["https://id.example.com/x", "http://localhost:8080", "http://127.0.0.1", "http://[::1]:1/"]
        {
            assert!(private(url), "{url}");
        }
        for url in
            ["http://id.example.com", "http://10.0.0.1", "ftp://localhost", "http://localhost.example.com"]
        {
            assert!(!private(url), "{url}");
        }
    }

    #[test]
    fn authorities_that_are_none_are_told() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("ca.pem");
        assert!(tls(Some(&file)).expect_err("gone").to_string().contains("ca.pem"));
        std::fs::write(&file, "nothing").expect("written");
        assert!(tls(Some(&file)).expect_err("empty").to_string().contains("ca.pem: holds no certificates"));
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("certificate");
        std::fs::write(&file, made.cert.pem()).expect("written");
        assert!(tls(Some(&file)).is_ok() && client(None).is_ok());
    }
}
