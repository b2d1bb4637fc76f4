//! Pages of lists, limited in entries and in bytes.

/// The approximate maximum size of a page in bytes: a page ends with the entry that exceeds it. A thousand
/// ordinary entries take less; a few entries of hundreds of kilobytes each must not use up the memory.
pub const MAX_PAGE_BYTES: usize = 1 << 20;

/// Some entries of a list, and whether more follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The entries.
    pub items: Vec<T>,
    /// Whether more entries follow.
    pub more: bool,
}

/// A list entry with a known approximate size.
pub trait Weigh {
    /// Returns the approximate size in bytes, both in memory and in a response.
    fn weight(&self) -> usize;
}

impl<T: Weigh> Page<T> {
    /// Reads `entries` until there are `limit` of them or they exceed [`MAX_PAGE_BYTES`].
    ///
    /// # Errors
    ///
    /// Returns the first error of `entries`.
    pub fn read<E>(entries: impl IntoIterator<Item = Result<T, E>>, limit: usize) -> Result<Self, E> {
        let mut items = Vec::new();
        let mut bytes = 0;
        for entry in entries {
            let entry = entry?;
            if items.len() == limit || bytes > MAX_PAGE_BYTES {
                return Ok(Self { items, more: true });
            }
            bytes += entry.weight();
            items.push(entry);
        }
        Ok(Self { items, more: false })
    }
}

/// Returns the size of an optional text in bytes.
pub(super) fn text_weight(text: Option<&String>) -> usize {
    text.map_or(0, String::len)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    struct Entry(usize);

    impl Weigh for Entry {
        fn weight(&self) -> usize {
            self.0
        }
    }

    fn read(weights: &[usize], limit: usize) -> (usize, bool) {
        let entries = weights.iter().map(|weight| Ok::<_, Infallible>(Entry(*weight)));
        let page = Page::read(entries, limit).expect("infallible");
        (page.items.len(), page.more)
    }

    #[test]
    fn page_ends_at_its_limit() {
        assert_eq!(read(&[1, 1, 1], 3), (3, false));
        assert_eq!(read(&[1, 1, 1], 2), (2, true));
        assert_eq!(read(&[], 2), (0, false));
    }

    #[test]
    fn page_ends_with_the_entry_that_exceeds_the_byte_limit() {
        let third = MAX_PAGE_BYTES / 3;
        assert_eq!(read(&[third; 9], 1000), (4, true));
        assert_eq!(read(&[2 * MAX_PAGE_BYTES, 1], 1000), (1, true), "a page is never empty");
        assert_eq!(read(&[2 * MAX_PAGE_BYTES], 1000), (1, false));
    }
}
