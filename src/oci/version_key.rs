//! The order of tags by version: `1.9` comes before `1.10`, and `1.10-rc1` before `1.10`.
//!
//! Each tag has a key, and the byte order of the keys is the order of the tags. Hashes of commits come first, then
//! names such as `latest` and `alpine-3.19`, then versions and dates. A leading `v` does not matter.
//!
//! A key is one byte for the kind of the tag, then its parts, then [`END`]. A part is a number or a word. After `1.10`
//! come in this order:
//!
//! | what follows | such as | part |
//! | --- | --- | --- |
//! | a pre-release | `-rc1` | [`PRE_RELEASE`], then its rank |
//! | nothing | | [`END`] |
//! | another word | `-alpine` | [`WORD`], the word, 0 |
//! | a number after a dash | `-1` | [`REVISION`], the number |
//! | another number | `.1` | [`NUMBER`], the number |
//!
//! A number is the count of its digits without leading zeros, then these digits. Tags with equal keys (`1.0`, `v1.0`
//! and `1.00`) are sorted by name.

/// The kinds of tags, in order.
const HASH: u8 = 0;
const NAME: u8 = 1;
const VERSION: u8 = 2;

/// The kinds of parts, in order.
const PRE_RELEASE: u8 = 1;
const END: u8 = 2;
const WORD: u8 = 3;
const REVISION: u8 = 4;
const NUMBER: u8 = 5;

/// Lengths of abbreviated and full hashes of commits.
const HASH_LENGTHS: std::ops::RangeInclusive<usize> = 7..=64;

