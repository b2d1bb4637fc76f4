//! Marks for the browsers of anonymous visitors, to which the CSRF tokens of their forms are bound. A mark is signed, so
//! that no other server on the same host can choose it.

use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::access_control::AccessControl;
use super::secret;
use crate::clock::Timestamp;

/// The audience of signed marks.
const AUDIENCE: &str = "orlop-visitor";

/// The claims of a mark.
#[derive(Serialize, Deserialize)]
struct Mark {
    nonce: String,
}

impl AccessControl {
    /// Creates a mark that is valid for `lifetime`.
    ///
    /// # Errors
    /// Fails if the system has no random numbers.
    pub fn visitor_mark(&self, lifetime: Duration, now: Timestamp) -> io::Result<String> {
        let mark = Mark { nonce: secret::generate_nonce()? };
        Ok(self.tokens().sign(AUDIENCE, String::new(), mark, lifetime, now)?.text)
    }

    /// Whether `text` is a mark of this server that has not expired.
    pub fn is_visitor_mark(&self, text: &str, now: Timestamp) -> bool {
        self.tokens().verify_payload::<Mark>(AUDIENCE, text.as_bytes(), now).is_some()
    }
}
