//! Obtains and renews TLS certificates from a certificate authority (ACME, RFC 8555).
//!
//! | file | what it does |
//! | --- | --- |
//! | `keep` | the background task that requests and renews the certificate |
//! | `pace` | when to renew, and when to retry |
//! | `suggestion` | when the authority suggests renewal (ARI) |
//! | `account` | loads or creates the ACME account |
//! | `order` | orders one certificate |
//! | `kept` | the files of the account and of the certificate with its key |
//! | `authority` | the HTTP client for the authority |
//! | `error` | errors, with messages of one line |
//!
//! The server's TLS watches the certificate file like one of the operator. A new certificate is used without a restart,
//! and running transfers continue.

mod account;
mod authority;
mod error;
mod keep;
mod kept;
mod order;
mod pace;
mod suggestion;

pub use error::AcmeError;
pub use keep::Acme;
pub use kept::Folder;

/// The settings of ACME.
#[derive(Clone)]
pub struct AcmeSettings {
    /// The DNS names of the certificate, in lower case.
    pub names: Vec<String>,
    /// The address of the authority's directory (RFC 8555, 7.1.1).
    pub directory: String,
    /// The contact address that is given to the authority.
    pub email: Option<String>,
    /// The operator's account at the authority, if the ACME account has to be bound to one.
    pub external: Option<External>,
}

/// An external account that the ACME account is bound to (RFC 8555, 7.3.4).
#[derive(Clone)]
pub struct External {
    /// The id of the key at the authority.
    pub id: String,
    /// The secret key.
    pub key: Vec<u8>,
}
