//! The identity that rejected credentials claim to have. It is recorded in the audit log and never used for a decision.

use super::access_control::AccessControl;
use super::credentials::Credentials;
use super::secret;

/// A claimed identity, without the secret that came with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClaimedIdentity {
    /// The user name.
    pub user: Option<String>,
    /// The id of an access token.
    pub token: Option<String>,
}

impl ClaimedIdentity {
    /// The identity claimed by a form that contains a user name, and a password or token.
    pub fn from_form(user: Option<&str>, secret: Option<&str>) -> Self {
        let user = user.filter(|user| !user.is_empty()).map(Into::into);
        Self { user, token: secret.and_then(|secret| access_token_id(secret.as_bytes())) }
    }
}

impl AccessControl {
    /// The identity claimed by the value of an `Authorization` header. `None` for anonymous requests, and for bearer
    /// tokens, which clients routinely send after they have expired.
    pub fn claimed_identity(credentials: Option<&[u8]>) -> Option<ClaimedIdentity> {
        match credentials.map_or(Credentials::Anonymous, Credentials::parse) {
            Credentials::Anonymous => None,
            Credentials::Password(name, password) => {
                Some(ClaimedIdentity { user: Some(name), token: access_token_id(&password) })
            }
            Credentials::Token(token) => {
                access_token_id(token).map(|id| ClaimedIdentity { user: None, token: Some(id) })
            }
            Credentials::Invalid => Some(ClaimedIdentity::default()),
        }
    }
}

/// The id of an access token, if the text looks like an access token of this registry.
fn access_token_id(token: &[u8]) -> Option<String> {
    secret::token_id(token)
        .filter(|id| id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .map(Into::into)
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    #[test]
    fn claimed_identity_contains_no_secret() {
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        let claimed = |header: &str| AccessControl::claimed_identity(Some(header.as_bytes()));
        let identity = |user: Option<&str>, token: Option<&str>| {
            Some(ClaimedIdentity { user: user.map(Into::into), token: token.map(Into::into) })
        };
        assert_eq!(claimed(&basic("ann:hunter2")), identity(Some("ann"), None));
        assert_eq!(
            claimed(&basic("ann:orlop_0123456789ab_secret")),
            identity(Some("ann"), Some("0123456789ab"))
        );
        assert_eq!(claimed("Bearer orlop_0123456789ab_secret"), identity(None, Some("0123456789ab")));
        assert_eq!(claimed("Bearer orlop_secret_"), None);
        assert_eq!(claimed("Bearer a.b.c"), None);
        assert_eq!(claimed("Digest secret"), identity(None, None));
        assert_eq!(AccessControl::claimed_identity(None), None);
    }
}
