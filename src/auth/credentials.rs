//! What an `Authorization` header shows (RFC 7617, RFC 6750).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::identity::looks_signed;

/// The longest password; bcrypt itself looks at 72 bytes.
pub(super) const LONGEST: usize = 1024;

/// Whether a password is longer than any is. What a provider has signed is longer, and comes in the place of one.
pub(super) fn too_long(password: &[u8]) -> bool {
    password.len() > LONGEST && !looks_signed(password)
}

/// What somebody shows.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Credentials<'a> {
    /// A name with a password, or with an access token in its place.
    Password(String, Vec<u8>),
    /// A token alone.
    Token(&'a [u8]),
    /// An empty name with an empty password, as clients without any write it.
    Nobody,
    Nonsense,
}

impl<'a> Credentials<'a> {
    pub(super) fn of(header: &'a [u8]) -> Self {
        match header.split_at_checked(7) {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"Bearer ") => {
                Self::Token(token.trim_ascii())
            }
            _ if header.eq_ignore_ascii_case(b"Basic Og==") => Self::Nobody,
            _ => basic(header).map_or(Self::Nonsense, |(name, password)| Self::Password(name, password)),
        }
    }
}

/// The user and password of a Basic `Authorization` header.
fn basic(header: &[u8]) -> Option<(String, Vec<u8>)> {
    let (scheme, encoded) = header.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"Basic ") {
        return None;
    }
    let decoded = STANDARD.decode(encoded.trim_ascii()).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let name = String::from_utf8(decoded[..colon].to_vec()).ok()?;
    let password = decoded[colon + 1..].to_vec();
    (!name.is_empty() && !too_long(&password)).then_some((name, password))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_read() {
        let basic = |text: &str| format!("bAsic {}", STANDARD.encode(text)).into_bytes();
        assert_eq!(
            Credentials::of(&basic("ann:with:colon")),
            Credentials::Password("ann".into(), b"with:colon".into())
        );
        assert_eq!(Credentials::of(&basic("ann:")), Credentials::Password("ann".into(), Vec::new()));
        assert_eq!(Credentials::of(&basic(":")), Credentials::Nobody);
        assert_eq!(Credentials::of(b"bearer a.b.c "), Credentials::Token(b"a.b.c"));
        let long = basic(&format!("ann:{}", "x".repeat(LONGEST + 1)));
        let wrong =
            [&b""[..], b"Basic", b"Basic ", b"Basic ====", b"basic\tYTpi", b"\xff\xff\xff\xff\xff\xff\xff"];
        for header in wrong.into_iter().chain([&*long, &*basic(":secret"), &*basic("ann"), &*basic("\u{0}")])
        {
            assert_eq!(Credentials::of(header), Credentials::Nonsense, "{header:?}");
        }
    }
}
