//! Answers TLS-ALPN-01 challenges (RFC 8737), by which a certificate authority checks that a name belongs to
//! this server.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::ClientHello;
use rustls::sign::{CertifiedKey, SingleCertAndKey};

/// The ALPN protocol of such challenges (RFC 8737, 6.2).
const PROTOCOL: &[u8] = b"acme-tls/1";

/// The active challenges, each with a certificate of its own.
#[derive(Default)]
pub struct Challenges {
    answers: Mutex<HashMap<String, Arc<ServerConfig>>>,
}

impl fmt::Debug for Challenges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.answers.lock().keys()).finish()
    }
}

impl Challenges {
    /// Answers challenges for `name` with the digest of the key authorization (RFC 8737, 3), until the result
    /// is dropped.
    ///
    /// # Errors
    /// Fails if no certificate can be created for the name.
    pub fn respond(self: &Arc<Self>, name: &str, digest: &[u8; 32]) -> io::Result<ActiveChallenge> {
        let name = name.to_ascii_lowercase();
        let config = Arc::new(challenge_config(&name, digest).map_err(io::Error::other)?);
        self.answers.lock().insert(name.clone(), config);
        Ok(ActiveChallenge { challenges: Arc::clone(self), name })
    }

    /// Whether no challenge is active, so that handshakes need not be inspected.
    pub(super) fn is_idle(&self) -> bool {
        self.answers.lock().is_empty()
    }

    /// The configuration for a client that offers the challenge protocol and no other, if its challenge is
    /// active.
    pub(super) fn for_client(&self, hello: &ClientHello<'_>) -> Option<Arc<ServerConfig>> {
        let mut protocols = hello.alpn()?;
        let is_challenge = protocols.next() == Some(PROTOCOL) && protocols.next().is_none();
        let name = hello.server_name().filter(|_| is_challenge)?.to_ascii_lowercase();
        self.answers.lock().get(&name).cloned()
    }
}

/// A challenge that is answered until this is dropped.
#[derive(Debug)]
pub struct ActiveChallenge {
    challenges: Arc<Challenges>,
    name: String,
}

impl Drop for ActiveChallenge {
    fn drop(&mut self) {
        self.challenges.answers.lock().remove(&self.name);
    }
}

/// Builds the TLS configuration that presents the digest. It requests no client certificate and issues no
/// session tickets.
fn challenge_config(
    name: &str,
    digest: &[u8; 32],
) -> Result<ServerConfig, Box<dyn std::error::Error + Send + Sync>> {
    let mut params = CertificateParams::new([name.to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    let provider = aws_lc_rs::default_provider();
    let key = PrivateKeyDer::try_from(key.serialize_der())?;
    let key = provider.key_provider.load_private_key(key)?;
    // Not `with_single_cert`: it parses certificates and rejects this one's extension as unknown.
    let shown = CertifiedKey::new(vec![certificate.der().clone()], key);
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    config.send_tls13_tickets = 0;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenge_is_active_until_it_is_dropped() {
        let challenges = Arc::new(Challenges::default());
        assert!(challenges.is_idle());
        let challenge = challenges.respond("Registry.example", &[7; 32]).expect("made");
        assert_eq!(format!("{challenges:?}"), "{\"registry.example\"}");
        drop(challenge);
        assert!(challenges.is_idle());
        assert!(challenges.respond("naïve.example", &[7; 32]).is_err());
    }
}
