//! What browsers are told with every answer. Clients of registries do not look at it.
//!
//! What was pushed is somebody else's content, on this server's name: a browser must neither guess that it is a page
//! nor, if it takes it for one, run anything in it or show it within another.

use http::header::{CONTENT_SECURITY_POLICY, Entry, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue};

const POLICY: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'; sandbox");

const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");

/// A year, of this name alone.
const STRICT: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Adds them; `strict` where browsers are to come by TLS alone. A page may have said what it is made of.
pub(super) fn add(headers: &mut HeaderMap, strict: bool) {
    headers.insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    if let Entry::Vacant(vacant) = headers.entry(CONTENT_SECURITY_POLICY) {
        vacant.insert(POLICY);
    }
    if strict {
        headers.insert(STRICT_TRANSPORT_SECURITY, STRICT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_keeps_its_own_policy() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'self'"));
        add(&mut headers, true);
        assert_eq!(headers[CONTENT_SECURITY_POLICY], "default-src 'self'");
        assert_eq!(headers[STRICT_TRANSPORT_SECURITY], "max-age=31536000");
        assert_eq!(headers.len(), 3);
    }
}
