//! TLS-ALPN-01 challenges (RFC 8737): what the authority that validates a name sees, and what other clients see
//! meanwhile. tests/e2e/acme.sh uses a real authority.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use orlop::http::listen::{Challenges, Tls, TlsFiles};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::kit::*;
use crate::tls::{Authority, Pair};

/// Accepts any certificate, as authorities do that validate a challenge.
#[derive(Debug)]
struct AcceptAny(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Connects with this server name and protocol. Returns the certificate, if the server then closes the connection
/// without sending data.
async fn challenge_certificate(server: &Server, name: &str, protocol: &str) -> io::Result<Vec<u8>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AcceptAny(provider)))
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let stream = TcpStream::connect(server.address).await?;
    let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    let (_, session) = stream.get_ref();
    assert_eq!(session.alpn_protocol(), Some(protocol.as_bytes()));
    let certificate = session.peer_certificates().expect("a certificate")[0].to_vec();
    match stream.read(&mut [0; 16]).await? {
        0 => Ok(certificate),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// A server that waits for its certificate in a file of this folder.
async fn serve(folder: &Path, client_ca: Option<PathBuf>) -> (Server, Arc<Challenges>) {
    let file = folder.join("certificate.pem");
    let challenges = Arc::new(Challenges::default());
    let files = TlsFiles { certificate: file.clone(), key: file, client_ca };
    let tls = Tls::open_or_pending(files, Arc::clone(&challenges)).expect("awaited");
    let server = Server::with(|setup| setup.listen.tls = Some(Arc::new(tls))).await;
    (server, challenges)
}

/// Challenges are answered even if other clients need a client certificate.
#[tokio::test]
async fn answers_active_challenges_only_by_their_protocol() {
    let dir = TempDir::new().expect("a folder");
    let client_ca = dir.path().join("clients.crt");
    fs::write(&client_ca, Authority::new().certificate).expect("written");
    let (server, challenges) = serve(dir.path(), Some(client_ca)).await;
    let certificate_for = async |name| challenge_certificate(&server, name, "acme-tls/1").await;
    assert!(certificate_for("a.example").await.is_err(), "no active challenge");
    let one = challenges.respond("a.example", &[7; 32]).expect("answered");
    let other = challenges.respond("B.example", &[8; 32]).expect("answered");
    for (name, number) in [("a.example", 7), ("b.example", 8)] {
        let certificate = certificate_for(name).await.expect("an answer");
        // The octet string of the extension (RFC 8737, 3).
        let digest = [&[4, 32][..], &[number; 32]].concat();
        assert!(certificate.windows(34).any(|window| window == digest), "{name}");
    }
    assert!(certificate_for("c.example").await.is_err(), "another name");
    assert!(challenge_certificate(&server, "a.example", "h2").await.is_err(), "another protocol");
    drop(one);
    assert!(certificate_for("a.example").await.is_err() && certificate_for("b.example").await.is_ok());
    drop(other);
    assert!(certificate_for("b.example").await.is_err());
}

#[tokio::test]
async fn uses_certificate_that_arrives_later() {
    let dir = TempDir::new().expect("a folder");
    let pair = Pair::new();
    let (server, challenges) = serve(dir.path(), None).await;
    assert!(!pair.is_used_by(&server).await);
    let file = dir.path().join("certificate.pem");
    fs::write(dir.path().join("draft"), pair.certificate.clone() + &pair.key).expect("written");
    fs::rename(dir.path().join("draft"), file).expect("renamed");
    pair.wait_until_used_by(&server).await;
    let _challenge = challenges.respond("localhost", &[7; 32]).expect("answered");
    assert!(pair.is_used_by(&server).await, "while the authority asks");
    assert!(challenge_certificate(&server, "localhost", "acme-tls/1").await.is_ok());
}
