//! The repositories that a list may show, as ranges of names that a store can search.

use std::fmt;
use std::sync::Arc;

use super::Scope;
use crate::oci::RepoName;

/// Sorts after every character of a repository name.
const AFTER_ALL_CHARS: char = '~';

/// Repository names in byte order, from `from` up to but not including `to`.
///
/// A range covers all names with one prefix, or a single name. Of two ranges, one contains the other or they
/// are disjoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameRange {
    from: String,
    to: String,
}

impl NameRange {
    /// Returns the range of all names that start with `prefix`.
    pub fn prefix(prefix: &str) -> Self {
        Self { from: prefix.to_owned(), to: format!("{prefix}{AFTER_ALL_CHARS}") }
    }

    /// Returns the range of a single name.
    pub fn name(name: &str) -> Self {
        Self { from: name.to_owned(), to: format!("{name}\0") }
    }

    /// Returns the text at which the range starts.
    pub fn start(&self) -> &str {
        &self.from
    }

    /// Returns the text before which the range ends.
    pub fn end(&self) -> &str {
        &self.to
    }

    fn contains(&self, name: &str) -> bool {
        self.from.as_str() <= name && name < self.to.as_str()
    }

    fn includes(&self, other: &Self) -> bool {
        self.from <= other.from && other.to <= self.to
    }

    fn is_all(&self) -> bool {
        self.from.is_empty() && self.to.starts_with(AFTER_ALL_CHARS)
    }

    fn intersection(&self, other: &Self) -> Option<Self> {
        if self.includes(other) { Some(other.clone()) } else { other.includes(self).then(|| self.clone()) }
    }
}

impl From<&Scope> for NameRange {
    fn from(scope: &Scope) -> Self {
        match scope {
            Scope::All => Self::prefix(""),
            Scope::Below(prefix) => Self::prefix(prefix),
            Scope::One(name) => Self::name(name.as_str()),
        }
    }
}

/// Decides on a name that ranges alone cannot decide on.
pub type NameFilter = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// Names in some ranges that a filter accepts.
#[derive(Clone)]
struct Filtered {
    ranges: Vec<NameRange>,
    matches: NameFilter,
}

/// The repositories that a list may show.
#[derive(Clone, Default)]
pub struct Visible {
    /// Visible without a further check. Sorted and disjoint.
    ranges: Vec<NameRange>,
    filtered: Option<Filtered>,
}

impl Visible {
    /// Returns a selection of every repository.
    pub fn all() -> Self {
        Self::from_ranges([NameRange::prefix("")])
    }

    /// Returns a selection of the repositories in any of these ranges.
    pub fn from_ranges(ranges: impl IntoIterator<Item = NameRange>) -> Self {
        Self { ranges: merge(ranges), filtered: None }
    }

    /// Adds the repositories in `ranges` that `matches` accepts.
    #[must_use]
    pub fn or_matching(self, ranges: impl IntoIterator<Item = NameRange>, matches: NameFilter) -> Self {
        Self { filtered: Some(Filtered { ranges: merge(ranges), matches }), ..self }
    }

    /// Adds the repositories in the ranges `more`.
    #[must_use]
    pub fn or_in(self, more: impl IntoIterator<Item = NameRange>) -> Self {
        Self { ranges: merge(self.ranges.into_iter().chain(more)), ..self }
    }

    /// Restricts the selection to `range`.
    #[must_use]
    pub fn within(&self, range: &NameRange) -> Self {
        let clip = |ranges: &[NameRange]| ranges.iter().filter_map(|own| own.intersection(range)).collect();
        let filtered = self.filtered.as_ref().map(|Filtered { ranges, matches }| Filtered {
            ranges: clip(ranges),
            matches: Arc::clone(matches),
        });
        Self { ranges: clip(&self.ranges), filtered }
    }

    /// Returns whether every repository is visible.
    pub fn is_all(&self) -> bool {
        self.ranges.first().is_some_and(NameRange::is_all)
    }

