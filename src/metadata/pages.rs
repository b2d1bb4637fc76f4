//! Pages of lists, bounded in entries and in bytes.

/// The most bytes of a page's entries, roughly: a page ends with the entry that exceeds it. A thousand ordinary
/// entries take less; a few with hundreds of kilobytes each must not take the memory of all the others.
pub const MAX_PAGE_BYTES: usize = 1 << 20;

/// Some entries of a list, and whether more follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The entries.
    pub items: Vec<T>,
    /// Whether there are more behind the last.
    pub more: bool,
}

/// An entry of a list that knows about how many bytes it takes.
pub trait Weigh {
    /// The bytes of the entry, roughly, in memory and on the wire alike.
    fn weight(&self) -> usize;
}

impl<T: Weigh> Page<T> {
    /// Reads `entries` until there are `limit` of them, or until they exceed [`MAX_PAGE_BYTES`].
    ///
    /// # Errors
    /// The first error of `entries`.
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

/// The bytes of an optional text.
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
    fn a_page_ends_at_its_limit() {
        assert_eq!(read(&[1, 1, 1], 3), (3, false));
        assert_eq!(read(&[1, 1, 1], 2), (2, true));
        assert_eq!(read(&[], 2), (0, false));
    }

    #[test]
    fn a_page_ends_with_the_entry_that_exceeds_its_bytes() {
        let third = MAX_PAGE_BYTES / 3;
        assert_eq!(read(&[third; 9], 1000), (4, true));
        assert_eq!(read(&[2 * MAX_PAGE_BYTES, 1], 1000), (1, true), "never empty");
        assert_eq!(read(&[2 * MAX_PAGE_BYTES], 1000), (1, false));
    }
}
