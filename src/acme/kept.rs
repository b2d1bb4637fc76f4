//! The files of the ACME account and of the certificate with its key, readable only by the server's user.

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

/// The characters of an authority's address that are escaped in a file name.
const ESCAPED_CHARS: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'-').remove(b'_');

/// Only the server's user may read and write the files.
const FILE_MODE: u32 = 0o600;

/// The folder of one authority's files. Authorities have separate folders, so that none receives the data of another.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

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

impl Folder {
    /// The folder, below the metadata folder, of the authority whose directory has this address.
    pub fn of(metadata_dir: &Path, directory: &str) -> Self {
        let name = directory.strip_prefix("https://").unwrap_or(directory);
        Self(metadata_dir.join("acme").join(utf8_percent_encode(name, ESCAPED_CHARS).to_string()))
    }

    /// The file of the certificate, its chain and its key. A single file, so that they always belong together.
    pub fn certificate(&self) -> PathBuf {
        self.0.join("certificate.pem")
    }

    pub(super) fn account(&self) -> PathBuf {
        self.0.join("account.json")
    }

    /// Reads the stored account, if there is one.
    pub(super) fn read_account(&self) -> Result<Option<StoredAccount>, AcmeError> {
        let path = self.account();
        let file_error = |error| AcmeError::File { path: path.clone(), error };
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|error| file_error(error.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(file_error(error)),
        }
    }

    pub(super) fn write_account(&self, account: &StoredAccount) -> Result<(), AcmeError> {
        let text = serde_json::to_vec(account).map_err(io::Error::from);
        let path = self.account();
        text.and_then(|text| self.write(&path, &text)).map_err(|error| AcmeError::File { path, error })
    }

    /// Deletes an account that the authority no longer knows.
    pub(super) fn delete_account(&self) -> Result<(), AcmeError> {
        let path = self.account();
        fs::remove_file(&path).map_err(|error| AcmeError::File { path, error })
    }

    /// Reads the stored certificate, if it is complete and has its key.
    pub(super) fn read_certificate(&self) -> Option<StoredCertificate> {
        let text = fs::read(self.certificate()).ok()?;
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
        let path = self.certificate();
        let text = format!("{}\n{key}", chain.trim_end());
        self.write(&path, text.as_bytes()).map_err(|error| AcmeError::File { path, error })?;
        Ok(leaf)
    }

    /// Checks that the folder is writable. Done before a certificate is requested, because authorities limit requests.
    pub(super) fn probe(&self) -> Result<(), AcmeError> {
        let path = self.0.join("probe");
        let probed = self.write(&path, b"").and_then(|()| fs::remove_file(&path));
        probed.map_err(|error| AcmeError::File { path, error })
    }

    fn write(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        durable::create_dir_all(&self.0)?;
        durable::write(path, content, FILE_MODE)
    }
}

/// Checks that a certificate chain belongs to its key and is for `names`, which must be sorted.
fn validate(chain: &str, key: &str, names: &[String]) -> Result<Leaf, String> {
    let certificates = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|error| error.to_string())?;
    let first = certificates.first().ok_or("it contains no certificate")?;
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
    fn authorities_have_separate_folders() {
        let folder = |directory| Folder::of(Path::new("metadata"), directory).0;
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
    fn stores_only_valid_certificates_and_only_for_owner() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = Folder::of(dir.path(), "https://ca.lan/directory");
        let names = ["a.example".to_owned()];
        let (chain, key) = pair("a.example");
        assert!(folder.read_certificate().is_none());
        folder.probe().expect("writable");
        let rejection = |chain: &str, key: &str, names: &[String]| {
            folder.write_certificate(chain, key, names).expect_err("unfit").to_string()
        };
        assert!(rejection(&chain, &pair("a.example").1, &names).contains("cannot be used"));
        let message = rejection(&chain, &key, &["b.example".to_owned()]);
        assert!(message.ends_with("it is for a.example, not for b.example"), "{message}");
        assert!(rejection("", &key, &names).contains("no certificate"));
        assert!(folder.read_certificate().is_none());

        let leaf = folder.write_certificate(&chain, &key, &names).expect("fits");
        assert_eq!(folder.read_certificate().expect("kept").leaf, leaf);
        assert_eq!(fs::metadata(folder.certificate()).expect("there").mode() & 0o777, 0o600);
        let text = fs::read_to_string(folder.certificate()).expect("read");
        fs::write(folder.certificate(), &text[..text.len() / 2]).expect("written");
        assert!(folder.read_certificate().is_none(), "half a file is no certificate");
    }
}
