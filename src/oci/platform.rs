//! The platforms in indexes and configs. They are read from content that was accepted earlier, so nothing is rejected.

use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::Digest;

/// A member of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexMember {
    /// The digest.
    pub digest: Digest,
    /// The media type stated in the index.
    pub media_type: String,
    /// The size in bytes stated in the index.
    pub size: u64,
    /// The platform: `<os>/<architecture>` and optionally `/<variant>`. `None` if the index gives none or says that it
    /// is unknown, as builders do for attestations.
    pub platform: Option<String>,
}

#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    manifests: Vec<Member>,
}

#[derive(Deserialize)]
struct Member {
    digest: String,
    #[serde(rename = "mediaType")]
    media_type: String,
    size: u64,
    platform: Option<Platform>,
}

/// A platform as written in indexes and configs.
#[derive(Deserialize)]
pub(super) struct Platform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    variant: Option<String>,
}

impl Platform {
    pub(super) fn new(os: String, architecture: String, variant: Option<String>) -> Self {
        Self { os, architecture, variant }
    }

    /// Returns the platform if it is given: `Some(None)` if it is explicitly unknown, `None` if nothing is given.
    #[expect(clippy::option_option, reason = "what is known may be that there is none")]
    pub(super) fn known(self) -> Option<Option<String>> {
        let is_given = !self.os.is_empty() && !self.architecture.is_empty();
        is_given.then(|| self.text())
    }

    fn text(self) -> Option<String> {
        let known = |part: &str| !part.is_empty() && part != "unknown";
        let Self { os, architecture, variant } = self;
        if !known(&os) || !known(&architecture) {
            return None;
        }
        let variant = variant.filter(|variant| known(variant));
        Some(variant.map_or_else(|| format!("{os}/{architecture}"), |v| format!("{os}/{architecture}/{v}")))
    }
}

/// Returns the members of the index with this content, in order. The list is empty if it is not an index.
pub fn index_members(content: &[u8]) -> Vec<IndexMember> {
    let index: Index = serde_json::from_slice(content).unwrap_or(Index { manifests: Vec::new() });
    let member = |member: Member| {
        Some(IndexMember {
            digest: member.digest.parse().ok()?,
            media_type: member.media_type,
            size: member.size,
            platform: member
                .platform
                .and_then(Platform::text)
                .filter(|text| PlatformLimits::STORED.allow(text)),
        })
    };
    index.manifests.into_iter().filter_map(member).collect()
}

/// Limits on the platforms read from a config or an index.
#[derive(Debug, Clone, Copy)]
pub(super) struct PlatformLimits {
    /// The maximum number of platforms.
    max_count: usize,
    /// The maximum length of a platform in bytes.
    max_len: usize,
    /// Whether a platform may contain unusual characters.
    any_characters: bool,
}

impl PlatformLimits {
    /// The limits for stored and listed platforms. Real indexes have about twenty, of about twenty bytes each.
    pub(super) const STORED: Self = Self { max_count: 64, max_len: 64, any_characters: false };

    /// The limits for rules that read the config or the index itself.
    pub(super) const READ: Self = Self { max_count: 1024, max_len: 1024, any_characters: true };

    fn allow(&self, platform: &str) -> bool {
        let is_usual = |b: u8| b.is_ascii_alphanumeric() || b"/._-+".contains(&b);
        platform.len() <= self.max_len && (self.any_characters || platform.bytes().all(is_usual))
    }
}

/// The platforms of a config or an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Platforms {
    /// They are not given.
    Unknown,
    /// These platforms, each once, in their original order.
    Known(Vec<String>),
    /// They exceed the limits.
    Exceeding,
}

impl Platforms {
    /// Collects `platforms` without duplicates.
    pub(super) fn of(platforms: impl IntoIterator<Item = String>, limits: PlatformLimits) -> Self {
        let mut list = PlatformList::new(limits);
        platforms.into_iter().for_each(|platform| list.add(platform));
        list.finish()
    }

    /// Collects the platforms of the members of an index, if all members give one.
    pub(super) fn of_index(content: &[u8], limits: PlatformLimits) -> Self {
        let Ok(RawIndex { manifests: Some(members) }) = serde_json::from_slice(content) else {
            return Self::Unknown;
        };
        let read =
            serde_json::Deserializer::from_str(members.get()).deserialize_seq(PlatformList::new(limits));
        read.unwrap_or(Self::Unknown)
    }
}

#[derive(Deserialize)]
struct RawIndex<'a> {
    #[serde(borrow, default)]
    manifests: Option<&'a RawValue>,
}

/// A member of an index, reduced to its platform.
#[derive(Deserialize)]
struct MemberPlatform {
    platform: Option<Platform>,
}

/// Collects platforms up to the limits.
struct PlatformList {
    limits: PlatformLimits,
    found: Vec<String>,
    exceeds: bool,
}

impl PlatformList {
    fn new(limits: PlatformLimits) -> Self {
        Self { limits, found: Vec::new(), exceeds: false }
    }

