//! Byte ranges: of a blob that is read, and of a chunk that is uploaded.

use std::ops::Range;
use std::str::FromStr;

use thiserror::Error;

/// The maximum number of ranges in a request. Clients that pull parts of a layer request at most this many.
const MAX_RANGES: usize = 1024;

/// The part of a content of known size that a `Range` header requests (RFC 9110, 14.1.2 and 14.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ByteRange {
    /// The whole content. Also for headers that may be ignored: another unit, garbage, too many ranges, or ranges that
    /// together are larger than the content.
    Full,
    /// One part with at least one byte.
    Part(Range<u64>),
    /// Several parts in the order of the request, which neither touch nor overlap.
    Parts(Vec<Range<u64>>),
    /// The content has none of the requested bytes.
    Unsatisfiable,
}

impl ByteRange {
    /// Parses the header of a request for a content of `size` bytes.
    pub fn parse(header: &str, size: u64) -> Self {
        // Empty content has no parts, and some clients send a range with every request.
        if size == 0 {
            return Self::Full;
        }
        let Some(ranges) = satisfiable_ranges(header, size) else {
            return Self::Full;
        };
        let requested = ranges.iter().fold(0u64, |sum, range| sum.saturating_add(range.end - range.start));
        if ranges.len() > 1 && requested > size {
            return Self::Full;
        }
        let mut parts = merge(ranges);
        match parts.len() {
            0 => Self::Unsatisfiable,
            1 => Self::Part(parts.remove(0)),
            _ => Self::Parts(parts),
        }
    }
}

/// Returns the ranges in `bytes=…` that overlap a content of `size` bytes. `None` if the header has to be ignored.
fn satisfiable_ranges(header: &str, size: u64) -> Option<Vec<Range<u64>>> {
    let (unit, ranges) = header.trim().split_once('=')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    // A list may have empty elements (RFC 9110, 5.6.1.2).
    let ranges = ranges.split(',').map(str::trim).filter(|range| !range.is_empty());
    let mut found = Vec::new();
    let mut count = 0;
    for range in ranges {
        count += 1;
        if count > MAX_RANGES {
            return None;
        }
        let (first, last) = range.split_once('-')?;
        let (first, last) = match (number(first), number(last)) {
            (Some(first), Some(last)) => (first, last.min(size - 1)),
            (Some(first), None) if last.is_empty() => (first, size - 1),
            (None, Some(suffix)) if first.is_empty() => (size - suffix.min(size), size - 1),
            _ => return None,
        };
        // A range that ends before it begins is invalid. RFC 9110 leaves the handling to the server; the conformance
        // suite requires it to be rejected.
        if first <= last {
            found.push(first..last + 1);
        }
    }
    (count > 0).then_some(found)
}

/// Merges ranges that touch or overlap (RFC 9110, 15.3.7.2). A merged range takes the position of its first one.
fn merge(ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    let mut sorted: Vec<(usize, Range<u64>)> = ranges.into_iter().enumerate().collect();
    sorted.sort_by_key(|(_, range)| range.start);
    let mut merged: Vec<(usize, Range<u64>)> = Vec::new();
    for (position, range) in sorted {
        match merged.last_mut() {
            Some((before, last)) if range.start <= last.end => {
                *before = position.min(*before);
                last.end = range.end.max(last.end);
            }
            _ => merged.push((position, range)),
        }
    }
    merged.sort_by_key(|(position, _)| *position);
    merged.into_iter().map(|(_, range)| range).collect()
}

/// Parses digits. A number that does not fit becomes the largest one.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// The error for a text that is not the range of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "a chunk's Content-Range must have the form <first>-<last>, both included, and not end before it begins"
)]
pub struct InvalidContentRange;

/// The bytes of an upload that a chunk covers, by its `Content-Range` (spec, "Pushing a blob in chunks").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentRange {
    first: u64,
    end: u64,
}

impl ContentRange {
    /// Returns the position of the chunk's first byte.
    pub fn start(self) -> u64 {
        self.first
    }

    /// Returns the position at which the next chunk begins.
    pub fn end(self) -> u64 {
        self.end
    }

    /// Returns the length of the chunk, which is never 0.
    #[expect(clippy::len_without_is_empty, reason = "a range that includes both its ends is never empty")]
    pub fn len(self) -> u64 {
        self.end - self.first
    }
}

impl FromStr for ContentRange {
    type Err = InvalidContentRange;

