//! Who somebody says they are who was not let in: for the audit log, and never for a decision.

use super::access_control::AccessControl;
use super::credentials::Credentials;
use super::secret;

/// Who somebody says they are, without what they show for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claimed {
    /// The user's name.
    pub user: Option<String>,
    /// The id of an access token.
    pub token: Option<String>,
}

impl Claimed {
    /// By a form with a user's name, and with a password or a token.
    pub fn by(user: Option<&str>, shown: Option<&str>) -> Self {
        let user = user.filter(|user| !user.is_empty()).map(Into::into);
        Self { user, token: shown.and_then(|shown| id(shown.as_bytes())) }
    }
}

impl AccessControl {
    /// Who the value of an `Authorization` header says it is from. `None` where that is nobody, or where it has a token
    /// that we issue for a few minutes: with one that has ended clients come all the time, and get another.
    pub fn claimed(credentials: Option<&[u8]>) -> Option<Claimed> {
        match credentials.map_or(Credentials::Nobody, Credentials::of) {
            Credentials::Nobody => None,
            Credentials::Password(name, password) => Some(Claimed { user: Some(name), token: id(&password) }),
            Credentials::Token(token) => id(token).map(|id| Claimed { user: None, token: Some(id) }),
            Credentials::Nonsense => Some(Claimed::default()),
        }
    }
}

/// The id of an access token, if it looks like one of ours.
fn id(token: &[u8]) -> Option<String> {
    secret::id(token)
        .filter(|id| id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .map(Into::into)
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    #[test]
    fn a_claim_has_no_secret() {
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
