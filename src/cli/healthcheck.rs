//! `orlop healthcheck`: asks the server of the data directory whether a push would work, through its admin socket, and
//! then whether it answers at its port.
//!
//! The socket knows the address that the server really listens on, and whether with TLS, whatever flags it was given.
//! Where there is no socket, because the filesystem is read-only or has none, the server at the configured address is
//! asked; its answer counts only if it serves this data directory's store.

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

use super::table::write_out;
use super::{Failure, exit_code};
use crate::config::Config;
use crate::server::admin::{ApiClient, Status};
use crate::server::{runtime, store_tag};
use crate::store::FilesystemStore;

/// How long all of it may take: less than the container's health check waits.
const TIMEOUT: Duration = Duration::from_secs(4);

/// The most bytes that are read of an answer.
const MAX_ANSWER: u64 = 64 << 10;

pub(super) fn run(config: &Config) -> Result<ExitCode, Failure> {
    let runtime = runtime().map_err(|error| Failure::Other(format!("no threads: {error}")))?;
    let checked = runtime.block_on(async { tokio::time::timeout(TIMEOUT, check(config)).await });
    checked.map_err(|_| Failure::Other("the server does not answer".into()))??;
    write_out("ready\n");
    Ok(exit_code(true))
}

async fn check(config: &Config) -> Result<(), Failure> {
    let Some(status) = ask_socket(config).await? else {
        return check_without_socket(config).await;
    };
    if !status.readiness.ready {
        return Err(Failure::Other(status.readiness.problems.join("; ")));
    }
    let address = reachable(status.listen);
    match ask_port(address, status.tls).await {
        Ok(_) => Ok(()),
        // It wants a client's certificate, or has none of its own yet: it is there.
        Err(error) if status.tls && is_end_of_tls(&error) => Ok(()),
        Err(error) => Err(Failure::Other(format!("{address}: {error}"))),
    }
}

async fn ask_socket(config: &Config) -> Result<Option<Status>, Failure> {
    match ApiClient::connect(&config.storage.data).await? {
        Some(mut client) => Ok(Some(client.status().await?)),
        None => Ok(None),
    }
}

async fn check_without_socket(config: &Config) -> Result<(), Failure> {
    let data = config.storage.data.display();
    let none = || Failure::Other(format!("no server has the data directory {data}"));
    let store = FilesystemStore::identify(&config.storage.data);
    let store = store.map_err(|error| Failure::Other(error.to_string()))?.ok_or_else(none)?;
    let address = reachable(config.server.listen.0);
    let answer = ask_port(address, config.has_tls()).await.map_err(|error| {
        Failure::Other(format!(
            "no server has the data directory {data}, as far as can be seen: {address}: {error}"
        ))
    })?;
    if answer.store.as_deref() != Some(&*store_tag(store)) {
        return Err(Failure::Other(format!(
            "the server at {address} does not serve the data directory {data}"
        )));
    }
    match answer.reason {
        Some(reason) => Err(Failure::Other(reason)),
        None => Ok(()),
    }
}

/// An address of this machine for one that stands for all of them.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// What `/readyz` answers.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Answer {
    /// Which store the server has.
    store: Option<String>,
    /// Why it is not ready.
    reason: Option<String>,
}

/// Asks the server at `address` whether it is ready.
async fn ask_port(address: SocketAddr, tls: bool) -> std::io::Result<Answer> {
    let stream = TcpStream::connect(address).await?;
    if !tls {
        return ask(stream, address).await;
    }
    let connector = TlsConnector::from(Arc::new(any_certificate()?));
    ask(connector.connect(ServerName::from(address.ip()), stream).await?, address).await
}

async fn ask<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    address: SocketAddr,
) -> std::io::Result<Answer> {
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    match stream.take(MAX_ANSWER).read_to_end(&mut answer).await {
        // Without TLS's closing alert: what counts is whether the answer is whole.
        Err(error) if error.kind() != ErrorKind::UnexpectedEof || answer.is_empty() => return Err(error),
        _ => {}
    }
    let text = String::from_utf8_lossy(&answer);
    let body = text.split_once("\r\n\r\n").map(|(_, body)| body).filter(|_| text.starts_with("HTTP/1.1 "));
    let body = body.ok_or_else(|| std::io::Error::other("what answers does not speak HTTP"))?;
    // Another program's answer says nothing of a store.
    Ok(serde_json::from_str(body).unwrap_or_default())
}

/// Whether the other side ended TLS: with an alert, or without a word.
fn is_end_of_tls(error: &std::io::Error) -> bool {
    let inner = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    let is_alert = matches!(inner, Some(rustls::Error::AlertReceived(_)));
    is_alert || matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset)
}

/// TLS with a server whose certificate may be for any name: it is known by its socket or its store, and is sent
/// nothing secret.
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
    fn all_addresses_are_reached_by_the_loopback() {
        let reach = |text: &str| reachable(text.parse().expect("an address")).to_string();
        assert_eq!(reach("0.0.0.0:5000"), "127.0.0.1:5000");
        assert_eq!(reach("[::]:5000"), "[::1]:5000");
        assert_eq!(reach("10.0.0.7:80"), "10.0.0.7:80");
    }
}