    fn from_str(text: &str) -> Result<Self, InvalidContentRange> {
        // The spec's form is `a-b`. Some clients send the form of HTTP: `bytes a-b/*`, or with a total.
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
    fn parses_the_three_forms_of_a_range() {
        assert_eq!(ByteRange::parse("bytes=500-1499", 2048), ByteRange::Part(500..1500));
        assert_eq!(ByteRange::parse("bytes=2000-5000", 2048), ByteRange::Part(2000..2048));
        assert_eq!(ByteRange::parse("bytes=500-", 2048), ByteRange::Part(500..2048));
        assert_eq!(ByteRange::parse("bytes=-500", 2048), ByteRange::Part(1548..2048));
        assert_eq!(ByteRange::parse("Bytes= ,0-0, ", 2048), ByteRange::Part(0..1));
        assert_eq!(ByteRange::parse("bytes=-99999999999999999999", 10), ByteRange::Part(0..10));
    }

    #[test]
    fn missing_bytes_are_unsatisfiable() {
        for header in
            ["bytes=5000-10000", "bytes=2048-", "bytes=500-0", "bytes=-0", "bytes=99999999999999999999-"]
        {
            assert_eq!(ByteRange::parse(header, 2048), ByteRange::Unsatisfiable, "{header}");
        }
    }

    #[test]
    fn invalid_headers_are_ignored() {
        for header in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=1",
            "bytes=0-1,a",
            "bytes=0-1,5",
            "lines=0-1",
            "bytes=+1-2",
        ] {
            assert_eq!(ByteRange::parse(header, 2048), ByteRange::Full, "{header}");
        }
        assert_eq!(ByteRange::parse("bytes=0-", 0), ByteRange::Full);
    }

    #[test]
    fn several_ranges_keep_the_order_of_the_request() {
        let parse = |header: &str| ByteRange::parse(header, 27);
        assert_eq!(parse("bytes=0-3,10-13"), ByteRange::Parts(vec![0..4, 10..14]));
        assert_eq!(parse("bytes=10-13, 0-3 ,-2"), ByteRange::Parts(vec![10..14, 0..4, 25..27]));
        // Ranges that touch or overlap are merged.
        assert_eq!(parse("bytes=0-3,4-7"), ByteRange::Part(0..8));
        assert_eq!(parse("bytes=20-,4-7,0-5"), ByteRange::Parts(vec![20..27, 0..8]));
        assert_eq!(parse("bytes=0-3,8-9,2-8"), ByteRange::Part(0..10));
        // Ranges beyond the content are left out.
        assert_eq!(parse("bytes=0-3,27-30"), ByteRange::Part(0..4));
        assert_eq!(parse("bytes=0-3,8-10,9-5"), ByteRange::Parts(vec![0..4, 8..11]));
        assert_eq!(parse("bytes=27-,40-50"), ByteRange::Unsatisfiable);
    }

    #[test]
    fn too_many_ranges_or_bytes_return_the_whole_content() {
        let list = |count: u64| {
            let ranges: Vec<_> = (0..count).map(|number| format!("{0}-{0}", number * 2)).collect();
            format!("bytes={}", ranges.join(","))
        };
        assert!(
            matches!(ByteRange::parse(&list(1024), 4096), ByteRange::Parts(parts) if parts.len() == 1024)
        );
        assert_eq!(ByteRange::parse(&list(1025), 4096), ByteRange::Full);
        assert_eq!(ByteRange::parse("bytes=0-,0-,0-", 10), ByteRange::Full);
        assert_eq!(ByteRange::parse("bytes=0-5,4-9", 10), ByteRange::Full);
    }

    #[test]
    fn parses_content_ranges() {
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
        fn ranges_never_panic_or_exceed_the_content(header in "(bytes=)?[-0-9, ]{0,24}|.{0,24}", size: u64) {
            if let ByteRange::Part(range) = ByteRange::parse(&header, size) {
                prop_assert!(range.start < range.end && range.end <= size);
            }
        }

        #[test]
        fn parts_contain_each_requested_byte_once(
            ranges in proptest::collection::vec((0u64..80, 0u64..20), 1..12),
            size in 1u64..64,
        ) {
            let text = ranges.iter().map(|(first, more)| format!("{first}-{}", first + more));
            let header = format!("bytes={}", text.collect::<Vec<_>>().join(","));
            let parts = match ByteRange::parse(&header, size) {
                ByteRange::Full => {
                    let len = |(first, more): &(u64, u64)| (first + more + 1).min(size).saturating_sub(*first);
                    let requested: u64 = ranges.iter().map(len).sum();
                    prop_assert!(requested > size);
                    return Ok(());
                }
                ByteRange::Part(part) => vec![part],
                ByteRange::Parts(parts) => {
                    prop_assert!(parts.len() > 1);
                    parts
                }
                ByteRange::Unsatisfiable => Vec::new(),
            };
            for byte in 0..size {
                let requested = ranges.iter().any(|(first, more)| (*first..=first + more).contains(&byte));
                let sent = parts.iter().filter(|part| part.contains(&byte)).count();
                prop_assert_eq!(sent, usize::from(requested));
            }
            prop_assert!(parts.iter().all(|part| part.start < part.end && part.end <= size));
            let touch = |one: &Range<u64>, other: &Range<u64>| one.end == other.start;
            prop_assert!(!parts.iter().any(|one| parts.iter().any(|other| touch(one, other))));
        }

        #[test]
        fn content_ranges_never_panic(text in "(bytes )?[0-9]{0,21}-[0-9]{0,21}(/[*0-9]{0,3})?|.{0,24}") {
            if let Ok(range) = text.parse::<ContentRange>() {
                prop_assert!(range.len() > 0);
            }
        }
    }
}