    fn add(&mut self, platform: String) {
        if self.exceeds || self.found.contains(&platform) {
            return;
        }
        if self.found.len() < self.limits.max_count && self.limits.allow(&platform) {
            self.found.push(platform);
        } else {
            self.exceeds = true;
        }
    }

    fn finish(self) -> Platforms {
        if self.exceeds { Platforms::Exceeding } else { Platforms::Known(self.found) }
    }
}

impl<'de> Visitor<'de> for PlatformList {
    type Value = Platforms;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the members of an index")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut members: A) -> Result<Platforms, A::Error> {
        let mut has_unknown = false;
        while let Some(MemberPlatform { platform }) = members.next_element()? {
            match platform.and_then(Platform::known) {
                None => has_unknown = true,
                Some(platform) => platform.into_iter().for_each(|platform| self.add(platform)),
            }
        }
        Ok(if has_unknown { Platforms::Unknown } else { self.finish() })
    }
}

/// Returns the platforms of an index's members without duplicates, in order.
pub fn platforms(members: &[IndexMember]) -> Vec<String> {
    deduplicate(members.iter().filter_map(|member| member.platform.clone()))
}

/// Removes duplicates and keeps the order.
pub fn deduplicate(platforms: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut seen = HashSet::new();
    platforms.into_iter().filter(|platform| seen.insert(platform.clone())).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_only_known_platforms() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let member = |platform: serde_json::Value| json!({ "mediaType": "m", "digest": digest, "size": 1, "platform": platform });
        let index = json!({ "manifests": [
            member(json!({ "os": "linux", "architecture": "arm64", "variant": "v8" })),
            member(json!({ "os": "linux", "architecture": "amd64" })),
            member(json!({ "os": "linux", "architecture": "amd64" })),
            member(json!({ "os": "unknown", "architecture": "unknown" })),
            member(json!({ "os": "linux" })),
            member(json!(null)),
        ]});
        let members = index_members(index.to_string().as_bytes());
        assert_eq!(members.len(), 6);
        assert_eq!(platforms(&members), ["linux/arm64/v8", "linux/amd64"]);
    }

    #[test]
    fn index_is_unknown_if_a_member_gives_no_platform() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let index = |platforms: &[serde_json::Value]| {
            let member =
                |platform| json!({ "mediaType": "m", "digest": digest, "size": 1, "platform": platform });
            json!({ "manifests": platforms.iter().map(member).collect::<Vec<_>>() }).to_string()
        };
        let arm = json!({ "os": "linux", "architecture": "arm" });
        let none = json!({ "os": "unknown", "architecture": "unknown" });
        let read = |platforms: &[serde_json::Value]| {
            Platforms::of_index(index(platforms).as_bytes(), PlatformLimits::STORED)
        };
        assert_eq!(read(&[arm.clone(), none, arm.clone()]), Platforms::Known(vec!["linux/arm".to_owned()]));
        assert_eq!(read(&[arm, json!(null)]), Platforms::Unknown);
        for content in ["{}", r#"{"manifests":null}"#, r#"{"manifests":[1]}"#, "", "[]"] {
            assert_eq!(Platforms::of_index(content.as_bytes(), PlatformLimits::STORED), Platforms::Unknown);
        }
    }

    #[test]
    fn long_unusual_and_many_platforms_exceed_the_stored_limits() {
        let of = |platforms: &[String], limits| Platforms::of(platforms.iter().cloned(), limits);
        let longest = format!("linux/{}", "a".repeat(58));
        let numbered = |count: usize| (0..count).map(|n| format!("linux/a{n}")).collect::<Vec<_>>();
        for good in [vec![longest.clone()], numbered(64), vec!["linux/arm/v7".to_owned(); 100]] {
            assert!(matches!(of(&good, PlatformLimits::STORED), Platforms::Known(_)), "{good:?}");
        }
        for bad in [vec![longest + "a"], numbered(65), vec!["linux/\u{1b}[2J".to_owned()]] {
            assert_eq!(of(&bad, PlatformLimits::STORED), Platforms::Exceeding, "{bad:?}");
            assert_eq!(of(&bad, PlatformLimits::READ), Platforms::Known(bad));
        }
        assert_eq!(of(&numbered(1025), PlatformLimits::READ), Platforms::Exceeding);
    }

    #[test]
    fn platform_that_is_not_stored_is_not_listed() {
        let platform = json!({ "os": "linux", "architecture": "a\u{202e}b" });
        let digest = format!("sha256:{}", "0".repeat(64));
        let member = json!({ "mediaType": "m", "digest": digest, "size": 1, "platform": platform });
        let members = index_members(json!({ "manifests": [member] }).to_string().as_bytes());
        assert_eq!(members[0].platform, None);
    }

    #[test]
    fn invalid_index_has_no_members() {
        for text in ["", "[]", "{}", r#"{"manifests":null}"#, r#"{"manifests":[{"digest":1}]}"#] {
            assert_eq!(index_members(text.as_bytes()), [], "{text}");
        }
    }
}
