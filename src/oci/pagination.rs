//! The query parameters of paginated lists.

use thiserror::Error;

/// The limits on the size of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageLimits {
    /// The size if the client gives none.
    pub default: usize,
    /// The maximum size, whatever the client gives.
    pub max: usize,
}

/// The error for an `n` that is not a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("n must be a whole number, 0 or more")]
pub struct InvalidPageSize;

/// The requested part of a list (spec, "Listing Tags").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The maximum number of entries. 0 requests an empty list and gets no `Link`.
    pub limit: usize,
    /// The entry after which the page starts. It need not exist.
    pub last: Option<String>,
}

impl Page {
    /// Parses the decoded parameters `n` and `last`.
    ///
    /// # Errors
    /// Fails if `n` is given and not a number.
    pub fn parse(n: Option<&str>, last: Option<&str>, limits: PageLimits) -> Result<Self, InvalidPageSize> {
        let limit = n.map_or(Ok(limits.default), parse_number)?.min(limits.max);
        let last = last.filter(|last| !last.is_empty()).map(str::to_owned);
        Ok(Self { limit, last })
    }
}

/// Parses digits. A number that does not fit becomes the largest one.
fn parse_number(text: &str) -> Result<usize, InvalidPageSize> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if digits { Ok(text.parse().unwrap_or(usize::MAX)) } else { Err(InvalidPageSize) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: PageLimits = PageLimits { default: 100, max: 1000 };

    fn limit(n: Option<&str>) -> Result<usize, InvalidPageSize> {
        Page::parse(n, None, LIMITS).map(|page| page.limit)
    }

    #[test]
    fn checks_n_and_applies_the_limits() {
        assert_eq!(limit(None), Ok(100));
        assert_eq!(limit(Some("7")), Ok(7));
        assert_eq!(limit(Some("1001")), Ok(1000));
        assert_eq!(limit(Some("99999999999999999999999")), Ok(1000));
        for bad in ["", "-1", "+1", " 1", "1.0", "ten", "१"] {
            assert_eq!(limit(Some(bad)), Err(InvalidPageSize), "{bad}");
        }
    }

    #[test]
    fn zero_requests_an_empty_list() {
        assert_eq!(limit(Some("0")), Ok(0));
    }

    #[test]
    fn empty_last_is_ignored() {
        let last = |text| Page::parse(None, text, LIMITS).expect("valid").last;
        assert_eq!(last(Some("")), None);
        assert_eq!(last(Some("v1")), Some("v1".to_owned()));
    }
}
