//! `orlop healthcheck`: asks the server of the data directory through its admin socket whether a push would work, and
//! then whether the server answers at its port.
//!
//! The admin socket knows the address that the server really listens at, and whether it uses TLS, whatever flags it was
//! started with. If there is no socket, because the filesystem is read-only or has none, the check asks the server at
//! the configured address. Its response counts only if it serves this data directory's store.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::failure::{Failure, exit_code};
use super::terminal::write_out;
use crate::config::Config;
use crate::scheduling::request_runtime;
use crate::server::admin::{ApiClient, Status};
use crate::server::store_fingerprint;
use crate::store::FilesystemStore;

/// Timeout of the whole check: shorter than that of the container's health check.
const CHECK_TIMEOUT: Duration = Duration::from_secs(4);

/// Maximum bytes of a response that are read.
const MAX_RESPONSE: u64 = 64 << 10;

pub(super) fn run(config: &Config) -> Result<ExitCode, Failure> {
    let runtime = request_runtime().map_err(|error| Failure::of("cannot start threads", error))?;
    let checked = runtime.block_on(async { tokio::time::timeout(CHECK_TIMEOUT, check(config)).await });
    checked.map_err(|_| Failure::Other("the server does not answer".into()))??;
    write_out("ready\n");
    Ok(exit_code(true))
}

async fn check(config: &Config) -> Result<(), Failure> {
    let Some(status) = query_socket(config).await? else {
        return check_without_socket(config).await;
    };
    if !status.readiness.ready {
        return Err(Failure::Other(status.readiness.problems.join("; ").into()));
    }
    let address = reachable(status.listen);
    match query_port(address, status.tls).await {
        Ok(_) => Ok(()),
        // The server requires a client certificate, or has no certificate of its own yet: it is running.
        Err(error) if status.tls && is_end_of_tls(&error) => Ok(()),
        Err(error) => Err(Failure::of(address, error)),
    }
}

async fn query_socket(config: &Config) -> Result<Option<Status>, Failure> {
    match ApiClient::connect(&config.storage.data).await? {
        Some(mut client) => Ok(Some(client.status().await?)),
        None => Ok(None),
    }
}

async fn check_without_socket(config: &Config) -> Result<(), Failure> {
    let data = config.storage.data.display();
    let none = || Failure::Other(format!("no server uses the data directory {data}").into());
    let store = FilesystemStore::identify(&config.storage.data);
    let store = store.map_err(|error| Failure::Other(error.into()))?.ok_or_else(none)?;
    let address = reachable(config.server.listen.0);
    let response = query_port(address, config.has_tls()).await.map_err(|error| {
        Failure::of(format!("no server seems to use the data directory {data}: {address}"), error)
    })?;
    if response.store.as_deref() != Some(&*store_fingerprint(store)) {
        return Err(Failure::Other(
            format!("the server at {address} does not serve the data directory {data}").into(),
        ));
    }
    match response.reason {
        Some(reason) => Err(Failure::Other(reason.into())),
        None => Ok(()),
    }
}

/// Replaces an unspecified address by the loopback address.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// The response of `/readyz`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ReadinessResponse {
    /// The store that the server serves.
    store: Option<String>,
    /// Why the server is not ready.
    reason: Option<String>,
}

/// Asks the server at `address` whether it is ready.
async fn query_port(address: SocketAddr, tls: bool) -> std::io::Result<ReadinessResponse> {
    let stream = TcpStream::connect(address).await?;
    if !tls {
        return query(stream, address).await;
    }
    let connector = TlsConnector::from(Arc::new(any_certificate()?));
    query(connector.connect(ServerName::from(address.ip()), stream).await?, address).await
}

async fn query<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    address: SocketAddr,
) -> std::io::Result<ReadinessResponse> {
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut response = Vec::new();
    match stream.take(MAX_RESPONSE).read_to_end(&mut response).await {
        // The server may close without a TLS alert; only a complete response matters.
        Err(error) if error.kind() != ErrorKind::UnexpectedEof || response.is_empty() => return Err(error),
        _ => {}
    }
    let text = String::from_utf8_lossy(&response);
    let body = text.split_once("\r\n\r\n").map(|(_, body)| body).filter(|_| text.starts_with("HTTP/1.1 "));
    let body = body.ok_or_else(|| std::io::Error::other("the response is not HTTP"))?;
    // The response of another program names no store.
    Ok(serde_json::from_str(body).unwrap_or_default())
}

/// Whether the server ended TLS, with an alert or by closing the connection.
fn is_end_of_tls(error: &std::io::Error) -> bool {
    let inner = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    let is_alert = matches!(inner, Some(rustls::Error::AlertReceived(_)));
    is_alert || matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset)
}

/// Builds a TLS client that accepts any certificate. The server is identified by its socket or its store, and nothing
/// secret is sent to it.
fn any_certificate() -> std::io::Result<ClientConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().map_err(std::io::Error::other)?;
    let verifier = Arc::new(AnyCertificate(provider));
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unspecified_address_becomes_loopback() {
        let reach = |text: &str| reachable(text.parse().expect("an address")).to_string();
        assert_eq!(reach("0.0.0.0:5000"), "127.0.0.1:5000");
        assert_eq!(reach("[::]:5000"), "[::1]:5000");
        assert_eq!(reach("10.0.0.7:80"), "10.0.0.7:80");
    }
}
