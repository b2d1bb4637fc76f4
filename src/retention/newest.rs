//! The newest so many, by push, pull or version, of each branch if there are branches.

use std::collections::{HashMap, HashSet};

use semver::Version;

use super::compiled::Newest;
use super::item::Item;
use super::policy::{Count, Order};
use super::version::version_of;
use crate::clock::Timestamp;

/// How new something is. Fields that do not count are empty; names decide between equals, so that a plan
/// made twice is the same plan.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank<'a> {
    version: Option<Version>,
    pulled_at: Option<Timestamp>,
    pushed_at: Timestamp,
    name: &'a str,
}

/// What takes part in the count, and what of it is among the newest.
#[derive(Debug, Default)]
pub(super) struct Split {
    pub(super) newest: Vec<usize>,
    pub(super) older: Vec<usize>,
}

impl Newest {
    /// Splits `chosen`, which are places in `items`. What has no version or no branch, where that is asked
    /// for, is in neither half.
    pub(super) fn split(&self, items: &[Item<'_>], chosen: &[usize]) -> Split {
        let mut branches: HashMap<&str, Vec<(Rank<'_>, usize)>> = HashMap::new();
        for place in chosen {
            let item = &items[*place];
            if let (Some(branch), Some(rank)) = (self.branch_of(item), self.rank_of(item)) {
                branches.entry(branch).or_default().push((rank, *place));
            }
        }
        let mut split = Split::default();
        for mut ranked in branches.into_values() {
            ranked.sort_unstable_by(|a, b| b.cmp(a));
            let mut images = HashSet::new();
            for (number, (_, place)) in ranked.into_iter().enumerate() {
                let is_newest = match self.count {
                    Count::Tags => number < self.most,
                    Count::Images => {
                        let image = items[place].manifest;
                        images.contains(&image) || images.len() < self.most && images.insert(image)
                    }
                };
                if is_newest { split.newest.push(place) } else { split.older.push(place) }
            }
        }
        split
    }

    fn branch_of<'a>(&self, item: &Item<'a>) -> Option<&'a str> {
        let Some(regex) = &self.per else {
            return Some("");
        };
        if !item.is_tag {
            return None;
        }
        // A group that took no part is a branch of its own: commits without a branch in their tags.
        regex.capture(item.name)
    }

    fn rank_of<'a>(&self, item: &Item<'a>) -> Option<Rank<'a>> {
        let mut rank = Rank { version: None, pulled_at: None, pushed_at: item.pushed_at, name: item.name };
        match self.by {
            Order::Push => {}
            Order::Pull => rank.pulled_at = item.pulled_at,
            Order::Version => rank.version = Some(version_of(item.tag()?)?),
        }
        Some(rank)
    }
}
