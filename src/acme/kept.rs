//! The files: the account, and the certificate with its key, for the server's user alone.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::AcmeError;
use crate::http::listen::Leaf;
use crate::store::durable;

/// What of an authority's address is in a file's name as it is.
const NAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'-').remove(b'_');

/// Nobody but the server's user reads them.
const MODE: u32 = 0o600;

/// Where what one authority gave is kept: none is shown what another knows.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

/// An account, as it is kept.
#[derive(Serialize, Deserialize)]
pub(super) struct KeptAccount {
    /// Whom the authority was told that it may write to.
    pub(super) email: Option<String>,
    /// [`instant_acme::AccountCredentials`], which can be used once.
    pub(super) credentials: Value,
}

/// A certificate, as it is kept.
#[derive(Debug)]
pub(super) struct KeptCertificate {
    pub(super) der: CertificateDer<'static>,
    pub(super) leaf: Leaf,
}

impl Folder {
    /// The folder of the authority whose directory has this address, in the folder of the facts.
    pub fn of(facts: &Path, directory: &str) -> Self {
        let name = directory.strip_prefix("https://").unwrap_or(directory);
        Self(facts.join("acme").join(utf8_percent_encode(name, NAME).to_string()))
    }

    /// The file of the certificate, its chain and its key, all in one, so that they are always each other's.
    pub fn certificate(&self) -> PathBuf {
        self.0.join("certificate.pem")
    }

    /// The file of the account.
    pub(super) fn account(&self) -> PathBuf {
        self.0.join("account.json")
    }

    /// The account that is kept, if there is one.
    pub(super) fn read_account(&self) -> Result<Option<KeptAccount>, AcmeError> {
        let path = self.account();
        let wrong = |error| AcmeError::File { path: path.clone(), error };
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|error| wrong(error.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(wrong(error)),
        }
    }

    pub(super) fn write_account(&self, account: &KeptAccount) -> Result<(), AcmeError> {
        let text = serde_json::to_vec(account).map_err(io::Error::from);
        let path = self.account();
        text.and_then(|text| self.write(&path, &text)).map_err(|error| AcmeError::File { path, error })
    }

    /// Forgets an account that the authority does not know any more.
    pub(super) fn forget_account(&self) -> Result<(), AcmeError> {
        let path = self.account();
        fs::remove_file(&path).map_err(|error| AcmeError::File { path, error })
    }

    /// The certificate that is kept, if there is one and its key is there.
    pub(super) fn read_certificate(&self) -> Option<KeptCertificate> {
        let text = fs::read(self.certificate()).ok()?;
        PrivateKeyDer::from_pem_slice(&text).ok()?;
        let der = CertificateDer::from_pem_slice(&text).ok()?;
        let leaf = Leaf::read(&der)?;
        Some(KeptCertificate { der, leaf })
    }

    /// Keeps what the authority gave for `names`, if it is good for them.
    pub(super) fn write_certificate(
        &self,
        chain: &str,
        key: &str,
        names: &[String],
    ) -> Result<Leaf, AcmeError> {
        let leaf = fit(chain, key, names).map_err(AcmeError::Unfit)?;
        let path = self.certificate();
        let text = format!("{}\n{key}", chain.trim_end());
        self.write(&path, text.as_bytes()).map_err(|error| AcmeError::File { path, error })?;
        Ok(leaf)
    }

    /// Sees whether something can be kept, before an authority that counts what it gives is asked for it.
    pub(super) fn probe(&self) -> Result<(), AcmeError> {
        let path = self.0.join("probe");
        let probed = self.write(&path, b"").and_then(|()| fs::remove_file(&path));
        probed.map_err(|error| AcmeError::File { path, error })
    }

    fn write(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        durable::create_dir_all(&self.0)?;
        durable::write(path, content, MODE)
    }
}

/// What a chain of certificates says, if it fits its key and is for `names`, which are in order.
fn fit(chain: &str, key: &str, names: &[String]) -> Result<Leaf, String> {
    let certificates = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|error| error.to_string())?;
    let first = certificates.first().ok_or("there is no certificate in it")?;
    let leaf = Leaf::read(first).ok_or("its certificate cannot be read")?;
    if leaf.names != names {
        return Err(format!("it is for {}, not for {}", leaf.names.join(", "), names.join(", ")));
    }
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| error.to_string())?;
    CertifiedKey::from_der(certificates, key, &aws_lc_rs::default_provider())
        .map_err(|error| error.to_string())?;
    Ok(leaf)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn pair(name: &str) -> (String, String) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("certificate");
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn authorities_have_folders_of_their_own() {
        let folder = |directory| Folder::of(Path::new("facts"), directory).0;
        assert_eq!(
            folder("https://acme-v02.api.letsencrypt.org/directory"),
            Path::new("facts/acme/acme-v02.api.letsencrypt.org%2Fdirectory")
        );
        assert_eq!(folder("https://ca.lan:9000/a/../b"), Path::new("facts/acme/ca.lan%3A9000%2Fa%2F..%2Fb"));
    }

    #[test]
    fn only_what_fits_is_kept_and_for_its_owner() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = Folder::of(dir.path(), "https://ca.lan/directory");
        let (names, (chain, key)) = (["a.example".to_owned()], pair("a.example"));
        assert!(folder.read_certificate().is_none());
        folder.probe().expect("writable");
        let refused = |chain: &str, key: &str, names: &[String]| {
            folder.write_certificate(chain, key, names).expect_err("unfit").to_string()
        };
        assert!(refused(&chain, &pair("a.example").1, &names).contains("cannot be used"));
        let message = refused(&chain, &key, &["b.example".to_owned()]);
        assert!(message.ends_with("it is for a.example, not for b.example"), "{message}");
        assert!(refused("", &key, &names).contains("no certificate"));
        assert!(folder.read_certificate().is_none());

        let leaf = folder.write_certificate(&chain, &key, &names).expect("fits");
        assert_eq!(folder.read_certificate().expect("kept").leaf, leaf);
        assert_eq!(fs::metadata(folder.certificate()).expect("there").mode() & 0o777, 0o600);
        let text = fs::read_to_string(folder.certificate()).expect("read");
        fs::write(folder.certificate(), &text[..text.len() / 2]).expect("written");
        assert!(folder.read_certificate().is_none(), "half of it is none");
    }
}
