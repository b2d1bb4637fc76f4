//! Conditional requests (RFC 9110, 13). Every content's ETag is its quoted digest, so all are strong.

use http::header::{IF_MATCH, IF_NONE_MATCH, IF_RANGE, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::status::V2Error;
use crate::oci::{ByteRange, Digest, ErrorCode};

/// What the conditions of a GET or HEAD come to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum OnRead {
    /// Send it.
    Send,
    /// The client has it.
    NotModified,
}

/// Whether the content `digest` is to be sent; `code` is for the refusal.
pub(super) fn on_read(headers: &HeaderMap, digest: &Digest, code: ErrorCode) -> Result<OnRead, V2Error> {
    if names(headers, IF_MATCH, Some(digest)) == Some(false) {
        return Err(V2Error::precondition(code));
    }
    if names(headers, IF_NONE_MATCH, Some(digest)) == Some(true) {
        return Ok(OnRead::NotModified);
    }
    Ok(OnRead::Send)
}

/// Whether a request that changes something has a condition at all.
pub(super) fn are_set(headers: &HeaderMap) -> bool {
    headers.contains_key(IF_MATCH) || headers.contains_key(IF_NONE_MATCH)
}

/// Whether what is now `current`, if it is there, may be changed.
pub(super) fn on_write(
    headers: &HeaderMap,
    current: Option<&Digest>,
    code: ErrorCode,
) -> Result<(), V2Error> {
    let changed = names(headers, IF_MATCH, current) == Some(false);
    let present = names(headers, IF_NONE_MATCH, current) == Some(true);
    if changed || present { Err(V2Error::precondition(code)) } else { Ok(()) }
}

/// Which bytes are asked for of a content that has `size`. A range of another version than this (`If-Range`)
/// is none; a date never matches, for content has none.
pub(super) fn range(headers: &HeaderMap, digest: &Digest, size: u64) -> ByteRange {
    let Some(range) = headers.get(RANGE).and_then(|range| range.to_str().ok()) else {
        return ByteRange::Full;
    };
    let is_other = |tag: &HeaderValue| tag.to_str().ok().map(opaque) != Some(digest.as_str());
    if headers.get(IF_RANGE).is_some_and(is_other) { ByteRange::Full } else { ByteRange::parse(range, size) }
}

/// Whether the header's list of tags names the current content; `*` names any. `None` without the header.
fn names(headers: &HeaderMap, header: HeaderName, current: Option<&Digest>) -> Option<bool> {
    let mut values = headers.get_all(header).iter().peekable();
    values.peek()?;
    let Some(current) = current else { return Some(false) };
    let tags = values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    Some(tags.map(opaque).any(|tag| tag == "*" || tag == current.as_str()))
}

/// A tag's text. Proxies that compress weaken tags, and some clients send the digest bare.
fn opaque(tag: &str) -> &str {
    let tag = tag.trim();
    tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::{Algorithm, Hasher};

    fn digest() -> Digest {
        Hasher::digest(Algorithm::Sha256, b"content")
    }

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().expect("a value"))).collect()
    }

    #[test]
    fn what_the_client_has_is_not_sent_again() {
        let read = |name: HeaderName, value: &str| {
            on_read(&headers(&[(name, value)]), &digest(), ErrorCode::BlobUnknown).ok()
        };
        let tag = format!("\"{}\"", digest());
        assert_eq!(read(IF_NONE_MATCH, &tag), Some(OnRead::NotModified));
        assert_eq!(read(IF_NONE_MATCH, &format!("\"x\", W/{tag}")), Some(OnRead::NotModified));
        assert_eq!(read(IF_NONE_MATCH, "*"), Some(OnRead::NotModified));
        assert_eq!(read(IF_NONE_MATCH, "\"x\""), Some(OnRead::Send));
        assert_eq!(read(IF_MATCH, &tag), Some(OnRead::Send));
        assert_eq!(read(IF_MATCH, "\"x\""), None);
    }

    #[test]
    fn a_write_can_be_made_to_depend_on_what_is_there() {
        let write = |name: HeaderName, value: &str, current: Option<&Digest>| {
            on_write(&headers(&[(name, value)]), current, ErrorCode::ManifestInvalid).is_ok()
        };
        let tag = format!("\"{}\"", digest());
        assert!(write(IF_MATCH, &tag, Some(&digest())));
        assert!(!write(IF_MATCH, "\"x\"", Some(&digest())));
        assert!(!write(IF_MATCH, "*", None));
        assert!(write(IF_NONE_MATCH, "*", None));
        assert!(!write(IF_NONE_MATCH, "*", Some(&digest())));
        assert!(on_write(&HeaderMap::new(), None, ErrorCode::ManifestInvalid).is_ok());
    }

    #[test]
    fn a_range_of_another_version_is_none() {
        let of = |pairs: &[(HeaderName, &str)]| range(&headers(pairs), &digest(), 7);
        let tag = format!("\"{}\"", digest());
        assert_eq!(of(&[]), ByteRange::Full);
        assert_eq!(of(&[(RANGE, "bytes=1-2")]), ByteRange::Part(1..3));
        assert_eq!(of(&[(RANGE, "bytes=7-")]), ByteRange::Unsatisfiable);
        assert_eq!(of(&[(RANGE, "bytes=1-2"), (IF_RANGE, &tag)]), ByteRange::Part(1..3));
        assert_eq!(of(&[(RANGE, "bytes=1-2"), (IF_RANGE, "\"x\"")]), ByteRange::Full);
        assert_eq!(of(&[(RANGE, "bytes=1-2"), (IF_RANGE, "Tue, 15 Nov 1994 12:45:26 GMT")]), ByteRange::Full);
    }
}
