//! Selects the newest items by push, pull or version, for each branch if the rule has `per`.

use std::collections::{HashMap, HashSet};

use semver::Version;

use super::compiled::Newest;
use super::item::Item;
use super::policy::{Count, Order};
use super::version::version_of;
use crate::clock::Timestamp;

/// How new an item is. Fields that the order ignores are empty. Names decide between equals, so that a plan made twice
/// is the same.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank<'a> {
    version: Option<Version>,
    pulled_at: Option<Timestamp>,
    pushed_at: Timestamp,
    name: &'a str,
}

/// The counted items, split into the newest and the rest.
#[derive(Debug, Default)]
pub(super) struct Split {
    pub(super) newest: Vec<usize>,
    pub(super) older: Vec<usize>,
}

impl Newest {
    /// Splits `chosen`, a list of indexes into `items`. Items without the required version or branch are in neither
    /// half.
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
                    Count::Tags => number < self.max,
                    Count::Images => {
                        let image = items[place].manifest;
                        images.contains(&image) || images.len() < self.max && images.insert(image)
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
        // A group that took no part counts as its own branch: builds without a branch in their tags.
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
