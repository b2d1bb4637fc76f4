//! Ranges: of a blob that is read, and of a chunk that is written.

use std::ops::Range;
use std::str::FromStr;

use thiserror::Error;

/// What a `Range` header asks for, of a content of known size (RFC 9110, 14.1.2 and 14.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ByteRange {
    /// Everything. Also the answer to a header that may be ignored: another unit, several ranges, garbage.
    Full,
    /// These bytes, at least one.
    Part(Range<u64>),
    /// Bytes that the content does not have.
    Unsatisfiable,
}

impl ByteRange {
    /// Reads the header of a request for a content of `size` bytes.
    pub fn parse(header: &str, size: u64) -> Self {
        // Nothing can be a part of nothing; some clients send a range with every request.
        if size == 0 {
            return Self::Full;
        }
        let Some((first, last)) = single_range(header) else {
            return Self::Full;
        };
        match (number(first), number(last)) {
            (Some(first), Some(last)) => Self::between(first, last.min(size - 1)),
            (Some(first), None) if last.is_empty() => Self::between(first, size - 1),
            (None, Some(suffix)) if first.is_empty() => Self::between(size - suffix.min(size), size - 1),
            _ => Self::Full,
        }
    }

    /// A range that ends before it begins is invalid: RFC 9110 leaves it to the server, and the conformance
    /// suite wants it refused.
    fn between(first: u64, last: u64) -> Self {
        if first > last { Self::Unsatisfiable } else { Self::Part(first..last + 1) }
    }
}

/// The two sides of the dash of the only range in `bytes=…`.
fn single_range(header: &str) -> Option<(&str, &str)> {
    let (unit, ranges) = header.trim().split_once('=')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    // A list may have empty elements (RFC 9110, 5.6.1.2).
    let mut ranges = ranges.split(',').map(str::trim).filter(|range| !range.is_empty());
    let only = ranges.next()?;
    if ranges.next().is_some() { None } else { only.split_once('-') }
}

/// A run of digits. One too large for any content is as good as the largest.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// A text that is no chunk's range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "a chunk's Content-Range has the form <first>-<last>, both included, and does not end before it begins"
)]
pub struct InvalidContentRange;

/// Which bytes of an upload a chunk is, by its `Content-Range` (spec, "Pushing a blob in chunks").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentRange {
    first: u64,
    end: u64,
}

impl ContentRange {
    /// Where the chunk begins.
    pub fn start(self) -> u64 {
        self.first
    }

    /// Where the next chunk begins.
    pub fn end(self) -> u64 {
        self.end
    }

    /// How many bytes the chunk has: never 0.
    #[expect(clippy::len_without_is_empty, reason = "a range that includes both its ends is never empty")]
    pub fn len(self) -> u64 {
        self.end - self.first
    }
}

impl FromStr for ContentRange {
    type Err = InvalidContentRange;

    fn from_str(text: &str) -> Result<Self, InvalidContentRange> {
        // The spec's form is `a-b`; some clients send HTTP's own, `bytes a-b/*` or with a total.
        let (range, total) = match text.strip_prefix("bytes ") {
            Some(http) => http.split_once('/').ok_or(InvalidContentRange)?,
            None => (text, "*"),
        };
        let (first, last) = range.split_once('-').ok_or(InvalidContentRange)?;
        let (first, last) = number(first).zip(number(last)).ok_or(InvalidContentRange)?;
        let end = last.checked_add(1).ok_or(InvalidContentRange)?;
        let fits = total == "*" || number(total).is_some_and(|total| end <= total);
        if first < end && fits { Ok(Self { first, end }) } else { Err(InvalidContentRange) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_three_forms_of_a_range() {
        assert_eq!(ByteRange::parse("bytes=500-1499", 2048), ByteRange::Part(500..1500));
        assert_eq!(ByteRange::parse("bytes=2000-5000", 2048), ByteRange::Part(2000..2048));
        assert_eq!(ByteRange::parse("bytes=500-", 2048), ByteRange::Part(500..2048));
        assert_eq!(ByteRange::parse("bytes=-500", 2048), ByteRange::Part(1548..2048));
        assert_eq!(ByteRange::parse("Bytes= ,0-0, ", 2048), ByteRange::Part(0..1));
        assert_eq!(ByteRange::parse("bytes=-99999999999999999999", 10), ByteRange::Part(0..10));
    }

    #[test]
    fn what_is_not_there_cannot_be_served() {
        for header in
            ["bytes=5000-10000", "bytes=2048-", "bytes=500-0", "bytes=-0", "bytes=99999999999999999999-"]
        {
            assert_eq!(ByteRange::parse(header, 2048), ByteRange::Unsatisfiable, "{header}");
        }
    }

    #[test]
    fn what_is_not_understood_is_ignored() {
        for header in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=1",
            "bytes=0-1,3-4",
            "lines=0-1",
            "bytes=+1-2",
        ] {
            assert_eq!(ByteRange::parse(header, 2048), ByteRange::Full, "{header}");
        }
        assert_eq!(ByteRange::parse("bytes=0-", 0), ByteRange::Full);
    }

    #[test]
    fn a_chunk_includes_both_its_ends() {
        for (text, start, end) in
            [("0-0", 0, 1), ("5-9", 5, 10), ("bytes 5-9/*", 5, 10), ("bytes 5-9/10", 5, 10)]
        {
            let range: ContentRange = text.parse().expect(text);
            assert_eq!((range.start(), range.end(), range.len()), (start, end, end - start));
        }
        let last = u64::MAX;
        let overflowing = format!("0-{last}");
        for bad in [
            "",
            "-",
            "1-0",
            "a-b",
            "0-",
            "-5",
            "0 - 1",
            "bytes 0-1",
            "bytes 0-9/5",
            "0-1/2",
            "+0-1",
            &overflowing,
        ] {
            assert_eq!(bad.parse::<ContentRange>(), Err(InvalidContentRange), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_range_panics_or_leaves_the_content(header in "(bytes=)?[-0-9, ]{0,24}|.{0,24}", size: u64) {
            if let ByteRange::Part(range) = ByteRange::parse(&header, size) {
                prop_assert!(range.start < range.end && range.end <= size);
            }
        }

        #[test]
        fn no_chunk_panics_or_is_empty(text in "(bytes )?[0-9]{0,21}-[0-9]{0,21}(/[*0-9]{0,3})?|.{0,24}") {
            if let Ok(range) = text.parse::<ContentRange>() {
                prop_assert!(range.len() > 0);
            }
        }
    }
}
