//! Parses the credentials of an `Authorization` header (RFC 7617, RFC 6750).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::jws::looks_signed;

/// The maximum length of a password in bytes; bcrypt itself only considers 72.
pub(super) const MAX_PASSWORD_LEN: usize = 1024;

/// Whether this is too long for a password. Signed tokens of providers, which come in place of a password, are longer.
pub(super) fn is_too_long(password: &[u8]) -> bool {
    password.len() > MAX_PASSWORD_LEN && !looks_signed(password)
}

/// The credentials of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Credentials<'a> {
    /// A user name with a password, or with an access token in its place.
    Password(String, Vec<u8>),
    /// A token alone.
    Token(&'a [u8]),
    /// An empty user name with an empty password, which some clients send when they have no credentials.
    Anonymous,
    /// Anything else.
    Invalid,
}

impl<'a> Credentials<'a> {
    pub(super) fn parse(header: &'a [u8]) -> Self {
        match header.split_at_checked(7) {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"Bearer ") => {
                Self::Token(token.trim_ascii())
            }
            _ if header.eq_ignore_ascii_case(b"Basic Og==") => Self::Anonymous,
            _ => parse_basic(header).map_or(Self::Invalid, |(name, password)| Self::Password(name, password)),
        }
    }
}

/// The user name and password of a Basic `Authorization` header.
fn parse_basic(header: &[u8]) -> Option<(String, Vec<u8>)> {
    let (scheme, encoded) = header.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"Basic ") {
        return None;
    }
    let decoded = STANDARD.decode(encoded.trim_ascii()).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let name = String::from_utf8(decoded[..colon].to_vec()).ok()?;
    let password = decoded[colon + 1..].to_vec();
    (!name.is_empty() && !is_too_long(&password)).then_some((name, password))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_credentials() {
        let basic = |text: &str| format!("bAsic {}", STANDARD.encode(text)).into_bytes();
        assert_eq!(
            Credentials::parse(&basic("ann:with:colon")),
            Credentials::Password("ann".into(), b"with:colon".into())
        );
        assert_eq!(Credentials::parse(&basic("ann:")), Credentials::Password("ann".into(), Vec::new()));
        assert_eq!(Credentials::parse(&basic(":")), Credentials::Anonymous);
        assert_eq!(Credentials::parse(b"bearer a.b.c "), Credentials::Token(b"a.b.c"));
        let long = basic(&format!("ann:{}", "x".repeat(MAX_PASSWORD_LEN + 1)));
        let wrong =
            [&b""[..], b"Basic", b"Basic ", b"Basic ====", b"basic\tYTpi", b"\xff\xff\xff\xff\xff\xff\xff"];
        for header in wrong.into_iter().chain([&*long, &*basic(":secret"), &*basic("ann"), &*basic("\u{0}")])
        {
            assert_eq!(Credentials::parse(header), Credentials::Invalid, "{header:?}");
        }
    }
}
