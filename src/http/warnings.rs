//! `Warning` headers, which show a message to the user of a client (OCI distribution specification, "Warnings").

use http::{HeaderName, HeaderValue};

use super::reply::Reply;

const WARNING: HeaderName = HeaderName::from_static("warning");

/// The most bytes of all warnings of a response together.
const MAX_BYTES: usize = 4096;

/// Adds warnings to a reply, up to [`MAX_BYTES`].
pub(super) fn add(mut reply: Reply, warnings: &[String]) -> Reply {
    let mut left = MAX_BYTES;
    for text in warnings {
        let Some(value) = header(text) else { continue };
        let Some(rest) = left.checked_sub(value.len()) else { break };
        left = rest;
        reply = reply.with(WARNING, value);
    }
    reply
}

/// `299 - "<text>"`. `None` if the text has characters that a header must not contain.
fn header(text: &str) -> Option<HeaderValue> {
    let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
    HeaderValue::try_from(format!("299 - \"{quoted}\"")).ok()
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    fn warnings(texts: &[&str]) -> Vec<String> {
        let texts: Vec<_> = texts.iter().map(|text| (*text).to_owned()).collect();
        let response = add(Reply::new(StatusCode::OK), &texts).into_response();
        let text = |value: &HeaderValue| value.to_str().expect("ASCII").to_owned();
        response.headers().get_all(WARNING).iter().map(text).collect()
    }

    #[test]
    fn a_warning_is_a_quoted_string() {
        assert_eq!(warnings(&["the disk is \"full\""]), [r#"299 - "the disk is \"full\"""#]);
        assert!(warnings(&["two\r\nlines"]).is_empty());
        assert!(warnings(&[]).is_empty());
    }

    #[test]
    fn all_warnings_together_are_bounded() {
        let long = "x".repeat(2000);
        let warnings = warnings(&[&long, &long, &long]);
        assert_eq!(warnings.len(), 2);
        assert!(warnings.iter().map(String::len).sum::<usize>() <= MAX_BYTES);
    }
}
