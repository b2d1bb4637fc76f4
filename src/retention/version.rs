//! Parses versions in tags leniently.

use semver::{Prerelease, Version};

/// Returns the version in a tag: `1.2.3`, `v1.2`, `1.2.3-rc1`, `2024.01.05`. Missing parts count as zero. Text after
/// `_` is build metadata, because tags can't contain `+`; it is ignored.
pub(super) fn version_of(tag: &str) -> Option<Version> {
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