    /// Returns whether a repository is visible.
    pub fn shows(&self, name: &RepoName) -> bool {
        let name = name.as_str();
        contains(&self.ranges, name)
            || self
                .filtered
                .as_ref()
                .is_some_and(|filtered| contains(&filtered.ranges, name) && (filtered.matches)(name))
    }

    /// Returns ranges that contain all visible repositories, sorted and disjoint.
    pub fn search_ranges(&self) -> Vec<NameRange> {
        let filtered = self.filtered.iter().flat_map(|filtered| &filtered.ranges);
        merge(self.ranges.iter().chain(filtered).cloned())
    }
}

impl fmt::Debug for Visible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let filtered = self.filtered.as_ref().map(|filtered| &filtered.ranges);
        f.debug_struct("Visible").field("ranges", &self.ranges).field("filtered", &filtered).finish()
    }
}

/// Sorts ranges and drops those that another range includes.
fn merge(ranges: impl IntoIterator<Item = NameRange>) -> Vec<NameRange> {
    let mut ranges: Vec<_> = ranges.into_iter().collect();
    ranges.sort_by(|one, other| one.from.cmp(&other.from).then_with(|| other.to.cmp(&one.to)));
    let mut merged: Vec<NameRange> = Vec::with_capacity(ranges.len());
    for range in ranges {
        if !merged.last().is_some_and(|last| last.includes(&range)) {
            merged.push(range);
        }
    }
    merged
}

/// Returns whether a name is in one of these sorted, disjoint ranges.
fn contains(ranges: &[NameRange], name: &str) -> bool {
    let behind = ranges.partition_point(|range| range.from.as_str() <= name);
    behind.checked_sub(1).is_some_and(|at| ranges[at].contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scopes(scopes: &[&str]) -> Visible {
        let scopes = scopes.iter().map(|scope| scope.parse::<Scope>().expect("a scope"));
        Visible::from_ranges(scopes.map(|scope| NameRange::from(&scope)))
    }

    fn shown(visible: &Visible) -> Vec<&'static str> {
        let names = ["app", "team", "team-x/a", "team/a", "team/a/b", "team/b", "zoo"];
        names.into_iter().filter(|name| visible.shows(&name.parse().expect("a name"))).collect()
    }

    #[test]
    fn ranges_show_the_repositories_of_their_scopes() {
        assert_eq!(shown(&Visible::all()).len(), 7);
        assert_eq!(shown(&Visible::default()), [""; 0]);
        assert_eq!(shown(&scopes(&["team/"])), ["team/a", "team/a/b", "team/b"]);
        assert_eq!(shown(&scopes(&["zoo", "team", "team/a"])), ["team", "team/a", "zoo"]);
        assert!(Visible::all().is_all() && !scopes(&["team/"]).is_all() && scopes(&["zoo", ""]).is_all());
    }

    #[test]
    fn ranges_within_others_are_dropped() {
        let merged = scopes(&["team/a", "team/", "team/a/", "team", "team/"]).search_ranges();
        assert_eq!(merged, [NameRange::name("team"), NameRange::prefix("team/")]);
    }

    #[test]
    fn filter_applies_only_within_its_ranges() {
        let ends_in_b: NameFilter = Arc::new(|name| name.ends_with('b'));
        let visible = scopes(&["app"]).or_matching([NameRange::prefix("team")], ends_in_b);
        assert_eq!(shown(&visible), ["app", "team/a/b", "team/b"]);
        assert_eq!(shown(&visible.within(&NameRange::prefix("team/a"))), ["team/a/b"]);
        assert_eq!(shown(&visible.within(&NameRange::name("app"))), ["app"]);
        let ranges = [NameRange::name("app"), NameRange::prefix("team")];
        assert_eq!(visible.search_ranges(), ranges);
        assert_eq!(shown(&visible.or_in([NameRange::prefix("team/")])).len(), 4);
    }
}