/// Returns the key of a tag. Its length is at most three times that of the tag, and three bytes.
pub fn version_key(tag: &str) -> Vec<u8> {
    let tag = tag.to_ascii_lowercase();
    let unprefixed = tag.strip_prefix('v').filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let has_prefix = unprefixed.is_some();
    let mut rest = unprefixed.unwrap_or(&tag);
    let mut key = Key::default();
    while !rest.is_empty() {
        let separators = rest.find(|c: char| c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let is_after_dash = rest[..separators].ends_with(['-', '_']);
        rest = &rest[separators..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let (segment, after) = rest.split_at(end);
        rest = after;
        if is_hash(segment) && !(has_prefix && key.is_empty()) {
            key.start(HASH);
            key.add_word(segment);
        } else {
            key.add_segment(segment, is_after_dash);
        }
    }
    key.finish()
}

/// Whether a text looks like the hash of a commit. A date with a letter behind it does not.
fn is_hash(segment: &str) -> bool {
    HASH_LENGTHS.contains(&segment.len())
        && segment.bytes().all(|byte| byte.is_ascii_hexdigit())
        && segment.bytes().any(|byte| byte.is_ascii_digit())
        && segment[..segment.len() - 1].bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// The rank of a word that stands before a release. Single letters count only within a number, as in `3.13.0b2`:
/// OpenSSL names releases `1.1.1a`.
fn pre_release_rank(word: &str, is_within_number: bool) -> Option<u8> {
    Some(match word {
        "dev" | "nightly" => 1,
        "alpha" => 2,
        "beta" => 3,
        "pre" | "preview" | "prerelease" | "milestone" | "ea" => 4,
        "rc" | "cr" => 5,
        "snapshot" => 6,
        "a" if is_within_number => 2,
        "b" if is_within_number => 3,
        _ => return None,
    })
}

/// A key that is being written.
#[derive(Default)]
struct Key {
    bytes: Vec<u8>,
    ends_with_number: bool,
}

impl Key {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Sets the kind of the tag before its first part.
    fn start(&mut self, kind: u8) {
        if self.is_empty() {
            self.bytes.push(kind);
        }
    }

    /// Adds the numbers and words of a text without separators.
    fn add_segment(&mut self, segment: &str, is_after_dash: bool) {
        let mut rest = segment;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let is_first = rest.len() == segment.len();
            if digits > 0 {
                self.start(VERSION);
                self.add_number(&rest[..digits], is_first && is_after_dash);
                rest = &rest[digits..];
                continue;
            }
            let is_first_part = self.is_empty();
            self.start(NAME);
            let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
            let (word, after) = rest.split_at(letters);
            let is_within_number = !is_first && !after.is_empty();
            match pre_release_rank(word, is_within_number).filter(|_| !is_first_part) {
                Some(rank) => {
                    self.bytes.extend([PRE_RELEASE, rank]);
                    self.ends_with_number = false;
                }
                None => self.add_word(word),
            }
            rest = after;
        }
    }

    fn add_word(&mut self, word: &str) {
        self.bytes.push(WORD);
        self.bytes.extend(word.as_bytes());
        self.bytes.push(0);
        self.ends_with_number = false;
    }

    fn add_number(&mut self, digits: &str, is_after_dash: bool) {
        // `rc-1` and `rc1` are the same.
        let kind = if is_after_dash && self.ends_with_number { REVISION } else { NUMBER };
        let digits = digits.trim_start_matches('0').as_bytes();
        self.bytes.push(kind);
        // Tags are shorter than this.
        self.bytes.push(u8::try_from(digits.len()).unwrap_or(u8::MAX));
        self.bytes.extend(digits);
        self.ends_with_number = true;
    }

    fn finish(mut self) -> Vec<u8> {
        self.start(NAME);
        self.bytes.push(END);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use proptest::prelude::*;

    use super::*;

    /// Compares tags as a list does.
    fn compare(one: &str, other: &str) -> Ordering {
        (version_key(one), one).cmp(&(version_key(other), other))
    }

    fn assert_ordered(tags: &[&str]) {
        for (at, one) in tags.iter().enumerate() {
            for (other_at, other) in tags.iter().enumerate() {
                assert_eq!(compare(one, other), at.cmp(&other_at), "{one} and {other}");
            }
        }
    }

    #[test]
    fn versions_are_ordered_by_their_numbers() {
        assert_ordered(&["0.9", "1", "v1", "1.0", "1.2.9", "v1.2.10", "1.9", "1.10", "1.10.0", "2", "10"]);
        assert_ordered(&["1.10", "1.10-alpine", "1.10-1", "1.10-2", "1.10-10", "1.10.1", "1.10.1-1"]);
        assert_ordered(&["1.10.0", "1.10.0-alpine", "1.10.0-alpine3.9", "1.10.0-alpine3.19", "1.10.0-slim"]);
        assert_ordered(&["1.1.1", "1.1.1a", "1.1.1b", "1.1.1w", "1.1.2"]);
    }

    #[test]
    fn pre_releases_come_before_the_release() {
        assert_ordered(&[
            "1.10.0-dev",
            "1.10.0-alpha",
            "1.10.0-alpha.1",
            "1.10.0-alpha2",
            "1.10.0-beta-1",
            "1.10.0-pre",
            "1.10.0-rc",
            "1.10.0-rc1",
            "1.10.0-rc1-alpine",
            "v1.10.0-RC2",
            "1.10.0-rc.10",
            "1.10.0-SNAPSHOT",
            "1.10.0",
            "1.10.0-alpine",
        ]);
        assert_ordered(&["3.13.0a6", "3.13.0b1", "3.13.0b1-slim", "3.13.0rc1", "3.13.0", "3.13.0-slim"]);
    }

    #[test]
    fn dates_are_ordered_by_time() {
        assert_ordered(&["2023-12-31", "2024-01-15", "2024-02-01", "2024-10-01", "2024-10-01-2"]);
        assert_ordered(&["20240115", "20240115a", "20240116", "20240201T093000", "20240201T103000"]);
        assert_ordered(&["2024.1.15", "2024.02.01", "2024.10.1"]);
    }

    #[test]
    fn names_come_before_versions_and_after_hashes() {
        assert_ordered(&[
            "0dfa1e2",
            "3f2a91c",
            "3f2a91c-amd64",
            "3f2a91c0ffee",
            "alpine",
            "alpine-3.9",
            "alpine-3.19",
            "deadbee",
            "latest",
            "main",
            "main-0dfa1e2",
            "main-3f2a91c",
            "nightly-20240101",
            "nightly-20240102",
            "rc",
            "1.0",
            "1.0-3f2a91c",
            "1.1",
        ]);
    }

    #[test]
    fn spellings_of_a_version_have_one_key() {
        for same in [
            ["1.0", "v1.0"],
            ["1.0", "V1.0"],
            ["1.01", "1.1"],
            ["1.0-rc1", "1.0-RC.1"],
            ["1.0-rc1", "1.0rc-1"],
        ] {
            assert_eq!(version_key(same[0]), version_key(same[1]), "{same:?}");
        }
        assert_eq!(version_key("___"), [NAME, END]);
    }

    /// A part of a tag. The derived order is the documented one.
    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
    enum Part {
        PreRelease(u8),
        End,
        Word(String),
        Revision(u128),
        Number(u128),
    }

    /// A tag from its parts, and the parts.
    fn tags() -> impl Strategy<Value = (String, Vec<Part>)> {
        let part = prop_oneof![
            (0..200_u128).prop_map(Part::Number),
            any::<u64>().prop_map(|number| Part::Number(number.into())),
            (0..30_u128).prop_map(Part::Revision),
            (1..=6_u8).prop_map(Part::PreRelease),
            prop_oneof!["alpine", "slim", "x", "xy", "gnu"].prop_map(Part::Word),
        ];
        (0..30_u128, prop::collection::vec(part, 0..5)).prop_map(|(first, parts)| {
            let mut text = first.to_string();
            let mut found = vec![Part::Number(first)];
            for part in parts {
                let is_after_number = matches!(found.last(), Some(Part::Number(_) | Part::Revision(_)));
                let part = match part {
                    Part::Revision(number) if !is_after_number => Part::Number(number),
                    part => part,
                };
                text += &match &part {
                    Part::PreRelease(rank) => {
                        format!(
                            "-{}",
                            ["dev", "alpha", "beta", "pre", "rc", "snapshot"][usize::from(*rank) - 1]
                        )
                    }
                    Part::End => String::new(),
                    Part::Word(word) => format!("-{word}"),
                    Part::Revision(number) => format!("-{number}"),
                    Part::Number(number) => format!(".{number}"),
                };
                found.push(part);
            }
            found.push(Part::End);
            (text, found)
        })
    }

    /// Short tags of few letters, and any tags.
    const TAG: &str = "[a-cvr0-2._-]{1,12}|[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}";

    proptest! {
        #[test]
        fn keys_are_ordered_as_the_parts((one, its_parts) in tags(), (other, other_parts) in tags()) {
            let by_key = version_key(&one).cmp(&version_key(&other));
            prop_assert_eq!(by_key, its_parts.cmp(&other_parts), "{} {}", one, other);
        }

        /// The order is total, and each key is short.
        #[test]
        fn every_tag_has_a_place(tags in prop::collection::vec(TAG, 3)) {
            for tag in &tags {
                prop_assert!(version_key(tag).len() <= 3 * tag.len() + 3, "{}", tag);
                prop_assert_eq!(version_key(tag), version_key(tag));
            }
            let mut sorted = tags.clone();
            sorted.sort_by(|one, other| compare(one, other));
            prop_assert!(compare(&sorted[0], &sorted[1]).is_le());
            prop_assert!(compare(&sorted[1], &sorted[2]).is_le());
            prop_assert!(compare(&sorted[0], &sorted[2]).is_le());
            prop_assert_eq!(compare(&tags[0], &tags[1]).is_eq(), tags[0] == tags[1]);
        }
    }
}
