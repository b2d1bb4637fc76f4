//! Parses the query of a request.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// All characters except the unreserved ones of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The parameters after the `?` of a path. A `+` stands for itself and not for a space: no parameter of this API has a
/// space, and a media type that was not encoded can have a `+`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    pub(super) fn new(query: Option<&'a str>) -> Self {
        Self(query.unwrap_or(""))
    }

    /// The first value of a parameter, decoded.
    pub(super) fn get(self, name: &str) -> Option<Cow<'a, str>> {
        self.all(name).next()
    }

    /// The names of all parameters, decoded. Skips the empty text between two `&`.
    pub(super) fn names(self) -> impl Iterator<Item = Cow<'a, str>> {
        let pairs = self.0.split('&').filter(|pair| !pair.is_empty());
        pairs.map(|pair| decode(pair.split_once('=').map_or(pair, |(key, _)| key)))
    }

    /// All values of a parameter, decoded, in their order.
    pub(super) fn all(self, name: &str) -> impl Iterator<Item = Cow<'a, str>> {
        let pairs = self.0.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.filter(move |(key, _)| decode(key) == name).map(|(_, value)| decode(value))
    }
}

/// Decodes a name or value. Invalid UTF-8 becomes U+FFFD, which no grammar allows.
fn decode(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

/// Encodes `text` as the value of a parameter.
pub(super) fn encode(text: &str) -> impl std::fmt::Display {
    utf8_percent_encode(text, RESERVED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_found_and_decoded() {
        let query = Query::new(Some("tag=1&digest=sha256%3Aab&%74ag=2&empty=&bare&type=a/b+json&bad=%ff"));
        assert_eq!(query.all("tag").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(query.get("digest").as_deref(), Some("sha256:ab"));
        assert_eq!(query.get("empty").as_deref(), Some(""));
        assert_eq!(query.get("bare").as_deref(), Some(""));
        assert_eq!(query.get("type").as_deref(), Some("a/b+json"));
        assert_eq!(query.get("bad").as_deref(), Some("\u{fffd}"));
        assert_eq!(query.get("none"), None);
        assert_eq!(Query::new(Some("a=1&&%62&=c")).names().collect::<Vec<_>>(), ["a", "b", ""]);
        assert_eq!(Query::new(None).get("n"), None);
    }

    #[test]
    fn an_encoded_value_decodes_to_itself() {
        let text = "a/b+c d&e=f%é~-._";
        assert_eq!(decode(&encode(text).to_string()), text);
    }
}
