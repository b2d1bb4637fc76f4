//! The query of a list that comes in pages.

use thiserror::Error;

/// How many entries a page may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageLimits {
    /// When the client does not say.
    pub default: usize,
    /// Whatever the client says.
    pub max: usize,
}

/// An `n` that is no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("n must be a whole number, 0 or more")]
pub struct InvalidPageSize;

/// Which part of a list is asked for (spec, "Listing Tags").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The most entries. 0 asks for an empty list, and gets no `Link`.
    pub limit: usize,
    /// The entry to begin behind, which need not exist.
    pub last: Option<String>,
}

impl Page {
    /// Reads the parameters `n` and `last`, already decoded.
    ///
    /// # Errors
    /// [`InvalidPageSize`] when `n` is there and no number.
    pub fn parse(n: Option<&str>, last: Option<&str>, limits: PageLimits) -> Result<Self, InvalidPageSize> {
        let limit = n.map_or(Ok(limits.default), number)?.min(limits.max);
        let last = last.filter(|last| !last.is_empty()).map(str::to_owned);
        Ok(Self { limit, last })
    }
}

/// A run of digits. One too large for any list is as good as the largest.
fn number(text: &str) -> Result<usize, InvalidPageSize> {
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
    fn n_is_a_number_within_the_limits() {
        assert_eq!(limit(None), Ok(100));
        assert_eq!(limit(Some("7")), Ok(7));
        assert_eq!(limit(Some("1001")), Ok(1000));
        assert_eq!(limit(Some("99999999999999999999999")), Ok(1000));
        for bad in ["", "-1", "+1", " 1", "1.0", "ten", "१"] {
            assert_eq!(limit(Some(bad)), Err(InvalidPageSize), "{bad}");
        }
    }

    #[test]
    fn zero_asks_for_nothing_as_the_spec_has_it() {
        assert_eq!(limit(Some("0")), Ok(0));
    }

    #[test]
    fn an_empty_last_is_none() {
        let last = |text| Page::parse(None, text, LIMITS).expect("valid").last;
        assert_eq!(last(Some("")), None);
        assert_eq!(last(Some("v1")), Some("v1".to_owned()));
    }
}
