//! HTTP caching of content: `Cache-Control`, and requests that depend on what the client already has.
//!
//! A shared cache, such as nginx with `proxy_cache`, does not check passwords. So it may keep only content that
//! everyone may pull, and only for an hour, because a repository can become private.
//!
//! Conditional requests follow RFC 9110, section 13. An ETag is the quoted digest of the content, so all ETags are
//! strong.

use http::header::{IF_MATCH, IF_NONE_MATCH, IF_RANGE, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::error::V2Error;
use super::rights::PullRight;
use crate::oci::{ByteRange, Digest, ErrorCode};

/// For content that never changes and that everyone may pull.
const PUBLIC: HeaderValue = HeaderValue::from_static("public, max-age=3600");

/// For content that never changes and that only some users may pull.
const PRIVATE: HeaderValue = HeaderValue::from_static("private, max-age=31536000, immutable");

/// For content that is read by a tag and that everyone may pull. The tag may have moved since, so caches revalidate.
const PUBLIC_TAG: HeaderValue = HeaderValue::from_static("no-cache");

/// For content that is read by a tag and that only some users may pull.
const PRIVATE_TAG: HeaderValue = HeaderValue::from_static("private, no-cache");

/// Which caches may keep a repository's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Audience {
    /// Anonymous users may pull it, so shared caches may keep it.
    Public,
    /// Only some users may pull it, so only the client's own cache may keep it.
    Private,
}

impl Audience {
    /// The audience of a repository.
    pub(super) fn of(repository: &PullRight<'_>) -> Self {
        if repository.is_public() { Self::Public } else { Self::Private }
    }

    /// `Cache-Control` for content that is requested by its digest.
    pub(super) fn cache_control_of_digest(self) -> HeaderValue {
        match self {
            Self::Public => PUBLIC,
            Self::Private => PRIVATE,
        }
    }

    /// `Cache-Control` for content that is requested by a tag.
    pub(super) fn cache_control_of_tag(self) -> HeaderValue {
        match self {
            Self::Public => PUBLIC_TAG,
            Self::Private => PRIVATE_TAG,
        }
    }
}

/// The result of the conditions of a GET or HEAD.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum OnRead {
    /// Send the content.
    Send,
    /// The client already has the content.
    NotModified,
}

/// Decides whether the content `digest` is sent; `code` is the error code if `If-Match` fails.
pub(super) fn check_read(headers: &HeaderMap, digest: &Digest, code: ErrorCode) -> Result<OnRead, V2Error> {
    if matches_current(headers, IF_MATCH, Some(digest)) == Some(false) {
        return Err(V2Error::precondition(code));
    }
    if matches_current(headers, IF_NONE_MATCH, Some(digest)) == Some(true) {
        return Ok(OnRead::NotModified);
    }
    Ok(OnRead::Send)
}

/// Whether a request that changes something has a condition.
pub(super) fn has_conditions(headers: &HeaderMap) -> bool {
    headers.contains_key(IF_MATCH) || headers.contains_key(IF_NONE_MATCH)
}

/// Checks that the conditions allow changing the `current` content, or creating it if there is none.
pub(super) fn check_write(
    headers: &HeaderMap,
    current: Option<&Digest>,
    code: ErrorCode,
) -> Result<(), V2Error> {
    let changed = matches_current(headers, IF_MATCH, current) == Some(false);
    let present = matches_current(headers, IF_NONE_MATCH, current) == Some(true);
    if changed || present { Err(V2Error::precondition(code)) } else { Ok(()) }
}

/// The requested bytes of a content with `size` bytes. A range of another version (`If-Range`) is ignored. A date never
/// matches, because content has no modification date.
pub(super) fn range(headers: &HeaderMap, digest: &Digest, size: u64) -> ByteRange {
    let Some(range) = headers.get(RANGE).and_then(|range| range.to_str().ok()) else {
        return ByteRange::Full;
    };
    let is_other = |tag: &HeaderValue| tag.to_str().ok().map(opaque) != Some(digest.as_str());
    if headers.get(IF_RANGE).is_some_and(is_other) { ByteRange::Full } else { ByteRange::parse(range, size) }
}

/// Whether a header's list of ETags contains the current content; `*` matches any. `None` without the header.
fn matches_current(headers: &HeaderMap, header: HeaderName, current: Option<&Digest>) -> Option<bool> {
    let mut values = headers.get_all(header).iter().peekable();
    values.peek()?;
    let Some(current) = current else { return Some(false) };
    let tags = values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    Some(tags.map(opaque).any(|tag| tag == "*" || tag == current.as_str()))
}

/// The text of an ETag. Proxies that compress make ETags weak, and some clients send the digest without quotes.
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
    fn content_that_the_client_has_is_not_sent() {
        let read = |name: HeaderName, value: &str| {
            check_read(&headers(&[(name, value)]), &digest(), ErrorCode::BlobUnknown).ok()
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
    fn a_write_can_depend_on_the_current_content() {
        let write = |name: HeaderName, value: &str, current: Option<&Digest>| {
            check_write(&headers(&[(name, value)]), current, ErrorCode::ManifestInvalid).is_ok()
        };
        let tag = format!("\"{}\"", digest());
        assert!(write(IF_MATCH, &tag, Some(&digest())));
        assert!(!write(IF_MATCH, "\"x\"", Some(&digest())));
        assert!(!write(IF_MATCH, "*", None));
        assert!(write(IF_NONE_MATCH, "*", None));
        assert!(!write(IF_NONE_MATCH, "*", Some(&digest())));
        assert!(check_write(&HeaderMap::new(), None, ErrorCode::ManifestInvalid).is_ok());
    }

    #[test]
    fn a_range_of_another_version_is_ignored() {
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
