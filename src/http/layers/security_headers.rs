//! Security headers for browsers, which every response has. Registry clients ignore them.
//!
//! Pushed content is untrusted, and is served under this server's host name. A browser must not guess that it is a web
//! page, and must not run scripts in it or show it in a frame.

use http::header::{CONTENT_SECURITY_POLICY, Entry, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue};

const POLICY: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'; sandbox");

const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");

/// A year, for this host without its subdomains.
const STRICT: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Adds the headers; with `strict`, also the one that makes browsers use only TLS. A response that has its own
/// `Content-Security-Policy` keeps it.
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
