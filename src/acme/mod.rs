//! Certificates that an authority gives by itself (ACME, RFC 8555).
//!
//! | file | what it does |
//! | --- | --- |
//! | `keep` | sees to it that there is a certificate, and a new one in time |
//! | `pace` | when to ask, and when to ask again |
//! | `suggestion` | when the authority itself wants that |
//! | `account` | who asks: a key that the authority knows |
//! | `order` | one certificate, from the question to the answer |
//! | `kept` | the files: the account, and the certificate with its key |
//! | `authority` | the way to the authority |
//! | `error` | what went wrong, in a line |
//!
//! The server's TLS follows the certificate's file as it follows an operator's: what is written here is in use without
//! a restart, and ends no transfer.

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

/// What is asked, and of whom.
#[derive(Clone)]
pub struct AcmeSettings {
    /// The DNS names that the certificate is to be for, in small letters.
    pub names: Vec<String>,
    /// The authority: where its directory is (RFC 8555, 7.1.1).
    pub directory: String,
    /// Whom the authority may write to.
    pub email: Option<String>,
    /// The account that the operator has with the authority apart from this.
    pub external: Option<External>,
}

/// An account apart, to which this one is bound (RFC 8555, 7.3.4).
#[derive(Clone)]
pub struct External {
    /// What the authority calls the key.
    pub id: String,
    /// The key.
    pub key: Vec<u8>,
}
