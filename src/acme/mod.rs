//! Obtains and renews TLS certificates from a certificate authority (ACME, RFC 8555).
//!
//! | file | what it does |
//! | --- | --- |
//! | `renewal` | the background task that requests and renews the certificate |
//! | `schedule` | decides when to renew and when to retry |
//! | `renewal_info` | the renewal time that the authority suggests (ARI) |
//! | `account` | loads or creates the ACME account |
//! | `order` | orders one certificate |
//! | `authority_folder` | the files of the account and of the certificate with its key |
//! | `authority` | the HTTP client for the authority |
//! | `error` | errors |
//!
//! The TLS listener watches the certificate file, just as it watches a file that the operator provides. So
//! the listener starts to use a new certificate without a restart, and running transfers continue.

mod account;
mod authority;
mod authority_folder;
mod error;
mod order;
mod renewal;
mod renewal_info;
mod schedule;

pub use authority_folder::AuthorityFolder;
pub use error::AcmeError;
pub use renewal::CertificateRenewer;

/// The ACME settings.
#[derive(Clone)]
pub struct AcmeSettings {
    /// The DNS names of the certificate, in lower case.
    pub names: Vec<String>,
    /// The address of the authority's directory (RFC 8555, 7.1.1).
    pub directory: String,
    /// The contact address that is given to the authority.
    pub email: Option<String>,
    /// The operator's account at the authority, if the ACME account has to be bound to one.
    pub external_account: Option<ExternalAccount>,
}

/// An external account that the ACME account is bound to (RFC 8555, 7.3.4).
#[derive(Clone)]
pub struct ExternalAccount {
    /// The id of the key at the authority.
    pub id: String,
    /// The secret key.
    pub key: Vec<u8>,
}
