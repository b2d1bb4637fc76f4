//! Checks of JSON Web Signatures (RFC 7515) that the library leaves to its caller.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

/// The maximum length of a token; longer ones are rejected.
pub(super) const MAX_TOKEN_LEN: usize = 16 << 10;

/// Whether a text could be a signed token.
#[expect(clippy::naive_bytecount, reason = "a token is too short for a crate that counts faster")]
pub(super) fn looks_signed(text: &[u8]) -> bool {
    text.starts_with(b"eyJ")
        && text.len() <= MAX_TOKEN_LEN
        && text.iter().filter(|byte| **byte == b'.').count() == 2
        && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

/// Whether a token's header names critical parameters (`crit`), which a verifier has to understand (RFC 7515, section
/// 4.1.11). This registry supports no extension, so such a token must be rejected. Also `true` if the header is
/// invalid.
pub(super) fn has_critical_parameters(token: &[u8]) -> bool {
    let header = token.split(|byte| *byte == b'.').next().unwrap_or_default();
    let header = URL_SAFE_NO_PAD.decode(header).ok();
    let header = header.and_then(|header| serde_json::from_slice::<Map<String, Value>>(&header).ok());
    header.is_none_or(|header| header.contains_key("crit"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_critical_parameters() {
        let token = |header: &str| format!("{}.e30.c2ln", URL_SAFE_NO_PAD.encode(header));
        for header in [r#"{"alg":"EdDSA"}"#, r#"{"alg":"EdDSA","criteria":["exp"]}"#] {
            assert!(!has_critical_parameters(token(header).as_bytes()), "{header}");
        }
        let critical = [r#"["exp"]"#, r#"["b64"]"#, "[]", "null", "\"exp\"", "{}"];
        for crit in critical {
            let header = format!(r#"{{"alg":"EdDSA","crit":{crit}}}"#);
            assert!(has_critical_parameters(token(&header).as_bytes()), "{header}");
        }
        for token in ["", "e30", "!.e30.c2ln", "e.e30.c2ln"] {
            assert_eq!(has_critical_parameters(token.as_bytes()), token != "e30", "{token}");
        }
    }
}
