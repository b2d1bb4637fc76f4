//! Selects the newest items by push, pull or version, for each branch if the rule has `per`.

use std::collections::{HashMap, HashSet};

use semver::{Prerelease, Version};

use super::compiled::Newest;
use super::item::Item;
use super::policy::{Count, Order};
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

/// Returns the version in a tag: `1.2.3`, `v1.2`, `1.2.3-rc1`, `2024.01.05`. Missing parts count as zero. Text after
/// `_` is build metadata, because tags can't contain `+`; it is ignored.
fn version_of(tag: &str) -> Option<Version> {
    let text = tag.strip_prefix(['v', 'V']).unwrap_or(tag);
    let text = text.split_once('_').map_or(text, |(version, _)| version);
    let (numbers, pre) = text.split_once('-').unwrap_or((text, ""));
    let mut parts = [0; 3];
    let mut given = numbers.split('.');
    for part in &mut parts {
        let Some(number) = given.next() else { break };
        // `parse` takes a plus sign as well.
        let digits = number.bytes().all(|b| b.is_ascii_digit());
        *part = if digits { number.parse().ok()? } else { return None };
    }
    if given.next().is_some() || text.ends_with('-') {
        return None;
    }
    let [major, minor, patch] = parts;
    let mut version = Version::new(major, minor, patch);
    version.pre = Prerelease::new(pre).ok()?;
    Some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_versions_leniently() {
        let same = [("v1.2", "1.2.0"), ("1", "1.0.0"), ("V1.2.3_build", "1.2.3"), ("2024.01.05", "2024.1.5")];
        for (tag, version) in same {
            assert_eq!(version_of(tag), Version::parse(version).ok(), "{tag}");
        }
        let order = ["1.2", "1.10.0-rc.2", "1.10.0-rc.10", "v1.10", "2.0.0-1-alpine", "2"].map(version_of);
        assert!(order.is_sorted() && order.iter().all(Option::is_some), "{order:?}");
        for no in ["latest", "", "v", "1.2.3.4", "1..2", "1.2-", "v1.x", "99999999999999999999", "main-1"] {
            assert_eq!(version_of(no), None, "{no}");
        }
    }
}
