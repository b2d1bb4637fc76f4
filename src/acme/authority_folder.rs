//! Stores the ACME account, and the certificate with its key, in files that only the server's user can read.

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
use crate::errors::BoxError;
use crate::http::listen::Leaf;
use crate::store::durable;

/// The characters of an authority's address that are escaped in a file name.
const ESCAPED_CHARS: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'-').remove(b'_');

/// The permissions of the files: only the server's user may read and write them.
const FILE_MODE: u32 = 0o600;

/// The folder of one authority's files. Each authority has its own folder, so that no authority is sent data that
/// belongs to another.
#[derive(Debug, Clone)]
pub struct AuthorityFolder(PathBuf);

/// The stored form of an account.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredAccount {
    /// The contact address that was given to the authority.
    pub(super) email: Option<String>,
    /// [`instant_acme::AccountCredentials`] as JSON, because that type can't be cloned.
    pub(super) credentials: Value,
}

/// The stored certificate.
#[derive(Debug)]
pub(super) struct StoredCertificate {
    pub(super) der: CertificateDer<'static>,
    pub(super) leaf: Leaf,
}

impl AuthorityFolder {
    /// The folder (below the metadata folder) for the authority whose ACME directory has this address.
    pub fn of(metadata_dir: &Path, directory: &str) -> Self {
        let name = directory.strip_prefix("https://").unwrap_or(directory);
        Self(metadata_dir.join("acme").join(utf8_percent_encode(name, ESCAPED_CHARS).to_string()))
    }

    /// The file that holds the certificate, its chain and its key. It is a single file, so that they always match.
    pub fn certificate_path(&self) -> PathBuf {
        self.0.join("certificate.pem")
    }

    pub(super) fn account_path(&self) -> PathBuf {
        self.0.join("account.json")
    }

    /// Reads the stored account, if there is one.
    pub(super) fn read_account(&self) -> Result<Option<StoredAccount>, AcmeError> {
        let path = self.account_path();
        let file_error = |error| AcmeError::File { path: path.clone(), error };
        let text = durable::read(&path).map_err(file_error)?;
        let account = text.map(|text| serde_json::from_slice(&text)).transpose();
        account.map_err(|error| file_error(error.into()))
    }

    pub(super) fn write_account(&self, account: &StoredAccount) -> Result<(), AcmeError> {
        let text = serde_json::to_vec(account).map_err(io::Error::from);
        let path = self.account_path();
        text.and_then(|text| self.write(&path, &text)).map_err(|error| AcmeError::File { path, error })
    }

    /// Deletes an account that the authority no longer knows.
    pub(super) fn delete_account(&self) -> Result<(), AcmeError> {
        let path = self.account_path();
        fs::remove_file(&path).map_err(|error| AcmeError::File { path, error })
    }

    /// Reads the stored certificate, if it is complete and has its key.
    pub(super) fn read_certificate(&self) -> Option<StoredCertificate> {
        let text = fs::read(self.certificate_path()).ok()?;
        PrivateKeyDer::from_pem_slice(&text).ok()?;
        let der = CertificateDer::from_pem_slice(&text).ok()?;
        let leaf = Leaf::read(&der)?;
        Some(StoredCertificate { der, leaf })
    }

    /// Stores an issued certificate, if it is valid for `names`.
    pub(super) fn write_certificate(
        &self,
        chain: &str,
        key: &str,
        names: &[String],
    ) -> Result<Leaf, AcmeError> {
        let leaf = validate(chain, key, names).map_err(AcmeError::UnusableCertificate)?;
        let path = self.certificate_path();
        let text = format!("{}\n{key}", chain.trim_end());
        self.write(&path, text.as_bytes()).map_err(|error| AcmeError::File { path, error })?;
        Ok(leaf)
    }

    /// Checks that the folder is writable. Call it before requesting a certificate, because authorities limit requests.
    pub(super) fn check_writable(&self) -> Result<(), AcmeError> {
        let path = self.0.join("probe");
        let written = self.write(&path, b"").and_then(|()| fs::remove_file(&path));
        written.map_err(|error| AcmeError::File { path, error })
    }

    fn write(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        durable::create_dir_all(&self.0)?;
        durable::write(path, content, FILE_MODE)
    }
}

/// Checks that a certificate chain belongs to its key and is for `names`, which must be sorted.
fn validate(chain: &str, key: &str, names: &[String]) -> Result<Leaf, BoxError> {
    let certificates = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<Vec<_>, _>>()?;
    let first = certificates.first().ok_or("it contains no certificate")?;
    let leaf = Leaf::read(first).ok_or("its certificate cannot be read")?;
    if leaf.names != names {
        return Err(format!("it is for {}, not for {}", leaf.names.join(", "), names.join(", ")).into());
    }
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())?;
    CertifiedKey::from_der(certificates, key, &aws_lc_rs::default_provider())?;
    Ok(leaf)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::errors::Chain;

    fn certificate_and_key(name: &str) -> (String, String) {
        let generated = rcgen::generate_simple_self_signed([name.to_owned()]).expect("certificate");
        (generated.cert.pem(), generated.signing_key.serialize_pem())
    }

    #[test]
    fn authorities_have_separate_folders() {
        let folder = |directory| AuthorityFolder::of(Path::new("metadata"), directory).0;
        assert_eq!(
            folder("https://acme-v02.api.letsencrypt.org/directory"),
            Path::new("metadata/acme/acme-v02.api.letsencrypt.org%2Fdirectory")
        );
        assert_eq!(
            folder("https://ca.lan:9000/a/../b"),
            Path::new("metadata/acme/ca.lan%3A9000%2Fa%2F..%2Fb")
        );
    }

    #[test]
    fn stores_only_valid_certificates_and_only_owner_can_read_them() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = AuthorityFolder::of(dir.path(), "https://ca.lan/directory");
        let names = ["a.example".to_owned()];
        let (chain, key) = certificate_and_key("a.example");
        assert!(folder.read_certificate().is_none());
        folder.check_writable().expect("writable");
        let rejection = |chain: &str, key: &str, names: &[String]| {
            Chain(&folder.write_certificate(chain, key, names).expect_err("rejected")).to_string()
        };
        assert!(rejection(&chain, &certificate_and_key("a.example").1, &names).contains("cannot be used"));
        let message = rejection(&chain, &key, &["b.example".to_owned()]);
        assert!(message.ends_with("it is for a.example, not for b.example"), "{message}");
        assert!(rejection("", &key, &names).contains("no certificate"));
        assert!(folder.read_certificate().is_none());

        let leaf = folder.write_certificate(&chain, &key, &names).expect("accepted");
        assert_eq!(folder.read_certificate().expect("stored").leaf, leaf);
        assert_eq!(fs::metadata(folder.certificate_path()).expect("there").mode() & 0o777, 0o600);
        let text = fs::read_to_string(folder.certificate_path()).expect("read");
        fs::write(folder.certificate_path(), &text[..text.len() / 2]).expect("written");
        assert!(folder.read_certificate().is_none(), "half a file is no certificate");
    }
}
