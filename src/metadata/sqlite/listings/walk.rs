//! Walks along a sorted list up to the end of a page.
//!
//! What no index can decide (a pattern, a text somewhere in a name, a right) is decided row by row here, and the walk
//! ends after [`MAX_EXAMINED`] rows whether the page is full or not.

use crate::metadata::{Continuation, ListPage, MAX_EXAMINED, MAX_PAGE_BYTES, Place, Weigh};

/// An entry that was found, and its place.
struct Found<T> {
    place: Place,
    entry: T,
}

/// A page as it is being filled.
pub(super) struct Walk<T> {
    limit: usize,
    found: Vec<Found<T>>,
    examined: usize,
    bytes: usize,
    /// Where the list continues, once the page has ended.
    next: Option<Continuation>,
    ended: bool,
}

impl<T> Walk<T> {
    /// Towards a page of up to `limit` entries.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, found: Vec::new(), examined: 0, bytes: 0, next: None, ended: false }
    }

    /// Whether the page has ended: nothing further is to be looked at.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// How many more rows may be looked at.
    pub(super) fn rows_left(&self) -> usize {
        (MAX_EXAMINED + 1).saturating_sub(self.examined)
    }

    /// Passes over a row whose entry the page does not show. It is `hidden` if the caller must not know of it.
    pub(super) fn pass(&mut self, place: Place, hidden: bool) {
        self.examined += 1;
        if self.examined > MAX_EXAMINED {
            self.end(Some(Continuation { place, hidden }));
        }
    }

    /// Adds an entry that weighs so many bytes. Where the page is full it ends instead: more follow.
    pub(super) fn add(&mut self, place: Place, entry: T, weight: usize) {
        if self.is_full() {
            self.end_behind_last();
            return;
        }
        self.bytes += weight;
        self.found.push(Found { place: place.clone(), entry });
        self.pass(place, false);
    }

    /// Whether a further entry would not be on the page.
    pub(super) fn is_full(&self) -> bool {
        self.found.len() >= self.limit || self.bytes > MAX_PAGE_BYTES
    }

    /// Ends the page behind its last entry: more follow.
    pub(super) fn end_behind_last(&mut self) {
        let last = self.found.last().map(|found| found.place.clone());
        self.end(last.map(|place| Continuation { place, hidden: false }));
    }

    fn end(&mut self, next: Option<Continuation>) {
        if !self.ended {
            self.ended = true;
            self.next = next;
        }
    }

    /// The page.
    pub(super) fn finish(self) -> ListPage<T> {
        ListPage { items: self.found.into_iter().map(|found| found.entry).collect(), next: self.next }
    }
}

impl<T: Weigh> Walk<T> {
    /// Adds an entry by its own weight.
    pub(super) fn add_weighed(&mut self, place: Place, entry: T) {
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
    fn a_full_page_ends_behind_its_last_entry() {
        let mut walk = Walk::new(2);
        for number in 0..2 {
            walk.add(place(number), number, 1);
        }
        assert!(walk.is_full() && !walk.has_ended(), "nothing more was found yet");
        walk.pass(place(2), true);
        walk.add(place(3), 3, 1);
        assert!(walk.has_ended());
        assert_eq!(next(walk), Some((1, false)));
    }

    #[test]
    fn a_heavy_page_ends_early() {
        let mut walk = Walk::new(100);
        for number in 0..5 {
            walk.add(place(number), number, MAX_PAGE_BYTES / 2 + 1);
        }
        assert_eq!(next(walk), Some((1, false)));
    }

    #[test]
    fn a_page_ends_after_so_many_rows() {
        let mut walk = Walk::<usize>::new(1);
        for number in 0..MAX_EXAMINED {
            walk.pass(place(number), true);
        }
        assert!(!walk.has_ended());
        assert_eq!(walk.rows_left(), 1);
        walk.pass(place(MAX_EXAMINED), true);
        assert_eq!(next(walk), Some((MAX_EXAMINED as i64, true)));
    }
}
