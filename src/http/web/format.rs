//! Sizes, times and digests as text for people.

use bytesize::ByteSize;

use crate::clock::Timestamp;
use crate::oci::Digest;

/// The number of hexadecimal digits of a short digest, as Docker shows it.
const SHORT_DIGEST_LEN: usize = 12;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// A moment, for people and for programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Moment {
    /// In the format of RFC 3339.
    pub(super) iso: String,
    /// Relative to now.
    pub(super) text: String,
}

impl Moment {
    pub(super) fn new(at: Timestamp, now: Timestamp) -> Self {
        let text = if at > now {
            format!("in {}", span(at.since(now).as_secs()))
        } else {
            match now.since(at).as_secs() {
                0..MINUTE => "just now".to_owned(),
                seconds => format!("{} ago", span(seconds)),
            }
        };
        Self { iso: at.rfc3339(), text }
    }
}

/// A length of time in its largest unit.
fn span(seconds: u64) -> String {
    let (number, unit) = match seconds {
        ..MINUTE => (seconds, "second"),
        MINUTE..HOUR => (seconds / MINUTE, "minute"),
        HOUR..DAY => (seconds / HOUR, "hour"),
        _ => match seconds / DAY {
            days @ ..60 => (days, "day"),
            days @ 60..730 => (days / 30, "month"),
            days => (days / 365, "year"),
        },
    };
    counted(number, unit)
}

/// A number of things: `1 tag`, `2 tags`.
pub(super) fn counted(number: u64, singular: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {singular}{plural}", grouped(number))
}

/// A number with a thin space between groups of three digits.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{2009}');
        }
        text.push(digit);
    }
    text
}

/// A number of bytes, in decimal units as Docker shows them.
pub(super) fn bytes(number: u64) -> String {
    ByteSize::b(number).display().si().to_string()
}

/// The first digits of a digest, as Docker shows them.
pub(super) fn short(digest: &Digest) -> String {
    digest.hex().chars().take(SHORT_DIGEST_LEN).collect()
}

/// Filters of templates.
#[expect(
    clippy::inline_always,
    clippy::trivially_copy_pass_by_ref,
    clippy::unnecessary_wraps,
    unreachable_pub,
    reason = "askama gives filters their signature"
)]
pub(super) mod filters {
    use crate::printable::escape_lines;

    /// A number of bytes.
    #[askama::filter_fn]
    pub(in crate::http::web) fn bytes(number: &u64, _: &dyn askama::Values) -> askama::Result<String> {
        Ok(super::bytes(*number))
    }

    /// A number.
    #[askama::filter_fn]
    pub(in crate::http::web) fn grouped(number: &u64, _: &dyn askama::Values) -> askama::Result<String> {
        Ok(super::grouped(*number))
    }

    /// Text that someone pushed. Characters that hide or reorder others are escaped.
    #[askama::filter_fn]
    pub(in crate::http::web) fn pushed_text(text: &str, _: &dyn askama::Values) -> askama::Result<String> {
        Ok(escape_lines(text).into_owned())
    }

    /// A number of things, named in the singular.
    #[askama::filter_fn]
    pub(in crate::http::web) fn counted(
        number: &u64,
        _: &dyn askama::Values,
        singular: &str,
    ) -> askama::Result<String> {
        Ok(super::counted(*number, singular))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn moments_are_relative_to_now() {
        let now = Timestamp(1_000 * 24 * 3_600_000);
        let text = |seconds| Moment::new(now.minus(Duration::from_secs(seconds)), now).text;
        assert_eq!(text(0), "just now");
        assert_eq!(text(60), "1 minute ago");
        assert_eq!(text(2 * HOUR), "2 hours ago");
        assert_eq!(text(59 * DAY), "59 days ago");
        assert_eq!(text(61 * DAY), "2 months ago");
        assert_eq!(text(800 * DAY), "2 years ago");
        assert_eq!(Moment::new(now.plus(Duration::from_secs(DAY)), now).text, "in 1 day");
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1\u{2009}234\u{2009}567");
        assert_eq!(counted(1, "tag"), "1 tag");
        assert_eq!(counted(0, "tag"), "0 tags");
    }
}
