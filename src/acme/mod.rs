//! Obtains and renews TLS certificates from a certificate authority (ACME, RFC 8555).
//!
//! | file | what it does |
//! | --- | --- |
//! | `renewal` | the background task that requests and renews the certificate |
//! | `schedule` | decides when to renew, also by the time that the authority suggests (ARI), and when to retry |
//! | `order` | orders one certificate |
//! | `authority_folder` | the files of the account and of the certificate with its key |
//! | `authority` | the HTTP client for the authority, and the ACME account |
//! | `error` | errors |
//!
//! The TLS listener watches the certificate file, just as it watches a file that the operator provides. So
//! the listener starts to use a new certificate without a restart, and running transfers continue.

mod authority;
mod authority_folder;
mod error;
mod order;
mod renewal;
mod schedule;

pub use authority::{AcmeSettings, ExternalAccount};
pub use authority_folder::AuthorityFolder;
pub use error::AcmeError;
pub use renewal::CertificateRenewer;
