//! What an authority asks of a server to see that a name is its own (TLS-ALPN-01, RFC 8737).

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::ClientHello;
use rustls::sign::{CertifiedKey, SingleCertAndKey};

/// The protocol that only such a question is asked by (RFC 8737, 6.2).
const PROTOCOL: &[u8] = b"acme-tls/1";

/// The questions that are answered now, each by a certificate of its own.
#[derive(Default)]
pub struct Challenges {
    answers: Mutex<HashMap<String, Arc<ServerConfig>>>,
}

impl fmt::Debug for Challenges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.answers().keys()).finish()
    }
}

impl Challenges {
    /// Answers for `name` with the digest of the key authorization (RFC 8737, 3), for as long as what this gives
    /// lives.
    ///
    /// # Errors
    /// No certificate can be made for the name.
    pub fn answer(self: &Arc<Self>, name: &str, digest: &[u8; 32]) -> io::Result<Answered> {
        let name = name.to_ascii_lowercase();
        let config = Arc::new(shows(&name, digest).map_err(io::Error::other)?);
        self.answers().insert(name.clone(), config);
        Ok(Answered { challenges: Arc::clone(self), name })
    }

    /// Whether nothing is asked now, and no client has to be looked at for it.
    pub(super) fn is_idle(&self) -> bool {
        self.answers().is_empty()
    }

    /// What to show a client that asks and does nothing else.
    pub(super) fn for_client(&self, hello: &ClientHello<'_>) -> Option<Arc<ServerConfig>> {
        let mut protocols = hello.alpn()?;
        let asks = protocols.next() == Some(PROTOCOL) && protocols.next().is_none();
        let name = hello.server_name().filter(|_| asks)?.to_ascii_lowercase();
        self.answers().get(&name).cloned()
    }

    fn answers(&self) -> MutexGuard<'_, HashMap<String, Arc<ServerConfig>>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A question that is answered as long as this lives.
#[derive(Debug)]
pub struct Answered {
    challenges: Arc<Challenges>,
    name: String,
}

impl Drop for Answered {
    fn drop(&mut self) {
        self.challenges.answers().remove(&self.name);
    }
}

/// A handshake that shows the digest, asks nobody for a certificate, and leads to nothing.
fn shows(name: &str, digest: &[u8; 32]) -> Result<ServerConfig, Box<dyn std::error::Error + Send + Sync>> {
    let mut params = CertificateParams::new([name.to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    let provider = aws_lc_rs::default_provider();
    let key = PrivateKeyDer::try_from(key.serialize_der())?;
    let key = provider.key_provider.load_private_key(key)?;
    // Not `with_single_cert`, which reads certificates, and refuses the extension that it does not know.
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
    fn a_question_is_answered_until_the_answer_is_dropped() {
        let challenges = Arc::new(Challenges::default());
        assert!(challenges.is_idle());
        let answered = challenges.answer("Registry.example", &[7; 32]).expect("made");
        assert_eq!(format!("{challenges:?}"), "{\"registry.example\"}");
        drop(answered);
        assert!(challenges.is_idle());
        assert!(challenges.answer("naïve.example", &[7; 32]).is_err());
    }
}
