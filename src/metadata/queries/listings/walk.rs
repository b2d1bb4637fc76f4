//! Fills a page while a sorted list is scanned.
//!
//! Filters that no index supports (a pattern, a text within a name, a permission) are evaluated row by row, and the
//! scan ends after [`MAX_EXAMINED`] rows even if the page is not full.

use crate::metadata::{Continuation, ListPage, MAX_EXAMINED, MAX_PAGE_BYTES, Place, Weigh};

/// The SQL operator for later entries and the SQL sort direction.
pub(in crate::metadata) fn direction(descending: bool) -> (&'static str, &'static str) {
    if descending { ("<", "DESC") } else { (">", "ASC") }
}

/// An entry and its place in the list.
struct Found<T> {
    place: Place,
    entry: T,
}

/// A page that is being filled.
pub(in crate::metadata) struct Walk<T> {
    limit: usize,
    found: Vec<Found<T>>,
    examined: usize,
    bytes: usize,
    /// Where the list continues after the page.
    next: Option<Continuation>,
    ended: bool,
}

impl<T> Walk<T> {
    /// Starts a page of up to `limit` entries.
    pub(in crate::metadata) fn new(limit: usize) -> Self {
        Self { limit, found: Vec::new(), examined: 0, bytes: 0, next: None, ended: false }
    }

    /// Whether the page has ended and the scan must stop.
    pub(in crate::metadata) fn has_ended(&self) -> bool {
        self.ended
    }

    /// How many more rows may be examined.
    pub(in crate::metadata) fn rows_left(&self) -> usize {
        (MAX_EXAMINED + 1).saturating_sub(self.examined)
    }

    /// Skips a row that the page does not show.
    pub(in crate::metadata) fn skip(&mut self, place: Place) {
        self.count_examined(place, false);
    }

    /// Skips a row that the caller must not learn of.
    pub(in crate::metadata) fn skip_hidden(&mut self, place: Place) {
        self.count_examined(place, true);
    }

    fn count_examined(&mut self, place: Place, hidden: bool) {
        self.examined += 1;
        if self.examined > MAX_EXAMINED {
            self.end(Some(Continuation { place, hidden }));
        }
    }

    /// Adds an entry of `weight` bytes. If the page is full, ends it instead: more entries follow.
    pub(in crate::metadata) fn add(&mut self, place: Place, entry: T, weight: usize) {
        if self.is_full() {
            self.end_after_last();
            return;
        }
        self.bytes += weight;
        self.found.push(Found { place: place.clone(), entry });
        self.skip(place);
    }

    /// Whether no further entry fits on the page.
    pub(in crate::metadata) fn is_full(&self) -> bool {
        self.found.len() >= self.limit || self.bytes > MAX_PAGE_BYTES
    }

    /// Ends the page after its last entry: more entries follow.
    pub(in crate::metadata) fn end_after_last(&mut self) {
        let last = self.found.last().map(|found| found.place.clone());
        self.end(last.map(|place| Continuation { place, hidden: false }));
    }

    /// Ends the page at a row that the caller must not learn of: more entries may follow.
    pub(in crate::metadata) fn end_at_hidden(&mut self, place: Place) {
        self.end(Some(Continuation { place, hidden: true }));
    }

    fn end(&mut self, next: Option<Continuation>) {
        if !self.ended {
            self.ended = true;
            self.next = next;
        }
    }

    /// Returns the page.
    pub(in crate::metadata) fn finish(self) -> ListPage<T> {
        ListPage { items: self.found.into_iter().map(|found| found.entry).collect(), next: self.next }
    }
}

impl<T: Weigh> Walk<T> {
    /// Adds an entry with its own weight.
    pub(in crate::metadata) fn add_weighed(&mut self, place: Place, entry: T) {
        let weight = entry.weight();
        self.add(place, entry, weight);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(number: usize) -> Place {
        Place { number: number as i64, name: String::new() }
    }

    fn next(walk: Walk<usize>) -> Option<(i64, bool)> {
        walk.finish().next.map(|next| (next.place.number, next.hidden))
    }

    #[test]
    fn full_page_ends_after_its_last_entry() {
        let mut walk = Walk::new(2);
        for number in 0..2 {
            walk.add(place(number), number, 1);
        }
        assert!(walk.is_full() && !walk.has_ended(), "no further entry was found yet");
        walk.skip_hidden(place(2));
        walk.add(place(3), 3, 1);
        assert!(walk.has_ended());
        assert_eq!(next(walk), Some((1, false)));
    }

    #[test]
    fn page_ends_early_if_its_entries_are_large() {
        let mut walk = Walk::new(100);
        for number in 0..5 {
            walk.add(place(number), number, MAX_PAGE_BYTES / 2 + 1);
        }
        assert_eq!(next(walk), Some((1, false)));
    }

    #[test]
    fn page_ends_after_the_maximum_number_of_examined_rows() {
        let mut walk = Walk::<usize>::new(1);
        for number in 0..MAX_EXAMINED {
            walk.skip_hidden(place(number));
        }
        assert!(!walk.has_ended());
        assert_eq!(walk.rows_left(), 1);
        walk.skip_hidden(place(MAX_EXAMINED));
        assert_eq!(next(walk), Some((MAX_EXAMINED as i64, true)));
    }
}
