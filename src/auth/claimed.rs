//! The identity that rejected credentials claim. It is recorded in the audit log and never used for a decision.

use super::access_control::AccessControl;
use super::credentials::Credentials;
use super::secret;

/// A claimed identity, without the secret that came with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claimed {
    /// The user name.
    pub user: Option<String>,
    /// The id of an access token.
    pub token: Option<String>,
}

impl Claimed {
    /// The identity claimed by a form with a user name and with a password or a token.
    pub fn by(user: Option<&str>, secret: Option<&str>) -> Self {
        let user = user.filter(|user| !user.is_empty()).map(Into::into);
        Self { user, token: secret.and_then(|secret| access_token_id(secret.as_bytes())) }
    }
}

impl AccessControl {
    /// The identity claimed by the value of an `Authorization` header. `None` for anonymous requests and for bearer
    /// tokens: clients routinely send expired ones, and then get a new one.
    pub fn claimed(credentials: Option<&[u8]>) -> Option<Claimed> {
        match credentials.map_or(Credentials::Anonymous, Credentials::parse) {
            Credentials::Anonymous => None,
            Credentials::Password(name, password) => {
                Some(Claimed { user: Some(name), token: access_token_id(&password) })
            }
            Credentials::Token(token) => {
                access_token_id(token).map(|id| Claimed { user: None, token: Some(id) })
            }
            Credentials::Invalid => Some(Claimed::default()),
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
    fn claim_contains_no_secret() {
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        let claimed = |header: &str| AccessControl::claimed(Some(header.as_bytes()));
        let of = |user: Option<&str>, token: Option<&str>| {
            Some(Claimed { user: user.map(Into::into), token: token.map(Into::into) })
        };
        assert_eq!(claimed(&basic("ann:hunter2")), of(Some("ann"), None));
        assert_eq!(claimed(&basic("ann:orlop_0123456789ab_secret")), of(Some("ann"), Some("0123456789ab")));
        assert_eq!(claimed("Bearer orlop_0123456789ab_secret"), of(None, Some("0123456789ab")));
        assert_eq!(claimed("Bearer orlop_secret_"), None);
        assert_eq!(claimed("Bearer a.b.c"), None);
        assert_eq!(claimed("Digest secret"), of(None, None));
        assert_eq!(AccessControl::claimed(None), None);
    }
}
